"""Slots that move under load: no key and no write is lost, whatever moves them, stops it, or is in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cachetui.actions.apply import Pacer, Progress
from cachetui.actions.cluster.balancing import Wishes, plan_move, plan_rebalance
from cachetui.actions.cluster.mending import fix_planned
from cachetui.actions.undo import plan_of, undoing
from cachetui.errors import BadUsage, Refused
from cachetui.model.slots import SLOTS
from tests.contract.redis_targets import until
from tests.servers.clusters import Cluster, acting, counting, created, key_in, started, stopped
from tests.servers.launch import Server

KEYS = 1500


@pytest.fixture(scope="module", params=["redis7", "valkey9"])
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Three primaries."""
    nodes = started(request.param, 3)
    try:
        outcome = asyncio.run(created(nodes, tmp_path_factory.mktemp("made"), 0))
        assert outcome.verified is True, outcome
        yield nodes
    finally:
        stopped(nodes)


@pytest.fixture
async def cluster(servers: list[Server], tmp_path: Path) -> AsyncIterator[Cluster]:
    for server in servers:
        server.command("FLUSHALL")
    async with acting(servers, tmp_path) as opened:
        yield opened


def fill(cluster: Cluster, keys: int = KEYS) -> None:
    with cluster.client().pipeline() as pipe:  # type: ignore[no-untyped-call]
        for number in range(keys):
            pipe.set(f"k:{number}", f"value {number}")
        pipe.execute()


def intact(cluster: Cluster, keys: int = KEYS) -> bool:
    with cluster.client().pipeline() as pipe:  # type: ignore[no-untyped-call]
        for number in range(keys):
            pipe.get(f"k:{number}")
        return list(pipe.execute()) == [f"value {number}".encode() for number in range(keys)]


def total(cluster: Cluster) -> int:
    return sum(int(str(server.command("DBSIZE"))) for server in cluster.servers)


@pytest.mark.parametrize("classic", [False, True])
async def test_a_rebalance_under_load_loses_no_key_and_no_write(cluster: Cluster, classic: bool) -> None:
    fill(cluster)
    before = await cluster.primaries()
    heavy = before[1 if classic else 0]
    weight = 1.04 if classic else 1.2
    wishes = Wishes(weights={heavy.address: weight}, classic=classic, threshold_percent=0)
    plan = await plan_rebalance(*cluster.who, wishes)
    assert any(f"{heavy.address}: {len(heavy.slots):,} slots -> " in line for line in plan.what)
    with counting(cluster.client) as counter:
        await until(lambda: sum(counter.acked.values()) > 300)
        outcome = await cluster.run(plan)
        written = sum(counter.acked.values())
        await until(lambda: sum(counter.acked.values()) > written + 300)
    assert (outcome.state, outcome.verified, outcome.done) == ("done", True, plan.count), outcome
    assert counter.wrong() == {} and counter.troubles == 0
    assert intact(cluster) and total(cluster) == KEYS + len(counter.keys)
    shares = {member.address: len(member.slots) for member in await cluster.primaries()}
    assert abs(shares[heavy.address] - SLOTS * weight / (2 + weight)) < 2
    # The receipt knows what went where: the way back is a plan like any other.
    entry = cluster.journal.read()[0]
    assert sum(task.count("-") for task, _, _ in entry.moves) and entry.done == plan.count
    back = await plan_of(cluster.source, undoing(cluster.journal, plan.id), cluster.nodes)
    assert (await cluster.run(back)).verified is True
    assert {member.node_id: member.slots for member in await cluster.primaries()} == {
        member.node_id: member.slots for member in before
    }
    with pytest.raises(BadUsage, match="undone already"):
        undoing(cluster.journal, plan.id)


@pytest.mark.parametrize("by", ["keys", "memory"])
async def test_keys_and_memory_are_balanced(cluster: Cluster, by: str) -> None:
    state = await cluster.state()
    first = max(state.primaries, key=lambda member: len(member.slots))
    slots = sorted(first.slots)[-40:]
    client = cluster.client()
    for slot in slots:
        for number in range(6):
            client.set(key_in(slot, number), "x" * 200)
    plan = await plan_rebalance(*cluster.who, Wishes(by=by))  # type: ignore[arg-type]
    assert (await cluster.run(plan)).verified is True
    held = [int(str(server.command("DBSIZE"))) for server in cluster.servers]
    assert sum(held) == 240 and max(held) - min(held) <= 24
    if by == "memory":
        assert any("estimated" in line for line in plan.what)
    with pytest.raises(Refused, match="nothing to do"):
        await plan_rebalance(*cluster.who, Wishes(by="keys", threshold_percent=40))


@pytest.mark.parametrize("classic", [False, True])
async def test_a_move_that_is_cancelled_leaves_nothing_open_and_goes_on_later(cluster: Cluster, classic: bool) -> None:
    fill(cluster)
    giver, taker = (await cluster.primaries())[:2]
    slots = sorted(giver.slots)[:300]
    cancel = asyncio.Event()

    def seen(progress: Progress) -> None:
        if progress.done:
            cancel.set()

    wishes = Wishes(classic=classic)
    plan = await plan_move(*cluster.who, slots, to=taker.address, wishes=wishes)
    outcome = await cluster.run(plan, cancel=cancel, progress=seen)
    assert (outcome.state, outcome.exit_code) == ("stopped", 4) and "cancelled" in outcome.reason
    assert 0 < outcome.done < 300 and outcome.done + outcome.left == 300
    assert list((await cluster.state()).open_slots()) == [] and intact(cluster)
    again = await plan_move(*cluster.who, slots, to=taker.node_id[:12], wishes=wishes)
    assert again.count == outcome.left
    assert (await cluster.run(again)).verified is True and intact(cluster)
    # What was stopped can be taken back as well, as far as it went.
    back = await plan_of(cluster.source, undoing(cluster.journal, plan.id), cluster.nodes)
    assert back.count == outcome.done and (await cluster.run(back)).verified is True


