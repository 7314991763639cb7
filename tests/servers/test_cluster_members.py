"""Who is in a cluster and who leads: made, joined, left, forgotten, failed over; with passwords, users and TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cachetui.actions.cluster.balancing import Wishes, plan_move, plan_rebalance
from cachetui.actions.cluster.creating import planned
from cachetui.actions.cluster.mending import (
    add_planned,
    failover_planned,
    fix_planned,
    forget_planned,
    remove_planned,
)
from cachetui.actions.cluster.nodes import Nodes
from cachetui.config import parse_target
from cachetui.errors import AuthFailed, BadUsage, Refused, Unreachable, Unsupported
from cachetui.model.slots import SLOTS
from cachetui.source.connect import make_source
from tests.contract.redis_targets import until
from tests.servers import launch
from tests.servers.clusters import QUICK, Cluster, acting, becomes, created, started, stopped
from tests.servers.launch import Server


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Three primaries, each with a replica, and a seventh node that is in no cluster."""
    nodes = started("redis7", 7)
    try:
        outcome = asyncio.run(created(nodes[:6], tmp_path_factory.mktemp("made"), 1))
        assert outcome.verified is True, outcome
        yield nodes
    finally:
        stopped(nodes)


@pytest.fixture
async def cluster(servers: list[Server], tmp_path: Path) -> AsyncIterator[Cluster]:
    async with acting(servers[:6], tmp_path) as opened:
        opened.servers = servers
        yield opened


async def test_replicas_follow_their_primaries_after_a_creation(cluster: Cluster) -> None:
    state = await cluster.state()
    assert [len(member.slots) for member in state.primaries if member.slots] == [5461, 5462, 5461]
    followed = [member.primary_id for member in state.members.values() if not member.is_primary]
    assert len(set(followed)) == 3


async def test_only_empty_nodes_become_a_cluster(cluster: Cluster) -> None:
    taken, spare = cluster.servers[0].address, cluster.servers[6]
    with pytest.raises(Refused, match="node of a cluster already"):
        await planned([spare.address, taken, taken.replace("127.0.0.1", "localhost")], replicas=0, nodes=cluster.nodes)
    with pytest.raises(BadUsage, match="same node twice"):
        await planned([spare.address, spare.address], replicas=0, nodes=cluster.nodes)
    with pytest.raises(BadUsage, match="same server"):
        other = spare.address.replace("127.0.0.1", "localhost")
        await planned([spare.address, other], replicas=0, nodes=cluster.nodes)
    with pytest.raises(BadUsage, match="needs 3"):
        await planned([spare.address], replicas=0, nodes=cluster.nodes)
    with pytest.raises(Unreachable):
        await planned([spare.address, f"127.0.0.1:{launch.free_port()}"], replicas=0, nodes=cluster.nodes)


async def test_what_is_no_node_is_refused(redis7: Server, cluster: Cluster) -> None:
    with pytest.raises(Unsupported, match="no cluster node"):
        await planned([redis7.address], replicas=0, nodes=cluster.nodes)


async def test_a_node_joins_gets_slots_and_leaves_again(cluster: Cluster) -> None:
    spare = cluster.servers[6]
    joined = await cluster.run(await add_planned(*cluster.who, spare.address))
    assert joined.verified is True, joined
    mine = (await cluster.state()).named(spare.address)
    assert mine is not None and mine.is_primary and not mine.slots
    client = cluster.client()
    for number in range(300):
        client.set(f"k:{number}", number)
    wishes = Wishes(weights={spare.address: 0.02})
    assert (await cluster.run(await plan_rebalance(*cluster.who, wishes))).verified is True
    plan = await remove_planned(*cluster.who, spare.address, Wishes())
    assert plan.count > 100 and any("leaves the cluster" in line for line in plan.what)
    outcome = await cluster.run(plan)
    assert outcome.verified is True, outcome
    assert (await cluster.state()).named(mine.node_id) is None
    alone = str(spare.command("CLUSTER", "INFO"))
    assert "cluster_known_nodes:1" in alone and spare.command("DBSIZE") == 0
    assert all(cluster.client().get(f"k:{number}") == str(number).encode() for number in range(300))


async def test_a_replica_joins_dies_and_is_forgotten(cluster: Cluster) -> None:
    spare = cluster.servers[6]
    assert (await cluster.run(await add_planned(*cluster.who, spare.address, replica=True))).verified is True
    mine = (await cluster.state()).named(spare.address)
    assert mine is not None and not mine.is_primary
    with pytest.raises(Refused, match="answers"):
        await forget_planned(*cluster.who, spare.address)
    spare.kill()
    outcome = await cluster.run(await forget_planned(*cluster.who, mine.node_id[:10]))
    assert outcome.state == "done", outcome
    assert (await cluster.state()).named(mine.node_id) is None
    (spare.directory / "nodes.conf").unlink()
    spare.start()


async def test_a_replica_takes_over_and_back(cluster: Cluster) -> None:
    state = await cluster.state()
    replica = next(member for member in state.members.values() if not member.is_primary)
    primary = state.members[replica.primary_id]
    for heir in (replica, primary):
        outcome = await cluster.run(await failover_planned(*cluster.who, heir.address))
        assert outcome.verified is True, outcome
        now = (await cluster.state()).members[heir.node_id]
        assert now.is_primary and now.slots == primary.slots
        server = cluster.server((primary if heir is replica else replica).address)
        await until(lambda server=server: server.command("ROLE")[3] == b"connected")  # type: ignore[misc]


