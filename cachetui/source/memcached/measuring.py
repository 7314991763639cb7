"""What sampled items take and how long they were idle, and what takes a server's memory: what a curve needs."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from cachetui.errors import Unsupported
from cachetui.model.accesses import Rules
from cachetui.model.burst import Measured, Room
from cachetui.source.memcached.connection import Connection, reply_error
from cachetui.source.memcached.keys import debug_line
from cachetui.source.memcached.server import Server
from cachetui.source.memcached.stats import Fields, read_stats, whole

AT_ONCE = 500
LIMIT_S = 5.0
PAGE_BYTES = 1024**2
FETCHED = 0.3
"""Memcached notes few uses of a fetched item: the last one is taken to be so much of the time ago that it says."""
_ME = re.compile(rb"ME \S+ exp=(-?\d{1,12}) la=(\d{1,12}) .*?fetch=(\w+) cls=(\d{1,4}) size=(\d{1,12})")
_ERRORS = (b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR")
CHOICES = 64
"""Memcached's lists know the order of use: simulated as a choice among many."""


async def measured(server: Server, keys: Sequence[bytes]) -> list[Measured]:
    """Return what is known of `keys`, in their order; fewer where the time is over."""
    chunks = _chunks(await _slabs(server))
    stop, found = time.monotonic() + LIMIT_S, list[Measured]()
    for at in range(0, len(keys), AT_ONCE):
        if time.monotonic() > stop:
            break
        some = keys[at : at + AT_ONCE]

        async def read(connection: Connection, number: int = len(some)) -> list[bytes]:
            return await connection.lines(number)

        lines = await server.bulk(b"".join(map(debug_line, some)), read, sent={"me": len(some)})
        now = time.time()
        found += [_measured(line, chunks, now) for line in lines]
    return found


def _measured(line: bytes, chunks: Mapping[bytes, int], at_s: float) -> Measured:
    told = _ME.match(line)
    if told is None:
        if line != b"EN" and not line.startswith(_ERRORS):
            raise reply_error(line, "me")
        return Measured(None, None, None, at_s)
    expiry, idle, fetched, slab, size = told.groups()
    idle_s = round(int(idle) * (FETCHED if fetched == b"yes" else 1.0))
    # Up to 1.6.23 the seconds left are said as a negative number.
    ttl_ms = -1 if expiry == b"-1" else abs(int(expiry)) * 1000
    return Measured(chunks.get(slab, int(size)), idle_s, ttl_ms, at_s)


async def _slabs(server: Server) -> Fields:
    return await server.ask(b"stats slabs\r\n", read_stats, sent={"stats slabs": 1})


def _chunks(slabs: Mapping[str, str]) -> dict[bytes, int]:
    """Return the size of a chunk by class."""
    return {
        name.partition(":")[0].encode(): size
        for name, value in slabs.items()
        if name.endswith(":chunk_size") and (size := whole(value)) is not None
    }


async def read_room(server: Server) -> Room:
    """Return what takes the memory. Raises Unsupported where the server does not tell."""

    async def read(connection: Connection) -> tuple[Fields, Fields, Fields]:
        return await read_stats(connection), await read_stats(connection), await read_stats(connection)

    sent = {"stats": 1, "stats slabs": 1, "stats settings": 1}
    question = b"stats\r\nstats slabs\r\nstats settings\r\n"
    general, slabs, settings = await server.ask(question, read, sent=sent)
    limit, items = whole(general.get("limit_maxbytes")), whole(general.get("curr_items"))
    if limit is None or items is None:
        raise Unsupported("the server does not tell what memory it has", "")
    ids = [name.partition(":")[0] for name in slabs if name.endswith(":chunk_size")]

    def of(slab: str, name: str) -> int:
        return whole(slabs.get(f"{slab}:{name}")) or 0

    used = sum(of(slab, "used_chunks") * of(slab, "chunk_size") for slab in ids)
    pages = [(of(slab, "total_pages"), of(slab, "chunk_size"), of(slab, "chunks_per_page")) for slab in ids]
    # What a page has beyond its chunks holds nothing; where all pages are given out, neither do chunks that wait.
    lost = sum(number * max(0, PAGE_BYTES - size * each) for number, size, each in pages if size <= PAGE_BYTES)
    if sum(number for number, _, _ in pages) * PAGE_BYTES + PAGE_BYTES > limit:
        lost += sum(of(slab, "free_chunks") * of(slab, "chunk_size") for slab in ids)
    hits, misses = whole(general.get("get_hits")) or 0, whole(general.get("get_misses")) or 0
    return Room(
        limit,
        min(limit, lost),
        used,
        items,
        items,
        1,
        hits + misses,
        hits,
        time.monotonic(),
        # A flat list knows the order of use: as good as a choice among many.
        Rules("allkeys-lru", CHOICES) if settings.get("lru_segmented") == "no" else Rules("lru-segmented"),
        tables=False,
    )
