"""Rules about how Memcached is used: writes it refused, reads that came too late, memory that its items do not fit."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.growth import Growth, growth, number, over_same_span
from cachetui.analysis.rules.rule import Problem, is_memcached
from cachetui.analysis.slabs import PAGE_BYTES
from cachetui.model import Evidence, Node, Stats

YOUNG_S = 60
"""Seconds without a reader after which an evicted item was hardly useless: below, the cache is too small."""

LEAST_EVICTED = 100
"""Evicted items below which nothing is concluded."""

CONFLICTS, CONFLICT_SHARE_PERCENT = 20, 10.0
"""Refused CAS writes, and their percent of all, from which on writers are in each other's way."""

LATE, LATE_SHARE_PERCENT = 100, 30.0
"""Reads of expired items, and their percent of all misses, that tell of an expiry cliff."""

UNREAD, UNREAD_SHARE_PERCENT = 100, 50.0
"""Items that expired without ever being read, and their percent of the items stored."""

WASTE_SHARE_PERCENT, WASTE_BYTES = 20.0, PAGE_BYTES
"""Of the used chunks, what no item asked for: percent, and bytes below which it does not matter."""

UNEVEN_PERCENT, FULL_PERCENT = 50.0, 80.0
"""Percent of its memory that one server uses at most while another is full."""


LEAST_SAMPLED = 30
"""Names below which nothing is concluded of where keys lie."""

MISPLACED_SHARE = 0.05
"""Share of misplaced names that is more than the rest of an old change."""


def _extra(evidence: Evidence, name: str) -> Growth | None:
    """Return the growth of a counter of Memcached's that has no field of its own."""
    stats = evidence.stats
    if stats is None or not is_memcached(stats):
        return None
    return growth(evidence, lambda seen: number(seen, name))


def no_memory(evidence: Evidence) -> Problem | None:
    refused, stats = _extra(evidence, "store_no_memory"), evidence.stats
    if refused is None or stats is None or refused.amount <= 0:
        return None
    classes = sorted({slab.class_id for slab in stats.slabs if slab.outofmemory})
    where = f" (slab class {', '.join(map(str, classes[:4]))})" if classes else ""
    return Problem(
        "low" if refused.since_start else "high",
        f"Writes refused for lack of memory{where}: {text.count(refused.amount)} {refused.words}",
        "Raise the limit (press m), let it evict (start without -M), or move pages to the class (press 6, T).",
        {"refused": int(refused.amount), "classes": classes, "policy": stats.policy, **refused.facts()},
    )


def too_large(evidence: Evidence) -> Problem | None:
    refused = _extra(evidence, "store_too_large")
    if refused is None or refused.amount <= 0:
        return None
    return Problem(
        "low" if refused.since_start else "medium",
        f"Items too large to store: {text.count(refused.amount)} {refused.words}; what they replaced is gone too",
        "Compress or split these values, or start memcached with a larger -I.",
        {"refused": int(refused.amount), **refused.facts()},
    )


def young_evictions(evidence: Evidence) -> Problem | None:
    stats, evicted = evidence.stats, growth(evidence, "evicted_total", least=LEAST_EVICTED - 1)
    if stats is None or not is_memcached(stats) or evicted is None or evicted.amount < LEAST_EVICTED:
        return None
    if evicted.since_start:
        return None
    then = evicted.base
    before = {(slab.server, slab.class_id): slab.evicted or 0 for slab in then.slabs} if then is not None else {}
    young = [
        slab
        for slab in stats.slabs
        if slab.evicted_idle_s is not None
        and slab.evicted_idle_s < YOUNG_S
        and (slab.evicted or 0) > before.get((slab.server, slab.class_id), 0)
    ]
    if not young:
        return None
    worst = min(young, key=lambda slab: slab.evicted_idle_s or 0)
    return Problem(
        "medium",
        f"Evicted young: class {worst.class_id} ({text.size(worst.chunk_bytes)}) drops items that nobody asked for in"
        f" only {text.duration(worst.evicted_idle_s)}",
        "Add memory (press m), store less, or give what is rarely read a short TTL.",
        {
            "class": worst.class_id,
            "chunk_bytes": worst.chunk_bytes,
            "idle_s": worst.evicted_idle_s,
            "oldest_s": worst.age_s,
            "server": worst.server,
            "evicted": int(evicted.amount),
            **evicted.facts(),
        },
    )


