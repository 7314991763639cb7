"""What may not be written is not: read-only mode, replicas, ACLs, and a server that refuses."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cachetui.actions.apply import Guard, Progress, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import (
    Command,
    Plan,
    plan_delete,
    plan_maxmemory,
    plan_policy,
    plan_rewrite,
    plan_slowlog_reset,
    plan_ttl,
)
from cachetui.config import parse_target
from cachetui.errors import Busy, Denied, Refused
from cachetui.model import Stats
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers.launch import Server

FREE = Guard(read_only=False)
READ_ONLY = Guard(read_only=True, reason="profile prod")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[str], object]]:
    """Open sources that are closed at the end of the test."""
    opened: list[Source] = []

    async def start(url: str) -> Source:
        opened.append(await open_source(parse_target(url)))
        return opened[-1]

    yield start
    for each in opened:
        await each.close()


def handmade(source: Source, *commands: Command) -> Plan:
    """Return a plan that no builder made."""
    assert source.identity is not None
    plan = plan_slowlog_reset(source.identity, source.name)
    return dataclasses.replace(plan, steps=commands, title="by hand")


@pytest.mark.parametrize(
    "command",
    [
        (b"FLUSHALL",),
        (b"EVAL", b"return redis.call('flushall')", b"0"),
        (b"CONFIG", b"SET", b"maxmemory", b"1"),
        (b"config", b"set", b"maxmemory", b"1"),
        (b"CONFIG", b"GET", b"maxmemory"),
        (b"SET", b"k", b"v"),
        (b"GETDEL", b"k"),
        (b"PUBLISH", b"c", b"m"),
        (b"DEBUG", b"SLEEP", b"0"),
        (b"CLIENT", b"KILL", b"ID", b"1"),
        (b"SHUTDOWN", b"NOSAVE"),
        (b"REPLICAOF", b"h", b"1"),
        (b"KEYS", b"*"),
        (b"NO.SUCH.COMMAND",),
        (b"GET\r\nFLUSHALL",),
        (b"", b"k"),
        (b"\xff",),
    ],
)
async def test_read_only_refuses_by_the_servers_own_flags(
    redis_like: Server, connect: Callable[[str], object], journal: Journal, command: Command
) -> None:
    redis_like.command("SET", "k", "v")
    source = await connect(redis_like.url)  # type: ignore[misc]
    for steps in ([command], [(b"GET", b"k"), command]):
        with pytest.raises(Refused, match=r"read-only \(profile prod\)"):
            await apply(handmade(source, *steps), source, journal=journal, guard=READ_ONLY)
    assert redis_like.command("GET", "k") == b"v"
    assert redis_like.command("CONFIG", "GET", "maxmemory")[b"maxmemory"] == b"0"  # type: ignore[index]
    assert journal.read() == []


async def test_read_only_refuses_every_plan_there_is(
    redis_like: Server, connect: Callable[[str], object], journal: Journal
) -> None:
    redis_like.command("SET", "k", "v")
    before = redis_like.command("DEBUG", "DIGEST")
    source = await connect(redis_like.url)  # type: ignore[misc]
    who, stats = source.identity, await source.poll("stats")
    assert isinstance(stats, Stats)
    plans = [
        plan_delete(who, source.name, [b"k"]),
        plan_delete(who, source.name, [b"k"], unlink_known=False),
        plan_ttl(who, source.name, [b"k"], 1),
        plan_ttl(who, source.name, [b"k"], None),
        plan_policy(who, source.name, stats, "allkeys-lru", ()),
        plan_maxmemory(who, source.name, stats, 1024**2),
        plan_rewrite(who, source.name),
        plan_slowlog_reset(who, source.name),
    ]
    for plan in plans:
        with pytest.raises(Refused, match="read-only"):
            await apply(plan, source, journal=journal, guard=READ_ONLY)
    assert redis_like.command("DEBUG", "DIGEST") == before
    assert redis_like.command("CONFIG", "GET", "maxmemory-policy")[b"maxmemory-policy"] == b"noeviction"  # type: ignore[index]


async def test_a_replica_is_refused_in_words_and_its_settings_are_not(
    new_server: Callable[..., Server], connect: Callable[[str], object], journal: Journal
) -> None:
    primary = new_server("redis7")
    replica = new_server("redis7", "--replicaof", f"127.0.0.1 {primary.port}")
    source = await connect(replica.url)  # type: ignore[misc]
    assert source.identity.role == "replica"
    with pytest.raises(Refused, match="replica and takes no writes"):
        await apply(handmade(source, (b"UNLINK", b"k")), source, journal=journal, guard=FREE)
    stats = await source.poll("stats")
    plan = plan_policy(source.identity, source.name, stats, "allkeys-lru", await source.policies())
    outcome = await apply(plan, source, journal=journal, guard=FREE)
    assert (outcome.state, outcome.verified) == ("done", True)


async def test_a_failover_under_way_stops_it_at_the_next_batch(
    new_server: Callable[..., Server], connect: Callable[[str], object], journal: Journal
) -> None:
    primary, server = new_server("redis7"), new_server("redis7")
    source = await connect(server.url)  # type: ignore[misc]

    def fail_over(now: Progress) -> None:
        if now.left == 1500:
            server.command("REPLICAOF", "127.0.0.1", str(primary.port))

    plan = plan_delete(source.identity, source.name, [b"k:%d" % number for number in range(2000)])
    outcome = await apply(plan, source, journal=journal, guard=FREE, progress=fail_over)
    assert (outcome.state, outcome.missing, outcome.failed, outcome.left) == ("stopped", 500, 500, 1000)
    assert "replica" in outcome.reason


async def test_what_stopped_it_is_named_and_not_an_earlier_refusal(
    new_server: Callable[..., Server], connect: Callable[[str], object], journal: Journal
) -> None:
    primary, server = new_server("redis7"), new_server("redis7")
    server.command("ACL", "SETUSER", "kim", "on", ">pw", "~mine:*", "+@all")
    source = await connect(f"redis://kim:pw@{server.address}")  # type: ignore[misc]
    keys = [b"other:%d" % number for number in range(10)] + [b"mine:%d" % number for number in range(2000)]
    outcome = await apply(
        plan_delete(source.identity, source.name, keys),
        source,
        journal=journal,
        guard=FREE,
        progress=lambda now: server.command("REPLICAOF", "127.0.0.1", str(primary.port)) and None,
    )
    assert (outcome.state, outcome.missing, outcome.failed) == ("stopped", 490, 510)
    assert isinstance(outcome.errors[0].error, Denied)
    assert "READONLY" in outcome.reason


async def test_a_user_without_unlink_is_told_so_and_the_rest_is_not_sent(
    new_server: Callable[..., Server], connect: Callable[[str], object], journal: Journal
) -> None:
    server = new_server("redis7")
    server.command("ACL", "SETUSER", "ann", "on", ">pw", "~*", "+@all", "-unlink")
    server.command("MSET", *(word for number in range(1200) for word in (f"k{number}", "v")))
    source = await connect(f"redis://ann:pw@{server.address}")  # type: ignore[misc]
    keys = [b"k%d" % number for number in range(1200)]
    plan = plan_delete(source.identity, source.name, keys)
    outcome = await apply(plan, source, journal=journal, guard=FREE)
    assert (outcome.state, outcome.exit_code) == ("refused", 5)
    assert (outcome.done, outcome.failed, outcome.left) == (0, 500, 700)
    assert isinstance(outcome.errors[0].error, Denied)
    assert outcome.errors[0].command == "UNLINK k0"
    assert server.command("DBSIZE") == 1200
    assert "pw" not in journal.path.read_text()
    plan = plan_delete(source.identity, source.name, keys, unlink_known=False)
    assert (await apply(plan, source, journal=journal, guard=FREE)).done == 1200


async def test_keys_outside_an_acl_are_counted_one_by_one(
    new_server: Callable[..., Server], connect: Callable[[str], object], journal: Journal
) -> None:
    server = new_server("redis7")
    server.command("ACL", "SETUSER", "bob", "on", ">pw", "~mine:*", "+@all")
    server.command("MSET", "mine:1", "v", "other:1", "v", "mine:2", "v")
    source = await connect(f"redis://bob:pw@{server.address}")  # type: ignore[misc]
    plan = plan_delete(source.identity, source.name, [b"mine:1", b"other:1", b"mine:2"])
    outcome = await apply(plan, source, journal=journal, guard=FREE)
    assert (outcome.state, outcome.done, outcome.failed, outcome.left) == ("failed", 2, 1, 0)
    assert outcome.exit_code == 4
    assert [failure.command for failure in outcome.errors] == ["UNLINK other:1"]
    assert server.command("KEYS", "*") == [b"other:1"]


async def test_a_user_who_may_not_ask_for_flags_may_write_but_not_in_read_only(
    new_server: Callable[..., Server], connect: Callable[[str], object], journal: Journal
) -> None:
    server = new_server("redis7")
    server.command("ACL", "SETUSER", "eve", "on", ">pw", "~*", "+unlink", "+ping", "+hello", "+exists", "+scan")
    server.command("SET", "k", "v")
    source = await connect(f"redis://eve:pw@{server.address}")  # type: ignore[misc]
    with pytest.raises(Refused, match="read-only"):
        await apply(plan_delete(source.identity, source.name, [b"k"]), source, journal=journal, guard=READ_ONLY)
    assert server.command("DBSIZE") == 1
    outcome = await apply(plan_delete(source.identity, source.name, [b"k"]), source, journal=journal, guard=FREE)
    assert (outcome.state, outcome.done) == ("done", 1)


async def test_a_full_server_and_a_senseless_reply_count_as_failed(
    new_server: Callable[..., Server], connect: Callable[[str], object], journal: Journal
) -> None:
    server = new_server("redis7", "--maxmemory", "1mb", "--maxmemory-policy", "noeviction")
    source = await connect(server.url)  # type: ignore[misc]
    plan = handmade(source, (b"SET", b"k", b"v" * 2_000_000), (b"SET", b"l", b"v"), (b"SET", b"m", b"v"))
    server.command("CONFIG", "SET", "maxmemory", "1")
    outcome = await apply(plan, source, journal=journal, guard=FREE)
    assert (outcome.state, outcome.failed, outcome.left) == ("failed", 1, 2)
    assert "OOM" in outcome.reason
    outcome = await apply(handmade(source, (b"GET", b"k")), source, journal=journal, guard=FREE)
    assert (outcome.state, outcome.failed) == ("failed", 1)
    assert "unexpected reply" in outcome.reason


async def test_a_server_blocked_by_a_script_is_named_before_anything_is_sent(
    new_server: Callable[..., Server], connect: Callable[[str], object], journal: Journal
) -> None:
    server = new_server("redis7", "--busy-reply-threshold", "1")
    source = await connect(server.url)  # type: ignore[misc]
    server.command("SET", "k", "v")
    plan = plan_delete(source.identity, source.name, [b"k"])
    with server.client() as client:
        script = client.connection_pool.get_connection()
        script.send_command("EVAL", "while true do end", 0)
        async with asyncio.timeout(10):
            while not await _busy(source):
                pass
        try:
            with pytest.raises(Busy, match="script"):
                await apply(plan, source, journal=journal, guard=FREE)
        finally:
            server.command("SCRIPT", "KILL")
            script.disconnect()
    assert server.command("GET", "k") == b"v"
    assert journal.read() == []


async def _busy(source: Source) -> bool:
    try:
        await source.poll("stats")
    except Busy:
        return True
    return False
