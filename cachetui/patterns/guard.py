"""What stands between a pattern and its store: a breaker, a bulkhead, a time limit, and what an error means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from cachetui.patterns.breaker import CircuitBreaker
from cachetui.patterns.counts import Counts
from cachetui.patterns.errors import CacheUnavailable
from cachetui.patterns.running import Runtime
from cachetui.patterns.store import Store

OnError = Literal["bypass", "raise"]


class Failed:
    """The cache gave no answer; not to be confused with its answer None."""


FAILED: Final = Failed()


class Bulkhead:
    """At most `calls` cache calls at once, so that a slow cache cannot hold every thread or task of a service.

    A caller waits up to `wait_s` for a place and is then refused, which counts as a cache error. Give each cache
    its own: a bulkhead belongs to the event loop, or the threads, of the cache that first uses it.
    """

    def __init__(self, calls: int, wait_s: float = 0.05) -> None:
        if calls < 1 or wait_s < 0:
            raise ValueError("calls must be at least 1 and wait_s at least 0")
        self.calls = calls
        self.wait_s = wait_s


class Guard:
    """Makes cache calls; what fails is counted and becomes FAILED, or is raised, as `on_error` says."""

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        counts: Counts,
        *,
        timeout_s: float,
        on_error: OnError,
        breaker: CircuitBreaker | None,
        bulkhead: Bulkhead | None,
    ) -> None:
        if on_error not in ("bypass", "raise"):
            raise ValueError("on_error must be 'bypass' or 'raise'")
        if timeout_s <= 0:
            raise ValueError("timeout_s must be more than 0")
        self._store, self._runtime, self.counts = store, runtime, counts
        self._timeout_s, self._on_error = timeout_s, on_error
        self._breaker, self._bulkhead = breaker, bulkhead
        self._gate: Any = runtime.gate(bulkhead.calls) if bulkhead is not None else None

    async def run(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Return the answer of one call of the store, or FAILED."""
        breaker, bulkhead = self._breaker, self._bulkhead
        if breaker is not None and not breaker.allow():
            return self._refused("the circuit breaker is open: the cache did not answer lately")
        if bulkhead is not None and not await self._runtime.take(self._gate, bulkhead.wait_s):
            return self._refused(f"{bulkhead.calls} calls of the cache are under way: the bulkhead is full")
        try:
            # Written out for threads, which have no limit here: this is the way of every hit.
            limited = self._runtime.limited
            answer = await (function(*args) if limited is None else limited(self._timeout_s, function, *args))
        except self._store.failures as error:
            self.counts.cache_errors += 1
            if breaker is not None:
                # An error reply is an answer: the server lives.
                breaker.succeeded() if isinstance(error, self._store.answers) else breaker.failed()
            if self._on_error == "raise":
                raise
            return FAILED
        finally:
            if bulkhead is not None:
                self._gate.release()
        if breaker is not None:
            breaker.succeeded()
        return answer

    async def sure(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Return the answer of a call that has to be confirmed: never refused, its error always raised."""
        limited = self._runtime.limited
        return await (function(*args) if limited is None else limited(self._timeout_s, function, *args))

    def _refused(self, why: str) -> Failed:
        self.counts.cache_errors += 1
        if self._on_error == "raise":
            raise CacheUnavailable(why)
        return FAILED