def cas_conflicts(evidence: Evidence) -> Problem | None:
    refused = _extra(evidence, "cas_badval")
    if refused is None or refused.amount < CONFLICTS:
        return None
    done = over_same_span(evidence, refused, lambda seen: number(seen, "cas_hits"))
    if done is None or 100 * refused.amount / (refused.amount + done) < CONFLICT_SHARE_PERCENT:
        return None
    share = text.percent(100 * refused.amount / (refused.amount + done))
    return Problem(
        "low",
        f"Writers collide: {share} of {text.count(refused.amount + done)} CAS writes were refused {refused.words}",
        "Let one writer renew a key (a lock, or `mg` with a recache token), or use incr for counters.",
        {"refused": int(refused.amount), "done": int(done), **refused.facts()},
    )


def read_too_late(evidence: Evidence) -> Problem | None:
    late = _extra(evidence, "get_expired")
    if late is None or late.amount < LATE or late.since_start:
        return None
    misses = over_same_span(evidence, late, "misses_total")
    if not misses or 100 * late.amount / misses < LATE_SHARE_PERCENT:
        return None
    share = text.percent(min(100.0, 100 * late.amount / misses))
    return Problem(
        "medium",
        f"Expiry cliff: {share} of {text.count(misses)} misses {late.words} asked for items that had just expired",
        "Spread the TTLs (add some seconds at random), and renew hot keys before they end.",
        {"expired": int(late.amount), "misses": int(misses), **late.facts()},
    )


