"""One `Stats` for a whole cluster, whose counters stay true while nodes join, leave and restart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from cachetui.model import CommandStat, DbKeys, ErrorStat, Identity, NodeFigures, Stats
from cachetui.model.rates import delta, same_run

COUNTERS = (
    *("hits_total", "misses_total", "commands_total", "expired_total", "evicted_total", "error_replies_total"),
    *("net_in_bytes_total", "net_out_bytes_total", "connections_total", "rejected_connections_total"),
    *("output_limit_disconnections_total", "query_limit_disconnections_total", "sync_full_total"),
)
"""Counters that are summed."""
GAUGES = (
    *("keys", "used_bytes", "rss_bytes", "peak_bytes", "dataset_bytes", "overhead_bytes", "fragmentation_bytes"),
    *("client_buffers_bytes", "lazyfree_pending", "clients", "blocked_clients", "max_clients", "changes_since_save"),
    *("replicas",),
)
"""Figures that are summed as they are."""
_LARGEST = ("latency_us", "fork_us", "worst_lag_bytes", "loading_eta_s", "threads")
_SMALLEST = ("loading_percent", "last_save_at")
_ANY = ("loading", "save_running", "aof_enabled")
_ALL = ("save_ok", "aof_write_ok")
_EXTRA_SUMS = frozenset(
    (
        *("tracking_clients", "total_blocking_keys", "clients_in_timeout_table", "mem_clients_slaves"),
        *("mem_aof_buffer", "mem_not_counted_for_evict", "evicted_clients", "expired_time_cap_reached_count"),
        *("total_eviction_exceeded_time", "sync_partial_ok", "sync_partial_err", "acl_access_denied_auth"),
        *("acl_access_denied_cmd", "acl_access_denied_key", "acl_access_denied_channel", "unexpected_error_replies"),
        *("instantaneous_ops_per_sec", "pubsub_channels", "pubsub_patterns"),
    )
)
"""Further fields that are counts, and so can be added."""


class Sums:
    """Adds up what a cluster's primaries say.

    A counter begins as the sum of the primaries' own, and from then on grows by what each of
    them grew. Who joins brings only what is counted from then on, who leaves takes nothing
    away, and a restarted node begins at its zero: a rate is never negative, nor a spike.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Stats] = {}
        self._totals: dict[str, float] = {}
        self._commands: dict[str, list[int]] = {}
        self._errors: Counter[str] = Counter()
        self._uptime_s = 0
        self._previous: dict[str, Stats] = {}

    def add(
        self,
        known: Mapping[str, Stats],
        primaries: Collection[str],
        *,
        server: Identity,
        taken_at: float,
        nodes: Sequence[NodeFigures] = (),
        denied: tuple[str, ...] = (),
    ) -> Stats:
        """Return the sums over `primaries`; `known` holds the newest of every node, replicas too, by node id."""
        first = not self._seen
        for node_id, stats in known.items():
            before = self._seen.get(node_id)
            if before is None or stats.taken_at > before.taken_at:
                self._seen[node_id] = stats
                if node_id in primaries and (first or before is not None):
                    self._grow(None if first else before, stats)
        self._grow_cpu(known, first=first)
        self._previous = dict(known)
        chosen = [known[node_id] for node_id in primaries if node_id in known]
        uptimes = [stats.uptime_s for stats in known.values() if stats.uptime_s is not None]
        self._uptime_s = max([self._uptime_s, *uptimes])
        return replace(
            _gauges(chosen),
            taken_at=taken_at,
            server=server,
            nodes=tuple(nodes),
            denied=denied,
            uptime_s=self._uptime_s or None,
            commands=tuple(sorted(self._command_stats(), key=lambda stat: (-stat.usec, stat.name))),
            errors=tuple(ErrorStat(word, count) for word, count in self._errors.most_common()),
            **{name: _whole(name, total) for name, total in self._totals.items()},  # type: ignore[arg-type]
        )

    def _grow(self, before: Stats | None, now: Stats) -> None:
        """Add what one primary grew by; all that it has counted so far where there is no `before`."""
        for name in COUNTERS:
            value = getattr(now, name)
            grown = value if before is None else delta(before, now, name)
            if value is not None:
                self._totals[name] = self._totals.get(name, 0) + (grown or 0)
        if before is not None and not same_run(before, now):
            return
        old = {} if before is None else {stat.name: stat for stat in before.commands}
        for stat in now.commands:
            self._add_command(stat, old.get(stat.name), counted=before is None)
        errors = {} if before is None else {stat.word: stat.count for stat in before.errors}
        for error in now.errors:
            self._errors[error.word] += max(0, error.count - errors.get(error.word, 0))

    def _add_command(self, now: CommandStat, before: CommandStat | None, *, counted: bool) -> None:
        sums = self._commands.setdefault(now.name, [0, 0, 0, 0])
        if before is not None and before.calls > now.calls:
            return  # CONFIG RESETSTAT
        values = (now.calls, now.usec, now.rejected_calls or 0, now.failed_calls or 0)
        if before is None:
            olds = (0, 0, 0, 0)
        else:
            olds = (before.calls, before.usec, before.rejected_calls or 0, before.failed_calls or 0)
        for at, (value, old) in enumerate(zip(values, olds, strict=True)):
            sums[at] += max(0, value - old)

    def _grow_cpu(self, known: Mapping[str, Stats], *, first: bool) -> None:
        """Let processor time grow as the busiest node's does: two nodes at half a core are not one at its limit."""
        if first:
            spent = [stats.cpu_s_total for stats in known.values() if stats.cpu_s_total is not None]
            if spent:
                self._totals["cpu_s_total"] = max(spent)
            return
        grown = [
            delta(before, stats, "cpu_s_total") or 0.0
            for node_id, stats in known.items()
            if (before := self._previous.get(node_id)) is not None and before is not stats
        ]
        if "cpu_s_total" in self._totals:
            self._totals["cpu_s_total"] += max(grown, default=0.0)

    def _command_stats(self) -> Iterable[CommandStat]:
        return (CommandStat(name, *values) for name, values in self._commands.items())


