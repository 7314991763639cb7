"""A real cluster of six, asked as a whole: what is seen, what is summed, and how it goes on while nodes die."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager

import pytest

from cachetui.analysis.rules import findings
from cachetui.config import parse_target
from cachetui.errors import CacheError, Unreachable
from cachetui.model import ClientList, Evidence, Finding, Node, SlowLog, Stats, Topology
from cachetui.source.base import Source
from cachetui.source.connect import make_source
from tests.servers.launch import Server, free_port
from tests.servers.sixfold import Sixfold, sixfold

LIMIT_S = 40.0


@pytest.fixture(scope="module")
def clusters() -> Iterator[Callable[[str], Sixfold]]:
    """Each kind's cluster, started when it is first wanted."""
    with ExitStack() as stack:
        running: dict[str, Sixfold] = {}

        def get(kind: str) -> Sixfold:
            if kind not in running:
                running[kind] = stack.enter_context(sixfold(kind))
            return running[kind]

        yield get


@pytest.fixture(params=["redis7", "valkey9"])
def six(request: pytest.FixtureRequest, clusters: Callable[[str], Sixfold]) -> Iterator[Sixfold]:
    """The cluster, well and empty."""
    running = clusters(request.param)
    running.mend()
    for node in running.primaries():
        node.command("FLUSHALL")
    yield running
    running.mend()


@asynccontextmanager
async def whole(url: str) -> AsyncIterator[Source]:
    source = make_source(parse_target(url))
    try:
        await source.open()
        yield source
    finally:
        await source.close()


async def seen_by(source: Source) -> Topology:
    seen = await source.poll("topology")
    assert isinstance(seen, Topology)
    return seen


async def read(source: Source, key: bytes) -> bytes:
    """Return a string, asked for until its slot's new owner is known to all."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            return (await source.value(key)).items[0].data
        except CacheError as error:
            assert time.monotonic() < deadline, error


async def stats_of(source: Source) -> Stats:
    stats = await source.poll("stats")
    assert isinstance(stats, Stats)
    return stats


def found_in(seen: Topology) -> dict[str, Finding]:
    return {one.id: one for one in findings(Evidence(seen.taken_at, "x", topology=seen))}


async def becomes(source: Source, what: Callable[[Topology], object]) -> Topology:
    """Look until `what` is so; a look that fails is taken again."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            seen = await seen_by(source)
            if what(seen):
                return seen
        except CacheError as error:
            assert time.monotonic() < deadline, error
        assert time.monotonic() < deadline, "waited in vain"


class Names:
    """Takes in what an enumeration finds."""

    def __init__(self) -> None:
        self.found: set[bytes] = set()

    def add(self, keys: Sequence[bytes]) -> None:
        self.found.update(keys)

    def clear(self) -> None:
        self.found.clear()


def node_at(seen: Topology, server: Server) -> Node:
    return next(node for node in seen.nodes if node.address == server.address)


def write(six: Sixfold, count: int = 300) -> None:
    from redis.cluster import RedisCluster

    client = RedisCluster(host="127.0.0.1", port=six.primaries()[0].port)
    for number in range(count):
        client.set(f"key:{number}", "x")
        client.get(f"key:{number}")
    client.close()


async def test_the_picture_is_whole_from_any_node(six: Sixfold) -> None:
    write(six)
    primaries = six.primaries()
    held = {node.address: int(str(node.command("DBSIZE"))) for node in primaries}
    replica = six.replica_of(primaries[2])
    for url in (six.url, replica.url, f"redis+cluster://127.0.0.1:{free_port()},{primaries[1].address}"):
        async with whole(url) as source:
            seen = await becomes(source, lambda seen: all(node.lag_bytes == 0 for node in seen.nodes[1::2]))
            assert seen.summary == "cluster: 16384 of 16384 slots served, 3 shards, 6 nodes" and not seen.problems
            assert [node.role for node in seen.nodes] == ["primary", "replica"] * 3
            assert {node.address: node.keys for node in seen.nodes if node.role == "primary"} == held
            assert all(
                node.primary == above.address for above, node in zip(seen.nodes[::2], seen.nodes[1::2], strict=True)
            )
            assert all(
                node.member is not None and node.member.told and node.member.state == "ok" for node in seen.nodes
            )
            assert all(node.figures is not None and node.figures.ops_per_s is not None for node in seen.nodes)
            assert all(
                dict(node.member.settings)["cluster-node-timeout"] == "1500" for node in seen.nodes if node.member
            )
            assert not [one for one in found_in(seen).values() if one.priority != "low"]

            stats = await stats_of(source)
            assert stats.keys == 300 == sum(held.values())
            assert len(stats.nodes) == 6 and all(node.trouble == "" for node in stats.nodes)
            assert stats.used_bytes == sum(node.used_bytes or 0 for node in stats.nodes if node.role == "primary")
            assert stats.server.mode == "cluster" and stats.server.role is None
            assert source.why_not("delete") is None


