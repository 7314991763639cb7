"""The keys of one slot on their way: MIGRATE, in batches that hold nobody up, and what may be in its way."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from cachetui.actions.cluster.following import Way
from cachetui.actions.cluster.nodes import Nodes, number_of
from cachetui.actions.plan import Command
from cachetui.errors import CacheError, Denied, Loading, ServerError, StoppedPartWay, TimedOut, Unreachable, Unsupported
from cachetui.text import printable, size

QUICK_S, SLOW_S = 0.005, 0.025
"""A MIGRATE blocks both nodes: below the first it may hold more keys, above the second it holds fewer."""
USUAL_MS, LEAST_MS = 5_000, 500
"""How long the nodes may wait for each other, and never less."""
USUAL_SHARE, LONG_SHARE = 0.5, 0.9
"""Of the cluster's node timeout: a node that is blocked for longer is taken for failed. The second for a big key."""
NODE_TIMEOUT_MS = 15_000
"""The servers' default, where it is not told."""
SPARE_S = 3.0
"""So much longer we wait ourselves."""
COMPARED_BYTES = 16 * 1024**2
"""Keys up to this size are compared when both nodes have one."""
BIG_BYTES = 1024**2
"""What a smaller key needs does not depend on its size."""
NAME = 80


class Passing(Exception):
    """It may go better when the two ends have been looked up again."""

    def __init__(self, error: CacheError) -> None:
        super().__init__(error.message)
        self.error = error


