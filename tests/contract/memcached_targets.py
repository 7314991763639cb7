"""Sources and plain sockets for the memcached servers of the tests, and servers that misbehave."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from cachetui.config import Address, Secret, Target
from cachetui.source.memcached import MemcachedSource
from tests.servers.launch import Server

Answer = Callable[[bytes], bytes | None]
"""What a misbehaving server says to one line; None: it closes the connection."""


def address_of(server: Server | int) -> Address:
    if isinstance(server, int):
        return Address("127.0.0.1", server)
    return Address(path=server.path) if server.path else Address("127.0.0.1", server.port)


@asynccontextmanager
async def source_of(
    *servers: Server | int, password: str | None = None, timeout_s: float = 2.0, **more: Any
) -> AsyncIterator[MemcachedSource]:
    """Return a source that is closed at the end; nothing has been sent yet."""
    secret = Secret(password) if password is not None else None
    addresses = tuple(map(address_of, servers))
    source = MemcachedSource(Target("memcached", addresses, password=secret, timeout_s=timeout_s, **more))
    try:
        yield source
    finally:
        await source.close()


class Plain:
    """A blocking socket to a server, for arranging a test."""

    def __init__(self, server: Server) -> None:
        if server.path:
            self.link = socket.socket(socket.AF_UNIX)
            self.link.settimeout(5)
            self.link.connect(server.path)
        else:
            self.link = socket.create_connection(("127.0.0.1", server.port), 5)
        self.file = self.link.makefile("rb")

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.link.close()

    def say(self, line: bytes) -> bytes:
        """Send one command and return the first line of its reply."""
        self.link.sendall(line + b"\r\n")
        return self.file.readline().removesuffix(b"\r\n")

    def lines(self, line: bytes) -> list[bytes]:
        """Send one command and return its lines before END."""
        self.link.sendall(line + b"\r\n")
        return list(iter(lambda: self.file.readline().strip(), b"END"))

    def fill(self, keys: Iterable[bytes], data: bytes = b"v") -> None:
        """Store `data` under every key."""
        batch: list[bytes] = []
        for key in keys:
            batch.append(b"set %b 0 0 %d noreply\r\n%b\r\n" % (key, len(data), data))
            if len(batch) == 1000:
                self.link.sendall(b"".join(batch))
                batch.clear()
        self.link.sendall(b"".join(batch))
        assert self.say(b"mn") == b"MN"

    def stat(self, name: bytes, of: bytes = b"stats") -> bytes:
        fields = dict(line.split(b" ", 2)[1:] for line in self.lines(of))
        return fields[name]

    def dump(self) -> dict[bytes, bytes]:
        """Return the metadump's lines by encoded key."""
        return {line.split(b" ")[0][4:]: line for line in self.lines(b"lru_crawler metadump all")}


@asynccontextmanager
async def misbehaving(answer: Answer, *, greeting: bytes = b"") -> AsyncIterator[int]:
    """Serve `answer` for every line on a loopback port."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(greeting)
        while line := await reader.readline():
            said = answer(line.strip())
            if said is None:
                break
            writer.write(said)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def until(condition: Callable[[], Awaitable[object]], limit_s: float = 20) -> None:
    """Wait until awaiting `condition()` gives something true; fail when it does not in time."""
    deadline = time.monotonic() + limit_s
    while not await condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.05)
