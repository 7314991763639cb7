"""Write-through: the database first, then the cache, and never an old value over a newer one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from cachetui.patterns.breaker import CircuitBreaker
from cachetui.patterns.codec import Codec, Serialiser
from cachetui.patterns.counts import Counts
from cachetui.patterns.entry import Entry
from cachetui.patterns.guard import FAILED, Bulkhead, Guard, OnError
from cachetui.patterns.store import Face, Lease, bind

Written = Literal["stored", "removed", "unconfirmed"]
"""What the cache holds after a write: the new value; nothing (the next read loads it); unknown."""


class WriteThroughCore:
    """Writes to the database and then to the cache.

    `write(key, value)` changes the database; None as a value deletes. Use the same client, `prefix` and `codec` as the
    `CacheAside` that reads. `lease_s` must be longer than the slowest write.

    Guarantees:

    - Before the database is touched, the cached value is removed and nobody may store another: whatever happens then,
      also kill -9 between any two steps, no value from before the write stays in the cache. (Readers load from the
      database meanwhile; after a crash nobody stores until `lease_s` is over.)
    - When `write` has returned, every read of the cache gives this value or a later one. A slow reader that loaded
      before the write cannot store what it has.
    - Of two writes of one key that overlap neither stores: which of them the database took last, it alone knows.
    - When the database's error is raised, nothing is stored: the error does not say that nothing was written.
    - With `on_error="raise"` a cache that is down fails the write before the database is touched. With `"bypass"` the
      database is written; the answer `unconfirmed` then says that the cache may hold the old value for its time.

    The answer is `stored`, `removed` (an overlapping write, a delete, or a value too large) or `unconfirmed`.
    """

    _face: Face

    def __init__(
        self,
        client: Any,
        write: Callable[..., Any],
        ttl_s: float,
        *,
        prefix: str = "",
        lease_s: float = 10.0,
        codec: Codec | Serialiser | None = None,
        on_error: OnError = "raise",
        breaker: CircuitBreaker | None = None,
        bulkhead: Bulkhead | None = None,
        timeout_s: float = 1.0,
    ) -> None:
        if min(ttl_s, lease_s, timeout_s) <= 0:
            raise ValueError("ttl_s, lease_s and timeout_s must be more than 0")
        self.ttl_s, self.prefix = ttl_s, prefix
        self.counts = Counts()
        self._write_source, self._prefix = write, prefix.encode()
        self._lease_ms, self._ttl_ms = max(1, round(lease_s * 1000)), max(1, round(ttl_s * 1000))
        self._codec = codec if isinstance(codec, Codec) else Codec(codec)
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

    async def _write(self, key: str, value: Any) -> Written:
        name = self._prefix + key.encode()
        packed = None if value is None else self._codec.pack(value)  # what cannot be kept fails before anything is done
        lease = await self._guard.run(self._store.lease_write, name, self._lease_ms)
        try:
            await self._runtime.call(self._write_source, key, value)
        except BaseException:
            # It may have been written all the same, even later: the lease stays until it runs out.
            await self._removed(name)
            raise
        if not isinstance(lease, Lease):
            return await self._removed(name)
        if packed is not None and not lease.contended:
            data = Entry(*packed).encode()
            if await self._finished(self._store.fill, lease, data, self._ttl_ms) is True:
                return "stored"
            self.counts.refused += 1
        elif not lease.contended and await self._finished(self._store.release, lease, True) is True:
            return "removed"
        return await self._removed(name)

    async def _finished(self, step: Callable[..., Any], *args: Any) -> Any:
        """Do what follows the database: its failure must not look as if nothing had been written."""
        try:
            return await self._guard.run(step, *args)
        except self._store.failures:
            return FAILED

    async def _removed(self, name: bytes) -> Written:
        return "unconfirmed" if await self._finished(self._store.remove, [name]) is FAILED else "removed"
