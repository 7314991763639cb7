"""Slots on their way, key by key: opened on both ends, emptied, and given to the target.

Every step may be done again from wherever it was cut: what is open is opened once more, what
has arrived is left, and only a slot without keys is given away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from cachetui.actions.cluster.atomic import move_atomically
from cachetui.actions.cluster.following import PATIENCE_S, RETRY_S, Follower, Way
from cachetui.actions.cluster.keys import KeyMover, Passing
from cachetui.actions.cluster.looking import keys_by_slot
from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.pace import Pacer
from cachetui.actions.plan import Command
from cachetui.actions.plan.members import State
from cachetui.actions.plan.tasks import Gather, Move
from cachetui.actions.tally import Tally
from cachetui.errors import CacheError, Loading, ServerError, StoppedPartWay, Unreachable
from cachetui.model.slots import counted_slots, slots_text

CHUNK, CHUNK_KEYS = 16, 2000
"""Slots that are open at the same time, while they hold no more keys together."""
FINISH_KEYS = 2000
"""A slot with so few keys left is finished even when cancelled: better than leaving it open."""
NOTED_S = 5.0
"""Seconds between two entries in the journal on how far it is."""
SLOT_S = 6.0
"""So long a node may take for SETSLOT: Valkey waits for its replicas."""


class Mover:
    """Carries out moves; one at a time."""

    def __init__(
        self,
        nodes: Nodes,
        tally: Tally,
        addresses: Sequence[str],
        *,
        pacer: Pacer,
        tell: Callable[[str], None],
        note: Callable[[], None],
        cancel: asyncio.Event | None,
    ) -> None:
        self._nodes, self._tally, self._tell, self._note = nodes, tally, tell, note
        self._cancel = cancel
        self._pacer = pacer
        self._keys = KeyMover(nodes, self._leave, tell, self._stopped)
        self._follower = Follower(nodes, addresses, tell, self._stopped)
        self._noted_at = -NOTED_S
        self._unknown: frozenset[int] = frozenset()
        """Slots of which the target does not know that the source owns them."""

    def _stopped(self) -> bool:
        return self._cancel is not None and self._cancel.is_set()

    async def _leave(self, keys: int) -> None:
        """Wait for the pace, or until somebody says to stop."""
        if self._cancel is None:
            await self._pacer.leave(keys)
            return
        waits = {asyncio.create_task(self._pacer.leave(keys)), asyncio.create_task(self._cancel.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    async def move(self, task: Move) -> None:
        """Move the slots of a task. When stopped, the reason is in the tally. Raises CacheError."""
        way, state = await self._way(task)
        left = await self._due(task, way, state, list(task.slots))
        since: float | None = None
        while left:
            if self._stopped():
                self._tally.reason = "cancelled"
                return
            if self._pacer.paused:
                await self._leave(0)
                continue
            before = len(left)
            try:
                if task.engine == "atomic":
                    done = await move_atomically(self._nodes, way, left, tell=self._tell, stopped=self._stopped)
                else:
                    done = await self._chunk(task, way, await self._fitting(way, left))
            except (Passing, Unreachable) as trouble:
                error = trouble.error if isinstance(trouble, Passing) else trouble
                way, state = await self._follower.again(way.source.node_id, way.target.node_id, error)
                left = await self._due(task, way, state, left)
                since = time.monotonic() if since is None or len(left) < before else since
                await self._pause(since, error)
                continue
            since = None
            self._arrived(task, way, done)
            left = [slot for slot in left if slot not in set(done)]
            if time.monotonic() - self._noted_at > NOTED_S:
                self._noted_at = time.monotonic()
                await asyncio.to_thread(self._note)

    async def _pause(self, since: float, error: CacheError) -> None:
        """Wait a little before the next attempt. Raises StoppedPartWay when nothing has come through for long."""
        if time.monotonic() - since > PATIENCE_S:
            hint = "; ".join(filter(None, (error.hint, "the same command again goes on")))
            raise StoppedPartWay(f"nothing came through for {PATIENCE_S:.0f} s: {error.message}", hint) from error
        self._tell(f"waiting: {error.message}")
        await asyncio.sleep(RETRY_S)

    async def gather(self, task: Gather) -> None:
        """Move the keys of a slot to the node that owns it. Raises CacheError."""
        state = await self._follower.look()
        here = state.answering
        if task.source_id not in here or task.target_id not in here:
            raise StoppedPartWay(f"{task.source} or {task.target} does not answer any more", "look again")
        way = Way(here[task.source_id], here[task.target_id])
        slot = b"%d" % task.slot
        since = time.monotonic()
        while True:
            try:
                # MIGRATE works on a node that does not own the slot only while it is open there.
                await self._set(way.source.address, [(slot, b"IMPORTING", task.target_id.encode())])
                await self._keys.move(way, task.slot, replace=task.replace, most=100, finish=1 << 62)
                await self._set(way.source.address, [(slot, b"STABLE")])
                break
            except Passing as trouble:
                await self._pause(since, trouble.error)
        self._tally.left -= 1
        self._tally.done += 1

    # The two ends

    async def _way(self, task: Move) -> tuple[Way, State]:
        state = await self._follower.look()
        source = self._follower.primary_of(state, task.source_id)
        target = self._follower.primary_of(state, task.target_id)
        if source is not None and target is not None:
            return Way(source, target), state
        gone = task.source if source is None else task.target
        return await self._follower.again(
            task.source_id, task.target_id, Unreachable(f"{gone} does not answer as a primary", "")
        )

    async def _due(self, task: Move, way: Way, state: State, slots: Sequence[int]) -> list[int]:
        """Return the slots still to be moved; those that arrived meanwhile are counted. Raises StoppedPartWay."""
        owners = state.owners()
        here, there = way.source.node_id, way.target.node_id
        if here == there:
            raise StoppedPartWay("the two ends of the move have become one node", "look: cachetui cluster check")
        arrived = [slot for slot in slots if owners.get(slot) == [there]]
        astray = [slot for slot in slots if not {here, there} & set(owners.get(slot, []))]
        if astray:
            words = f"{counted_slots(astray)} are served by neither end of the move: {slots_text(astray, 3)}"
            raise StoppedPartWay(words, "somebody else has moved them: look, and plan again")
        for member, opened in ((way.source, way.source.migrating), (way.target, way.target.importing)):
            if ends := [(b"%d" % slot, b"STABLE") for slot in arrived if slot in opened]:
                await self._set(member.address, ends)
        served = next(view.served() for view in state.views if view.me.node_id == there)
        self._unknown = frozenset(slot for slot in slots if served.get(slot) not in (here, there))
        self._arrived(task, way, arrived)
        return [slot for slot in slots if slot not in set(arrived)]

    def _arrived(self, task: Move, way: Way, slots: Sequence[int]) -> None:
        if not slots:
            return
        tally = self._tally
        tally.left -= len(slots)
        tally.done += len(slots)
        tally.moved.setdefault((way.source.node_id, way.target.node_id), []).extend(slots)
        self._follower.note(way.target.node_id, slots)
        self._tell(f"{task.source} to {task.target}, {self._keys.moved:,} keys so far")

    # One chunk

    async def _fitting(self, way: Way, slots: Sequence[int]) -> list[int]:
        """Return the slots to open next: few keys together, one slot at least."""
        counts = await keys_by_slot(self._nodes, way.source.address, slots[:CHUNK])
        chosen: list[int] = []
        keys = 0
        for slot, count in counts.items():
            if chosen and keys + count > CHUNK_KEYS:
                break
            chosen.append(slot)
            keys += count
        return chosen

    async def _chunk(self, task: Move, way: Way, slots: Sequence[int]) -> list[int]:
        """Open slots, move their keys, give them away; return those that are through.

        When it is stopped or a key is in the way, the slots that hold all of their keys still are closed again.
        """
        await self._open(way, slots)
        emptied: list[int] = []
        untouched = list(slots)
        trouble: CacheError | None = None
        for slot in slots:
            if self._stopped():
                break
            untouched.remove(slot)
            try:
                through = await self._keys.move(way, slot, replace=task.replace, most=task.pipeline, finish=FINISH_KEYS)
            except (StoppedPartWay, ServerError) as error:
                trouble = error
                break
            if not through:
                trouble = StoppedPartWay(
                    f"cancelled: slot {slot} is half moved and stays open; it is served all the while",
                    "the same command again, or cachetui cluster fix, finishes it",
                )
                break
            emptied.append(slot)
        await self._give(way, emptied)
        if untouched:
            await self._set(way.target.address, [(b"%d" % slot, b"STABLE") for slot in untouched])
            await self._set(way.source.address, [(b"%d" % slot, b"STABLE") for slot in untouched])
        if trouble is not None:
            self._arrived(task, way, emptied)
            raise trouble
        return emptied

    async def _open(self, way: Way, slots: Sequence[int]) -> None:
        """The target first: a key that the source no longer has must find it ready."""
        source, target = way.source.node_id.encode(), way.target.node_id.encode()
        if unknown := [(b"%d" % slot, b"NODE", source) for slot in slots if slot in self._unknown]:
            # While a slot is open a node hears of no other owner of it, as after a failover at the other end.
            await self._set(way.target.address, unknown)
            self._unknown -= frozenset(slots)
        await self._set(way.target.address, [(b"%d" % slot, b"IMPORTING", source) for slot in slots], owned=True)
        await self._set(way.source.address, [(b"%d" % slot, b"MIGRATING", target) for slot in slots])

    async def _give(self, way: Way, slots: Sequence[int]) -> None:
        """Give slots away, to the target first: from then on nobody else can claim them."""
        if not slots:
            return
        target = way.target.node_id.encode()
        words = [(b"%d" % slot, b"NODE", target) for slot in slots]
        await self._set(way.target.address, words)
        await self._set(way.source.address, words)
        rest = [
            address for address in self._follower.primaries if address not in (way.source.address, way.target.address)
        ]
        # What the others are told now they would hear from the target soon: it is no matter if they do not answer.
        await asyncio.gather(*(self._set(address, words) for address in rest), return_exceptions=True)

    async def _set(self, address: str, words: Sequence[tuple[bytes, ...]], *, owned: bool = False) -> None:
        """Send SETSLOT for several slots. With `owned` a node that owns a slot already is no trouble.

        Raises Passing where the node is no primary, or not the owner, any more.
        """
        commands: list[Command] = [(b"CLUSTER", b"SETSLOT", *some) for some in words]
        for reply in await self._nodes.ask_long(address, commands, SLOT_S):
            if not isinstance(reply, CacheError) or (owned and "already the owner" in reply.message):
                continue
            if isinstance(reply, Unreachable | Loading) or any(word in reply.message for word in _MAY_PASS):
                raise Passing(reply)
            raise StoppedPartWay(f"{address}: {reply.message}", reply.hint or "the same command again goes on")


_MAY_PASS = (
    *("not the owner", "only with masters", "only with primaries", "not a master", "not a primary"),
    *("on a replica", "know about node", "REPLICAS"),
)
