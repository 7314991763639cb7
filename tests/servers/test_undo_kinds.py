"""What comes back is what was there: every kind of value, to the millisecond, on one server and many; or it is said."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from cachetui.actions.apply import Outcome
from cachetui.actions.journal import Journal
from cachetui.actions.spool import Head, Kept, Spool
from cachetui.actions.undo import directory_of, plan_of, undoing
from cachetui.config import parse_target
from cachetui.model import Selection
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers import launch
from tests.servers.launch import Server
from tests.servers.test_sweep import planned
from tests.servers.test_undo import edit, run

PAYLOAD = b"\x00\xff" * 700


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
async def opened() -> AsyncIterator[Any]:
    """Open sources by URL; they are closed at the end."""
    sources: list[Source] = []

    async def connect(url: str) -> Source:
        source = await open_source(parse_target(url))
        sources.append(source)
        await source.open()
        return source

    yield connect
    for source in sources:
        await source.close()


async def back(receipt: str, source: Source, journal: Journal) -> Outcome:
    return await run(await plan_of(source, undoing(journal, receipt)), source, journal)


def expiries(server: Server, keys: list[bytes]) -> list[int]:
    """Return when each key expires, in Unix milliseconds by the server's clock; -1: never."""
    script = (
        "local now = redis.call('TIME') local left = redis.call('PTTL', KEYS[1]) "
        "return left < 0 and left or left + now[1] * 1000 + math.floor(now[2] / 1000)"
    )
    with server.client() as client:
        return [client.eval(script, 1, key) for key in keys]


async def test_expiries_come_back_to_the_millisecond(redis_like: Server, journal: Journal, opened: Any) -> None:
    source, now_ms = await opened(redis_like.url), int(time.time() * 1000)
    keys = [b"k:%d" % at for at in range(50)]
    for at, key in enumerate(keys):
        redis_like.command("SET", key, "v")
        if at % 5:
            redis_like.command("PEXPIREAT", key, str(now_ms + 3_600_000 + 7919 * at))
    exact = source.identity.version >= "7" or source.identity.kind == "valkey"
    expected = expiries(redis_like, keys)
    before = [redis_like.command("PEXPIRETIME", key) for key in keys] if exact else []
    plan = planned(source, Selection(keys=tuple(keys)))
    await run(plan, source, journal)
    assert (await back(plan.id, source, journal)).done == 50
    if exact:
        assert [redis_like.command("PEXPIRETIME", key) for key in keys] == before
    else:  # it tells what is left, and its clock ticks on between the two
        after = expiries(redis_like, keys)
        assert all(abs(now - then) <= 2 for now, then in zip(after, expected, strict=True))


@pytest.mark.parametrize("name", ["valkey9", "stack"])
async def test_fields_keep_their_own_expiries(
    request: pytest.FixtureRequest, name: str, journal: Journal, opened: Any
) -> None:
    server: Server = request.getfixturevalue(name)
    source = await opened(server.url)
    server.command("HSET", "h", "lasts", "1", "ends", "2")
    server.command("HPEXPIRE", "h", "5000000", "FIELDS", "1", "ends")
    server.command("PEXPIRE", "h", "9000000")
    asked = ("HPEXPIRETIME", "h", "FIELDS", "2", "lasts", "ends")
    before = server.command(*asked), server.command("PEXPIRETIME", "h")
    plan = planned(source, Selection(keys=(b"h",)))
    assert (await run(plan, source, journal)).done == 1
    assert (await back(plan.id, source, journal)).done == 1
    assert (server.command(*asked), server.command("PEXPIRETIME", "h")) == before
    assert before[0][0] == -1 and before[0][1] > 0  # type: ignore[index]


