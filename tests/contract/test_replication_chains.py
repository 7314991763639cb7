"""Replicas of replicas, replicas that went, and copies that are on their way: each server asked itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cachetui.model import Node, Topology
from cachetui.source.redis import RedisSource
from tests.contract.redis_targets import source_of, until
from tests.servers.launch import Server

NewServer = Callable[..., Server]
PROMPT = ("--repl-diskless-sync-delay", "0")


async def until_seen(source: RedisSource, wanted: Callable[[Topology], object]) -> Topology:
    """Look again until it is as wanted."""
    for _ in range(400):
        topology = await source.poll("topology")
        assert isinstance(topology, Topology)
        if wanted(topology):
            return topology
        await until(lambda: True)
    raise AssertionError(f"waited in vain: {topology}")


def by_address(topology: Topology) -> dict[str, Node]:
    return {node.address: node for node in topology.nodes}


def states(topology: Topology) -> set[str]:
    return {node.state for node in topology.nodes}


@pytest.mark.parametrize("kind", ["redis7", "redis6", "valkey9"])
async def test_a_chain_is_seen_whole_from_each_of_its_ends(new_server: NewServer, kind: str) -> None:
    top = new_server(kind, *PROMPT)
    middle = new_server(kind, *PROMPT, "--replicaof", "127.0.0.1", str(top.port))
    last = new_server(kind, *PROMPT, "--replicaof", "127.0.0.1", str(middle.port))
    chain = {top.address: "", middle.address: top.address, last.address: middle.address}
    for server in (top, middle, last):
        async with source_of(server) as source:
            topology = await until_seen(
                source, lambda topology: len(topology.nodes) == 3 and states(topology) == {"online"}
            )
            assert {node.address: node.primary for node in topology.nodes} == chain
            assert [node.address for node in topology.nodes] == [top.address, middle.address, last.address]
            assert [node.address for node in topology.nodes if node.myself] == [server.address]
            assert topology.problems == ()
            below = by_address(topology)[last.address]
            assert below.lag_bytes is not None and below.lag_s is not None and below.replication is not None
            assert (below.replication.priority, below.replication.read_only) == (100, True)
    async with source_of(top) as source:
        assert "2 replicas, 1 of them behind another replica" in (await until_seen(source, lambda _: True)).summary


@pytest.mark.parametrize("kind", ["redis7", "valkey9"])
async def test_what_goes_wrong_is_said_and_what_is_gone_stays_on_the_list(new_server: NewServer, kind: str) -> None:
    primary = new_server(kind, *PROMPT, "--min-replicas-to-write", "2")
    behind = ("--replicaof", "127.0.0.1", str(primary.port))
    never = new_server(kind, *PROMPT, *behind, "--replica-priority", "0")
    loose = new_server(kind, *PROMPT, *behind, "--replica-read-only", "no")
    async with source_of(primary) as source:
        topology = await until_seen(
            source, lambda t: len(t.nodes) == 3 and states(t) == {"online"} and all(n.replication for n in t.nodes)
        )
        assert [problem for problem in topology.problems if "takes writes" not in problem] == []
        assert loose.address in topology.problems[0]
        own = by_address(topology)[never.address].replication
        assert own is not None and own.priority == 0

        def told(topology: Topology) -> bool:
            primary.command("SET", "k", "v" * 1000)
            return "goes on without a full copy" in dict(topology.facts).get("backlog", "")

        await until_seen(source, told)
        loose.kill()
        topology = await until_seen(source, lambda t: "down" in states(t))
        gone = by_address(topology)[loose.address]
        assert gone.state == "down" and gone.primary == primary.address and "gone since" in gone.note
        assert any("refuses writes: 1 replicas keep up" in problem for problem in topology.problems)
    async with source_of(never) as source:
        primary.pause()
        try:
            # It is not known to be gone before its time is over; that it does not answer is seen at once.
            topology = await until_seen(source, lambda t: any(n.note.startswith("as this") for n in t.nodes))
            assert by_address(topology)[never.address].myself
        finally:
            primary.resume()


@pytest.mark.parametrize("kind", ["redis7", "valkey9"])
async def test_a_copy_that_is_streamed_shows_how_far_it_is(new_server: NewServer, kind: str) -> None:
    primary = new_server(kind, *PROMPT, "--repl-diskless-sync", "yes", "--rdb-key-save-delay", "1000")
    with primary.client() as client, client.pipeline(transaction=False) as pipe:
        for number in range(4000):
            pipe.set(f"key:{number}", b"v" * 100)
        pipe.execute()
    replica = new_server(kind, *PROMPT, "--replicaof", "127.0.0.1", str(primary.port))

    def moving(topology: Topology) -> bool:
        node = by_address(topology).get(replica.address)
        return (
            node is not None and node.state not in ("online", "unknown") and "% of the keys" in str(topology.problems)
        )

    async with source_of(primary) as source:
        topology = await until_seen(source, moving)
        above = by_address(topology)[primary.address].replication
        assert above is not None and above.saved_of_keys == 4000 and above.saved_keys is not None
        primary.command("CONFIG", "SET", "rdb-key-save-delay", "0")
        topology = await until_seen(source, lambda t: states(t) == {"online"} and len(t.nodes) == 2)
        assert topology.problems == ()


async def test_a_replica_that_was_cut_off_knows_its_way_back(new_server: NewServer) -> None:
    primary = new_server("redis7", *PROMPT, "--repl-backlog-size", "16kb", "--repl-timeout", "60")
    replica = new_server("redis7", *PROMPT, "--replicaof", "127.0.0.1", str(primary.port))
    async with source_of(primary) as source:
        await until_seen(source, lambda t: len(t.nodes) == 2 and states(t) == {"online"})
        with primary.client() as client:
            # Let in again it would be back within a second: its password is wrong from now on.
            client.config_set("requirepass", "new")
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")

        def cut(topology: Topology) -> bool:
            return "the link to the primary" in str(topology.problems)

        topology = await until_seen(source, cut)
        (problem,) = [problem for problem in topology.problems if "the link" in problem]
        assert replica.address in problem and "it can go on from the backlog" in problem
        with primary.client(password="new") as client:
            client.set("big", b"v" * 100_000)
        topology = await until_seen(source, lambda t: "needs a full copy" in str(t.problems))
        assert by_address(topology)[replica.address].state in ("link down", "down")
