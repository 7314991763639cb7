"""What a change of policy or maxmemory does at once, in words: pure functions of the last snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cachetui.model import Stats
from cachetui.text import duration, percent, size

Risk = Literal["low", "medium", "high"]

FEW_TTL_PERCENT = 10.0
"""Under this share of keys with a TTL a `volatile-*` policy soon has nothing to evict."""
NEARLY_FULL_PERCENT = 90.0
EVICTED_PER_S = 500_000
"""Small keys that a server evicts in a second on one core, about."""
_LFU_LINE = (
    "LFU counts in logarithms and forgets: as set by default a key used 100 times stands at 10 of 255, one used "
    "100,000 times at 142, and each minute without a use takes one away (lfu-log-factor, lfu-decay-time)"
)
"""Redis's own table in redis.conf, for a factor of 10."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What will happen."""

    lines: tuple[str, ...]
    risk: Risk
    hurts_at_once: bool = False
    """Writes stop or keys go the moment it is applied."""

    def also(self, elsewhere: Sequence[str]) -> Effect:
        """Return the effect with what hurts at once on other nodes."""
        return Effect((*self.lines, *elsewhere), "high", hurts_at_once=True) if elsewhere else self


def policy_effect(stats: Stats, policy: str) -> Effect:
    """Return what setting `policy` does, given the memory and the keys of `stats`."""
    lines = [_memory_line(stats)]
    old, used, limit = stats.policy, stats.used_bytes, stats.maxmemory_bytes
    if policy == old:
        return Effect((*lines, f"{policy} is the policy already: nothing changes"), "low")
    lines += _reach_lines(stats, policy)
    if policy.endswith("-lfu") and not (old or "").endswith("-lfu"):
        lines.append("keys that are here already start with a frequency near 0: they go first, hot or not")
        lines.append(_LFU_LINE)
    elif (old or "").endswith("-lfu"):
        lines.append("the idle times of keys that are here already mean nothing until they are used again")
    if limit == 0:
        lines.append("no maxmemory is set: no policy evicts anything until there is a limit")
        return Effect(tuple(lines), "low")
    if used is None or limit is None:
        lines.append("used memory or maxmemory is unknown: it cannot be said what happens at once")
        return Effect(tuple(lines), "high")
    full = 100.0 * used / limit
    evicts = _can_evict(stats, policy)
    if not evicts:
        fail = "fail" if evicts is False else "may fail"
        if used >= limit:
            lines.append(f"at once: memory is full, so writes that need memory {fail} with OOM; reads go on")
            return Effect(tuple(lines), "high", hurts_at_once=True)
        lines.append(f"when memory is full (now {percent(full)}) writes {fail} with OOM; reads go on")
        return Effect(tuple(lines), "high" if full >= NEARLY_FULL_PERCENT else "medium")
    if used > limit:
        lines.append(f"at once: evicts about {_share(stats, used - limit)} to come under maxmemory")
        return Effect(tuple(lines), "high", hurts_at_once=True)
    lines.append(f"when memory is full (now {percent(full)}) keys are evicted by {policy}")
    return Effect(tuple(lines), "high" if _few_evictable(stats, policy) and full >= NEARLY_FULL_PERCENT else "medium")


def maxmemory_effect(stats: Stats, new_bytes: int) -> Effect:
    """Return what setting maxmemory of a Redis-like server to `new_bytes` does (0: no limit)."""
    lines = [_memory_line(stats)]
    used, system, policy = stats.used_bytes, stats.system_memory_bytes, stats.policy
    if new_bytes == 0:
        lines.append("no limit: the server grows until the system kills it; nothing is evicted any more")
        return Effect(tuple(lines), "high")
    risk: Risk = "medium"
    if system is not None and new_bytes > system:
        lines.append(f"more than the system's memory ({size(system)}): it will swap or be killed before it is full")
        risk = "high"
    elif system is None:
        lines.append("the system's memory is unknown: make sure that the server may really use this much")
    if used is None or policy is None:
        lines.append("used memory or the policy is unknown: it cannot be said what happens at once")
        return Effect(tuple(lines), "high")
    if new_bytes >= used:
        lines.append(f"at once: nothing is evicted; {size(new_bytes - used)} are free under the new limit")
        return Effect(tuple(lines), risk)
    evicts = _can_evict(stats, policy)
    if evicts is None:
        lines.append(f"at once: evicts keys with a TTL by {policy}; if there are too few, writes fail with OOM")
    elif not evicts:
        why = policy if policy == "noeviction" else f"{policy} with no TTL on any key"
        lines.append(f"at once: lower than what is used, and {why} evicts nothing: writes fail with OOM; reads go on")
    else:
        lines.append(
            f"at once: evicts about {_share(stats, used - new_bytes)} by {policy}{_work(stats, used - new_bytes)}"
        )
    return Effect(tuple(lines), "high", hurts_at_once=True)


