"""Differences of two snapshots: pure, and aware of restarts and resets."""

from __future__ import annotations

from cachetui.model.stats import Stats


def same_run(earlier: Stats, later: Stats) -> bool:
    """Tell whether two snapshots come from one run of one server, in this order."""
    if earlier.server.run_id != later.server.run_id or earlier.server.kind != later.server.kind:
        return False
    if earlier.uptime_s is not None and later.uptime_s is not None and later.uptime_s < earlier.uptime_s:
        return False
    return later.taken_at > earlier.taken_at


def delta(earlier: Stats, later: Stats, counter: str) -> float | None:
    """Return by how much `counter` grew, or None when unknown, restarted or reset."""
    before, after = getattr(earlier, counter), getattr(later, counter)
    if before is None or after is None or after < before or not same_run(earlier, later):
        return None
    return float(after - before)


def per_second(earlier: Stats, later: Stats, counter: str) -> float | None:
    """Return the growth of `counter` per second between two snapshots, or None."""
    grown = delta(earlier, later, counter)
    return None if grown is None else grown / (later.taken_at - earlier.taken_at)


def hit_rate(later: Stats, earlier: Stats | None = None) -> float | None:
    """Return hits in percent of lookups, between two snapshots or (without `earlier`) since start.

    None when nothing was looked up or the counters are unknown.
    """
    if earlier is None:
        hits: float | None = later.hits_total
        misses: float | None = later.misses_total
    else:
        hits, misses = delta(earlier, later, "hits_total"), delta(earlier, later, "misses_total")
    if hits is None or misses is None or hits + misses == 0:
        return None
    return 100.0 * hits / (hits + misses)
