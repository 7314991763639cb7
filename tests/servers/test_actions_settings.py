"""Policy, maxmemory and CONFIG REWRITE on real servers, read back afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from cachetui.actions.apply import Guard, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import Plan, plan_maxmemory, plan_policy, plan_rewrite
from cachetui.config import parse_target
from cachetui.model import Stats
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers.launch import SERVERS, Server

FREE = Guard(read_only=False)
MB = 1024**2


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture(params=sorted(SERVERS))
def server(request: pytest.FixtureRequest, new_server: Callable[..., Server]) -> Server:
    """A server of each kind whose settings the test may change."""
    return new_server(request.param)


@pytest.fixture
async def source(server: Server) -> AsyncIterator[Source]:
    opened = await open_source(parse_target(server.url))
    yield opened
    await opened.close()


async def policy_plan(source: Source, policy: str, **more: bool) -> Plan:
    stats = await source.poll("stats")
    assert isinstance(stats, Stats)
    assert source.identity is not None
    return plan_policy(source.identity, source.name, stats, policy, await source.policies(), **more)


async def maxmemory_plan(source: Source, size_bytes: int) -> Plan:
    stats = await source.poll("stats")
    assert isinstance(stats, Stats)
    assert source.identity is not None
    return plan_maxmemory(source.identity, source.name, stats, size_bytes)


def setting(server: Server, name: str) -> str:
    reply = server.command("CONFIG", "GET", name)
    assert isinstance(reply, dict)
    return next(iter(reply.values())).decode()


async def test_every_policy_the_server_allows_can_be_set_and_is_verified(
    server: Server, source: Source, journal: Journal
) -> None:
    for policy in (*await source.policies(), "noeviction"):
        outcome = await apply(await policy_plan(source, policy), source, journal=journal, guard=FREE)
        assert (outcome.state, outcome.done, outcome.verified, outcome.exit_code) == ("done", 1, True, 0)
        assert setting(server, "maxmemory-policy") == policy
    assert journal.read()[0].undo.startswith("CONFIG SET maxmemory-policy ")


async def test_the_undo_text_is_the_way_back(server: Server, source: Source, journal: Journal) -> None:
    plan = await policy_plan(source, "allkeys-lru")
    await apply(plan, source, journal=journal, guard=FREE)
    server.command(*plan.undo.split())
    assert setting(server, "maxmemory-policy") == "noeviction"


async def test_a_lower_limit_evicts_about_as_much_as_was_said(server: Server, source: Source, journal: Journal) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.mset({f"k{number}": "v" * 1000 for number in range(8000)})
        limit = client.info("memory")["used_memory"] - 4 * MB
    plan = await maxmemory_plan(source, limit)
    assert plan.typed == source.name.rpartition("://")[2]
    said = next(line for line in plan.what if "at once: evicts" in line)
    outcome = await apply(plan, source, journal=journal, guard=FREE)
    assert outcome.verified is True
    left = server.command("DBSIZE")
    assert isinstance(left, int)
    foretold = int(said.split("(some ")[1].split(" ")[0].replace(",", ""))
    assert 0.5 * foretold < 8000 - left < 2 * foretold


async def test_a_lower_limit_under_noeviction_stops_writes_as_was_said(
    server: Server, source: Source, journal: Journal
) -> None:
    plan = await maxmemory_plan(source, 100_000)
    assert any("writes fail with OOM" in line for line in plan.what)
    await apply(plan, source, journal=journal, guard=FREE)
    with server.client() as client, pytest.raises(ResponseError, match="maxmemory"):
        client.set("k", "v")


async def test_rewrite_without_a_file_fails_and_the_setting_holds(
    server: Server, source: Source, journal: Journal
) -> None:
    outcome = await apply(await policy_plan(source, "allkeys-lru", rewrite=True), source, journal=journal, guard=FREE)
    assert (outcome.state, outcome.done, outcome.failed, outcome.verified) == ("failed", 1, 1, True)
    assert "config file" in outcome.reason
    assert outcome.errors[0].command == "CONFIG REWRITE"


async def test_after_a_refused_setting_the_file_is_not_rewritten(
    server: Server, source: Source, journal: Journal
) -> None:
    plan = await policy_plan(source, "allkeys-lru", rewrite=True)
    wrong = (b"CONFIG", b"SET", b"maxmemory-policy", b"nonsense")
    plan = dataclasses.replace(plan, steps=(wrong, *list(plan.steps)[1:]))
    outcome = await apply(plan, source, journal=journal, guard=FREE)
    assert (outcome.state, outcome.failed, outcome.left, outcome.done) == ("failed", 1, 1, 0)


async def test_what_another_set_in_the_same_moment_is_noticed(server: Server, source: Source, journal: Journal) -> None:
    plan = await policy_plan(source, "allkeys-lru")
    outcome = await apply(
        plan,
        source,
        journal=journal,
        guard=FREE,
        progress=lambda now: server.command("CONFIG", "SET", "maxmemory-policy", "volatile-ttl") and None,
    )
    assert (outcome.state, outcome.verified, outcome.exit_code) == ("done", False, 4)
    assert outcome.checks == ("maxmemory-policy reads volatile-ttl, not allkeys-lru",)


async def test_rewrite_makes_it_permanent(new_server: Callable[..., Server], journal: Journal, tmp_path: Path) -> None:
    file = tmp_path / "redis.conf"
    file.write_text("")
    server = new_server("redis7")
    server.stop()
    server.argv.insert(1, str(file))
    server.start()
    source = await open_source(parse_target(server.url))
    try:
        await apply(await policy_plan(source, "allkeys-lfu"), source, journal=journal, guard=FREE)
        assert "allkeys-lfu" not in file.read_text()
        assert source.identity is not None
        plan = plan_rewrite(source.identity, source.name)
        assert (await apply(plan, source, journal=journal, guard=FREE)).state == "done"
        assert "maxmemory-policy allkeys-lfu" in file.read_text()
    finally:
        await source.close()
