"""The cluster as its nodes see it right now, asked of all of them side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from cachetui.actions.cluster.nodes import Nodes, number_of
from cachetui.actions.plan.members import State, View, parse_view
from cachetui.errors import CacheError, ServerError, Unreachable
from cachetui.source.base import Command

AT_ONCE = 32
"""So many nodes are asked side by side."""
COUNTED_AT_ONCE = 1000
"""Slots in one pipeline of counting."""


async def view_of(nodes: Nodes, address: str) -> View:
    """Return the cluster as the node at `address` sees it. Raises CacheError."""
    reply = await nodes.ask(address, "CLUSTER", "NODES")
    text = reply.encode() if isinstance(reply, str) else reply
    view = parse_view(text, address) if isinstance(text, bytes) else None
    if view is None:
        raise ServerError(f"{address}: CLUSTER NODES makes no sense", "a proxy may stand in between")
    return view


async def look(nodes: Nodes, addresses: Iterable[str]) -> State:
    """Return the cluster as all of its nodes see it; `addresses` are some of them.

    Those that they know are asked as well. Raises Unreachable when nobody answers.
    """
    views: dict[str, View] = {}
    silent: dict[str, str] = {}
    asked: set[str] = set()
    due = list(dict.fromkeys(addresses))
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(address: str) -> None:
        async with gate:
            try:
                view = await view_of(nodes, address)
            except CacheError as error:
                silent[address] = error.line()
                return
            # The same node may be known under several names.
            views.setdefault(view.me.node_id, view)

    while due:
        asked.update(due)
        await asyncio.gather(*map(one, due))
        known = {view.me.address for view in views.values()}
        others = {
            member.address
            for view in views.values()
            for member in view.members
            if member.address and not member.is_bad and member.node_id not in views
        }
        due = sorted(others - asked - known)
    if not views:
        raise Unreachable("no node of the cluster answers", next(iter(silent.values()), ""))
    return State(tuple(views.values()), silent)


async def keys_by_slot(nodes: Nodes, address: str, slots: Sequence[int]) -> dict[int, int]:
    """Return how many keys a node holds in each of `slots`. Raises CacheError."""
    found: dict[int, int] = {}
    for at in range(0, len(slots), COUNTED_AT_ONCE):
        some = slots[at : at + COUNTED_AT_ONCE]
        commands: list[Command] = [(b"CLUSTER", b"COUNTKEYSINSLOT", b"%d" % slot) for slot in some]
        for slot, reply in zip(some, await nodes.ask_all(address, commands), strict=True):
            found[slot] = number_of(reply, "CLUSTER COUNTKEYSINSLOT")
    return found


async def knows(nodes: Nodes, address: str, subcommand: str) -> bool:
    """Tell whether CLUSTER of this node has a subcommand, by its own help. Raises CacheError."""
    reply = await nodes.ask(address, "CLUSTER", "HELP")
    lines = reply if isinstance(reply, list) else []
    words = (line.decode("utf-8", "replace") if isinstance(line, bytes) else str(line) for line in lines)
    return any(line.strip().split(" ")[0].upper() == subcommand for line in words)
