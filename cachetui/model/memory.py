"""Where a server's memory goes, by its own account."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """One part of the memory."""

    name: str
    """Printable: `dataset`, `clients.normal`, ..., as the server calls it where it does."""
    bytes: int


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """MEMORY STATS and MEMORY DOCTOR, and what INFO adds to them."""

    taken_at: float
    parts: tuple[MemoryPart, ...]
    """Of what the server has allocated, but for `fragmentation`, which is beyond that."""
    used_bytes: int | None = None
    bytes_per_key: int | None = None
    doctor: tuple[str, ...] = ()
    """What the server's own doctor says, one line each; empty where it was not asked, or may not be."""
    defrag: str = ""
    """What active defragmentation does; empty where the server has none."""
    lazyfree_pending: int | None = None
    """Keys that wait to be freed in the background."""
