"""Rules that only Memcached's own counters allow."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.growth import growth, over_same_span
from cachetui.analysis.rules.rule import Problem, is_memcached
from cachetui.analysis.slabs import donor_for, idle_bytes, lost_of
from cachetui.model import Evidence

UNFETCHED_SHARE_PERCENT = 50.0
"""Percent of the evicted items that nobody ever read: memory spent for nothing."""

LEAST_EVICTED = 100
"""Evicted items below which a share says nothing."""

YIELDS_SHARE_PERCENT = 1.0
"""Percent of commands after which a connection had to yield to the others (-R)."""


def evicted_unfetched(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    evicted = growth(evidence, "evicted_total", least=LEAST_EVICTED - 1)
    if stats is None or not is_memcached(stats) or evicted is None or evicted.amount < LEAST_EVICTED:
        return None
    unread = over_same_span(evidence, evicted, "evicted_unfetched_total")
    if unread is None:
        return None
    share = 100 * unread / evicted.amount
    if share < UNFETCHED_SHARE_PERCENT:
        return None
    return Problem(
        "low" if evicted.since_start else "medium",
        f"Evicted unread: {text.percent(min(share, 100.0))} of {text.count(evicted.amount)} evicted items"
        f" were never fetched {evicted.words}",
        "Store less of what nobody asks for, give it a short TTL, or add memory.",
        {"evicted": int(evicted.amount), "unfetched": int(unread), "share_percent": round(share, 2), **evicted.facts()},
    )


def listen_disabled(evidence: Evidence) -> Problem | None:
    stopped = growth(evidence, "listen_disabled_total")
    stats = evidence.stats
    if stats is None or stopped is None or stopped.amount <= 0:
        return None
    return Problem(
        "low" if stopped.since_start else "high",
        f"Connections had to wait: the limit was reached {text.count(stopped.amount)} times {stopped.words}",
        "Find the leaking pool (press 5), or start memcached with a larger -c.",
        {
            "listen_disabled": int(stopped.amount),
            "clients": stats.clients,
            "max_clients": stats.max_clients,
            **stopped.facts(),
        },
    )


def yields(evidence: Evidence) -> Problem | None:
    yielded = growth(evidence, "conn_yields_total")
    if yielded is None or yielded.since_start or yielded.amount <= 0:
        return None
    gets = over_same_span(evidence, yielded, "gets_total")
    sets = over_same_span(evidence, yielded, "sets_total")
    commands = (gets or 0) + (sets or 0)
    if commands <= 0 or 100 * yielded.amount / commands < YIELDS_SHARE_PERCENT:
        return None
    return Problem(
        "low",
        f"Connections yield {text.rate(yielded.per_s)} {yielded.words}: some send very long batches",
        "Send smaller batches (multi-gets), or start memcached with a larger -R.",
        {"yields": int(yielded.amount), "gets_and_sets": int(commands), **yielded.facts()},
    )


def slab_imbalance(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or not stats.slabs:
        return None
    before = _evicted(evidence)
    starving = [
        (grown, slab, donor)
        for slab in stats.slabs
        if (grown := (lost_of(slab) or 0) - before.get((slab.server, slab.class_id), 0)) > 0
        and (donor := donor_for(slab, stats.slabs)) is not None
    ]
    if not starving:
        return None
    grown, worst, donor = max(starving, key=lambda found: found[0])
    lately = bool(before)
    return Problem(
        "medium" if lately else "low",
        f"Slab imbalance: class {worst.class_id} ({text.size(worst.chunk_bytes)}) evicted {text.count(grown)} items"
        f" while class {donor.class_id} keeps {text.size(idle_bytes(donor))} free",
        "Let memcached move pages (automove), or move one by hand.",
        {
            "starving_class": worst.class_id,
            "starving_chunk_bytes": worst.chunk_bytes,
            "evicted": grown,
            "idle_class": donor.class_id,
            "idle_bytes": idle_bytes(donor),
            "server": worst.server,
            "since_start": not lately,
        },
        ("slabs automove 1", f"slabs reassign {donor.class_id} {worst.class_id}"),
    )


def _evicted(evidence: Evidence) -> dict[tuple[str, int], int]:
    """Return what each class had evicted at the window's begin; empty: judge since start."""
    counted = growth(evidence, "evicted_total")
    if counted is None or counted.base is None:
        return {}
    return {(slab.server, slab.class_id): lost_of(slab) or 0 for slab in counted.base.slabs}
