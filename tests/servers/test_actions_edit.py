"""Edits through the one writer on real servers: only on what was seen, TTL kept, journalled as they went."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from redis import Redis

from cachetui.actions.apply import Guard, Outcome, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import (
    NewKind,
    Plan,
    plan_copy,
    plan_hash_field,
    plan_import,
    plan_list_element,
    plan_list_push,
    plan_new,
    plan_rename,
    plan_set_member,
    plan_set_string,
    plan_stream_entry,
    plan_zset_member,
)
from cachetui.config import parse_target
from cachetui.errors import Refused
from cachetui.model import Identity
from cachetui.source.base import Command, Source
from cachetui.source.connect import open_source
from tests.contract.memcached_targets import Plain
from tests.servers.launch import Server

FREE = Guard(read_only=False)
KEY = b"user:\x00\xff\r\n1"
WHOLE_BYTES = 16 * 1024 * 1024

Run = Callable[[Plan], Awaitable[Outcome]]
Connect = Callable[[str], Awaitable[Source]]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Open sources that are closed at the end of the test."""
    opened: list[Source] = []

    async def start(url: str) -> Source:
        opened.append(await open_source(parse_target(url)))
        return opened[-1]

    yield start
    for each in opened:
        await each.close()


@pytest.fixture
async def source(redis_like: Server, connect: Connect) -> Source:
    return await connect(redis_like.url)


@pytest.fixture
def plain(redis_like: Server) -> Redis:
    return redis_like.client()


@pytest.fixture
def run(source: Source, journal: Journal) -> Run:
    return lambda plan: apply(plan, source, journal=journal, guard=FREE)


def of(source: Source) -> tuple[Identity, str]:
    assert source.identity is not None
    return source.identity, source.name


async def string_plan(source: Source, key: bytes, new: bytes) -> Plan:
    return plan_set_string(*of(source), await source.value(key, max_bytes=WHOLE_BYTES), new)


def assert_done(outcome: Outcome, commands: int = 1) -> None:
    assert (outcome.state, outcome.done, outcome.exit_code) == ("done", commands, 0), outcome.line()


def assert_nothing_done(outcome: Outcome, journal: Journal, words: str) -> None:
    """Check that the outcome, its exit code and the journal all say that nothing was done, and why."""
    assert (outcome.state, outcome.done, outcome.failed, outcome.unknown, outcome.exit_code) == ("refused", 0, 0, 0, 5)
    assert words in outcome.reason
    assert "nothing was written" in outcome.reason
    entry = journal.read(1)[0]
    assert (entry.outcome, entry.done, entry.error) == ("refused", 0, outcome.reason)
    assert entry.left == outcome.left > 0


async def test_a_string_is_set_with_its_ttl(source: Source, plain: Redis, run: Run, journal: Journal) -> None:
    plain.set(KEY, b"old\x00\xff", px=500_000)
    plan = await string_plan(source, KEY, b"new\r\n\xfe")
    assert plan.undo == r'SET "user:\x00\xff\r\n1" "old\x00\xff" KEEPTTL'
    outcome = await run(plan)
    assert_done(outcome)
    assert outcome.verified is True
    assert plain.get(KEY) == b"new\r\n\xfe"
    assert 490_000 < plain.pttl(KEY) <= 500_000
    assert journal.read(1)[0].outcome == "done"


async def test_a_value_that_somebody_else_wrote_stays(source: Source, plain: Redis, run: Run, journal: Journal) -> None:
    plain.set(KEY, b"old")
    plan = await string_plan(source, KEY, b"mine")
    plain.set(KEY, b"theirs\x1b[2J" + b"x" * 500)
    outcome = await run(plan)
    assert_nothing_done(outcome, journal, r"was changed by somebody else")
    assert r"theirs\x1b[2J" in outcome.reason
    assert len(outcome.reason) < 500
    assert plain.get(KEY) == b"theirs\x1b[2J" + b"x" * 500


