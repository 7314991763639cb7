"""A demo of a cluster: six nodes, made one by cachetui's own code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from cachetui.actions.cluster.creating import create_cluster
from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.journal import Journal
from cachetui.config import Address, Target
from cachetui.demo.actors import Reach
from cachetui.demo.group import Group, started, stop_all
from cachetui.demo.servers import DemoFailed, Engine, Part, Running, free_port_of_node, start
from cachetui.source.connect import make_source

NODES, REPLICAS_EACH = 6, 1
NODE_TIMEOUT_MS = 3000
MAXMEMORY_BYTES = 24 * 1024 * 1024
RETRIES = 3
CONNECTIONS = 16
"""To each node, and for each that a client of one server would have."""


async def start_cluster(engine: Engine) -> Group:
    """Start six nodes and make one cluster of them. Raises DemoFailed."""
    settings = {
        "cluster-enabled": "yes",
        "cluster-node-timeout": NODE_TIMEOUT_MS,
        "maxmemory": MAXMEMORY_BYTES,
        "repl-diskless-sync-delay": 0,
    }
    servers = await started(*(start(engine, Part(settings), pick_port=free_port_of_node) for _ in range(NODES)))
    try:
        await _made_one(servers)
    except BaseException:
        await stop_all(servers)
        raise
    ports = [server.port for server in servers]
    return Group(
        f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in ports)}",
        f"{engine.title} {servers[0].version}: a cluster of {NODES} nodes on 127.0.0.1 with a live workload",
        servers,
        holders=NODES,
        reach=across(ports),
        clustered=True,
    )


async def _made_one(servers: list[Running]) -> None:
    first = servers[0]
    target = Target("redis", (Address("127.0.0.1", first.port),))
    async with Nodes(target, make_source) as nodes:
        outcome = await create_cluster(
            [f"127.0.0.1:{server.port}" for server in servers],
            replicas=REPLICAS_EACH,
            nodes=nodes,
            journal=Journal(first.directory / "journal.jsonl"),
        )
    if outcome.state != "done" or outcome.verified is False:
        raise DemoFailed(f"the cluster could not be made: {outcome.line()}", "try again on a less busy machine")


def across(ports: list[int]) -> Reach:
    """Return what opens clients of all nodes; they follow slots and failovers."""

    @asynccontextmanager
    async def reach(name: str, *, connections: int = 1, wait_s: float = 0.0) -> AsyncIterator[RedisCluster]:
        client = RedisCluster(
            startup_nodes=[ClusterNode("127.0.0.1", port) for port in ports],
            client_name=name,
            max_connections=CONNECTIONS * connections,
            socket_timeout=2 + wait_s,
            socket_connect_timeout=1,
            retry=Retry(NoBackoff(), RETRIES),
            require_full_coverage=False,
            driver_info=None,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        try:
            await client.initialize()  # a subscription does not do it by itself
            yield client
        finally:
            await client.aclose()

    return reach
