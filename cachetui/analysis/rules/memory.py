"""Rules about memory: full, filling, evicting, without a limit, fragmented, swapped."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.growth import (
    error_growth,
    growth,
    growth_of_memory,
    lookups,
    number,
    over_same_span,
    window_growth,
)
from cachetui.analysis.rules.rule import Priority, Problem, config_size, is_memcached
from cachetui.model import Evidence, Stats

HIGH_PERCENT = 80.0
"""Percent of maxmemory. Above it there is little room for a burst."""

FULL_PERCENT = 95.0
"""Percent of maxmemory. Without eviction, writes are about to be refused."""

FULL_SOON_S = 900.0
"""Seconds until full that leave no time for a change in a calm hour."""

RAISE_FACTOR = 1.5
"""How far to raise a limit that is too small: one step, to be judged again."""

HOST_SHARE = 0.75
"""Share of the host's memory that a limit may claim: fork, buffers and fragmentation need the rest."""

EVICTED_PER_100_LOOKUPS = 1.0
"""Evicted keys per 100 lookups: above it evictions cost hits that a user notices."""

EVICTION_STORM_PER_100_LOOKUPS = 10.0
"""Evicted keys per 100 lookups: the working set does not fit."""

EVICTION_STORM_PER_S = 50.0
"""Evicted keys a second below which even a large share is a quiet server."""

EVICTION_STORM_HIT_PERCENT = 50.0
"""Hit rate above which most of the evicted keys were evidently not needed."""

EVICTION_STORM_SPAN_S = 30.0
"""Seconds of a storm that are more than a cache warming up."""

NO_LIMIT_MEDIUM_SHARE, NO_LIMIT_HIGH_SHARE = 0.5, 0.85
"""Share of the host's memory in use by a server without limit: half leaves no room for a copy
on write, at 85 % the kernel's out-of-memory killer is near."""

TTL_SHARE_PERCENT = 1.0
"""Percent of keys with a TTL below which volatile-* has next to nothing to evict."""

FRAGMENTED_RATIO = 1.5
"""Resident over used memory."""

FRAGMENTED_BYTES = 100 * 1024**2
"""Bytes wasted below which a bad ratio is only a small server."""

FRAGMENTED_MUCH_BYTES = 1024**3
"""Bytes wasted that would hold a cache of their own."""

SWAP_RATIO = 0.9
"""Resident over used memory: below it pages of the data set are not in memory."""

SWAP_LEAST_BYTES = 100 * 1024**2
"""Used bytes below which shared pages and rounding explain the ratio."""

STALE_PERCENT = 25.0
"""Percent of expired keys still in memory: the active expiry cycle runs all the time above 10 to 25 %."""