@pytest.mark.parametrize("meanwhile", ["gone", "another type"])
async def test_a_key_that_is_gone_or_of_another_type_stays_so(
    source: Source, plain: Redis, run: Run, journal: Journal, meanwhile: str
) -> None:
    plain.set(KEY, b"old")
    plan = await string_plan(source, KEY, b"mine")
    plain.delete(KEY)
    if meanwhile == "another type":
        plain.rpush(KEY, b"theirs")
    assert_nothing_done(await run(plan), journal, "is gone" if meanwhile == "gone" else "changed by somebody else")
    assert plain.exists(KEY) == (meanwhile == "another type")


async def test_a_part_of_a_value_is_never_written_back(source: Source, plain: Redis) -> None:
    plain.set(KEY, b"x" * 100)
    value = await source.value(KEY, max_bytes=50)
    with pytest.raises(Refused, match="only a part"):
        plan_set_string(*of(source), value, b"y")


async def test_fields_of_a_hash(source: Source, plain: Redis, run: Run, journal: Journal) -> None:
    plain.hset(KEY, mapping={b"\xff": b"1", b"stays": b"s"})
    plain.pexpire(KEY, 500_000)
    who = of(source)
    assert_done(await run(plan_hash_field(*who, KEY, b"\xff", old=b"1", new=b"2")))
    assert_done(await run(plan_hash_field(*who, KEY, b"\n", old=None, new=b"")))
    assert plain.hgetall(KEY) == {b"\xff": b"2", b"\n": b"", b"stays": b"s"}
    assert_done(await run(plan_hash_field(*who, KEY, b"\n", old=b"", new=None)))
    assert plain.hgetall(KEY) == {b"\xff": b"2", b"stays": b"s"}
    assert plain.pttl(KEY) > 490_000
    late = plan_hash_field(*who, KEY, b"\xff", old=b"2", new=b"3")
    plain.hset(KEY, b"\xff", b"theirs")
    assert_nothing_done(await run(late), journal, "it reads theirs now")
    assert plain.hget(KEY, b"\xff") == b"theirs"


@pytest.mark.parametrize("server", ["valkey9", "stack"])
@pytest.mark.parametrize("keepttl_known", [False, True])
async def test_a_field_keeps_its_own_ttl(
    request: pytest.FixtureRequest, connect: Connect, journal: Journal, server: str, keepttl_known: bool
) -> None:
    started: Server = request.getfixturevalue(server)
    source, plain = await connect(started.url), started.client()
    if keepttl_known and (await source.flags(["HSETEX"]))["HSETEX"] is None:
        keepttl_known = False
    plain.hset("h", mapping={"f": "old", "other": "o"})
    plain.execute_command("HPEXPIRE", "h", 400_000, "FIELDS", 1, "f")
    (item,) = [item for item in (await source.value(b"h")).items if item.label == b"f"]
    assert item.ttl_s is not None
    plan = plan_hash_field(
        *of(source), b"h", b"f", old=b"old", new=b"new", field_ttl_s=item.ttl_s, keepttl_known=keepttl_known
    )
    assert_done(await apply(plan, source, journal=journal, guard=FREE), len(plan.steps))
    assert plain.hget("h", "f") == b"new"
    (left_ms,) = plain.execute_command("HPTTL", "h", "FIELDS", 1, "f")
    assert 380_000 < left_ms <= 400_000
    assert plain.execute_command("HPTTL", "h", "FIELDS", 1, "other") == [-1]


async def test_elements_of_a_list(source: Source, plain: Redis, run: Run, journal: Journal) -> None:
    plain.rpush(KEY, *[b"same"] * 5, b"\xff")
    plain.pexpire(KEY, 500_000)
    who = of(source)
    assert_done(await run(plan_list_element(*who, KEY, 5, old=b"\xff", new=b"\x00", length=6)))
    assert_done(await run(plan_list_push(*who, KEY, b"right")))
    assert_done(await run(plan_list_push(*who, KEY, b"left", end="left")))
    assert plain.lrange(KEY, 0, -1) == [b"left", *[b"same"] * 5, b"\x00", b"right"]
    plain.lset(KEY, 2, b"mark")
    # Of equal elements exactly the one at the index goes, and nothing of the removal stays behind.
    assert_done(await run(plan_list_element(*who, KEY, 3, old=b"same", new=None, length=8)), 2)
    assert_done(await run(plan_list_element(*who, KEY, 6, old=b"right", new=None, length=7)), 2)
    assert plain.lrange(KEY, 0, -1) == [b"left", b"same", b"mark", b"same", b"same", b"\x00"]
    assert plain.pttl(KEY) > 490_000
    late = plan_list_element(*who, KEY, 0, old=b"left", new=None)
    plain.lpush(KEY, b"theirs")
    assert_nothing_done(await run(late), journal, "it reads theirs now")
    assert plain.llen(KEY) == 7


