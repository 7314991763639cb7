"""Edits of collections, new keys, renaming and copying: on every server, and never over somebody else's change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cachetui.actions.plan import (
    Plan,
    plan_copy,
    plan_hash_field,
    plan_list_element,
    plan_list_push,
    plan_new,
    plan_rename,
    plan_set_member,
    plan_stream_entry,
    plan_zset_member,
)
from cachetui.model import Identity
from tests.servers.bench import Bench, bench_of
from tests.servers.launch import Server

KEY = b"\xff odd\r\n\x00key"
ODD = b"\x00\xff\r\n\x1b[2J"
Planned = Callable[[Identity, str], Plan]


@pytest.fixture
async def bench(redis_like: Server, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_of(redis_like, tmp_path) as opened:
        yield opened


@dataclass(frozen=True)
class Case:
    """A collection, an edit of one part of it, and what it is then."""

    command: str
    arguments: tuple[Any, ...]
    planned: Planned
    read: tuple[Any, ...]
    expected: object


@dataclass(frozen=True)
class Meddled:
    """A value, an edit of it, and what somebody else does before it is applied."""

    arrange: tuple[str, ...]
    planned: Planned
    meddle: tuple[str, ...]


@dataclass(frozen=True)
class New:
    """A key that is made, and what is read of it."""

    kind: Any
    content: Any
    read: tuple[Any, ...]
    expected: object


FIELDS = [
    Case(
        "HSET",
        (b"f", b"old"),
        lambda *w: plan_hash_field(*w, KEY, b"f", old=b"old", new=ODD),
        ("HGETALL",),
        {b"f": ODD},
    ),
    Case(
        "HSET",
        (b"f", b"old"),
        lambda *w: plan_hash_field(*w, KEY, ODD, old=None, new=b""),
        ("HGETALL",),
        {b"f": b"old", ODD: b""},
    ),
    Case(
        "HSET",
        (b"f", b"old", ODD, b"x"),
        lambda *w: plan_hash_field(*w, KEY, ODD, old=b"x", new=None),
        ("HGETALL",),
        {b"f": b"old"},
    ),
    Case(
        "RPUSH",
        (b"a", b"b", b"b", b"c"),
        lambda *w: plan_list_element(*w, KEY, 2, old=b"b", new=ODD),
        ("LRANGE", 0, -1),
        [b"a", b"b", ODD, b"c"],
    ),
    Case(
        "RPUSH",
        (b"b", b"a", b"b", b"b"),
        lambda *w: plan_list_element(*w, KEY, 2, old=b"b", new=None),
        ("LRANGE", 0, -1),
        [b"b", b"a", b"b"],
    ),
    Case(
        "RPUSH",
        (b"b", b"a", b"c", b"b"),
        lambda *w: plan_list_element(*w, KEY, 3, old=b"b", new=None, length=4),
        ("LRANGE", 0, -1),
        [b"b", b"a", b"c"],
    ),
    Case("RPUSH", (b"a",), lambda *w: plan_list_push(*w, KEY, ODD), ("LRANGE", 0, -1), [b"a", ODD]),
    Case("RPUSH", (b"a",), lambda *w: plan_list_push(*w, KEY, ODD, end="left"), ("LRANGE", 0, -1), [ODD, b"a"]),
    Case("SADD", (b"a",), lambda *w: plan_set_member(*w, KEY, old=b"a", new=ODD), ("SMEMBERS",), {ODD}),
    Case("SADD", (b"a",), lambda *w: plan_set_member(*w, KEY, old=None, new=ODD), ("SMEMBERS",), {ODD, b"a"}),
    Case("SADD", (b"a", b"b"), lambda *w: plan_set_member(*w, KEY, old=b"b", new=None), ("SMEMBERS",), {b"a"}),
    Case(
        "ZADD",
        (1.5, b"m"),
        lambda *w: plan_zset_member(*w, KEY, b"m", old_score=1.5, new_score=0.1),
        ("ZRANGE", 0, -1, "WITHSCORES"),
        [(b"m", 0.1)],
    ),
    Case(
        "ZADD",
        (1.5, b"m"),
        lambda *w: plan_zset_member(*w, KEY, b"m", old_score=1.5, new_score=float("inf"), renamed=ODD),
        ("ZRANGE", 0, -1, "WITHSCORES"),
        [(ODD, float("inf"))],
    ),
    Case(
        "ZADD",
        (1.5, b"m"),
        lambda *w: plan_zset_member(*w, KEY, ODD, old_score=None, new_score=-3),
        ("ZRANGE", 0, -1, "WITHSCORES"),
        [(ODD, -3.0), (b"m", 1.5)],
    ),
    Case(
        "ZADD",
        (1.5, b"m", 2, b"n"),
        lambda *w: plan_zset_member(*w, KEY, b"m", old_score=1.5, new_score=None),
        ("ZRANGE", 0, -1, "WITHSCORES"),
        [(b"n", 2.0)],
    ),
    Case(
        "XADD",
        (b"1-1", b"f", b"v"),
        lambda *w: plan_stream_entry(*w, KEY, entry_id=b"2-1", fields=[(ODD, ODD)]),
        ("XRANGE", "-", "+"),
        [(b"1-1", {b"f": b"v"}), (b"2-1", {ODD: ODD})],
    ),
    Case(
        "XADD",
        (b"1-1", b"f", b"v"),
        lambda *w: plan_stream_entry(*w, KEY, entry_id=b"1-1", fields=None),
        ("XRANGE", "-", "+"),
        [],
    ),
]


MEDDLED = [
    Meddled(
        ("HSET", "k", "f", "old"),
        lambda *w: plan_hash_field(*w, b"k", b"f", old=b"old", new=b"x"),
        ("HSET", "k", "f", "theirs"),
    ),
    Meddled(
        ("HSET", "k", "f", "old"),
        lambda *w: plan_hash_field(*w, b"k", b"g", old=None, new=b"x"),
        ("HSET", "k", "g", "theirs"),
    ),
    Meddled(
        ("RPUSH", "k", "a", "b"),
        lambda *w: plan_list_element(*w, b"k", 1, old=b"b", new=None),
        ("LPUSH", "k", "theirs"),
    ),
    Meddled(("SADD", "k", "a"), lambda *w: plan_set_member(*w, b"k", old=None, new=b"b"), ("SADD", "k", "b")),
    Meddled(("SADD", "k", "a", "z"), lambda *w: plan_set_member(*w, b"k", old=b"a", new=b"b"), ("SREM", "k", "a")),
    Meddled(
        ("ZADD", "k", "1", "m"),
        lambda *w: plan_zset_member(*w, b"k", b"m", old_score=1, new_score=2),
        ("ZADD", "k", "3", "m"),
    ),
    Meddled(
        ("ZADD", "k", "1", "m"),
        lambda *w: plan_zset_member(*w, b"k", b"m", old_score=1, new_score=1, renamed=b"n"),
        ("ZADD", "k", "3", "n"),
    ),
    Meddled(("SET", "k", "v"), lambda *w: plan_rename(*w, b"k", b"new"), ("SET", "new", "theirs")),
    Meddled(("SET", "k", "v"), lambda *w: plan_rename(*w, b"k", b"new"), ("DEL", "k")),
    Meddled(("SET", "k", "v"), lambda *w: plan_copy(*w, b"k", b"new"), ("SET", "new", "theirs")),
    Meddled(("SET", "other", "v"), lambda *w: plan_new(*w, b"k", "string", b"mine"), ("SET", "k", "theirs")),
    Meddled(("SET", "other", "v"), lambda *w: plan_new(*w, b"k", "hash", [(b"f", b"v")]), ("HSET", "k", "g", "theirs")),
]

NEW = [
    New("string", ODD, ("GET",), ODD),
    New("string", b"", ("GET",), b""),
    New("hash", [(b"f", b"v"), (ODD, b"")], ("HGETALL",), {b"f": b"v", ODD: b""}),
    New("list", [b"a", ODD, b"a"], ("LRANGE", 0, -1), [b"a", ODD, b"a"]),
    New("set", [b"a", ODD], ("SMEMBERS",), {b"a", ODD}),
    New("zset", [(b"a", 1.5), (ODD, -2)], ("ZRANGE", 0, -1), [ODD, b"a"]),
    New("hyperloglog", [b"a", b"b", ODD], ("PFCOUNT",), 3),
]


@pytest.mark.parametrize("case", FIELDS)
async def test_one_part_of_a_collection_is_changed_and_the_ttl_stays(bench: Bench, case: Case) -> None:
    with bench.server.client() as client:
        client.execute_command(case.command, KEY, *case.arguments)
        client.expire(KEY, 1000)
        plan = case.planned(*bench.who)
        assert all(line.isprintable() for line in (plan.title, plan.undo, *plan.what, *plan.preview_commands()))
        outcome = await bench.run(plan)
        assert (outcome.state, outcome.done) == ("done", len(plan.steps)), outcome.line()
        assert outcome.verified is (True if plan.shows else None)
        options = {"WITHSCORES": True} if "WITHSCORES" in case.read else {}
        found = client.execute_command(case.read[0], KEY, *case.read[1:], **options)
        assert ([tuple(pair) for pair in found] if options else found) == case.expected
        gone = case.expected == []
        assert 990 < client.ttl(KEY) <= 1000 or (gone and case.command != "XADD")


@pytest.mark.parametrize("change", ["gone", "another type"])
@pytest.mark.parametrize("case", FIELDS)
async def test_a_collection_that_is_no_longer_there_is_not_made_again(bench: Bench, case: Case, change: str) -> None:
    with bench.server.client() as client:
        client.execute_command(case.command, KEY, *case.arguments)
        plan = case.planned(*bench.who)
        client.delete(KEY)
        if change == "another type":
            client.set(KEY, b"text")
        said = await bench.refused(plan)
        assert ("is gone" if change == "gone" else "was changed by somebody else") in said.message
        assert client.get(KEY) == (None if change == "gone" else b"text")


@pytest.mark.parametrize("case", MEDDLED)
async def test_a_part_that_somebody_else_changed_stays_as_he_left_it(bench: Bench, case: Meddled) -> None:
    with bench.server.client() as client:
        client.execute_command(*case.arrange)
        plan = case.planned(*bench.who)
        client.execute_command(*case.meddle)
        before = {key: client.dump(key) for key in client.scan_iter()}
        await bench.refused(plan)
        assert {key: client.dump(key) for key in client.scan_iter()} == before


@pytest.mark.parametrize("ttl_s", [None, 1000, 0.25e6 + 0.5])
@pytest.mark.parametrize("case", NEW)
async def test_a_key_of_any_type_is_made_where_there_is_none(bench: Bench, case: New, ttl_s: float | None) -> None:
    plan = plan_new(*bench.who, KEY, case.kind, case.content, ttl_s=ttl_s)
    outcome = await bench.run(plan)
    assert (outcome.state, outcome.done, outcome.verified) == ("done", len(plan.steps), True)
    with bench.server.client() as client:
        assert client.execute_command(case.read[0], KEY, *case.read[1:]) == case.expected
        left = client.ttl(KEY)
    assert left == -1 if ttl_s is None else ttl_s - 5 <= left <= ttl_s + 1


async def test_a_stream_is_made_with_its_first_entry(bench: Bench) -> None:
    outcome = await bench.run(plan_new(*bench.who, KEY, "stream", [(b"f", ODD)]))
    assert outcome.state == "done"
    with bench.server.client() as client:
        ((_, fields),) = client.xrange(KEY)
        assert fields == {b"f": ODD}


async def test_rename_and_copy_keep_value_and_ttl(bench: Bench) -> None:
    with bench.server.client() as client:
        client.hset(KEY, b"f", b"v")
        client.expire(KEY, 1000)
        assert (await bench.run(plan_rename(*bench.who, KEY, b"new"))).state == "done"
        assert client.keys() == [b"new"]
        assert (await bench.run(plan_copy(*bench.who, b"new", ODD))).state == "done"
        for key in (b"new", ODD):
            assert client.hgetall(key) == {b"f": b"v"}
            assert 990 < client.ttl(key) <= 1000


async def test_a_fields_own_ttl_stays(stack: Server, valkey9: Server, tmp_path: Path) -> None:
    for server, keeps in ((stack, False), (valkey9, True), (valkey9, False)):
        async with bench_of(server, tmp_path) as bench:
            known = (await bench.source.flags(["HSETEX"]))["HSETEX"] is not None
            assert known == (server is valkey9)
            with server.client() as client:
                client.delete("h")
                client.hset("h", mapping={"f": "old", "g": "x"})
                client.execute_command("HPEXPIRE", "h", 500_000, "FIELDS", 1, "f")
                plan = plan_hash_field(
                    *bench.who, b"h", b"f", old=b"old", new=b"new", field_ttl_s=500.0, keepttl_known=keeps
                )
                outcome = await bench.run(plan)
                assert (outcome.done, outcome.verified) == (len(plan.steps), True), outcome.line()
                assert client.hget("h", "f") == b"new"
                (left,) = client.execute_command("HTTL", "h", "FIELDS", 1, "f")
                assert 490 < left <= 500
