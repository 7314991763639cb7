"""What the keys of a sample take and how they were used, and what takes a server's memory: asked of it in bulk."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from cachetui.config import Address
from cachetui.errors import CacheError, Unsupported
from cachetui.model.accesses import Rules
from cachetui.model.burst import Measured, Room
from cachetui.source.redis.connection import Argument, Credentials
from cachetui.source.redis.info import parse_fields, parse_info
from cachetui.source.redis.replies import as_int, as_list, as_map, as_text
from cachetui.source.redis.session import Session
from cachetui.source.redis.stream import in_words
from cachetui.source.redis.wire import Wire

FACTS_AT_ONCE = 200
FACTS_SECONDS = 5.0


async def measured(
    address: Address,
    who: Credentials,
    keys: Sequence[tuple[int, bytes]],
    *,
    lfu: bool,
    ttl: bool,
    sent: Counter[str],
) -> list[Measured]:
    """Return what is known of `keys` (database and name), in their order; fewer where the time is over."""
    stop = threading.Event()

    def run() -> list[Measured]:
        wire = Wire(address, who, stop.is_set)
        try:
            wire.open()
            wire.ask([("CLIENT", "NO-TOUCH", "on")])
            return _measured(
                wire, who.db, keys, ["OBJECT FREQ" if lfu else "OBJECT IDLETIME", *(["PTTL"] if ttl else [])], sent
            )
        except Exception as error:
            raise in_words(error, address, who) from error
        finally:
            wire.close()

    try:
        return await asyncio.to_thread(run)
    finally:
        stop.set()


def _measured(
    wire: Wire, chosen: int, keys: Sequence[tuple[int, bytes]], questions: Sequence[str], sent: Counter[str]
) -> list[Measured]:
    stop, found, each = time.monotonic() + FACTS_SECONDS, list[Measured](), 1 + len(questions)
    for at in range(0, len(keys), FACTS_AT_ONCE):
        if time.monotonic() > stop:
            break
        commands: list[Sequence[Argument]] = [("TIME",)]
        for db, key in keys[at : at + FACTS_AT_ONCE]:
            if db != chosen:
                commands.append(("SELECT", db))
                chosen = db
            commands.append(("MEMORY", "USAGE", key, "SAMPLES", 5))
            commands += [(*question.split(" "), key) for question in questions]
        replies = wire.ask(commands)
        sent["memory"] += len(commands)
        seconds, micros = [*(as_int(part) for part in as_list(replies[0])), None, None][:2]
        at_s = math.nan if seconds is None else seconds + (micros or 0) / 1e6
        told = [as_int(reply) for reply, command in zip(replies, commands, strict=True) if command[0] != "SELECT"][1:]
        for first in range(0, len(told), each):
            size, use, ttl_ms = [*told[first : first + each], None][:3]
            found.append(Measured(size, use, ttl_ms, at_s))
    return found


async def read_room(session: Session) -> Room:
    """Return what takes the memory. Raises Unsupported where neither INFO nor MEMORY STATS tell."""
    told, stats, lfu, limits = await session.ask_all(
        "keys", [("INFO",), ("MEMORY", "STATS"), ("CONFIG", "GET", "*lfu*"), ("CONFIG", "GET", "maxmemory*")]
    )
    if isinstance(told, CacheError):
        raise told
    info = parse_info(told)
    used = info.number("used_memory")
    if used is None:
        raise Unsupported("the server does not tell what memory it uses", "")
    fields, usual = _words(lfu) | _words(limits), Rules()
    memory = as_map(stats) if not isinstance(stats, CacheError) else {}
    tables = sum(
        as_int(value) or 0
        for name, table in memory.items()
        if name.startswith("db.")
        for value in as_map(table).values()
    )
    overhead = as_int(memory.get("overhead.total"))
    startup = info.number("used_memory_startup") or 0
    # Without MEMORY STATS clients' buffers count as keys: few bytes, unless there are thousands of clients.
    fixed = min(used, overhead - tables if overhead is not None else startup)
    apart = info.number("mem_not_counted_for_evict") or 0
    databases = [
        parse_fields(value) for name, value in info.fields.items() if name.startswith("db") and "keys=" in value
    ]
    hits, misses = info.number("keyspace_hits") or 0, info.number("keyspace_misses") or 0
    return Room(
        as_int(fields.get("maxmemory")) or info.number("maxmemory") or used,
        max(0, fixed - apart),
        used - fixed,
        sum(as_int(one.get("keys")) or 0 for one in databases),
        sum(as_int(one.get("expires")) or 0 for one in databases),
        len(databases),
        hits + misses,
        hits,
        time.monotonic(),
        Rules(
            info.fields.get("maxmemory_policy") or fields.get("maxmemory-policy") or "noeviction",
            as_int(fields.get("maxmemory-samples")) or usual.samples,
            _number(fields, "lfu-log-factor", usual.lfu_log_factor),
            _number(fields, "lfu-decay-time", usual.lfu_decay_min),
        ),
    )


def _words(reply: object) -> dict[str, str]:
    return {name: as_text(value, 60) for name, value in as_map(reply).items()}


def _number(fields: Mapping[str, str], name: str, usual: int) -> int:
    number = as_int(fields.get(name))
    return usual if number is None else number
