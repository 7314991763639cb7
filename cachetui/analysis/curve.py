"""The miss-ratio curve: which hit rate each size of memory would have, now and under another policy.

Two ways lead there. From a stream of sampled accesses (`from_stream`): miniature caches, and exact LRU
by reuse distances; it sees beyond the present memory as far as the stream is long. From nothing but a
random sample of idle times and sizes (`from_idle`): the number of keys used in the last T seconds grows
as fast as a cache that holds them all would miss. That needs an LRU server's idle times, whose steps are
whole seconds; it takes each miss to be followed by a write, and sees no more than what is in memory.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from cachetui.analysis.distances import Distances, Survival, distances, survival
from cachetui.analysis.simulation import Outcome, simulate
from cachetui.model.accesses import GROUPS, Accesses, IdleSample, Rules

SHARES = (0.125, 0.25, 0.375, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
"""Sizes that are looked at, of the present memory."""
SURE = 2.13
"""Standard errors of 95 %, by Student's distribution for 16 sub-samples."""
FLOOR = 0.005
"""No interval is narrower than this to each side: the model is not the server."""
RESAMPLED = 40
LEAST_KEYS = 100
"""With fewer keys in memory of a sample nothing is said."""


@dataclass(frozen=True, slots=True)
class Point:
    """One size, and the hit rate there (0 to 1) with its 95 % interval."""

    bytes: int
    """The whole memory, as maxmemory counts it."""
    hit_rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Hit rate against memory, for one policy."""

    points: tuple[Point, ...]
    """By rising size."""
    policy: str
    method: Literal["stream", "idle"]
    note: str = ""
    """What it rests on, and what it cannot know."""

    def at(self, memory_bytes: float) -> Point | None:
        """Return the point at a size between the smallest and the largest, None elsewhere."""
        points = self.points
        if not points or not points[0].bytes <= memory_bytes <= points[-1].bytes:
            return None
        after = bisect_left(points, memory_bytes, key=lambda point: point.bytes)
        right = points[after]
        if right.bytes == memory_bytes or not after:
            return right
        left = points[after - 1]
        share = (memory_bytes - left.bytes) / (right.bytes - left.bytes)

        def between(one: float, other: float) -> float:
            return one + (other - one) * share

        return Point(
            round(memory_bytes),
            between(left.hit_rate, right.hit_rate),
            between(left.low, right.low),
            between(left.high, right.high),
        )


def sizes_of(memory_bytes: int, also: Iterable[int] = ()) -> tuple[int, ...]:
    """Return the sizes worth looking at around the present memory, and those of `also`."""
    return tuple(sorted({round(memory_bytes * share) for share in SHARES} | set(also)))


def from_stream(
    accesses: Accesses, sizes: Sequence[int] | None = None, rules: Rules | None = None, *, seed: int = 1
) -> Curve:
    """Return the curve that miniature caches show; `sizes` in bytes of maxmemory, `rules` those of the server now.

    It takes some seconds of one core for a hundred thousand sampled accesses: run it in a thread.
    """
    rules = rules or accesses.rules
    found = distances(accesses)
    whole = lru_survival(accesses, found)
    points = []
    for size in sizes or sizes_of(accesses.memory_bytes):
        capacity = max(0.0, float(size - accesses.fixed_bytes))

        def beyond(seen_bytes: float, capacity: float = capacity) -> float:
            return whole.hits_within(capacity, seen_bytes) if capacity > seen_bytes else 0.0

        outcome = simulate(accesses, capacity, rules, beyond=beyond, seed=seed)
        points.append(_point(size, accesses, outcome, _by_size(accesses, whole, capacity)))
    return Curve(tuple(sorted(points, key=lambda point: point.bytes)), rules.policy, "stream", _note(accesses, found))


def lru_exact(accesses: Accesses, sizes: Sequence[int] | None = None) -> Curve:
    """Return the curve of an LRU that always finds the oldest key, from reuse distances alone."""
    found = distances(accesses)
    whole = lru_survival(accesses, found)
    share = 1 / (accesses.rate * accesses.reads) if accesses.reads else 0.0
    never = found.hopeless * share
    by_group = [
        survival(
            (
                (at, sure)
                for at, sure, group in zip(found.at_bytes, found.known, found.groups, strict=True)
                if group == wanted
            ),
            found.groups.count(wanted) * share * GROUPS,
        )
        for wanted in range(GROUPS)
    ]
    points = []
    for size in sizes or sizes_of(accesses.memory_bytes):
        capacity = max(0.0, float(size - accesses.fixed_bytes))
        missed = whole.above(capacity) + never
        error = _spread([one.above(capacity) for one in by_group]) * math.sqrt(1 - accesses.rate)
        half = SURE * math.hypot(error, _by_size(accesses, whole, capacity)) + FLOOR + 3 * share
        # Where nothing is known, it may be anything up to all hits.
        open_end = missed - never if capacity > found.reach_bytes else 0.0
        points.append(_bounded(size, 1 - missed, half, half + open_end))
    return Curve(tuple(points), "exact LRU", "stream", _note(accesses, found))


def lru_survival(accesses: Accesses, found: Distances) -> Survival:
    """Return which share of all lookups is further than any distance, by keys that can be there at all."""
    sampled = accesses.rate * accesses.reads
    pairs = zip(found.at_bytes, found.known, strict=True)
    return survival(pairs, len(found.at_bytes) / sampled if sampled else 1.0)


def _by_size(accesses: Accesses, whole: Survival, capacity: float) -> float:
    """Return the error that comes from the sample's keys being more, or bigger, than their share of all."""
    sizes = accesses.sizes_bytes
    if not len(sizes) or capacity <= 0:
        return 0.0
    mean = statistics.fmean(sizes)
    spread = math.sqrt(1 + (statistics.pstdev(sizes) / mean) ** 2)
    share = min(0.9, spread / math.sqrt(max(1.0, capacity * accesses.rate / mean)))
    fell = whole.above(capacity * (1 - share)) - whole.above(capacity * (1 + share))
    return max(0.0, fell) / 2 * math.sqrt(1 - accesses.rate)


