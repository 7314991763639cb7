"""Rules about sudden changes: the last seconds beside the minutes before them."""

from __future__ import annotations

from typing import NamedTuple

from cachetui import text
from cachetui.analysis.rules.hits import falling
from cachetui.analysis.rules.rule import Problem
from cachetui.model import Evidence, Stats
from cachetui.model.rates import delta, hit_rate, per_second, same_run

RECENT_S, BEFORE_S, LONGEST_S = 8.0, 20.0, 180.0
"""At least so many seconds are now; at least and at most so many before them are compared with."""
LEAST_LOOKUPS = 300
DROP_POINTS = 8.0
"""Points of hit rate that no noise explains."""
MISSES_PER_S, MISSES_RISE = 15.0, 0.2
SAME_KEYS, SAME_TIMES = 0.5, 2.0
"""So much of the new misses is written over keys that are there again by then: others loaded them too.

And so many times as much as before."""
PURGED = 0.01
"""Of all keys: so many going at once are a purge."""
EVICTED_PER_S, EVICTED_TIMES, WRITES_TIMES = 50.0, 2.0, 1.5
JUMP_PER_S, JUMP_TIMES = 500.0, 2.0
STORM_PER_S, STORM_TIMES, STORM_SLOW = 5.0, 3.0, 5
_SETS = frozenset({"set", "setex", "psetex", "setnx", "getset", "mset", "hset", "json.set"})
_DELETES = frozenset({"del", "unlink", "getdel"})


class _Spans(NamedTuple):
    first: Stats
    middle: Stats
    """Where now begins."""
    now: Stats

    @property
    def recent_s(self) -> float:
        return self.now.taken_at - self.middle.taken_at

    def rates(self, counter: str) -> tuple[float, float] | None:
        """Return the rate before and now."""
        before, now = per_second(self.first, self.middle, counter), per_second(self.middle, self.now, counter)
        return None if before is None or now is None else (before, now)

    def calls(self, names: frozenset[str]) -> tuple[float, float]:
        """Return how often commands were called per second before and now."""
        first, middle, now = (_calls(stats, names) for stats in (self.first, self.middle, self.now))
        return (middle - first) / (self.middle.taken_at - self.first.taken_at), (now - middle) / self.recent_s


def _spans(evidence: Evidence) -> _Spans | None:
    now = evidence.stats
    if now is None:
        return None
    run = [one for one in evidence.window if same_run(one, now) and now.taken_at - one.taken_at <= LONGEST_S]
    middle = next((one for one in reversed(run) if now.taken_at - one.taken_at >= RECENT_S), None)
    if middle is None or middle.taken_at - run[0].taken_at < BEFORE_S:
        return None
    return _Spans(run[0], middle, now)


def _calls(stats: Stats, names: frozenset[str]) -> int:
    return sum(command.calls for command in stats.commands if command.name.partition("|")[0].lower() in names)


def hit_rate_drop(evidence: Evidence) -> Problem | None:
    spans = _spans(evidence)
    if spans is None or falling(evidence) is not None:
        return None
    before, now = hit_rate(spans.middle, spans.first), hit_rate(spans.now, spans.middle)
    if before is None or now is None or before - now < DROP_POINTS:
        return None
    if min(_lookups(spans.first, spans.middle), _lookups(spans.middle, spans.now)) < LEAST_LOOKUPS:
        return None
    gone = _gone(spans)
    why = f" as {text.count(gone)} keys went that neither expired nor were evicted" if gone else ""
    return Problem(
        "medium",
        f"Hit rate fell from {text.percent(before)} to {text.percent(now)} in the last "
        f"{text.duration(round(spans.recent_s))}{why}",
        "Look who deleted keys (5, 9, and del or unlink in 7), and whether readers load each key once."
        if gone
        else "Look for a deploy, new key names or a purge: what is missed is loaded from behind the cache.",
        {
            "hit_rate_before_percent": round(before, 2),
            "hit_rate_percent": round(now, 2),
            "span_s": round(spans.recent_s, 1),
            "keys_deleted": gone,
        },
    )


def _lookups(earlier: Stats, later: Stats) -> float:
    return (delta(earlier, later, "hits_total") or 0) + (delta(earlier, later, "misses_total") or 0)


def _gone(spans: _Spans) -> int | None:
    """Return how many more keys went lately than expired or were evicted, where that is a purge."""
    fewer = (spans.middle.keys or 0) - (spans.now.keys or 0)
    fewer -= int(sum(delta(spans.middle, spans.now, f"{one}_total") or 0 for one in ("expired", "evicted")))
    return fewer if spans.middle.keys and fewer > PURGED * spans.middle.keys else None


def stampede(evidence: Evidence) -> Problem | None:
    spans = _spans(evidence)
    misses = None if spans is None else spans.rates("misses_total")
    if spans is None or misses is None or _gone(spans) or not spans.now.commands or not spans.first.commands:
        return None
    rise = misses[1] - misses[0]
    if rise < max(MISSES_PER_S, MISSES_RISE * misses[0]):
        return None
    again_before, again = _written_again(spans.first, spans.middle), _written_again(spans.middle, spans.now)
    if again_before is None or again is None:
        return None
    if again - again_before < SAME_KEYS * rise or again < SAME_TIMES * again_before:
        return None
    return Problem(
        "medium",
        f"Many readers load the same keys: {text.rate(misses[1])} misses, {text.rate(misses[0])} before, "
        f"and {text.rate(again)} writes over keys that were there again by then",
        "Let one reader load a key and the others wait or take the old value: a lease, single flight, early refresh.",
        {
            "misses_per_s": round(misses[1], 1),
            "misses_per_s_before": round(misses[0], 1),
            "written_again_per_s": round(again, 1),
            "written_again_per_s_before": round(again_before, 1),
            "span_s": round(spans.recent_s, 1),
        },
    )


