"""Rules about the hit rate: low, or falling."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.growth import growth, lookups, over_same_span
from cachetui.analysis.rules.rule import Problem
from cachetui.model import Evidence, Stats
from cachetui.model.rates import delta, hit_rate, per_second, same_run

LEAST_LOOKUPS = 100
"""Lookups below which a rate says nothing."""

LOW_PERCENT = 80.0
"""Percent of lookups: a cache below it deserves a look."""

VERY_LOW_PERCENT = 50.0
"""Percent of lookups: more misses than hits."""

RECENT_S = 60.0
"""Seconds that count as recent, or half of a window that is shorter than two of them."""

LEAST_WINDOW_S = 20.0
"""Seconds of history below which "earlier" and "recent" are the same moment."""

FALLEN_POINTS, COLLAPSED_POINTS = 10.0, 30.0
"""Percentage points of fall: noticeable behind the cache; and three times the misses of a 85 % cache."""

CAUSE_FACTOR = 2.0
"""Evictions or expiries that doubled are named as the likely cause."""


def low(evidence: Evidence) -> Problem | None:
    asked = growth(evidence, lookups, least=LEAST_LOOKUPS - 1)
    if asked is None or asked.amount < LEAST_LOOKUPS:
        return None
    hits = over_same_span(evidence, asked, "hits_total")
    if hits is None:
        return None
    percent = 100 * hits / asked.amount
    if percent >= LOW_PERCENT:
        return None
    return Problem(
        "medium" if percent < VERY_LOW_PERCENT else "low",
        f"Hit rate {text.percent(percent)} of {text.count(asked.amount)} lookups {asked.words}",
        "See which prefixes miss, whether keys expire or are evicted before they are read again,"
        " and whether the application writes under the names it reads.",
        {
            "hit_rate_percent": round(percent, 2),
            "lookups": int(asked.amount),
            "lookups_per_s": round(asked.per_s, 2),
            **asked.facts(),
        },
    )


def falling(evidence: Evidence) -> Problem | None:
    now = evidence.stats
    if now is None:
        return None
    run = [stats for stats in evidence.window if same_run(stats, now)]
    pivot = _pivot(run, now)
    if pivot is None:
        return None
    first = run[0]
    before, after = hit_rate(pivot, first), hit_rate(now, pivot)
    asked_before, asked_after = _lookups(first, pivot), _lookups(pivot, now)
    if before is None or after is None or min(asked_before, asked_after) < LEAST_LOOKUPS:
        return None
    fallen = before - after
    if fallen < FALLEN_POINTS:
        return None
    cause, action, figures = _cause(first, pivot, now)
    return Problem(
        "high" if fallen >= COLLAPSED_POINTS else "medium",
        f"Hit rate fell from {text.percent(before)} to {text.percent(after)}"
        f" in the last {text.duration(now.taken_at - pivot.taken_at)}{cause}",
        action,
        {
            "hit_rate_before_percent": round(before, 2),
            "hit_rate_recent_percent": round(after, 2),
            "lookups_before": int(asked_before),
            "lookups_recent": int(asked_after),
            "before_span_s": round(pivot.taken_at - first.taken_at, 1),
            "recent_span_s": round(now.taken_at - pivot.taken_at, 1),
            **figures,
        },
    )


def _pivot(run: list[Stats], now: Stats) -> Stats | None:
    """Return the snapshot where "recent" begins."""
    if len(run) < 2 or now.taken_at - run[0].taken_at < LEAST_WINDOW_S:
        return None
    recent_s = min(RECENT_S, (now.taken_at - run[0].taken_at) / 2)
    return next((stats for stats in reversed(run[1:]) if now.taken_at - stats.taken_at >= recent_s), None)


def _lookups(earlier: Stats, later: Stats) -> float:
    return (delta(earlier, later, "hits_total") or 0) + (delta(earlier, later, "misses_total") or 0)


def _cause(first: Stats, pivot: Stats, now: Stats) -> tuple[str, str, dict[str, object]]:
    """Return what likely made the hit rate fall: words for the issue, the action, the figures."""
    figures: dict[str, object] = {}
    grew: dict[str, bool] = {}
    for counter in ("evicted", "expired"):
        before = per_second(first, pivot, f"{counter}_total")
        after = per_second(pivot, now, f"{counter}_total")
        if before is not None and after is not None:
            figures |= {f"{counter}_before_per_s": round(before, 2), f"{counter}_recent_per_s": round(after, 2)}
            grew[counter] = after > 0 and after >= CAUSE_FACTOR * before
    if grew.get("evicted"):
        return " while evictions rose", "The working set no longer fits: raise the limit or find what grew.", figures
    if grew.get("expired"):
        return (
            " while expiries rose",
            "Many keys expired together: spread their TTLs with jitter and let one caller refill each key.",
            figures,
        )
    return "", "Neither evictions nor expiries explain it: look for a deploy, a purge or new key names.", figures
