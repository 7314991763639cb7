"""Slow commands over time: how many there were of each length in each span."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from cachetui.model import SlowEntry

BOUNDS_US = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
"""Where one row ends and the next begins: each about three times as long."""
SPANS_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)


@dataclass(frozen=True, slots=True)
class Heat:
    """Counts by row (the longest first) and span (the oldest first)."""

    span_s: int
    """Seconds of one span."""
    until: float
    """Unix seconds: where the last span ends."""
    least_us: tuple[int, ...]
    """For each row what its commands took at least."""
    counts: tuple[tuple[int, ...], ...]


def heat(entries: Iterable[SlowEntry], spans: int, now: float) -> Heat | None:
    """Return the counts in at most `spans` spans that reach back to the oldest entry; None without entries.

    Empty rows above the longest and below the shortest are left out.
    """
    timed = [(entry.at, entry.duration_us) for entry in entries if entry.duration_us is not None]
    if not timed or spans < 2:
        return None
    reach_s = max(1.0, now - min(at for at, _ in timed))
    # The last span is not over yet, and the first may have begun before the oldest entry.
    span_s = next((span for span in SPANS_S if span * (spans - 1) >= reach_s), SPANS_S[-1])
    # Spans begin at round times: so they stand still while time goes on.
    last = int(now // span_s)
    rows = [[0] * spans for _ in range(len(BOUNDS_US) + 1)]
    for at, duration_us in timed:
        back = last - int(at // span_s)
        if 0 <= back < spans:
            rows[bisect_right(BOUNDS_US, duration_us)][spans - 1 - back] += 1
    used = [number for number, row in enumerate(rows) if any(row)]
    if not used:
        return None
    shown = range(max(used), min(used) - 1, -1)
    least = (0, *BOUNDS_US)
    return Heat(
        span_s, float((last + 1) * span_s), tuple(least[row] for row in shown), tuple(tuple(rows[row]) for row in shown)
    )
