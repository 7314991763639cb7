"""A port before a real server where a test sees what the client says, may act in between, or cut the line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.servers.launch import Server

Rewrite = Callable[[bytes], bytes | None]
"""Called in a thread with what the client said; returns what is passed on, or None to cut both sides off."""


@asynccontextmanager
async def proxied(server: Server, rewrite: Rewrite) -> AsyncIterator[int]:
    """Serve a loopback port that passes everything on to `server`."""
    writers: list[asyncio.StreamWriter] = []
    tasks: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        writers.extend((writer, back))

        async def answers() -> None:
            while data := await there.read(65536):
                writer.write(data)
            writer.close()

        tasks.append(asyncio.create_task(answers()))
        while data := await reader.read(1 << 20):
            passed = await asyncio.to_thread(rewrite, data)
            if passed is None:
                writer.transport.abort()
                back.transport.abort()
                return
            back.write(passed)
        back.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for writer in writers:
            writer.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def before_exec(act: Callable[[], object]) -> Rewrite:
    """Act when the client has looked and sends its write."""

    def rewrite(data: bytes) -> bytes:
        if b"EXEC" in data:
            act()
        return data

    return rewrite


def cut_at(word: bytes) -> Rewrite:
    """Cut the line when the client says `word`."""
    return lambda data: None if word in data else data
