"""Failovers that are asked for: planned, previewed, watched to their end, journalled; and those that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cachetui.actions import failover
from cachetui.actions.apply import Guard, Outcome, Progress, apply
from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.journal import Journal
from cachetui.actions.plan import Plan
from cachetui.actions.plan import failover as planning
from cachetui.actions.plan.failover import candidates, plan_failover, plan_sentinel_failover
from cachetui.config import parse_target
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.model import Topology
from cachetui.source.base import Source
from cachetui.source.connect import make_source, open_source
from tests.contract.redis_targets import until
from tests.servers.groups import NAME, SentinelGroup, sentinel_group
from tests.servers.launch import Server
from tests.servers.program import run

FREE = Guard(read_only=False)
KINDS = ("redis7", "valkey9")


@pytest.fixture
async def group(request: pytest.FixtureRequest, _shared: Callable[..., Server]) -> AsyncIterator[SentinelGroup]:
    found = sentinel_group(getattr(request, "param", "redis7"), _shared)
    await found.heal()
    yield found
    await found.heal()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[Source, Nodes]]:
    target = parse_target(url)
    source = await open_source(target)
    async with Nodes(target, make_source) as nodes:
        try:
            yield source, nodes
        finally:
            await source.close()


async def whole(source: Source, servers: int) -> Topology:
    """Return the topology once all servers of it are online and known."""
    for _ in range(400):
        seen = await source.poll("topology")
        assert isinstance(seen, Topology)
        if len(seen.nodes) == servers and all(node.state == "online" and node.replication for node in seen.nodes):
            return seen
        await until(lambda: True)
    raise AssertionError(f"waited in vain: {seen}")


async def carried_out(plan: Plan, source: Source, nodes: Nodes, journal: Journal) -> tuple[Outcome, list[str]]:
    notes: list[str] = []

    def told(progress: Progress) -> None:
        if progress.note and progress.note not in notes:
            notes.append(progress.note)

    outcome = await apply(plan, source, journal=journal, guard=FREE, progress=told, nodes=nodes)
    return outcome, notes


@pytest.mark.parametrize("group", KINDS, indirect=True)
async def test_a_group_fails_over(group: SentinelGroup, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "FOLLOW_S", 0.5)  # a Sentinel tells the old primary after ten seconds
    old = group.primary().address
    async with opened(group.url) as (source, nodes):
        seen = await whole(source, 3)
        assert source.identity is not None
        plan = plan_sentinel_failover(source.identity, source.name, seen, NAME)
        (line,) = plan.preview_commands()
        assert line.endswith(f"> SENTINEL FAILOVER {NAME}") and plan.count == 1
        words = " ".join(plan.what)
        assert old in words and "probably" in words and "what the primary has not sent" in words
        outcome, notes = await carried_out(plan, source, nodes, journal)
        assert (outcome.state, outcome.done, outcome.verified) == ("done", 1, True), (outcome.line(), outcome.checks)
        new = group.primary().address
        assert new != old and any(f"name {new}" in note for note in notes)
        assert outcome.checks[0] == f"{new} says that it is the primary"
        entry = journal.read()[0]
        assert (entry.outcome, entry.done, entry.title) == ("done", 1, f"Fail over the group {NAME}")
        await source.poll("topology")
        stats = await source.poll("stats")
        assert stats.server.address == new and stats.server.role == "primary"
        with pytest.raises(Refused, match="applied before"):
            await carried_out(plan, source, nodes, journal)


async def test_a_group_without_an_able_replica_is_refused(group: SentinelGroup, journal: Journal) -> None:
    async with opened(group.url) as (source, nodes):
        seen = await whole(source, 3)
        identity = source.identity
        assert identity is not None
        with pytest.raises(Unsupported, match="no Sentinel knows the group other"):
            plan_sentinel_failover(identity, source.name, seen, "other")
        plan = plan_sentinel_failover(identity, source.name, seen, NAME)
        with pytest.raises(Refused, match="read-only"):
            await apply(plan, source, journal=journal, guard=Guard(read_only=True), nodes=nodes)
        for server in group.servers:
            if server.address != seen.groups[0].primary:
                server.kill()
        for _ in range(400):
            seen = await source.poll("topology")  # type: ignore[assignment]
            if all("s_down" in one.flags for one in seen.groups[0].members if one.role == "replica"):
                break
            await until(lambda: True)
        with pytest.raises(Refused, match="can take over"):
            plan_sentinel_failover(identity, source.name, seen, NAME)
        # Made a moment too early: then the Sentinel itself says no.
        outcome, _ = await carried_out(plan, source, nodes, journal)
        assert outcome.state == "failed" and "NOGOODSLAVE" in outcome.reason
        assert journal.read()[0].outcome == "failed"


@pytest.fixture(params=["redis7", "redis6", "valkey9"])
async def trio(request: pytest.FixtureRequest, new_server: Callable[..., Server]) -> list[Server]:
    """A primary with two replicas."""
    primary = new_server(request.param, "--repl-diskless-sync-delay", "0")
    behind = ("--replicaof", "127.0.0.1", str(primary.port), "--repl-diskless-sync-delay", "0")
    return [primary, *(new_server(request.param, *behind) for _ in range(2))]


async def test_a_primary_hands_over_and_the_others_follow(trio: list[Server], journal: Journal) -> None:
    primary, wanted, other = trio
    primary.command("SET", "k", "v")
    async with opened(primary.url) as (source, nodes):
        seen = await whole(source, 3)
        assert source.identity is not None and {one.address for one in candidates(seen)} == {
            wanted.address,
            other.address,
        }
        with pytest.raises(BadUsage, match="no replica of this primary"):
            plan_failover(source.identity, source.name, seen, "127.0.0.1:1")
        plan = plan_failover(source.identity, source.name, seen, wanted.address)
        assert plan.count == 2 and plan.preview_commands() == [
            f"{primary.address}> FAILOVER TO 127.0.0.1 {wanted.port} TIMEOUT 10000",
            f"{other.address}> REPLICAOF 127.0.0.1 {wanted.port}",
        ]
        assert "nothing is lost" in " ".join(plan.what)
        outcome, _ = await carried_out(plan, source, nodes, journal)
        assert (outcome.state, outcome.done, outcome.verified) == ("done", 2, True), (outcome.line(), outcome.checks)
        assert outcome.checks == (f"{wanted.address} says that it is the primary", f"{primary.address} follows it")
        seen = await whole(source, 3)
        assert seen.server.role == "replica"
        assert {node.address: node.primary for node in seen.nodes} == {
            wanted.address: "",
            primary.address: wanted.address,
            other.address: wanted.address,
        }
        assert wanted.command("GET", "k") == b"v"
    # From a replica it works as well: the primary gets the command.
    async with opened(primary.url) as (source, nodes):
        seen = await whole(source, 3)
        assert source.identity is not None
        plan = plan_failover(source.identity, source.name, seen, primary.address)
        outcome, _ = await carried_out(plan, source, nodes, journal)
        assert (outcome.state, outcome.verified) == ("done", True), (outcome.line(), outcome.checks)
        assert primary.command("ROLE")[0] == b"master"  # type: ignore[index]


async def test_a_replica_that_cannot_catch_up_leaves_all_as_it_was(
    new_server: Callable[..., Server], journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "CATCH_UP_S", 0.5)
    primary = new_server("redis7", "--repl-diskless-sync-delay", "0")
    replica = new_server("redis7", "--replicaof", "127.0.0.1", str(primary.port))
    async with opened(primary.url) as (source, nodes):
        seen = await whole(source, 2)
        assert source.identity is not None
        plan = plan_failover(source.identity, source.name, seen)
        replica.pause()
        primary.command("SET", "k", "v")
        outcome, _ = await carried_out(plan, source, nodes, journal)
        replica.resume()
        assert outcome.state == "failed" and "has given it up" in outcome.reason, outcome.line()
        assert primary.command("ROLE")[0] == b"master" and primary.command("SET", "k", "w") is True  # type: ignore[index]
        # Cancelled is not undone: the watching ends, and that is said.
        cancel = asyncio.Event()
        cancel.set()
        monkeypatch.undo()
        plan = plan_failover(source.identity, source.name, await whole(source, 2))
        outcome = await apply(plan, source, journal=journal, guard=FREE, nodes=nodes, cancel=cancel)
        assert outcome.state in ("done", "stopped")
        await until(lambda: replica.command("ROLE")[0] == b"master")  # type: ignore[index]
    lonely = new_server("redis7")
    async with opened(lonely.url) as (source, _):
        assert source.identity is not None
        with pytest.raises(Refused, match="has no replica"):
            plan_failover(source.identity, source.name, await whole(source, 1))


def test_the_command_line_shows_the_plan_first_and_then_does_it(new_server: Callable[..., Server]) -> None:
    primary = new_server("redis7", "--repl-diskless-sync-delay", "0")
    lonely = run("failover", primary.url)
    assert (lonely.code, lonely.out) == (5, "") and "has no replica" in lonely.line()
    replica = new_server("redis7", "--replicaof", "127.0.0.1", str(primary.port), "--repl-diskless-sync-delay", "0")
    with primary.client() as client:
        while client.info("replication").get("slave0", {}).get("state") != "online":
            pass
    dry = run("failover", primary.url)
    assert dry.code == 0 and "dry run" in dry.err and f"hands over to {replica.address}" in dry.out
    assert primary.command("ROLE")[0] == b"master"  # type: ignore[index]
    refused = run("failover", primary.url, "--yes", "--read-only")
    assert refused.code == 5 and "read-only" in refused.err
    done = run("failover", primary.url, "--yes", "--json")
    assert done.code == 0 and done.json()["status"] == "success", done.err
    assert f"{primary.address} follows it" in done.json()["outcome"]["checks"]
    assert replica.command("ROLE")[0] == b"master"  # type: ignore[index]