def _point(size: int, accesses: Accesses, outcome: Outcome, by_size: float) -> Point:
    sampled = accesses.rate * outcome.lookups
    if not sampled:
        return Point(size, 0.0, 0.0, 1.0)
    by_hash = _spread(outcome.by_group) * GROUPS / sampled * math.sqrt(1 - accesses.rate)
    by_time = _spread([misses / (accesses.rate * lookups) if lookups else 0.0 for misses, lookups in outcome.by_time])
    # The rule of three: so many misses may have been missed by chance where none was seen.
    half = SURE * math.hypot(by_hash, by_time, by_size) + FLOOR + 3 / sampled
    missed = outcome.misses / sampled
    return _bounded(size, 1 - missed, half + outcome.unknown / sampled, half + outcome.unlikely / sampled)


def _spread(values: Sequence[float]) -> float:
    """Return the standard error of the mean of independent `values`."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def _bounded(size: int, hit_rate: float, below: float, above: float) -> Point:
    middle = min(1.0, max(0.0, hit_rate))
    return Point(size, middle, max(0.0, middle - below), min(1.0, middle + above))


def _note(accesses: Accesses, found: Distances) -> str:
    words = f"{len(accesses.sizes_bytes):,} keys ({accesses.rate:.1%} of all) in {accesses.seconds:.0f} s"
    reach = found.reach_bytes + accesses.fixed_bytes
    if reach < accesses.memory_bytes * SHARES[-1]:
        words += f"; beyond {reach / 2**20:,.0f} MB only the interval tells anything"
    return words


# From idle times.


def from_idle(
    sample: IdleSample,
    memory_bytes: int,
    sizes: Sequence[int] | None = None,
    *,
    hit_rate: float | None = None,
    seed: int = 1,
) -> Curve | None:
    """Return the curve up to the present memory; None where the sample tells too little.

    `hit_rate` is what the server has now (0 to 1): no smaller memory has a higher one. Sizes that
    hold only what was used within the last second are left out: idle times are not finer.
    """
    if len(sample.idle_s) < LEAST_KEYS or sample.reads_per_s <= 0:
        return None
    fixed = max(0, memory_bytes - sample.key_bytes)
    wanted = [size for size in sizes or sizes_of(memory_bytes) if fixed < size <= memory_bytes]
    least = 0.0 if hit_rate is None else 1 - hit_rate
    pairs = list(zip(sample.idle_s, sample.sizes_bytes, strict=True))
    growth = _Growth(pairs, sample)
    rng = Random(seed)
    resampled = [_Growth(rng.choices(pairs, k=len(pairs)), sample) for _ in range(RESAMPLED)]
    points = []
    for size in wanted:
        if size - fixed < growth.first_bytes:
            continue
        missed = max(least, growth.missed(size - fixed))
        error = statistics.stdev(max(least, one.missed(size - fixed)) for one in resampled)
        half = SURE * error + FLOOR
        points.append(_bounded(size, 1 - missed, half, half))
    note = f"{len(pairs):,} idle times; each miss taken to be followed by a write; nothing beyond the present memory"
    return Curve(tuple(points), "exact LRU", "idle", note) if points else None


class _Growth:
    """How many keys, and bytes, were used in the last T seconds; smoothed to grow ever slower, as they must."""

    def __init__(self, pairs: Iterable[tuple[int, int]], sample: IdleSample) -> None:
        counts: dict[int, list[int]] = {}
        for idle, size in pairs:
            entry = counts.setdefault(idle, [0, 0])
            entry[0] += 1
            entry[1] += size
        keys, held = sum(n for n, _ in counts.values()), sum(size for _, size in counts.values())
        each = sample.keys / max(1, keys) / sample.reads_per_s
        at_keys = at_bytes = 0
        self._bytes: list[float] = []
        """In memory that was used within each of the times."""
        corners = [(0.0, 0.0)]
        times = []
        for idle in sorted(counts):
            at_keys += counts[idle][0]
            at_bytes += counts[idle][1]
            # A clock of whole seconds: idle for 3 means for 3.5 on average.
            times.append(idle + 0.5)
            corners.append((idle + 0.5, at_keys * each))
            self._bytes.append(at_bytes / max(1, held) * sample.key_bytes)
        hull = _majorant(corners)
        self._missed = [_slope_before(hull, time) for time in times]

    @property
    def first_bytes(self) -> float:
        """What was used within the first step of the clock."""
        return self._bytes[0]

    def missed(self, key_bytes: float) -> float:
        """Return the share of lookups that would miss with so many bytes for keys."""
        at = min(bisect_left(self._bytes, key_bytes), len(self._missed) - 1)
        return min(1.0, self._missed[at])


def _majorant(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the least concave line above `corners`, which rise to the right.

    >>> _majorant([(0, 0), (1, 1), (2, 4), (3, 5)])
    [(0, 0), (2, 4), (3, 5)]
    """
    hull: list[tuple[float, float]] = []
    for x, y in corners:
        while len(hull) > 1:
            (x1, y1), (x2, y2) = hull[-2:]
            if (y2 - y1) * (x - x2) > (y - y2) * (x2 - x1):
                break
            hull.pop()
        hull.append((x, y))
    return hull


def _slope_before(hull: Sequence[tuple[float, float]], x: float) -> float:
    at = max(1, bisect_left(hull, x, key=lambda corner: corner[0]))
    (x1, y1), (x2, y2) = hull[at - 1], hull[min(at, len(hull) - 1)]
    return (y2 - y1) / (x2 - x1) if x2 > x1 else 0.0
