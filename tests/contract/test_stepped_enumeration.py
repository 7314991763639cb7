"""Enumerations made of steps: Memcached's items, with facts where the sink wants them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pymemcache.client.base import Client

from cachetui.config import Address, Target
from cachetui.source.connect import open_source
from tests.contract.redis_targets import target_of, until
from tests.contract.test_redis_enumeration import Names
from tests.contract.test_redis_enumeration_trouble import Facts
from tests.servers.launch import Server


def fill(server: Server, number: int, expire_s: int = 0) -> set[bytes]:
    client = Client(("127.0.0.1", server.port), connect_timeout=2, timeout=5, default_noreply=False)
    client.set_many({f"item:{at}": b"x" for at in range(number)}, expire=expire_s)
    client.close()
    return {b"item:%d" % at for at in range(number)}


async def test_facts_of_items(memcached: Server) -> None:
    names = fill(memcached, 2_500, 500)
    source = await open_source(target_of(memcached, kind="memcached"))
    try:
        sink = Facts("type", "ttl", "size")
        await source.enumeration(sink).run()
        assert sink.facts.keys() == names
        types, ttls_ms, sizes = (set(column) for column in zip(*sink.facts.values(), strict=True))
        assert types == {"item"} and all(400_000 < (ttl or 0) <= 500_000 for ttl in ttls_ms)
        assert all(size is not None and size > 0 for size in sizes)
    finally:
        await source.close()


async def test_it_pauses_goes_on_and_is_cancelled(memcached: Server) -> None:
    names = fill(memcached, 5_000)
    source = await open_source(target_of(memcached, kind="memcached"))
    try:
        enumeration = source.enumeration(sink := Names(lambda: enumeration.pause()))  # noqa: PLW0108 - not there yet
        running = asyncio.create_task(enumeration.run())
        await until(lambda: enumeration.progress.state == "paused" and sink.names)
        assert len(sink.names) < 5_000 and enumeration.progress.left_s is None
        enumeration.resume()
        await running
        assert sink.names == names and enumeration.progress.state == "ended"
        assert not enumeration.progress.partial

        enumeration = source.enumeration(sink := Names(lambda: enumeration.pause()))  # noqa: PLW0108 - not there yet
        running = asyncio.create_task(enumeration.run())
        await until(lambda: bool(sink.names))
        enumeration.cancel()
        await running
        assert enumeration.progress.state == "cancelled" and len(sink.names) < 5_000
    finally:
        await source.close()


async def test_a_server_of_a_fleet_that_is_gone_is_told(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached") for _ in range(2)]
    names = fill(servers[0], 10)
    fill(servers[1], 10)
    servers[1].kill()
    addresses = tuple(Address("127.0.0.1", server.port) for server in servers)
    source = await open_source(Target("memcached", addresses))
    try:
        enumeration = source.enumeration(sink := Names())
        await enumeration.run()
        assert sink.names == names
        assert enumeration.progress.partial and str(servers[1].port) in enumeration.progress.note
    finally:
        await source.close()
