"""What a preview says of the undo of a small write is what there is afterwards, whatever the server allows."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cachetui.actions.journal import Journal
from cachetui.actions.plan import plan_copy, plan_import, plan_rename, plan_set_string
from cachetui.actions.plan.config import plan_setting
from cachetui.actions.touched import with_way_back
from cachetui.actions.undo import plan_of, undoable, undoing
from cachetui.config import parse_target
from cachetui.model import Selection
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers.launch import Server
from tests.servers.test_sweep import planned
from tests.servers.test_undo import run

LONG = b"x" * 100_000
BIG = b"\x00\xff" * 800_000


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
async def source(redis_like: Server) -> AsyncIterator[Source]:
    opened = await open_source(parse_target(redis_like.url))
    await opened.open()
    yield opened
    await opened.close()


async def test_a_long_value_is_kept_and_said_to_be(redis_like: Server, source: Source, journal: Journal) -> None:
    redis_like.command("SET", "k", LONG)
    assert source.identity is not None
    value = await source.value(b"k", max_bytes=1 << 20)
    plan = plan_set_string(source.identity, source.name, value, b"short")
    assert plan.undo.startswith("no undo"), "it is too long to be written out"
    plan = await with_way_back(plan, source)
    assert plan.undo == f"cachetui undo {plan.id} for 7 days, unless somebody writes it again"
    assert (await run(plan, source, journal)).kept == 1
    assert (await run(await plan_of(source, undoing(journal, plan.id)), source, journal)).done == 1
    assert redis_like.command("GET", "k") == LONG


async def test_the_way_by_hand_is_told_too(redis_like: Server, source: Source) -> None:
    redis_like.command("SET", "k", "v")
    assert source.identity is not None
    plan = await with_way_back(plan_rename(source.identity, source.name, b"k", b"n"), source)
    assert plan.undo.startswith(f"cachetui undo {plan.id} for 7 days")
    assert plan.undo.endswith(", or by hand: RENAMENX n k")


async def test_what_is_too_big_is_said_before_it_is_written(
    redis_like: Server, source: Source, journal: Journal
) -> None:
    redis_like.command("SET", "k", BIG)
    assert source.identity is not None
    before = redis_like.command("INFO", "commandstats")
    plan = await with_way_back(plan_rename(source.identity, source.name, b"k", b"n"), source)
    assert plan.undo.startswith("no undo: ") and "too big to keep a copy of" in plan.undo
    assert plan.undo.endswith("; by hand: RENAMENX n k")
    after = redis_like.command("INFO", "commandstats")
    assert before["cmdstat_dump"] == after["cmdstat_dump"] if "cmdstat_dump" in before else "cmdstat_dump" not in after  # type: ignore[index,operator]
    outcome = await run(plan, source, journal)
    assert (outcome.done, outcome.kept) == (1, 0)
    assert undoable(journal) == []


@pytest.mark.parametrize("denied", ["-eval -evalsha", "-dump"])
async def test_what_is_denied_is_said_before_it_is_written(redis_like: Server, journal: Journal, denied: str) -> None:
    redis_like.command("SET", "k", "v")
    redis_like.command("ACL", "SETUSER", "alice", "on", ">secret", "~*", "+@all", *denied.split())
    opened = await open_source(parse_target(f"redis://alice:secret@{redis_like.address}"))
    try:
        identity = await opened.open()
        plan = await with_way_back(plan_copy(identity, opened.name, b"k", b"n"), opened)
        assert plan.undo.startswith("no undo: no copy can be made: "), plan.undo
        assert plan.undo.endswith("; by hand: UNLINK n")
        outcome = await run(plan, opened, journal)
        assert (outcome.state, outcome.done, outcome.kept) == ("done", 1, 0), outcome.line()
        assert undoable(journal) == []
    finally:
        await opened.close()
        redis_like.command("ACL", "DELUSER", "alice")


@pytest.mark.parametrize(("policy", "then"), [("noeviction", "refused"), ("allkeys-lru", "evicted")])
async def test_too_little_room_is_said_before_anything_comes_back(
    new_server: Callable[..., Server], journal: Journal, policy: str, then: str
) -> None:
    server = new_server("redis7")
    opened = await open_source(parse_target(server.url))
    try:
        await opened.open()
        for at in range(100):
            server.command("SET", f"k:{at}", os.urandom(10_000))
        plan = planned(opened, Selection(pattern=b"k:*"), expected=100)
        assert (await run(plan, opened, journal)).done == 100
        roomy = await plan_of(opened, undoing(journal, plan.id))
        assert not any("warning" in line for line in roomy.what)
        server.command("CONFIG", "SET", "maxmemory-policy", policy)
        server.command("CONFIG", "SET", "maxmemory", str(used(server) + 300_000))
        back = await plan_of(opened, undoing(journal, plan.id))
        assert any(line.startswith("warning") and then in line for line in back.what), back.what
        outcome = await run(back, opened, journal)
        if policy == "noeviction":
            assert outcome.failed and outcome.done + outcome.failed + outcome.left == 100, outcome.line()
            assert "OOM" in outcome.line() and server.command("DBSIZE") == outcome.done
            server.command("CONFIG", "SET", "maxmemory", "0")
            again = await run(await plan_of(opened, undoing(journal, plan.id)), opened, journal)
            assert again.failed == again.left == 0 and server.command("DBSIZE") == 100, again.line()
    finally:
        await opened.close()


async def test_settings_name_their_receipt(redis7: Server, journal: Journal) -> None:
    opened = await open_source(parse_target(redis7.url))
    try:
        identity = await opened.open()
        plan = await with_way_back(plan_setting(identity, opened.name, "hz", "10", "20"), opened)
        words = f"cachetui undo {plan.id}, unless somebody sets it again, or by hand: CONFIG SET hz 10"
        assert plan.undo == words
    finally:
        await opened.close()


def used(server: Server) -> int:
    with server.client() as client:
        return int(client.info("memory")["used_memory"])


async def test_both_names_of_a_rename_go_back_or_none(redis_like: Server, source: Source, journal: Journal) -> None:
    assert source.identity is not None
    redis_like.command("SET", "k", "precious", "PX", "5000000")
    plan = plan_rename(source.identity, source.name, b"k", b"n")
    assert (await run(plan, source, journal)).kept == 2
    redis_like.command("SET", "k", "theirs")
    back = await plan_of(source, undoing(journal, plan.id))
    assert any("belong together" in line for line in back.what)
    outcome = await run(back, source, journal)
    assert (outcome.done, outcome.skipped) == (0, 2), outcome.line()
    assert [redis_like.command("GET", key) for key in ("k", "n")] == [b"theirs", b"precious"]


async def test_a_rename_is_undone_whole(redis_like: Server, source: Source, journal: Journal) -> None:
    assert source.identity is not None
    redis_like.command("SET", "k", "v", "PX", "5000000")
    plan = plan_rename(source.identity, source.name, b"k", b"n")
    await run(plan, source, journal)
    outcome = await run(await plan_of(source, undoing(journal, plan.id)), source, journal)
    assert (outcome.state, outcome.done) == ("done", 2), outcome.line()
    assert (redis_like.command("GET", "k"), redis_like.command("EXISTS", "n")) == (b"v", 0)
    assert 4_000_000 < int(str(redis_like.command("PTTL", "k"))) <= 5_000_000


async def test_the_original_of_a_copy_is_no_part_of_its_undo(
    redis_like: Server, source: Source, journal: Journal
) -> None:
    assert source.identity is not None
    redis_like.command("SET", "k", "v", "PX", "5000000")
    plan = plan_copy(source.identity, source.name, b"k", b"n")
    assert (await run(plan, source, journal)).kept == 1
    redis_like.command("SET", "k", "theirs")
    outcome = await run(await plan_of(source, undoing(journal, plan.id)), source, journal)
    assert (outcome.done, outcome.skipped) == (1, 0), outcome.line()
    assert (redis_like.command("GET", "k"), redis_like.command("EXISTS", "n")) == (b"theirs", 0)


async def test_of_an_import_each_key_goes_back_alone(redis_like: Server, source: Source, journal: Journal) -> None:
    assert source.identity is not None
    commands = [(b"SET", b"a", b"1"), (b"HSET", b"b", b"f", b"v"), (b"RPUSH", b"c", b"x")]
    plan = plan_import(source.identity, source.name, [(one[1], [one]) for one in commands], set())
    assert (await run(plan, source, journal)).kept == 3
    redis_like.command("SET", "a", "theirs")
    outcome = await run(await plan_of(source, undoing(journal, plan.id)), source, journal)
    assert (outcome.done, outcome.skipped) == (2, 1), outcome.line()
    assert [redis_like.command("EXISTS", key) for key in "abc"] == [1, 0, 0]


async def test_a_refused_restore_deletes_nothing(new_server: Callable[..., Server], journal: Journal) -> None:
    server = new_server("redis7")
    opened = await open_source(parse_target(server.url))
    try:
        identity = await opened.open()
        server.command("SET", "k", os.urandom(1000))
        plan = plan_rename(identity, opened.name, b"k", b"n")
        await run(plan, opened, journal)
        server.command("CONFIG", "SET", "maxmemory", "1")
        outcome = await run(await plan_of(opened, undoing(journal, plan.id)), opened, journal)
        assert outcome.done == 0 and outcome.failed == 2, outcome.line()
        assert server.command("EXISTS", "n") == 1
        server.command("CONFIG", "SET", "maxmemory", "0")
        assert (await run(await plan_of(opened, undoing(journal, plan.id)), opened, journal)).done == 2
        assert (server.command("EXISTS", "k"), server.command("EXISTS", "n")) == (1, 0)
    finally:
        await opened.close()
