"""A target as a whole and node by node: who is asked for what, wherever the nodes are by now."""

from __future__ import annotations

import asyncio
import time
from collections import ChainMap
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from cachetui.config import Address, Target
from cachetui.errors import CacheError, Denied, Unreachable, Unsupported
from cachetui.model import NodeSettings, SettingsByNode, Topology
from cachetui.source.base import Kind, Polled
from cachetui.source.redis.clusterwide import DOOR, Clusterwide, candidates, found_at
from cachetui.source.redis.narrowed import NodeSource, target_of
from cachetui.source.redis.nodes import gathered, not_found
from cachetui.source.redis.polls import PolledServer
from cachetui.source.redis.session import Arrival
from cachetui.source.redis.source import RedisSource

SOUGHT_S = 30.0
"""A node that is not where the cluster says is looked for elsewhere once in so long."""
OTHERS = 3
"""Other nodes that are asked what any of them knows, when the one that we came by is gone."""

Found = TypeVar("Found")


class WideSource(RedisSource):
    """A `RedisSource` that asks, when its server is a node of a cluster, all the nodes."""

    def __init__(self, target: Target, *, protocol: int = 3) -> None:
        super().__init__(target, protocol=protocol)
        self._protocol = protocol
        self._nodes: dict[str, RedisSource] = {}
        self._called = ""
        """What the other nodes call this one."""
        self._whole: Clusterwide | None = None
        self._elsewhere: dict[str, Address] = {}
        """Where nodes were found that are not where the cluster says."""
        self._sought: dict[str, float] = {}
        self._seeking: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close every connection, to every node."""
        for task in self._seeking:
            task.cancel()
        await asyncio.gather(*self._seeking, return_exceptions=True)
        if self._whole is not None:
            await self._whole.close()
        for source in list(self._nodes.values()):
            await source.close()
        await super().close()

    @property
    def denied(self) -> Mapping[str, CacheError]:
        """What any node refused."""
        return ChainMap(self._session.denied, *(node._session.denied for node in self._nodes.values()))

    def _arrived(self, arrival: Arrival) -> None:
        super()._arrived(arrival)
        if self.identity is not None and self.identity.mode == "cluster":
            # Through whichever node we came: what is looked at is the whole.
            self.identity = replace(self.identity, role=None)

    async def poll(self, kind: Kind) -> Polled:
        """Return a new snapshot of `kind`; of a cluster over all of its nodes."""
        if kind in self.apart or not await self._in_cluster():
            return await super().poll(kind)
        assert self.identity is not None
        if self._whole is None:
            self._whole = Clusterwide(self._at, entry="", timeout_s=self._target.timeout_s, missed=self._missed)
        try:
            return await self._whole.poll(kind, self.identity)
        except (Denied, Unsupported):
            if self._whole.members:
                raise
            return await super().poll(kind)  # the others may not be asked for: this node alone

    def node(self, address: str) -> NodeSource:
        """Return a source of its own for one node, wherever it was found. Raises BadTarget."""
        if self._whole is not None and self._whole.is_entry(address):
            target = self._target_for(self._session.address)
        elif address in self._elsewhere:
            target = self._target_for(self._elsewhere[address])
        else:
            target = target_of(self._target, address)
        return NodeSource(target, protocol=self._protocol)

    def _at(self, place: str) -> PolledServer:
        """Return who is polled at a place: our own connections are for the keys, and know no role in a cluster."""
        return self if place == DOOR else self._node(place or str(self._session.address))

    def _missed(self, address: str, hostname: str, node_id: str) -> asyncio.Task[None] | None:
        """Look for a node elsewhere, that does not answer where the cluster says."""
        now = time.monotonic()
        if now - self._sought.get(node_id, -SOUGHT_S) < SOUGHT_S:
            return None
        self._sought[node_id] = now
        task = asyncio.create_task(self._seek(address, hostname, node_id), name=f"seek {address}")
        self._seeking.add(task)
        task.add_done_callback(self._seeking.discard)
        return task

    async def _seek(self, address: str, hostname: str, node_id: str) -> None:
        places = candidates(address, hostname, self._session.address, self._target.addresses)
        found = await found_at(places, node_id, lambda place: RedisSource(self._target_for(place)))
        if found is not None:
            self._elsewhere[address] = found
            stale = self._nodes.pop(address, None)
            if stale is not None:
                await stale.close()

    async def settings(self, pattern: str = "*") -> SettingsByNode:
        """Return the settings of every node of the cluster, or of the server with its primary and its replicas."""
        if await self._in_cluster():
            return await self._settings_everywhere(pattern)
        own = await super().settings(pattern)
        try:
            known = await self.poll("topology")
        except CacheError as error:
            return not_found(own, error)
        assert isinstance(known, Topology)
        self._called = "" if self._target.kind == "sentinel" else self._called_here(known)
        return await gathered(own, known.nodes, lambda address: self._node(address).settings(pattern))

    async def _settings_everywhere(self, pattern: str) -> SettingsByNode:
        known = await self.poll("topology")
        assert isinstance(known, Topology) and self.identity is not None
        self._called = self._called_here(known)
        nobody = SettingsByNode(time.time(), self.identity, (NodeSettings("", ""),))
        strangers = [replace(node, myself=False) for node in known.nodes]

        async def read(address: str) -> SettingsByNode:
            place = "" if address == self._called else self._known_as(address)
            return await self._node(place or str(self._session.address)).settings(pattern)

        found = await gathered(nobody, strangers, read)
        return replace(found, nodes=tuple(replace(n, myself=n.address == self._called) for n in found.nodes[1:]))

    @staticmethod
    def _called_here(known: Topology) -> str:
        return next((node.address for node in known.nodes if node.myself), "")

    # What any node knows

    async def policies(self) -> tuple[str, ...]:
        """Return the allowed eviction policies."""
        return await self._by_anybody(RedisSource.policies)

    async def config(self, pattern: str) -> dict[str, str]:
        """Return the settings of the node that we came by, or of another when it is gone."""
        return await self._by_anybody(lambda node: RedisSource.config(node, pattern))

    async def flags(self, names: Sequence[str]) -> dict[str, frozenset[str] | None]:
        """Return flags and ACL categories by COMMAND INFO."""
        return await self._by_anybody(lambda node: RedisSource.flags(node, names))

    async def _by_anybody(self, ask: Callable[[RedisSource], Awaitable[Found]]) -> Found:
        try:
            return await ask(self)
        except Unreachable:
            for place in self._whole.answering[:OTHERS] if self._whole is not None else ():
                try:
                    return await ask(self._node(place))
                except Unreachable:
                    continue
            raise

    # The nodes

    async def _in_cluster(self) -> bool:
        if self.identity is None:
            await self.open()
        return self.identity is not None and self.identity.mode == "cluster"

    def _known_as(self, address: str) -> str:
        own = self.identity.address if self.identity else ""
        return "" if address in (own, str(self._session.address)) else address

    def _node(self, place: str) -> RedisSource:
        if not place:
            return self
        if place not in self._nodes:
            node = self._nodes[place] = RedisSource(self._target_at(place), protocol=self._protocol)
            node._session.sent = self._session.sent  # what looking costs is told for all of them
        return self._nodes[place]

    def _target_at(self, place: str) -> Target:
        """Return the target of one node alone; "" is the one that we came by."""
        if place in ("", str(self._session.address)):
            return self._target_for(self._session.address)
        host, _, port = place.rpartition(":")
        announced = Address(host.strip("[]"), int(port) if port.isdigit() else 0)
        return self._target_for(self._elsewhere.get(place, announced))

    def _target_for(self, address: Address) -> Target:
        return replace(self._target, kind="redis", addresses=(address,), service=None)