def _whole(name: str, total: float) -> float | int:
    return total if name == "cpu_s_total" else int(total)


def _gauges(chosen: Sequence[Stats]) -> Stats:
    """Return the figures of the moment over all of `chosen`, without any counter."""

    def values(name: str) -> list[float]:
        return [value for stats in chosen if (value := getattr(stats, name)) is not None]

    def over(names: Sequence[str], fold: Callable[[list[float]], object]) -> dict[str, object]:
        return {name: fold(found) for name in names if (found := values(name))}

    limits = [int(value) for value in values("maxmemory_bytes")]
    used, rss = sum(values("used_bytes")), sum(values("rss_bytes"))
    policies = {stats.policy for stats in chosen}
    return Stats(
        0.0,
        Identity("redis"),
        databases=_databases(chosen),
        # Where one has no limit, the whole has none.
        maxmemory_bytes=(sum(limits) if all(limits) else 0) if limits else None,
        policy=policies.pop() if len(policies) == 1 else None,
        fragmentation_ratio=round(rss / used, 2) if used and rss else None,
        extra=_extra(chosen),
        **over(GAUGES, sum),  # type: ignore[arg-type]
        **over(_LARGEST, max),  # type: ignore[arg-type]
        **over(_SMALLEST, min),  # type: ignore[arg-type]
        **over(_ANY, any),  # type: ignore[arg-type]
        **over(_ALL, all),  # type: ignore[arg-type]
    )


def _databases(chosen: Sequence[Stats]) -> tuple[DbKeys, ...]:
    found: dict[int, DbKeys] = {}
    for stats in chosen:
        for one in stats.databases:
            before = found.get(one.db, DbKeys(one.db, 0, 0))
            found[one.db] = DbKeys(one.db, before.keys + one.keys, before.expires + one.expires)
    return tuple(found[db] for db in sorted(found))


def _extra(chosen: Sequence[Stats]) -> dict[str, str]:
    """Return further fields: counts added up, others where all nodes say the same."""
    found: dict[str, str] = {}
    for name in {name for stats in chosen for name in stats.extra or {}}:
        values = [(stats.extra or {}).get(name) for stats in chosen]
        if name in _EXTRA_SUMS and all(value is not None and value.isascii() and value.isdigit() for value in values):
            found[name] = str(sum(int(value) for value in values if value is not None and len(value) < 20))
        elif values[0] is not None and len(set(values)) == 1:
            found[name] = values[0]
    return found
