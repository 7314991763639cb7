"""Rules about time: the processor, slow and costly commands, fork, the network."""

from __future__ import annotations

from statistics import median

from cachetui import text
from cachetui.analysis.growth import command_growth, number, window_growth
from cachetui.analysis.rules.rule import Priority, Problem, is_memcached
from cachetui.analysis.slow import group
from cachetui.model import Evidence, Stats

CPU_SPAN_S = 3.0
"""Seconds below which the processor time is too coarse."""

CPU_BUSY, CPU_SATURATED = 0.8, 0.95
"""Processor seconds per second of the thread that runs the commands: there is only one."""

CPU_SATURATED_SPAN_S = 30.0
"""Seconds of saturation that are more than a burst."""

SLOW_RECENT_S = 600.0
"""Seconds back in the slow log that count as now."""

SLOW_LEAST_SPAN_S = 60.0
"""Seconds: a share of time is taken over at least this span."""

SLOW_LONG_US = 100_000
"""Microseconds of one command that every other client feels."""

SLOW_SHARE_PERCENT, SLOW_OUTAGE_PERCENT = 1.0, 25.0
"""Percent of the time spent in slow commands: noticeable; and as much as an outage."""

SCANS_ALL = ("keys",)
"""Commands that walk the whole key space while everybody waits."""

SCAN_LARGE_KEYS = 10_000
"""Keys from which KEYS takes a millisecond or more (105 ms at 1,000,000)."""

HEAVY_USEC = 1000.0
"""Microseconds per call: a thousand times a GET."""

HEAVY_SHARE_PERCENT = 50.0
"""Percent of all command time in one command."""

HEAVY_TIME_PERCENT = 5.0
"""Percent of the wall clock in it: below, nobody waits for it."""

FORK_SLOW_US, FORK_VERY_SLOW_US = 100_000, 500_000
"""Microseconds of the last fork, in which the server answered nobody."""

ROUND_TRIP_US = 100_000.0
"""Microseconds there and back that no cache in the same place needs."""

GIGABIT_BYTES_PER_S = 100 * 1000**2
"""Bytes a second one way: what a gigabit link carries at best. The host's real link is unknown."""


