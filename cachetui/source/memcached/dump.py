"""`lru_crawler metadump` of one server, read to its end at once and handed out in steps."""

from __future__ import annotations

import asyncio
import re
from collections import deque

from cachetui.errors import Busy, CacheError, NotACache, ServerError, Unreachable
from cachetui.source import faults
from cachetui.source.memcached.connection import LINE_BYTES, Connection
from cachetui.source.memcached.metadump import begin, name_of, opened, refusal
from cachetui.source.memcached.server import Server

PENDING_BYTES = 64 * 1024 * 1024
"""Names kept for a reader that is behind; beyond it the dump waits, and then gives up."""
BEHIND_S = 5.0
"""How long a dump waits for such a reader before it is dropped: held longer, it is in the server's way."""

_KEY = re.compile(rb"^key=(\S+) ", re.MULTILINE)


class Dump:
    """Drains one server's dump in the background, whatever the pace of the reader.

    A dump that is read slowly keeps the server's LRU crawler, and in memcached 1.6.18 a second
    dump (or any crawler command) meanwhile stalls the worker thread that took it: so names are
    read as fast as they come and wait here, still encoded and in blobs.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._timeout_s = server.timeout_s
        self._blobs: deque[bytes] = deque()
        self._pending_bytes = 0
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._error: CacheError | None = None
        self._task = asyncio.create_task(self._drain(), name=f"memcached dump {server.name}")

    async def take(self, count: int) -> list[bytes]:
        """Return up to `count` names; none means the end. Put a deadline around it."""
        while not self._blobs and not self._task.done():
            self._changed.clear()
            await self._changed.wait()
        if not self._blobs:
            if self._error is not None:
                raise self._error
            return []
        taken: list[bytes] = []
        while self._blobs and len(taken) < count:
            blob = self._blobs.popleft()
            self._pending_bytes -= len(blob)
            names = blob.split(b"\n")
            room = count - len(taken)
            taken += names[:room]
            if len(names) > room:
                self._put(b"\n".join(names[room:]), first=True)
        self._taken.set()
        return [name_of(name) for name in opened(b"\n".join(taken)).split(b"\n")] if taken else []

    def close(self) -> None:
        """Stop reading. Never raises."""
        self._error = self._error or Unreachable("the scan was ended before its end")
        self._task.cancel()

    async def _drain(self) -> None:
        try:
            await self._run()
        except TimeoutError:
            self._error = faults.timed_out(self._server.address, self._server.timeout_s)
        except CacheError as error:
            self._error = error
        finally:
            # The waiting reader looks at `done`, which is true only after this step of the loop.
            asyncio.get_running_loop().call_soon(self._changed.set)

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._server.dumping.acquire()
        except TimeoutError:
            raise Busy(f"{self._server.name}: another dump is still being read", "wait until it ends") from None
        server = self._server
        try:
            begun = await begin(
                server.dial, server.count, name=server.name, timeout_s=self._timeout_s, wait_s=self._timeout_s
            )
            try:
                await self._read(begun.connection, begun.first)
            finally:
                begun.connection.close()
        finally:
            server.dumping.release()

    async def _read(self, connection: Connection, first: bytes) -> None:
        rest = first
        while True:
            cut = rest.rfind(b"\n") + 1
            lines, rest = rest[:cut], rest[cut:]
            if lines and self._keep(lines):
                return
            if len(rest) > LINE_BYTES:
                raise NotACache(f"{self._server.name} sends an endless line in its dump: not memcached")
            if self._pending_bytes > PENDING_BYTES:
                await self._wait_for_the_reader()
            async with asyncio.timeout(self._timeout_s):
                rest += await connection.chunk()

    def _keep(self, lines: bytes) -> bool:
        """Keep the names of whole lines; tell whether they were the last."""
        names = _KEY.findall(lines)
        last = lines.endswith((b"END\r\n", b"END\n"))
        if len(names) + last != lines.count(b"\n"):
            odd = next((line for line in lines.splitlines() if not line.startswith(b"key=")), lines[:200])
            raise refusal(odd)
        if names:
            self._put(b"\n".join(names))
            self._changed.set()
        return last

    def _put(self, blob: bytes, *, first: bool = False) -> None:
        if first:
            self._blobs.appendleft(blob)
        else:
            self._blobs.append(blob)
        self._pending_bytes += len(blob)

    async def _wait_for_the_reader(self) -> None:
        while self._pending_bytes > PENDING_BYTES:
            self._taken.clear()
            try:
                async with asyncio.timeout(BEHIND_S):
                    await self._taken.wait()
            except TimeoutError:
                raise ServerError(
                    f"{self._server.name}: the scan stood still for too long and was given up",
                    "begin the scan again",
                    word="SCAN",
                ) from None
