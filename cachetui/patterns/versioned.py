"""Versioned namespaces: one number in every key's name; raising it leaves all old keys behind to expire."""

from __future__ import annotations

import threading
import time
from typing import Any

from cachetui.patterns.names import VERSION_ENDING
from cachetui.patterns.store import Face, bind

DAY_MS = 86_400_000


class VersionedCore:
    """Names keys `NAMESPACE:NUMBER:KEY`; the number lies under `NAMESPACE:version`.

    Give every key a time to live: `ttl_s` is the longest of them. The version key lives ten times as long, at least
    a day, from its last use.

    Guarantees:

    - When `bump` has returned, no `key` made afterwards in this process names an old version, and in other processes
      none made `refresh_s` later (0: every `key` asks the server).
    - A load that began before the `bump` stores under the old version, where nobody looks any more.
    - A version that was lost (evicted, flushed, expired) never comes back smaller: it starts at the time in
      milliseconds, so that keys of earlier versions stay unreachable. All keys are missed once.
    - Old keys are never touched: they expire by themselves.

    Not guaranteed: a failover of Redis may lose a `bump` that was confirmed.
    """

    _face: Face

    def __init__(self, client: Any, namespace: str, ttl_s: float, *, refresh_s: float = 0.0) -> None:
        if ttl_s <= 0 or refresh_s < 0:
            raise ValueError("ttl_s must be more than 0 and refresh_s at least 0")
        self.namespace, self.refresh_s = namespace, refresh_s
        self._store, self._runtime = bind(client, self._face)
        self._name = namespace.encode() + VERSION_ENDING
        self._ttl_ms = max(DAY_MS, round(ttl_s * 10_000))
        self._lock = threading.Lock()
        self._known = 0
        self._asked_at = float("-inf")

    async def _version(self) -> int:
        if self.refresh_s and time.monotonic() - self._asked_at < self.refresh_s:
            return self._known
        return await self._ask(0)

    async def _bump(self) -> int:
        return await self._ask(1)

    async def _key(self, key: str) -> str:
        return f"{self.namespace}:{await self._version()}:{key}"

    async def _ask(self, by: int) -> int:
        asked_at = time.monotonic()
        version = await self._store.bump(self._name, self._ttl_ms, by)
        with self._lock:
            # A slow answer may arrive after a later one: then the later one counts.
            if asked_at >= self._asked_at:
                self._known, self._asked_at = version, asked_at
        return version
