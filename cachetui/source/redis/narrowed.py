"""One node of a cluster, or one server of a replication, looked at alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cachetui.config import Address, Target
from cachetui.errors import BadTarget
from cachetui.model import KeyFactsList, Value
from cachetui.source.base import VALUE_BYTES, VALUE_ROWS
from cachetui.source.redis.scanner import Place, Places
from cachetui.source.redis.source import RedisSource
from cachetui.text import printable


def target_of(target: Target, address: str) -> Target:
    """Return the target of one server, with the credentials of `target`. Raises BadTarget."""
    host, _, port = address.rpartition(":")
    if host in ("", "?") or not (port.isascii() and port.isdigit() and len(port) < 6):
        raise BadTarget(f"no address: {printable(address, 80)!r}", "the topology says where nodes are")
    return dataclasses.replace(target, kind="redis", addresses=(Address(host.strip("[]"), int(port)),), service=None)


class NodeSource(RedisSource):
    """A `RedisSource` whose keys are those that this node holds itself, also when it is a replica."""

    async def _places(self, *, replicas: bool) -> Places:
        places = await super()._places(replicas=replicas)
        if not self._is_member:
            return Places([Place((self._session.address,))])
        return Places([Place((self._session.address,), ())], readonly=True, note=places.note)

    @property
    def _is_member(self) -> bool:
        return self.identity is not None and self.identity.mode == "cluster"

    async def _read_replica(self) -> None:
        """Let a cluster's replica answer for keys itself instead of sending us to its primary."""
        await self._server("keys")
        if self._is_member and self.identity is not None and self.identity.role == "replica":
            await self._session.ask("keys", "READONLY")

    async def facts(self, keys: Sequence[bytes], *, size: bool = True) -> KeyFactsList:
        """Return the facts of `keys` as this node knows them."""
        async with self._session.deadline():
            await self._read_replica()
        return await super().facts(keys, size=size)

    async def value(
        self,
        key: bytes,
        *,
        rows: int = VALUE_ROWS,
        max_bytes: int = VALUE_BYTES,
        start: bytes | None = None,
        order: str = "",
    ) -> Value:
        """Return a window on the value as this node holds it."""
        async with self._session.deadline():
            await self._read_replica()
        return await super().value(key, rows=rows, max_bytes=max_bytes, start=start, order=order)