async def test_values_of_modules_come_back(stack: Server, journal: Journal, opened: Any) -> None:
    source = await opened(stack.url)
    stack.command("JSON.SET", "json", "$", '{"a":[1,2,{"b":null}]}')
    stack.command("TS.ADD", "series", "1000", "1.5", "LABELS", "room", "a")
    stack.command("BF.ADD", "bloom", "x")
    stack.command("CF.ADD", "cuckoo", "x")
    stack.command("TOPK.RESERVE", "top", "3")
    stack.command("TOPK.ADD", "top", "x")
    looks = (
        ("JSON.GET", "json", "$"),
        ("TS.RANGE", "series", "-", "+"),
        ("TS.GET", "series"),
        ("BF.EXISTS", "bloom", "x"),
        ("CF.EXISTS", "cuckoo", "x"),
        ("TOPK.LIST", "top"),
    )
    before = [stack.command(*look) for look in looks]
    plan = planned(source, Selection(keys=(b"json", b"series", b"bloom", b"cuckoo", b"top")))
    assert (await run(plan, source, journal)).done == 5
    assert stack.command("DBSIZE") == 0
    outcome = await back(plan.id, source, journal)
    assert (outcome.done, outcome.failed) == (5, 0), outcome.line()
    assert [stack.command(*look) for look in looks] == before


async def test_a_stream_comes_back_with_its_groups_and_what_is_pending(
    redis_like: Server, journal: Journal, opened: Any
) -> None:
    source = await opened(redis_like.url)
    for at in range(1, 301):
        redis_like.command("XADD", "s", f"{at}-1", "field", b"\x00\xff%d" % at)
    redis_like.command("XDEL", "s", "7-1")
    redis_like.command("XGROUP", "CREATE", "s", "g", "0")
    redis_like.command("XREADGROUP", "GROUP", "g", "c", "COUNT", "5", "STREAMS", "s", ">")
    redis_like.command("XACK", "s", "g", "2-1")
    looks = (("XRANGE", "s", "-", "+"), ("XPENDING", "s", "g"), ("XINFO", "GROUPS", "s"), ("XLEN", "s"), ("DUMP", "s"))
    before = [redis_like.command(*look) for look in looks]
    plan = planned(source, Selection(keys=(b"s",)))
    assert (await run(plan, source, journal)).done == 1
    assert (await back(plan.id, source, journal)).done == 1
    assert [redis_like.command(*look) for look in looks] == before
    assert str(redis_like.command("XADD", "s", "*", "f", "v")) > "300-1"


@pytest.fixture
def plain(stack: Server) -> Iterator[Server]:
    """The server of `stack` without its modules."""
    server = launch.redis_server(stack.argv[0])
    yield server
    launch.remove(server)


def kept_elsewhere(journal: Journal, target: str, records: list[Kept]) -> str:
    """Leave copies as if they had been made on this target, and return their receipt."""
    receipt = "20260101-000000-000-00000000"
    head = Head(receipt, target, "redis", "Delete", 1.0, "delete")
    spool = Spool(directory_of(journal.path), head, 1 << 20)
    spool.add(records)
    spool.close()
    return receipt


@pytest.mark.parametrize("name", ["valkey9", "stack"])
async def test_an_older_server_says_that_it_cannot_read_the_copies_and_they_stay(
    request: pytest.FixtureRequest, name: str, redis7: Server, journal: Journal, opened: Any
) -> None:
    newer: Server = request.getfixturevalue(name)
    newer.command("SET", "k", "v")
    dump = newer.command("DUMP", "k")
    assert isinstance(dump, bytes)
    source = await opened(redis7.url)
    receipt = kept_elsewhere(journal, source.name, [Kept(b"k", dump)])
    outcome = await back(receipt, source, journal)
    assert (outcome.done, outcome.failed) == (0, 1) and outcome.exit_code == 4
    assert "newer or another kind of server" in outcome.reason and "version it was taken from" in outcome.reason
    assert redis7.command("DBSIZE") == 0
    assert undoing(journal, receipt).kept is not None, "it can still be brought back elsewhere"


