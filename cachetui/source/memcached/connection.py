"""One connection to one memcached: bounded replies, and never used again once out of step."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass

from cachetui.config import Address, Secret, Tls
from cachetui.errors import (
    AuthFailed,
    CacheError,
    NotACache,
    ServerError,
    Unreachable,
    Unsupported,
)
from cachetui.source import faults
from cachetui.source.tls import tls_context
from cachetui.text import printable

LINE_BYTES = 8192
"""Longest line taken from a server: a key of 250 bytes, all of them escaped, fits many times over."""
CHUNK_BYTES = 64 * 1024
PATIENT_SHARE, PROBE_SHARE = 0.5, 0.2
"""Of the deadline: how long the first reply is waited for until it is asked why there is none, and that."""
_LIST_MECHANISMS = b"\x80\x20" + bytes(22)
"""SASL's list of mechanisms, in memcached's binary protocol."""


@dataclass(frozen=True, slots=True)
class Login:
    """What it takes to be let in."""

    timeout_s: float
    """Deadline of each call: callers keep it, here it is for the words of an error."""
    user: str | None = None
    password: Secret | None = None
    tls: Tls | None = None


class Connection:
    """A stream with a buffer of its own, so that what was not asked for is noticed."""

    def __init__(
        self,
        address: Address,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        timeout_s: float,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.address = address
        self._chunk_bytes = chunk_bytes
        self._timeout_s = timeout_s
        self.version = ""
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()

    @property
    def surplus(self) -> bool:
        """More has arrived than was asked for."""
        return bool(self._buffer)

    @property
    def stale(self) -> bool:
        """Not to be used again: the other end has closed it, or it is out of step."""
        return self.surplus or self._reader.at_eof() or self._writer.is_closing()

    @property
    def local_name(self) -> str:
        """Our end as the server names it in `stats conns`; empty for a unix socket."""
        if not self.peer:
            return ""
        return f"tcp6:{self.peer}" if self.peer.startswith("[") else f"tcp:{self.peer}"

    @property
    def peer(self) -> str:
        """Our end as `host:port`; empty for a unix socket."""
        name = self._writer.get_extra_info("sockname")
        if not isinstance(name, tuple):
            return ""
        host, port = name[0], name[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def send(self, data: bytes) -> None:
        """Write `data`. It is not awaited to be taken: the replies are read meanwhile."""
        self._writer.write(data)

    async def line(self) -> bytes:
        """Return the next line without its end. Raises when there is none or it is endless."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LINE_BYTES:
                raise NotACache(
                    f"{self.address} sends an endless line: not memcached", "check the address and the port"
                )
            await self._fill()
        if end > LINE_BYTES:
            raise NotACache(f"{self.address} sends a line that is too long: not memcached")
        found = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return found[:-1] if found.endswith(b"\r") else found

    async def lines(self, number: int) -> list[bytes]:
        """Return the next `number` lines without their ends."""
        found: list[bytes] = []
        while len(found) < number:
            found.append(await self.line())
            end = self._buffer.rfind(b"\n")
            if end < 0:
                continue
            come = bytes(self._buffer[:end]).split(b"\n")[: number - len(found)]
            del self._buffer[: sum(map(len, come)) + len(come)]
            found += [line.removesuffix(b"\r") for line in come]
        return found

    async def block(self, length: int, keep: int) -> bytes:
        """Return the first `keep` bytes of a data block of `length` bytes; read and forget the rest and the end.

        Raises ServerError when the block does not end where its length said.
        """
        kept = bytearray()
        left = length
        while left:
            if not self._buffer:
                await self._fill()
            piece = self._buffer[:left]
            del self._buffer[:left]
            left -= len(piece)
            kept += piece[: max(0, keep - len(kept))]
        while len(self._buffer) < 2:
            await self._fill()
        if self._buffer[:2] != b"\r\n":
            raise ServerError(
                f"{self.address} sent a value of another length than it said: connection dropped",
                "a proxy or a broken server is in between",
                word="PROTOCOL",
            )
        del self._buffer[:2]
        return bytes(kept)

    async def part(self, begin: int, keep: int) -> bytes:
        """Return `keep` bytes from `begin` on of a block that is too long to read on, and drop the connection."""
        passed = 0
        kept = bytearray()
        while len(kept) < keep:
            chunk = await self.chunk()
            kept += chunk[max(0, begin - passed) :]
            passed += len(chunk)
        self.close()
        return bytes(kept[:keep])

    async def chunk(self) -> bytes:
        """Return whatever is there, at least one byte."""
        if not self._buffer:
            await self._fill()
        found = bytes(self._buffer)
        self._buffer.clear()
        return found

    async def _fill(self) -> None:
        try:
            data = await self._reader.read(self._chunk_bytes)
        except OSError as error:
            raise faults.from_exception(error, self.address, self._timeout_s) from error
        if not data:
            raise Unreachable(
                f"{self.address} closed the connection",
                "it was restarted, is full, or a proxy cut it off"
                + ("" if self.version else "; one that wants SASL (-S) does so too, and only -Y is spoken here"),
            )
        self._buffer += data

    def close(self) -> None:
        """Drop the connection at once. Never raises."""
        with contextlib.suppress(Exception):  # closing a transport whose loop has gone is no news to anybody
            self._writer.transport.abort()


