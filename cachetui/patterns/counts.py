"""What a pattern has done since it was made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Figures of one cache. With threads they are close, not exact: counting takes no lock."""

    hits: int = 0
    """Lookups that the cache answered (also with a stored absence, also with a stale value)."""
    local_hits: int = 0
    """Of these, lookups that the local level answered."""
    stale: int = 0
    """Of the hits, those that were past their time, or chosen to be refreshed early."""
    misses: int = 0
    """Lookups that the cache answered with nothing."""
    loads: int = 0
    """Calls of the loader."""
    joined: int = 0
    """Gets that shared the load (with asyncio also the lookup) of another one in this process."""
    waited: int = 0
    """Gets that waited for the load of another process and found its value."""
    refused: int = 0
    """Values not stored: the key was invalidated, written or loaded anew meanwhile, or they were too large."""
    unreadable: int = 0
    """Cached values that could not be read; they count as misses."""
    refresh_errors: int = 0
    """Background refreshes whose loader failed."""
    cache_errors: int = 0
    """Cache calls that failed, or were refused by the breaker or the bulkhead."""