def _written_again(earlier: Stats, later: Stats) -> float | None:
    """Return how many writes a second made no new key."""
    span = later.taken_at - earlier.taken_at
    if earlier.keys is None or later.keys is None or span <= 0:
        return None
    new: float = later.keys - earlier.keys + _calls(later, _DELETES) - _calls(earlier, _DELETES)
    new += sum(delta(earlier, later, f"{one}_total") or 0 for one in ("expired", "evicted"))
    return max(0.0, (_calls(later, _SETS) - _calls(earlier, _SETS) - max(0.0, new)) / span)


def pollution(evidence: Evidence) -> Problem | None:
    spans = _spans(evidence)
    evicted = None if spans is None else spans.rates("evicted_total")
    if spans is None or evicted is None or evicted[1] < max(EVICTED_PER_S, EVICTED_TIMES * evicted[0]):
        return None
    writes = spans.calls(_SETS)
    if writes[1] < WRITES_TIMES * writes[0]:
        return None
    return Problem(
        "medium",
        f"New keys push out others: {text.rate(evicted[1])} evicted, {text.rate(evicted[0])} before, as writes rose "
        f"from {text.rate(writes[0])} to {text.rate(writes[1])}",
        "Find who writes (5, b: by name) and stop or slow it; what is read once need not be cached. "
        "An LFU policy keeps what is used often.",
        {
            "evicted_per_s": round(evicted[1], 1),
            "evicted_per_s_before": round(evicted[0], 1),
            "writes_per_s": round(writes[1], 1),
            "writes_per_s_before": round(writes[0], 1),
            "span_s": round(spans.recent_s, 1),
        },
    )


def traffic_jump(evidence: Evidence) -> Problem | None:
    spans = _spans(evidence)
    commands = None if spans is None else spans.rates("commands_total")
    if spans is None or commands is None:
        return None
    rise = commands[1] - commands[0]
    if rise < JUMP_PER_S or commands[1] < JUMP_TIMES * commands[0]:
        return None
    grown = {
        one.name: spans.calls(frozenset({one.name.partition("|")[0].lower()}))
        for one in spans.now.commands
        if one.calls
    }
    name, (before, now) = max(grown.items(), key=lambda one: one[1][1] - one[1][0], default=("", (0.0, 0.0)))
    mostly = f", mostly {text.printable(name, 30).upper()}" if now - before >= 0.5 * rise else ""
    who, facts = _busiest(evidence, rise)
    return Problem(
        "medium",
        f"Commands jumped from {text.rate(commands[0])} to {text.rate(commands[1])}{mostly}{who}",
        "See in 7 which keys are asked for: one hot key is cached in the clients or copied under several names; "
        "a busy client is slowed down at its source.",
        {
            "commands_per_s": round(commands[1], 1),
            "commands_per_s_before": round(commands[0], 1),
            "command": text.printable(name, 40) if mostly else None,
            "span_s": round(spans.recent_s, 1),
            **facts,
        },
    )


def _busiest(evidence: Evidence, rise: float) -> tuple[str, dict[str, object]]:
    """Return which few clients make most of it, where the server tells their rates."""
    clients = () if evidence.clients is None else evidence.clients.clients
    rated = sorted((one for one in clients if one.commands_per_s), key=lambda one: -(one.commands_per_s or 0))[:3]
    made = sum(one.commands_per_s or 0 for one in rated)
    if not rated or made < 0.5 * rise:
        return "", {}
    names = [text.printable(one.name or one.address, 40) for one in rated]
    return f"; by {', '.join(names)}", {"clients": names}


def retry_storm(evidence: Evidence) -> Problem | None:
    spans = _spans(evidence)
    opened = None if spans is None else spans.rates("connections_total")
    if spans is None or opened is None or opened[1] < max(STORM_PER_S, STORM_TIMES * opened[0]):
        return None
    entries = () if evidence.slowlog is None else evidence.slowlog.entries
    slow = [one for one in entries if spans.now.taken_at - one.at <= spans.recent_s + 1]  # whole seconds
    if len(slow) < STORM_SLOW:
        return None
    return Problem(
        "medium",
        f"Clients give up and try again: {text.rate(opened[1])} new connections, {text.rate(opened[0])} before, "
        f"while {len(slow)} commands were slow in {text.duration(round(spans.recent_s))}",
        "Let clients wait longer than the slow command takes, retry few times with growing, random pauses, and open "
        "a circuit breaker; then make the slow command faster (3).",
        {
            "connections_per_s": round(opened[1], 2),
            "connections_per_s_before": round(opened[0], 2),
            "slow_commands": len(slow),
            "span_s": round(spans.recent_s, 1),
        },
    )
