"""A cluster's keys: each is asked for, and written, where its slot is served."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from redis.crc import key_slot

from cachetui.config import Address, Target
from cachetui.errors import ServerError
from cachetui.model import KeyFacts, KeyFactsList, Topology, Value
from cachetui.source.base import VALUE_BYTES, VALUE_ROWS, Check, Command
from cachetui.source.redis.source import RedisSource

FRESH_S = 30.0
"""How long the map of slots is believed; a MOVED ends it at once."""
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_KEYLESS = frozenset((b"CONFIG", b"CLIENT", b"SLOWLOG", b"SCRIPT", b"FUNCTION", b"LATENCY", b"ACL", b"CLUSTER"))
"""Commands whose second word is no key: for the server that was given."""


class RoutedSource(RedisSource):
    """A `RedisSource` that knows, when its server is a node of a cluster, which node serves which key."""

    def __init__(self, target: Target, *, protocol: int = 3) -> None:
        super().__init__(target, protocol=protocol)
        self._nodes: dict[str, RedisSource] = {}
        self._owners: tuple[tuple[int, int, str], ...] = ()
        """First and last slot and the address that serves them; "" is this node."""
        self._read_at = -FRESH_S

    async def close(self) -> None:
        """Close every connection, to every node."""
        for source in self._nodes.values():
            await source.close()
        await super().close()

    async def facts(self, keys: Sequence[bytes], *, size: bool = True) -> KeyFactsList:
        """Return the facts of `keys`, asked of the nodes that serve them."""
        if not await self._in_cluster():
            return await super().facts(keys, size=size)
        found: dict[bytes, KeyFacts] = {}
        for address, own in (await self._dealt(keys)).items():
            node = self._node(address)
            answer = await (RedisSource.facts(self, own, size=size) if node is self else node.facts(own, size=size))
            found |= {facts.key: facts for facts in answer.facts}
        return KeyFactsList(time.time(), tuple(found[key] for key in keys))

    async def value(
        self,
        key: bytes,
        *,
        rows: int = VALUE_ROWS,
        max_bytes: int = VALUE_BYTES,
        start: bytes | None = None,
        order: str = "",
    ) -> Value:
        """Return a window on the value, asked of the node that serves it."""
        node = await self._of(key)
        read = super().value if node is self else node.value
        return await read(key, rows=rows, max_bytes=max_bytes, start=start, order=order)

    async def execute(self, commands: Sequence[Command]) -> list[object]:
        """Send each command to the node of its key; those that were moved meanwhile once more."""
        if not commands or not await self._in_cluster():
            return await super().execute(commands)
        replies = await self._spread(commands)
        moved = [at for at, reply in enumerate(replies) if _is_moved(reply)]
        if moved:
            # A node that says MOVED has done nothing.
            self._read_at = -FRESH_S
            again = await self._spread([commands[at] for at in moved])
            for at, reply in zip(moved, again, strict=True):
                replies[at] = reply
        return replies

    async def transact(
        self, watched: Sequence[bytes], checks: Sequence[Check], commands: Sequence[Command]
    ) -> list[object]:
        """Send MULTI ... EXEC to the node of the first key that is named."""
        named = [*watched[:1], *(check.command[1] for check in checks[:1]), *(command[1] for command in commands[:1])]
        node = await self._of(named[0]) if named else self
        return await (super().transact if node is self else node.transact)(watched, checks, commands)

    # Where keys are

    async def _in_cluster(self) -> bool:
        if self.identity is None:
            await self.open()
        return self.identity is not None and self.identity.mode == "cluster"

    async def _of(self, key: bytes) -> RedisSource:
        if not await self._in_cluster():
            return self
        (address,) = await self._dealt([key])
        return self._node(address)

    async def _dealt(self, keys: Iterable[bytes]) -> dict[str, list[bytes]]:
        """Return the keys by the address that serves them ("" is this node)."""
        await self._learn()
        found: dict[str, list[bytes]] = {}
        for key in keys:
            found.setdefault(self._owner(key), []).append(key)
        return found

    async def _spread(self, commands: Sequence[Command]) -> list[object]:
        await self._learn()
        places: dict[str, list[int]] = {}
        for at, command in enumerate(commands):
            keyed = len(command) > 1 and command[0].upper() not in _KEYLESS
            places.setdefault(self._owner(command[1]) if keyed else "", []).append(at)
        replies: list[object] = [None] * len(commands)
        for address, ats in places.items():
            node, own = self._node(address), [commands[at] for at in ats]
            answers = await (RedisSource.execute(self, own) if node is self else node.execute(own))
            for at, answer in zip(ats, answers, strict=True):
                replies[at] = answer
        return replies

    def _owner(self, key: bytes) -> str:
        slot = key_slot(key)
        # Nobody serves it: this node says so in its own words.
        return next((address for first, last, address in self._owners if first <= slot <= last), "")

    def _node(self, address: str) -> RedisSource:
        if not address:
            return self
        if address not in self._nodes:
            host, _, port = address.rpartition(":")
            place = Address(host.strip("[]"), int(port))
            node = self._nodes[address] = RedisSource(replace(self._target, kind="redis", addresses=(place,)))
            node._session.sent = self._session.sent  # what looking costs is told for all of them
        return self._nodes[address]

    async def _learn(self) -> None:
        """Read the map of slots when it is old."""
        if time.monotonic() - self._read_at <= FRESH_S:
            return
        known = await self.poll("topology")
        assert isinstance(known, Topology)
        self._owners = tuple(
            (int(first), int(last or first), "" if node.myself else node.address)
            for node in known.nodes
            if node.role == "primary"
            for first, last in _RANGE.findall(node.slots)
        )
        self._read_at = time.monotonic()


def _is_moved(reply: object) -> bool:
    return isinstance(reply, ServerError) and reply.word == "MOVED"
