"""How counters grew within the evidence: over its window, or since the server's start where there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cachetui import text
from cachetui.model import CommandStat, Evidence, Stats
from cachetui.model.rates import same_run

SETTLED_S = 60.0
"""Seconds. A window this long speaks for itself, also when nothing grew in it; while it is shorter,
the totals since start are still worth telling (and are told as such)."""

SLOPE_SPAN_S = 30.0
"""Over a shorter span the growth of the memory says nothing."""

Reader = Callable[[Stats], float | None]


@dataclass(frozen=True, slots=True)
class Growth:
    """By how much a counter grew, and over which span."""

    amount: float
    span_s: float
    base: Stats | None
    """The earlier snapshot it is measured from; None: since the server's start."""

    @property
    def since_start(self) -> bool:
        return self.base is None

    @property
    def per_s(self) -> float:
        """The rate; what came within less than a second counts as a second's, so that one is no storm."""
        return self.amount / max(1.0, self.span_s)

    @property
    def words(self) -> str:
        """The span as words that end a sentence: "in the last 2m", "since the start 3d04h ago"."""
        # Whole minutes: words that change every second are not read.
        span = text.duration(self.span_s if self.span_s < 60 else self.span_s // 60 * 60).removesuffix("00s")
        return f"since the start {span} ago" if self.since_start else f"in the last {span}"

    def facts(self) -> dict[str, object]:
        """Return the span as evidence."""
        return {"span_s": round(self.span_s, 1), "since_start": self.since_start}


def growth(evidence: Evidence, counter: str | Reader, *, least: float = 0) -> Growth | None:
    """Return the growth of a counter of `Stats` (its name, or a function that reads it).

    Measured over the window where more than `least` came together in it or it is settled,
    else since start. None where the counter or the uptime is unknown.
    """
    read = _reader(counter) if isinstance(counter, str) else counter
    recent = window_growth(evidence, read)
    if recent is not None and (recent.amount > least or recent.span_s >= SETTLED_S):
        return recent
    return _since_start(evidence.stats, read) or recent


def window_growth(evidence: Evidence, counter: str | Reader) -> Growth | None:
    """Return the growth within the window alone; a reset in the middle shortens the span."""
    read = _reader(counter) if isinstance(counter, str) else counter
    now = evidence.stats
    after = None if now is None else read(now)
    if now is None or after is None:
        return None
    for earlier in evidence.window:
        before = read(earlier) if same_run(earlier, now) else None
        if before is not None and before <= after:
            return Growth(after - before, now.taken_at - earlier.taken_at, earlier)
    return None


def over_same_span(evidence: Evidence, span: Growth, counter: str | Reader) -> float | None:
    """Return by how much another counter grew over the span of `span`, or None."""
    read = _reader(counter) if isinstance(counter, str) else counter
    after = None if evidence.stats is None else read(evidence.stats)
    before = 0.0 if span.base is None else read(span.base)
    if after is None or before is None or before > after:
        return None
    return after - before


def lookups(stats: Stats) -> float | None:
    """Read hits plus misses: a counter like any other."""
    if stats.hits_total is None or stats.misses_total is None:
        return None
    return stats.hits_total + stats.misses_total


def error_growth(evidence: Evidence, word: str) -> Growth | None:
    """Return how often the server answered with the error `word`, or None when error counts are unknown."""
    return growth(evidence, error_reader(evidence, word))


def error_reader(evidence: Evidence, word: str) -> Reader:
    """Return a reader of one error's count; a snapshot kept without its details reads as unknown."""
    detailed = evidence.stats is not None and bool(evidence.stats.commands)

    def read(stats: Stats) -> float | None:
        found = [error.count for error in stats.errors if error.word == word]
        if found:
            return sum(found)
        known = bool(stats.errors) or bool(stats.commands) or not detailed
        return 0 if known and stats is not evidence.stats else None

    return read


def command_growth(evidence: Evidence) -> tuple[Growth, dict[str, CommandStat]] | None:
    """Return the span and, by command name, calls and server time within it.

    The `Growth` counts calls. None when command statistics are unknown.
    """
    now = evidence.stats
    if now is None or not now.commands:
        return None

    def calls(stats: Stats) -> float | None:
        return sum(command.calls for command in stats.commands) if stats.commands else None

    span = growth(evidence, calls)
    if span is None:
        return None
    before = {} if span.base is None else {command.name: command for command in span.base.commands}
    grown = {}
    for command in now.commands:
        earlier = before.get(command.name)
        calls_grown = command.calls - (earlier.calls if earlier else 0)
        usec_grown = command.usec - (earlier.usec if earlier else 0)
        if calls_grown > 0 and usec_grown >= 0:
            grown[command.name] = CommandStat(command.name, calls_grown, usec_grown)
    return span, grown


def growth_of_memory(evidence: Evidence) -> float | None:
    """Return the growth in bytes a second; of the whole window or its later half, whichever is calmer."""
    whole = slope(evidence, "used_bytes", least_span_s=SLOPE_SPAN_S)
    half = replace(evidence, window=evidence.window[len(evidence.window) // 2 :])
    later = slope(half, "used_bytes", least_span_s=SLOPE_SPAN_S / 2)
    return None if whole is None or later is None else min(whole, later)


def slope(evidence: Evidence, gauge: str, *, least_span_s: float) -> float | None:
    """Return the change of a gauge per second, by least squares over the window and now, or None."""
    now = evidence.stats
    if now is None:
        return None
    points = [(s.taken_at, getattr(s, gauge)) for s in (*evidence.window, now) if s is now or same_run(s, now)]
    points = [(at, value) for at, value in points if value is not None]
    if len(points) < 3 or points[-1][0] - points[0][0] < least_span_s:
        return None
    mean_at = sum(at for at, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    if spread <= 0:
        return None
    return float(sum((at - mean_at) * (value - mean) for at, value in points) / spread)


def number(stats: Stats, name: str) -> float | None:
    """Return a field of `Stats.extra` as a sane number, or None."""
    try:
        value = float((stats.extra or {})[name])
    except (KeyError, ValueError, TypeError):
        return None
    return value if 0 <= value <= 2**63 else None


def _reader(counter: str) -> Reader:
    def read(stats: Stats) -> float | None:
        value: float | None = getattr(stats, counter)
        return value

    return read


def _since_start(now: Stats | None, read: Reader) -> Growth | None:
    total = None if now is None else read(now)
    if now is None or total is None or now.uptime_s is None:
        return None
    return Growth(total, max(1.0, float(now.uptime_s)), None)
