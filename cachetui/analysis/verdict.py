"""The one line of the Overview: is it up, am I on the primary, and what is worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cachetui import text
from cachetui.analysis.growth import growth, lookups, over_same_span
from cachetui.analysis.rules.memory import utilisation
from cachetui.analysis.sanity import sane
from cachetui.model import Evidence, Finding, Stats

WIDTH = 110
"""Columns at most."""

LEAST_LOOKUPS = 1
"""Lookups from which the line shows a hit rate."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The line as data: sign and colour are the screen's."""

    level: Literal["ok", "warn", "bad", "unknown"]
    text: str
    """At most `WIDTH` columns, the most important words first, printable."""
    finding_id: str | None = None
    """The finding it quotes."""


def verdict(evidence: Evidence, findings: Sequence[Finding]) -> Verdict:
    """Return the verdict over `evidence` and the findings made from it (worst first)."""
    known = sane(evidence)
    worst = findings[0] if findings else None
    if worst is not None and (worst.priority != "low" or known.stats is None):
        level: Literal["warn", "bad"] = "bad" if worst.priority == "high" else "warn"
        others = len(findings) - 1
        role = _role(known.stats) if known.stats is not None and known.trouble is None else ""
        more = f" - {others} more" if others else ""
        lead = f"{role} - " if role else ""
        return Verdict(level, _cut(f"{lead}{worst.issue}", WIDTH - len(more)) + more, worst.id)
    if known.stats is None:
        waiting = "Waiting for the first answer"
        return Verdict("unknown", waiting if known.trouble is None else _cut(known.trouble.message, WIDTH))
    notes = f" - {len(findings)} note{'s' if len(findings) > 1 else ''}" if findings else ""
    parts = [part for part in (_who(known.stats), _figures(known)) if part]
    return Verdict("ok", _cut(" - ".join(parts), WIDTH - len(notes)) + notes, worst.id if worst else None)


def _role(stats: Stats) -> str:
    """Return the role in one or two words: what a person must know before acting."""
    server = stats.server
    if server.mode == "cluster":
        return f"cluster {server.role}" if server.role else "cluster"
    return server.role or server.kind


def _who(stats: Stats) -> str:
    if stats.nodes:
        answering = sum(not node.trouble for node in stats.nodes)
        return f"cluster, {answering} of {len(stats.nodes)} nodes answer"
    replicas = stats.replicas
    if stats.server.role == "primary" and replicas is not None:
        counted = "no replicas" if replicas == 0 else f"{replicas} replica{'s' if replicas > 1 else ''}"
        return f"{_role(stats)}, {counted}"
    if stats.server.role == "replica" and stats.link_up:
        return f"{_role(stats)}, link up"
    return _role(stats)


def _figures(evidence: Evidence) -> str:
    stats = evidence.stats
    assert stats is not None
    parts = []
    asked = growth(evidence, lookups)
    hits = None if asked is None else over_same_span(evidence, asked, "hits_total")
    if asked is not None and hits is not None and asked.amount >= LEAST_LOOKUPS:
        parts.append(f"hit rate {text.percent(100 * hits / asked.amount)}")
    used_percent = utilisation(stats)
    if used_percent is not None:
        parts.append(f"memory {text.percent(used_percent, 0)} of {text.size(stats.maxmemory_bytes)}")
    elif stats.used_bytes is not None:
        parts.append(f"memory {text.size(stats.used_bytes)}" + (", no limit" if stats.maxmemory_bytes == 0 else ""))
    evicted = growth(evidence, "evicted_total")
    if evicted is not None:
        parts.append(f"evicting {text.rate(evicted.per_s)}" if evicted.amount else "no evictions")
    return ", ".join(parts)


def _cut(words: str, width: int) -> str:
    return text.fit(words, width).rstrip() if text.cells(words) > width else words
