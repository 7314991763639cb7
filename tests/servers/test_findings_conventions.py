"""Rules about what the patterns keep, provoked on real servers with the library itself; what is in order is silent."""

from __future__ import annotations

import pytest
import redis

from cachetui.patterns import CacheAside, Tags, Versioned, WriteBehind
from tests.servers.launch import Server
from tests.servers.program import run

CONVENTIONS = {"write-behind-backlog", "dead-letters", "locks-for-ever", "staying-versions"}


def found(server: Server) -> dict[str, dict[str, object]]:
    document = run("analyze", server.url, "--json", "--keys", "1000").json()
    return {one["id"]: one for one in document["recommendations"] if one["id"] in CONVENTIONS}


@pytest.fixture
def client(redis7: Server) -> redis.Redis:
    client = redis7.client()
    with client.pipeline(transaction=False) as pipe:
        for at in range(300):
            pipe.set(f"page:{at}", "x", ex=900 + at)
        pipe.execute()
    return client


def test_what_is_in_order_is_silent(redis7: Server, client: redis.Redis) -> None:
    pages = CacheAside(client, lambda key: "value", 60)
    for at in range(20):
        pages.get(f"page:{at}")
    Tags(client).add("page:1", ["new"], 60)
    shop = Versioned(client, "shop", 900)
    with client.pipeline(transaction=False) as pipe:
        for at in range(200):
            pipe.set(shop.key(f"item:{at}"), "x", ex=900 + at)
        pipe.execute()
    queue = WriteBehind(client, "stock")
    for at in range(10):
        queue.put(f"stock:{at}", b"1")
    assert found(redis7) == {}


def test_updates_that_nobody_flushes(redis7: Server, client: redis.Redis) -> None:
    queue = WriteBehind(client, "stock", max_backlog=5000)
    for at in range(1200):
        queue.put(f"stock:{at}", b"%d" % at)
    mine = found(redis7)
    assert set(mine) == {"write-behind-backlog"} and "behind:{stock" in str(mine["write-behind-backlog"]["issue"])


def test_dead_letters(redis7: Server, client: redis.Redis) -> None:
    client.xadd("behind:{stock:0}:dead", {"key": "stock:1", "error": "no such row"})
    assert set(found(redis7)) == {"dead-letters"}


def test_a_lock_without_a_lease(redis7: Server, client: redis.Redis) -> None:
    client.set("lock:{report}", "w:1")
    client.set("lock:{page:1}", "r:1", px=60_000)
    mine = found(redis7)
    assert set(mine) == {"locks-for-ever"} and mine["locks-for-ever"]["evidence"] == {"locks": ["lock:{report}"]}


def test_versions_that_stay(redis7: Server, client: redis.Redis) -> None:
    shop = Versioned(client, "shop", 900)
    with client.pipeline(transaction=False) as pipe:
        for at in range(300):
            pipe.set(shop.key(f"item:{at}"), "x")
        pipe.execute()
    assert client.get("shop:version") is not None or client.set("shop:version", 1)
    assert set(found(redis7)) == {"staying-versions"}
