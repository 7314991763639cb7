"""What the ages of a slab class's items tell: how many are never read, and what less or more memory would do."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cachetui.analysis.curve import from_idle
from cachetui.model import SlabClass, Stats
from cachetui.model.accesses import IdleSample
from cachetui.model.ages import ClassAges
from cachetui.model.rates import same_run

LEAST_AGES = 20
"""Items of fewer different ages tell nothing of smaller memories: they were stored all at once."""
SHARES = (0.5, 0.75)
"""Of the class's memory: what its hit rate would be with so much."""


@dataclass(frozen=True, slots=True)
class AgedClass:
    """One slab class with what its ages tell."""

    slab: SlabClass
    items: int
    idle_s: float | None
    """Median."""
    oldest_s: int | None
    unfetched_share: float | None
    """Never fetched, 0 to 1."""
    hit_rate: float | None
    """Lately, 0 to 1: of its fetches and of the stores that take the place of misses."""
    at_shares: tuple[float | None, ...]
    """About the hit rate with `SHARES` of its memory."""
    page_gains: float | None
    """One page more would raise its hit rate by so much at most: as much as the last page does."""


def aged(ages: Sequence[ClassAges], now: Stats, earlier: Stats | None) -> list[AgedClass]:
    """Return the classes with items, the one with most of them first; `earlier` is a snapshot of the same run."""
    usable = earlier is not None and same_run(earlier, now)
    before = {(slab.server, slab.class_id): slab for slab in earlier.slabs} if usable and earlier is not None else {}
    span_s = now.taken_at - earlier.taken_at if usable and earlier is not None else 0.0
    told = {(one.server, one.class_id): one for one in ages}
    found = []
    for slab in now.slabs:
        one = told.get((slab.server, slab.class_id)) or told.get(("", slab.class_id))
        if one is not None and one.items:
            found.append(_aged(slab, one, before, span_s))
    return sorted(found, key=lambda one: -one.items)


def _aged(slab: SlabClass, ages: ClassAges, before: Mapping[tuple[str, int], SlabClass], span_s: float) -> AgedClass:
    idle = ages.idle_s
    hit_rate: float | None = None
    at_shares: tuple[float | None, ...] = tuple(None for _ in SHARES)
    page: float | None = None
    then = before.get((slab.server, slab.class_id))
    hits, sets = (None, None) if then is None else (_grown(slab.hits, then.hits), _grown(slab.sets, then.sets))
    known = span_s > 0 and hits is not None and sets is not None and hits + sets > 0
    if known and hits is not None and sets is not None:
        hit_rate = hits / (hits + sets)
    if hit_rate is not None and hits is not None and sets is not None and len(set(idle)) >= LEAST_AGES:
        whole = slab.total_chunks * slab.chunk_bytes
        used = max(1, slab.used_chunks * slab.chunk_bytes)
        sample = IdleSample(idle, (slab.chunk_bytes,) * len(idle), ages.items, (hits + sets) / span_s, used)
        last = max(0.0, 1 - 1 / max(1, slab.total_pages))
        sizes = [round(used * share) for share in (*SHARES, last)]
        curve = from_idle(sample, used, sorted(set(sizes)), hit_rate=hit_rate) if whole else None
        points = {} if curve is None else {point.bytes: point.hit_rate for point in curve.points}
        at_shares = tuple(points.get(size) for size in sizes[:-1])
        smaller = points.get(sizes[-1])
        page = None if smaller is None or slab.total_pages < 2 else max(0.0, hit_rate - smaller)
    return AgedClass(
        slab,
        ages.items,
        statistics.median(idle) if idle else None,
        max(idle, default=None),
        1 - ages.fetched / ages.items,
        hit_rate,
        at_shares,
        page,
    )


def _grown(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None or now < before else now - before
