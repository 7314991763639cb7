"""The figures of one node, from what it tells at each look."""

from __future__ import annotations

from cachetui.model import NodeFigures, Stats
from cachetui.model.rates import per_second
from cachetui.source.redis.replies import as_float


def figures_of(stats: Stats, before: Stats | None) -> NodeFigures:
    """Return the figures in `stats`; what needs a difference is measured since `before`."""

    def grown(counter: str) -> float | None:
        return None if before is None else per_second(before, stats, counter)

    def measured(name: str, factor: float = 1.0) -> float | None:
        value = as_float((stats.extra or {}).get(name))
        return None if value is None else value * factor

    cores = grown("cpu_s_total")
    return NodeFigures(
        stats.server.address,
        stats.server.role or "",
        taken_at=stats.taken_at,
        run_id=stats.server.run_id,
        uptime_s=stats.uptime_s,
        version=stats.server.version,
        latency_us=stats.latency_us,
        keys=stats.keys if not stats.databases else sum(one.keys for one in stats.databases),
        used_bytes=stats.used_bytes,
        limit_bytes=stats.maxmemory_bytes,
        rss_bytes=stats.rss_bytes,
        clients=stats.clients,
        max_clients=stats.max_clients,
        ops_per_s=measured("instantaneous_ops_per_sec"),
        net_in_per_s=measured("instantaneous_input_kbps", 1024),
        net_out_per_s=measured("instantaneous_output_kbps", 1024),
        hits_total=stats.hits_total,
        misses_total=stats.misses_total,
        evicted_total=stats.evicted_total,
        commands_total=stats.commands_total,
        hits_per_s=grown("hits_total"),
        misses_per_s=grown("misses_total"),
        evicted_per_s=grown("evicted_total"),
        cpu_percent=None if cores is None else 100.0 * cores,
    )