async def test_nothing_is_pushed_onto_a_list_that_is_gone(
    source: Source, plain: Redis, run: Run, journal: Journal
) -> None:
    assert_nothing_done(await run(plan_list_push(*of(source), KEY, b"x")), journal, "is gone")
    assert not plain.exists(KEY)


async def test_members_of_a_set(source: Source, plain: Redis, run: Run, journal: Journal) -> None:
    plain.sadd(KEY, b"\xff")
    plain.pexpire(KEY, 500_000)
    who = of(source)
    # The only member in the place of the only member: the key, and its TTL, must not go in between.
    assert_done(await run(plan_set_member(*who, KEY, old=b"\xff", new=b"\x00")), 2)
    assert plain.pttl(KEY) > 490_000
    assert_done(await run(plan_set_member(*who, KEY, old=None, new=b"more")))
    assert plain.smembers(KEY) == {b"\x00", b"more"}
    assert_done(await run(plan_set_member(*who, KEY, old=b"more", new=None)))
    late = plan_set_member(*who, KEY, old=b"\x00", new=b"x")
    plain.sadd(KEY, b"x")
    assert_nothing_done(await run(late), journal, "is there already")
    assert plain.smembers(KEY) == {b"\x00", b"x"}


async def test_members_of_a_sorted_set(source: Source, plain: Redis, run: Run, journal: Journal) -> None:
    plain.zadd(KEY, {b"\xff": 0.1})
    plain.pexpire(KEY, 500_000)
    who = of(source)
    assert_done(await run(plan_zset_member(*who, KEY, b"\xff", old_score=0.1, new_score=0.1, renamed=b"n")), 2)
    assert plain.pttl(KEY) > 490_000
    assert_done(await run(plan_zset_member(*who, KEY, b"n", old_score=0.1, new_score=1e300)))
    assert_done(await run(plan_zset_member(*who, KEY, b"i", old_score=None, new_score=float("-inf"))))
    assert plain.zrange(KEY, 0, -1, withscores=True) == [(b"i", float("-inf")), (b"n", 1e300)]
    assert_done(await run(plan_zset_member(*who, KEY, b"i", old_score=float("-inf"), new_score=None)))
    late = plan_zset_member(*who, KEY, b"n", old_score=1e300, new_score=3.0)
    plain.zadd(KEY, {b"n": 2.5})
    assert_nothing_done(await run(late), journal, "it reads 2.5 now")
    assert plain.zscore(KEY, b"n") == 2.5


async def test_entries_of_a_stream(source: Source, plain: Redis, run: Run, journal: Journal) -> None:
    plain.xadd(KEY, {b"f": b"v"}, id="5-1")
    who = of(source)
    assert_done(await run(plan_stream_entry(*who, KEY, entry_id=None, fields=[(b"\xff", b"\r\n"), (b"b", b"")])))
    assert plain.xrange(KEY)[1][1] == {b"\xff": b"\r\n", b"b": b""}
    assert_done(await run(plan_stream_entry(*who, KEY, entry_id=b"5-1", fields=None)))
    assert plain.xlen(KEY) == 1
    late = plan_stream_entry(*who, KEY, entry_id=None, fields=[(b"a", b"b")])
    plain.delete(KEY)
    assert_nothing_done(await run(late), journal, "is gone")
    assert not plain.exists(KEY)


NEW: list[tuple[NewKind, object, str]] = [
    ("string", b"\xff\x00", "string"),
    ("string", b"", "string"),
    ("hash", [(b"f", b"v"), (b"\xff", b"")], "hash"),
    ("list", [b"a", b"a", b"\xff"], "list"),
    ("set", [b"a", b"b"], "set"),
    ("zset", [(b"a", 0.1), (b"b", float("inf"))], "zset"),
    ("stream", [(b"f", b"v")], "stream"),
    ("hyperloglog", [b"a", b"b"], "string"),
]