def memlimit_effect(stats: Stats, new_bytes: int) -> Effect:
    """Return what Memcached's `cache_memlimit` does."""
    lines = [_memory_line(stats)]
    system, limit = stats.system_memory_bytes, stats.maxmemory_bytes
    if system is not None and new_bytes > system:
        lines.append(f"more than the system's memory ({size(system)}): it will swap or be killed before it is full")
    if limit is not None and new_bytes >= limit:
        lines.append("at once: nothing is evicted")
        return Effect(tuple(lines), "medium")
    lines.append(
        "at once: nothing new is allocated above the limit; pages are given back and what they hold is evicted"
    )
    if stats.used_bytes is None or new_bytes < stats.used_bytes:
        lines.append("lower than what is used: items will be evicted")
    return Effect(tuple(lines), "high", hurts_at_once=True)


def _memory_line(stats: Stats) -> str:
    limit = "no limit" if stats.maxmemory_bytes == 0 else size(stats.maxmemory_bytes)
    policy = f", policy {stats.policy}" if stats.policy else ""
    return f"now: used {size(stats.used_bytes)} of {limit}{policy}"


def _keys_with_ttl(stats: Stats) -> tuple[int, int] | None:
    """Return keys with a TTL and keys in all of every database, or None when unknown."""
    if not stats.databases and stats.keys != 0:
        return None
    return sum(db.expires for db in stats.databases), sum(db.keys for db in stats.databases)


def _can_evict(stats: Stats, policy: str) -> bool | None:
    """Tell whether the policy finds anything to evict, or None when unknown."""
    if policy == "noeviction":
        return False
    if not policy.startswith("volatile-"):
        return True
    known = _keys_with_ttl(stats)
    return None if known is None else known[0] > 0


def _few_evictable(stats: Stats, policy: str) -> bool:
    known = _keys_with_ttl(stats)
    if not policy.startswith("volatile-") or known is None or known[1] == 0:
        return False
    return 100.0 * known[0] / known[1] < FEW_TTL_PERCENT


def _reach_lines(stats: Stats, policy: str) -> list[str]:
    """Say which keys the policy may take."""
    known = _keys_with_ttl(stats)
    if policy == "noeviction":
        return ["no key is evicted any more"]
    if policy.startswith("volatile-"):
        if known is None:
            return ["only keys with a TTL can be evicted; how many have one is unknown"]
        expiring, total = known
        if expiring == 0:
            return ["no key has a TTL: it behaves like noeviction"]
        line = f"only keys with a TTL can be evicted: {expiring:,} of {total:,} ({percent(100.0 * expiring / total)})"
        few = ["these are few: when they are gone it behaves like noeviction"]
        return [line, *few] if _few_evictable(stats, policy) else [line]
    if known is None:
        return ["any key may be evicted, also those without a TTL"]
    expiring, total = known
    return [f"any key may be evicted, also the {total - expiring:,} of {total:,} without a TTL"]


def _work(stats: Stats, excess_bytes: int) -> str:
    """Return how long evicting so much keeps the server busy, where the number of keys is known."""
    if not stats.keys or not stats.used_bytes:
        return ""
    seconds = stats.keys * excess_bytes / stats.used_bytes / EVICTED_PER_S
    return f": some {duration(round(max(0.1, seconds), 1))} of its time, in slices of milliseconds; longer for big keys"


def _share(stats: Stats, excess_bytes: int) -> str:
    """Return the excess as bytes and, by the mean key, as keys."""
    if not stats.keys or not stats.used_bytes:
        return size(excess_bytes)
    keys = sum(db.keys for db in stats.databases) or stats.keys
    return f"{size(excess_bytes)} (some {round(keys * excess_bytes / stats.used_bytes):,} of {keys:,} keys)"