def expired_unread(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    unread = growth(evidence, "expired_unfetched_total", least=UNREAD - 1)
    if stats is None or not is_memcached(stats) or unread is None or unread.amount < UNREAD:
        return None
    stored = over_same_span(evidence, unread, "sets_total")
    if not stored or 100 * unread.amount / stored < UNREAD_SHARE_PERCENT:
        return None
    return Problem(
        "low",
        f"Stored for nobody: {text.count(unread.amount)} items expired unread {unread.words},"
        f" beside {text.count(stored)} writes",
        "Store only what is asked for (fill the cache on a miss), or with a longer TTL.",
        {"unread": int(unread.amount), "stored": int(stored), **unread.facts()},
    )


def flushed(evidence: Evidence) -> Problem | None:
    flushes = _extra(evidence, "cmd_flush")
    if flushes is None or flushes.amount <= 0 or flushes.since_start:
        return None
    times = "once" if flushes.amount == 1 else f"{text.count(flushes.amount)} times"
    return Problem(
        "medium",
        f"Flushed: somebody sent flush_all {times} {flushes.words}; readers miss until the cache is warm again",
        "Find who does it (press 5 for the clients); start memcached with -F to forbid it.",
        {"flushes": int(flushes.amount), **flushes.facts()},
    )


def logins_refused(evidence: Evidence) -> Problem | None:
    refused = _extra(evidence, "auth_errors")
    if refused is None or refused.amount <= 0:
        return None
    return Problem(
        "low" if refused.since_start else "medium",
        f"Logins refused: {text.count(refused.amount)} {refused.words}",
        "A client has an old password, or somebody is trying some: see who connects (press 5).",
        {"refused": int(refused.amount), **refused.facts()},
    )


def buffers_short(evidence: Evidence) -> Problem | None:
    names = ("read_buf_oom", "response_obj_oom", "malloc_fails")
    short = [(name, grown) for name in names if (grown := _extra(evidence, name)) is not None and grown.amount > 0]
    if not short:
        return None
    name, grown = max(short, key=lambda pair: pair[1].amount)
    return Problem(
        "low" if grown.since_start else "high",
        f"No memory for connections: {text.count(grown.amount)} were cut off {grown.words} ({name})",
        "Raise read_buf_mem_limit or response memory, or keep clients from sending long batches.",
        {"counters": {what: int(each.amount) for what, each in short}, **grown.facts()},
    )


def chunk_waste(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or not is_memcached(stats):
        return None
    known = [slab for slab in stats.slabs if slab.mem_requested_bytes is not None]
    used = sum(slab.used_chunks * slab.chunk_bytes for slab in known)
    wasted = {slab: max(0, slab.used_chunks * slab.chunk_bytes - (slab.mem_requested_bytes or 0)) for slab in known}
    total = sum(wasted.values())
    if total < WASTE_BYTES or 100 * total / used < WASTE_SHARE_PERCENT:
        return None
    worst = max(wasted, key=lambda slab: wasted[slab])
    return Problem(
        "low",
        f"Chunks do not fit: {text.percent(100 * total / used)} of the used memory ({text.size(total)}) holds nothing,"
        f" most of it in class {worst.class_id} ({text.size(worst.chunk_bytes)})",
        "Start memcached with a smaller growth factor (-f 1.1), so that chunks fit its items better.",
        {"wasted_bytes": total, "used_bytes": used, "worst_class": worst.class_id},
    )


def flat_lru(evidence: Evidence) -> Problem | None:
    stats, evicted = evidence.stats, growth(evidence, "evicted_total", least=LEAST_EVICTED - 1)
    if stats is None or stats.policy != "lru-flat" or evicted is None or evicted.amount < LEAST_EVICTED:
        return None
    return Problem(
        "low",
        f"One flat LRU evicts ({text.count(evicted.amount)} items {evicted.words}): a scan pushes out what is hot",
        "Switch to HOT, WARM and COLD (press 0, lru_segmented).",
        {"evicted": int(evicted.amount), **evicted.facts()},
        ("lru mode segmented",),
    )


def fleet_uneven(evidence: Evidence) -> Problem | None:
    seen = evidence.topology
    if seen is None or seen.server.kind != "memcached" or len(seen.nodes) < 2:
        return None
    used = {node: percent for node in seen.nodes if (percent := _used_percent(node)) is not None}
    if len(used) < 2:
        return None
    full, empty = max(used, key=lambda node: used[node]), min(used, key=lambda node: used[node])
    if used[full] < FULL_PERCENT or used[empty] > UNEVEN_PERCENT:
        return None
    return Problem(
        "medium" if _evicts(evidence.stats, full.address) else "low",
        f"Uneven fleet: {full.address} is {text.percent(used[full], 0)} full, {empty.address} only"
        f" {text.percent(used[empty], 0)}",
        "See how keys are spread (press 4): a client with another list of servers, or one huge prefix on one key.",
        {
            "full": full.address,
            "full_percent": round(used[full], 1),
            "empty": empty.address,
            "empty_percent": round(used[empty], 1),
        },
    )


def misplaced_keys(evidence: Evidence) -> Problem | None:
    seen = evidence.topology
    spread = seen.spread if seen is not None else None
    if seen is None or spread is None or spread.sampled < LEAST_SAMPLED or not spread.misplaced:
        return None
    share = text.percent(100 * spread.misplaced / spread.sampled)
    facts: dict[str, object] = {"rule": spread.rule, "sampled": spread.sampled, "misplaced": spread.misplaced}
    if not spread.rule:
        return Problem(
            "medium",
            "No usual rule tells on which server a key lies: clients use another list of servers, or another hashing",
            "Give the servers in the clients' own order and names, or the rule (memcached://a,b?hash=ketama).",
            facts,
        )
    return Problem(
        "low" if spread.misplaced < MISPLACED_SHARE * spread.sampled else "medium",
        f"Misplaced keys: {share} of {text.count(spread.sampled)} names lie on another server than {spread.rule} says",
        "Left behind by a change of the servers, or written by a client with another rule: delete them by pattern"
        " (every copy goes), or let them expire.",
        facts,
    )


def _used_percent(node: Node) -> float | None:
    if node.state == "down" or node.used_bytes is None or not node.limit_bytes:
        return None
    return 100 * node.used_bytes / node.limit_bytes


def _evicts(stats: Stats | None, address: str) -> bool:
    return stats is not None and any(slab.evicted for slab in stats.slabs if slab.server == address)
