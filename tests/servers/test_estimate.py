"""Estimates against real servers: exact where everything was looked through, and else within their own error."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from cachetui.config import parse_target
from cachetui.errors import BadUsage, Denied, Unsupported
from cachetui.keyspace import estimate as module
from cachetui.keyspace.distinct import Distinct
from cachetui.keyspace.estimate import estimate
from cachetui.model import ScanProgress, Selection
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers import launch
from tests.servers.launch import Server

MANY = 30_000


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[str], object]]:
    sources: list[Source] = []

    async def open_(url: str) -> Source:
        sources.append(await open_source(parse_target(url)))
        return sources[-1]

    yield open_
    for source in sources:
        await source.close()


def fill(server: Server, number: int = MANY, form: bytes = b"k:%d") -> list[bytes]:
    names = [form % at for at in range(number)]
    with server.client() as client:
        for start in range(0, number, 5_000):
            client.mset(dict.fromkeys(names[start : start + 5_000], "x"))
    return names


def writes(source: Source) -> set[str]:
    return {name for name in source.sent if name.split()[0].upper() in ("UNLINK", "DEL", "SET", "EXPIRE", "EVAL")}


async def test_a_rule_is_counted_and_its_sample_described(redis_like: Server, opened) -> None:  # type: ignore[no-untyped-def]
    fill(redis_like)
    fill(redis_like, 500, b"other:%d")
    with redis_like.client() as client:
        client.hset("k:hash", mapping={"f": "v" * 5000})
        for number in range(0, 3000, 3):
            client.expire(f"k:{number}", 1000)
    source = await opened(redis_like.url)
    seen: list[ScanProgress] = []
    found = await estimate(source, Selection(pattern=b"k:*"), sample=100, progress=seen.append, rng=random.Random(1))
    assert (found.keys, found.error, found.total, found.looked) == (MANY + 1, 0, MANY + 501, 100)
    assert found.bytes_each is not None and found.bytes_each > 20
    assert found.types[0][0] == "string"
    assert all(name.startswith(b"k:") for name in found.sample) and len(found.sample) == 100
    assert found.without_ttl is not None and 80 < found.without_ttl <= 100
    assert seen and seen[-1].seen >= MANY
    again = await estimate(source, Selection(pattern=b"k:*"), sample=100, rng=random.Random(1))
    assert again.sample == found.sample  # the same seed looks at the same keys
    assert not writes(source)


async def test_conditions_narrow_a_rule_exactly(redis_like: Server, opened) -> None:  # type: ignore[no-untyped-def]
    fill(redis_like, 6000)
    with redis_like.client() as client:
        for number in range(0, 6000, 4):
            client.expire(f"k:{number}", 1000)
        for number in range(40):
            client.sadd(f"set:{number}", "a")
    source = await opened(redis_like.url)

    async def keys(selection: Selection) -> tuple[int | None, int]:
        found = await estimate(source, selection)
        return found.keys, found.error

    assert await keys(Selection(regex=rb"^k:\d*7$")) == (600, 0)
    assert await keys(Selection(pattern=b"k:*", ttl=True)) == (1500, 0)
    assert await keys(Selection(pattern=b"k:*", ttl=False)) == (4500, 0)
    assert await keys(Selection(type_="set")) == (40, 0)
    assert await keys(Selection(pattern=b"nothing*")) == (0, 0)
    assert await keys(Selection()) == (6040, 0)


async def test_without_time_it_is_an_estimate_with_an_error(redis7: Server, opened) -> None:  # type: ignore[no-untyped-def]
    fill(redis7, 300_000)
    source = await opened(redis7.url)
    found = await estimate(source, Selection(regex=rb"[05]$"), limit_s=0.05)
    assert found.total == 300_000 and found.keys is not None
    if found.error:  # a quick machine has counted them all
        assert abs(found.keys - 60_000) <= 4 * found.error
        assert found.error < 300_000
    else:
        assert found.keys == 60_000
    assert (await estimate(source, Selection(regex=rb"[05]$"))).keys == 60_000


async def test_more_names_than_memory_are_estimated(redis7: Server, opened, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    fill(redis7, 200_000)
    monkeypatch.setattr(module, "Distinct", partial(Distinct, exact=20_000))
    found = await estimate(await opened(redis7.url), Selection(pattern=b"k:*"))
    assert found.keys is not None and abs(found.keys - 200_000) <= found.error
    assert 0 < found.error < 10_000


async def test_idle_times_are_judged_by_the_sample(redis7: Server, opened) -> None:  # type: ignore[no-untyped-def]
    fill(redis7, 5_000)
    fill(redis7, 300, b"few:%d")
    source = await opened(redis7.url)
    none = await estimate(source, Selection(pattern=b"k:*", idle_s=3600))
    assert none.keys == 0 and 0 < none.error < 100
    assert (await estimate(source, Selection(pattern=b"few:*", idle_s=3600))).error == 0
    every = await estimate(source, Selection(pattern=b"k:*", idle_s=0))
    assert every.keys == 5_000
    assert every.reads_per_s == 500  # all were used in the last ten seconds


async def test_idle_times_that_are_not_kept_are_unknown(redis7: Server, opened) -> None:  # type: ignore[no-untyped-def]
    fill(redis7, 50)
    redis7.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    try:
        source = await opened(redis7.url)
        assert (await estimate(source, Selection(pattern=b"k:*"))).reads_per_s is None
        with pytest.raises(Unsupported, match="not used"):
            await estimate(source, Selection(pattern=b"k:*", idle_s=60))
    finally:
        redis7.command("CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_a_list_is_looked_up(redis_like: Server, opened) -> None:  # type: ignore[no-untyped-def]
    names = fill(redis_like, 3000)
    source = await opened(redis_like.url)
    few = await estimate(source, Selection((b"k:1", b"k:2", b"gone", b"k:1")))
    assert (few.keys, few.error, few.gone, few.looked) == (3, 0, 1, 3)
    assert few.types == (("string", 2),) and few.sample[:2] == (b"k:1", b"k:2")
    many = await estimate(source, Selection(tuple(names)))
    assert (many.keys, many.error, many.looked) == (3000, 0, 1000)
    with redis_like.client() as client:
        for name in names[::2]:
            client.expire(name, 1000)
    half = await estimate(source, Selection(tuple(names), ttl=True))
    assert half.keys is not None and half.error > 0 and abs(half.keys - 1500) <= 3 * half.error
    assert (await estimate(source, Selection(tuple(names[:100]), ttl=True))).keys == 50


async def test_a_tag_has_members_stale_ones_and_itself(redis_like: Server, opened) -> None:  # type: ignore[no-untyped-def]
    fill(redis_like, 60)
    with redis_like.client() as client:
        client.sadd("tag:a", *(f"k:{number}" for number in range(100)))
        client.sadd("tag:big", *(f"member:{number}" for number in range(20_000)))
        client.set("tag:wrong", "x")
    source = await opened(redis_like.url)
    found = await estimate(source, Selection(tag=b"tag:a"))
    assert (found.keys, found.error, found.gone, found.looked) == (101, 0, 40, 100)
    big = await estimate(source, Selection(tag=b"tag:big"))
    assert (big.keys, big.gone, big.looked) == (20_001, 1000, 1000)
    missing = await estimate(source, Selection(tag=b"tag:none"))
    assert missing.keys == 0 and "no set tag:none" in missing.note
    with pytest.raises(BadUsage, match="is a string, not a set"):
        await estimate(source, Selection(tag=b"tag:wrong"))


async def test_memcached(memcached: Server, opened) -> None:  # type: ignore[no-untyped-def]
    from pymemcache.client.base import Client

    client = Client(("127.0.0.1", memcached.port), default_noreply=False)
    for number in range(3000):
        client.set(f"k:{number}", b"x" * 100, expire=500 if number % 3 == 0 else 0)
    client.set("other", b"x")
    client.close()
    source = await opened(f"memcached://{memcached.address}")
    found = await estimate(source, Selection(pattern=b"k:*"))
    assert (found.keys, found.error) == (3000, 0)
    assert found.total is not None and found.total >= 3001  # items of before are counted until they are found out
    assert found.types == (("item", 200),) and found.reads_per_s is not None
    assert (await estimate(source, Selection(pattern=b"k:*", ttl=True))).keys == 1000
    assert (await estimate(source, Selection((b"k:1", b"none")))).gone == 1


async def test_what_is_denied_is_said(redis7: Server, opened) -> None:  # type: ignore[no-untyped-def]
    fill(redis7, 50)
    redis7.command("ACL", "SETUSER", "some", "on", ">pw", "~*", "+@all", "-memory", "-info", "-object")
    redis7.command("ACL", "SETUSER", "blind", "on", ">pw", "~*", "+@all", "-scan")
    try:
        found = await estimate(await opened(f"redis://some:pw@{redis7.address}"), Selection(pattern=b"k:*"))
        assert (found.keys, found.bytes_each, found.reads_per_s) == (50, None, None)
        with pytest.raises(Denied, match="SCAN"):
            await estimate(await opened(f"redis://blind:pw@{redis7.address}"), Selection(pattern=b"k:*"))
    finally:
        redis7.command("ACL", "DELUSER", "some", "blind")


async def test_a_bad_expression_is_refused(redis7: Server, opened) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadUsage, match="regular expression"):
        await estimate(await opened(redis7.url), Selection(regex=b"(\x1b"))


async def test_it_can_be_cancelled(redis7: Server, opened) -> None:  # type: ignore[no-untyped-def]
    fill(redis7, 200_000)
    source = await opened(redis7.url)
    began = asyncio.Event()
    task = asyncio.create_task(estimate(source, Selection(regex=b"1"), progress=lambda _: began.set()))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await estimate(source, Selection((b"k:1",)))).gone == 0  # the source is as good as before


async def test_a_cluster_is_counted_over_all_shards(new_server: Callable[..., Server], opened) -> None:  # type: ignore[no-untyped-def]
    servers = [new_server("redis7", "--cluster-enabled", "yes") for _ in range(3)]
    launch.join_cluster(servers)
    source = await opened(f"redis+cluster://{servers[0].address}")
    from redis.cluster import RedisCluster

    with RedisCluster(host="127.0.0.1", port=servers[0].port) as client:
        for number in range(900):
            client.set(f"k:{number}", "x")
        client.sadd("tag:a", *(f"k:{number}" for number in range(850, 950)))
    found = await estimate(source, Selection(pattern=b"k:*"))
    assert (found.keys, found.error, found.total, found.looked) == (900, 0, 901, 200)
    tagged = await estimate(source, Selection(tag=b"tag:a"))
    assert (tagged.keys, tagged.gone) == (101, 50)
