"""MEMORY STATS, MEMORY DOCTOR and what INFO tells of defragmentation, read once when somebody asks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from cachetui.errors import CacheError
from cachetui.model.memory import MemoryPart, MemoryReport
from cachetui.source.redis.connection import Argument
from cachetui.source.redis.info import Info, parse_info
from cachetui.source.redis.replies import as_int, as_map, as_text
from cachetui.source.redis.session import Session

_QUESTIONS: tuple[Sequence[Argument], ...] = (("MEMORY", "STATS"), ("MEMORY", "DOCTOR"), ("INFO", "all"))
_PARTS = {
    "dataset.bytes": "dataset",
    "startup.allocated": "at start",
    "replication.backlog": "replication backlog",
    "clients.slaves": "replica buffers",
    "clients.normal": "client buffers",
    "cluster.links": "cluster links",
    "cluster.slot_import": "slots coming",
    "cluster.slot_export": "slots going",
    "aof.buffer": "AOF buffer",
    "lua.caches": "script caches",
    "functions.caches": "function caches",
}
"""What MEMORY STATS calls the parts of what is allocated."""
_TABLES = "overhead.hashtable."
_MOST_LINES = 12


async def read_memory(session: Session) -> MemoryReport:
    """Return the server's account of its memory. Raises CacheError where MEMORY STATS is denied or unknown."""
    stats, doctor, told = await session.ask_all("lists", list(_QUESTIONS))
    if isinstance(stats, CacheError):
        raise stats
    figures = as_map(stats)
    info = Info() if isinstance(told, CacheError) else parse_info(told)
    sizes = {words: as_int(figures.get(name)) for name, words in _PARTS.items()}
    sizes["key tables"] = _tables(figures)
    sizes["fragmentation"] = as_int(figures.get("allocator-fragmentation.bytes"))
    parts = [MemoryPart(words, size) for words, size in sizes.items() if size is not None and size > 0]
    return MemoryReport(
        time.time(),
        tuple(sorted(parts, key=lambda part: -part.bytes)),
        as_int(figures.get("total.allocated")),
        as_int(figures.get("keys.bytes-per-key")),
        () if isinstance(doctor, CacheError) else tuple(_lines(as_text(doctor))),
        _defrag(info),
        info.number("lazyfree_pending_objects"),
    )


def _tables(figures: Mapping[str, object]) -> int:
    """Return what the tables of all databases take."""
    return sum(
        as_int(size) or 0
        for name, value in figures.items()
        if name.startswith("db.") and not isinstance(value, int)
        for part, size in as_map(value).items()
        if part.startswith(_TABLES)
    )


def _lines(words: str) -> list[str]:
    """Return what the doctor says, without its bullets."""
    return [line.strip(" *") for line in words.replace("\\n", "\n").splitlines() if line.strip(" *")][:_MOST_LINES]


def _defrag(info: Info) -> str:
    running = info.number("active_defrag_running")
    if running is None:
        return ""
    state = f"running, {running} % of the time" if running else "not running"
    return f"{state}; {info.number('active_defrag_hits') or 0:,} values moved since the start"