async def test_a_missing_module_is_said_and_the_rest_comes_back(
    stack: Server, plain: Server, journal: Journal, opened: Any
) -> None:
    stack.command("JSON.SET", "j", "$", '{"a":1}')
    stack.command("SET", "s", "v")
    dumps = [stack.command("DUMP", key) for key in ("j", "s")]
    source = await opened(plain.url)
    records = [Kept(key, dump) for key, dump in zip((b"j", b"s"), dumps, strict=True)]  # type: ignore[arg-type]
    receipt = kept_elsewhere(journal, source.name, records)
    outcome = await back(receipt, source, journal)
    assert (outcome.done, outcome.failed) == (1, 1), outcome.line()
    assert "no module for this type" in outcome.errors[0].error.line()
    assert plain.command("GET", "s") == b"v"


async def test_the_shards_of_a_cluster_get_their_keys_back(journal: Journal, opened: Any) -> None:
    nodes = [launch.redis_server(launch.redis7(), "--cluster-enabled", "yes") for _ in "abc"]
    try:
        launch.join_cluster(nodes)
        source = await opened(f"redis+cluster://{nodes[0].address}")
        await source.execute([(b"SET", b"k:%d" % at, b"v %d" % at, b"PX", b"9000000") for at in range(1000)])
        before = await source.execute([(b"PEXPIRETIME", b"k:%d" % at) for at in range(1000)])
        plan = planned(source, Selection(pattern=b"k:*"), expected=1000)
        assert (await run(plan, source, journal)).done == 1000
        await source.execute([(b"SET", b"k:7", b"theirs")])
        outcome = await back(plan.id, source, journal)
        assert (outcome.done, outcome.skipped, outcome.failed) == (999, 1, 0), outcome.line()
        assert [some.names for some in outcome.left_alone] == [(b"k:7",)]
        after = await source.execute([(b"PEXPIRETIME", b"k:%d" % at) for at in range(1000)])
        assert [at for at in range(1000) if after[at] != before[at]] == [7]
        changed = edit(source, (b"SET", b"k:9", b"changed"))
        await run(changed, source, journal)
        assert (await back(changed.id, source, journal)).done == 1
        assert await source.execute([(b"GET", b"k:9")]) == [b"v 9"]
    finally:
        for node in nodes:
            launch.remove(node)


async def test_an_edit_is_not_taken_back_to_what_would_have_expired(
    redis_like: Server, journal: Journal, opened: Any
) -> None:
    source = await opened(redis_like.url)
    redis_like.command("SET", "k", "old", "PX", "1200")
    plan = edit(source, (b"SET", b"k", b"new"))
    assert (await run(plan, source, journal)).done == 1
    deadline = time.monotonic() + 1.3
    while time.monotonic() < deadline:
        redis_like.command("PING")
    outcome = await back(plan.id, source, journal)
    assert (outcome.done, outcome.skipped) == (0, 1) and "expired by now" in outcome.line()
    assert redis_like.command("GET", "k") == b"new"


async def test_an_edit_is_not_taken_back_where_somebody_has_put_something_big(
    redis_like: Server, journal: Journal, opened: Any
) -> None:
    source = await opened(redis_like.url)
    redis_like.command("SET", "k", "old")
    plan = edit(source, (b"SET", b"k", b"new"))
    await run(plan, source, journal)
    redis_like.command("SET", "k", PAYLOAD * 2000)
    dumps_before = calls(redis_like, "dump")
    outcome = await back(plan.id, source, journal)
    assert (outcome.done, outcome.skipped) == (0, 1) and "written since" in outcome.line()
    assert calls(redis_like, "dump") == dumps_before, "it is not copied: that would hold up the server"
    assert redis_like.command("STRLEN", "k") == len(PAYLOAD) * 2000


def calls(server: Server, name: str) -> int:
    with server.client() as client:
        return int(client.info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0))
