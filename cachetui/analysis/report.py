"""The document of `analyze --json`: a contract, unknown fields are null, never invented."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from cachetui import text
from cachetui.analysis.growth import Growth, lookups, over_same_span
from cachetui.analysis.rules import findings
from cachetui.analysis.rules.availability import away
from cachetui.analysis.rules.memory import utilisation
from cachetui.analysis.sanity import sane
from cachetui.model import Evidence, Finding, Stats
from cachetui.model.rates import same_run

SCHEMA = 1


def report(
    evidence: Evidence,
    *,
    target: str,
    denied: Iterable[str] = (),
    status: str | None = None,
    windowed: bool = False,
) -> dict[str, object]:
    """Return the analyze document: plain JSON values, every string printable.

    `target` without secrets. `denied` are commands refused beside those in `evidence.stats`.
    `status` overrules what the evidence says (`success`, `partial`, `error`). With `windowed`
    the rates are those of the evidence's window (a sampling window was asked for), else since
    the server's start.
    """
    known = sane(evidence)
    live = known.stats if known.stats is not None and not away(known) else None
    refused = sorted({text.printable(name, 100) for name in (*denied, *(live.denied if live else ())) if name})
    if status is None:
        status = "error" if live is None else "partial" if refused else "success"
    document: dict[str, object] = {
        "schema": SCHEMA,
        "operation": "analyze-cache",
        "status": status,
        "target": text.printable(target),
        "takenAt": _iso(known.taken_at),
        "server": _server(live),
        "metrics": _metrics(known if live else None, windowed),
        "recommendations": [_recommendation(finding) for finding in findings(known)],
    }
    if status == "partial":
        document["denied"] = refused
    return document


def _server(stats: Stats | None) -> dict[str, object]:
    server = stats.server if stats else None
    return {
        "kind": server.kind if server else None,
        "version": server.version if server else None,
        "mode": server.mode if server else None,
        "role": server.role if server else None,
        "uptimeSeconds": stats.uptime_s if stats else None,
    }


def _metrics(evidence: Evidence | None, windowed: bool) -> dict[str, object]:
    stats = evidence.stats if evidence else None
    hit, evicted = (None, None) if evidence is None else _rates(evidence, windowed)
    used = stats.used_bytes if stats else None
    peak = stats.peak_bytes if stats else None
    limit = stats.maxmemory_bytes if stats else None
    used_percent = utilisation(stats) if stats else None
    ratio = stats.fragmentation_ratio if stats else None
    return {
        "hitRate": hit,
        "missRate": None if hit is None else round(100 - hit, 2),
        "evictionRate": evicted,
        "memoryUsage": {
            "used": _size(used),
            "peak": _size(peak),
            "maxmemory": _size(limit),
            "utilizationPercent": None if used_percent is None else round(used_percent, 2),
            "usedBytes": used,
            "peakBytes": peak,
            "maxmemoryBytes": limit,
            "fragmentationRatio": None if ratio is None else round(ratio, 3),
        },
        "connections": {
            "current": stats.clients if stats else None,
            "blocked": stats.blocked_clients if stats else None,
            "maxClients": stats.max_clients if stats else None,
        },
    }


def _rates(evidence: Evidence, windowed: bool) -> tuple[float | None, float | None]:
    """Return hits in percent of lookups, and evicted keys per 100 lookups, over one and the same span."""
    now = evidence.stats
    assert now is not None
    base = next((s for s in evidence.window if same_run(s, now)), None) if windowed else None
    if windowed and base is None:
        return None, None
    span = Growth(0, 1.0, base)
    asked = over_same_span(evidence, span, lookups)
    if not asked:
        return None, None
    hits = over_same_span(evidence, span, "hits_total")
    evicted = over_same_span(evidence, span, "evicted_total")
    return (
        None if hits is None else round(100 * hits / asked, 2),
        None if evicted is None else round(100 * evicted / asked, 2),
    )


def _recommendation(finding: Finding) -> dict[str, object]:
    return {
        "id": finding.id,
        "category": finding.category,
        "issue": finding.issue,
        "action": finding.action,
        "priority": finding.priority,
        "evidence": finding.evidence,
        "commands": list(finding.commands),
    }


def _size(count: int | None) -> str | None:
    return None if count is None else text.size(count)


def _iso(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # a recording may claim any moment
        return None
