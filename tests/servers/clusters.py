"""Clusters of real nodes for tests, and a client that counts what it wrote to them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from binascii import crc_hqx
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError

from cachetui.actions.apply import Guard, Outcome, apply
from cachetui.actions.cluster.creating import create_cluster
from cachetui.actions.cluster.looking import look
from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.journal import Journal
from cachetui.actions.plan import Plan
from cachetui.actions.plan.members import Member, State
from cachetui.config import parse_target
from cachetui.model import Identity
from cachetui.model.slots import SLOTS
from cachetui.source.base import Source
from cachetui.source.connect import make_source
from tests.servers import launch
from tests.servers.launch import SERVERS, Server

FREE = Guard(read_only=False)
QUICK = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--repl-diskless-sync-delay", "0")


def started(kind: str, count: int, *options: str) -> list[Server]:
    """Start empty nodes that fail over soon."""
    return [launch.redis_server(SERVERS[kind](), *QUICK, *options) for _ in range(count)]


@dataclass
class Cluster:
    """Running nodes and one way to act on them."""

    servers: list[Server]
    nodes: Nodes
    journal: Journal
    source: Source

    @property
    def identity(self) -> Identity:
        assert self.source.identity is not None
        return self.source.identity

    @property
    def who(self) -> tuple[Nodes, Identity, str]:
        """What plans begin with."""
        return self.nodes, self.identity, self.source.name

    def server(self, address: str) -> Server:
        return next(server for server in self.servers if server.address == address)

    async def state(self) -> State:
        return await look(self.nodes, [server.address for server in self.servers])

    async def primaries(self) -> list[Member]:
        return (await self.state()).primaries

    async def run(self, plan: Plan, **more: object) -> Outcome:
        return await apply(plan, self.source, journal=self.journal, guard=FREE, nodes=self.nodes, **more)  # type: ignore[arg-type]

    def client(self) -> RedisCluster:
        alive = [server for server in self.servers if server.process is not None and server.process.poll() is None]
        seeds = [ClusterNode("127.0.0.1", server.port) for server in alive]  # type: ignore[no-untyped-call]
        return RedisCluster(startup_nodes=seeds)


@asynccontextmanager
async def acting(servers: Sequence[Server], path: Path, url: str = "") -> AsyncIterator[Cluster]:
    """Open what acts on a cluster."""
    target = parse_target(url or f"redis+cluster://{','.join(server.address for server in servers)}")
    source = make_source(target)
    async with Nodes(target, make_source) as nodes:
        try:
            await source.open()
            yield Cluster(list(servers), nodes, Journal(path / "journal.jsonl"), source)
        finally:
            await source.close()


async def created(servers: Sequence[Server], path: Path, replicas: int, url: str = "") -> Outcome:
    """Make a cluster of empty nodes by our own code."""
    async with Nodes(parse_target(url or servers[0].url), make_source) as nodes:
        addresses = [server.address for server in servers]
        return await create_cluster(addresses, replicas=replicas, nodes=nodes, journal=Journal(path / "created.jsonl"))


class Counting:
    """A client that raises many counters, over and over; `acked` is what the cluster said yes to."""

    def __init__(self, connect: Callable[[], RedisCluster], keys: int) -> None:
        self.keys = [b"n:%d" % number for number in range(keys)]
        self.acked: Counter[bytes] = Counter()
        self.troubles = 0
        self._connect, self._stop = connect, threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        client = self._connect()
        while not self._stop.is_set():
            for key in self.keys:
                if self._stop.is_set():
                    return
                try:
                    client.incr(key)
                    self.acked[key] += 1
                except (RedisError, OSError, AttributeError):  # the last: redis-py, of a node that has just left
                    self.troubles += 1

    def lost(self) -> dict[bytes, tuple[int, int]]:
        """Return the keys that hold less than was written, with both numbers."""
        return {key: both for key, both in self.wrong().items() if both[1] < both[0]}

    def wrong(self) -> dict[bytes, tuple[int, int]]:
        """Return the keys that hold anything else than was written."""
        held = self._held()
        return {key: (self.acked[key], held[key]) for key in self.keys if held[key] != self.acked[key]}

    def _held(self) -> dict[bytes, int]:
        """Read all counters, as soon as every node is served again."""
        end = time.monotonic() + 30.0
        while True:
            try:
                client = self._connect()
                return {key: int(client.get(key) or 0) for key in self.keys}
            except (RedisError, OSError, AttributeError):
                if time.monotonic() > end:
                    raise

    def __enter__(self) -> Counting:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)


@contextmanager
def counting(connect: Callable[[], RedisCluster], keys: int = 300) -> Iterator[Counting]:
    """Count in a thread while the body runs."""
    with Counting(connect, keys) as counter:
        yield counter


@cache
def _tags() -> dict[int, int]:
    """Return a number for each slot, whose digits in braces lie in it."""
    found: dict[int, int] = {}
    number = 0
    while len(found) < SLOTS:
        found.setdefault(crc_hqx(b"%d" % number, 0) % SLOTS, number)
        number += 1
    return found


def key_in(slot: int, number: int = 0) -> bytes:
    """Return a key that lies in a slot."""
    return b"{%d}:%d" % (_tags()[slot], number)


async def becomes(check: Callable[[], Awaitable[bool]], limit_s: float = 30.0) -> None:
    """Wait until `check` says yes."""
    async with asyncio.timeout(limit_s):
        while True:
            if await check():
                return
            await asyncio.sleep(0.05)


def stopped(servers: Sequence[Server]) -> None:
    """End nodes."""
    for server in servers:
        with contextlib.suppress(ProcessLookupError):
            launch.remove(server)
