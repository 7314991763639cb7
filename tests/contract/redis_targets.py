"""Targets for the servers of the tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from cachetui.config import Address, Secret, Target, Tls
from cachetui.source.redis import RedisSource
from tests.servers.launch import Server


def target_of(server: Server | int, *, kind: Any = "redis", password: str | None = None, **more: Any) -> Target:
    """Return the target for a server of the tests, or for a loopback port."""
    if isinstance(server, int):
        address = Address("127.0.0.1", server)
    else:
        address = Address(path=server.path) if server.path else Address("127.0.0.1", server.port)
    return Target(kind, (address,), password=Secret(password) if password is not None else None, **more)


async def _a_moment() -> None:
    await asyncio.sleep(0.02)


async def until(condition: Callable[[], object], limit_s: float = 15) -> None:
    """Wait until `condition()` is true; fail when it does not become so in time."""
    deadline = time.monotonic() + limit_s
    await _a_moment()
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await _a_moment()
    await _a_moment()


@asynccontextmanager
async def source_of(server: Server | int, *, protocol: int = 3, **more: Any) -> AsyncIterator[RedisSource]:
    """Return a source that is closed at the end; nothing has been sent yet."""
    source = RedisSource(target_of(server, **more), protocol=protocol)
    try:
        yield source
    finally:
        await source.close()


def tls(certificates: dict[str, Any], *, ca: bool = True, client: bool = False, **more: Any) -> Tls:
    """Return how to speak TLS with the test CA's servers."""
    return Tls(
        ca_file=str(certificates["ca.crt"]) if ca else None,
        cert_file=str(certificates["client.crt"]) if client else None,
        key_file=str(certificates["client.key"]) if client else None,
        **more,
    )
