"""An hour of figures at one-second steps in bounded memory, and the moments at which something happened."""

from __future__ import annotations

import math
from array import array
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from cachetui.model import Stats
from cachetui.model.rates import delta, hit_rate, same_run
from cachetui.text import printable, size

SLOTS = 3600
"""Seconds kept."""

RATES: dict[str, str] = {
    "hits": "hits_total",
    "misses": "misses_total",
    "commands": "commands_total",
    "gets": "gets_total",
    "sets": "sets_total",
    "evicted": "evicted_total",
    "expired": "expired_total",
    "net_in": "net_in_bytes_total",
    "net_out": "net_out_bytes_total",
    "errors": "error_replies_total",
    "rejected": "rejected_connections_total",
    "connections": "connections_total",
    "cpu": "cpu_s_total",
}
"""Metrics per second and the counters they come from; `cpu` is seconds per second, so 1.0 is one core."""

GAUGES: dict[str, str] = {
    "used_bytes": "used_bytes",
    "rss": "rss_bytes",
    "clients": "clients",
    "blocked": "blocked_clients",
    "keys": "keys",
    "fragmentation": "fragmentation_ratio",
    "latency_us": "latency_us",
}
"""Metrics that are read as they are."""

HIT_RATE = "hit_rate"
"""Hits in percent of the lookups of each step."""

METRICS = (*RATES, *GAUGES, HIT_RATE)

