"""A cluster's keys: each is asked for, and written, where its slot is served."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from redis.crc import key_slot

from cachetui.config import Address, Target
from cachetui.errors import CacheError, ServerError, Unreachable
from cachetui.model import KeyFacts, KeyFactsList, Topology, Value
from cachetui.source.base import VALUE_BYTES, VALUE_ROWS, Check, Command
from cachetui.source.redis.positions import first_key
from cachetui.source.redis.scanner import Places, cluster_places
from cachetui.source.redis.source import RedisSource
from cachetui.source.redis.topology import SLOTS
from cachetui.source.redis.wide import WideSource

FRESH_S = 30.0
"""How long the map of slots is believed; a MOVED or a lost node ends it at once."""
REDIRECTS = 4
"""How often one command is sent on. The nodes that did so have not carried it out."""
WRITTEN_S = 10.0
"""A node counts as written to for so long after the last command."""
GUIDES = 5
"""Other nodes that are asked for the map when the one that told it last is silent."""
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_REDIRECTION = re.compile(r"(MOVED|ASK) (\d{1,5}) (\S*):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class _Redirection:
    """Where a node says that a command belongs."""

    slot: int
    place: str
    asking: bool
    """The slot is on its way there: the node takes the command only behind an ASKING."""


class RoutedSource(WideSource):
    """A `WideSource` that knows, when its server is a node of a cluster, which node serves which key."""

    def __init__(self, target: Target, *, protocol: int = 3) -> None:
        super().__init__(target, protocol=protocol)
        self._serving: list[str] = []
        """By slot the address that serves it; "" is this node, or nobody known."""
        self._read_at = -FRESH_S
        self._learning = asyncio.Lock()
        self._guide = ""
        """Who told the map last."""
        self._written: dict[str, float] = {}
        """When something was last sent to each node."""

    async def facts(self, keys: Sequence[bytes], *, size: bool = True) -> KeyFactsList:
        """Return the facts of `keys`, asked of the nodes that serve them."""
        if not await self._in_cluster():
            return await super().facts(keys, size=size)
        found: dict[bytes, KeyFacts] = {}
        for address, own in (await self._dealt(keys)).items():
            node = self._node(address)
            try:
                answer = await (RedisSource.facts(self, own, size=size) if node is self else node.facts(own, size=size))
            except Unreachable:
                self._read_at = -FRESH_S  # a replica may have taken its place
                raise
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
        try:
            read = super().value if node is self else node.value
            return await read(key, rows=rows, max_bytes=max_bytes, start=start, order=order)
        except Unreachable:
            self._read_at = -FRESH_S  # a replica may have taken its place
            other = await self._of(key)
            if other is node or other is self:
                raise
            return await other.value(key, rows=rows, max_bytes=max_bytes, start=start, order=order)

    async def execute(self, commands: Sequence[Command]) -> list[object]:
        """Send each command to the node of its first key, all nodes side by side; follow MOVED and ASK.

        A node's failure stands in the places of its commands; it is raised when no node answered.
        """
        if not commands or not await self._is_routed():
            return await super().execute(commands)
        places = [self._place(key) if (key := first_key(command)) is not None else "" for command in commands]
        replies = await self._spread(commands, places, whole=True)
        for _ in range(REDIRECTS):
            due = {at: found for at, reply in enumerate(replies) if (found := self._redirection(reply, places[at]))}
            if not due:
                break
            await self._learn_moves(list(due.values()))
            again = await self._send_on(commands, due)
            for at, reply in again.items():
                replies[at], places[at] = reply, due[at].place
        return replies

    async def _places(self, *, replicas: bool) -> Places:
        try:
            places = await super()._places(replicas=replicas)
        except Unreachable:
            if not await self._in_cluster():
                raise
            known, guide = await self._told()
            places = cluster_places(known.nodes, self._node(guide)._session.address, replicas=replicas)
        moved = {Address(host.strip("[]"), int(port)): found for host, port, found in self._moved_places()}
        return replace(
            places,
            places=[replace(p, addresses=tuple(moved.get(a, a) for a in p.addresses)) for p in places.places],
        )

    def _moved_places(self) -> list[tuple[str, str, Address]]:
        parts = ((place.rpartition(":"), found) for place, found in self._elsewhere.items())
        return [(host, port, found) for (host, _, port), found in parts if port.isdigit()]

    async def execute_on(self, address: str, commands: Sequence[Command]) -> list[object]:
        """Like `execute`, on the node of that address."""
        if self.identity is None:
            await self.open()
        if address.startswith("?"):
            raise Unreachable(f"the address of the node {address} is unknown", "nothing was sent", {"sent": False})
        place = "" if address == self._called else self._known_as(address)
        node = self._node(place)
        return await (super().execute(commands) if node is self else node.execute(commands))

    async def latency_us(self) -> float | None:
        """Return the longest round trip to the nodes written to lately; of those that answer, if any does."""
        since = time.monotonic() - WRITTEN_S
        nodes = [self._node(place) for place, at in self._written.items() if at > since] or [self]
        answers = await asyncio.gather(*map(self._latency_of, nodes), return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        told = [answer for answer in answers if isinstance(answer, float)]
        if errors and (len(errors) == len(answers) or not all(isinstance(error, CacheError) for error in errors)):
            raise next((error for error in errors if not isinstance(error, CacheError)), errors[0])
        return max(told, default=None)

    async def _latency_of(self, node: RedisSource) -> float | None:
        return await (super().latency_us() if node is self else node.latency_us())

    async def transact(
        self, watched: Sequence[bytes], checks: Sequence[Check], commands: Sequence[Command]
    ) -> list[object]:
        """Send MULTI ... EXEC to the node of the first key that is named."""
        named = [*watched[:1], *(check.command[1] for check in checks[:1]), *(command[1] for command in commands[:1])]
        node = await self._of(named[0]) if named else self
        return await (super().transact if node is self else node.transact)(watched, checks, commands)

    # Where keys are

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
            found.setdefault(self._place(key), []).append(key)
        return found

    # Sending

    async def _is_routed(self) -> bool:
        """Tell whether this is a cluster whose map we know. Nothing has been sent where that fails."""
        try:
            if not await self._in_cluster():
                return False
            await self._learn()
        except Unreachable as error:
            error.detail["sent"] = False
            raise
        return True

    async def _spread(self, commands: Sequence[Command], places: Sequence[str], *, whole: bool) -> list[object]:
        """Send each command to its place, and its ASKING with it where the commands hold one.

        With `whole` the failure of every place is raised.
        """
        dealt: dict[str, list[int]] = {}
        for at, place in enumerate(places):
            dealt.setdefault(place, []).append(at)
        answers = await asyncio.gather(
            *(self._answers_of(place, [commands[at] for at in ats]) for place, ats in dealt.items())
        )
        failed = [answer for answer in answers if isinstance(answer, CacheError)]
        if any(isinstance(error, Unreachable) for error in failed):
            self._read_at = -FRESH_S  # a replica may take the place of a lost primary
        if whole and len(failed) == len(answers):
            # Of several the one that leaves most open: what is known not to be sent can be sent again.
            maybe_sent = (error for error in failed if isinstance(error, Unreachable) and "sent" not in error.detail)
            raise next(maybe_sent, failed[0])
        replies: list[object] = [None] * len(commands)
        for ats, answer in zip(dealt.values(), answers, strict=True):
            for nth, at in enumerate(ats):
                replies[at] = answer if isinstance(answer, CacheError) else answer[nth]
        return replies

    async def _answers_of(self, place: str, commands: Sequence[Command]) -> list[object] | CacheError:
        """Send commands to one node; return their replies, or why there are none."""
        node = self._node(place)
        self._written[place] = time.monotonic()
        try:
            return await (super().execute(commands) if node is self else node.execute(commands))
        except CacheError as error:
            return error

    async def _send_on(self, commands: Sequence[Command], due: dict[int, _Redirection]) -> dict[int, object]:
        """Send redirected commands where they belong; an ASKING goes right before its command."""
        sent: list[Command] = []
        places: list[str] = []
        ends: list[int] = []
        for at, found in due.items():
            words: list[Command] = [(b"ASKING",), commands[at]] if found.asking else [commands[at]]
            sent += words
            places += [found.place] * len(words)
            ends.append(len(sent) - 1)
        replies = await self._spread(sent, places, whole=False)
        return {at: replies[end] for at, end in zip(due, ends, strict=True)}

    def _redirection(self, reply: object, place: str) -> _Redirection | None:
        """Return where the node at `place` says that the command belongs, None for any other reply."""
        if not isinstance(reply, ServerError) or reply.word not in ("MOVED", "ASK"):
            return None
        match = _REDIRECTION.match(str(reply.detail.get("reply", "")))
        if match is None:
            return None
        word, slot, host, port = match.groups()
        host = host.strip("[]")
        here = self._node(place)._session.address.host
        address = str(Address(here if host in ("", "?") else host, int(port)))
        return _Redirection(int(slot), self._known_as(address), word == "ASK")

    async def _learn_moves(self, found: Sequence[_Redirection]) -> None:
        """Read the map again when slots have moved; what a node said just now counts more."""
        moves = [redirection for redirection in found if not redirection.asking]
        if not moves:
            return
        self._read_at = -FRESH_S
        await self._learn()
        for redirection in moves:
            if redirection.slot < len(self._serving):
                self._serving[redirection.slot] = redirection.place

    # The map

    def _place(self, key: bytes) -> str:
        return self._serving[key_slot(key)]

    async def _learn(self) -> None:
        """Read the map of slots when it is old. An old one is kept where no node tells a new one."""
        async with self._learning:
            if time.monotonic() - self._read_at <= FRESH_S:
                return
            try:
                known, self._guide = await self._told()
            except CacheError:
                if not self._serving:
                    raise
                return
            places = list(self._serving) or [""] * SLOTS
            for node in known.nodes:
                place = self._guide if node.myself else self._known_as(node.address)
                if node.role == "primary" and not place.startswith("?"):
                    for first, last in _RANGE.findall(node.slots):
                        for slot in range(int(first), min(SLOTS, int(last or first) + 1)):
                            places[slot] = place
            self._serving, self._read_at = places, time.monotonic()

    async def _told(self) -> tuple[Topology, str]:
        """Return the cluster as one node sees it, and which: the last one, or whoever else answers."""
        try:
            return await self._ask_map(self._guide), self._guide
        except Unreachable as error:
            known = self._whole.places().values() if self._whole is not None else ()
            others = [place for place in dict.fromkeys(("", *self._serving, *known)) if place != self._guide][:GUIDES]
            answers = await asyncio.gather(*map(self._ask_map, others), return_exceptions=True)
            for place, answer in zip(others, answers, strict=True):
                if isinstance(answer, Topology):
                    return answer, place
            raise error

    async def _ask_map(self, place: str) -> Topology:
        node = self._node(place)
        # As this one node sees it: not the whole, which may take longer.
        known = await RedisSource.poll(node, "topology")
        assert isinstance(known, Topology)
        return known
