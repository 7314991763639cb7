"""Attempts to keep a tagged or versioned value alive past its invalidation, and to let a tag's set grow."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import Any

import pytest

from cachetui.keyspace.versions import version_rule
from cachetui.patterns import CacheAside, Tags, Unsupported, Versioned, aio
from tests.patterns.conftest import Gate
from tests.servers.demo_process import until
from tests.servers.launch import Server

REDIS_LIKE = ("redis7", "valkey9", "cluster")
redis_likes = pytest.mark.parametrize("kind", REDIS_LIKE)


@redis_likes
def test_a_tag_takes_its_keys_with_it(client: Any) -> None:
    cache = CacheAside(client, str.encode, 60, prefix="p:", tags=["all"])
    red = CacheAside(client, str.encode, 60, prefix="p:", tags=["all", "red"])
    for number in range(60):
        assert (red if number % 2 else cache).get(f"k{number}") == b"k%d" % number
    tags = Tags(client)
    assert len(tags.members("all")) == 60 and len(tags.members("red")) == 30
    assert client.type("tag:all") == b"set" and client.sismember("tag:red", "p:k1")
    assert tags.invalidate("red") == 30 and tags.members("red") == set()
    assert client.get("p:k0") == b"k0" and client.get("p:k1") is None
    assert tags.invalidate("all", "none") == 30
    assert [client.get(f"p:k{number}") for number in range(60)] == [None] * 60


@redis_likes
def test_a_load_from_before_the_tag_was_invalidated_is_not_stored(client: Any, gate: Gate) -> None:
    cache = CacheAside(client, gate, 60, tags=["t"])
    thread = threading.Thread(target=lambda: cache.get("a"))
    thread.start()
    assert gate.asked.wait(10)
    Tags(client).invalidate("t")
    gate.value = b"new"
    gate.through.set()
    thread.join()
    assert cache.get("a") == b"new" == client.get("a")
    assert Tags(client).invalidate("t") == 1, "it was tagged again"


@redis_likes
def test_members_leave_with_their_time_and_the_set_expires(client: Any) -> None:
    tags = Tags(client)
    for number in range(300):
        tags.add(f"short{number}", ["t"], 0.05)
    tags.add("long", ["t"], 100)
    assert 90_000 < client.pttl("tag:t") <= 100_000

    def only_the_living() -> bool:
        tags.add("other", ["t"], 60)
        return tags.members("t") == {b"long", b"other"}

    until(only_the_living, 10)
    assert client.zcard("expiry:{tag:t}") == 2
    tags.add("brief", ["gone"], 0.05)
    until(lambda: not client.exists("tag:gone") and not client.exists("expiry:{tag:gone}"), 10)


def test_members_that_others_put_in_are_removed_too(redis_like: Server) -> None:
    with redis_like.client() as client:
        client.set("page:1", "x")
        client.sadd("tag:new", "page:1", "page:2")
        assert Tags(client).invalidate("new") == 1 and not client.exists("tag:new", "page:1")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["redis7", "cluster"])
async def test_after_an_invalidation_by_tag_nobody_reads_the_old_value(aclient: Any, seed: int) -> None:
    rng, now = random.Random(seed), 0
    least = 0

    async def load(_key: str) -> bytes:
        value = now
        for _ in range(rng.randrange(6)):
            await asyncio.sleep(0)
        return b"%d" % value

    caches = [aio.CacheAside(aclient, load, 60, tags=["t"]) for _ in range(2)]
    tags = aio.Tags(aclient)

    async def reading(cache: Any) -> None:
        while now < 40:
            before = least
            assert int(await cache.get(rng.choice("abc"))) >= before

    async def changing() -> None:
        nonlocal now, least
        while now < 40:
            now += 1
            await tags.invalidate("t")
            least = now

    async with asyncio.timeout(30):
        await asyncio.gather(*(reading(cache) for cache in caches for _ in range(3)), changing())


def test_memcached_has_no_tags(memcached: Server) -> None:
    from tests.patterns.conftest import sync_client

    client = sync_client("memcached", memcached)
    with pytest.raises(Unsupported, match="use Versioned"):
        Tags(client)
    with pytest.raises(Unsupported, match="use Versioned"):
        CacheAside(client, str.encode, 60, tags=["t"])
    client.close()


def test_a_bump_leaves_all_old_keys_behind(client: Any, kind: str) -> None:
    shop = Versioned(client, "shop", 60)
    cache = CacheAside(client, str.encode, 60)
    before = shop.key("a")
    assert cache.get(before) == before.encode() and shop.key("a") == before
    after = shop.bump()
    assert shop.key("a") == f"shop:{after}:a" != before and shop.version() == after
    if kind != "memcached":
        assert 0 < client.ttl(before) <= 66, "old keys expire by themselves"
        assert 86_000 < client.ttl("shop:version") <= 86_400
    import re

    rule = version_rule(b"shop:version", after)
    assert rule.regex is not None and re.search(rule.regex, f"shop:{after}:a".encode())


def test_a_lost_version_never_comes_back(client: Any) -> None:
    shop = Versioned(client, "shop", 60)
    seen = [shop.version(), *(shop.bump() for _ in range(3))]
    client.delete("shop:version")
    time.sleep(0.01)
    seen += [shop.version(), shop.bump()]
    assert seen == sorted(seen) and len(set(seen)) == len(seen)


def test_a_version_is_asked_for_as_often_as_wanted(client: Any) -> None:
    lazy, other = Versioned(client, "shop", 60, refresh_s=100), Versioned(client, "shop", 60)
    known = lazy.version()
    assert other.bump() > known and lazy.version() == known
    assert lazy.bump() == lazy.version() == other.version()


async def test_versions_with_asyncio(aclient: Any) -> None:
    shop = aio.Versioned(aclient, "shop", 60)
    bumped = await asyncio.gather(*(shop.bump() for _ in range(20)))
    assert len(set(bumped)) == 20 and await shop.version() == max(bumped)
