"""Cache-aside: look in the cache, on a miss load from the source of truth and store the result."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple

from cachetui.patterns.breaker import CircuitBreaker
from cachetui.patterns.codec import Codec, Serialiser
from cachetui.patterns.counts import Counts
from cachetui.patterns.entry import Entry
from cachetui.patterns.errors import Unreadable
from cachetui.patterns.guard import FAILED, Bulkhead, Guard, OnError
from cachetui.patterns.local import Local
from cachetui.patterns.running import Abandoned, Flight
from cachetui.patterns.store import Face, Lease, bind
from cachetui.patterns.tags import TagSets

log = logging.getLogger("cachetui.patterns")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.002, 0.05


class Load(NamedTuple):
    """How to get a value from the source of truth."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    named: dict[str, Any]
    tags: tuple[str, ...]


class CacheAsideCore:
    """Reads through a cache.

    `loader(key)` fetches from the source of truth; None means: there is none. `ttl_s` is how long a value is kept,
    `jitter` spreads it: each lives a time drawn evenly from `ttl_s * (1 - jitter)` to `ttl_s * (1 + jitter)`, so that
    values stored together do not expire together. With `negative_ttl_s` an absence is kept that long too.
    With `stale_s` a value past its time is still returned for so long, while one caller refreshes it in the
    background. With `early` (1.0 is a good value) a refresh in the background begins at random before the time is
    over, the sooner the longer a load takes (XFetch). `codec` makes bytes of values; without one, values are bytes.
    `tags` belong to every key. `local` keeps a first level in this process.

    Guarantees:

    - In one process, concurrent gets of one missing key share one load. Among all processes one loads, under a lease
      of `lease_s`; the others wait up to `wait_s` for its value and then load on their own, without storing.
    - A stale load never overwrites: a value is stored only under a lease that `invalidate`, a `WriteThrough` and a
      later lease end. A process that was paused, and one whose load began before a change, store nothing.
    - When `invalidate` has returned, the keys are gone from the cache and no load that began before it stores. It
      raises if the cache did not confirm, in both modes, because an old value might still be there.
    - A get returns a value at most `ttl_s * (1 + jitter) + stale_s` old (by this machine's clock), plus its own time.
    - The loader's error reaches every get that waited for that load, and is never stored. While a value is stale, a
      loader that fails is tried again after `lease_s` and the stale value is returned.
    - With `on_error="bypass"`, a cache that is down, stalled, full or holds something unreadable never fails a `get`:
      the loader answers. With `"raise"`, the cache's own error is raised. With a `breaker`, a cache that gives no
      answer costs nothing while the breaker is open.
    - With asyncio, each cache call ends within `timeout_s`, and a caller that is cancelled does not disturb the
      others. With threads the limit is the client's own `socket_timeout`: set one, and retries to none.

    Not guaranteed: a failover of Redis may lose an `invalidate` that was confirmed (replication is not synchronous);
    then an old value lives at most its time. Under Memcached times are whole seconds.
    """

    _face: Face

    def __init__(
        self,
        client: Any,
        loader: Callable[..., Any],
        ttl_s: float,
        *,
        prefix: str = "",
        jitter: float = 0.1,
        negative_ttl_s: float | None = None,
        stale_s: float = 0.0,
        early: float = 0.0,
        lease_s: float = 5.0,
        wait_s: float = 2.0,
        codec: Codec | Serialiser | None = None,
        tags: Iterable[str] = (),
        local: Local | None = None,
        on_error: OnError = "bypass",
        breaker: CircuitBreaker | None = None,
        bulkhead: Bulkhead | None = None,
        timeout_s: float = 1.0,
        rng: random.Random | None = None,
    ) -> None:
        if min(ttl_s, lease_s, timeout_s) <= 0 or (negative_ttl_s is not None and negative_ttl_s <= 0):
            raise ValueError("ttl_s, negative_ttl_s, lease_s and timeout_s must be more than 0")
        if not 0 <= jitter < 1 or min(stale_s, early, wait_s) < 0:
            raise ValueError("jitter must be at least 0 and less than 1, stale_s, early and wait_s at least 0")
        self.ttl_s, self.prefix, self.jitter, self.negative_ttl_s = ttl_s, prefix, jitter, negative_ttl_s
        self.stale_s, self.early, self.wait_s = stale_s, early, wait_s
        self.counts = Counts()
        self._lease_ms = max(1, round(lease_s * 1000))
        self._codec = codec if isinstance(codec, Codec) else Codec(codec)
        self._loader, self._own_tags, self._prefix = loader, tuple(tags), prefix.encode()
        self._rng = rng or random.Random()
        self._store, self._runtime = bind(client, self._face)
        self._guard = Guard(
            self._store,
            self._runtime,
            self.counts,
            timeout_s=timeout_s,
            on_error=on_error,
            breaker=breaker,
            bulkhead=bulkhead,
        )
        self._tag_sets = TagSets(self._store) if self._own_tags else None
        self._local = local.bind(client, self._face, self._prefix) if local is not None else None
        self._lock = threading.Lock()  # never held while anything is awaited
        self._flights: dict[str, Flight] = {}
        self._refreshing: set[str] = set()

    # ----- what the faces offer

    async def _get(self, key: str, load: Load | None = None) -> Any:
        name, local, stamp = self._prefix + key.encode(), self._local, 0
        if local is not None:
            kept, stamp = local.look(name)
            if kept is not None:
                self.counts.hits += 1
                self.counts.local_hits += 1
                return self._value(kept)
        return await self._share(key, name, load or self._plain(key), stamp)

    async def _invalidate(self, keys: Iterable[str]) -> int:
        names = {key: self._prefix + key.encode() for key in keys}
        if not names:
            return 0
        self._forget(names)
        removed: int = await self._guard.sure(self._store.remove, list(names.values()))
        # A get that came in meanwhile may have seen the old value: nobody may join it any more.
        self._forget(names)
        return removed

    async def _close(self) -> None:
        if self._local is not None:
            self._local.close()
        await self._runtime.settle()

    # ----- reading

    def _plain(self, key: str) -> Load:
        return Load(self._loader, (key,), {}, self._own_tags)

    def _read(self, data: bytes) -> tuple[Entry, Any] | None:
        """Return what lies in the cache and its value, None when it cannot be read."""
        try:
            entry = Entry.decode(data)
            return entry, self._value(entry)
        except Unreadable:
            self.counts.unreadable += 1
            return None

    def _value(self, entry: Entry) -> Any:
        return None if entry.body is None else self._codec.unpack(entry.body, entry.packed)

    def _is_due(self, entry: Entry) -> bool:
        """Tell whether a value is past its time, or is chosen to be refreshed before (XFetch)."""
        now_ms = time.time() * 1000
        if self.early:
            now_ms -= entry.cost_ms * self.early * math.log(1.0 - self._rng.random())
        return now_ms >= entry.fresh_until_ms

    def _forget(self, names: dict[str, bytes]) -> None:
        with self._lock:
            for key in names:
                self._flights.pop(key, None)
        if self._local is not None:
            self._local.drop(names.values())

    # ----- loading

    async def _share(self, key: str, name: bytes, load: Load, stamp: int) -> Any:
        """Look the key up and load it where that is needed, or wait for another caller who does."""
        while True:
            with self._lock:
                flight = self._flights.get(key)
                leading = flight is None
                if flight is None:
                    flight = self._flights[key] = self._runtime.flight()
                else:
                    self.counts.joined += 1
            if leading:
                return await self._lead(key, name, load, stamp, flight)
            try:
                return await flight.wait()
            except Abandoned:
                continue

    async def _lead(self, key: str, name: bytes, load: Load, stamp: int, flight: Flight) -> Any:
        try:
            found = await self._guard.run(self._store.get, name)
            read = None if found is None or found is FAILED else self._read(found)
        except BaseException as error:
            self._landed(key, flight)
            flight.settle(error=error)
            raise
        if read is None:
            self.counts.misses += found is None
            # A cache that gave no answer is not asked again.
            work = self._alone(load) if found is FAILED else self._fetch(name, load)
            return await flight.lead(self._fly(key, flight, work))
        self.counts.hits += 1
        entry, value = read
        if entry.fresh_until_ms and self._is_due(entry):
            self.counts.stale += 1
            self._start_refresh(key, name, load)
        elif self._local is not None:
            self._local.keep(name, entry, stamp)
        self._landed(key, flight)
        flight.settle(value)
        return value

    async def _fly(self, key: str, flight: Flight, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await work
        finally:
            self._landed(key, flight)

    def _landed(self, key: str, flight: Flight) -> None:
        """Let nobody join a flight any more."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]

    async def _fetch(self, name: bytes, load: Load) -> Any:
        """Take the lease and load; while somebody else has it, wait for his value."""
        until, pause_s, unreadable = time.monotonic() + self.wait_s, FIRST_PAUSE_S, False
        while True:
            held = await self._guard.run(self._store.lease, name, self._lease_ms, unreadable)
            if isinstance(held, Lease):
                return await self._load_and_fill(held, load)
            if held is FAILED:
                return await self._alone(load)
            if held is not None:
                if (read := self._read(held)) is not None:
                    self.counts.waited += 1
                    return read[1]
                unreadable = True
                continue
            if time.monotonic() >= until:
                return await self._alone(load)
            await self._runtime.sleep(pause_s * self._rng.uniform(0.7, 1.3))
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def _alone(self, load: Load) -> Any:
        return self._same(await self._load(load))

    async def _load(self, load: Load) -> Any:
        self.counts.loads += 1
        return await self._runtime.call(load.function, *load.args, **load.named)

    async def _load_and_fill(self, lease: Lease, load: Load, refresh: bool = False) -> Any:
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
            await self._give_back(lease, refresh)
        else:
            self.counts.refused += await self._guard.run(self._store.fill, lease, *framed) is False
        return self._same(value)

    async def _give_back(self, lease: Lease, remove: bool) -> None:
        try:
            await self._guard.run(self._store.release, lease, remove)
        except self._store.failures as error:
            log.debug("a lease was not given back and runs out: %s", type(error).__name__)

    def _same(self, value: Any) -> Any:
        return None if value is None else self._codec.kept(value)

    def _frame(self, value: Any, cost_s: float) -> tuple[bytes, int] | None:
        """Return what to store and for how many milliseconds; None for what is not to be stored."""
        life_s = self.ttl_s if value is not None else self.negative_ttl_s
        if life_s is None:
            return None
        life_ms = max(1, round(life_s * self._rng.uniform(1 - self.jitter, 1 + self.jitter) * 1000))
        if value is None:
            return Entry(None).encode(), life_ms
        packed = self._codec.pack(value)
        if packed is None:
            self.counts.refused += 1
            return None
        fresh_until_ms = round(time.time() * 1000) + life_ms if self.stale_s or self.early else 0
        entry = Entry(*packed, fresh_until_ms, round(cost_s * 1000))
        return entry.encode(), life_ms + round(self.stale_s * 1000)

    async def _tag(self, name: bytes, tags: tuple[str, ...]) -> Any:
        if self._tag_sets is None:
            self._tag_sets = TagSets(self._store)
        life_ms = round((self.ttl_s * (1 + self.jitter) + self.stale_s) * 1000) + self._lease_ms
        return await self._guard.run(self._tag_sets.add, name, tags, life_ms)

    # ----- refreshing in the background

    def _start_refresh(self, key: str, name: bytes, load: Load) -> None:
        with self._lock:
            if key in self._refreshing:
                return
            self._refreshing.add(key)
        if not self._runtime.spawn(self._refresh(key, name, load)):
            self._refreshing.discard(key)

    async def _refresh(self, key: str, name: bytes, load: Load) -> None:
        try:
            held = await self._guard.run(self._store.lease, name, self._lease_ms, True)
            if isinstance(held, Lease):
                await self._load_and_fill(held, load, refresh=True)
        except Exception as error:
            self.counts.refresh_errors += 1
            log.warning("a stale value could not be refreshed: %s", type(error).__name__, exc_info=error)
        finally:
            self._refreshing.discard(key)
