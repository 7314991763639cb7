"""What happens on a miss: take the lease, load, store under it; or wait for who has it."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from cachetui.patterns.codec import Codec
from cachetui.patterns.entry import PREFIX, Entry
from cachetui.patterns.errors import Unreadable
from cachetui.patterns.guard import FAILED, Guard
from cachetui.patterns.running import Runtime
from cachetui.patterns.store import Lease, Store
from cachetui.patterns.tags import TagSets

log = logging.getLogger("cachetui.patterns")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.002, 0.05


class Load(NamedTuple):
    """How to get a value from the source of truth."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    named: dict[str, Any]
    tags: tuple[str, ...]


class Loaded(NamedTuple):
    """A value that everybody who waited may have."""

    value: Any
    is_current: bool
    """Nothing has changed since before the load: whoever asked meanwhile may have it too."""


class Read(NamedTuple):
    """A value from the cache."""

    value: Any
    fresh_until_ms: int = 0
    cost_ms: int = 0


@dataclass(frozen=True, slots=True)
class Times:
    """How long things live; see `CacheAside`."""

    ttl_s: float
    jitter: float
    negative_ttl_s: float | None
    stale_s: float
    early: float
    lease_s: float
    wait_s: float

    def __post_init__(self) -> None:
        if min(self.ttl_s, self.lease_s) <= 0 or (self.negative_ttl_s is not None and self.negative_ttl_s <= 0):
            raise ValueError("ttl_s, negative_ttl_s and lease_s must be more than 0")
        if not 0 <= self.jitter < 1 or min(self.stale_s, self.early, self.wait_s) < 0:
            raise ValueError("jitter must be at least 0 and less than 1, stale_s, early and wait_s at least 0")

    @property
    def lease_ms(self) -> int:
        return max(1, round(self.lease_s * 1000))

    @property
    def longest_ms(self) -> int:
        """How long a value that is being loaded now can be in the cache."""
        return round((self.ttl_s * (1 + self.jitter) + self.stale_s) * 1000) + self.lease_ms


class Loading:
    """Reads and fills single entries of one cache."""

    def __init__(self, store: Store, runtime: Runtime, guard: Guard, *, codec: Codec, times: Times, rng: random.Random):
        self._store, self._runtime, self._guard, self._counts = store, runtime, guard, guard.counts
        self._codec, self._times, self._rng = codec, times, rng
        self._tag_sets: TagSets | None = None

    def read(self, data: bytes) -> Read | None:
        """Return what lies in the cache, None when it cannot be read."""
        try:
            if not data.startswith(PREFIX):
                return Read(self._codec.unpack(data))
            entry = Entry.decode(data)
            value = None if entry.body is None else self._codec.unpack(entry.body, entry.packed)
            return Read(value, entry.fresh_until_ms, entry.cost_ms)
        except Unreadable:
            self._counts.unreadable += 1
            return None

    def is_due(self, read: Read) -> bool:
        """Tell whether a value is past its time, or is chosen to be refreshed before (XFetch)."""
        now_ms = time.time() * 1000
        if self._times.early:
            now_ms -= read.cost_ms * self._times.early * math.log(1.0 - self._rng.random())
        return now_ms >= read.fresh_until_ms

    async def fetch(self, name: bytes, load: Load) -> Loaded:
        """Take the lease and load; while another reader has it, wait for his value."""
        until, pause_s, unreadable = time.monotonic() + self._times.wait_s, FIRST_PAUSE_S, False
        while True:
            held = await self._guard.run(self._store.lease, name, self._times.lease_ms, unreadable)
            if isinstance(held, Lease):
                return await self._fill(held, load)
            if held is FAILED:
                return await self.alone(load)
            if isinstance(held, bytes):
                if (read := self.read(held)) is not None:
                    self._counts.waited += 1
                    return Loaded(read.value, False)
                unreadable = True
                continue
            if held == "writer" or time.monotonic() >= until:
                return Loaded(self._same(await self._load(load)), False)
            await self._runtime.sleep(pause_s * self._rng.uniform(0.7, 1.3))
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def alone(self, load: Load) -> Loaded:
        """Load without a cache. Whoever waits takes it: the database has enough to do when the cache is down."""
        return Loaded(self._same(await self._load(load)), True)

    async def refresh(self, name: bytes, load: Load) -> None:
        """Load a value anew, if nobody else does. A failed load keeps its lease: it is not tried again at once."""
        try:
            held = await self._guard.run(self._store.lease, name, self._times.lease_ms, True)
            if isinstance(held, Lease):
                await self._fill(held, load, refresh=True)
        except Exception as error:
            self._counts.refresh_errors += 1
            log.warning("a stale value could not be refreshed: %s", type(error).__name__, exc_info=error)

    async def _load(self, load: Load) -> Any:
        self._counts.loads += 1
        return await self._runtime.call(load.function, *load.args, **load.named)

    async def _fill(self, lease: Lease, load: Load, refresh: bool = False) -> Loaded:
        """Load and store under a lease; a failed load gives the lease back, unless it was a refresh."""
        began = time.monotonic()
        try:
            # Before the load: who invalidates the tag from now on finds the key and ends the lease.
            tagged = not load.tags or await self._tag(lease.name, load.tags) is not FAILED
            value = await self._load(load)
            framed = self._frame(value, time.monotonic() - began) if tagged else None
        except BaseException:
            if not refresh:
                await self._give_back(lease, False)
            raise
        if framed is None:
            return Loaded(self._same(value), await self._give_back(lease, refresh))
        stored = await self._guard.run(self._store.fill, lease, *framed)
        self._counts.refused += stored is False
        return Loaded(self._same(value), stored is True)

    async def _give_back(self, lease: Lease, remove: bool) -> bool:
        try:
            return await self._guard.run(self._store.release, lease, remove) is True
        except self._store.failures as error:
            log.debug("a lease was not given back and runs out: %s", type(error).__name__)
            return False

    def _same(self, value: Any) -> Any:
        return None if value is None else self._codec.kept(value)

    def _frame(self, value: Any, cost_s: float) -> tuple[bytes, int] | None:
        """Return what to store and for how many milliseconds; None for what is not to be stored."""
        times = self._times
        life_s = times.ttl_s if value is not None else times.negative_ttl_s
        if life_s is None:
            return None
        life_ms = max(1, round(life_s * self._rng.uniform(1 - times.jitter, 1 + times.jitter) * 1000))
        if value is None:
            return Entry(None).encode(), life_ms
        packed = self._codec.pack(value)
        if packed is None:
            self._counts.refused += 1
            return None
        fresh_until_ms = round(time.time() * 1000) + life_ms if times.stale_s or times.early else 0
        entry = Entry(*packed, fresh_until_ms, round(cost_s * 1000))
        return entry.encode(), life_ms + round(times.stale_s * 1000)

    def use_tags(self) -> TagSets:
        """Return the sets of tags. Raises Unsupported where the server has none."""
        if self._tag_sets is None:
            self._tag_sets = TagSets(self._store)
        return self._tag_sets

    async def _tag(self, name: bytes, tags: tuple[str, ...]) -> Any:
        return await self._guard.run(self.use_tags().add, name, tags, self._times.longest_ms)
