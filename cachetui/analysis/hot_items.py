"""What Memcached's live events and counters say of its use: commands by rate, and the names seen most."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from cachetui.analysis.growth import growth, number, over_same_span
from cachetui.model import Evidence, SlowLog

_ANSWERED = ("touch", "delete", "incr", "decr", "cas")
"""Commands whose hits and misses are counted apart."""
_CONNECTIONS = ("connect", "close")


@dataclass(frozen=True, slots=True)
class ItemCommand:
    """One command's rate over the evidence's span; `hit_percent` of those that found their item."""

    name: str
    per_s: float
    hit_percent: float | None = None


@dataclass(frozen=True, slots=True)
class HotItem:
    """One name in the latest events."""

    key: bytes
    events: int
    share: float
    """Of all events, 0 to 1."""
    kinds: dict[str, int]
    """How often it was fetched, missed, stored, ..."""


def item_commands(evidence: Evidence) -> list[ItemCommand]:
    """Return the rates of Memcached's commands, those that are used; nothing before a second look."""
    gets = growth(evidence, "gets_total")
    if gets is None or gets.since_start:
        return []
    span_s = max(1.0, gets.span_s)
    hits = over_same_span(evidence, gets, "hits_total")
    found = [ItemCommand("get", gets.amount / span_s, _share(hits, gets.amount))]
    sets = over_same_span(evidence, gets, "sets_total")
    if sets is not None:
        found.append(ItemCommand("set", sets / span_s))
    for name in _ANSWERED:
        hit, missed = (
            over_same_span(evidence, gets, lambda seen, what=what: number(seen, what))  # type: ignore[misc]
            for what in (f"{name}_hits", f"{name}_misses")
        )
        total = (hit or 0.0) + (missed or 0.0)
        if total:
            found.append(ItemCommand(name, total / span_s, _share(hit, total)))
    return found


def _share(part: float | None, whole: float) -> float | None:
    return None if part is None or not whole else 100 * part / whole


def hot_items(log: SlowLog | None, most: int = 200) -> list[HotItem]:
    """Return the names in the live events, the one seen most first."""
    if log is None:
        return []
    kinds: dict[bytes, Counter[str]] = defaultdict(Counter)
    for entry in log.entries:
        if entry.args and entry.event and entry.event not in _CONNECTIONS:
            kinds[entry.args[0]][entry.event] += 1
    counts = {key: sum(events.values()) for key, events in kinds.items()}
    total = sum(counts.values())
    ranked = sorted(counts, key=lambda key: (-counts[key], key))[:most]
    return [HotItem(key, counts[key], counts[key] / total, dict(kinds[key])) for key in ranked]
