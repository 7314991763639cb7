"""A blocking connection for a thread: pipelines as one buffer, replies by hiredis."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence

import hiredis

from cachetui.config import Address
from cachetui.errors import CacheError
from cachetui.source import faults
from cachetui.source.redis.connection import CLIENT_NAME, REPLY_BYTES, Argument, Credentials, no_database
from cachetui.source.tls import tls_context
from cachetui.text import printable

READ_BYTES = 256 * 1024
TICK_S = 0.1
"""How soon a wait notices that it is not wanted any more."""
SLICE_BYTES = 256 * 1024
"""Of a long pipeline so much is sent before what has come is read."""
SLOW_REPLY = 5
"""A reply that keeps coming may take so many times the deadline; silence only the deadline itself."""


class Stopped(Exception):
    """What the wire worked for was cancelled while it waited."""


def packed(command: Sequence[Argument]) -> bytes:
    r"""Return one command as it is sent.

    >>> packed(("SCAN", 0))
    b'*2\r\n$4\r\nSCAN\r\n$1\r\n0\r\n'
    """
    words = [word if isinstance(word, bytes) else str.__str__(str(word)).encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Wire:
    """One connection. Its errors are those of the network, or `faults`; `stopped` ends any wait.

    `refusal` is what an error reply comes as.
    """

    def __init__(
        self,
        address: Address,
        who: Credentials,
        stopped: Callable[[], bool],
        refusal: Callable[[str], Exception] = hiredis.ReplyError,
    ) -> None:
        self.address, self._who, self._stopped = address, who, stopped
        self._socket: socket.socket | None = None
        self._reader = hiredis.Reader(protocolError=hiredis.ProtocolError, replyError=refusal)
        self._held = 0
        self._head = b""
        self.sent = 0
        """Commands sent by `ask`."""

    def open(self) -> None:
        """Connect, authenticate, select the database. Raises CacheError where the server refuses that."""
        who, address = self._who, self.address
        if address.path:
            plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            plain.settimeout(who.timeout_s)
            plain.connect(address.path)
        else:
            plain = socket.create_connection((address.host, address.port), who.timeout_s)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = plain
        if who.tls is not None:
            context = tls_context(who.tls)
            self._socket = context.wrap_socket(plain, server_hostname=who.tls.server_name or address.host)
        # Once for all: each change of it is a call to the system.
        self._socket.settimeout(TICK_S)
        self._greet()

    def _greet(self) -> None:
        """Say who we are, all in one round trip. A refused client name is no reason to give up."""
        who = self._who
        commands: list[Sequence[Argument]] = [("CLIENT", "SETNAME", CLIENT_NAME)]
        if who.db:
            commands.append(("SELECT", who.db))
        if who.password is not None:
            commands.insert(0, ("AUTH", *([who.user] if who.user else []), str.__str__(who.password)))
        try:
            replies = self.ask(commands)
        except (faults.ClosedEarly, ConnectionError):
            with contextlib.suppress(OSError, faults.ClosedEarly):  # what it said before it closed may still be here
                self._read()
            if self._head.startswith(b"-"):  # it said why: it has no room for another client, for one
                raise faults.reply_error(printable(self._head)) from None
            raise
        if isinstance(replies[0], Exception):
            error = faults.reply_error(str(replies[0]))
            if error.code == "unreachable":  # said before we were heard: there is no room for another client
                raise error
            if who.password is not None:
                error.detail.pop("reply", None)
                raise error
        if who.db and isinstance(replies[-1], Exception):
            raise no_database(str(replies[-1]), who.db)

    @property
    def own_end(self) -> str:
        """Our end as the server names it, unless somebody translates addresses; empty for a unix socket."""
        name = self._socket.getsockname() if self._socket is not None else ""
        if not isinstance(name, tuple):
            return ""
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"

    @property
    def idle(self) -> bool:
        """False when it is closed, at this end or the other, or when something came that nobody asked for."""
        if self._socket is None or self._reader.has_data():
            return False
        return not _readable(self._socket)

    def cut(self) -> None:
        """End the connection at once; may be called from any thread, also while another uses the wire."""
        link = self._socket
        if link is not None:
            with contextlib.suppress(OSError):  # it is gone in any case
                socket.socket.shutdown(link, socket.SHUT_RDWR)  # below TLS: that would have a farewell to send

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is gone in any case
                self._socket.close()
            self._socket = None

    def ask(self, commands: Sequence[Sequence[Argument]]) -> list[object]:
        """Return the replies of one short pipeline; a refusal is a hiredis.ReplyError in its place."""
        self.sent += len(commands)
        self.send(b"".join(map(packed, commands)))
        replies: list[object] = []
        while len(replies) < len(commands):
            replies += self.receive()
        return replies

    def pipeline(self, commands: Sequence[Sequence[bytes]]) -> list[object]:
        """Return the replies of a long pipeline, each in its place; they are read while it is still being sent.

        Raises Garbage when more comes than was asked for.
        """
        self.sent += len(commands)
        replies: list[object] = []
        for data in _slices(commands):
            rest, until = memoryview(data), time.monotonic() + self._who.timeout_s
            while rest:
                rest = self._push(rest, until)
                replies += self.come()
        while len(replies) < len(commands):
            replies += self.receive()
        if len(replies) > len(commands):
            raise faults.Garbage(self._head)
        return replies

    def _push(self, data: memoryview, until: float) -> memoryview:
        """Send what the other end takes of `data` now; return the rest."""
        assert self._socket is not None
        if self._stopped():
            raise Stopped
        try:
            return data[self._socket.send(data) :]
        except TimeoutError:
            if time.monotonic() > until:
                raise
        return data

    def send(self, data: bytes) -> None:
        """Send all of `data`. Raises TimeoutError after the deadline."""
        assert self._socket is not None
        rest, until = memoryview(data), time.monotonic() + self._who.timeout_s
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except TimeoutError:
                if self._stopped():
                    raise Stopped from None
                if time.monotonic() > until:
                    raise

    def receive(self) -> list[object]:
        """Wait for replies and return all that have come; at least one. Raises TimeoutError after the deadline."""
        began = last = time.monotonic()
        while not (found := self._parsed()):
            if self._stopped():
                raise Stopped
            came, now = self._read(), time.monotonic()
            if came:
                last = now
            if now - last > self._who.timeout_s or now - began > SLOW_REPLY * self._who.timeout_s:
                raise TimeoutError
        return found

    def come(self) -> list[object]:
        """Return the replies that have come already."""
        assert self._socket is not None
        held = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        if held or _readable(self._socket):
            self._read()
        return self._parsed()

    def _read(self) -> bool:
        """Take in what comes; return False when it was nothing for a moment."""
        assert self._socket is not None
        try:
            data = self._socket.recv(READ_BYTES)
        except TimeoutError:
            return False
        if not data:
            raise faults.ClosedEarly if not self._head else ConnectionResetError("closed by the server")
        self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        self._head = self._head or data[:64]
        self._held += len(data)
        if self._held > REPLY_BYTES:
            raise faults.ReplyTooLong
        self._reader.feed(data)

    def _parsed(self) -> list[object]:
        found: list[object] = []
        try:
            while (reply := self._reader.gets()) is not False:
                if type(reply) is not hiredis.PushNotification:
                    found.append(reply)
        except (hiredis.ProtocolError, MemoryError) as error:  # a length that nobody has room for
            raise faults.Garbage(self._head) from error
        if found:
            self._held = 0
        return found


def _readable(link: socket.socket) -> bool:
    # Not select(): it knows no descriptor above 1,023, and a large cluster takes more.
    waiting = select.poll()
    waiting.register(link, select.POLLIN)
    return bool(waiting.poll(0))


def _slices(commands: Sequence[Sequence[bytes]]) -> Iterator[bytes]:
    """Yield `commands` as they are sent, in pieces of about `SLICE_BYTES`."""
    due: list[bytes] = []
    held = 0
    for command in commands:
        words = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # typed as if of one word
        due.append(words)
        held += len(words)
        if held > SLICE_BYTES:
            yield b"".join(due)
            due.clear()
            held = 0
    if due:
        yield b"".join(due)


def explained(error: BaseException, address: Address, timeout_s: float) -> CacheError:
    """Return the error a person is shown for whatever a wire raised."""
    return error if isinstance(error, CacheError) else faults.from_exception(error, address, timeout_s)
