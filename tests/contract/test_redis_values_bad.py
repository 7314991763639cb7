"""Values that change, vanish, are denied or make no sense: each is one true line, and nothing is raised."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from cachetui.model import KeyFacts, Value
from cachetui.source.redis import RedisSource
from cachetui.source.redis.connection import Argument
from cachetui.source.redis.values import READERS, Abilities, Window, read_value
from tests.contract.redis_targets import source_of
from tests.contract.test_stack_values import arrange_all
from tests.servers.launch import Server

CORE = ("string", "hash", "list", "set", "zset", "stream")


def fill(server: Server) -> None:
    with server.client() as client:
        client.set("string", "some text")
        client.hset("hash", mapping={"f": "v"})
        client.rpush("list", "a", "b")
        client.sadd("set", "m")
        client.zadd("zset", {"m": 2})
        client.xadd("stream", {"f": "v"})
        client.xgroup_create("stream", "g", id="0")


async def read_as(source: RedisSource, facts: KeyFacts, start: bytes | None = None, order: str = "") -> Value:
    """Read the value of a key of which `facts` were true a moment ago."""

    async def ask(commands: Sequence[Sequence[Argument]]) -> list[object]:
        return await source.execute(commands)  # type: ignore[arg-type]

    window = Window(100, 65_536, start, order)
    return await read_value(ask, facts, window, Abilities(field_ttl=False), taken_at=time.time())


async def test_a_type_that_changes_between_listing_and_opening(redis_like: Server) -> None:
    fill(redis_like)
    async with source_of(redis_like) as source:
        known = (await source.facts([key.encode() for key in CORE])).facts
        with redis_like.client() as client:
            client.flushall()
            for key in CORE:
                client.rpush(key, "other") if key != "list" else client.set(key, "other")
        for facts in known:
            for order in ("", "descending", "oldest", "geo", "bits"):
                value = await read_as(source, facts, order=order)
                assert (value.items, value.note) == ((), "type changed: open it again"), facts.type
        assert (await source.value(b"string")).items[0].data == b"other"


async def test_a_key_that_goes_between_listing_and_opening(redis_like: Server) -> None:
    fill(redis_like)
    async with source_of(redis_like) as source:
        known = (await source.facts([key.encode() for key in CORE])).facts
        redis_like.command("FLUSHALL")
        for facts in known:
            value = await read_as(source, facts)
            assert value.note == "gone" and not any(item.data for item in value.items), facts.type
            assert (await source.value(facts.key)).note == "gone"


async def test_a_key_that_is_renamed_between_windows(redis_like: Server) -> None:
    with redis_like.client() as client:
        client.hset("hash", mapping={f"field:{number}": number for number in range(2_000)})
        client.rpush("list", *range(2_000))
        client.set("string", "x" * 2_000)
        async with source_of(redis_like) as source:
            for key in ("hash", "list", "string"):
                first = await source.value(key.encode(), rows=10, max_bytes=10)
                assert first.next is not None
                client.rename(key, f"new:{key}")
                value = await source.value(key.encode(), rows=10, max_bytes=10, start=first.next)
                assert (value.items, value.note, value.next, value.facts.exists) == ((), "gone", None, False)
                moved = await source.value(f"new:{key}".encode(), rows=10, max_bytes=10, start=first.next)
                assert moved.items and moved.note == ""


async def test_values_of_modules_that_change_or_go(stack: Server) -> None:
    keys = arrange_all(stack)
    async with source_of(stack) as source:
        known = (await source.facts([key.encode() for key in keys])).facts
        stack.command("FLUSHALL")
        for facts in known:
            assert ((await read_as(source, facts)).note) == "gone", facts.type
        for key in keys:
            stack.command("SET", key, "v")
        for facts in known:
            value = await read_as(source, facts)
            assert (value.items, value.note) == ((), "type changed: open it again"), facts.type


async def test_windows_that_are_no_longer_there(redis_like: Server) -> None:
    fill(redis_like)
    async with source_of(redis_like) as source:
        for key in CORE:
            for start in (b"", b"x", b"-5", b"\xff\x00", b"9" * 40, b"1:2:3", b"0+%%", b"5-", b"a:b:c:d"):
                value = await source.value(key.encode(), start=start)
                assert value.items == () and value.next is None, (key, start)
                assert "no such window" in value.note, (key, start, value.note)
            far = await source.value(key.encode(), start={"stream": b"0-0"}.get(key, b"1000000"))
            assert far.items == () and far.next is None
        assert "shorter now" in (await source.value(b"string", start=b"1000000")).note


async def test_a_value_that_has_grown_to_half_a_gigabyte(redis7: Server) -> None:
    redis7.command("SET", "big", "x")
    async with source_of(redis7, timeout_s=10) as source:
        (facts,) = (await source.facts([b"big"])).facts
        redis7.command("SETRANGE", "big", "536870911", "y")
        try:
            began = source.sent.total()
            value = await source.value(b"big")
            assert source.sent.total() - began <= 12
            assert value.total == 536_870_912 and len(value.items[0].data) == 65_536 and value.next == b"65536"
            grown = await read_as(source, facts)
            assert grown.total == 536_870_912 and grown.items[0].data.startswith(b"x\0")
            end = await source.value(b"big", start=b"536870910", max_bytes=1000)
            assert (end.items[0].data, end.next) == (b"\0y", None)
            bits = await source.value(b"big", order="bits")
            assert [item.data for item in bits.items] == [b"1", b"2", b"3", b"4"] and bits.next is not None
        finally:
            redis7.command("UNLINK", "big")


@pytest.mark.parametrize("name", [b"", b"\xff\x00\x1b[2J\r\n", b"n" * 1_000_000, "ключ".encode(), b"{a} b"])
async def test_names_of_every_kind(redis_like: Server, name: bytes) -> None:
    async with source_of(redis_like) as source:
        for write in (
            ("SET", name, "v"),
            ("HSET", name, name, "v"),
            ("SADD", name, name),
            ("XADD", name, "*", name, "v"),
        ):
            redis_like.command("DEL", name)
            redis_like.command(*write)
            value = await source.value(name, max_bytes=2_000_000)
            assert value.facts.key == name and len(value.items) == 1 and value.note == ""
            held = value.items[0].label + value.items[0].data
            assert write[0] == "SET" or name in held


async def test_large_names_in_a_token(redis_like: Server) -> None:
    members = {bytes([65 + number % 26]) * 3_000 + b"%d" % number for number in range(600)}
    with redis_like.client() as client:
        client.sadd("set", *members)
        client.hset("hash", mapping=dict.fromkeys(members, b"v"))
    async with source_of(redis_like) as source:
        for key in (b"set", b"hash"):
            found: set[bytes] = set()
            start, count = None, 0
            while start is not None or not count:
                value = await source.value(key, rows=7, start=start)
                found |= {item.label or item.data for item in value.items}
                count += len(value.items)
                start = value.next
                assert start is None or len(start) < 10_000
            assert found == members and count == len(members)


async def test_without_memory_usage(redis_like: Server) -> None:
    fill(redis_like)
    redis_like.command("RPUSH", "heavy", *["e" * 3_000_000] * 25)
    denied = "-memory" if redis_like.command("INFO").get("redis_version", "").startswith("6") else "-memory|usage"  # type: ignore[attr-defined]
    redis_like.command("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+@all", denied)
    try:
        async with source_of(redis_like, user="narrow", password="pw", timeout_s=10) as source:
            for key in CORE:
                value = await source.value(key.encode())
                assert value.items and value.note == "" and value.facts.size_bytes is None
                assert "MEMORY USAGE denied" in value.facts.note
            # Nobody says how large the elements are: together they are too much, so one comes alone.
            heavy = await source.value(b"heavy", max_bytes=10)
            assert [item.total_bytes for item in heavy.items] == [3_000_000] and heavy.next == b"1"
            assert (await source.value(b"string")).items[0].data == b"some text"
    finally:
        redis_like.command("ACL", "DELUSER", "narrow")
        redis_like.command("DEL", "heavy")


async def test_commands_denied_by_acl_are_said(redis_like: Server) -> None:
    fill(redis_like)
    refused = ("getrange", "hscan", "lrange", "sscan", "zrange", "xrevrange")
    redis_like.command("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+@all", *(f"-{name}" for name in refused))
    try:
        async with source_of(redis_like, user="narrow", password="pw") as source:
            for key, name in zip(CORE, refused, strict=True):
                value = await source.value(key.encode())
                assert value.items == () and value.note.startswith(f"{name.upper()}: not permitted")
                assert value.total in (1, 2, 9)
    finally:
        redis_like.command("ACL", "DELUSER", "narrow")


async def test_what_surrounds_the_elements_may_be_denied(redis_like: Server) -> None:
    fill(redis_like)
    rules = ("-xinfo", "-strlen", "-llen", "-zcard", "-geopos", "-bitcount")
    redis_like.command("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+@all", *rules)
    try:
        async with source_of(redis_like, user="narrow", password="pw") as source:
            stream = await source.value(b"stream")
            assert stream.items and stream.note == ""
            assert [section.title.split(": not")[0] for section in stream.sections] == [
                "stream: XINFO STREAM",
                "groups: XINFO GROUPS",
            ]
            assert (await source.value(b"string", max_bytes=4)).next == b"4"
            assert (await source.value(b"string", max_bytes=40)).next is None
            assert (await source.value(b"list", rows=1)).next == b"1"
            assert (await source.value(b"list", order="descending")).items[0].data == b"b"
            assert "GEOPOS: not permitted" in (await source.value(b"zset", order="geo")).note
    finally:
        redis_like.command("ACL", "DELUSER", "narrow")


async def test_an_unknown_type_shows_its_facts(stack: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.command("CMS.INITBYDIM", "cms", "10", "2")
    monkeypatch.delitem(READERS, "CMSk-TYPE")
    async with source_of(stack) as source:
        value = await source.value(b"cms")
    assert (value.items, value.note, value.facts.type) == ((), "CMSk-TYPE: facts only", "CMSk-TYPE")
    assert value.facts.size_bytes and value.facts.has_ttl is False
    (told,) = value.sections
    length = len(stack.command("DUMP", "cms"))  # type: ignore[arg-type]
    assert (told.title, told.rows) == ("serialised", (("length", f"{length}B"),))


async def test_of_an_unknown_type_too_much_is_not_asked(stack: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.command("CMS.INITBYDIM", "large", "300000", "2")
    stack.command("CMS.INITBYDIM", "cms", "10", "2")
    monkeypatch.delitem(READERS, "CMSk-TYPE")
    stack.command("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+@all", "-dump")
    try:
        async with source_of(stack) as source, source_of(stack, user="narrow", password="pw") as narrow:
            large = await source.value(b"large")
            assert (large.sections, large.note, source.sent["dump"]) == ((), "CMSk-TYPE: facts only", 0)
            assert (await source.value(b"cms", start=b"1")).sections == () and source.sent["dump"] == 0
            denied = await narrow.value(b"cms")
            assert denied.note == "CMSk-TYPE: facts only"
            assert denied.sections[0].title.startswith("serialised: DUMP: not permitted")
            (facts,) = (await source.facts([b"cms"])).facts
            stack.command("DEL", "cms")
            assert (await read_as(source, facts)).note == "gone"
    finally:
        stack.command("ACL", "DELUSER", "narrow")
