"""The ages of all items, slab class by slab class, out of a server's dump; in bounded memory."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

from cachetui.model.ages import ClassAges
from cachetui.source import faults
from cachetui.source.memcached.metadump import Begun, begin, refusal
from cachetui.source.memcached.server import Server
from cachetui.source.memcached.stats import whole

KEPT = 2000
"""Ages kept of each class: when there are more, every second one is dropped."""
CHUNK_BYTES = 256 * 1024
LINE_BYTES = 8192
_ITEM = re.compile(rb" la=(\d{1,12}) [^\n]*?fetch=(\w+) cls=(\d{1,4}) ")


@dataclass(slots=True)
class _Class:
    items: int = 0
    fetched: int = 0
    idle_s: list[int] = field(default_factory=list)
    step: int = 1
    """Every so manieth age is kept."""

    def add(self, idle_s: int, fetched: bool) -> None:
        if self.items % self.step == 0:
            self.idle_s.append(idle_s)
            if len(self.idle_s) >= 2 * KEPT:
                self.idle_s, self.step = self.idle_s[::2], self.step * 2
        self.items += 1
        self.fetched += fetched


async def read_ages(server: Server, *, named: bool) -> list[ClassAges]:
    """Return the ages by class of one server. Raises CacheError; Busy while another dump runs."""
    async with server.dumping:
        begun = await begin(
            server.dial, server.count, name=server.name, timeout_s=server.timeout_s, wait_s=server.timeout_s
        )
        try:
            found = await _read(server, begun)
        finally:
            begun.connection.close()
    return [
        ClassAges(server.name if named else "", class_id, one.items, one.fetched, tuple(one.idle_s))
        for class_id, one in sorted(found.items())
    ]


async def _read(server: Server, begun: Begun) -> dict[int, _Class]:
    found: dict[int, _Class] = {}
    now_s = whole(begun.general.get("time")) or 0
    rest = begun.first
    while True:
        cut = rest.rfind(b"\n") + 1
        lines, rest = rest[:cut], rest[cut:]
        told = _ITEM.findall(lines)
        for used_s, fetched, class_id in told:
            found.setdefault(int(class_id), _Class()).add(max(0, now_s - int(used_s)), fetched == b"yes")
        last = lines.endswith((b"END\r\n", b"END\n"))
        if len(told) + last != lines.count(b"\n") or len(rest) > LINE_BYTES:
            raise refusal(lines[:200] or rest[:200])
        if last:
            return found
        try:
            async with asyncio.timeout(server.timeout_s):
                rest += await begun.connection.chunk()
        except TimeoutError:
            raise faults.timed_out(server.address, server.timeout_s) from None
        await asyncio.sleep(0)  # others have their turn between two pieces