async def connect(
    address: Address, login: Login, *, receive_bytes: int | None = None, chunk_bytes: int = CHUNK_BYTES
) -> Connection:
    """Return a connection that has said its version and let us in. Put a deadline around it.

    `receive_bytes` bounds what the system keeps for us, `chunk_bytes` is what is taken at a time.

    The password is sent only to a server that asks for one: to any other, memcached's way of
    logging in (`set`) would store it as an item.
    """
    connection = await _dial(address, login, receive_bytes, chunk_bytes)
    try:
        await connection.send(b"version\r\n")
        reply = await _first_line(connection, address, login)
        if reply == b"CLIENT_ERROR unauthenticated":
            await _log_in(connection, login)
            await connection.send(b"version\r\n")
            reply = await connection.line()
        if not reply.startswith(b"VERSION "):
            raise _stranger(address, reply)
        connection.version = printable(reply[8:], 60)
    except BaseException:
        connection.close()
        raise
    return connection


async def _dial(address: Address, login: Login, receive_bytes: int | None, chunk_bytes: int) -> Connection:
    tls = login.tls
    context = await asyncio.to_thread(tls_context, tls) if tls is not None else None
    try:
        if address.path:
            reader, writer = await asyncio.open_unix_connection(address.path, limit=chunk_bytes)
        else:
            server_name = (tls.server_name or address.host) if tls is not None else None
            reader, writer = await asyncio.open_connection(
                address.host, address.port, limit=chunk_bytes, ssl=context, server_hostname=server_name
            )
    except (OSError, ValueError) as error:
        raise faults.from_exception(error, address, login.timeout_s) from error
    if receive_bytes is not None:
        link = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # a smaller buffer is a wish, not a need
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    return Connection(address, reader, writer, login.timeout_s, chunk_bytes)


async def _first_line(connection: Connection, address: Address, login: Login) -> bytes:
    """Return the first reply. Raises AuthFailed for a server that waits for the binary protocol's SASL."""
    try:
        async with asyncio.timeout(login.timeout_s * PATIENT_SHARE):
            return await connection.line()
    except TimeoutError:
        if await _wants_sasl(address, login):
            raise AuthFailed(
                f"{address} wants SASL (-S), which is not supported here",
                "memcached can ask for a password in its text protocol too: start it with -Y instead",
            ) from None
        return await connection.line()


async def _wants_sasl(address: Address, login: Login) -> bool:
    """Tell whether a server that is silent in the text protocol names ways of SASL in the binary one."""
    other = await _dial(address, login, None, CHUNK_BYTES)
    try:
        async with asyncio.timeout(login.timeout_s * PROBE_SHARE):
            await other.send(_LIST_MECHANISMS)
            return (await other.chunk()).startswith(b"\x81\x20")
    except (TimeoutError, CacheError):
        return False
    finally:
        other.close()


async def _log_in(connection: Connection, login: Login) -> None:
    if login.password is None:
        raise AuthFailed(f"{connection.address} asks for a user and a password", "give them with --user and --askpass")
    words = f"{login.user or ''} {login.password}".encode()
    await connection.send(b"set auth 0 0 %d\r\n%b\r\n" % (len(words), words))
    if await connection.line() != b"STORED":
        raise AuthFailed(f"{connection.address}: user name or password is wrong", "check both")


def _stranger(address: Address, reply: bytes) -> CacheError:
    """Return what a first reply says that is not memcached's."""
    if reply.startswith((b"-", b"+", b"$", b"*")):
        return NotACache(f"{address} is a Redis-like server, not memcached", "write redis:// before the address")
    if reply.startswith(b"ERROR Too many open connections"):
        return Unreachable(
            f"{address} has reached its limit of connections (-c) and takes no more", "close idle clients or raise -c"
        )
    if reply.startswith(b"SERVER_ERROR"):
        return reply_error(reply, "version")
    return faults.not_a_cache(address, reply)


def reply_error(line: bytes, command: str) -> CacheError:
    """Return the error for an `ERROR`, `CLIENT_ERROR`, `SERVER_ERROR` or unexpected reply to `command`."""
    reply = printable(line, 200)
    detail: dict[str, object] = {"reply": reply}
    word, _, rest = reply.partition(" ")
    if reply == "CLIENT_ERROR unauthenticated":
        return AuthFailed("memcached asks for a user and a password", "give them with --user and --askpass", detail)
    if "not allowed" in rest or "disabled" in rest:
        return Unsupported(f"{command}: {rest}", "the server was started with it switched off", detail)
    if word == "ERROR":
        said = f" ({rest})" if rest else ""
        hint = "an old version, or a proxy in front of the server, lacks it: connect to the server itself"
        return Unsupported(f"{command}: this memcached does not take the command{said}", hint, detail)
    if "out of memory" in rest:
        return ServerError(f"{command}: {rest}", "raise -m or let it evict (no -M)", detail, "OOM")
    if word in ("CLIENT_ERROR", "SERVER_ERROR"):
        return ServerError(f"{command}: {rest}", "", detail, word)
    return ServerError(f"{command}: {reply}", "", detail, word)