async def test_what_redis_cli_finds_is_found_in_words(six: Sixfold) -> None:
    first, second, third = six.primaries()
    owner = six.view(first).me
    assert owner is not None
    lost = owner.slots.split("-")[0]
    first.command("CLUSTER", "DELSLOTS", lost)
    second.command("CLUSTER", "SETSLOT", "6000", "MIGRATING", six.id_of(third))
    third.command("CLUSTER", "SETSLOT", "6001", "IMPORTING", six.id_of(second))
    second.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        async with whole(six.url) as source:
            seen = await becomes(
                source, lambda seen: {"cluster-slots-uncovered", "cluster-slots-open"} <= found_in(seen).keys()
            )
            found, said = found_in(seen), six.cli_check()
            assert "[ERR] Not all 16384 slots are covered" in said and "migrating state 6000" in said
            assert found["cluster-slots-uncovered"].evidence["slots"] == lost
            assert found["cluster-slots-open"].evidence["slots"] == "6000-6001"
            assert f"6000 on {second.address} goes to {third.address}" in found["cluster-slots-open"].issue
            assert ("cluster-disagree" in found) == ("Nodes don't agree" in said)
            drift = found["cluster-config-drift"]
            assert f"maxmemory-policy is allkeys-lru on {second.address}, noeviction on others" in drift.issue
            assert drift.commands == (f"{second.address}> CONFIG SET maxmemory-policy noeviction",)
    finally:
        second.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        second.command("CLUSTER", "SETSLOT", "6000", "STABLE")
        third.command("CLUSTER", "SETSLOT", "6001", "STABLE")
        first.command("CLUSTER", "ADDSLOTS", lost)


async def test_a_killed_primary_is_replaced_and_no_figure_jumps(six: Sixfold) -> None:
    write(six)
    victim = six.primaries()[1]
    heir = six.replica_of(victim)
    async with whole(f"redis+cluster://{victim.address}") as source:
        await becomes(source, lambda seen: all(node.lag_bytes == 0 for node in seen.nodes[1::2]))
        before = await stats_of(source)
        victim.kill()
        seen = await becomes(source, lambda seen: node_at(seen, heir).role == "primary" and node_at(seen, heir).slots)
        gone = node_at(seen, victim)
        assert gone.figures is not None and gone.figures.trouble and gone.figures.taken_at is not None
        assert gone.keys is not None and gone.member is not None and not gone.member.told
        found = found_in(seen)
        assert "cluster-primary-failed" in found and "cluster-no-replica" in found
        assert "cluster-slots-uncovered" not in found

        after = await stats_of(source)
        deadline = time.monotonic() + LIMIT_S
        while after.keys != 300:
            after = await stats_of(source)
            assert time.monotonic() < deadline, [(n.address, n.role, n.keys, n.trouble) for n in after.nodes]
        assert before.commands_total is not None and after.commands_total is not None
        assert after.commands_total >= before.commands_total
        assert after.uptime_s is not None and before.uptime_s is not None and after.uptime_s >= before.uptime_s
        assert await read(source, b"key:1") == b"x"
        assert (await source.flags(["get"]))["get"] and await source.policies()
        names = Names()
        await source.enumeration(names).run()
        assert len(names.found) == 300

        victim.start()
        await becomes(
            source,
            lambda seen: node_at(seen, victim).state == "online" and not found_in(seen).keys() - {"cluster-same-host"},
        )


@pytest.mark.parametrize("six", ["valkey9"], indirect=True)
async def test_a_stopped_node_delays_nobody_and_its_figures_age(six: Sixfold) -> None:
    victim = six.replica_of(six.primaries()[0])
    async with whole(six.url) as source:
        first = await becomes(source, lambda seen: all(node.figures and node.figures.taken_at for node in seen.nodes))
        await stats_of(source)
        victim.pause()
        try:
            seen = await becomes(source, lambda seen: (figures := node_at(seen, victim).figures) and figures.trouble)
            held, others = node_at(seen, victim), [node for node in seen.nodes if node.address != victim.address]
            assert held.figures is not None and held.figures.taken_at is not None
            assert held.keys == node_at(first, victim).keys and held.state in ("no answer", "fail?", "fail")
            assert all(
                node.figures and node.figures.taken_at and node.figures.taken_at > held.figures.taken_at
                for node in others
            )
            assert not any(node.figures and node.figures.trouble for node in others)
            stats = await stats_of(source)
            assert {node.address for node in stats.nodes if not node.trouble} >= {node.address for node in others}
            clients = await source.poll("clients")
            assert isinstance(clients, ClientList) and {client.node for client in clients.clients} >= {
                node.address for node in others
            }
        finally:
            victim.resume()
        await becomes(source, lambda seen: node_at(seen, victim).state == "online")


@pytest.mark.parametrize("six", ["valkey9"], indirect=True)
async def test_all_nodes_down_and_up_again(six: Sixfold) -> None:
    write(six, 30)
    async with whole(six.url) as source:
        await seen_by(source)
        await stats_of(source)
        for node in six.nodes:
            node.kill()
        for kind in ("topology", "stats"):
            with pytest.raises(Unreachable):
                await source.poll(kind)
        for node in six.nodes:
            node.start()
        seen = await becomes(source, lambda seen: all(node.state == "online" for node in seen.nodes))
        assert len(seen.nodes) == 6
        assert (await stats_of(source)).keys is not None


