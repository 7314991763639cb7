"""Rules about how a cache is used: what its makers would do otherwise."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.growth import growth, number, window_growth
from cachetui.analysis.rules.memory import HOST_SHARE
from cachetui.analysis.rules.rule import Problem, is_memcached
from cachetui.model import Evidence, Stats
from cachetui.model.rates import hit_rate, per_second, same_run

BUSY_PER_S = 5000.0
"""Commands a second below which a round trip each is nobody's problem."""
SINGLE = 1.2
"""Commands in one read from a connection: with pipelines there are many."""
PIPELINE_SPAN_S = 3.0

CACHED_SCRIPTS = 1000
"""Scripts of one program are a few dozen."""
PENDING_OBJECTS = 10_000
"""Values that wait to be freed: each big one is memory that still counts."""
SLOWLOG_HIGH_US = 1_000_000
LARGE_RECENT_S = 600.0
LARGE_MANY = 20
"""Large requests or replies in ten minutes that are a habit."""

WAVE_S, BEFORE_S = 10.0, 20.0
"""Seconds that are now, and seconds before them at least that are compared with."""
WAVE_PER_S, WAVE_TIMES, WAVE_POINTS = 100.0, 10.0, 5.0
"""Keys that expire in a second, how many times what was usual, and percent of hits lost at the same time."""


def no_pipelining(evidence: Evidence) -> Problem | None:
    def reads(stats: Stats) -> float | None:
        return number(stats, "total_reads_processed")

    came, commands = window_growth(evidence, reads), window_growth(evidence, "commands_total")
    if came is None or commands is None or came.amount <= 0 or commands.span_s < PIPELINE_SPAN_S:
        return None
    each = commands.amount / came.amount
    if each >= SINGLE or commands.per_s < BUSY_PER_S:
        return None
    return Problem(
        "low",
        f"Commands come one by one: {each:.1f} in each read at {text.rate(commands.per_s)}",
        "Where a request needs several keys use MGET or a pipeline: most of the time is spent on the way.",
        {"commands_per_read": round(each, 2), "commands_per_s": round(commands.per_s, 1), **commands.facts()},
    )


def script_cache(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    scripts = None if stats is None else number(stats, "number_of_cached_scripts")
    evicted = growth(evidence, lambda one: number(one, "evicted_scripts"))
    gone = evicted.amount if evicted is not None else 0.0
    if (scripts or 0) < CACHED_SCRIPTS and gone < CACHED_SCRIPTS:
        return None
    what = f"{text.count(scripts)} scripts are kept"
    if gone:
        what += f", {text.count(gone)} were dropped to make room"
    return Problem(
        "medium",
        f"{what}: values stand in the text of scripts",
        "Pass what changes as KEYS and ARGV, so that each script is one; SCRIPT FLUSH frees what is there.",
        {"cached_scripts": scripts, "evicted_scripts": gone},
        ("SCRIPT FLUSH ASYNC",),
    )


def freeing_lags(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    pending = None if stats is None else stats.lazyfree_pending
    if pending is None or pending < PENDING_OBJECTS:
        return None
    return Problem(
        "low",
        f"{text.count(pending)} deleted values wait to be freed: their memory still counts",
        "Delete big values more slowly; what waits is freed by itself.",
        {"lazyfree_pending_objects": pending},
    )


def slowlog_blind(evidence: Evidence) -> Problem | None:
    log = evidence.slowlog
    if log is None or log.threshold_us is None or 0 <= log.threshold_us < SLOWLOG_HIGH_US:
        return None
    off = log.threshold_us < 0
    how = "is switched off" if off else f"only takes what lasts {text.duration(log.threshold_us / 1e6)}"
    return Problem(
        "low",
        f"The slow log {how}: what holds up others is not seen",
        "Set it to 10 ms; it costs next to nothing.",
        {"slowlog_log_slower_than_us": log.threshold_us},
        ("CONFIG SET slowlog-log-slower-than 10000",),
    )


def slowlog_short(evidence: Evidence) -> Problem | None:
    log = evidence.slowlog
    if log is None or not log.missed:
        return None
    return Problem(
        "low",
        f"{text.count(log.missed)} slow commands came and went between two looks: the slow log is too short",
        "Let it hold more: an entry takes some hundred bytes.",
        {"missed_entries": log.missed, "held_entries": log.total},
        ("CONFIG SET slowlog-max-len 1024",),
    )


def large_values(evidence: Evidence) -> Problem | None:
    log = evidence.slowlog
    if log is None:
        return None
    recent = [e for e in log.entries if e.size_bytes is not None and log.taken_at - e.at <= LARGE_RECENT_S]
    if not recent:
        return None
    worst = max(recent, key=lambda entry: entry.size_bytes or 0)
    command = " ".join(text.printable(word, 60) for word in worst.args[:2])
    return Problem(
        "medium" if len(recent) >= LARGE_MANY else "low",
        f"{text.count(len(recent))} large requests and replies in ten minutes, the largest"
        f" {text.size(worst.size_bytes)}: {command}",
        "Cut the value into pieces, read a range or single fields of it, or compress it: one such holds up all others.",
        {"large": len(recent), "largest_bytes": worst.size_bytes, "command": command, "client": worst.client},
    )


def no_headroom(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or is_memcached(stats) or not stats.maxmemory_bytes or not stats.system_memory_bytes:
        return None
    forks = bool(stats.replicas or stats.aof_enabled or stats.fork_us)
    share = stats.maxmemory_bytes / stats.system_memory_bytes
    if share <= HOST_SHARE or not forks:
        return None
    near = (stats.used_bytes or 0) > HOST_SHARE * stats.system_memory_bytes
    fitting = int(stats.system_memory_bytes * HOST_SHARE) // 1024**2
    return Problem(
        "medium" if near else "low",
        f"maxmemory is {share:.0%} of the host's memory, and this server forks: no room for what is copied meanwhile",
        "Leave a quarter of the host to copies, buffers and fragmentation: beyond that the kernel kills it.",
        {
            "maxmemory_bytes": stats.maxmemory_bytes,
            "host_bytes": stats.system_memory_bytes,
            "replicas": stats.replicas,
            "aof_enabled": stats.aof_enabled,
        },
        (f"CONFIG SET maxmemory {fitting}mb",),
    )


def expiry_wave(evidence: Evidence) -> Problem | None:
    now = evidence.stats
    if now is None:
        return None
    earlier = [one for one in evidence.window if same_run(one, now)]
    recent = [one for one in earlier if now.taken_at - one.taken_at >= WAVE_S]
    if not recent or recent[-1].taken_at - earlier[0].taken_at < BEFORE_S:
        return None
    first, middle = earlier[0], recent[-1]
    wave, usual = per_second(middle, now, "expired_total"), per_second(first, middle, "expired_total")
    hits, hits_before = hit_rate(now, middle), hit_rate(middle, first)
    if wave is None or usual is None or hits is None or hits_before is None:
        return None
    if wave < WAVE_PER_S or wave < WAVE_TIMES * usual or hits_before - hits < WAVE_POINTS:
        return None
    return Problem(
        "medium",
        f"Many keys expire together: {text.rate(wave)} now, {text.rate(usual)} before;"
        f" the hit rate fell from {text.percent(hits_before)} to {text.percent(hits)}",
        "Spread TTLs by a random part, renew hot keys before they expire, and let one reader load for all.",
        {
            "expired_per_s": round(wave, 1),
            "expired_per_s_before": round(usual, 1),
            "hit_rate_percent": round(hits, 1),
            "hit_rate_percent_before": round(hits_before, 1),
        },
    )