WINDOW_S = 600.0
WINDOW_LENGTH = 60
_WINDOW_STEP_S = WINDOW_S / WINDOW_LENGTH
_MARKS = 100
_NODE_MARKS = 4
"""Nodes that one moment tells of."""
_COUNTERS_OF_RESET = tuple(field for name, field in RATES.items() if name != "cpu")
_UNKNOWN = math.nan
_OLD_NAMES = {field: name for name, field in (RATES | GAUGES).items()}


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened to the server."""

    at: float
    text: str
    """Past tense, short and printable: "restarted", "counters reset"."""


class History:
    """One hour of metrics, a thinned window of snapshots, and marks.

    Each metric is a ring of one float per second; NaN is "unknown". A value stands for the
    time since the snapshot before, unless that was so long ago that nobody looked meanwhile:
    then the time between stays unknown.
    """

    def __init__(self, interval_s: float = 1.0) -> None:
        self.interval_s = interval_s
        """Expected seconds between snapshots; longer usual spans are noticed."""
        self._rings = {name: array("d", [_UNKNOWN]) * SLOTS for name in METRICS}
        self._newest: int | None = None
        self._latest: Stats | None = None
        self._previous: Stats | None = None
        self._anchor: Stats | None = None
        self._spans: deque[float] = deque(maxlen=3)
        self._window: deque[Stats] = deque()
        self._marks: deque[Mark] = deque(maxlen=_MARKS)

    @property
    def latest(self) -> Stats | None:
        """The newest snapshot."""
        return self._latest

    @property
    def marks(self) -> tuple[Mark, ...]:
        """What happened in the last hour, oldest first."""
        if self._newest is None:
            return tuple(self._marks)
        return tuple(mark for mark in self._marks if mark.at > self._newest - SLOTS)

    def mark(self, text: str, at: float | None = None) -> None:
        """Note that something happened, at the newest snapshot's time unless told."""
        if at is None:
            at = self._latest.taken_at if self._latest else 0.0
        self._marks.append(Mark(at, text))

    def append(self, stats: Stats) -> None:
        """Take in the next snapshot; one that was taken in already is ignored.

        A snapshot older than the newest (a recording was wound back, the clock was set) takes
        the place of all that came after it.
        """
        last = self._latest
        if last is not None and stats.taken_at == last.taken_at:
            return
        if last is not None and stats.taken_at < last.taken_at:
            self._rewind(stats.taken_at)
            last = None
        if last is not None:
            for text in changes(last, stats):
                self._marks.append(Mark(stats.taken_at, text))
            if not same_run(last, stats):
                self._window.clear()
            self._spans.append(stats.taken_at - last.taken_at)
        slot = int(stats.taken_at)
        if self._newest is None or slot > self._newest or self._anchor is None or not same_run(self._anchor, stats):
            self._anchor = last
        self._write(slot, stats)
        self._previous, self._latest, self._newest = last, stats, slot
        self._extend_window(stats)

    def rate(self, counter: str) -> float | None:
        """Return the latest growth per second of a metric (`hits`) or counter (`hits_total`), None when unknown."""
        if self._previous is None or self._latest is None:
            return None
        field = RATES.get(counter, counter)
        grown = delta(self._previous, self._latest, field)
        return None if grown is None else grown / (self._latest.taken_at - self._previous.taken_at)

    def extra_rate(self, name: str) -> float | None:
        """Return the latest growth per second of a field of `Stats.extra`, None when unknown."""
        if self._previous is None or self._latest is None or not same_run(self._previous, self._latest):
            return None
        before, after = ((stats.extra or {}).get(name, "") for stats in (self._previous, self._latest))
        if not (before.isdigit() and after.isdigit()) or int(after) < int(before):
            return None
        return (int(after) - int(before)) / (self._latest.taken_at - self._previous.taken_at)

    def gauge(self, name: str) -> float | None:
        """Return the latest value of a gauge (`clients`) or field (`blocked_clients`), None when unknown."""
        if self._latest is None:
            return None
        value = getattr(self._latest, GAUGES.get(name, name))
        return None if value is None else float(value)

    def hit_rate(self) -> float | None:
        """Return hits in percent of the lookups since the snapshot before; None without lookups."""
        if self._previous is None or self._latest is None:
            return None
        return hit_rate(self._latest, self._previous)

    def series(self, metric: str, seconds: int, buckets: int, *, now: float | None = None) -> list[float | None]:
        """Return exactly `buckets` means of `metric` over the last `seconds` (at most 3600), oldest first.

        None is a gap: nothing is known of that time. Buckets lie on multiples of their width,
        so that only the last one changes until it is full. The last one holds `now`, or the
        newest snapshot.
        """
        ring = self._rings[_OLD_NAMES.get(metric, metric)]
        if self._newest is None or buckets < 1:
            return [None] * max(0, buckets)
        end = self._newest if now is None else int(now)
        width = max(1.0, min(seconds, SLOTS) / buckets)
        last = int(end // width)
        edges = [math.ceil((last - buckets + 1 + at) * width) for at in range(buckets + 1)]
        oldest = max(self._newest - SLOTS + 1, end - SLOTS + 1)
        return [_mean(ring, max(low, oldest), min(high, self._newest + 1)) for low, high in pairwise(edges)]

    def window(self) -> tuple[Stats, ...]:
        """Return at most 60 snapshots of the present run over the last ten minutes, oldest first, the newest last."""
        if self._latest is None:
            return ()
        kept = list(self._window)
        if kept and kept[-1] is self._latest:
            return tuple(kept)
        return (*kept[-(WINDOW_LENGTH - 1) :], self._latest)

    def _write(self, slot: int, stats: Stats) -> None:
        start = slot
        anchor = self._anchor
        if self._newest is not None and slot > self._newest:
            self._clear(self._newest + 1, slot)
            if anchor is not None and stats.taken_at - anchor.taken_at <= self._usual_span_s():
                start = self._newest + 1
        for name, value in self._values(anchor, stats):
            self._fill(self._rings[name], max(start, slot - SLOTS + 1), slot, value)

    def _usual_span_s(self) -> float:
        usual = max(self.interval_s, min(self._spans) if len(self._spans) == self._spans.maxlen else 0.0)
        return max(5.0, 3 * usual)

    @staticmethod
    def _values(anchor: Stats | None, stats: Stats) -> list[tuple[str, float]]:
        values = [(name, _number(getattr(stats, field))) for name, field in GAUGES.items()]
        if anchor is None:
            return values + [(name, _UNKNOWN) for name in (*RATES, HIT_RATE)]
        span = stats.taken_at - anchor.taken_at
        for name, field in RATES.items():
            grown = delta(anchor, stats, field)
            values.append((name, _UNKNOWN if grown is None else grown / span))
        values.append((HIT_RATE, _number(hit_rate(stats, anchor))))
        return values

    def _clear(self, first: int, last: int) -> None:
        for ring in self._rings.values():
            self._fill(ring, max(first, last - SLOTS + 1), last, _UNKNOWN)

    @staticmethod
    def _fill(ring: array[float], first: int, last: int, value: float) -> None:
        for slot in range(first, last + 1):
            ring[slot % SLOTS] = value

    def _rewind(self, to: float) -> None:
        assert self._newest is not None
        self._clear(int(to), self._newest)
        self._newest = int(to) - 1
        self._anchor = self._previous = self._latest = None
        self._spans.clear()
        self._window = deque(stats for stats in self._window if stats.taken_at < to)
        self._marks = deque((mark for mark in self._marks if mark.at < to), maxlen=_MARKS)

    def _extend_window(self, stats: Stats) -> None:
        window = self._window
        if not window or stats.taken_at - window[-1].taken_at >= _WINDOW_STEP_S:
            window.append(stats)
        while window and (len(window) > WINDOW_LENGTH or stats.taken_at - window[0].taken_at > WINDOW_S):
            window.popleft()


def changes(earlier: Stats, later: Stats) -> list[str]:
    """Return what happened to the server between two snapshots, as texts for marks."""
    before, after = earlier.server, later.server
    found: list[str] = []
    if after.address != before.address and after.address and before.address:
        found.append(f"connected to {after.address}")
    elif _restarted(earlier, later):
        found.append("a server restarted, went or came back" if after.mode == "fleet" else "restarted")
    elif any(_fell(earlier, later, field) for field in _COUNTERS_OF_RESET):
        found.append("counters reset")
    found += _node_changes(earlier, later)
    if (after.kind, after.version) != (before.kind, before.version) and after.version is not None:
        found.append(f"now {after.kind} {after.version}")
    if later.policy != earlier.policy and None not in (later.policy, earlier.policy):
        found.append(f"policy is {printable(later.policy or '', 20)}")
    limits = (earlier.maxmemory_bytes, later.maxmemory_bytes)
    # Of several servers it is a sum, which moves as they come and go.
    if limits[0] != limits[1] and None not in limits and not later.nodes and after.mode != "fleet":
        found.append(f"maxmemory is {size(later.maxmemory_bytes)}")
    if after.role != before.role and after.role is not None and before.role is not None:
        found.append(f"role changed to {after.role}")
    return found


def _node_changes(earlier: Stats, later: Stats) -> list[str]:
    """Return what happened to the nodes of a cluster: who came, went, restarted or changed its role."""
    before, after = ({node.address: node for node in stats.nodes} for stats in (earlier, later))
    if not before or not after:
        return []
    found = [f"{address} joined" for address in after.keys() - before.keys()]
    found += [f"{address} left" for address in before.keys() - after.keys()]
    for address in before.keys() & after.keys():
        old, new = before[address], after[address]
        if old.run_id and new.run_id and old.run_id != new.run_id:
            found.append(f"{address} restarted")
        elif old.run_id and new.run_id and old.role != new.role:
            found.append(f"{address} is {new.role} now")
        elif old.trouble == "" and new.trouble:
            found.append(f"{address} does not answer")
        elif old.trouble and new.trouble == "":
            found.append(f"{address} answers again")
    return sorted(found)[:_NODE_MARKS]


def _restarted(earlier: Stats, later: Stats) -> bool:
    before, after = earlier.server.run_id, later.server.run_id
    if before is not None and after is not None and before != after:
        return True
    return earlier.uptime_s is not None and later.uptime_s is not None and later.uptime_s < earlier.uptime_s


def _fell(earlier: Stats, later: Stats, field: str) -> bool:
    before, after = getattr(earlier, field), getattr(later, field)
    return before is not None and after is not None and after < before


def _number(value: float | None) -> float:
    return _UNKNOWN if value is None else float(value)


def _mean(ring: array[float], first: int, end: int) -> float | None:
    known = [value for slot in range(first, end) if not math.isnan(value := ring[slot % SLOTS])]
    return sum(known) / len(known) if known else None
