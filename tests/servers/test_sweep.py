"""Writes on many keys against real servers: exactly the keys that were chosen, and every one of them counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cachetui.actions.apply import Guard, Outcome, Pacer, Progress, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import Plan, Sweep
from cachetui.actions.plan.base import stamped
from cachetui.config import parse_target
from cachetui.model import Keep, Operation, Selection
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers import launch
from tests.servers.launch import Server

FREE = Guard(read_only=False)
DELETE = Operation("delete")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
async def source(redis_like: Server) -> AsyncIterator[Source]:
    opened = await open_source(parse_target(redis_like.url))
    yield opened
    await opened.close()


def planned(source: Source, selection: Selection, operation: Operation = DELETE, **how: object) -> Plan:
    assert source.identity is not None
    how.setdefault("keep", Keep())
    verb = b"delete" if source.identity.kind == "memcached" else b"UNLINK"
    steps = [(verb, key) for key in selection.keys or ()]
    sweep = Sweep(selection, operation, verb=verb, **how)  # type: ignore[arg-type]
    deletes = operation.kind == "delete"
    return stamped(
        source.identity,
        source.name,
        "Test",
        steps,
        ["test"],
        needs="delete",
        risk="low",
        undo="",
        deletes=deletes,
        sweep=sweep,
    )


def tally(outcome: Outcome) -> tuple[int, int, int, int, int, int]:
    return outcome.done, outcome.missing, outcome.failed, outcome.skipped, outcome.unknown, outcome.left


def names(server: Server) -> set[bytes]:
    with server.client() as client:
        return set(client.scan_iter(count=1000))


def fill(server: Server, count: int, form: bytes = b"k:%d") -> list[bytes]:
    keys = [form % number for number in range(count)]
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.set(key, b"value of " + key)
        pipe.execute()
    return keys


@pytest.mark.parametrize("keep", [None, Keep()])
async def test_a_pattern_takes_its_keys_and_no_other(
    redis_like: Server, source: Source, journal: Journal, keep: Keep | None
) -> None:
    keys = fill(redis_like, 3000)
    others = fill(redis_like, 500, b"other:%d")
    seen: list[Progress] = []
    plan = planned(source, Selection(pattern=b"k:*"), keep=keep, expected=3000)
    outcome = await apply(plan, source, journal=journal, guard=FREE, progress=seen.append)
    assert (outcome.state, outcome.done, outcome.failed, outcome.left) == ("done", len(keys), 0, 0), outcome.line()
    assert outcome.verified is True
    assert names(redis_like) == set(others)
    assert outcome.kept == (0 if keep is None else len(keys))
    assert seen[-1].done == len(keys)
    entry = journal.read()[0]
    assert (entry.outcome, entry.done, entry.left) == ("done", len(keys), 0)


async def test_a_regular_expression_narrows_the_pattern(redis_like: Server, source: Source, journal: Journal) -> None:
    fill(redis_like, 200)
    await apply(planned(source, Selection(pattern=b"k:*", regex=rb"[13579]$")), source, journal=journal, guard=FREE)
    assert names(redis_like) == {b"k:%d" % number for number in range(0, 200, 2)}


async def test_keys_with_and_without_a_ttl_are_told_apart(redis_like: Server, source: Source, journal: Journal) -> None:
    fill(redis_like, 300)
    with redis_like.client() as client:
        for number in range(0, 300, 3):
            client.expire(b"k:%d" % number, 1000)
    outcome = await apply(planned(source, Selection(ttl=False)), source, journal=journal, guard=FREE)
    assert outcome.done == 200
    assert names(redis_like) == {b"k:%d" % number for number in range(0, 300, 3)}


async def test_idle_keys_only(redis7: Server, journal: Journal) -> None:
    fill(redis7, 50)
    opened = await open_source(parse_target(redis7.url))
    try:
        await opened.poll("stats")
        outcome = await apply(
            planned(opened, Selection(pattern=b"*", idle_s=3600)), opened, journal=journal, guard=FREE
        )
    finally:
        await opened.close()
    assert (outcome.done, len(names(redis7))) == (0, 50)


async def test_listed_keys_of_every_kind_of_name(redis_like: Server, source: Source, journal: Journal) -> None:
    keys = (b"", b"\n", b"a b", b"\xff\x00", b"*", b"k" * 50_000, b"gone")
    with redis_like.client() as client:
        for key in keys[:-1]:
            client.set(key, b"v")
        client.set(b"stays", b"v")
    outcome = await apply(planned(source, Selection(keys=keys)), source, journal=journal, guard=FREE)
    assert tally(outcome) == (6, 1, 0, 0, 0, 0)
    assert names(redis_like) == {b"stays"}


async def test_a_tag_takes_its_members_and_then_its_set(redis_like: Server, source: Source, journal: Journal) -> None:
    fill(redis_like, 600)
    with redis_like.client() as client:
        client.sadd(b"tag:red", *(b"k:%d" % number for number in range(700)))
    outcome = await apply(planned(source, Selection(tag=b"tag:red")), source, journal=journal, guard=FREE)
    assert tally(outcome) == (601, 100, 0, 0, 0, 0)
    assert not names(redis_like)


async def test_keys_expire_spread_over_the_jitter(redis_like: Server, source: Source, journal: Journal) -> None:
    keys = fill(redis_like, 400)
    operation = Operation("expire", ttl_s=1000, jitter_s=500)
    outcome = await apply(planned(source, Selection(pattern=b"k:*"), operation), source, journal=journal, guard=FREE)
    assert (outcome.done, outcome.verified) == (400, True)
    with redis_like.client() as client:
        left = [client.ttl(key) for key in keys]
    assert 900 <= min(left) < 1100 and 1400 < max(left) <= 1500
    outcome = await apply(
        planned(source, Selection(pattern=b"k:*"), Operation("persist")), source, journal=journal, guard=FREE
    )
    assert outcome.done == 400
    with redis_like.client() as client:
        assert {client.ttl(key) for key in keys} == {-1}


async def test_a_cancelled_sweep_has_counted_what_it_did(redis_like: Server, source: Source, journal: Journal) -> None:
    fill(redis_like, 5000)
    cancel, seen = asyncio.Event(), []

    def watch(progress: Progress) -> None:
        seen.append(progress)
        if progress.done >= 500:
            cancel.set()

    plan = planned(source, Selection(keys=tuple(b"k:%d" % n for n in range(5000))), rate=3000)
    outcome = await apply(plan, source, journal=journal, guard=FREE, progress=watch, cancel=cancel)
    assert (outcome.state, outcome.exit_code) == ("stopped", 4)
    assert "cancelled" in outcome.reason
    assert 500 <= outcome.done < 5000
    assert outcome.done + outcome.left == 5000
    assert len(names(redis_like)) == outcome.left


async def test_a_paused_sweep_sends_nothing(redis7: Server, journal: Journal) -> None:
    fill(redis7, 4000)
    opened = await open_source(parse_target(redis7.url))
    pacer = Pacer(rate=5000)
    held: list[int] = []
    paused = asyncio.Event()

    def watch(progress: Progress) -> None:
        if progress.note == "paused":
            held.append(progress.done)
            if len(held) >= 4:
                pacer.resume()
        elif progress.done >= 200 and not held:
            pacer.pause()
            paused.set()

    try:
        plan = planned(opened, Selection(pattern=b"k:*"), rate=5000)
        outcome = await apply(plan, opened, journal=journal, guard=FREE, progress=watch, pacer=pacer)
    finally:
        await opened.close()
    assert paused.is_set() and outcome.done == 4000
    assert held[-1] < 4000 and held[1:] == [held[-1]] * (len(held) - 1), held


async def test_a_big_key_is_left_alone_where_copies_are_kept(
    redis_like: Server, source: Source, journal: Journal
) -> None:
    with redis_like.client() as client:
        client.set(b"big", b"x" * 300_000)
        client.set(b"small", b"x")
    plan = planned(source, Selection(keys=(b"big", b"small")), keep=Keep(max_key_bytes=100_000))
    outcome = await apply(plan, source, journal=journal, guard=FREE)
    assert tally(outcome) == (1, 0, 0, 1, 0, 0)
    assert "too big" in outcome.line() and outcome.exit_code == 4
    assert names(redis_like) == {b"big"}


async def test_what_others_write_meanwhile_is_never_lost(redis_like: Server, source: Source, journal: Journal) -> None:
    """Every value that was deleted is in the spool, however often it changed."""
    keys = fill(redis_like, 300)
    going, written = threading.Event(), {key: {b"value of " + key} for key in keys}
    going.set()

    def write() -> None:
        with redis_like.client() as client:
            turn = 0
            while going.is_set():
                turn += 1
                for key in keys[:50]:
                    value = b"turn %d" % turn
                    written[key].add(value)
                    client.set(key, value, xx=True)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        outcome = await apply(planned(source, Selection(keys=tuple(keys))), source, journal=journal, guard=FREE)
    finally:
        going.clear()
        writer.join()
    assert outcome.done + outcome.skipped == 300, outcome.line()
    assert len(names(redis_like)) == outcome.skipped
    assert outcome.kept >= outcome.done


async def test_cut_connections_change_no_count(redis_like: Server, source: Source, journal: Journal) -> None:
    keys = fill(redis_like, 6000)
    cuts = 0

    def cut(progress: Progress) -> None:
        nonlocal cuts
        if progress.done < 5000 and cuts < 10:
            redis_like.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            cuts += 1

    plan = planned(source, Selection(keys=tuple(keys)), rate=6000)
    outcome = await apply(plan, source, journal=journal, guard=FREE, progress=cut)
    assert cuts > 1
    assert tally(outcome) == (6000, 0, 0, 0, 0, 0), outcome.line()
    assert not names(redis_like)


async def test_without_scripts_nothing_is_deleted_that_was_to_be_kept(
    new_server: Callable[..., Server], journal: Journal
) -> None:
    server = new_server("redis7")
    fill(server, 100)
    server.command("ACL", "SETUSER", "plain", "on", ">pw", "~*", "+@all", "-@scripting")
    opened = await open_source(parse_target(f"redis://plain:pw@{server.address}"))
    try:
        outcome = await apply(planned(opened, Selection(pattern=b"k:*")), opened, journal=journal, guard=FREE)
    finally:
        await opened.close()
    assert (outcome.state, outcome.done) == ("refused", 0), outcome.line()
    assert len(names(server)) == 100


async def test_a_key_that_may_not_be_touched_fails_alone(new_server: Callable[..., Server], journal: Journal) -> None:
    server = new_server("redis7")
    fill(server, 100)
    fill(server, 1, b"secret:%d")
    server.command("ACL", "SETUSER", "some", "on", ">pw", "~k:*", "+@all")
    opened = await open_source(parse_target(f"redis://some:pw@{server.address}"))
    keys = (*(b"k:%d" % number for number in range(100)), b"secret:0")
    try:
        outcome = await apply(planned(opened, Selection(keys=keys)), opened, journal=journal, guard=FREE)
    finally:
        await opened.close()
    assert tally(outcome) == (100, 0, 1, 0, 0, 0), outcome.line()
    assert names(server) == {b"secret:0"}


@pytest.mark.parametrize("keep", [None, Keep()])
async def test_memcached_items_by_pattern(memcached: Server, journal: Journal, keep: Keep | None) -> None:
    opened = await open_source(parse_target(f"memcached://{memcached.address}"))
    try:
        await opened.open()
        await opened.execute([(b"set", b"k:%d" % n, b"0", b"0", b"v") for n in range(500)])
        await opened.execute([(b"set", b"other", b"0", b"0", b"v")])
        outcome = await apply(
            planned(opened, Selection(pattern=b"k:*"), keep=keep), opened, journal=journal, guard=FREE
        )
        assert (outcome.state, outcome.done) == ("done", 500), outcome.line()
        facts = (await opened.facts([b"k:1", b"other"])).facts
        assert [known.exists for known in facts] == [False, True]
    finally:
        await opened.close()


@pytest.fixture
async def cluster() -> AsyncIterator[list[Server]]:
    """Three primaries of one cluster."""
    nodes = [launch.redis_server(launch.redis7(), "--cluster-enabled", "yes") for _ in "abc"]
    try:
        launch.join_cluster(nodes)
        yield nodes
    finally:
        for node in nodes:
            launch.remove(node)


@pytest.mark.parametrize("keep", [None, Keep()])
async def test_all_shards_of_a_cluster(cluster: list[Server], journal: Journal, keep: Keep | None) -> None:
    opened = await open_source(parse_target(f"redis+cluster://{cluster[0].address}"))
    try:
        await opened.open()
        await opened.execute([(b"SET", b"k:%d" % number, b"v") for number in range(2000)])
        await opened.execute([(b"SET", b"other:%d" % number, b"v") for number in range(20)])
        outcome = await apply(
            planned(opened, Selection(pattern=b"k:*"), keep=keep), opened, journal=journal, guard=FREE
        )
        assert tally(outcome) == (2000, 0, 0, 0, 0, 0), outcome.line()
        assert sum(int(str(node.command("DBSIZE"))) for node in cluster) == 20
        assert outcome.kept == (0 if keep is None else 2000)
    finally:
        await opened.close()
