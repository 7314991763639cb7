"""The server's own account of its memory, and what it evicts beside what was foretold."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from cachetui.analysis.eviction import outlook
from cachetui.config import parse_target
from cachetui.errors import Denied
from cachetui.keyspace.prefixing import sample_keys
from cachetui.model.prefixes import prefix_of
from cachetui.source.base import Accounted
from cachetui.source.connect import open_source
from tests.servers.launch import Server


async def test_the_account(redis_like: Server) -> None:
    with redis_like.client() as client:
        client.mset({f"key:{at}": "x" * 500 for at in range(2000)})
        used = client.info("memory")["used_memory"]
    source = await open_source(parse_target(redis_like.url))
    try:
        assert isinstance(source, Accounted)
        report = await source.memory()
    finally:
        await source.close()
    sizes = {part.name: part.bytes for part in report.parts}
    assert sizes["dataset"] > 1_000_000 and sizes["key tables"] > 2000 and sizes["at start"] > 0
    assert report.used_bytes is not None and abs(report.used_bytes - used) < 2_000_000
    assert sum(size for name, size in sizes.items() if name != "fragmentation") <= 1.1 * report.used_bytes
    assert (
        report.bytes_per_key
        and report.doctor
        and [part.bytes for part in report.parts] == sorted((part.bytes for part in report.parts), reverse=True)
    )


async def test_a_denied_account(redis7: Server) -> None:
    with redis7.client() as client:
        client.execute_command("ACL SETUSER unaccounted on >p ~* +@all -memory")
        try:
            source = await open_source(parse_target(f"redis://unaccounted:p@{redis7.address}"))
            assert isinstance(source, Accounted)
            with pytest.raises(Denied, match="MEMORY"):
                await source.memory()
            await source.close()
        finally:
            client.execute_command("ACL DELUSER unaccounted")


@pytest.mark.parametrize("policy", ["allkeys-random", "volatile-ttl"])
async def test_what_is_foretold_is_evicted(new_server: Callable[..., Server], policy: str) -> None:
    server = new_server("redis7", "--maxmemory-policy", policy)
    rng = random.Random(3)
    with server.client() as client:
        with client.pipeline(transaction=False) as pipe:
            for at in range(20_000):
                name = rng.choice(("soon", "late"))
                pipe.set(f"{name}:{at}", b"x" * 200, ex=600 if name == "soon" else 90_000)
            pipe.execute()
        source = await open_source(parse_target(server.url))
        *_, sample = [one async for one in sample_keys(source)]
        await source.close()
        foretold = outlook(sample.facts, sample.total, policy)
        before = set(client.scan_iter(count=1000))
        limit = round(client.info("memory")["used_memory"] - foretold.freed_bytes)
        client.config_set("maxmemory", limit)
        while client.info("memory")["used_memory"] > limit:
            client.set("soon:last", "x")  # each write evicts
        gone = before - set(client.scan_iter(count=1000))
    shares = dict(foretold.shares)
    soon = sum(prefix_of(key) == b"soon:*" for key in gone) / len(gone)
    assert shares[b"soon:*"].low - 0.05 <= soon <= shares[b"soon:*"].high + 0.05
    assert foretold.keys is not None and 0.6 < len(gone) / foretold.keys < 1.6
