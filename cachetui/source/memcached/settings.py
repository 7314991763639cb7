"""`stats settings` of every server, and commands for one of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cachetui.errors import CacheError, Unreachable
from cachetui.model import Identity, NodeSettings, SettingsByNode
from cachetui.source.base import Command
from cachetui.source.globs import compiled
from cachetui.source.memcached.commands import Wire, wired
from cachetui.source.memcached.connection import Connection
from cachetui.source.memcached.fleet import Fleet
from cachetui.source.memcached.server import Server
from cachetui.source.memcached.stats import Fields, read_stats


async def read_settings(fleet: Fleet, identity: Identity, pattern: str) -> SettingsByNode:
    """Return each server's settings that match the glob; a server that does not answer has a problem instead."""
    fits = compiled(pattern.encode()).fullmatch

    async def read(connection: Connection) -> tuple[Fields, Fields]:
        return await read_stats(connection), await read_stats(connection)

    async def ask(server: Server) -> tuple[Fields, Fields]:
        sent = {"stats settings": 1, "stats": 1}
        return await server.ask(b"stats settings\r\nstats\r\n", read, sent=sent, patient=False)

    nodes = []
    for server, answer in zip(fleet.servers, await fleet.each(ask), strict=True):
        own = not fleet.several
        if isinstance(answer, CacheError):
            nodes.append(NodeSettings(server.name, myself=own, problem=answer.line()))
            continue
        settings, general = answer
        values = {name: value for name, value in settings.items() if fits(name.encode())}
        used = general.get("bytes", "")
        nodes.append(
            NodeSettings(
                server.name,
                myself=own,
                values=values,
                used_bytes=int(used) if used.isdigit() else None,
                has_file=False,
            )
        )
    return SettingsByNode(time.time(), identity, tuple(nodes))


async def execute_on(fleet: Fleet, address: str, commands: Sequence[Command]) -> list[object]:
    """Send commands that concern no key to the one server of that name."""
    server = next((server for server in fleet.servers if server.name == address), None)
    if server is None:
        raise Unreachable(f"no server {address} is known here", "nothing was sent", {"sent": False})
    wires = [wired(command, set()) for command in commands]
    refused = next((wire for wire in wires if not isinstance(wire, Wire)), None)
    if refused is not None:
        return [wire if isinstance(wire, CacheError) else refused for wire in wires]
    replies = await fleet.run(server, [wire for wire in wires if isinstance(wire, Wire)])
    if replies and all(isinstance(reply, Unreachable) for reply in replies):
        first = replies[0]
        assert isinstance(first, Unreachable)
        raise first
    return replies
