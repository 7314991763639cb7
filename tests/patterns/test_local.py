"""Attempts to get an old value out of the first level, and what happens to patterns in a failover."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from cachetui.patterns import CacheAside, CircuitBreaker, Local, Unsupported, Versioned, WriteThrough, aio
from tests.patterns.conftest import Gate, sync_client
from tests.servers import launch
from tests.servers.demo_process import until
from tests.servers.launch import Server


@pytest.fixture
def listening(redis_like: Server) -> Iterator[tuple[Any, CacheAside]]:
    client = sync_client("redis", redis_like)
    cache = CacheAside(client, str.encode, 60, prefix="l:", local=Local())
    until(lambda: cache._local is not None and cache._local.live, 10)
    yield client, cache
    cache.close()
    client.close()


def warm(cache: CacheAside, key: str = "a") -> None:
    """Get a key until the local level answers."""

    def local_hit() -> bool:
        before = cache.counts.local_hits
        cache.get(key)
        return cache.counts.local_hits > before

    until(local_hit, 10)


def test_a_hit_costs_no_command_and_a_change_is_heard(listening: tuple[Any, CacheAside]) -> None:
    client, cache = listening
    warm(cache)
    before = client.info("stats")["total_commands_processed"]
    assert [cache.get("a") for _ in range(100)] == [b"a"] * 100
    assert client.info("stats")["total_commands_processed"] <= before + 3
    client.set("l:a", b"changed")
    until(lambda: cache.get("a") == b"changed", 10)
    warm(cache)
    client.flushall()
    until(lambda: not cache._local._entries, 10)  # type: ignore[union-attr]


def test_own_invalidation_needs_no_message(listening: tuple[Any, CacheAside]) -> None:
    _, cache = listening
    for number in range(10):
        warm(cache)
        cache.invalidate("a")
        assert not cache._local._entries, number  # type: ignore[union-attr]


def test_a_lost_connection_forgets_everything_and_comes_back(listening: tuple[Any, CacheAside]) -> None:
    client, cache = listening
    warm(cache)
    local = cache._local
    assert local is not None
    client.client_kill_filter(_type="normal", skipme=True)
    until(lambda: not local._entries, 10)
    until(lambda: local.live, 10)
    warm(cache)


def test_a_lookup_under_way_while_its_key_changes_is_not_kept() -> None:
    local = Local(max_entries=2)
    local._listener, local.live = threading.Thread(), True
    from cachetui.patterns.loading import Read

    for forget in (lambda: local.drop([b"a"]), local.clear):
        _, stamp = local.look(b"a")
        forget()
        local.keep(b"a", Read(b"old"), stamp)
        assert local.look(b"a")[0] is None
    stamps = {name: local.look(name)[1] for name in (b"a", b"b", b"c")}
    for name, stamp in stamps.items():
        local.keep(name, Read(name), stamp)
    assert [local.look(name)[0] is None for name in stamps] == [True, False, False], "the oldest went"
    _, stamp = local.look(b"z")
    local.drop([b"%d" % number for number in range(5000)])
    local.keep(b"z", Read(b"old"), stamp)
    assert local.look(b"z")[0] is None, "more was changed than is remembered"


async def test_the_same_with_asyncio(redis7: Server) -> None:
    async def load(key: str) -> bytes:
        return key.encode()

    async with redis.asyncio.Redis(port=redis7.port) as client:
        cache = aio.CacheAside(client, load, 60, prefix="l:", local=Local())
        async with asyncio.timeout(20):
            while not cache.counts.local_hits:
                assert await cache.get("a") == b"a"
            await client.set("l:a", b"changed")
            found = b""
            while found != b"changed":
                found = await cache.get("a")
                await asyncio.sleep(0)
        await cache.close()


def test_where_it_cannot_be_right_it_is_refused(cluster: list[Server], memcached: Server, redis7: Server) -> None:
    for kind, server in (("cluster", cluster), ("memcached", memcached)):
        client = sync_client(kind, server)
        with pytest.raises(Unsupported, match="local level"):
            CacheAside(client, str.encode, 60, prefix="l:", local=Local())
        client.close()
    with redis7.client() as client, pytest.raises(ValueError, match="prefix"):
        CacheAside(client, str.encode, 60, local=Local())


def test_patterns_go_on_after_a_failover(new_server: Callable[..., Server], gate: Gate) -> None:
    primary, replica = new_server("redis7"), new_server("redis7")
    replica.command("REPLICAOF", "127.0.0.1", str(primary.port))
    until(lambda: _follows(replica), 20)
    sentinel = launch.sentinel_server(launch.redis7(), primary, options=["sentinel failover-timeout mymaster 3000"])
    try:
        watching = redis.Redis(port=sentinel.port)
        until(lambda: len(watching.sentinel_slaves("mymaster")) == 1, 20)
        options: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "socket_timeout": 1}
        client = Sentinel([("127.0.0.1", sentinel.port)], sentinel_kwargs=options).master_for("mymaster", **options)
        gate.through.set()
        breaker = CircuitBreaker(failures=2, reset_s=0.05)
        cache = CacheAside(client, gate, 60, breaker=breaker)
        writer = WriteThrough(client, lambda *_: None, 60, on_error="bypass")
        version = Versioned(client, "shop", 60)
        assert writer.write("a", b"1") == "stored" and cache.get("a") == b"1"
        last = version.bump()
        client.execute_command("WAIT", 1, 5000)
        primary.kill()
        while watching.sentinel_get_master_addr_by_name("mymaster")[1] == primary.port:
            assert cache.get("b") == b"old", "no get fails meanwhile"
            time.sleep(0.02)
        until(lambda: writer.write("a", b"2") == "stored" and cache.get("a") == b"2", 20)
        assert version.bump() > last and client.connection_pool.get_master_address()[1] == replica.port
        client.close()
        watching.close()
    finally:
        launch.remove(sentinel)


def _follows(server: Server) -> bool:
    with server.client() as client:
        return bool(client.info("replication").get("master_link_status") == "up")
