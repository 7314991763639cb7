"""How long the items of memcached's slab classes were not used, as a dump tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassAges:
    """One slab class of one server."""

    server: str
    class_id: int
    items: int
    fetched: int
    """Items that were fetched at least once."""
    idle_s: tuple[int, ...]
    """Of some of them, chosen evenly: seconds since the last use that memcached has noted. It notes not every one."""
