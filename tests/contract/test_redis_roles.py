"""Who is who: replication, a cluster node, a Sentinel, and a target found through Sentinels."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import redis

from cachetui.config import Address, Secret, Target
from cachetui.errors import BadTarget, CacheError, ServerError, Unreachable
from cachetui.model import Stats, Topology
from cachetui.source.connect import open_source
from cachetui.source.redis import RedisSource
from tests.contract.redis_targets import source_of, target_of, until
from tests.servers import launch
from tests.servers.launch import SERVERS, Server
from tests.servers.strange import says, strange_server

NewServer = Callable[..., Server]
KINDS = ("redis7", "redis6", "valkey9")


async def topology_of(source: RedisSource) -> Topology:
    topology = await source.poll("topology")
    assert isinstance(topology, Topology)
    return topology


def linked(replica: Server) -> bool:
    with replica.client() as client:
        return bool(client.info("replication").get("master_link_status") == "up")


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
async def test_primary_and_replica(new_server: NewServer, kind: str, protocol: int) -> None:
    primary = new_server(kind, "--repl-diskless-sync-delay", "0")
    replica = new_server(kind, "--replicaof", "127.0.0.1", str(primary.port))
    await until(lambda: linked(replica))
    async with source_of(primary, protocol=protocol) as above, source_of(replica, protocol=protocol) as below:
        with primary.client() as client:
            await until(lambda: client.info("replication")["slave0"]["state"] == "online")
        seen = await topology_of(above)
        assert seen.summary == "primary with 1 replica" and seen.problems == ()
        me, other = seen.nodes
        assert (me.role, me.myself, me.address) == ("primary", True, primary.address)
        assert (other.role, other.state, other.primary) == ("replica", "online", primary.address)
        assert other.address == replica.address and other.lag_bytes is not None and other.lag_s is not None
        stats = await above.poll("stats")
        assert isinstance(stats, Stats) and stats.replicas == 1 and stats.worst_lag_bytes is not None

        seen = await topology_of(below)
        assert seen.server.role == "replica" and seen.summary == f"replica of {primary.address}, link up"
        assert [(node.role, node.myself) for node in seen.nodes] == [("primary", False), ("replica", True)]
        assert "replica" in (below.why_not("delete") or "") and below.why_not("scan") is None
        (reply,) = await below.execute([(b"SET", b"k", b"v")])
        assert isinstance(reply, ServerError) and reply.word == "READONLY" and "replica" in reply.message

        primary.kill()
        await until(lambda: not linked(replica))
        seen = await topology_of(below)
        assert seen.problems and "down" in seen.problems[0]
        stats = await below.poll("stats")
        assert isinstance(stats, Stats) and stats.link_up is False and stats.server.role == "replica"

        replica.command("REPLICAOF", "NO", "ONE")
        stats = await below.poll("stats")
        assert isinstance(stats, Stats) and stats.server.role == "primary" and stats.link_up is None
        assert below.identity is not None and below.identity.role == "primary" and below.why_not("delete") is None


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
async def test_cluster_node(new_server: NewServer, kind: str, protocol: int) -> None:
    nodes = [new_server(kind, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000") for _ in range(2)]
    first, second = nodes
    async with source_of(first, protocol=protocol) as source:
        identity = await source.open()
        assert identity.mode == "cluster" and identity.role == "primary"
        empty = await topology_of(source)
        assert empty.nodes[0].address == first.address and "16384 of 16384 slots are not served" in " ".join(
            empty.problems
        )
        first.command("CLUSTER", "ADDSLOTS", *map(str, range(8000)))
        second.command("CLUSTER", "ADDSLOTS", *map(str, range(8000, 16384)))
        first.command("CLUSTER", "MEET", "127.0.0.1", str(second.port))
        await until(lambda: b"cluster_state:ok" in _text(first.command("CLUSTER", "INFO")))
        whole = await topology_of(source)
        assert whole.problems == () and "16384 of 16384 slots served, 2 shards, 2 nodes" in whole.summary
        slots = {node.address: node.slots for node in whole.nodes}
        assert slots == {first.address: "0-7999", second.address: "8000-16383"}
        assert ("cluster_state", "ok") in whole.facts

        replies = await source.execute([(b"SET", b"foo", b"1"), (b"SET", b"bar", b"1")])
        moved = [reply for reply in replies if isinstance(reply, ServerError)]
        assert [error.word for error in moved] == ["MOVED"] and "another node" in moved[0].message
        assert len((await source.scan()).keys) == 1

        second.kill()
        await until(lambda: b"cluster_state:fail" in _text(first.command("CLUSTER", "INFO")))
        broken = await topology_of(source)
        problems = " ".join(broken.problems)
        assert "cluster_state is fail" in problems and f"primary {second.address} is fail" in problems
    both = tuple(Address("127.0.0.1", node.port) for node in (second, first))
    through = await open_source(Target("cluster", both))
    assert through.identity and through.identity.address == first.address
    await through.close()
    with pytest.raises(BadTarget, match="no database 2"):
        await open_source(target_of(first, db=2))


def _text(reply: object) -> bytes:
    if isinstance(reply, dict):
        return b"\n".join(f"{name}:{value}".encode() for name, value in reply.items())
    return reply if isinstance(reply, bytes) else str(reply).encode()


@pytest.fixture
def sentinels() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(kind: str, primary: Server, **more: object) -> Server:
        server = launch.sentinel_server(SERVERS[kind](), primary, **more)  # type: ignore[arg-type]
        started.append(server)
        return server

    yield start
    for server in started:
        launch.remove(server)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
async def test_sentinel_is_noticed(
    new_server: NewServer, sentinels: Callable[..., Server], kind: str, protocol: int
) -> None:
    primary = new_server(kind)
    watcher = sentinels(kind, primary)
    async with source_of(watcher, protocol=protocol) as source:
        identity = await source.open()
        assert (identity.mode, identity.role) == ("sentinel", "sentinel")
        stats = await source.poll("stats")
        assert isinstance(stats, Stats) and stats.server.mode == "sentinel" and stats.keys is None
        assert stats.clients is not None
        topology = await topology_of(source)
        assert topology.summary == "Sentinel watching 1 group"
        assert [
            words for words in topology.problems if "only one Sentinel" not in words and "no replica" not in words
        ] == []
        assert [(node.role, node.address) for node in topology.nodes] == [
            ("sentinel", watcher.address),
            ("primary", primary.address),
        ]
        assert ("mymaster quorum", "1 of 1 sentinels") in topology.facts
        assert "Sentinel" in (source.why_not("scan") or "") and source.why_not("clients") is None
        with pytest.raises(CacheError):
            await source.scan()
        primary.kill()
        with watcher.client() as client:
            await until(lambda: b"s_down" in str(client.execute_command("SENTINEL", "MASTERS")).encode())
        assert re.search("is [so]_down", " ".join((await topology_of(source)).problems))


async def test_the_primary_is_found_through_sentinels(new_server: NewServer, sentinels: Callable[..., Server]) -> None:
    primary = new_server("redis7", "--requirepass", "pw", "--masterauth", "pw", "--repl-diskless-sync-delay", "0")
    replica = new_server(
        "redis7", "--requirepass", "pw", "--masterauth", "pw", "--replicaof", "127.0.0.1", str(primary.port)
    )
    options = ("sentinel auth-pass mymaster pw", "requirepass spw")
    watchers = [sentinels("redis7", primary, options=options) for _ in range(3)]
    addresses = tuple(Address("127.0.0.1", watcher.port) for watcher in watchers)
    target = target_of(primary, kind="sentinel", password="pw", service="mymaster")

    def group(*where: Address, **more: object) -> Target:
        return replace(target, addresses=where, sentinel_password=Secret("spw"), **more)  # type: ignore[arg-type]

    dead = Address("127.0.0.1", launch.free_port())
    source = await open_source(group(dead, *addresses))
    try:
        assert source.identity and source.identity.address == primary.address and source.identity.role == "primary"
        assert isinstance(await source.poll("stats"), Stats)
        with watchers[0].client(password="spw") as client:
            await until(lambda: _fails_over(client))
        await until(lambda: _role(replica) == "master")
        await until(lambda: all(_named(watcher) == replica.port for watcher in watchers))
        primary.kill()
        with contextlib.suppress(Unreachable):  # the loss of the old primary may be noticed only by this poll
            await source.poll("stats")
        stats = await source.poll("stats")
        assert isinstance(stats, Stats) and stats.server.address == replica.address
    finally:
        await source.close()
    with pytest.raises(CacheError, match="knows no group"):
        await open_source(group(*addresses, service="other"))
    with pytest.raises(Unreachable):
        await open_source(group(dead))


def _role(server: Server) -> str:
    with server.client(password="pw") as client:
        return str(client.info("replication")["role"])


def _fails_over(client) -> bool:  # type: ignore[no-untyped-def]
    """Start a failover; a Sentinel refuses while it does not know a good replica yet."""
    try:
        client.execute_command("SENTINEL", "FAILOVER", "mymaster")
    except redis.ResponseError as error:
        assert "NOGOODSLAVE" in str(error)
        return False
    return True


def _named(watcher: Server) -> int:
    with watcher.client(password="spw") as client:
        reply = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
    return int(reply[1])


async def test_a_sentinel_that_lies_is_not_followed(new_server: NewServer) -> None:
    primary = new_server("redis7")
    replica = new_server("redis7", "--replicaof", "127.0.0.1", str(primary.port))
    port = str(replica.port).encode()
    lie = b"-ERR unknown command\r\n" * 3 + b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n" % (len(port), port)
    async with strange_server(says(lie)) as liar:
        target = Target("sentinel", (Address("127.0.0.1", liar),), service="mymaster")
        with pytest.raises(Unreachable, match="says it is a replica"):
            await open_source(target)
