"""A cluster of three primaries with a replica each, broken and mended again by the tests that share it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cachetui.source.redis.topology.view import ClusterView, parse_view
from tests.servers import launch
from tests.servers.launch import SERVERS, Server

OPTIONS = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--repl-diskless-sync-delay", "0")
LIMIT_S = 40.0


def wait(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Wait until `condition()` is true; fail when it does not become so in time."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"


class Sixfold:
    """Six running nodes."""

    def __init__(self, kind: str, *options: str) -> None:
        self.nodes = [launch.redis_server(SERVERS[kind](), *OPTIONS, *options) for _ in range(6)]
        launch.join_cluster(self.nodes[:3])
        for at, replica in enumerate(self.nodes[3:]):
            replica.command("CLUSTER", "MEET", "127.0.0.1", str(self.nodes[0].port))
            wait(lambda at=at, replica=replica: self.id_of(self.nodes[at]) in self.view(replica).lines)  # type: ignore[misc]
            replica.command("CLUSTER", "REPLICATE", self.id_of(self.nodes[at]))
        wait(self.is_well)

    @property
    def url(self) -> str:
        return f"redis+cluster://{self.nodes[0].address}"

    def raw(self, node: Server, *words: str) -> bytes:
        """Return the undecoded reply of one node."""
        with node.client() as client:
            reply = client.execute_command(*words, NEVER_DECODE=True)
        return reply if isinstance(reply, bytes) else str(reply).encode()

    def view(self, node: Server) -> ClusterView:
        return parse_view(self.raw(node, "CLUSTER", "NODES"))

    def id_of(self, node: Server) -> str:
        return self.raw(node, "CLUSTER", "MYID").decode()

    def at(self, address: str) -> Server:
        return next(node for node in self.nodes if node.address == address)

    def primaries(self) -> list[Server]:
        """Return the primaries that serve slots, by their lowest slot."""
        lines = [line for line in self.view(self.nodes[0]).lines.values() if line.role == "primary" and line.slots]
        lines.sort(key=lambda line: int(line.slots.split("-")[0].split(",")[0]))
        return [self.at(line.address) for line in lines]

    def replica_of(self, primary: Server) -> Server:
        mine = self.id_of(primary)
        return next(self.at(l.address) for l in self.view(primary).lines.values() if l.primary_id == mine)  # noqa: E741

    def is_well(self) -> bool:
        """Tell whether all nodes agree that all is well."""
        views = [self.view(node) for node in self.nodes]
        for node, view in zip(self.nodes, views, strict=True):
            if b"cluster_state:ok" not in self.raw(node, "CLUSTER", "INFO") or len(view.lines) != len(self.nodes):
                return False
            if any(line.flags & {"fail", "fail?", "handshake"} or not line.connected for line in view.lines.values()):
                return False
            link = self.raw(node, "INFO", "replication")
            if b"role:slave" in link and b"master_link_status:up" not in link:
                return False
        primaries = sum(line.role == "primary" for line in views[0].lines.values())
        return primaries == 3 and len({view.signature() for view in views}) == 1

    def mend(self) -> None:
        """Bring back what was stopped or killed, give lost slots back, close open ones."""
        for node in self.nodes:
            if node.paused:
                node.resume()
            if node.process is None or node.process.poll() is not None:
                node.start()
        if not self.is_well():
            self._fix()
        wait(self.is_well)

    def _fix(self) -> None:
        for node in self.nodes:
            for slot, _, _ in getattr(self.view(node).me, "open_slots", ()):
                node.command("CLUSTER", "SETSLOT", str(slot), "STABLE")

    def cli_check(self) -> str:
        """Return what redis-cli finds."""
        argv = [launch.redis_cli(), "--cluster", "check", self.nodes[0].address]
        return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False).stdout

    def remove(self) -> None:
        for node in self.nodes:
            launch.remove(node)


@contextmanager
def sixfold(kind: str, *options: str) -> Iterator[Sixfold]:
    """Start a cluster, and stop it at the end."""
    cluster = Sixfold(kind, *options)
    try:
        yield cluster
    finally:
        cluster.remove()
