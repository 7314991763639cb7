"""Evidence from a real server, before and after something is done to it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence

from cachetui.analysis.rules import findings
from cachetui.config import Address, Target
from cachetui.errors import CacheError
from cachetui.model import ClientList, Evidence, Finding, SlowLog, Stats, Topology, Trouble
from cachetui.source.base import KINDS, Kind, Source
from tests.servers.launch import Server

WITHIN_S = 15.0


class Watch:
    """Polls one source and keeps what it saw, as the feeds do."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.window: list[Stats] = []

    async def look(self, kinds: Sequence[Kind] = KINDS) -> Evidence:
        """Poll each kind once and return all that is known."""
        seen: dict[str, object] = {}
        trouble = None
        for kind in kinds:
            try:
                seen[kind] = await self.source.poll(kind)
            except CacheError as error:
                trouble = trouble or Trouble(error.code, error.message, error.hint, time.time(), error.detail)
        stats, slowlog, clients = seen.get("stats"), seen.get("slowlog"), seen.get("clients")
        topology = seen.get("topology")
        evidence = Evidence(
            time.time(),
            self.source.name,
            stats if isinstance(stats, Stats) else None,
            tuple(self.window),
            slowlog if isinstance(slowlog, SlowLog) else None,
            clients if isinstance(clients, ClientList) else None,
            topology if isinstance(topology, Topology) else None,
            trouble,
        )
        if evidence.stats is not None:
            self.window.append(evidence.stats)
        return evidence

    async def found(self, kinds: Sequence[Kind] = KINDS) -> dict[str, Finding]:
        """Poll and return the findings by id."""
        return {finding.id: finding for finding in findings(await self.look(kinds))}

    async def until(self, rule: str, *, when: Callable[[Finding], bool] = lambda finding: True) -> Finding:
        """Poll until the rule speaks (and `when` holds)."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            seen = await self.found()
            if rule in seen and when(seen[rule]):
                return seen[rule]
            assert time.monotonic() < deadline, f"no {rule}, only {sorted(seen)}"
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def watching(server: Server, timeout_s: float = 2.0) -> AsyncIterator[Watch]:
    """Watch a real server through its real driver."""
    address = (Address("127.0.0.1", server.port),)
    source: Source
    if server.greeting.startswith(b"version"):
        from cachetui.source.memcached import MemcachedSource

        source = MemcachedSource(Target("memcached", address, timeout_s=timeout_s))
    else:
        from cachetui.source.redis import RedisSource

        source = RedisSource(Target("redis", address, timeout_s=timeout_s))
    try:
        yield Watch(source)
    finally:
        await source.close()