async def test_a_paused_move_waits_and_is_ended_while_it_waits(cluster: Cluster) -> None:
    fill(cluster, 500)
    giver, taker = (await cluster.primaries())[:2]
    pacer, cancel = Pacer(), asyncio.Event()
    pacer.pause()
    plan = await plan_move(*cluster.who, sorted(giver.slots)[:300], to=taker.address, wishes=Wishes(classic=True))
    running = asyncio.create_task(cluster.run(plan, pacer=pacer, cancel=cancel))
    await asyncio.sleep(0)
    cancel.set()
    outcome = await running
    assert outcome.done == 0 and outcome.left == 300
    assert (await cluster.state()).members[giver.node_id].slots == giver.slots


async def cut(cluster: Cluster, slot: int, *, moved: int) -> tuple[str, str]:
    """Leave a slot as a migration leaves it that was killed: open, some keys here, some there. Returns the ids."""
    state = await cluster.state()
    owner = state.members[state.owners()[slot][0]]
    taker = next(member for member in state.primaries if member.node_id != owner.node_id)
    giving, taking = cluster.server(owner.address), cluster.server(taker.address)
    for number in range(10):
        giving.command("SET", key_in(slot, number), str(number))
    taking.command("CLUSTER", "SETSLOT", str(slot), "IMPORTING", owner.node_id)
    giving.command("CLUSTER", "SETSLOT", str(slot), "MIGRATING", taker.node_id)
    keys = [key_in(slot, number) for number in range(moved)]
    if keys:
        giving.command("MIGRATE", "127.0.0.1", str(taking.port), "", "0", "2000", "KEYS", *keys)
    return owner.node_id, taker.node_id


async def holds(cluster: Cluster, slot: int, node_id: str) -> bool:
    """Tell whether the node owns the slot with all of the keys that `cut` wrote, and nothing is open."""
    state = await cluster.state()
    held = [cluster.client().get(key_in(slot, number)) for number in range(10)]
    return (
        state.owners()[slot] == [node_id]
        and not list(state.open_slots())
        and held == [str(number).encode() for number in range(10)]
    )


@pytest.mark.parametrize("moved", [0, 4])
async def test_a_cut_move_is_finished_by_the_next_rebalance(cluster: Cluster, moved: int) -> None:
    _, taker = await cut(cluster, 77, moved=moved)
    plan = await plan_rebalance(*cluster.who, Wishes(threshold_percent=100))
    assert plan.count == 1 and any("cut half-way" in line for line in plan.what)
    assert (await cluster.run(plan)).verified is True
    assert await holds(cluster, 77, taker)


async def test_a_cut_move_is_finished_by_fix(cluster: Cluster) -> None:
    _, taker = await cut(cluster, 78, moved=3)
    plan = await fix_planned(*cluster.who)
    assert any("is finished" in line for line in plan.what)
    assert (await cluster.run(plan)).verified is True
    assert await holds(cluster, 78, taker)
    with pytest.raises(Refused, match="nothing to do"):
        await fix_planned(*cluster.who)


async def test_a_key_on_both_nodes_is_not_overwritten_unless_it_is_the_same(cluster: Cluster) -> None:
    _, taker = await cut(cluster, 79, moved=0)
    state = await cluster.state()
    there = cluster.server(state.members[taker].address)
    with there.client() as client:
        for number, value in ((2, "2"), (5, "theirs")):
            pipe = client.pipeline(transaction=False)
            pipe.execute_command("ASKING")
            pipe.set(key_in(79, number), value)
            pipe.execute()
    outcome = await cluster.run(await fix_planned(*cluster.who))
    assert outcome.state in {"failed", "stopped"}
    assert key_in(79, 5).decode() in outcome.reason and "--replace" in outcome.reason, outcome
    assert [slot for slot, _ in (await cluster.state()).open_slots()] == [79, 79]
    plan = await fix_planned(*cluster.who, replace_keys=True)
    assert plan.risk == "high" or any("overwritten" in line for line in plan.what)
    assert (await cluster.run(plan)).verified is True
    assert await holds(cluster, 79, taker)


async def test_a_big_key_moves(cluster: Cluster) -> None:
    giver, taker = (await cluster.primaries())[:2]
    slot = min(giver.slots)
    cluster.client().set(key_in(slot), b"x" * 40_000_000)
    plan = await plan_move(*cluster.who, [slot], to=taker.address, wishes=Wishes(classic=True))
    assert (await cluster.run(plan)).verified is True
    assert cluster.client().strlen(key_in(slot)) == 40_000_000


async def test_plans_are_refused_while_the_nodes_do_not_agree(cluster: Cluster) -> None:
    first = (await cluster.primaries())[0]
    slot = max(first.slots)
    cluster.server(first.address).command("CLUSTER", "DELSLOTS", str(slot))
    try:
        with pytest.raises(Refused, match="1 slot"):
            await plan_rebalance(*cluster.who, Wishes())
        plan = await fix_planned(*cluster.who)
        assert (await cluster.run(plan)).verified is True
    finally:
        state = await cluster.state()
        assert len(state.owners()) == SLOTS


async def test_a_move_to_nobody_is_refused(cluster: Cluster) -> None:
    for nobody in ("127.0.0.1:1", ""):
        with pytest.raises(BadUsage, match="no node is called"):
            await plan_move(*cluster.who, [1], to=nobody, wishes=Wishes())
