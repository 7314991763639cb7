"""A proxy on loopback, a process of its own: every byte is delayed by half a round trip in each direction."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections import deque
from types import TracebackType

READ_BYTES = 1 << 16
AHEAD_BYTES = 64 << 20


class Proxy:
    """Listens on `port` while it is entered."""

    def __init__(self, to_port: int, round_trip_s: float) -> None:
        self._argv = [sys.executable, __file__, str(to_port), str(round_trip_s)]
        self.port = 0

    def __enter__(self) -> Proxy:
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()


class Delay:
    """Connections to `to_port`, each piece of data later by `delay_s`."""

    def __init__(self, to_port: int, delay_s: float) -> None:
        self._to_port, self._delay_s = to_port, delay_s
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._to_port, limit=AHEAD_BYTES)
        for source, sink in ((reader, to_writer), (to_reader, writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Pass on what comes, each piece after the delay and in order."""
        now = asyncio.get_running_loop().time
        due: deque[tuple[float, bytes]] = deque()
        some = asyncio.Event()

        async def deliver() -> None:
            while True:
                while not due:
                    some.clear()
                    await some.wait()
                at, data = due[0]
                if (early := at - now()) > 0:
                    await asyncio.sleep(early)
                due.popleft()
                sink.write(data)
                if not data:
                    sink.close()
                    return
                await sink.drain()

        delivering = asyncio.create_task(deliver())
        with contextlib.suppress(OSError):  # one side went away: so does the other
            while data := await source.read(READ_BYTES):
                due.append((now() + self._delay_s, data))
                some.set()
        due.append((now() + self._delay_s, b""))
        some.set()
        with contextlib.suppress(OSError):
            await delivering


async def main(to_port: int, round_trip_s: float) -> None:
    delay = Delay(to_port, round_trip_s / 2)
    server = await asyncio.start_server(delay.accept, "127.0.0.1", 0, limit=AHEAD_BYTES)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until whoever started it is gone


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
