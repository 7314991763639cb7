"""The one writer against a real Memcached."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pymemcache.client.base import Client

from cachetui.actions.apply import Guard, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import Command, Plan, plan_delete, plan_maxmemory, plan_ttl
from cachetui.config import parse_target
from cachetui.errors import Refused
from cachetui.model import Stats
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers.launch import Server

FREE = Guard(read_only=False)
READ_ONLY = Guard(read_only=True)
MB = 1024**2


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
async def source(memcached: Server) -> AsyncIterator[Source]:
    opened = await open_source(parse_target(f"memcached://{memcached.address}"))
    yield opened
    await opened.close()


@pytest.fixture
def client(memcached: Server) -> Client:
    return Client(("127.0.0.1", memcached.port), connect_timeout=2, timeout=2, default_noreply=False)


def delete(source: Source, keys: list[bytes]) -> Plan:
    assert source.identity is not None
    return plan_delete(source.identity, source.name, keys)


async def test_exactly_the_planned_keys_go(source: Source, client: Client, journal: Journal) -> None:
    keys = [b"k:%d" % number for number in range(1200)]
    odd = [b"\xff\xfe", b'"quoted"', b"back\\slash", b"k" * 250, "鍵".encode()]
    for key in (*keys, *odd, b"bystander"):
        client.set(key, b"v")
    client.delete(b"k:7")
    plan = delete(source, [*keys, *odd])
    assert client.get(b"k:8") == b"v"
    outcome = await apply(plan, source, journal=journal, guard=FREE)
    assert (outcome.state, outcome.done, outcome.missing, outcome.failed) == ("done", 1204, 1, 0)
    assert outcome.verified is True
    assert client.get_many([*keys, *odd, b"bystander"]) == {b"bystander": b"v"}


async def test_ttl_is_set_and_taken_away(source: Source, client: Client, journal: Journal) -> None:
    client.set(b"a", b"v")
    assert source.identity is not None
    for ttl_s in (100, 40 * 86400, None):
        plan = plan_ttl(source.identity, source.name, [b"a", b"gone"], ttl_s)
        outcome = await apply(plan, source, journal=journal, guard=FREE)
        assert (outcome.done, outcome.missing, outcome.failed) == (1, 1, 0)
        left = (await source.facts([b"a"])).facts[0].ttl_s
        assert left is None if ttl_s is None else left is not None and abs(left - ttl_s) <= 5
    assert client.get(b"a") == b"v"


async def test_the_limit_is_set_and_read_back(new_server: Callable[..., Server], journal: Journal) -> None:
    server = new_server("memcached", "-m", "64")
    source = await open_source(parse_target(f"memcached://{server.address}"))
    try:
        stats = await source.poll("stats")
        assert isinstance(stats, Stats)
        assert source.identity is not None
        plan = plan_maxmemory(source.identity, source.name, stats, 100 * MB)
        assert plan.undo.startswith("cache_memlimit 64")
        outcome = await apply(plan, source, journal=journal, guard=FREE)
        assert (outcome.state, outcome.verified) == ("done", True)
        stats = await source.poll("stats")
        assert isinstance(stats, Stats)
        assert stats.maxmemory_bytes == 100 * MB
    finally:
        await source.close()


@pytest.mark.parametrize(
    "command",
    [
        (b"delete", b"k"),
        (b"flush_all",),
        (b"touch", b"k", b"1"),
        (b"cache_memlimit", b"8"),
        (b"set", b"k", b"0", b"0", b"1"),
        (b"md", b"k"),
        (b"lru", b"mode", b"flat"),
        (b"shutdown",),
        (b"no_such_command",),
    ],
)
async def test_read_only_refuses_whatever_the_plan_says(
    source: Source, client: Client, journal: Journal, command: Command
) -> None:
    client.set(b"k", b"v")
    plan = dataclasses.replace(delete(source, [b"k"]), steps=(command,))
    with pytest.raises(Refused, match="read-only"):
        await apply(plan, source, journal=journal, guard=READ_ONLY)
    assert client.get(b"k") == b"v"
    assert journal.read() == []


@pytest.mark.parametrize("key", [b"k\r\nflush_all", b"k l", b"", b"k\x00"])
@pytest.mark.parametrize("guard", [FREE, READ_ONLY])
async def test_a_handmade_plan_cannot_inject_a_line(
    source: Source, client: Client, journal: Journal, key: bytes, guard: Guard
) -> None:
    client.set(b"k", b"v")
    for verb in (b"get", b"delete"):
        plan = dataclasses.replace(delete(source, [b"k"]), steps=((verb, key),))
        with pytest.raises(Refused, match="not a command"):
            await apply(plan, source, journal=journal, guard=guard)
    assert client.get(b"k") == b"v"


async def test_a_server_killed_half_way_leaves_an_honest_tally(
    new_server: Callable[..., Server], journal: Journal
) -> None:
    server = new_server("memcached")
    source = await open_source(parse_target(f"memcached://{server.address}"))
    try:
        outcome = await apply(
            delete(source, [b"k:%d" % number for number in range(3000)]),
            source,
            journal=journal,
            guard=FREE,
            progress=lambda now: server.kill() if now.left == 2000 else None,
        )
    finally:
        await source.close()
    assert (outcome.state, outcome.missing, outcome.failed + outcome.unknown, outcome.left) == (
        "stopped",
        1000,
        500,
        1500,
    )
    assert journal.read()[0].outcome == "stopped"