@pytest.mark.parametrize(("kind", "content", "type_"), NEW, ids=lambda value: str(value)[:20])
async def test_a_new_key_is_made_only_where_there_is_none(
    source: Source, plain: Redis, run: Run, journal: Journal, kind: NewKind, content: object, type_: str
) -> None:
    plan = plan_new(*of(source), KEY, kind, content, ttl_s=500)  # type: ignore[arg-type]
    outcome = await run(plan)
    assert_done(outcome, 2)
    assert outcome.verified is True
    assert plain.type(KEY) == type_.encode()
    assert 490 < plain.ttl(KEY) <= 500
    before = plain.dump(KEY)
    again = plan_new(*of(source), KEY, kind, content)  # type: ignore[arg-type]
    assert_nothing_done(await run(again), journal, "is there already")
    assert plain.dump(KEY) == before
    assert plain.ttl(KEY) > 490


@pytest.mark.parametrize("verb", ["rename", "copy"])
async def test_a_name_that_is_taken_is_not_overwritten(
    source: Source, plain: Redis, run: Run, journal: Journal, verb: str
) -> None:
    plain.set(KEY, b"v", px=500_000)
    build = plan_rename if verb == "rename" else plan_copy
    (facts,) = (await source.facts([KEY])).facts
    assert_done(await run(build(*of(source), facts, b"\xfe new")))
    assert plain.get(b"\xfe new") == b"v"
    assert plain.pttl(b"\xfe new") > 490_000
    assert plain.exists(KEY) == (verb == "copy")
    plain.set("taken", b"theirs")
    assert_nothing_done(await run(build(*of(source), b"\xfe new", b"taken")), journal, "is there already")
    assert (plain.get("taken"), plain.get(b"\xfe new")) == (b"theirs", b"v")
    assert_nothing_done(await run(build(*of(source), b"nowhere", b"other")), journal, "is gone")
    assert not plain.exists("other")


async def test_an_import_leaves_what_is_there_alone(source: Source, plain: Redis, run: Run) -> None:
    plain.set("k:1", b"theirs")
    given: list[tuple[bytes, list[Command]]] = [
        (b"k:%d" % at, [(b"RPUSH", b"k:%d" % at, b"a", b"\xff"), (b"PEXPIRE", b"k:%d" % at, b"500000")])
        for at in range(1500)
    ]
    plan = plan_import(*of(source), given, frozenset((b"k:1",)))
    assert any("skipped: 1 keys" in line for line in plan.what)
    plain.set("k:7", b"born since")
    outcome = await run(plan)
    assert (outcome.state, outcome.done, outcome.missing, outcome.failed) == ("done", 2 * 1498, 2, 0)
    assert "1 keys are there by now" in outcome.reason
    assert (plain.get("k:1"), plain.get("k:7"), plain.dbsize()) == (b"theirs", b"born since", 1500)
    assert plain.lrange("k:1499", 0, -1) == [b"a", b"\xff"]
    assert plain.pttl("k:1499") > 400_000


async def test_read_only_and_replicas_take_no_edit(
    source: Source, plain: Redis, journal: Journal, new_server: Callable[..., Server], redis_like: Server
) -> None:
    plain.set(KEY, b"old")
    plan = await string_plan(source, KEY, b"mine")
    with pytest.raises(Refused, match="read-only"):
        await apply(plan, source, journal=journal, guard=Guard(read_only=True))
    plain.replicaof("127.0.0.1", 1)
    try:
        await source.poll("stats")
        outcome_or_error: object
        try:
            outcome_or_error = await apply(plan, source, journal=journal, guard=FREE)
        except Refused as error:
            outcome_or_error = error
        else:
            assert outcome_or_error.state in ("failed", "refused")
        assert "replica" in str(outcome_or_error)
    finally:
        plain.replicaof("NO", "ONE")
    assert plain.get(KEY) == b"old"


