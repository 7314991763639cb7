"""Drive one caching pattern: readers and writers at a bounded rate, with a database behind the cache."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal

from cachetui.demo.database import Database
from cachetui.patterns.aio import CacheAside, CircuitBreaker, Flusher, WriteBehind, WriteThrough, cached
from cachetui.patterns.codec import Raw
from cachetui.patterns.counts import Counts
from cachetui.patterns.errors import Backlogged
from cachetui.patterns.store import bind

Pattern = Literal["cache-aside", "read-through", "write-through", "write-behind"]

PATTERNS: tuple[Pattern, ...] = ("cache-aside", "read-through", "write-through", "write-behind")
PREFIX = "cachetui:load:"
TTL_S = 60.0
AT_ONCE = 64
"""So many reads and writes are under way at most; what is due beyond that is left out and counted."""
STEP_S = 0.01
DRAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to drive."""

    pattern: Pattern
    keys: int
    skew: float
    """Exponent of the keys' popularity (Zipf); 0: all alike."""
    rate: int
    """Reads and writes a second."""
    duration_s: float
    writes: float
    """Share of writes, 0 to 1."""
    seed: int = 1


@dataclass(slots=True)
class Driven:
    """What came of it."""

    counts: Counts
    seconds: float = 0.0
    read_us: list[int] = field(default_factory=list)
    """How long each read took."""
    write_us: list[int] = field(default_factory=list)
    left_out: int = 0
    """Reads and writes that were due while too many were under way."""
    errors: Counter[str] = field(default_factory=Counter)
    """By the error's name."""
    flushed: int | None = None
    """Updates that write-behind wrote; None for the other patterns."""
    removed: int = 0
    """Cached values taken away at the end."""


Read = Callable[[str], Awaitable[Any]]
Write = Callable[[str, bytes], Awaitable[Any]]


class Drive:
    """One run against an open client. `stop` ends it early; keys of the run are removed in the end."""

    def __init__(self, client: Any, wanted: Wanted) -> None:
        self._client, self._wanted = client, wanted
        self._rng = random.Random(wanted.seed)
        self._weights = list(accumulate(1 / (rank + 1) ** wanted.skew for rank in range(wanted.keys)))
        self._stop = asyncio.Event()
        self._touched: set[str] = set()
        self._queue = f"cachetui-load-{os.getpid()}"
        self._flusher: Flusher | None = None

    def stop(self) -> None:
        """End the run: what is under way ends, and the keys are removed."""
        self._stop.set()

    async def run(self) -> Driven:
        """Drive, and return what came of it. Raises Unsupported where the server cannot do the pattern."""
        wanted = self._wanted
        async with Database(wanted.keys) as database:
            read, write, counts = self._made(database)
            driven = Driven(counts)
            if self._flusher is not None:
                await self._flusher.start()
            try:
                await self._paced(driven, read, write)
            finally:
                if self._flusher is not None:
                    await self._flusher.close(DRAIN_S)
                    driven.flushed = self._flusher.written
                driven.removed = await self._clean(driven)
        return driven

    def _made(self, database: Database) -> tuple[Read, Write, Counts]:
        """Return how the pattern reads and writes."""
        client, pattern = self._client, self._wanted.pattern
        breaker = CircuitBreaker(failures=16, reset_s=1.0)
        options: dict[str, Any] = {"prefix": PREFIX, "breaker": breaker}
        if pattern == "read-through":
            function = cached(client, ttl=TTL_S, key="{key}", codec=Raw(), **options)(database.load)

            async def write(key: str, value: bytes) -> None:
                await database.write(key, value)
                await function.invalidate(key)

            return function, write, function.cache.counts
        if pattern == "write-behind":
            queue = WriteBehind(client, self._queue, prefix=PREFIX, max_backlog=50_000)
            self._flusher = Flusher(client, self._queue, database.write_all, prefix=PREFIX)
            behind = CacheAside(client, queue.reading(database.load), TTL_S, **options)
            return behind.get, queue.put, behind.counts
        cache = CacheAside(client, database.load, TTL_S, **options)
        if pattern == "write-through":
            through = WriteThrough(client, database.write, TTL_S, prefix=PREFIX, on_error="bypass", breaker=breaker)
            return cache.get, through.write, cache.counts

        async def change(key: str, value: bytes) -> None:
            await database.write(key, value)
            await cache.invalidate(key)

        return cache.get, change, cache.counts

    async def _paced(self, driven: Driven, read: Read, write: Write) -> None:
        wanted, began, launched = self._wanted, time.monotonic(), 0
        running: set[asyncio.Task[None]] = set()
        names = range(wanted.keys)
        while (elapsed_s := time.monotonic() - began) < wanted.duration_s and not self._stop.is_set():
            due = int(wanted.rate * elapsed_s) - launched
            launched += due
            free = max(0, AT_ONCE - len(running))
            driven.left_out += max(0, due - free)
            for number in self._rng.choices(names, cum_weights=self._weights, k=min(due, free)):
                task = asyncio.create_task(self._one(driven, f"k{number}", read, write))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.sleep(STEP_S)
        if running:
            await asyncio.wait(running)
        driven.seconds = time.monotonic() - began

    async def _one(self, driven: Driven, key: str, read: Read, write: Write) -> None:
        self._touched.add(key)
        failures: tuple[type[Exception], ...] = (*bind(self._client, "tasks")[0].failures, Backlogged)
        began = time.perf_counter()
        try:
            if self._rng.random() < self._wanted.writes:
                await write(key, b"%d" % self._rng.getrandbits(64))
                driven.write_us.append(round((time.perf_counter() - began) * 1e6))
            else:
                await read(key)
                driven.read_us.append(round((time.perf_counter() - began) * 1e6))
        except failures as error:
            driven.errors[type(error).__name__] += 1

    async def _clean(self, driven: Driven) -> int:
        """Remove what the run has left in the cache; it would expire by itself."""
        store, _ = bind(self._client, "tasks")
        try:
            removed = await store.remove([f"{PREFIX}{key}".encode() for key in self._touched])
            if self._flusher is not None:
                stream = f"behind:{{{self._queue}:0}}".encode()
                await store.delete(stream, stream + b":values", stream + b":dead")
        except store.failures as error:
            driven.errors[type(error).__name__] += 1
            return 0
        return removed
