"""The figures of one server, for what is decided server by server."""

from __future__ import annotations

from cachetui.errors import ServerError
from cachetui.model import Stats
from cachetui.source.base import Source


async def stats_of_one(source: Source) -> Stats:
    """Return a source's figures; of a whole cluster those of the primary that uses most memory. Raises CacheError."""
    polled = await source.poll("stats")
    if not isinstance(polled, Stats):
        raise ServerError("the server gave no stats", "")
    primaries = [node for node in polled.nodes if node.role == "primary" and not node.trouble]
    if not primaries:
        return polled
    alone = source.node(max(primaries, key=lambda node: node.used_bytes or 0).address)
    try:
        found = await alone.poll("stats")
    finally:
        await alone.close()
    assert isinstance(found, Stats)
    return found
