"""Windows on values of every type: bounded, cut visibly, and honest about what they leave out."""

from __future__ import annotations

import pytest

from cachetui.errors import Denied
from tests.contract.redis_targets import source_of
from tests.servers.launch import Server

PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3])


@PROTOCOLS
async def test_small_values_of_every_type(redis_like: Server, protocol: int) -> None:
    with redis_like.client() as client:
        client.set("string", b"\x00\xff\x1b[31m")
        client.hset("hash", mapping={"f": "v"})
        client.rpush("list", "a", "b")
        client.sadd("set", "m")
        client.zadd("zset", {"m": 2})
        client.xadd("stream", {"f": "v"}, id="5-1")
        client.xadd("stream", {"g": "w"}, id="6-1")
    async with source_of(redis_like, protocol=protocol) as source:
        seen = {key: await source.value(key.encode()) for key in ("string", "hash", "list", "set", "zset", "stream")}
    rows = {key: [(item.label, item.data, item.score) for item in value.items] for key, value in seen.items()}
    assert rows == {
        "string": [(b"", b"\x00\xff\x1b[31m", None)],
        "hash": [(b"f", b"v", None)],
        "list": [(b"0", b"a", None), (b"1", b"b", None)],
        "set": [(b"", b"m", None)],
        "zset": [(b"", b"m", 2.0)],
        "stream": [(b"6-1", b"g=w", None), (b"5-1", b"f=v", None)],
    }
    assert {key: value.facts.type for key, value in seen.items()} == {key: key for key in seen}
    assert {key: value.total for key, value in seen.items()} == {
        **dict.fromkeys(("hash", "set", "zset"), 1),
        **dict.fromkeys(("list", "stream"), 2),
        "string": 7,
    }
    assert all(value.note == "" for value in seen.values())


async def test_big_values_come_as_windows(redis_like: Server) -> None:
    with redis_like.client() as client:
        client.set("string", b"s" * 1_500_000)
        client.rpush("list", *[b"e" * 100] * 1000, b"tail")
        client.rpush("heavy", *[b"e" * 3_000_000] * 10)
        pipeline = client.pipeline(transaction=False)
        for start in range(0, 100_000, 10_000):
            pipeline.hset("hash", mapping={f"field:{at}": at for at in range(start, start + 10_000)})
            pipeline.sadd("set", *range(start, start + 10_000))
            pipeline.zadd("zset", {str(at): at for at in range(start, start + 10_000)})
        pipeline.execute()
    async with source_of(redis_like) as source:
        string = await source.value(b"string", max_bytes=1000)
        assert string.items[0].data == b"s" * 1000
        assert string.total == string.items[0].total_bytes == 1_500_000
        for key in (b"hash", b"set", b"zset"):
            value = await source.value(key, rows=50)
            assert len(value.items) == 50 and value.total == 100_000 and value.note == ""
            assert len({(item.label, item.data) for item in value.items}) == 50
        assert len((await source.value(b"list", rows=30)).items) == 30
        heavy = await source.value(b"heavy", rows=100, max_bytes=10)
        assert 1 <= len(heavy.items) <= 3 and heavy.total == 10
        assert heavy.items[0].data == b"e" * 10 and heavy.items[0].total_bytes == 3_000_000


async def test_an_element_too_large_to_hold_is_said(redis7: Server) -> None:
    redis7.command("RPUSH", "huge", b"e" * 70_000_000)
    async with source_of(redis7, timeout_s=5) as source:
        value = await source.value(b"huge")
        assert value.items == () and "too large" in value.note and value.total == 1
        assert (await source.value(b"none")).note == "gone"


async def test_facts_of_many_keys(redis_like: Server) -> None:
    with redis_like.client() as client:
        client.set("a", "x" * 50, px=90_000)
        client.set("b", "12")
        client.hset("h", mapping={"f": "v", "g": "w"})
    async with source_of(redis_like) as source:
        a, gone, h, b = (await source.facts([b"a", b"gone", b"h", b"b"])).facts
        assert a.type == "string" and a.has_ttl and a.ttl_s is not None and 80 < a.ttl_s <= 90
        assert a.length == 50 and a.size_bytes and a.size_bytes > 50 and a.encoding in ("raw", "embstr")
        assert (gone.exists, gone.type, gone.size_bytes, gone.has_ttl) == (False, None, None, None)
        assert h.type == "hash" and h.length == 2 and h.has_ttl is False and h.ttl_s is None
        assert b.encoding == "int" and b.note == ""
        quick = (await source.facts([b"a", b"h"], size=False)).facts
        assert [facts.type for facts in quick] == ["string", "hash"]
        assert all(facts.size_bytes is None and facts.length is None for facts in quick)
        assert (await source.facts([])).facts == ()


async def test_lfu_tells_the_frequency(new_server) -> None:  # type: ignore[no-untyped-def]
    server = new_server("redis7", "--maxmemory-policy", "allkeys-lfu", "--maxmemory", "100mb")
    server.command("SET", "k", "v")
    async with source_of(server) as source:
        await source.poll("stats")
        (facts,) = (await source.facts([b"k"])).facts
    assert facts.frequency is not None and facts.idle_s is None and facts.note == ""


async def test_a_key_that_is_gone_and_one_that_changed(redis_like: Server) -> None:
    async with source_of(redis_like) as source:
        value = await source.value(b"nothing")
        assert value.note == "gone" and value.items == () and not value.facts.exists


async def test_hash_field_ttl(valkey9: Server) -> None:
    valkey9.command("HSET", "h", "short", "1", "long", "2")
    valkey9.command("HEXPIRE", "h", "1000", "FIELDS", "1", "short")
    async with source_of(valkey9) as source:
        value = await source.value(b"h")
    ttl = {item.label: item.ttl_s for item in value.items}
    assert ttl[b"long"] is None and ttl[b"short"] is not None and 900 < ttl[b"short"] <= 1000


async def test_a_key_acl_marks_what_it_denies(redis_like: Server) -> None:
    redis_like.command("SET", "open:1", "v")
    redis_like.command("SET", "closed:1", "v")
    redis_like.command("ACL", "SETUSER", "narrow", "on", ">pw", "~open:*", "+@all")
    try:
        async with source_of(redis_like, user="narrow", password="pw") as source:
            opened, closed = (await source.facts([b"open:1", b"closed:1"])).facts
            assert opened.type == "string" and opened.note == ""
            assert closed.type is None and closed.exists and "TYPE denied" in closed.note
            assert (await source.value(b"closed:1")).items == ()
            (reply,) = await source.execute([(b"GET", b"closed:1")])
            assert isinstance(reply, Denied)
            assert "TYPE" not in source.denied and "GET" not in source.denied
            assert (await source.value(b"open:1")).items[0].data == b"v"
    finally:
        redis_like.command("ACL", "DELUSER", "narrow")