@pytest.mark.parametrize("six", ["redis7"], indirect=True)
async def test_without_a_majority_it_says_so(six: Sixfold) -> None:
    first, second, third = six.primaries()
    alone = [first, six.replica_of(first)]
    async with whole(f"redis+cluster://{first.address}") as source:
        await seen_by(source)
        for node in six.nodes:
            if node not in alone:
                node.pause()
        seen = await becomes(source, lambda seen: "cluster-no-majority" in found_in(seen))
        found = found_in(seen)
        assert found["cluster-no-majority"].evidence["failed"] == [second.address, third.address]
        await becomes(source, lambda seen: found_in(seen).keys() & {"cluster-down", "cluster-slots-uncovered"})
        six.mend()
        await becomes(source, lambda seen: not found_in(seen).keys() - {"cluster-same-host"})


@pytest.mark.parametrize("six", ["valkey9"], indirect=True)
async def test_lists_of_all_nodes_are_merged_and_named(six: Sixfold) -> None:
    for node in six.nodes:
        node.command("CONFIG", "SET", "slowlog-log-slower-than", "0")
    try:
        write(six, 60)
        async with whole(six.url) as source:
            log = await source.poll("slowlog")
            assert isinstance(log, SlowLog)
            assert {entry.node for entry in log.entries} >= {node.address for node in six.primaries()}
            times = [entry.at for entry in log.entries]
            assert times == sorted(times, reverse=True) and log.note == "" and log.threshold_us == 0
            clients = await source.poll("clients")
            assert isinstance(clients, ClientList) and {client.node for client in clients.clients} == {
                node.address for node in six.nodes
            }
            assert sum(client.ours for client in clients.clients) >= 6
    finally:
        for node in six.nodes:
            node.command("CONFIG", "SET", "slowlog-log-slower-than", "10000")
            node.command("SLOWLOG", "RESET")


async def test_one_node_alone_primary_or_replica(six: Sixfold) -> None:
    write(six)
    primary = six.primaries()[1]
    replica = six.replica_of(primary)
    async with whole(six.url) as source:
        await becomes(source, lambda seen: all(node.lag_bytes == 0 for node in seen.nodes[1::2]))
        for server, role in ((primary, "primary"), (replica, "replica")):
            alone = source.node(server.address)
            try:
                identity = await alone.open()
                assert (identity.role, identity.address) == (role, server.address)
                stats = await stats_of(alone)
                assert stats.nodes == () and stats.keys == server.command("DBSIZE")
                step = await alone.scan(count=1000)
                assert len(set(step.keys)) == stats.keys
                facts = await alone.facts(step.keys[:5])
                assert [one.type for one in facts.facts] == ["string"] * 5
                assert (await alone.value(step.keys[0])).items[0].data == b"x"
            finally:
                await alone.close()
        with pytest.raises(CacheError):
            source.node("?:7000")


@pytest.mark.parametrize("six", ["redis7"], indirect=True)
async def test_a_node_that_announces_another_port_is_found_through_the_seeds(six: Sixfold) -> None:
    hidden = six.replica_of(six.primaries()[0])
    wrong = str(free_port())
    hidden.command("CONFIG", "SET", "cluster-announce-port", wrong)
    hidden.command("CONFIG", "SET", "cluster-announce-bus-port", str(hidden.port + 10_000))
    try:
        async with whole(f"{six.url},{hidden.address}") as source:
            seen = await becomes(
                source,
                lambda seen: any(
                    node.address == f"127.0.0.1:{wrong}" and node.state == "online" and node.member and node.member.told
                    for node in seen.nodes
                ),
            )
            assert len(seen.nodes) == 6
        async with whole(f"{six.url},{hidden.address}") as source:
            at_once = await seen_by(source)
            assert all(node.state == "online" for node in at_once.nodes)
    finally:
        hidden.command("CONFIG", "SET", "cluster-announce-port", "0")
        hidden.command("CONFIG", "SET", "cluster-announce-bus-port", "0")
        six.mend()


@pytest.mark.parametrize("six", ["redis7"], indirect=True)
async def test_a_cluster_with_a_password(six: Sixfold) -> None:
    for node in six.nodes:
        node.command("CONFIG", "SET", "masterauth", "hunter2", "requirepass", "hunter2")
    try:
        async with whole(f"redis+cluster://:hunter2@{six.nodes[4].address}") as source:
            seen = await becomes(source, lambda seen: all(node.state == "online" for node in seen.nodes))
            assert len(seen.nodes) == 6
            assert (await stats_of(source)).keys == 0
            alone = source.node(seen.nodes[0].address)
            assert (await stats_of(alone)).server.role == "primary"
            await alone.close()
    finally:
        for node in six.nodes:
            with node.client(password="hunter2") as client:
                client.execute_command("CONFIG", "SET", "masterauth", "", "requirepass", "")