class KeyMover:
    """Moves the keys of slots that are open; remembers how fast that may go."""

    def __init__(
        self,
        nodes: Nodes,
        leave: Callable[[int], Awaitable[None]],
        tell: Callable[[str], None],
        stopped: Callable[[], bool],
    ) -> None:
        self._nodes, self._leave, self._tell, self._stopped = nodes, leave, tell, stopped
        self._batch = 10
        self._limits: dict[str, int] = {}
        self._ports: dict[str, str] = {}
        self.moved = 0
        """Keys so far."""

    async def move(self, way: Way, slot: int, *, replace: bool, most: int, finish: int) -> bool:
        """Move all keys of a slot; tell whether none is left.

        Stopped in the middle, it goes on when `finish` keys or fewer are left. Raises Passing,
        StoppedPartWay, CacheError.
        """
        while True:
            began = time.monotonic()
            keys = await self._listed(way, slot, min(self._batch, most))
            asked_s = time.monotonic() - began
            if not keys:
                return True
            if self._stopped() and await self._left(way, slot) > finish:
                return False
            if not self._stopped():
                await self._leave(len(keys))
            began = time.monotonic()
            await self._migrate(way, keys, replace=replace)
            self._learn(time.monotonic() - began - asked_s, most)
            self.moved += len(keys)
            self._tell(f"slot {slot}, {self.moved:,} keys so far")

    def _learn(self, taken_s: float, most: int) -> None:
        if taken_s > SLOW_S:
            self._batch = max(1, self._batch // 2)
        elif taken_s < QUICK_S:
            self._batch = min(most, self._batch * 2)

    async def _listed(self, way: Way, slot: int, count: int) -> list[bytes]:
        reply = await self._nodes.ask(way.source.address, "CLUSTER", "GETKEYSINSLOT", slot, count)
        if not isinstance(reply, list):
            raise ServerError("CLUSTER GETKEYSINSLOT: the reply makes no sense", "a proxy may stand in between")
        return [key if isinstance(key, bytes) else str(key).encode() for key in reply]

    async def _left(self, way: Way, slot: int) -> int:
        return number_of(
            await self._nodes.ask(way.source.address, "CLUSTER", "COUNTKEYSINSLOT", slot), "COUNTKEYSINSLOT"
        )

    async def _migrate(self, way: Way, keys: Sequence[bytes], *, replace: bool) -> None:
        """Move keys; where a batch fails, each by itself, to know which is in the way."""
        limit_ms = min(USUAL_MS, int(await self._node_timeout_ms(way.source.address) * USUAL_SHARE))
        error = await self._sent(way, keys, replace=replace, limit_ms=limit_ms)
        if error is None:
            return
        if len(keys) > 1:
            if not (_is_taken(error) or _is_io(error)):
                raise _judged(error, keys[0], way)
            self._batch = 1
            for key in keys:
                await self._migrate(way, [key], replace=replace)
            return
        if _is_taken(error):
            await self._taken(way, keys[0])
        elif _is_io(error):
            await self._big(way, keys[0], error, replace=replace)
        else:
            raise _judged(error, keys[0], way)

    async def _sent(self, way: Way, keys: Sequence[bytes], *, replace: bool, limit_ms: int) -> CacheError | None:
        """Send one MIGRATE; return why it was refused. A key that is gone by then is no refusal. Raises CacheError."""
        host = way.target.address.rpartition(":")[0]
        port = await self._port(way.target.address)
        limit_ms = max(LEAST_MS, limit_ms)
        command: Command = (
            *(b"MIGRATE", host.strip("[]").encode(), port.encode(), b"", b"0", b"%d" % limit_ms),
            *((b"REPLACE",) if replace else ()),
            *self._nodes.login,
            b"KEYS",
            *keys,
        )
        try:
            (reply,) = await self._nodes.ask_long(way.source.address, [command], limit_ms / 1000 + SPARE_S)
        except TimedOut as error:
            raise Passing(error) from error
        return reply if isinstance(reply, CacheError) else None

    async def _node_timeout_ms(self, address: str) -> int:
        """Return after how long a node that is blocked is taken for failed."""
        if address not in self._limits:
            shown = await self._setting(address, "cluster-node-timeout")
            self._limits[address] = int(shown) if shown.isdigit() else NODE_TIMEOUT_MS
        return self._limits[address]

    async def _port(self, address: str) -> str:
        """Return the port where other nodes reach this one: to us, over TLS, it may show another."""
        port = address.rpartition(":")[2]
        if self._nodes.target.tls is None:
            return port
        if address not in self._ports:
            plain = await self._setting(address, "port") if await self._setting(address, "tls-cluster") == "no" else ""
            self._ports[address] = plain if plain.isdigit() and plain != "0" else port
        return self._ports[address]

    async def _setting(self, address: str, name: str) -> str:
        """Return one setting of a node, empty where it is not told."""
        try:
            return (await self._nodes.at(address).config(name)).get(name, "")
        except (Denied, Unsupported):
            return ""

    async def _big(self, way: Way, key: bytes, error: CacheError, *, replace: bool) -> None:
        """Move a big key that did not get through in the usual time, if the target is there at all."""
        name = printable(key, NAME)
        try:
            await self._nodes.ask(way.target.address, "PING")
            held = await self._size(way.source.address, key)
        except CacheError as trouble:
            raise Passing(trouble) from error
        if held is not None and held < BIG_BYTES:
            raise Passing(_unconnected(way, error) or error)  # a node is held up, as in a failover
        limit_ms = int(await self._node_timeout_ms(way.source.address) * LONG_SHARE)
        self._tell(f"{name} is big ({size(held)}): it gets {limit_ms / 1000:.1f} s")
        again = await self._sent(way, [key], replace=replace, limit_ms=limit_ms)
        if again is None:
            return
        if _is_taken(again):
            await self._taken(way, key)  # the first attempt had arrived, and its answer had not
            return
        if unconnected := _unconnected(way, again):
            raise Passing(unconnected)
        raise StoppedPartWay(
            f"{name} ({size(held)}) could not be moved from {way.source.address} to {way.target.address} within "
            f"{limit_ms / 1000:.1f} s: {again.message}",
            "its slot stays open and is served; raise cluster-node-timeout meanwhile, or make the key smaller",
        )

    async def _taken(self, way: Way, key: bytes) -> None:
        """Settle a key that is on both nodes: an equal one is replaced, another is left as it is."""
        name = printable(key, NAME)
        if not await self._is_same(way, key):
            raise StoppedPartWay(
                f"{name} is on both {way.source.address} and {way.target.address} and differs: nothing was overwritten",
                f"look at both; --replace keeps the one of {way.source.address}",
            )
        error = await self._sent(way, [key], replace=True, limit_ms=await self._node_timeout_ms(way.source.address))
        if error is not None:
            raise _judged(error, key, way)

    async def _is_same(self, way: Way, key: bytes) -> bool:
        held = await self._size(way.source.address, key)
        if held is not None and held > COMPARED_BYTES:
            return False
        here = await self._nodes.ask_long(way.source.address, [(b"DUMP", key)], USUAL_MS / 1000)
        there = await self._nodes.ask_long(way.target.address, [(b"ASKING",), (b"DUMP", key)], USUAL_MS / 1000)
        if isinstance(there[1], CacheError):
            raise Passing(there[1])
        return here[0] is None or there[1] is None or here[0] == there[1]

    async def _size(self, address: str, key: bytes) -> int | None:
        reply = (await self._nodes.ask_all(address, [(b"MEMORY", b"USAGE", key)]))[0]
        return reply if isinstance(reply, int) else None


def _is_taken(error: CacheError) -> bool:
    return "BUSYKEY" in error.message or "BUSYKEY" in str(error.detail.get("reply", ""))


def _is_io(error: CacheError) -> bool:
    return "IOERR" in str(error.detail.get("reply", error.message))


def _unconnected(way: Way, error: CacheError) -> Unreachable | None:
    """Return what is wrong where one node cannot connect to the other, None where that is not it."""
    if "connecting" not in error.message:
        return None
    return Unreachable(
        f"{way.source.address} cannot connect to {way.target.address}, although we can: {error.message}",
        "nodes connect to each other by their announced addresses: check firewall and tls-cluster",
    )


_WAITS = ("LOADING", "MOVED", "ASK ", "CLUSTERDOWN", "READONLY", "MASTERDOWN", "TRYAGAIN")


def _judged(error: CacheError, key: bytes, way: Way) -> Exception:
    """Return what a refusal of MIGRATE means: to wait, or to stop, in words."""
    reply = str(error.detail.get("reply", error.message))
    if isinstance(error, Loading) or any(word in reply for word in _WAITS) or _is_io(error):
        return Passing(error)
    where = f"{printable(key, NAME)} from {way.source.address} to {way.target.address}"
    if any(word in reply for word in ("NOAUTH", "WRONGPASS", "NOPERM")):
        hint = "the user that cachetui logs in as must exist on every node, with +restore-asking, +select and +auth"
    elif "OOM" in reply:
        hint = f"the memory of {way.target.address} is full: raise its maxmemory, or move less to it"
    elif "payload version" in reply:
        hint = f"{way.target.address} is older than {way.source.address} and cannot read its format"
    else:
        hint = "its slot stays open and is served; the same command again goes on"
    return StoppedPartWay(f"MIGRATE {where}: {error.message}", hint)
