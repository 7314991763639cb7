"""Every command of a target heard for a moment: of one server, or of all that serve keys, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from cachetui.errors import CacheError, Unsupported
from cachetui.model import Topology
from cachetui.model.burst import Burst, Limits
from cachetui.source.base import CallSink, Source, Streamed

AT_ONCE = 8
"""Servers that are heard at the same time; with more of them one should look at one alone."""
SERVING = ("primary", "server")


@dataclass(frozen=True, slots=True)
class Heard:
    """How it went with one server."""

    node: str
    """Its address where there are several; empty: the only one."""
    burst: Burst | None = None
    trouble: CacheError | None = None
    """Why nothing was heard of it."""


async def listen(
    source: Source,
    sink_at: Callable[[str], CallSink],
    limits: Limits,
    *,
    alone: bool = False,
    begun: Callable[[], None] | None = None,
) -> tuple[Heard, ...]:
    """Hear every command until a limit is reached; what `limits` counts is for all servers together.

    `sink_at` gives the sink for each server's address, "" where there is only one. With `alone` the source
    is one node of a target. Raises Unsupported where commands cannot be heard, and what went wrong where
    no server was heard at all.
    """
    identity = source.identity or await source.open()
    if alone or identity.mode not in ("cluster", "fleet"):
        return (await _one(source, "", sink_at(""), limits, begun),)
    places = await _serving(source)
    share = replace(
        limits,
        commands=max(1, limits.commands // len(places)),
        stream_bytes=max(1, limits.stream_bytes // len(places)),
    )
    heard = await asyncio.gather(*(_kept(_at(source, place, sink_at(place), share, begun), place) for place in places))
    failed = [one.trouble for one in heard if one.trouble is not None]
    if len(failed) == len(heard):
        raise failed[0]
    return tuple(heard)


async def _serving(source: Source) -> Sequence[str]:
    """Return the addresses of the servers that serve keys. Raises Unsupported when they are too many."""
    topology = await source.poll("topology")
    assert isinstance(topology, Topology)
    places = [node.address for node in topology.nodes if node.role in SERVING]
    if not places:
        raise Unsupported("no server that serves keys is known", "look at the topology (4)")
    if len(places) > AT_ONCE:
        raise Unsupported(
            f"{len(places)} servers are too many to be heard at once", "look at one alone: ] or 4 and Enter"
        )
    return places


async def _kept(hearing: Awaitable[Heard], place: str) -> Heard:
    try:
        return await hearing
    except CacheError as error:
        return Heard(place, trouble=error)


async def _at(source: Source, address: str, sink: CallSink, limits: Limits, begun: Callable[[], None] | None) -> Heard:
    node = source.node(address)
    try:
        await node.open()
        return await _one(node, address, sink, limits, begun)
    finally:
        await node.close()


async def _one(source: Source, name: str, sink: CallSink, limits: Limits, begun: Callable[[], None] | None) -> Heard:
    if not isinstance(source, Streamed):
        raise Unsupported("the commands of this kind of server cannot be heard", "")
    return Heard(name, await source.burst(sink, limits, begun))
