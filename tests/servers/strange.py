"""Servers of the tests' own that misbehave: they speak HTTP, say nothing, cut off, or never end a line."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def strange_server(behaviour: Behaviour) -> AsyncIterator[int]:
    """Serve `behaviour` on a free loopback port, which is yielded."""
    links: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        links.add(writer)
        with contextlib.suppress(OSError):  # the client may leave at any moment: that is the point
            await behaviour(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for link in links:
            link.transport.abort()


def says(answer: bytes, *, then_close: bool = False) -> Behaviour:
    """Answer the first bytes with `answer`, whatever they were."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        await writer.drain()
        if then_close:
            writer.close()
        else:
            await reader.read()

    return behave


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Accept and read, and never answer."""
    await reader.read()


async def endless_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begin a status line and never end it."""
    await reader.read(4096)
    writer.write(b"+")
    while True:
        writer.write(b"a" * 65536)
        await writer.drain()


async def endless_elements(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Announce many elements and send them as long as anybody listens."""
    await reader.read(4096)
    writer.write(b"*7000000\r\n")
    while True:
        writer.write(b"$60000\r\n" + b"a" * 60000 + b"\r\n")
        await writer.drain()


async def slow_drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send one byte of a long reply now and then: each single read is quick, the whole never ends."""
    await reader.read(4096)
    writer.write(b"$100000\r\n")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.05)


def cuts_after(answers: int, fragment: bytes) -> Behaviour:
    """Greet like a server for some commands, then send `fragment` of a reply and reset the connection."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(answers):
            if not await reader.read(65536):
                return
            writer.write(b"-ERR unknown command\r\n")
        await reader.read(65536)
        writer.write(fragment)
        await writer.drain()
        link: socket.socket = writer.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return behave
