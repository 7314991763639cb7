"""Cache-aside: look in the cache, on a miss load from the source of truth and store the result."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, NamedTuple

from cachetui.patterns.breaker import CircuitBreaker
from cachetui.patterns.codec import Codec, Serialiser
from cachetui.patterns.counts import Counts
from cachetui.patterns.guard import FAILED, Bulkhead, Guard, OnError
from cachetui.patterns.loading import Load, Loaded, Loading, Read, Times
from cachetui.patterns.local import Local
from cachetui.patterns.running import Abandoned, Flight
from cachetui.patterns.store import Face, bind


class Asked(NamedTuple):
    """One get."""

    key: str
    name: bytes
    load: Load | None
    stamp: int
    """Of the local level."""


UNASKED: Final = object()
"""The cache was not looked at yet."""


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
      of `lease_s`; the others wait up to `wait_s` for its value and then load on their own, without storing. While a
      `WriteThrough` is under way, readers load without waiting and without storing.
    - A stale load never overwrites: a value is stored only under a lease that `invalidate`, a `WriteThrough` and a
      later lease end. A process that was paused, and one whose load began before a change, store nothing.
    - When `invalidate` has returned, here or in any process, the keys are gone from the cache, a get that starts
      afterwards gets nothing that was read before, and no load that began before stores. It raises if the cache did
      not confirm, in both modes, because an old value might still be there.
    - A get returns a value at most `ttl_s * (1 + jitter) + stale_s` old (by this machine's clock), plus its own time.
    - The loader's error reaches every get that waited for that load, and is never stored. While a value is stale, a
      loader that fails is tried again after `lease_s` and the stale value is returned.
    - With `on_error="bypass"`, a cache that is down, stalled, full or holds something unreadable never fails a `get`:
      the loader answers. With `"raise"`, the cache's own error is raised. With a `breaker`, a cache that gives no
      answer costs nothing while the breaker is open.
    - With asyncio, each cache call ends within `timeout_s`, and a caller that is cancelled does not disturb the
      others. With threads the limit is the client's own `socket_timeout`: set one, and retries to none.

    Not guaranteed: a failover of Redis may lose an `invalidate` that was confirmed (replication is not synchronous);
    then an old value lives at most its time. While the cache gives no answer, a get may share a load that began
    before it. Under Memcached times are whole seconds. On Redis the client's user needs EVALSHA and EVAL.
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
        self._times = Times(ttl_s, jitter, negative_ttl_s, stale_s, early, lease_s, wait_s)
        self.prefix = prefix
        self.counts = Counts()
        self._loader, self._own_tags, self._prefix = loader, tuple(tags), prefix.encode()
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
        codec = codec if isinstance(codec, Codec) else Codec(codec)
        rng = rng or random.Random()
        self._loading = Loading(self._store, self._runtime, self._guard, codec=codec, times=self._times, rng=rng)
        if self._own_tags:
            self._loading.use_tags()
        self._local = local.bind(client, self._face, self._prefix) if local is not None else None
        self._lock = threading.Lock()  # never held while anything is awaited
        self._turn = 0
        self._flights: dict[str, Flight] = {}
        self._refreshing: set[str] = set()

    # ----- what the faces offer

    async def _get(self, key: str, load: Load | None = None) -> Any:
        """Look the key up and load it where that is needed, or take what another caller gets who does."""
        name, stamp = self._prefix + key.encode(), 0
        if self._local is not None:
            kept, stamp = self._local.look(name)
            if kept is not None:
                self.counts.hits += 1
                self.counts.local_hits += 1
                return kept.value
        if self._runtime.shares_lookups:
            return await self._share(Asked(key, name, load, stamp), UNASKED)
        found = await self._guard.run(self._store.get, name)
        if found is not None and found is not FAILED and (read := self._loading.read(found)) is not None:
            self._hit(Asked(key, name, load, stamp), read)
            return read.value
        return await self._share(Asked(key, name, load, stamp), found)

    async def _invalidate(self, keys: Sequence[str]) -> int:
        names = [self._prefix + key.encode() for key in keys]
        if not names:
            return 0
        removed: int = await self._guard.sure(self._store.remove, names)
        with self._lock:  # later gets need not wait for a load that has to be done again
            for key in keys:
                self._flights.pop(key, None)
        if self._local is not None:
            self._local.drop(names)
        return removed

    async def _close(self) -> None:
        if self._local is not None:
            self._local.close()
        await self._runtime.settle()

    # ----- one flight for all who ask

    async def _share(self, ask: Asked, found: Any) -> Any:
        """Look the key up, if that was not done, and load it; or take what another caller gets who does."""
        asked, key = 0, ask.key
        while True:
            with self._lock:
                flight = self._flights.get(key)
                if flight is None:
                    self._turn += 1
                    mine = self._flights[key] = self._runtime.flight(self._turn)
                else:
                    self.counts.joined += not asked
                    asked = asked or self._turn
            if flight is None:
                return await self._lead(ask, found, mine)
            try:
                loaded: Loaded = await flight.wait()
            except Abandoned:
                continue
            # What was read before we asked may be older than a change that was over before we asked.
            if loaded.is_current or flight.began > asked:
                return loaded.value

    async def _lead(self, ask: Asked, found: Any, flight: Flight) -> Any:
        landed: Loaded | None = None
        try:
            if found is UNASKED:
                found = await self._guard.run(self._store.get, ask.name)
                if found is not None and found is not FAILED and (read := self._loading.read(found)) is not None:
                    self._hit(ask, read)
                    landed = Loaded(read.value, False)
            if found is FAILED:
                # Not asked again; and without a task of its own, which would cost more than the whole get.
                landed = await self._loading.alone(ask.load or self._plain(ask.key))
        except BaseException as error:
            self._landed(ask.key, flight)
            flight.settle(error=error)
            raise
        if landed is not None:
            self._landed(ask.key, flight)
            flight.settle(landed)
            return landed.value
        self.counts.misses += found is None
        work = self._loading.fetch(ask.name, ask.load or self._plain(ask.key))
        return (await flight.lead(self._fly(ask.key, flight, work))).value

    def _hit(self, ask: Asked, read: Read) -> None:
        self.counts.hits += 1
        if read.fresh_until_ms and self._loading.is_due(read):
            self.counts.stale += 1
            self._start_refresh(ask.key, ask.name, ask.load or self._plain(ask.key))
        elif self._local is not None:
            self._local.keep(ask.name, read, ask.stamp)

    def _plain(self, key: str) -> Load:
        return Load(self._loader, (key,), {}, self._own_tags)

    async def _fly(self, key: str, flight: Flight, work: Coroutine[Any, Any, Loaded]) -> Loaded:
        try:
            return await work
        finally:
            self._landed(key, flight)

    def _landed(self, key: str, flight: Flight) -> None:
        """Let nobody join a flight any more."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]

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
            await self._loading.refresh(name, load)
        finally:
            self._refreshing.discard(key)
