"""A demo of a Sentinel group: one primary, two replicas, three Sentinels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from cachetui.demo.actors import Reach, connect
from cachetui.demo.group import Group, started, stop_all
from cachetui.demo.servers import READY_S, DemoFailed, Engine, Part, Running, start

NAME = "shop"
REPLICAS, SENTINELS, QUORUM = 2, 3, 2
DOWN_AFTER_MS, FAILOVER_TIMEOUT_MS = 2000, 10_000


async def start_sentinel(engine: Engine) -> Group:
    """Start the group and wait until every Sentinel knows all others and the replicas follow. Raises DemoFailed."""
    servers = await started(start(engine, Part({"repl-diskless-sync-delay": 0, "replica-priority": 100})))
    try:
        primary = servers[0]
        behind = {"replicaof": f"127.0.0.1 {primary.port}", "repl-diskless-sync-delay": 0}
        servers += await started(*(start(engine, Part(behind)) for _ in range(REPLICAS)))
        lines = (
            f"sentinel monitor {NAME} 127.0.0.1 {primary.port} {QUORUM}",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {NAME} {FAILOVER_TIMEOUT_MS}",
        )
        watchers = await started(*(start(engine, Part(sentinel=True, lines=lines)) for _ in range(SENTINELS)))
        servers += watchers
        await _know_each_other(watchers)
    except BaseException:
        await stop_all(servers)
        raise
    ports = [watcher.port for watcher in watchers]
    return Group(
        f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/{NAME}",
        f"{engine.title} {primary.version}: a primary, {REPLICAS} replicas and {SENTINELS} Sentinels on 127.0.0.1 "
        "with a live workload",
        servers,
        holders=1 + REPLICAS,
        reach=through(ports),
    )


async def _know_each_other(watchers: list[Running]) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_S
    for watcher in watchers:
        client = connect(watcher.port, "demo")
        try:
            while not await _knows(client):
                if loop.time() > deadline:
                    raise DemoFailed("the Sentinels did not find each other in time", "try again")
                await asyncio.sleep(0.1)
        finally:
            await client.aclose()
            await client.connection_pool.disconnect()


async def _knows(client: Redis) -> bool:
    try:
        about: Any = await client.sentinel_master(NAME)
    except RedisError:
        return False
    return bool(about["num-other-sentinels"] == SENTINELS - 1 and about["num-slaves"] == REPLICAS)


def through(ports: list[int]) -> Reach:
    """Return what opens clients of whichever server the Sentinels name; they follow a failover."""

    @asynccontextmanager
    async def reach(name: str, *, connections: int = 1, wait_s: float = 0.0) -> AsyncIterator[Redis]:
        options: dict[str, Any] = {
            "socket_timeout": 2 + wait_s,
            "socket_connect_timeout": 1,
            "retry": Retry(NoBackoff(), 0),
            "driver_info": None,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        group: Any = Sentinel(  # type: ignore[no-untyped-call]
            [("127.0.0.1", port) for port in ports], sentinel_kwargs={"socket_timeout": 1}, **options
        )
        client = group.master_for(NAME, client_name=name, max_connections=connections)
        try:
            yield client
        finally:
            await client.aclose()
            await client.connection_pool.disconnect()
            for watcher in group.sentinels:
                await watcher.aclose()

    return reach
