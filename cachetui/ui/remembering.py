"""What the Memory view asks for beyond the polls: the server's own account, a sample of the keys, the curve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from cachetui import text
from cachetui.analysis.curve import Curve, Point, from_idle, from_stream, sizes_of
from cachetui.analysis.eviction import Outlook, outlook
from cachetui.analysis.prefixes import picture
from cachetui.errors import CacheError
from cachetui.feeds.history import HIT_RATE, History
from cachetui.keyspace.access import Observed
from cachetui.keyspace.prefixing import sample_keys
from cachetui.model import ScanProgress, Stats
from cachetui.model.accesses import IdleSample
from cachetui.model.ages import ClassAges
from cachetui.model.memory import MemoryReport
from cachetui.model.prefixes import KeySample, PrefixPicture
from cachetui.source.base import Accounted, Aged, Source
from cachetui.ui.plot import range_words

POLICIES = (
    *("allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-ttl"),
    *("volatile-random", "noeviction"),
)
LEAST_LOOKUPS = 200
"""Of fewer lookups since a change its outcome is not told."""
FRESH_S = 600.0
"""A sample older than this is taken anew when somebody looks."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A hit rate that was predicted before a change, and where the counters stood when it was made."""

    title: str
    """Of the change, printable."""
    after: Point
    at: float
    hits: int
    misses: int

    def words(self, stats: Stats | None, rate_now: float | None) -> str:
        """Return the prediction beside what came of it; `rate_now` is the hit rate of the last minute in percent."""
        told = f"{self.title}: predicted {range_words(self.after)}"
        if stats is None or stats.hits_total is None or stats.misses_total is None:
            return told
        hits, misses = stats.hits_total - self.hits, stats.misses_total - self.misses
        span = text.duration(max(0, int(stats.taken_at - self.at)) // 10 * 10)
        if hits < 0 or misses < 0:
            return f"{told}; the counters began anew since"
        if hits + misses < LEAST_LOOKUPS:
            return f"{told}; too few lookups yet to compare"
        lately = "" if rate_now is None else f", {rate_now:.1f} % in the last minute"
        return f"{told}; measured {100 * hits / (hits + misses):.1f} % in the {span} since{lately}"


@dataclass(frozen=True, slots=True)
class MemoryLook:
    """What is known so far."""

    report: MemoryReport | None = None
    report_trouble: str = ""
    picture: PrefixPicture | None = None
    outlooks: tuple[Outlook, ...] = ()
    """The current policy's first."""
    curve: Curve | None = None
    curve_note: str = ""
    curve_bytes: int = 0
    """The memory that was in use then."""
    busy: str = ""
    """What is under way."""
    trouble: str = ""
    """Why there is no sample."""
    ages: tuple[ClassAges, ...] = ()
    """Of Memcached's slab classes."""


class Remembering:
    """Asks when somebody looks, once at a time, and keeps what came."""

    def __init__(self, separators: str, on_change: Callable[[], None]) -> None:
        self._separators, self._on_change = separators, on_change
        self.look = MemoryLook()
        self._at = -FRESH_S
        self._asking = asyncio.Lock()

    def _set(self, **changes: object) -> None:
        self.look = replace(self.look, **changes)  # type: ignore[arg-type]
        self._on_change()

    async def account(self, source: Source, *, again: bool = False) -> None:
        """Ask the server for its account of its memory, unless it is there."""
        if not isinstance(source, Accounted) or (self.look.report is not None and not again):
            return
        try:
            self._set(report=await source.memory(), report_trouble="")
        except CacheError as error:
            self._set(report_trouble=error.line())

    async def ages(self, source: Source, *, again: bool = False) -> None:
        """List the items of a memcached for their ages, unless that was done."""
        if not isinstance(source, Aged) or self._asking.locked() or (self.look.ages and not again):
            return
        async with self._asking:
            self._set(busy="listing all items for their ages", trouble="")
            try:
                self._set(ages=await source.ages())
            except CacheError as error:
                self._set(trouble=error.line())
            finally:
                self._set(busy="")

    async def sample(
        self, source: Source, stats: Stats | None, history: History, seen: Observed | None, *, again: bool = False
    ) -> None:
        """Take a sample of all keys, unless there is a fresh one; what it tells improves meanwhile."""
        if self._asking.locked() or (time.monotonic() - self._at < FRESH_S and not again):
            return
        async with self._asking:
            self._set(busy="looking through the names", trouble="")
            try:
                await self._sampled(source, stats, history, seen)
            except CacheError as error:
                self._set(trouble=error.line())
            finally:
                self._set(busy="")

    async def watched(self, seen: Observed) -> None:
        """Draw the curve by watched commands: it sees beyond the present memory."""
        accesses = seen.accesses
        curve = await asyncio.to_thread(from_stream, accesses, sizes_of(accesses.memory_bytes))
        note = f"by {len(accesses.keys):,} watched uses; {curve.note}"
        self._set(curve=curve, curve_note=note, curve_bytes=accesses.memory_bytes)

    async def _sampled(self, source: Source, stats: Stats | None, history: History, seen: Observed | None) -> None:
        def tell(progress: ScanProgress) -> None:
            total = "" if progress.total is None else f" of {text.count(progress.total)}"
            self._set(busy=f"looking through the names: {text.count(progress.seen)}{total}")

        last: KeySample | None = None
        async for found in sample_keys(source, separators=self._separators, progress=tell):
            last = found
            shown = await asyncio.to_thread(picture, found, separators=self._separators)
            self._set(picture=shown, busy=f"asking for sizes: {shown.looked:,} keys so far")
        if last is None:
            return
        self._at = time.monotonic()
        if stats is not None and stats.server.kind != "memcached":
            self._set(busy="working out what goes next")
            self._set(outlooks=await asyncio.to_thread(self._outlooks, last, stats))
            if seen is not None:
                await self.watched(seen)
            else:
                curve, note = await asyncio.to_thread(_by_idle, last, stats, history)
                self._set(curve=curve, curve_note=note, curve_bytes=stats.used_bytes or 0)

    def _outlooks(self, sample: KeySample, stats: Stats) -> tuple[Outlook, ...]:
        order = sorted(POLICIES, key=lambda policy: policy != stats.policy)
        return tuple(outlook(sample.facts, sample.total, policy, separators=self._separators) for policy in order)


def _by_idle(sample: KeySample, stats: Stats, history: History) -> tuple[Curve | None, str]:
    """Return hit rate against memory by idle times, or None and why there is none."""
    facts = [(one.idle_s, one.size_bytes) for one in sample.facts if one.idle_s is not None and one.size_bytes]
    hits, misses = history.rate("hits"), history.rate("misses")
    if stats.used_bytes is None or hits is None or misses is None or not facts:
        why = "no idle times: an LFU policy keeps none" if not facts else "no lookups were seen yet"
        return None, f"{why}; p, then predict, watches commands"
    idle, sizes = zip(*facts, strict=True)
    found = IdleSample(idle, sizes, sample.total, hits + misses, round(sum(sizes) / len(sizes) * sample.total))
    (lately,) = history.series(HIT_RATE, 60, 1)
    curve = from_idle(found, stats.used_bytes, hit_rate=None if lately is None else lately / 100)
    if curve is None:
        return None, "too few lookups for a curve by idle times; p, then predict, watches commands"
    return curve, f"by {len(facts):,} idle times, to the present memory only; p, then predict, sees further"
