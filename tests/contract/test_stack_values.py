"""Values of modules on a server that has them: JSON, time series, sketches, search indexes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from cachetui.model import Value
from cachetui.source.redis import RedisSource
from cachetui.source.redis.connection import command_name
from cachetui.source.redis.keys import LENGTH_COMMANDS, first_questions
from cachetui.source.redis.values import READERS, READS
from tests.contract.redis_targets import source_of
from tests.contract.test_redis_values_windows import rows_of, windows
from tests.servers.launch import Server

PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3])
NEWER = {"VCARD", "VINFO", "VRANGE", "VRANDMEMBER", "VEMB", "ARINFO", "ARSCAN", "ARCOUNT"}
"""Commands of servers that the tests do not have."""


def sections_of(value: Value) -> dict[str, dict[str, str]]:
    """Return each section of two columns as a dict by its title."""
    return {section.title: dict(row[:2] for row in section.rows) for section in value.sections}  # type: ignore[misc]


async def test_every_command_that_looks_only_reads(stack: Server, redis7: Server, valkey9: Server) -> None:
    facts = {"TYPE", "PTTL", "OBJECT ENCODING", "OBJECT FREQ", "OBJECT IDLETIME", "MEMORY USAGE"}
    every = READS | facts | set(LENGTH_COMMANDS.values())
    for policy in ("noeviction", "allkeys-lfu"):
        assert {command_name(command) for command in first_questions(b"k", size=True, policy=policy)} <= facts
    known = set()
    for server in (redis7, valkey9, stack):
        async with source_of(server) as source:
            flags = await source.flags(sorted(every))
        for name, found in flags.items():
            if found is not None:
                assert "write" not in found and "admin" not in found, (name, found)
                known.add(name)
    assert every - known == NEWER


async def test_looking_changes_nothing(stack: Server) -> None:
    keys = arrange_all(stack)
    with stack.client() as client:
        client.pfadd("hyperloglog", *range(2_000))
        client.hset("hash", mapping={str(number): number for number in range(1_000)})
        client.zadd("zset", {"m": 1})
        client.xadd("stream", {"f": "v"})
        client.xgroup_create("stream", "g", id="0")
        client.setrange("zeros", 100_000, "x")
        before = client.info("persistence")["rdb_changes_since_last_save"]
        async with source_of(stack) as source:
            for key in (*keys, "hyperloglog", "hash", "zset", "stream", "zeros"):
                for order in ("", "descending", "oldest", "geo", "bits"):
                    assert await windows(source, key.encode(), order=order, rows=1_000)
        assert client.info("persistence")["rdb_changes_since_last_save"] == before


# JSON


@PROTOCOLS
async def test_a_small_document_comes_whole(stack: Server, protocol: int) -> None:
    document = {"a": 1, "b": [1, 2, {"c": None}], "text": "\u001b[31m é"}
    stack.command("JSON.SET", "doc", "$", json.dumps(document))
    async with source_of(stack, protocol=protocol) as source:
        value = await source.value(b"doc")
        assert (value.facts.type, value.columns, value.note, value.next) == ("ReJSON-RL", ("value",), "", None)
        assert json.loads(value.items[0].data) == document
        pieces = await windows(source, b"doc", max_bytes=10)
    assert b"".join(item.data for piece in pieces for item in piece.items) == value.items[0].data
    assert pieces[0].total == len(value.items[0].data)


NAMES = ["plain", 'with "quotes"', "back\\slash", "dot.ted", "[0]", "", "é", "line\nbreak", "$", "*", "'"]


@PROTOCOLS
async def test_a_large_object_comes_by_its_members(stack: Server, protocol: int) -> None:
    document: dict[str, object] = {f"m{number:04}": {"n": number, "s": "x" * 300} for number in range(1_000)}
    document |= {name: [name] for name in NAMES}
    document["large"] = ["y" * 1000] * 500
    stack.command("JSON.SET", "doc", "$", json.dumps(document))
    async with source_of(stack, protocol=protocol) as source:
        found = await windows(source, b"doc", rows=100)
    assert len(found) == -(-len(document) // 100)
    assert {value.total for value in found} == {len(document)} and {value.note for value in found} == {""}
    items = {item.label.decode(): item for value in found for item in value.items}
    assert set(items) == set(document)
    large = items.pop("large")
    assert large.data.startswith(b"(array of ") and large.data.endswith(b"not read)")
    assert large.total_bytes is not None and large.total_bytes > 500_000
    assert {name: json.loads(item.data) for name, item in items.items()} == {
        name: content for name, content in document.items() if name != "large"
    }


@PROTOCOLS
async def test_a_large_array_comes_by_its_elements(stack: Server, protocol: int) -> None:
    document = [{"n": number, "text": "z" * 100} for number in range(3_000)]
    stack.command("JSON.SET", "doc", "$", json.dumps(document))
    async with source_of(stack, protocol=protocol) as source:
        found = await windows(source, b"doc", rows=250)
    assert found[0].columns == ("index", "value") and len(found) == 12
    rows = rows_of(found)
    assert [int(label) for label, _, _ in rows] == list(range(3_000))
    assert [json.loads(data) for _, data, _ in rows] == document


async def test_a_large_text_in_a_document_is_told_of_only(stack: Server) -> None:
    stack.command("JSON.SET", "doc", "$", json.dumps("q" * 1_000_000))
    async with source_of(stack) as source:
        value = await source.value(b"doc")
    assert value.items == () and value.note.startswith("one string of ") and "too large" in value.note


# Time series


@PROTOCOLS
async def test_a_series_with_its_points(stack: Server, protocol: int) -> None:
    begin = 1_700_000_000_000
    with stack.client() as client:
        client.execute_command("TS.CREATE", "ts", "LABELS", "host", "a\x1b[2J")
        pipeline = client.pipeline(transaction=False)
        for number in range(5_000):
            pipeline.execute_command("TS.ADD", "ts", begin + 1000 * number, math.sin(number / 500))
        pipeline.execute()
    async with source_of(stack, protocol=protocol) as source:
        first = await source.value(b"ts")
        assert first.total == 5_000 and len(first.items) == 20 and first.columns == ("timestamp", "value")
        assert first.items[0].label == b"%d" % (begin + 4_999_000)
        assert 100 <= len(first.points) <= 200
        assert first.points[0][0] <= begin / 1000 + 26 and first.points[-1][0] <= begin / 1000 + 5_000
        assert all(abs(value - math.sin((at - begin / 1000) / 500)) < 0.06 for at, value in first.points)
        assert sections_of(first)["time series"]["labels"] == "host=a\\x1b[2J"
        rows = rows_of(await windows(source, b"ts"))
    assert [int(label) for label, _, _ in rows] == [begin + 1000 * number for number in reversed(range(5_000))]


async def test_series_that_are_empty_or_hold_one_sample(stack: Server) -> None:
    stack.command("TS.CREATE", "empty")
    stack.command("TS.ADD", "one", "1000", "2.5")
    async with source_of(stack) as source:
        empty, one = await source.value(b"empty"), await source.value(b"one")
    assert (empty.items, empty.points, empty.total, empty.next) == ((), (), 0, None)
    assert one.points == ((1.0, 2.5),) and one.items[0].data == b"2.5"


async def test_of_a_long_series_the_end_is_drawn(stack: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachetui.source.redis.values.series.SAMPLES_DRAWN", 100)
    with stack.client() as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(1_000):
            pipeline.execute_command("TS.ADD", "ts", 1_000_000 + 1000 * number, number)
        pipeline.execute()
    async with source_of(stack) as source:
        value = await source.value(b"ts")
    assert value.points[0][0] >= 1_000 + 890 and value.points[-1][0] <= 1_000 + 1_000
    assert any(section.title.startswith("drawn: the last 1m39s") for section in value.sections)


# Sketches


@PROTOCOLS
async def test_sketches_tell_their_figures(stack: Server, protocol: int) -> None:
    with stack.client() as client:
        for number in range(50):
            client.execute_command("BF.ADD", "bloom", number)
            client.execute_command("CF.ADD", "cuckoo", number)
        client.execute_command("CMS.INITBYDIM", "cms", 100, 5)
        client.execute_command("CMS.INCRBY", "cms", "a", 3)
        client.execute_command("TOPK.RESERVE", "top", 50)
        client.execute_command("TOPK.ADD", "top", *("a" * 5), *("b" * 3), *range(30))
        client.execute_command("TDIGEST.CREATE", "digest")
        client.execute_command("TDIGEST.ADD", "digest", *range(1, 101))
    async with source_of(stack, protocol=protocol) as source:
        seen = {key: await source.value(key.encode()) for key in ("bloom", "cuckoo", "cms", "top", "digest")}
        top = rows_of(await windows(source, b"top", rows=10))
    figures = {key: sections_of(value) for key, value in seen.items()}
    assert all(value.note == "" for value in seen.values())
    assert figures["bloom"]["bloom filter"]["Number of items inserted"] == "50" and seen["bloom"].total == 50
    assert figures["cuckoo"]["cuckoo filter"]["Bucket size"] == "2" and seen["cuckoo"].total == 50
    assert figures["cms"]["count-min sketch"] == {"width": "100", "depth": "5", "count": "3"}
    assert figures["top"]["top-k"]["k"] == "50" and seen["top"].columns == ("member", "count")
    assert top[:2] == [(b"", b"a", 5.0), (b"", b"b", 3.0)] and len(set(top)) == 32
    assert figures["digest"]["t-digest"]["Observations"] == "100"
    assert abs(float(figures["digest"]["quantiles"]["0.5"]) - 50) <= 2
    assert float(figures["digest"]["quantiles"]["1"]) == 100


async def test_an_empty_digest_has_no_quantiles(stack: Server) -> None:
    stack.command("TDIGEST.CREATE", "digest")
    async with source_of(stack) as source:
        value = await source.value(b"digest")
    assert value.note == "" and set(sections_of(value)["quantiles"].values()) == {"nan"}


# Search


@pytest.fixture
def index(stack: Server) -> Callable[..., None]:
    for name in stack.command("FT._LIST"):  # type: ignore[attr-defined]
        stack.command("FT.DROPINDEX", name)

    def create(name: str, kind: str, *prefixes: str) -> None:
        schema = ("f", "TEXT") if kind == "HASH" else ("$.f", "AS", "f", "TEXT")
        where = ("PREFIX", str(len(prefixes)), *prefixes) if prefixes else ()
        stack.command("FT.CREATE", name, "ON", kind, *where, "SCHEMA", *schema)

    return create


def indexes(value: Value) -> list[str]:
    return [row[0] for section in value.sections if section.title.startswith("search indexes") for row in section.rows]


@PROTOCOLS
async def test_indexes_that_cover_a_key(stack: Server, index: Callable[..., None], protocol: int) -> None:
    index("users\x1b[31m", "HASH", "user:", "u:")
    index("every", "HASH")
    index("documents", "JSON", "user:")
    index("others", "HASH", "other:")
    stack.command("HSET", "user:1", "f", "v")
    stack.command("HSET", "x", "f", "v")
    stack.command("SET", "user:s", "v")
    stack.command("JSON.SET", "user:2", "$", '{"f":"v"}')
    async with source_of(stack, protocol=protocol) as source:
        assert indexes(await source.value(b"user:1")) == ["every", "users\\x1b[31m"]
        assert indexes(await source.value(b"x")) == ["every"]
        assert indexes(await source.value(b"user:2")) == ["documents"]
        assert indexes(await source.value(b"user:s")) == []
        # Their definitions are asked for once in a minute.
        assert source.sent["ft._list"] == 1 and source.sent["ft.info"] == 4


async def test_many_indexes_are_not_all_looked_at(stack: Server, index: Callable[..., None]) -> None:
    for number in range(25):
        index(f"i{number:02}", "HASH", "user:")
    stack.command("HSET", "user:1", "f", "v")
    async with source_of(stack) as source:
        value = await source.value(b"user:1")
        assert source.sent["ft.info"] == 20
    assert len(indexes(value)) == 20
    assert [section.title for section in value.sections] == ["search indexes: of the first 20 of 25"]
    index("last", "HASH", "x")


async def test_indexes_are_not_asked_for_in_a_hurry(
    stack: Server, index: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    index("users", "HASH", "user:")
    stack.command("HSET", "user:1", "f", "v")
    async with source_of(stack) as source:
        monkeypatch.setattr("cachetui.source.redis.values.search.HURRY_S", 0.0)
        value = await source.value(b"user:1")
        assert value.items[0].data == b"v" and source.sent["ft._list"] == 0
        assert [section.title for section in value.sections] == [
            "search indexes: not asked for, the server takes long to answer"
        ]
        monkeypatch.setattr("cachetui.source.redis.values.search.HURRY_S", 100.0)
        assert indexes(await source.value(b"user:1")) == ["users"]
        # What is known is shown, however old.
        monkeypatch.setattr("cachetui.source.redis.values.search.HURRY_S", 0.0)
        monkeypatch.setattr("cachetui.source.redis.values.search.KEPT_S", -1.0)
        assert indexes(await source.value(b"user:1")) == ["users"] and source.sent["ft._list"] == 1


async def test_a_server_without_search_is_not_asked(redis7: Server) -> None:
    redis7.command("HSET", "h", "f", "v")
    async with source_of(redis7) as source:
        assert (await source.value(b"h")).sections == ()
        assert source.sent["ft._list"] == 0


# What is denied or wrong


def arrange_all(server: Server) -> dict[str, str]:
    """Write a key of every type of module; return the command that tells of each."""
    server.command("JSON.SET", "json", "$", "1")
    server.command("TS.ADD", "series", "1000", "1")
    server.command("BF.ADD", "bloom", "a")
    server.command("CF.ADD", "cuckoo", "a")
    server.command("CMS.INITBYDIM", "cms", "10", "2")
    server.command("TOPK.RESERVE", "top", "3")
    server.command("TDIGEST.CREATE", "digest")
    commands = {"json": "JSON.TYPE", "series": "TS.INFO", "bloom": "BF.INFO", "cuckoo": "CF.INFO"}
    return {**commands, "cms": "CMS.INFO", "top": "TOPK.INFO", "digest": "TDIGEST.INFO"}


async def read(source: RedisSource, keys: dict[str, str]) -> dict[str, Value]:
    return {key: await source.value(key.encode()) for key in keys}


async def test_module_commands_denied_by_acl_are_said(stack: Server) -> None:
    keys = arrange_all(stack)
    stack.command("HSET", "h", "f", "v")
    denied = [f"-{name.lower()}" for name in keys.values()]
    stack.command("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+@all", "-ft._list", *denied)
    try:
        async with source_of(stack, user="narrow", password="pw") as source:
            for key, value in (await read(source, keys)).items():
                assert value.items == () and value.note.startswith(f"{keys[key]}: not permitted"), (key, value)
                assert value.facts.type in READERS
            hash_ = await source.value(b"h")
            assert hash_.items[0].data == b"v" and hash_.note == ""
            assert hash_.sections[0].title.startswith("search indexes: FT._LIST: not permitted")
    finally:
        stack.command("ACL", "DELUSER", "narrow")


async def test_parts_that_are_denied_leave_the_rest(stack: Server) -> None:
    stack.command("JSON.SET", "json", "$", '{"a": 1}')
    stack.command("TS.ADD", "series", "1000", "1")
    stack.command("TDIGEST.CREATE", "digest")
    rules = ("-ts.range", "-tdigest.quantile", "-memory|usage", "-json.debug")
    stack.command("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+@all", *rules)
    try:
        async with source_of(stack, user="narrow", password="pw") as source:
            seen = await read(source, {"json": "", "series": "", "digest": ""})
    finally:
        stack.command("ACL", "DELUSER", "narrow")
    # Where nobody says how large a document is, it is read member by member, and each is judged.
    assert seen["json"].items[0].label == b"a" and b"JSON.DEBUG" in seen["json"].items[0].data
    assert seen["series"].items[0].data == b"1" and seen["series"].points == ()
    assert any("points: TS.RANGE: not permitted" in section.title for section in seen["series"].sections)
    assert any("quantiles: TDIGEST.QUANTILE: not" in section.title for section in seen["digest"].sections)
    assert all("MEMORY USAGE denied" in value.facts.note for value in seen.values())


async def test_windows_that_do_not_exist_are_said(stack: Server) -> None:
    keys = arrange_all(stack)
    async with source_of(stack) as source:
        for key in keys:
            for start in (b"", b"x", b"-1", b"\xff", b"9" * 30):
                value = await source.value(key.encode(), start=start)
                assert value.facts.exists and value.start == start and value.next is None
