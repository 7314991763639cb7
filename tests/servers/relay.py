"""A bad line to a server: it forwards bytes, and cuts or delays them where it is told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from random import Random


class Relay:
    """Listens on a free loopback port while it is entered, in a thread of its own.

    After each `cut_every` bytes or so, in either direction, the connection is reset; each piece
    waits up to `delay_s` before it goes on. Both may be changed at any time. A connection on which
    the client says `loses_reply_to` is reset when the server answers; one on which it says
    `loses` at once, and the server never hears of it.
    """

    def __init__(self, port: int, random: Random, *, cut_every: int = 0, delay_s: float = 0.0) -> None:
        self._to, self._random = port, random
        self.cut_every, self.delay_s = cut_every, delay_s
        self.loses_reply_to = self.loses = b""
        self.port = 0
        self.cuts = 0
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Relay:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return

        def cut() -> None:
            self.cuts += 1
            for end in (writer, upstream[1]):
                end.transport.abort()

        awaited = asyncio.Event()
        for source, sink in ((reader, upstream[1]), (upstream[0], writer)):
            task = self._loop.create_task(self._forward(source, sink, cut, awaited, asks=source is reader))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        cut: Callable[[], None],
        awaited: asyncio.Event,
        *,
        asks: bool,
    ) -> None:
        left = self._next_cut()
        try:
            while data := await source.read(16_384):
                if self.delay_s:
                    await asyncio.sleep(self._random.random() * self.delay_s)
                if (not asks and awaited.is_set()) or (asks and self.loses and self.loses in data):
                    cut()
                    return
                if asks and self.loses_reply_to and self.loses_reply_to in data:
                    awaited.set()
                if self.cut_every and len(data) >= left:
                    sink.write(data[: max(0, left)])
                    await sink.drain()
                    cut()
                    return
                left -= len(data)
                sink.write(data)
                await sink.drain()
        except OSError:
            cut()
        finally:
            sink.transport.close() if sink.transport.is_closing() else sink.close()

    def _next_cut(self) -> int:
        return self._random.randrange(1, 2 * self.cut_every) if self.cut_every else 1 << 60
