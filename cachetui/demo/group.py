"""The servers of one demo, and the way to its data."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

from cachetui.demo.actors import Reach, at_port
from cachetui.demo.servers import Engine, Running, start


@dataclass(slots=True)
class Group:
    """One or several servers that answer. `stop` ends them all and removes their directories."""

    url: str
    description: str
    """What is running, for people."""
    servers: list[Running]
    """Those that hold data first, the primary before its replicas."""
    holders: int = 1
    """How many of them hold data."""
    reach: Reach | None = None
    """Opens clients; None for Memcached."""
    clustered: bool = False

    def ended(self) -> bool:
        """Tell whether no server that holds data is left: killing some of them is part of the play."""
        return all(server.ended() for server in self.servers[: self.holders])

    async def stop(self) -> None:
        """End all servers."""
        await stop_all(self.servers)


async def stop_all(servers: list[Running]) -> None:
    """End servers side by side."""
    await asyncio.gather(*(server.stop() for server in servers), return_exceptions=True)


async def started(*starting: Awaitable[Running]) -> list[Running]:
    """Return servers once all answer; if one does not, none is left. Raises DemoFailed."""
    found = await asyncio.gather(*starting, return_exceptions=True)
    servers = [one for one in found if isinstance(one, Running)]
    for one in found:
        if isinstance(one, BaseException):
            await stop_all(servers)
            raise one
    return servers


async def start_alone(engine: Engine) -> Group:
    """Start one server. Raises DemoFailed."""
    server = await start(engine)
    words = f"{engine.title} {server.version} on 127.0.0.1:{server.port} with a live workload"
    reach = None if engine.kind == "memcached" else at_port(server.port)
    return Group(server.url, words, [server], reach=reach)
