"""The names that a rule or a tag selects, as a stream that waits for whoever takes them."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

from cachetui.actions.strokes import again
from cachetui.errors import CacheError, ServerError, Unreachable
from cachetui.model import Selection
from cachetui.source.base import Source

WAITING_MOST, WAITING_LEAST = 20_000, 5_000
"""Names in memory: above the first the enumeration pauses, below the second it goes on."""
TAKE_S = 0.05
"""A batch that is not full leaves after so long."""
SET_STEP = b"500"


async def members(
    source: Source, tag: bytes, wait: Callable[[CacheError], Awaitable[None]], stopped: asyncio.Event
) -> AsyncIterator[list[bytes]]:
    """Yield the members of a tag's set in steps; some may come again. Raises CacheError.

    `wait` is called for what may pass. After it the set is read from its beginning: a cursor
    may mean nothing any more.
    """
    cursor = b"0"
    while not stopped.is_set():
        reply: object
        try:
            (reply,) = await source.execute([(b"SSCAN", tag, cursor, b"COUNT", SET_STEP)])
        except Unreachable as error:
            reply = error
        if isinstance(reply, CacheError):
            if not (again(reply) or isinstance(reply, Unreachable)):
                raise reply
            cursor = b"0"
            await wait(reply)
            continue
        if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], list | set):
            raise ServerError("SSCAN: the reply makes no sense", "a proxy may not support it")
        cursor = reply[0]
        yield [member for member in reply[1] if member != tag]
        if cursor == b"0":
            return


class Names:
    """A sink for an enumeration, and what comes out of it in batches."""

    def __init__(self, source: Source, selection: Selection) -> None:
        self._selection = selection
        self._fits = re.compile(selection.regex).search if selection.regex else None
        self._waiting: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._held = False
        self._came = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._enumeration = source.enumeration(self, match=selection.pattern, type_=selection.type_)

    @property
    def wanted(self) -> Collection[str]:
        return () if self._selection.ttl is None else ("ttl",)

    @property
    def waiting(self) -> int:
        """How many names nobody has taken yet."""
        return len(self._waiting)

    @property
    def note(self) -> str:
        """What there is to say of the enumeration."""
        return self._enumeration.progress.note

    def add(self, keys: Sequence[bytes]) -> None:
        fits = self._fits
        chosen = keys if fits is None else [key for key in keys if fits(key)]
        with self._lock:
            self._waiting.extend(chosen)
            if len(self._waiting) > WAITING_MOST and not self._held:
                self._held = True
                self._enumeration.pause()
        self._loop.call_soon_threadsafe(self._came.set)

    def add_facts(
        self,
        keys: Sequence[bytes],
        types: Sequence[str | None],
        ttls_ms: Sequence[int | None],
        sizes_bytes: Sequence[int | None],
    ) -> None:
        wanted = self._selection.ttl
        if wanted is None:
            self.add(keys)
            return
        self.add([key for key, ttl in zip(keys, ttls_ms, strict=True) if ttl is not None and (ttl >= 0) is wanted])

    def clear(self) -> None:
        """Names that wait are still to be taken: an enumeration that begins again only repeats them."""

    async def batches(self, size: Callable[[], int], stopped: asyncio.Event) -> AsyncIterator[list[bytes]]:
        """Yield the names in batches of `size()` until all are out or `stopped` is set. Raises CacheError."""
        running = asyncio.create_task(self._enumeration.run())
        whole = True
        try:
            while not stopped.is_set():
                self._came.clear()
                ended = running.done()
                batch = self._take(size(), whole=whole and not ended)
                if batch:
                    whole = True
                    yield batch
                elif ended:
                    break
                else:
                    whole = await self._more(running, stopped)
            if not running.done():
                self._enumeration.cancel()
                self._enumeration.resume()
            await running
        finally:
            running.cancel()

    async def _more(self, running: asyncio.Task[None], stopped: asyncio.Event) -> bool:
        """Wait for names, the end, or a stop; return False when nothing came for a while."""
        waits = {running, asyncio.create_task(self._came.wait()), asyncio.create_task(stopped.wait())}
        try:
            done, _ = await asyncio.wait(waits, timeout=TAKE_S, return_when=asyncio.FIRST_COMPLETED)
            return bool(done)
        finally:
            for task in waits - {running}:
                task.cancel()

    def _take(self, most: int, *, whole: bool) -> list[bytes]:
        with self._lock:
            if whole and len(self._waiting) < most:
                return []
            batch = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            if self._held and len(self._waiting) < WAITING_LEAST:
                self._held = False
                self._enumeration.resume()
        return batch
