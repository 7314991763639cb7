"""The settings of every node: of a cluster, or of a server with those it replicates to or from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from cachetui.errors import CacheError, Denied, Unsupported
from cachetui.model import Node, NodeSettings, SettingsByNode, is_secret
from cachetui.model.settings import HIDDEN
from cachetui.source.redis.info import Info, parse_info
from cachetui.source.redis.replies import as_map, as_text
from cachetui.source.redis.session import Session

AT_ONCE = 32
"""So many nodes are asked side by side."""


def readable_settings(reply: object) -> dict[str, str]:
    """Return a reply to CONFIG GET as text; secrets that are set come as `***`."""
    settings = {name: as_text(value) for name, value in as_map(reply).items()}
    return {name: HIDDEN if value and is_secret(name) else value for name, value in settings.items()}


async def read_own(session: Session, pattern: str) -> NodeSettings:
    """Return the settings of the server at the other end of `session`, without its name and role."""
    async with session.deadline():
        reply, memory, server = await session.ask_all(
            "lists", [("CONFIG", "GET", pattern), ("INFO", "memory"), ("INFO", "server")]
        )
    if isinstance(reply, CacheError):
        raise reply
    info = Info() if isinstance(server, CacheError) else parse_info(server)
    used = Info() if isinstance(memory, CacheError) else parse_info(memory)
    file = info.fields.get("config_file")
    return NodeSettings(
        "",
        values=readable_settings(reply),
        used_bytes=used.number("used_memory"),
        has_file=None if file is None else file != "",
    )


async def gathered(
    own: SettingsByNode,
    nodes: Iterable[Node],
    read: Callable[[str], Awaitable[SettingsByNode]],
) -> SettingsByNode:
    """Return `own` with the settings of the other `nodes`, each read by its address; a failure is its problem."""
    gate = asyncio.Semaphore(AT_ONCE)
    (here,) = own.nodes

    async def one(node: Node) -> NodeSettings:
        named = NodeSettings(node.address, node.role, node.myself)
        if node.myself:
            return replace(here, address=node.address, role=node.role)
        if node.address.startswith("?"):
            return replace(named, problem="its address is unknown")
        async with gate:
            try:
                (found,) = (await read(node.address)).nodes
            except CacheError as error:
                return replace(named, problem=error.line())
        return replace(found, address=node.address, role=node.role, myself=False)

    found = tuple(await asyncio.gather(*map(one, nodes)))
    return replace(own, taken_at=time.time(), nodes=found if any(node.myself for node in found) else (here, *found))


def not_found(own: SettingsByNode, error: CacheError) -> SettingsByNode:
    """Return `own` alone, with why the other nodes could not be found. Raises what is no refusal."""
    if not isinstance(error, Denied | Unsupported):
        raise error
    return replace(own, note=f"other nodes cannot be found: {error.message}")
