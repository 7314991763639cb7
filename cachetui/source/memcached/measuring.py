"""What sampled items take and how long they were idle, and what takes a server's memory: what a curve needs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from cachetui.errors import Unsupported
from cachetui.model import KeyFacts
from cachetui.model.accesses import Rules
from cachetui.model.burst import Measured, Room
from cachetui.source.memcached.connection import Connection
from cachetui.source.memcached.keys import debug_line, facts_reader
from cachetui.source.memcached.server import Server
from cachetui.source.memcached.stats import Fields, read_stats, whole

AT_ONCE = 500
LIMIT_S = 5.0
PAGE_BYTES = 1024**2
CHOICES = 64
"""Memcached's lists know the order of use: simulated as a choice among many."""


async def measured(server: Server, keys: Sequence[bytes]) -> list[Measured]:
    """Return what is known of `keys`, in their order; fewer where the time is over."""
    chunks = _chunks(await _slabs(server))
    stop, found = time.monotonic() + LIMIT_S, list[Measured]()
    for at in range(0, len(keys), AT_ONCE):
        if time.monotonic() > stop:
            break
        some = list(keys[at : at + AT_ONCE])
        facts = await server.bulk(b"".join(map(debug_line, some)), facts_reader(some), sent={"me": len(some)})
        now = time.time()
        found += [_measured(one, chunks, now) for one in facts]
    return found


def _measured(facts: KeyFacts, chunks: Mapping[str, int], at_s: float) -> Measured:
    if not facts.exists:
        return Measured(None, None, None, at_s)
    size = chunks.get(facts.encoding or "", facts.size_bytes)
    ttl_ms = -1 if facts.has_ttl is False else None if facts.ttl_s is None else round(facts.ttl_s * 1000)
    return Measured(size, facts.idle_s, ttl_ms, at_s)


async def _slabs(server: Server) -> Fields:
    return await server.ask(b"stats slabs\r\n", read_stats, sent={"stats slabs": 1})


def _chunks(slabs: Mapping[str, str]) -> dict[str, int]:
    """Return the size of a chunk by class, as items are told of it."""
    return {
        f"class {name.partition(':')[0]}": size
        for name, value in slabs.items()
        if name.endswith(":chunk_size") and (size := whole(value)) is not None
    }


async def read_room(server: Server) -> Room:
    """Return what takes the memory. Raises Unsupported where the server does not tell."""

    async def read(connection: Connection) -> tuple[Fields, Fields]:
        return await read_stats(connection), await read_stats(connection)

    general, slabs = await server.ask(b"stats\r\nstats slabs\r\n", read, sent={"stats": 1, "stats slabs": 1})
    limit, items = whole(general.get("limit_maxbytes")), whole(general.get("curr_items"))
    if limit is None or items is None:
        raise Unsupported("the server does not tell what memory it has", "")
    ids = [name.partition(":")[0] for name in slabs if name.endswith(":chunk_size")]

    def of(slab: str, name: str) -> int:
        return whole(slabs.get(f"{slab}:{name}")) or 0

    used = sum(of(slab, "used_chunks") * of(slab, "chunk_size") for slab in ids)
    pages = [(of(slab, "total_pages"), of(slab, "chunk_size"), of(slab, "chunks_per_page")) for slab in ids]
    # What a page has beyond its chunks holds nothing, and the last page of a class is half empty on average.
    tails = sum(number * max(0, PAGE_BYTES - size * each) for number, size, each in pages if size <= PAGE_BYTES)
    hits, misses = whole(general.get("get_hits")) or 0, whole(general.get("get_misses")) or 0
    return Room(
        limit,
        min(limit, tails + sum(PAGE_BYTES // 2 for number, _, _ in pages if number > 1)),
        used,
        items,
        items,
        1,
        hits + misses,
        hits,
        time.monotonic(),
        Rules("allkeys-lru", CHOICES),
        tables=False,
    )
