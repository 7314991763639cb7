"""Cache-aside: look in the cache, on a miss load from the source of truth and store the result."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from redis.exceptions import RedisError, ResponseError

from cachetui.patterns.breaker import CircuitBreaker

if TYPE_CHECKING:
    from redis.asyncio import Redis

Loader = Callable[[str], Awaitable[bytes | None]]
"""Fetches the value of a key (without the prefix) from the source of truth; None means: there is none."""

ABSENT = b"\x00cachetui:absent\x00"
"""What is stored for a key the loader has no value for."""

_FAILED = object()
"""The cache gave no answer; not to be confused with its answer None."""


class CacheUnavailable(RedisError):
    """The breaker is open and `on_error` is `raise`."""


@dataclass(slots=True)
class Counts:
    """What a `CacheAside` has done since it was made."""

    hits: int = 0
    """Lookups that the cache answered (also with a stored absence)."""
    misses: int = 0
    """Lookups that the cache answered with nothing."""
    loads: int = 0
    """Calls of the loader."""
    joined: int = 0
    """Gets that shared the lookup or load of another one."""
    cache_errors: int = 0
    """Cache calls that failed or were refused by the breaker."""


@dataclass(slots=True, eq=False)
class _Flight:
    task: asyncio.Task[bytes | None] | None = None
    storing: asyncio.Task[None] | None = None
    outdated: bool = False


class CacheAside:
    """Reads through a Redis-like cache, for asyncio.

    `ttl_s` is how long a value is kept, `jitter` spreads it: each value lives a time drawn evenly from
    `ttl_s * (1 - jitter)` to `ttl_s * (1 + jitter)`, so that values stored together do not expire together.
    With `negative_ttl_s`, an absence (the loader's None) is kept that long too, with the same jitter.
    Each cache call ends within `timeout_s`. `client` must give bytes; with a `BlockingConnectionPool` many gets at
    once wait for a connection, with a plain pool that has run out they count as failed cache calls.

    Guarantees, within one process:

    - Concurrent gets of one key share one lookup and one load, however many there are. A caller that is
      cancelled does not disturb the others.
    - The loader's error reaches every get that waited for that load, and is never stored: the next get loads.
    - With `on_error="bypass"`, a cache that is down, stalled, full or holds a value of another type never fails
      a `get`: the loader answers. With `"raise"`, the cache's own error is raised.
    - When `invalidate` has returned, the keys are gone from the cache, a get that starts afterwards loads anew,
      and no load that began before it stores its result. It raises if the cache did not confirm, in both modes,
      because an old value might still be there.
    - With a `breaker`, a cache that gives no answer costs nothing while the breaker is open.

    Not guaranteed: other processes load on their own, and one that read the source of truth before a change may
    store the old value after our `invalidate`; it lives at most `ttl_s * (1 + jitter)`. The same holds for a store
    of our own that timed out: the server may still have it in its hands.
    """

    def __init__(
        self,
        client: Redis,
        loader: Loader,
        ttl_s: float,
        *,
        prefix: str = "",
        jitter: float = 0.1,
        negative_ttl_s: float | None = None,
        on_error: Literal["bypass", "raise"] = "bypass",
        breaker: CircuitBreaker | None = None,
        timeout_s: float = 1.0,
        rng: random.Random | None = None,
    ) -> None:
        if ttl_s <= 0 or (negative_ttl_s is not None and negative_ttl_s <= 0) or timeout_s <= 0:
            raise ValueError("ttl_s, negative_ttl_s and timeout_s must be more than 0")
        if not 0 <= jitter < 1:
            raise ValueError("jitter must be at least 0 and less than 1")
        if on_error not in ("bypass", "raise"):
            raise ValueError("on_error must be 'bypass' or 'raise'")
        self.ttl_s = ttl_s
        self.prefix = prefix
        self.jitter = jitter
        self.negative_ttl_s = negative_ttl_s
        self.on_error = on_error
        self.breaker = breaker
        self.timeout_s = timeout_s
        self.counts = Counts()
        self._client = client
        self._loader = loader
        self._rng = rng or random.Random()
        self._joinable: dict[str, _Flight] = {}
        self._flights: dict[str, set[_Flight]] = {}

    async def get(self, key: str) -> bytes | None:
        """Return the value of `key`, or None where the loader has none.

        Raises the loader's own error, and with `on_error="raise"` a `RedisError`, `OSError` or `TimeoutError`
        of the cache.
        """
        flight = self._joinable.get(key)
        if flight is None:
            flight = self._joinable[key] = _Flight()
            self._flights.setdefault(key, set()).add(flight)
            flight.task = asyncio.ensure_future(self._fetch(key, flight))
            flight.task.add_done_callback(_retrieve)
        else:
            self.counts.joined += 1
        assert flight.task is not None
        return await asyncio.shield(flight.task)

    async def invalidate(self, *keys: str) -> int:
        """Remove `keys` from the cache and return how many it held. Call it after the source has changed.

        Raises a `RedisError`, `OSError` or `TimeoutError` when the cache did not confirm.
        """
        if not keys:
            return 0
        storing = []
        for key in keys:
            self._joinable.pop(key, None)
            for flight in self._flights.get(key, ()):
                flight.outdated = True
                if flight.storing is not None:
                    storing.append(flight.storing)
        if storing:
            await asyncio.wait(storing)
        async with asyncio.timeout(self.timeout_s):
            removed: int = await self._client.unlink(*(self.prefix + key for key in keys))
        for key in keys:
            # A get that came in meanwhile may have seen the old value: nobody may join it any more.
            self._joinable.pop(key, None)
        return removed

    async def _fetch(self, key: str, flight: _Flight) -> bytes | None:
        try:
            found = await self._lookup(key)
            if found is not None:
                return None if found == ABSENT else found
            self.counts.loads += 1
            value = await self._loader(key)
            # No await between this check and the start of the store, so that `invalidate` sees one or the other.
            if not flight.outdated:
                flight.storing = asyncio.ensure_future(self._store(key, value))
                flight.storing.add_done_callback(_retrieve)
                await flight.storing
            return value
        finally:
            if self._joinable.get(key) is flight:
                del self._joinable[key]
            flights = self._flights[key]
            flights.discard(flight)
            if not flights:
                del self._flights[key]

    async def _lookup(self, key: str) -> bytes | None:
        found = await self._guarded(lambda: self._client.get(self.prefix + key))
        if found is _FAILED:
            return None
        if found is None:
            self.counts.misses += 1
        else:
            self.counts.hits += 1
        return cast("bytes | None", found)

    async def _store(self, key: str, value: bytes | None) -> None:
        ttl_s = self.ttl_s if value is not None else self.negative_ttl_s
        if ttl_s is None or value == ABSENT:
            return
        spread = self._rng.uniform(1 - self.jitter, 1 + self.jitter)
        px = max(1, round(ttl_s * spread * 1000))
        stored = ABSENT if value is None else value
        await self._guarded(lambda: self._client.set(self.prefix + key, stored, px=px))

    async def _guarded(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make one cache call within the time limit; on failure return `_FAILED`, or raise, as `on_error` says."""
        breaker = self.breaker
        if breaker is not None and not breaker.allow():
            self.counts.cache_errors += 1
            if self.on_error == "raise":
                raise CacheUnavailable("the circuit breaker is open: the cache did not answer lately")
            return _FAILED
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = await call()
        except (RedisError, OSError, TimeoutError) as error:
            self.counts.cache_errors += 1
            if breaker is not None:
                # An error reply is an answer: the server lives.
                breaker.succeeded() if isinstance(error, ResponseError) else breaker.failed()
            if self.on_error == "raise":
                raise
            return _FAILED
        if breaker is not None:
            breaker.succeeded()
        return answer


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Mark a task's error as seen, for the case that every caller was cancelled."""
    if not task.cancelled():
        task.exception()