async def test_a_replica_takes_over_from_a_dead_primary_by_force(cluster: Cluster) -> None:
    state = await cluster.state()
    replica = next(member for member in state.members.values() if not member.is_primary)
    primary = state.members[replica.primary_id]
    dead = cluster.server(primary.address)
    cluster.server(replica.address).command("CONFIG", "SET", "cluster-replica-no-failover", "yes")
    dead.kill()
    try:
        with pytest.raises(Refused, match="cannot hand over"):
            await failover_planned(*cluster.who, replica.address)
        plan = await failover_planned(*cluster.who, replica.address, "TAKEOVER")
        outcome = await cluster.run(plan)
        assert outcome.state == "done", outcome
        assert (await cluster.state()).members[replica.node_id].slots == primary.slots
    finally:
        cluster.server(replica.address).command("CONFIG", "SET", "cluster-replica-no-failover", "no")
        dead.start()
    await until(lambda: dead.command("ROLE")[0] == b"slave")  # type: ignore[index]


async def test_slots_of_a_primary_without_a_replica_that_died_are_given_up(tmp_path: Path) -> None:
    nodes = started("redis7", 4, "--cluster-require-full-coverage", "no")
    try:
        assert (await created(nodes, tmp_path, 0)).verified is True
        async with acting(nodes, tmp_path) as cluster:
            lost = (await cluster.primaries())[3]
            cluster.server(lost.address).kill()

            async def failed() -> bool:
                member = (await cluster.state()).members[lost.node_id]
                return "fail" in member.flags

            await becomes(failed)
            with pytest.raises(Refused, match="which has failed"):
                await fix_planned(*cluster.who)
            plan = await fix_planned(*cluster.who, give_up_failed=True)
            outcome = await cluster.run(plan)
            assert outcome.state == "done", outcome
            owners = (await cluster.state()).owners()
            assert len(owners) == SLOTS and all(lost.node_id not in names for names in owners.values())
    finally:
        stopped(nodes)


async def test_a_cluster_with_a_password_and_a_user(tmp_path: Path) -> None:
    nodes = started("redis7", 3, "--requirepass", "secret", "--masterauth", "secret")
    try:
        with pytest.raises(AuthFailed):
            await created(nodes, tmp_path, 0)
        assert (await created(nodes, tmp_path, 0, f"redis://:secret@{nodes[0].address}")).verified is True
        for server in nodes:
            with server.client(password="secret") as client:
                client.execute_command("ACL", "SETUSER", "mover", "on", ">moving", "~*", "+@all")
        for who in (":secret", "mover:moving"):
            async with acting(nodes, tmp_path, f"redis+cluster://{who}@{nodes[0].address}") as cluster:
                giver, taker = (await cluster.primaries())[:2]
                slots = sorted(giver.slots)[:20]
                with cluster.server(giver.address).client(password="secret") as client:
                    slot_key = f"{{{_tag(slots[0])}}}:k"
                    client.set(slot_key, who)
                outcome = await cluster.run(await plan_move(*cluster.who, slots, to=taker.address, wishes=Wishes()))
                assert outcome.verified is True, outcome
                with cluster.server(taker.address).client(password="secret") as client:
                    assert client.get(slot_key) == who.encode()
                written = cluster.journal.path.read_text() + "".join(outcome.checks)
                assert "secret" not in written and "moving" not in written
    finally:
        stopped(nodes)


def _tag(slot: int) -> str:
    from tests.servers.clusters import key_in

    return key_in(slot).decode().partition("}")[0].removeprefix("{")


async def test_a_cluster_over_tls(tmp_path: Path, certificates: dict[str, Path]) -> None:
    ca = str(certificates["ca.crt"])
    nodes = []
    for _ in range(3):
        server = launch.tls_server(launch.redis7(), certificates)
        server.argv += [*QUICK, "--tls-cluster", "yes", "--tls-replication", "yes"]
        nodes.append(server.restart())
    try:
        target = parse_target(f"rediss+cluster://{nodes[0].address}?ssl_ca_certs={ca}")
        async with Nodes(target, make_source) as opened:
            addresses = [server.address for server in nodes]
            await planned(addresses, replicas=0, nodes=opened)
        url = f"rediss+cluster://{nodes[0].address}?ssl_ca_certs={ca}"
        assert (await created(nodes, tmp_path, 0, url)).verified is True
        async with acting(nodes, tmp_path, url) as cluster:
            giver, taker = (await cluster.primaries())[:2]
            slots = sorted(giver.slots)[:20]
            key = f"{{{_tag(slots[3])}}}:k"
            assert await cluster.source.execute([(b"SET", key.encode(), b"v")]) == [b"OK"]
            outcome = await cluster.run(await plan_move(*cluster.who, slots, to=taker.address, wishes=Wishes()))
            assert outcome.verified is True, outcome
            assert await cluster.source.execute([(b"GET", key.encode())]) == [b"v"]
    finally:
        stopped(nodes)
