"""What all keys are like by prefix, from a sample of them or from all.

The number of keys of a prefix comes from many names, the memory from fewer keys whose size was asked for. A
share of the memory is a ratio of stratified sums (Cochran, Sampling Techniques, 1977, chapters 5 and 6), with
Student's distribution for as many keys as carry the weight: where few large keys make the sum, there are few. Sizes
that spread even more than a log-normal distribution does, and single giants, escape every sample: see the exact sums.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cachetui.analysis.expiries import expiries
from cachetui.analysis.keeping import hints
from cachetui.model.keys import KeyFacts
from cachetui.model.prefixes import KeySample, PrefixPicture, PrefixRow, PrefixSum, Share, prefix_of

SURE = 1.96
BIGGEST = 20
ROWS = 60
"""Prefixes that are told apart: those with the most keys."""
WIDER = 1.1
"""Variances are estimates themselves."""
PSEUDO = 2.0
"""So many keys more on either side are thought of, so that none of a few is not taken for none at all."""
_STUDENT = ((2, 4.30), (3, 3.18), (4, 2.78), (6, 2.45), (10, 2.23), (20, 2.09), (40, 2.02))


def picture(sample: KeySample, *, separators: str = ":", depth: int = 2) -> PrefixPicture:
    """Return what a sample tells of each prefix."""
    facts = [known for known in sample.facts if known.exists]
    names = [prefix_of(known.key, separators, depth) for known in facts]
    parts: Mapping[bytes, _Part] = {}
    if sample.sums is not None:
        rows = [_summed(prefix, found, sample) for prefix, found in sample.sums.items()]
    else:
        rows, parts = _estimated(sample, facts, separators, depth)
    rows.sort(key=lambda row: (-(row.bytes or 0), -row.keys, row.prefix))
    timed = [(known.ttl_s, prefix) for known, prefix in zip(facts, names, strict=True) if known.ttl_s is not None]
    total, error = _memory(sample, parts.values())
    biggest = sample.biggest or sorted(
        (known for known in facts if known.size_bytes is not None), key=lambda known: -(known.size_bytes or 0)
    )
    return PrefixPicture(
        sample.taken_at,
        sample.total,
        sample.total if sample.sums is not None else len(facts),
        sample.sums is not None,
        tuple(rows),
        total,
        error,
        _without_ttl(sample, facts),
        expiries(timed, sample.total / max(1, len(facts))),
        tuple(biggest[:BIGGEST]),
        hints(sample, rows, separators, depth),
        sample.conventions,
        sample.note,
    )


def _memory(sample: KeySample, parts: Collection[_Part]) -> tuple[float | None, float | None]:
    """Return the bytes of all keys, and half the width of the interval."""
    if sample.sums is not None:
        return float(sum(found.bytes for found in sample.sums.values())), 0.0
    if not parts:
        return None, None
    error = WIDER * SURE * math.sqrt(sum(part.variance for part in parts))
    return sum(part.bytes for part in parts), error


def _without_ttl(sample: KeySample, facts: Sequence[KeyFacts]) -> Share | None:
    if sample.sums is not None:
        timed = sum(found.timed for found in sample.sums.values())
        without = sum(found.without_ttl for found in sample.sums.values())
        return _certain(without, timed)
    known = [one.has_ttl for one in facts if one.has_ttl is not None]
    return proportion(known.count(False), len(known), _left(sample, len(known)))


def _certain(part: int, whole: int) -> Share | None:
    return Share(part / whole, part / whole, part / whole) if whole else None


def _summed(prefix: bytes, found: PrefixSum, sample: KeySample) -> PrefixRow:
    whole = sum(one.bytes for one in (sample.sums or {}).values())
    return PrefixRow(
        prefix,
        found.keys,
        0.0,
        float(found.bytes) if found.sized else None,
        _certain(found.bytes, whole) if found.sized else None,
        found.bytes / found.sized if found.sized else None,
        found.largest if found.sized else None,
        _certain(found.without_ttl, found.timed),
        None,
        None,
        found.keys,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """The memory of one prefix: how many keys of how many bytes, each with its variance."""

    keys: float
    keys_variance: float
    mean: float
    mean_variance: float
    sure_as: float
    """As of so many keys of equal size."""

    @property
    def bytes(self) -> float:
        return self.keys * self.mean

    @property
    def variance(self) -> float:
        return self.keys**2 * self.mean_variance + self.mean**2 * self.keys_variance


def _estimated(
    sample: KeySample, facts: Sequence[KeyFacts], separators: str, depth: int
) -> tuple[list[PrefixRow], dict[bytes, _Part]]:
    counted = Counter(prefix_of(name, separators, depth) for name in sample.names or (one.key for one in facts))
    whole = sum(counted.values())
    told: dict[bytes, list[KeyFacts]] = {}
    sized: dict[bytes, list[int]] = {}
    own = {prefix for prefix, _ in counted.most_common(ROWS)}
    for known in facts:
        told.setdefault(_row_of(known.key, own, separators, depth), []).append(known)
    for known in (*facts, *sample.more):
        if known.size_bytes is not None and known.exists:
            sized.setdefault(_row_of(known.key, own, separators, depth), []).append(known.size_bytes)
    counts = {prefix: counted[prefix] for prefix in own}
    if others := whole - sum(counts.values()):
        counts[b""] = others
    parts = {prefix: _part(sample, counts[prefix], whole, sizes) for prefix, sizes in sized.items() if prefix in counts}
    formats: dict[bytes, Counter[str]] = {}
    for key, name in sample.formats.items():
        formats.setdefault(_row_of(key, own, separators, depth), Counter())[name] += 1
    rows = [
        _row(
            sample,
            prefix,
            (count, whole),
            told.get(prefix, []),
            sizes=sized.get(prefix, []),
            parts=parts,
            formats=formats.get(prefix),
        )
        for prefix, count in counts.items()
    ]
    return rows, parts


def _row_of(key: bytes, own: Collection[bytes], separators: str, depth: int) -> bytes:
    prefix = prefix_of(key, separators, depth)
    return prefix if prefix in own else b""


def _part(sample: KeySample, count: int, whole: int, sizes: Sequence[int]) -> _Part:
    share, left = count / whole, _left(sample, whole)
    near = (count + PSEUDO) / (whole + 2 * PSEUDO)
    keys = share * sample.total
    keys_variance = (left * sample.total) ** 2 * near * (1 - near) / (whole + 2 * PSEUDO)
    keys_variance += (share * sample.total_error / SURE) ** 2
    mean = statistics.fmean(sizes)
    logs = [math.log(max(1, size)) for size in sizes]
    # Of skewed sizes a few tell too little of how much they spread; their logarithms tell more.
    by_logs = mean**2 * math.expm1(min(20.0, statistics.variance(logs))) if len(sizes) > 1 else mean**2
    spread = max(by_logs, statistics.variance(sizes) if len(sizes) > 1 else 0.0)
    rest = max(0.0, 1 - len(sizes) / keys) if keys else 0.0
    return _Part(keys, keys_variance, mean, spread / len(sizes) * rest, _carrying(sizes))


def _row(
    sample: KeySample,
    prefix: bytes,
    counted: tuple[int, int],
    mine: Sequence[KeyFacts],
    *,
    sizes: Sequence[int],
    parts: Mapping[bytes, _Part],
    formats: Counter[str] | None,
) -> PrefixRow:
    looked_through = _left(sample, counted[1])
    part = proportion(*counted, looked_through) or Share(0.0, 0.0, 1.0)
    keys_error = math.hypot((part.high - part.low) / 2 * sample.total, part.value * sample.total_error)
    timed = [known.has_ttl for known in mine if known.has_ttl is not None]
    idle = [known.idle_s for known in mine if known.idle_s is not None]
    used = [known.frequency for known in mine if known.frequency is not None]
    return PrefixRow(
        prefix,
        part.value * sample.total,
        keys_error if looked_through or sample.total_error else 0.0,
        parts[prefix].bytes if prefix in parts else None,
        share_of_bytes(prefix, parts) if prefix in parts else None,
        statistics.fmean(sizes) if sizes else None,
        max(sizes, default=None),
        proportion(
            timed.count(False), len(timed), math.sqrt(max(0.0, 1 - len(timed) / max(1, part.value * sample.total)))
        ),
        statistics.median(idle) if idle else None,
        statistics.median(used) if used else None,
        len(mine),
        tuple(formats.most_common()) if formats else (),
    )


def share_of_bytes(prefix: bytes, parts: Mapping[bytes, _Part]) -> Share:
    """Return which share of the bytes of all keys is that of one prefix."""
    whole = sum(part.bytes for part in parts.values())
    if not whole:
        return Share(0.0, 0.0, 1.0)
    value = parts[prefix].bytes / whole
    # It grows with what it holds itself and shrinks with what the others hold.
    pulls = {one: part.variance * ((1 - value) if one == prefix else value) ** 2 for one, part in parts.items()}
    variance = sum(pulls.values())
    # As sure as the parts that make most of the error are (Satterthwaite 1946).
    freedom = sum(pull**2 / max(1.0, parts[one].sure_as - 1) for one, pull in pulls.items())
    factor = _student(variance**2 / freedom if freedom else math.inf)
    error = WIDER * factor * math.sqrt(variance) / whole
    return Share(value, max(0.0, value - error), min(1.0, value + error))


def proportion(part: int, whole: int, left: float = 1.0) -> Share | None:
    """Return the share that `part` of `whole` keys chosen at random tell of (Agresti, Coull 1998).

    `left` narrows the interval where the sample is much of all. None where nothing was looked at.

    >>> proportion(0, 10).low, round(proportion(0, 10).high, 2), proportion(5, 10, 0.0)
    (0.0, 0.33, Share(value=0.5, low=0.5, high=0.5))
    """
    if not whole:
        return None
    value = part / whole
    near = (part + PSEUDO) / (whole + 2 * PSEUDO)
    error = SURE * math.sqrt(near * (1 - near) / (whole + 2 * PSEUDO)) * left
    low, high = (near - error, near + error) if left else (value, value)
    return Share(value, min(value, max(0.0, low)), max(value, min(1.0, high)))


def _carrying(sizes: Sequence[int]) -> float:
    """Return of how many equal keys a sum is as sure as of these (Kish's effective sample size)."""
    squares = sum(size * size for size in sizes)
    return sum(sizes) ** 2 / squares if squares else 0.0


def _student(keys: float) -> float:
    """Return Student's factor of 95 % for so many keys."""
    for most, factor in _STUDENT:
        if keys <= most:
            return factor
    return SURE


def _left(sample: KeySample, looked: int) -> float:
    """Return how much of the error is left where a sample is much of all: nothing where it is all."""
    if sample.total <= looked:
        return 0.0
    return math.sqrt((sample.total - looked) / max(1, sample.total - 1))
