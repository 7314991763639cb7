"""Primaries that die and slots that move in the middle of a deletion, and a version whose INCR is not answered."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from redis.crc import key_slot

from cachetui.actions import running
from cachetui.actions.apply import Outcome, Progress, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import plan_version
from cachetui.actions.undo import found, plan_undo
from cachetui.config import parse_target
from cachetui.model import Keep, Selection
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.contract.redis_targets import until
from tests.contract.test_bulk_cluster import Move, follows, text
from tests.contract.test_redis_enumeration_trouble import role_of
from tests.servers import launch
from tests.servers.launch import Server
from tests.servers.relay import Relay
from tests.servers.test_sweep import FREE, cluster, planned, tally  # noqa: F401  # a fixture

KEYS = 5000
RATE = 3000.0
LAG = running.IN_FLIGHT * int(RATE / 10)
"""Replication is asynchronous: what a primary answered just before it died may be gone with it. At most these."""


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture(autouse=True)
def _told_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SHOWN_S", 0.01)


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[Source]:
    source = await open_source(parse_target(address))
    try:
        yield source
    finally:
        await source.close()


async def fill(source: Source, names: list[bytes]) -> None:
    for at in range(0, len(names), 500):
        replies = await source.execute([(b"SET", name, b"value of " + name) for name in names[at : at + 500]])
        assert replies == [b"OK"] * len(replies)


def kept_by(*nodes: Server) -> dict[bytes, bytes]:
    """Return the names and values of all keys of `nodes`."""
    held: dict[bytes, bytes] = {}
    for node in nodes:
        with node.client() as client, client.pipeline(transaction=False) as pipe:
            names = list(client.scan_iter(count=1000))
            for name in names:
                pipe.get(name)
            held |= dict(zip(names, pipe.execute(), strict=True))
    return held


def once(at: int, strike: Callable[[], None]) -> tuple[Callable[[Progress], None], list[int]]:
    """Return a watcher of a sweep that strikes when so many are done, and how many were done by then."""
    struck: list[int] = []

    def watch(progress: Progress) -> None:
        if progress.done >= at and not struck:
            struck.append(progress.done)
            strike()

    return watch, struck


async def undone(receipt: str, source: Source, journal: Journal) -> Outcome:
    assert source.identity is not None
    plan = plan_undo(source.identity, source.name, found(journal.path, receipt))
    return await apply(plan, source, journal=journal, guard=FREE)


def counted(outcome: Outcome) -> int:
    return sum(tally(outcome))


@pytest.mark.parametrize("by", ["list", "pattern"])
async def test_sentinels_promote_the_replica_in_the_middle(
    new_server: Callable[..., Server], journal: Journal, by: str
) -> None:
    primary = new_server("redis7", "--repl-diskless-sync-delay", "0")
    replica = new_server("redis7", "--replicaof", "127.0.0.1", str(primary.port))
    soon = ("sentinel down-after-milliseconds mymaster 300", "sentinel failover-timeout mymaster 3000")
    sentinel = launch.sentinel_server(launch.redis7(), primary, options=soon)
    keys = [b"k:%d" % number for number in range(KEYS)]
    try:
        async with opened(f"redis+sentinel://{sentinel.address}/mymaster") as source:
            await fill(source, [*keys, b"other"])
            await until(lambda: replica.command("DBSIZE") == KEYS + 1)
            await until(lambda: knows_a_replica(sentinel))
            watch, struck = once(1000, primary.kill)
            selection = Selection(keys=tuple(keys)) if by == "list" else Selection(pattern=b"k:*")
            plan = planned(source, selection, rate=RATE, expected=KEYS)
            outcome = await apply(plan, source, journal=journal, guard=FREE, progress=watch)
            assert struck and role_of(replica) == "master"
            assert source.identity is not None and source.identity.address == replica.address
            there = kept_by(replica)
            assert there.pop(b"other") == b"value of other"
            assert (outcome.state, outcome.failed, outcome.skipped, outcome.unknown) == ("done", 0, 0, 0), (
                outcome.line()
            )
            assert len(there) <= LAG and outcome.kept >= KEYS - len(there)
            if by == "list":
                assert counted(outcome) == KEYS and outcome.missing == 0, outcome.line()
            else:
                assert not there  # what came back with the replica was found again
            entry = journal.read()[0]
            assert (entry.outcome, entry.done, entry.unknown) == ("done", outcome.done, 0)
            back = await undone(plan.id, source, journal)
            assert back.failed == back.unknown == back.left == 0, back.line()
            assert kept_by(replica) == {key: b"value of " + key for key in [*keys, b"other"]}
    finally:
        launch.remove(sentinel)


def knows_a_replica(sentinel: Server) -> bool:
    with sentinel.client() as client:
        return any("slave" in str(one["flags"]) for one in client.sentinel_slaves("mymaster"))


@pytest.fixture
async def pairs(new_server: Callable[..., Server]) -> list[Server]:
    """Three primaries of a cluster and, behind them, a replica of each."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "500", "--repl-diskless-sync-delay", "0")
    nodes = [new_server("redis7", *options) for _ in "abcdef"]
    primaries, replicas = nodes[:3], nodes[3:]
    launch.join_cluster(primaries)
    for node in replicas:
        node.command("CLUSTER", "MEET", "127.0.0.1", str(primaries[0].port))
    await until(lambda: all("cluster_known_nodes:6" in text(node.command("CLUSTER", "INFO")) for node in nodes))
    for replica, primary in zip(replicas, primaries, strict=True):
        await until(lambda: follows(replica, primary))  # noqa: B023  # awaited here
    await until(lambda: all("cluster_state:ok" in text(node.command("CLUSTER", "INFO")) for node in nodes))
    return nodes


