"""Undo brings back exactly what was deleted, value, type and expiry, and nothing over what was written since."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cachetui.actions import touched
from cachetui.actions.apply import Outcome, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import Plan
from cachetui.actions.plan.base import stamped
from cachetui.actions.undo import found, plan_undo, receipts
from cachetui.config import parse_target
from cachetui.errors import BadUsage, CacheError, Refused
from cachetui.model import Keep, Operation, Selection
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers.launch import Server
from tests.servers.test_sweep import FREE, planned, tally

EVERY_TYPE: list[tuple[bytes, ...]] = [
    (b"SET", b"k:text", b"a\x00\xff\r\n"),
    (b"SET", b"k:number", b"42"),
    (b"SET", b"k:soon", b"v", b"PX", b"10000000"),
    (b"SET", b"", b"the empty name"),
    (b"SET", b"\xff\n ", b""),
    (b"HSET", b"k:hash", b"f", b"v", b"g", b"\x00"),
    (b"RPUSH", b"k:list", *(b"%d" % n for n in range(300))),
    (b"SADD", b"k:set", b"a"),  # of several members the order is not fixed
    (b"SADD", b"k:numbers", b"1", b"2"),
    (b"ZADD", b"k:zset", b"1.5", b"m", b"inf", b"n"),
    (b"XADD", b"k:stream", b"1-1", b"f", b"v"),
    (b"XGROUP", b"CREATE", b"k:stream", b"group", b"0"),
    (b"PFADD", b"k:log", b"a", b"b"),
    (b"GEOADD", b"k:geo", b"13.4", b"52.5", b"Berlin"),
    (b"SETBIT", b"k:bits", b"1000", b"1"),
]
KEYS = tuple(dict.fromkeys(command[2 if command[0] == b"XGROUP" else 1] for command in EVERY_TYPE))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
async def source(redis_like: Server) -> AsyncIterator[Source]:
    opened = await open_source(parse_target(redis_like.url))
    yield opened
    await opened.close()


async def run(plan: Plan, source: Source, journal: Journal) -> Outcome:
    return await apply(plan, source, journal=journal, guard=FREE)


async def undone(receipt: str, source: Source, journal: Journal) -> Outcome:
    assert source.identity is not None
    return await run(plan_undo(source.identity, source.name, found(journal.path, receipt)), source, journal)


def everything(server: Server) -> dict[bytes, tuple[object, int]]:
    """Return DUMP and expiry (Unix milliseconds, to a few) of every key."""
    with server.client() as client:
        now_ms = time.time() * 1000
        return {
            key: (client.dump(key), -1 if (left := client.pttl(key)) < 0 else round((now_ms + left) / 1000))
            for key in client.scan_iter(count=1000)
        }


async def test_every_type_comes_back_as_it_was(redis_like: Server, source: Source, journal: Journal) -> None:
    for command in EVERY_TYPE:
        redis_like.command(*command)
    before = everything(redis_like)
    plan = planned(source, Selection(keys=KEYS))
    assert (await run(plan, source, journal)).done == len(KEYS)
    assert everything(redis_like) == {}
    outcome = await undone(plan.id, source, journal)
    assert tally(outcome) == (len(KEYS), 0, 0, 0, 0, 0), outcome.line()
    assert outcome.verified is True
    after = everything(redis_like)
    assert after.keys() == before.keys()
    for key, (dump, expiry) in before.items():
        assert after[key][0] == dump and abs(after[key][1] - expiry) <= 1, key
    assert journal.read()[0].undoes == plan.id
    with pytest.raises(BadUsage, match="nothing is kept"):
        found(journal.path, plan.id)


async def test_thousands_come_back_and_what_was_written_since_stays(
    redis_like: Server, source: Source, journal: Journal
) -> None:
    with redis_like.client() as client, client.pipeline(transaction=False) as pipe:
        for number in range(3000):
            pipe.set(b"k:%d" % number, b"old %d" % number)
        pipe.execute()
    plan = planned(source, Selection(pattern=b"k:*"), expected=3000)
    await run(plan, source, journal)
    redis_like.command("SET", "k:7", "new")
    outcome = await undone(plan.id, source, journal)
    assert tally(outcome) == (2999, 0, 0, 1, 0, 0), outcome.line()
    assert "written since" in outcome.line()
    with redis_like.client() as client:
        assert client.get("k:7") == b"new"
        assert client.get("k:8") == b"old 8"
        assert client.dbsize() == 3000


async def test_what_would_have_expired_stays_away(redis_like: Server, source: Source, journal: Journal) -> None:
    redis_like.command("SET", "short", "v", "PX", "1500")
    redis_like.command("SET", "long", "v")
    plan = planned(source, Selection(keys=(b"short", b"long")))
    deadline = time.monotonic() + 1.5
    await run(plan, source, journal)
    while time.monotonic() < deadline + 0.05:
        redis_like.command("PING")
    outcome = await undone(plan.id, source, journal)
    assert outcome.done == 1 and "expired by now" in outcome.line()
    assert set(everything(redis_like)) == {b"long"}


@pytest.mark.parametrize("operation", [Operation("expire", ttl_s=5000, jitter_s=500), Operation("persist")])
async def test_old_expiries_come_back(
    redis_like: Server, source: Source, journal: Journal, operation: Operation
) -> None:
    with redis_like.client() as client:
        for number in range(200):
            client.set(b"k:%d" % number, b"v", px=100_000_000 + 1000 * number if number % 2 else None)
    before = everything(redis_like)
    plan = planned(source, Selection(pattern=b"k:*"), operation)
    await run(plan, source, journal)
    redis_like.command("EXPIRE", "k:3", "77")
    redis_like.command("DEL", "k:5")
    outcome = await undone(plan.id, source, journal)
    # PERSIST has changed only those that had an expiry.
    assert outcome.failed == outcome.left == outcome.unknown == 0, outcome.line()
    assert outcome.skipped == 1 and "written since" in outcome.line()
    after = everything(redis_like)
    assert 70 <= int(str(redis_like.command("TTL", "k:3"))) <= 77
    for key, (_, expiry) in before.items():
        if key not in (b"k:3", b"k:5"):
            assert abs(after[key][1] - expiry) <= 2, key


async def test_memcached_items_come_back_with_flags_and_expiry(memcached: Server, journal: Journal) -> None:
    opened = await open_source(parse_target(f"memcached://{memcached.address}"))
    try:
        await opened.open()
        await opened.execute(
            [(b"set", b"k:%d" % n, b"%d" % n, b"%d" % (1000 * (n % 2)), b"v\r\n%d" % n) for n in range(100)]
        )
        plan = planned(opened, Selection(keys=tuple(b"k:%d" % n for n in range(100))))
        assert (await run(plan, opened, journal)).done == 100
        await opened.execute([(b"set", b"k:7", b"0", b"0", b"new")])
        outcome = await undone(plan.id, opened, journal)
        assert tally(outcome) == (99, 0, 0, 1, 0, 0), outcome.line()
        values = [await opened.value(b"k:%d" % n) for n in (6, 7, 9)]
        assert [value.items[0].data for value in values] == [b"v\r\n6", b"new", b"v\r\n9"]
        assert [value.flags for value in values] == [6, 0, 9]
        assert [value.facts.has_ttl for value in values] == [False, False, True]
    finally:
        await opened.close()


async def test_another_target_is_refused(redis7: Server, valkey9: Server, journal: Journal) -> None:
    redis7.command("SET", "k", "v")
    here = await open_source(parse_target(redis7.url))
    there = await open_source(parse_target(valkey9.url))
    try:
        plan = planned(here, Selection(keys=(b"k",)))
        await run(plan, here, journal)
        assert there.identity is not None
        with pytest.raises(Refused, match="that was done on"):
            plan_undo(there.identity, there.name, found(journal.path, plan.id))
        assert [one.head.receipt for one in receipts(journal.path, here.name)] == [plan.id]
        assert receipts(journal.path, there.name) == []
    finally:
        await here.close()
        await there.close()


@pytest.mark.parametrize("receipt", ["", "../journal", "none", "x\x1b"])
def test_an_unknown_receipt_is_said(journal: Journal, receipt: str) -> None:
    with pytest.raises(CacheError, match="nothing is kept"):
        found(journal.path, receipt)


async def test_without_a_copy_there_is_no_receipt(redis_like: Server, source: Source, journal: Journal) -> None:
    redis_like.command("SET", "k", "v")
    plan = planned(source, Selection(keys=(b"k",)), keep=None)
    outcome = await run(plan, source, journal)
    assert (outcome.done, outcome.kept) == (1, 0)
    assert receipts(journal.path) == []


async def test_a_full_spool_stops_and_what_is_left_stays(redis_like: Server, source: Source, journal: Journal) -> None:
    with redis_like.client() as client:
        for number in range(600):
            client.set(b"k:%d" % number, os.urandom(1000))
    plan = planned(source, Selection(keys=tuple(b"k:%d" % n for n in range(600))), keep=Keep(max_bytes=400_000))
    outcome = await run(plan, source, journal)
    assert outcome.state == "stopped" and "no more was deleted" in outcome.reason
    assert outcome.done + outcome.left == 600 and 0 < outcome.left < 600
    assert len(everything(redis_like)) == outcome.left
    assert (await undone(plan.id, source, journal)).done == outcome.done
    assert len(everything(redis_like)) == 600


WRITES: list[tuple[bytes, ...]] = [
    (b"SET", b"k:soon", b"changed", b"KEEPTTL"),
    (b"HSET", b"k:hash", b"f", b"changed"),
    (b"RENAMENX", b"k:list", b"renamed"),
    (b"SET", b"new", b"v"),
    (b"UNLINK", b"k:text"),
]


@pytest.mark.parametrize("write", WRITES, ids=[command[0].decode() + str(at) for at, command in enumerate(WRITES)])
async def test_a_small_write_is_taken_back(
    redis_like: Server, source: Source, journal: Journal, write: tuple[bytes, ...]
) -> None:
    for command in EVERY_TYPE:
        redis_like.command(*command)
    before = everything(redis_like)
    plan = edit(source, write)
    outcome = await run(plan, source, journal)
    assert (outcome.state, outcome.kept) == ("done", len(touched.keys_of(plan))), outcome.line()
    assert everything(redis_like).keys() != before.keys() or everything(redis_like) != before
    assert (await undone(plan.id, source, journal)).failed == 0
    after = everything(redis_like)
    assert {key: dump for key, (dump, _) in after.items()} == {key: dump for key, (dump, _) in before.items()}
    assert abs(after[b"k:soon"][1] - before[b"k:soon"][1]) <= 1


async def test_a_small_write_is_not_taken_back_over_another(
    redis_like: Server, source: Source, journal: Journal
) -> None:
    redis_like.command("SET", "k", "old")
    plan = edit(source, (b"SET", b"k", b"ours"))
    await run(plan, source, journal)
    redis_like.command("SET", "k", "theirs")
    outcome = await undone(plan.id, source, journal)
    assert (outcome.done, outcome.skipped) == (0, 1) and "written since" in outcome.line()
    assert redis_like.command("GET", "k") == b"theirs"


def edit(source: Source, command: tuple[bytes, ...]) -> Plan:
    assert source.identity is not None
    return stamped(source.identity, source.name, "Edit", [command], ["x"], needs="edit", risk="low", undo="")