def cpu(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None:
        return None
    cores = 1.0
    if is_memcached(stats):
        if not stats.threads or stats.server.mode == "fleet":
            return None
        cores = float(stats.threads)
    used = window_growth(evidence, _main_thread_s)
    if used is None and not _threaded(stats):
        used = window_growth(evidence, "cpu_s_total")
    if used is None or used.span_s < CPU_SPAN_S:
        return None
    share = used.per_s / cores
    if share < CPU_BUSY:
        return None
    saturated = share >= CPU_SATURATED and used.span_s >= CPU_SATURATED_SPAN_S
    what = f"its {cores:.0f} threads" if cores > 1 else "the one core that runs commands"
    return Problem(
        "high" if saturated else "medium",
        f"CPU {text.percent(100 * min(share, 1.0))} of {what} {used.words}",
        "Find the costly commands (press 3 and 7), move reads to replicas, or shard: more memory does not help.",
        {"cpu_s_per_s": round(used.per_s, 3), "threads": cores, **used.facts()},
    )


def slow_commands(evidence: Evidence) -> Problem | None:
    log = evidence.slowlog
    if log is None or log.server.kind == "memcached":
        return None
    recent = [e for e in log.entries if e.duration_us is not None and log.taken_at - e.at <= SLOW_RECENT_S]
    groups = group(recent)
    if not groups:
        return None
    total_us = sum(g.total_us for g in groups)
    longest_us = max(g.max_us for g in groups)
    span_s = max(SLOW_LEAST_SPAN_S, log.taken_at - min(entry.at for entry in recent))
    share = 100 * total_us / 1e6 / span_s
    priority: Priority = "low"
    if longest_us >= SLOW_LONG_US or share >= SLOW_SHARE_PERCENT:
        priority = "high" if share >= SLOW_OUTAGE_PERCENT else "medium"
    worst = groups[0]
    return Problem(
        priority,
        f"{text.count(len(recent))} slow commands in the last {text.duration(span_s)},"
        f" longest {text.duration(longest_us / 1e6)}; most time in {worst.shape}",
        "Replace what reads everything at once by SCAN, HSCAN or a range, and cut big values into pieces.",
        {
            "slow_commands": len(recent),
            "span_s": round(span_s, 1),
            "total_us": total_us,
            "longest_us": longest_us,
            "time_share_percent": round(share, 2),
            "threshold_us": log.threshold_us,
            "shapes": [{"shape": g.shape, "count": g.count, "total_us": g.total_us} for g in groups[:5]],
        },
    )


def keys_command(evidence: Evidence) -> Problem | None:
    stats, counted = evidence.stats, command_growth(evidence)
    if stats is None or counted is None:
        return None
    span, grown = counted
    calls = sum(grown[name].calls for name in SCANS_ALL if name in grown)
    usec = sum(grown[name].usec for name in SCANS_ALL if name in grown)
    if calls == 0:
        return None
    keys = sum(db.keys for db in stats.databases)
    called = "1 call" if calls == 1 else f"{text.count(calls)} calls"
    large = keys >= SCAN_LARGE_KEYS and not span.since_start
    return Problem(
        "medium" if large else "low",
        f"KEYS is in use: {called} {span.words}, {text.duration(usec / 1e6)} in all",
        "Use SCAN instead: KEYS walks all keys while every other client waits.",
        {"calls": calls, "total_us": usec, "us_per_call": round(usec / calls, 1), "keys": keys, **span.facts()},
        ("ACL SETUSER <user> -keys",),
    )


def heavy_command(evidence: Evidence) -> Problem | None:
    counted = command_growth(evidence)
    if counted is None or not counted[1] or evidence.stats is None or is_memcached(evidence.stats):
        return None
    span, grown = counted
    worst = max(grown.values(), key=lambda command: command.usec)
    total = sum(command.usec for command in grown.values())
    each_us = worst.usec / worst.calls
    share = 100 * worst.usec / total if total else 0.0
    wall = 100 * worst.usec / 1e6 / span.span_s
    if each_us < HEAVY_USEC or share < HEAVY_SHARE_PERCENT or wall < HEAVY_TIME_PERCENT:
        return None
    name = text.printable(worst.name, 40).upper()
    return Problem(
        "medium",
        f"{name} takes {text.percent(share)} of the command time: {text.duration(each_us / 1e6)} a call {span.words}",
        "See its calls in the slow log (press 3): big keys or wide ranges make it slow.",
        {
            "command": name,
            "calls": worst.calls,
            "us_per_call": round(each_us, 1),
            "command_time_share_percent": round(share, 2),
            "wall_time_percent": round(wall, 2),
            **span.facts(),
        },
    )


def fork(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or stats.fork_us is None or stats.fork_us < FORK_SLOW_US:
        return None
    return Problem(
        "medium" if stats.fork_us >= FORK_VERY_SLOW_US else "low",
        f"The last fork stopped the server for {text.duration(stats.fork_us / 1e6)}",
        "Save on a replica, save less often, and switch transparent huge pages off on the host.",
        {"fork_us": stats.fork_us, "used_bytes": stats.used_bytes},
        ('CONFIG SET save ""',),
    )


def far_away(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or stats.latency_us is None:
        return None
    seen = [s.latency_us for s in (*evidence.window, stats) if s.latency_us is not None]
    middle = median(seen)
    if len(seen) < 3 or middle < ROUND_TRIP_US:
        return None
    return Problem(
        "low",
        f"Slow round trip: {text.duration(middle / 1e6)} from here to the server and back",
        "Compare with a client beside the server: if it is fast there, the network between is slow.",
        {"round_trip_us": round(middle), "polls": len(seen)},
    )


def network(evidence: Evidence) -> Problem | None:
    worst = None
    for counter, way in (("net_out_bytes_total", "out of"), ("net_in_bytes_total", "into")):
        moved = window_growth(evidence, counter)
        if moved and moved.span_s >= CPU_SPAN_S and (worst is None or moved.per_s > worst[0].per_s):
            worst = (moved, way)
    if worst is None or worst[0].per_s < GIGABIT_BYTES_PER_S:
        return None
    moved, way = worst
    return Problem(
        "medium" if moved.per_s >= 10 * GIGABIT_BYTES_PER_S else "low",
        f"Network {text.size(moved.per_s)}/s {way} the server {moved.words}: as much as a gigabit link carries",
        "Check the host's link; find big values and the clients that read them (press 5).",
        {"bytes_per_s": round(moved.per_s), "direction": "out" if way == "out of" else "in", **moved.facts()},
    )


def monitored(evidence: Evidence) -> Problem | None:
    clients = evidence.clients
    if clients is None or clients.server.kind == "memcached":
        return None
    watching = [client for client in clients.clients if "O" in client.flags and not client.ours]
    if not watching:
        return None
    return Problem(
        "medium",
        f"MONITOR is running in {len(watching)} connections, first {watching[0].address}: it halves the throughput",
        "End it: press x on the client, or CLIENT KILL.",
        {"clients": [client.address for client in watching[:5]], "count": len(watching)},
        tuple(f"CLIENT KILL ID {client.client_id}" for client in watching[:5] if client.client_id is not None),
    )


def _main_thread_s(stats: Stats) -> float | None:
    user, system = number(stats, "used_cpu_user_main_thread"), number(stats, "used_cpu_sys_main_thread")
    return None if user is None or system is None else user + system


def _threaded(stats: Stats) -> bool:
    """Tell whether I/O threads make the process's time say nothing about the main thread."""
    return bool(number(stats, "io_threads_active"))
