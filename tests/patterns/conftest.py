"""The servers that the patterns are tried on, as clients of both kinds, each emptied before a test."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from pymemcache.client.base import PooledClient
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.patterns.workers import Start, Worker
from tests.servers import launch
from tests.servers.launch import Server

KINDS = ("redis7", "valkey9", "cluster", "memcached")


@pytest.fixture(scope="session")
def _six() -> Iterator[list[Server]]:
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    nodes = [launch.redis_server(launch.redis7(), *options) for _ in range(6)]
    launch.join_cluster(nodes)
    yield nodes
    for node in nodes:
        launch.remove(node)


@pytest.fixture
def cluster(_six: list[Server]) -> list[Server]:
    """A cluster of six nodes, empty."""
    for node in _six:
        node.command("FLUSHALL")
    return _six


def sync_client(kind: str, server: Any, **options: Any) -> Any:
    """Return a blocking client of a server, or of the first node of a cluster."""
    if kind == "memcached":
        return PooledClient(("127.0.0.1", server.port), connect_timeout=2, timeout=2)
    if kind == "cluster":
        return redis.RedisCluster(host="127.0.0.1", port=server[0].port)
    return redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0), socket_timeout=2, **options)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(kind: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A blocking client of each kind of server in turn."""
    made = sync_client(kind, request.getfixturevalue(kind))
    yield made
    made.close()


@pytest.fixture
async def aclient(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A client for asyncio of each kind of server in turn (pymemcache has only one kind)."""
    server = request.getfixturevalue(kind)
    if kind == "memcached":
        made = sync_client(kind, server)
        yield made
        made.close()
        return
    if kind == "cluster":
        made = await redis.asyncio.RedisCluster(host="127.0.0.1", port=server[0].port)
    else:
        made = redis.asyncio.Redis(port=server.port, retry=redis.asyncio.retry.Retry(NoBackoff(), 0), socket_timeout=2)
    yield made
    await made.aclose()


class Gate:
    """A loader that is held until it is let through, and says when it was asked."""

    def __init__(self) -> None:
        self.asked, self.through = threading.Event(), threading.Event()
        self.value: Any = b"old"
        self.calls = 0

    def __call__(self, _key: str) -> Any:
        value = self.value
        self.calls += 1
        self.asked.set()
        assert self.through.wait(20)
        return value


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a worker process: `start("load", kind, port, ...)`; all are killed in the end."""
    running: list[Worker] = []

    def begin(role: str, *args: object) -> Worker:
        running.append(Worker(role, *args))
        return running[-1]

    yield begin
    for worker in running:
        worker.end()
