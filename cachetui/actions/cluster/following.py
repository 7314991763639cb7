"""Who a node is by now: across failovers a shard keeps its slots and changes its primary."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cachetui.actions.cluster.looking import look
from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.plan.members import Member, State
from cachetui.errors import CacheError, StoppedPartWay, Unreachable

PATIENCE_S = 60.0
"""So long a failover may take (its beginning waits for `cluster-node-timeout`, 15 s unless set)."""
RETRY_S = 0.25


@dataclass(frozen=True, slots=True)
class Way:
    """From where to where slots go now."""

    source: Member
    target: Member


class Follower:
    """Finds the two ends of a way again after trouble."""

    def __init__(
        self, nodes: Nodes, addresses: Iterable[str], tell: Callable[[str], None], stopped: Callable[[], bool]
    ) -> None:
        self._nodes, self._addresses = nodes, list(addresses)
        self._tell, self._stopped = tell, stopped
        self._owner: dict[int, str] = {}
        """By slot who served it when it was last seen served."""
        self._heirs: dict[str, str] = {}
        """By the id of a primary that is gone who took its place."""
        self._led: set[str] = set()
        """Ids of all primaries at the last look."""
        self.primaries: list[str] = []
        """Addresses of all primaries at the last look."""

    async def look(self) -> State:
        """Look at the whole cluster, and remember who serves what. Raises CacheError."""
        state = await look(self._nodes, self._addresses)
        members = state.members
        self._addresses = list(dict.fromkeys([*(m.address for m in members.values() if m.address), *self._addresses]))
        self.primaries = [member.address for member in state.primaries]
        now = {slot: member.node_id for member in state.primaries for slot in member.slots}
        leading = {member.node_id for member in state.primaries}
        for gone in set(self._owner.values()) - leading:
            taken = Counter(now[slot] for slot, owner in self._owner.items() if owner == gone and slot in now)
            # Who led before has only been given some of its slots: a replica takes its place.
            heirs = [node_id for node_id, _ in taken.most_common() if node_id not in self._led]
            if heirs:
                self._heirs[gone] = heirs[0]
        self._owner |= now
        self._led = leading
        return state

    def note(self, node_id: str, slots: Iterable[int]) -> None:
        """Remember that a node has got these slots."""
        self._owner |= dict.fromkeys(slots, node_id)

    def primary_of(self, state: State, node_id: str) -> Member | None:
        """Return the primary of the shard that this node was, or led; None while there is none that answers."""
        answering = state.answering
        known = state.members.get(node_id)
        if known is not None and not known.is_primary:
            known = state.members.get(known.primary_id)
        if known is not None and known.node_id in answering and answering[known.node_id].is_primary:
            return answering[known.node_id]
        heir = node_id
        for _ in range(len(self._heirs)):
            heir = self._heirs.get(heir, heir)
        return answering[heir] if heir in answering and answering[heir].is_primary else None

    async def again(self, source_id: str, target_id: str, error: CacheError) -> tuple[Way, State]:
        """Wait until both ends have a primary that answers. Raises StoppedPartWay when that takes too long."""
        began = time.monotonic()
        words = error.message
        while True:
            self._tell(f"waiting: {words}")
            try:
                state = await self.look()
                source, target = self.primary_of(state, source_id), self.primary_of(state, target_id)
                if source is not None and target is not None:
                    return Way(source, target), state
            except Unreachable as trouble:
                words = trouble.message
            if time.monotonic() - began > PATIENCE_S:
                hint = "the same command again goes on, when the nodes are back"
                raise StoppedPartWay(f"waited {PATIENCE_S:.0f} s: {words}", hint) from error
            if self._stopped():
                raise StoppedPartWay(f"cancelled while waiting: {words}", "the same command again goes on") from error
            await asyncio.sleep(RETRY_S)
