"""Imports by the one writer: only keys that are not there, at the planning and at the writing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cachetui.actions.apply import apply
from cachetui.actions.plan import Command, plan_import
from cachetui.actions.tally import Progress
from cachetui.errors import BadUsage
from cachetui.keyspace.portable import parse_lines, to_commands
from tests.servers.bench import FREE, Bench, bench_of
from tests.servers.launch import Server
from tests.servers.meddling import before_exec, proxied

ODD = b"\x00\xff\r\n\x1b[2J"
Rows = list[tuple[bytes, list[Command]]]


@pytest.fixture
async def bench(redis_like: Server, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_of(redis_like, tmp_path) as opened:
        yield opened


def strings(count: int) -> Rows:
    return [(b"k:%d" % number, [(b"SET", b"k:%d" % number, b"mine")]) for number in range(count)]


async def test_new_keys_are_written_and_existing_ones_left_alone(bench: Bench) -> None:
    bench.server.command("SET", "k:3", "theirs")
    rows: Rows = [
        *strings(1200),
        (ODD, [(b"HSET", ODD, b"f", ODD), (b"PEXPIRE", ODD, b"1000000")]),
        (b"l", [(b"RPUSH", b"l", b"a", b"b")]),
        (b"z", [(b"ZADD", b"z", b"1.5", b"m")]),
        (b"l", [(b"RPUSH", b"l", b"c")]),
    ]
    plan = plan_import(*bench.who, rows, frozenset((b"k:3",)))
    assert plan.what[0].startswith("write 1,202 new keys") and "skipped: 1 key that exist" in plan.what[2]
    assert bench.server.command("DBSIZE") == 1
    seen: list[Progress] = []
    outcome = await apply(plan, bench.source, journal=bench.journal, guard=FREE, progress=seen.append)
    assert (outcome.state, outcome.done, outcome.left) == ("done", len(plan.steps), 0), outcome.line()
    assert [now.done for now in seen] == [500, 1000, 1204]
    with bench.server.client() as client:
        assert client.dbsize() == 1203
        assert (client.get("k:3"), client.get("k:4")) == (b"theirs", b"mine")
        assert client.hgetall(ODD) == {b"f": ODD} and 990 < client.ttl(ODD) <= 1000
        assert client.lrange("l", 0, -1) == [b"a", b"b", b"c"]
        assert client.zscore("z", "m") == 1.5
    assert bench.source.sent["multi"] == 3
    assert bench.journal.read()[0].outcome == "done"


async def test_keys_that_are_born_meanwhile_are_left_alone(bench: Bench) -> None:
    plan = plan_import(*bench.who, strings(600), ())
    with bench.server.client() as client:
        client.mset({"k:0": "theirs", "k:7": "theirs", "k:599": "theirs"})
        outcome = await bench.run(plan)
        assert (outcome.state, outcome.done, outcome.missing, outcome.failed) == ("done", 597, 3, 0)
        assert outcome.reason == "left alone, for somebody else has made them: 3 keys"
        assert [client.get(key) for key in ("k:0", "k:7", "k:599")] == [b"theirs"] * 3
        assert (client.get("k:1"), client.dbsize()) == (b"mine", 600)


async def test_a_key_that_is_born_between_look_and_write_is_left_alone(redis7: Server, tmp_path: Path) -> None:
    meddle = before_exec(lambda: redis7.command("SET", "k:5", "theirs"))
    async with (
        proxied(redis7, meddle) as port,
        bench_of(redis7, tmp_path, f"redis://127.0.0.1:{port}") as bench,
    ):
        # The rival writes k:5 again before each of our writes: those that do not depend on it go through.
        outcome = await bench.run(plan_import(*bench.who, strings(10), ()))
        assert (outcome.state, outcome.done, outcome.missing) == ("done", 9, 1)
    assert redis7.command("GET", "k:5") == b"theirs"


async def test_a_large_key_is_written_in_several_pieces(bench: Bench) -> None:
    commands: list[Command] = [
        (b"RPUSH", b"large", *(b"%d" % (at + row) for row in range(500))) for at in range(0, 300_000, 500)
    ]
    rows: Rows = [
        (b"before", [(b"SET", b"before", b"1")]),
        (b"large", commands),
        (b"after", [(b"SET", b"after", b"1")]),
    ]
    outcome = await bench.run(plan_import(*bench.who, rows, ()))
    assert (outcome.state, outcome.done) == ("done", 602)
    assert bench.server.command("LLEN", "large") == 300_000
    assert bench.server.command("LINDEX", "large", "-1") == b"299999"
    assert bench.server.command("DBSIZE") == 3
    again = plan_import(*bench.who, [(b"large", commands), (b"more", [(b"SET", b"more", b"1")])], ())
    outcome = await bench.run(again)
    assert (outcome.done, outcome.missing) == (1, 600)
    assert bench.server.command("LLEN", "large") == 300_000


async def test_a_cancelled_import_says_how_far_it_came(bench: Bench) -> None:
    cancel = asyncio.Event()
    plan = plan_import(*bench.who, strings(2000), ())
    outcome = await apply(
        plan,
        bench.source,
        journal=bench.journal,
        guard=FREE,
        cancel=cancel,
        progress=lambda now: cancel.set() if now.done >= 1000 else None,
    )
    assert (outcome.state, outcome.done, outcome.left, outcome.reason) == ("stopped", 1000, 1000, "cancelled")
    assert bench.server.command("DBSIZE") == 1000


async def test_keys_that_the_user_may_not_write_are_counted(redis7: Server, tmp_path: Path) -> None:
    redis7.command("ACL", "SETUSER", "u", "reset", "on", ">p", "~k:1*", "+@all")
    async with bench_of(redis7, tmp_path, f"redis://u:p@{redis7.address}") as bench:
        outcome = await bench.run(plan_import(*bench.who, strings(20), ()))
        assert (outcome.state, outcome.done, outcome.failed) == ("failed", 11, 9)
        assert "not permitted" in outcome.reason
        assert redis7.command("DBSIZE") == 11
    redis7.command("ACL", "DELUSER", "u")


async def test_a_full_server_is_not_asked_again_and_again(redis7: Server, tmp_path: Path) -> None:
    redis7.command("CONFIG", "SET", "maxmemory", "1mb")
    try:
        async with bench_of(redis7, tmp_path) as bench:
            outcome = await bench.run(plan_import(*bench.who, strings(2000), ()))
            assert (outcome.state, outcome.done, outcome.left) == ("failed", 0, 2000)
            assert "OOM" in outcome.reason
            assert bench.source.sent["multi"] == 1
    finally:
        redis7.command("CONFIG", "SET", "maxmemory", "0")
    assert redis7.command("DBSIZE") == 0


async def test_lines_of_an_export_are_imported(bench: Bench) -> None:
    lines = [
        r'SET a "x\r\ny"',
        "PEXPIREAT a 4102444800000",
        '{"key":"h","type":"hash","expiresAtMs":null,"fields":[{"field":"f","valueBase64":"AP8="}]}',
        "XADD s 1-1 f v",
    ]
    rows = [(command[1], [command]) for record in parse_lines(lines) for command in to_commands(record)]
    outcome = await bench.run(plan_import(*bench.who, rows, ()))
    assert (outcome.state, outcome.done) == ("done", 4)
    with bench.server.client() as client:
        assert (client.get("a"), client.hget("h", "f")) == (b"x\r\ny", b"\x00\xff")
        assert client.ttl("a") > 1_000_000 and client.xlen("s") == 1


def test_nothing_and_somebody_elses_key_are_refused() -> None:
    from cachetui.model import Identity

    who = (Identity("redis", role="primary"), "redis://h")
    with pytest.raises(BadUsage, match="2 keys of it exist already"):
        plan_import(*who, strings(2), {b"k:0", b"k:1"})
    with pytest.raises(BadUsage, match="there are no keys"):
        plan_import(*who, [], ())
    for command in ((b"SET", b"other", b"v"), (b"FLUSHALL",)):
        with pytest.raises(BadUsage, match="names another key"):
            plan_import(*who, [(b"k", [command])], ())