def out_of_memory(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or is_memcached(stats):
        return None
    refused = error_growth(evidence, "OOM")
    refusing = refused is not None and refused.amount > 0
    used_percent = utilisation(stats)
    full = used_percent is not None and used_percent >= 100 and can_evict(stats) is False
    if not full and not refusing:
        return None
    facts = _memory_facts(stats)
    told = ""
    if refused is not None and refusing:
        facts |= {"oom_errors": int(refused.amount), **refused.facts()}
        told = f", {text.count(refused.amount)} writes refused {refused.words}"
    near = used_percent is not None and used_percent >= FULL_PERCENT and can_evict(stats) is not True
    now = full or near or (refused is not None and not refused.since_start and refusing)
    level = "" if used_percent is None else f": {text.percent(used_percent)} of {text.size(stats.maxmemory_bytes)} used"
    policy = f" under {stats.policy}" if stats.policy else ""
    return Problem(
        "high" if now else "low",
        f"Out of memory{level}{policy}{told}" if now else f"Writes were refused for lack of memory{level}{told}",
        "Raise maxmemory, choose an allkeys-* policy if this is a cache, or delete data; reads still work.",
        facts,
        (*raise_limit(stats), "CONFIG SET maxmemory-policy allkeys-lru"),
    )


def memory_high(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    used_percent = None if stats is None else utilisation(stats)
    if stats is None or used_percent is None or stats.maxmemory_bytes is None or stats.used_bytes is None:
        return None
    evicting = can_evict(stats)
    if evicting is False and used_percent >= 100:
        return None  # out_of_memory says it
    evicted = window_growth(evidence, "evicted_total")
    at_work = evicted is not None and evicted.amount > 0
    growing = None if at_work else growth_of_memory(evidence)
    left = stats.maxmemory_bytes - stats.used_bytes
    full_in_s = left / growing if growing is not None and growing > 0 and left > 0 else None
    soon = full_in_s is not None and full_in_s <= FULL_SOON_S
    if used_percent < HIGH_PERCENT and not (soon and used_percent >= HIGH_PERCENT / 2):
        return None
    priority: Priority = "medium"
    if evicting:
        priority = "low"
    elif evicting is False and (used_percent >= FULL_PERCENT or soon):
        priority = "high"
    facts = _memory_facts(stats)
    trend = ""
    if full_in_s is not None and growing is not None:
        facts |= {"growth_bytes_per_s": round(growing), "full_in_s": round(min(full_in_s, 1e9))}
        trend = f", full in {text.duration(full_in_s)} at {text.size(growing)}/s"
    ends = {True: "; then keys are evicted", False: "; then writes are refused", None: ""}[evicting]
    if at_work:
        ends = "; keys are evicted to make room"
    commands = raise_limit(stats)
    return Problem(
        priority,
        f"Memory {text.percent(used_percent)} of {text.size(stats.maxmemory_bytes)} used{trend}{ends}",
        "Raise the limit, shorten TTLs or find what grows by prefix."
        if commands
        else "The host has no room for a higher limit: delete data, shorten TTLs or add a server.",
        facts,
        commands,
    )


def evicting(evidence: Evidence) -> Problem | None:
    evicted = growth(evidence, "evicted_total")
    stats = evidence.stats
    if stats is None or evicted is None or evicted.amount <= 0:
        return None
    looked_up = over_same_span(evidence, evicted, lookups)
    hits = over_same_span(evidence, evicted, "hits_total")
    share = 100 * evicted.amount / looked_up if looked_up else None
    hit_percent = 100 * hits / looked_up if looked_up and hits is not None else None
    priority: Priority = "low"
    if share is not None and share >= EVICTED_PER_100_LOOKUPS:
        priority = "medium"
        storm = share >= EVICTION_STORM_PER_100_LOOKUPS and evicted.per_s >= EVICTION_STORM_PER_S
        harmful = hit_percent is not None and hit_percent < EVICTION_STORM_HIT_PERCENT
        if storm and harmful and not evicted.since_start and evicted.span_s >= EVICTION_STORM_SPAN_S:
            priority = "high"
    facts = _memory_facts(stats) | {
        "evicted_keys": int(evicted.amount),
        "evicted_per_s": round(evicted.per_s, 2),
        "evicted_per_100_lookups": None if share is None else round(share, 2),
        "hit_rate_percent": None if hit_percent is None else round(hit_percent, 2),
        **evicted.facts(),
    }
    told = "" if share is None else f", {share:.2g} per 100 lookups"
    return Problem(
        priority,
        f"Evicting {text.rate(evicted.per_s)}: {text.count(evicted.amount)} keys {evicted.words}{told}",
        "If the hit rate suffers, raise the limit; else this is a full cache doing its work.",
        facts,
        raise_limit(stats),
    )


def no_limit(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or is_memcached(stats) or stats.maxmemory_bytes != 0 or stats.server.mode == "sentinel":
        return None
    host = stats.system_memory_bytes
    share = stats.used_bytes / host if host and stats.used_bytes is not None else None
    priority: Priority = "low"
    if share is not None and share >= NO_LIMIT_MEDIUM_SHARE:
        priority = "high" if share >= NO_LIMIT_HIGH_SHARE else "medium"
    used = "" if share is None else f", {text.size(stats.used_bytes)} used of the host's {text.size(host)}"
    idle_policy = stats.policy is not None and stats.policy != "noeviction"
    vain = f", so {stats.policy} never evicts" if idle_policy else ""
    commands: tuple[str, ...] = ()
    if host and share is not None and share < HOST_SHARE:
        commands = (f"CONFIG SET maxmemory {config_size(host * HOST_SHARE)}",)
    if stats.policy == "noeviction":
        commands = (*commands, "CONFIG SET maxmemory-policy allkeys-lru")
    return Problem(
        priority,
        f"No memory limit: maxmemory is 0{vain}{used}",
        "Set maxmemory below the host's memory, with an allkeys-* policy if this is a cache:"
        " else the kernel ends the server when memory runs out.",
        _memory_facts(stats) | {"system_memory_bytes": host},
        commands,
    )


def volatile_without_ttl(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or stats.policy is None or not stats.policy.startswith("volatile-"):
        return None
    keys = sum(db.keys for db in stats.databases)
    expires = sum(db.expires for db in stats.databases)
    if keys == 0:
        return None
    share = 100 * expires / keys
    if share >= TTL_SHARE_PERCENT:
        return None
    used_percent = utilisation(stats)
    priority: Priority = "low"
    if used_percent is not None and expires == 0:
        priority = "high" if used_percent >= FULL_PERCENT else "medium"
    having = f"none of {text.count(keys)} keys has" if expires == 0 else f"only {share:.2g}% of the keys have"
    return Problem(
        priority,
        f"{stats.policy} has nothing to evict: {having} a TTL",
        "Give the keys a TTL, or choose an allkeys-* policy: otherwise writes fail when memory is full.",
        _memory_facts(stats) | {"keys": keys, "keys_with_ttl": expires, "ttl_share_percent": round(share, 3)},
        (f"CONFIG SET maxmemory-policy {stats.policy.replace('volatile-', 'allkeys-', 1)}",)
        if stats.policy != "volatile-ttl"
        else ("CONFIG SET maxmemory-policy allkeys-lru",),
    )


def fragmentation(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or stats.fragmentation_ratio is None or stats.fragmentation_ratio <= FRAGMENTED_RATIO:
        return None
    waste = stats.fragmentation_bytes
    if waste is None and stats.rss_bytes is not None and stats.used_bytes is not None:
        waste = stats.rss_bytes - stats.used_bytes
    if waste is None or waste < FRAGMENTED_BYTES:
        return None
    return Problem(
        "medium" if waste >= FRAGMENTED_MUCH_BYTES else "low",
        f"Fragmented memory: {text.size(waste)} wasted, resident is {stats.fragmentation_ratio:.1f} times used",
        "Let active defragmentation run, return free pages, or restart a replica and fail over to it.",
        _memory_facts(stats)
        | {
            "fragmentation_ratio": round(stats.fragmentation_ratio, 3),
            "wasted_bytes": waste,
            "rss_bytes": stats.rss_bytes,
        },
        ("MEMORY PURGE", "CONFIG SET activedefrag yes"),
    )


def swapped(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or not stats.used_bytes or stats.rss_bytes is None or is_memcached(stats):
        return None
    if stats.used_bytes < SWAP_LEAST_BYTES or stats.rss_bytes == 0 or stats.loading:
        return None
    ratio = stats.rss_bytes / stats.used_bytes
    if ratio >= SWAP_RATIO:
        return None
    return Problem(
        "medium",
        f"Probably swapped: {text.size(stats.rss_bytes)} resident of {text.size(stats.used_bytes)} used",
        "Look at swap on the host (vmstat 1): free memory there or lower maxmemory; a swapped cache is slow.",
        _memory_facts(stats) | {"rss_bytes": stats.rss_bytes, "rss_over_used": round(ratio, 3)},
    )


def expired_stale(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    stale = None if stats is None else number(stats, "expired_stale_perc")
    if stats is None or stale is None or stale < STALE_PERCENT:
        return None
    return Problem(
        "low",
        f"Expired keys fill memory: about {text.percent(min(stale, 100.0))} of the keys with a TTL are past it",
        "Raise active-expire-effort for a while, or spread the TTLs: many keys expire at the same time.",
        {"expired_stale_percent": round(stale, 2)},
        ("CONFIG SET active-expire-effort 4",),
    )


def utilisation(stats: Stats) -> float | None:
    """Return used memory in percent of the limit, or None without a limit."""
    if not stats.maxmemory_bytes or stats.used_bytes is None:
        return None
    return 100 * stats.used_bytes / stats.maxmemory_bytes


def can_evict(stats: Stats) -> bool | None:
    """Tell whether the server can make room by evicting; None when that is unknown."""
    if is_memcached(stats):
        return True
    if stats.policy is None:
        return None
    if stats.policy.startswith("volatile-"):
        if not any(db.keys for db in stats.databases):
            return None
        return any(db.expires for db in stats.databases)
    return stats.policy != "noeviction"


def raise_limit(stats: Stats) -> tuple[str, ...]:
    """Return the command for the next higher limit; nothing where it would not fit into the host."""
    if not stats.maxmemory_bytes:
        return ()
    wanted = stats.maxmemory_bytes * RAISE_FACTOR
    if is_memcached(stats):
        return (f"cache_memlimit {max(1, round(wanted / 1024**2))}",) if stats.server.mode != "fleet" else ()
    if stats.system_memory_bytes and wanted > stats.system_memory_bytes * HOST_SHARE:
        return ()
    return (f"CONFIG SET maxmemory {config_size(wanted)}",)


def _memory_facts(stats: Stats) -> dict[str, object]:
    used_percent = utilisation(stats)
    return {
        "used_bytes": stats.used_bytes,
        "maxmemory_bytes": stats.maxmemory_bytes,
        "utilisation_percent": None if used_percent is None else round(used_percent, 2),
        "policy": stats.policy,
    }
