"""Hand-made evidence for the rules: a healthy server, and what differs from it."""

from __future__ import annotations

from typing import Any

from cachetui.analysis.rules import findings
from cachetui.model import (
    ClientInfo,
    ClientList,
    CommandStat,
    DbKeys,
    Evidence,
    Finding,
    Identity,
    SlowEntry,
    SlowLog,
    Stats,
    Topology,
    Trouble,
)

NOW = 1_800_000_000.0
MB = 1024**2
GB = 1024**3
REDIS = Identity("redis", "7.0.15", "standalone", "primary", "run-1", "127.0.0.1:6379")
MEMCACHED = Identity("memcached", "1.6.18", "standalone", None, None, "127.0.0.1:11211")

HEALTHY: dict[str, Any] = {
    "uptime_s": 86_400,
    "latency_us": 300.0,
    "hits_total": 945_000,
    "misses_total": 55_000,
    "commands_total": 2_000_000,
    "expired_total": 10_000,
    "evicted_total": 0,
    "error_replies_total": 0,
    "net_in_bytes_total": 100 * MB,
    "net_out_bytes_total": 500 * MB,
    "cpu_s_total": 900.0,
    "keys": 100_000,
    "databases": (DbKeys(0, 100_000, 80_000, 60_000),),
    "used_bytes": 2 * GB,
    "rss_bytes": int(2.2 * GB),
    "peak_bytes": int(2.5 * GB),
    "maxmemory_bytes": 4 * GB,
    "policy": "allkeys-lru",
    "fragmentation_ratio": 1.1,
    "fragmentation_bytes": int(0.2 * GB),
    "system_memory_bytes": 16 * GB,
    "clients": 45,
    "blocked_clients": 0,
    "max_clients": 10_000,
    "connections_total": 5_000,
    "rejected_connections_total": 0,
    "loading": False,
    "save_ok": True,
    "aof_enabled": False,
    "aof_write_ok": True,
    "fork_us": 900,
    "replicas": 2,
    "sync_full_total": 2,
    "commands": (CommandStat("get", 1_000_000, 1_500_000), CommandStat("info", 1_000, 30_000)),
}


def redis_stats(at: float = NOW, **changes: Any) -> Stats:
    """Return a healthy, busy Redis at `at`, with `changes`."""
    resident = {"rss_bytes": changes["used_bytes"] * 11 // 10} if changes.get("used_bytes") else {}
    return Stats(**({"taken_at": at, "server": REDIS} | HEALTHY | resident | changes))


def memcached_stats(at: float = NOW, **changes: Any) -> Stats:
    """Return a healthy memcached at `at`, with `changes`."""
    figures = {
        "taken_at": at,
        "server": MEMCACHED,
        "uptime_s": 86_400,
        "hits_total": 90_000,
        "misses_total": 10_000,
        "gets_total": 100_000,
        "sets_total": 20_000,
        "evicted_total": 0,
        "evicted_unfetched_total": 0,
        "keys": 5_000,
        "used_bytes": 30 * MB,
        "maxmemory_bytes": 64 * MB,
        "clients": 10,
        "max_clients": 1024,
        "listen_disabled_total": 0,
        "conn_yields_total": 0,
        "threads": 4,
    }
    return Stats(**(figures | changes))


def seen(stats: Stats | None = None, *window: Stats, **more: Any) -> Evidence:
    """Return the evidence of `stats` now, with the `window` before it."""
    return Evidence(NOW, "redis://127.0.0.1:6379", stats, window, **more)


def over_window(before: dict[str, Any], after: dict[str, Any], span_s: float = 120, **more: Any) -> Evidence:
    """Return the evidence of a healthy Redis that went from `before` to `after` in `span_s`."""
    return seen(redis_stats(NOW, **after), redis_stats(NOW - span_s, **before), **more)


def client(**fields: Any) -> ClientInfo:
    return ClientInfo(**({"client_id": 7, "address": "10.0.0.9:5000", "age_s": 10, "idle_s": 0} | fields))


def client_list(*clients: ClientInfo, server: Identity = REDIS) -> ClientList:
    return ClientList(NOW, server, clients, len(clients))


def slow_log(*entries: tuple[float, int, tuple[bytes, ...]]) -> SlowLog:
    """Return a slow log of (seconds ago, microseconds, arguments)."""
    return SlowLog(
        NOW,
        REDIS,
        tuple(SlowEntry(i, NOW - ago, us, args, "10.0.0.9:5000") for i, (ago, us, args) in enumerate(entries)),
        len(entries),
        10_000,
    )


def topology(*problems: str, server: Identity = REDIS, **fields: Any) -> Topology:
    return Topology(NOW, server, problems=problems, **fields)


def trouble(code: str, message: str = "it broke", hint: str = "", ago: float = 10, **detail: object) -> Trouble:
    return Trouble(code, message, hint, NOW - ago, detail)


def found(evidence: Evidence) -> dict[str, Finding]:
    """Return the findings by id."""
    return {finding.id: finding for finding in findings(evidence)}