@pytest.mark.parametrize("denied", ["watch", "multi", "exec", "get"])
async def test_without_a_permission_nothing_is_written(
    redis_like: Server, plain: Redis, connect: Connect, journal: Journal, denied: str
) -> None:
    plain.set("k", b"old")
    plain.acl_setuser("editor", enabled=True, reset=True, passwords=["+pw"], keys=["*"], commands=["+@all"])
    try:
        source = await connect(redis_like.url.replace("redis://", "redis://editor:pw@"))
        plan = await string_plan(source, b"k", b"mine")
        plain.execute_command("ACL", "SETUSER", "editor", f"-{denied}")
        outcome = await apply(plan, source, journal=journal, guard=FREE)
    finally:
        plain.acl_deluser("editor")
    assert (outcome.state, outcome.exit_code, outcome.done) == ("refused", 5, 0)
    assert denied in outcome.reason.lower()
    assert plain.get("k") == b"old"


async def test_a_json_document_is_set_whole(stack: Server, connect: Connect, journal: Journal) -> None:
    source, plain = await connect(stack.url), stack.client()
    plain.execute_command("JSON.SET", "doc", "$", '{"a": [1, 2.5, "\u00e9"], "b": null}')
    plain.pexpire("doc", 500_000)
    plan = await string_plan(source, b"doc", b'{"a": []}')
    assert_done(await apply(plan, source, journal=journal, guard=FREE))
    assert plain.execute_command("JSON.GET", "doc") == b'{"a":[]}'
    assert plain.pttl("doc") > 490_000
    late = await string_plan(source, b"doc", b"1")
    plain.execute_command("JSON.SET", "doc", "$.a", "[7]")
    assert_nothing_done(await apply(late, source, journal=journal, guard=FREE), journal, "changed by somebody else")
    assert plain.execute_command("JSON.GET", "doc") == b'{"a":[7]}'
    made = plan_new(*of(source), b"made", "json", b'{"x": 1}', ttl_s=500)
    assert_done(await apply(made, source, journal=journal, guard=FREE), 2)
    assert plain.execute_command("JSON.GET", "made") == b'{"x":1}'


async def test_a_memcached_item_keeps_flags_and_ttl(memcached: Server, connect: Connect, journal: Journal) -> None:
    source = await connect(f"memcached://{memcached.address}")
    with Plain(memcached) as plain:
        plain.say(b"set k 7 500 3\r\nold")
        plan = await string_plan(source, b"k", b"new\r\nflush_all\r\n\x00\xff")
        outcome = await apply(plan, source, journal=journal, guard=FREE)
        assert_done(outcome)
        assert outcome.verified is True
        assert (await source.value(b"k")).items[0].data == b"new\r\nflush_all\r\n\x00\xff"
        assert plain.say(b"mg k f t") in (b"HD f7 t500", b"HD f7 t499", b"HD f7 t498")
        late = await string_plan(source, b"k", b"mine")
        plain.say(b"set k 0 0 6\r\ntheirs")
        assert_nothing_done(await apply(late, source, journal=journal, guard=FREE), journal, "it reads theirs now")
        late = await string_plan(source, b"k", b"mine")
        plain.say(b"delete k")
        assert_nothing_done(await apply(late, source, journal=journal, guard=FREE), journal, "is gone")
        assert plain.say(b"mg k") == b"EN"


async def test_a_new_memcached_item(memcached: Server, connect: Connect, journal: Journal) -> None:
    source = await connect(f"memcached://{memcached.address}")
    with Plain(memcached) as plain:
        made = plan_new(*of(source), b"k", "item", b"a\r\nb", ttl_s=40 * 86400)
        assert_done(await apply(made, source, journal=journal, guard=FREE))
        assert plain.say(b"mg k s t").split()[0:2] == [b"HD", b"s4"]
        assert 40 * 86400 - 10 < int(plain.say(b"mg k t").split()[1][1:]) <= 40 * 86400 + 2
        again = plan_new(*of(source), b"k", "item", b"mine")
        assert_nothing_done(await apply(again, source, journal=journal, guard=FREE), journal, "is there already")
        with pytest.raises(Refused, match="read-only"):
            await apply(
                plan_new(*of(source), b"k2", "item", b"x"), source, journal=journal, guard=Guard(read_only=True)
            )
        assert plain.say(b"mg k2") == b"EN"