@pytest.mark.parametrize("keep", [None, Keep()])
async def test_a_primary_of_a_cluster_dies_in_the_middle(
    pairs: list[Server], journal: Journal, keep: Keep | None
) -> None:
    keys = [b"k:%d" % number for number in range(KEYS)]
    primaries, replicas = pairs[:3], pairs[3:]
    address = f"redis+cluster://{','.join(node.address for node in primaries)}"
    async with opened(address) as source:
        await fill(source, keys)
        await until(lambda: [node.command("DBSIZE") for node in primaries] == [n.command("DBSIZE") for n in replicas])
        watch, struck = once(1000, primaries[0].kill)  # the very one that was given
        plan = planned(source, Selection(keys=tuple(keys)), keep=keep, rate=RATE)
        outcome = await apply(plan, source, journal=journal, guard=FREE, progress=watch)
        assert struck and role_of(replicas[0]) == "master"
        assert tally(outcome) == (KEYS, 0, 0, 0, 0, 0), outcome.line()
        alive = (replicas[0], *primaries[1:])
        assert len(kept_by(*alive)) <= LAG
        if keep is not None:
            back = await undone(plan.id, source, journal)
            assert back.failed == back.unknown == back.left == 0, back.line()
            assert kept_by(*alive) == {key: b"value of " + key for key in keys}


@pytest.mark.parametrize("by", ["list", "pattern"])
async def test_a_slot_moves_in_the_middle(cluster: list[Server], journal: Journal, by: str) -> None:  # noqa: F811
    keys = [b"{one}%d" % number if number % 2 else b"k:%d" % number for number in range(3000)]
    move = Move(cluster, key_slot(b"{one}"))

    def carry() -> None:
        move.begin()
        with move.source.client() as client:
            while some := client.execute_command("CLUSTER", "GETKEYSINSLOT", move.slot, 20):
                # Keys may have been deleted since: then there is nothing to carry, which is said and no error.
                client.execute_command("MIGRATE", "127.0.0.1", move.goal.port, "", 0, 5000, "KEYS", *some)
        move.end()

    moving = threading.Thread(target=carry)
    watch, struck = once(300, moving.start)
    async with opened(f"redis+cluster://{cluster[0].address}") as source:
        await fill(source, keys)
        selection = Selection(keys=tuple(keys)) if by == "list" else Selection(pattern=b"*")
        plan = planned(source, selection, rate=RATE, expected=len(keys))
        outcome = await apply(plan, source, journal=journal, guard=FREE, progress=watch)
        moving.join()
        assert struck and outcome.done == len(keys), outcome.line()
        assert (outcome.failed, outcome.skipped, outcome.unknown, outcome.left) == (0, 0, 0, 0), outcome.line()
        assert not kept_by(*cluster)
        if by == "list":
            assert outcome.missing == 0
        assert (await undone(plan.id, source, journal)).done == len(keys)
        assert kept_by(*cluster) == {key: b"value of " + key for key in keys}
    assert move.goal.command("CLUSTER", "COUNTKEYSINSLOT", str(move.slot)) == len(keys) // 2


@pytest.mark.parametrize("lost", ["reply", "request"])
async def test_a_version_is_never_raised_twice(redis_like: Server, journal: Journal, lost: str) -> None:
    redis_like.command("SET", "version", "7")
    with Relay(redis_like.port, Random(0)) as line:
        async with opened(f"redis://127.0.0.1:{line.port}") as source:
            assert source.identity is not None
            plan = plan_version(source.identity, source.name, b"version", b"7", None)
            if lost == "reply":
                line.loses_reply_to = b"EXEC\r\n"
            else:
                line.loses = b"EXEC\r\n"
            outcome = await apply(plan, source, journal=journal, guard=FREE)
            assert line.cuts >= 1
    assert redis_like.command("GET", "version") == (b"8" if lost == "reply" else b"7")
    with redis_like.client() as client:
        sent = client.info("commandstats").get("cmdstat_incr", {"calls": 0})["calls"]
    assert sent == (1 if lost == "reply" else 0)
    entry = journal.read()[0]
    assert (outcome.done, outcome.unknown, outcome.failed) == (0, 1, 0) == (entry.done, entry.unknown, entry.failed)
