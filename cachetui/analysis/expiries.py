"""When keys expire: a histogram, and the cliffs in it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from cachetui.model.prefixes import Cliff, Expiries

EDGES_S = (60.0, 300.0, 900.0, 3600.0, 6 * 3600.0, 86400.0, 7 * 86400.0)
LEAST_KEYS, LEAST_SHARE, STEEP = 10, 0.05, 4.0
"""A cliff holds so many keys looked at, so much of those that expire, and so many times what its neighbours hold."""
WIDTH_S, WIDTH_SHARE = 10.0, 0.02
"""A cliff is at least so wide, or so much of the time until then."""
CLIFFS = 5


def expiries(ttls: Sequence[tuple[float, bytes]], scale: float) -> Expiries | None:
    """Return when keys expire, from the TTL in seconds and the prefix of some; each stands for `scale` keys."""
    if not ttls:
        return None
    ordered = sorted(ttls)
    times = [ttl for ttl, _ in ordered]
    bounds = [0, *(bisect_right(times, edge) for edge in EDGES_S), len(times)]
    counts = tuple(round((after - before) * scale) for before, after in pairwise(bounds))
    return Expiries(EDGES_S, counts, tuple(_cliffs(ordered, times, scale)))


def _cliffs(ordered: Sequence[tuple[float, bytes]], times: Sequence[float], scale: float) -> list[Cliff]:
    """Return the steepest places, the next first: windows that hold far more than those before and after them."""
    found: list[tuple[int, int, int]] = []
    needed = max(LEAST_KEYS, LEAST_SHARE * len(times))
    for first, begins in enumerate(times):
        width = max(WIDTH_S, WIDTH_SHARE * begins)
        after = bisect_left(times, begins + width)
        held = after - first
        beside = first - bisect_left(times, begins - width) + bisect_left(times, begins + 2 * width) - after
        if held >= needed and held >= STEEP * max(1.0, beside / 2):
            found.append((held, first, after))
    chosen: list[tuple[int, int, int]] = []
    for held, first, after in sorted(found, reverse=True):
        if len(chosen) < CLIFFS and all(after <= one or two <= first for _, one, two in chosen):
            chosen.append((held, first, after))
    return [
        Cliff(
            times[first],
            times[after - 1],
            round(held * scale),
            held / len(times),
            Counter(prefix for _, prefix in ordered[first:after]).most_common(1)[0][0],
        )
        for held, first, after in sorted(chosen, key=lambda place: place[1])
    ]
