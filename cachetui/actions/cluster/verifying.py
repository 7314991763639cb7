"""After a plan for a cluster: do the nodes show what was done?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from cachetui.actions.cluster.looking import look
from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.cluster.working import POLL_S, addresses_of, differing
from cachetui.actions.plan import Plan
from cachetui.actions.plan.members import State
from cachetui.actions.plan.tasks import Await, Move
from cachetui.actions.tally import Tally
from cachetui.errors import CacheError
from cachetui.model.slots import SLOTS, counted_slots, slots_text

SPREAD_S = 10.0
"""So long news may take to every node."""


async def verify_tasks(plan: Plan, nodes: Nodes, tally: Tally) -> tuple[bool | None, tuple[str, ...]]:
    """Look at the cluster again. Returns the answer (None: not checked) and its words.

    News takes a moment to reach every node: they get some seconds to agree.
    """
    if not tally.done:
        return None, ()
    left = {task.addresses[0] for task in plan.tasks if isinstance(task, Await) and task.what == "apart"}
    addresses = [address for address in addresses_of(plan.tasks) if address not in left]
    end = time.monotonic() + SPREAD_S
    while True:
        try:
            state = await look(nodes, addresses)
        except CacheError as error:
            return None, (f"could not be checked: {error.message}",)
        words = differing(state)
        if not words or tally.left or time.monotonic() > end:
            break
        await asyncio.sleep(POLL_S)
    lines = [f"{address} does not answer: {why}" for address, why in state.silent.items()]
    good = True
    if any(isinstance(task, Move) for task in plan.tasks):
        good, said = _arrived(state, tally)
        lines += said
    if words:
        return (None if tally.left or tally.in_flight else False), (*lines, words)
    leaders = len(set(state.views[0].served().values()))
    lines.append(f"{len(state.views)} nodes agree: all {SLOTS:,} slots are served by {leaders} primaries")
    return good, tuple(lines)


def heir_of(state: State, node_id: str, slots: Sequence[int]) -> str:
    """Return the id of the primary that now has what this one had got: itself, or who took its place. Else empty."""
    member = state.answering.get(node_id)
    if member is not None and member.is_primary:
        return node_id
    if member is not None:
        return member.primary_id
    owners = state.owners()
    holders = {owners.get(slot, [""])[0] for slot in slots}
    return holders.pop() if len(holders) == 1 else ""


def _arrived(state: State, tally: Tally) -> tuple[bool, list[str]]:
    """Tell whether the moved slots are where they were moved to, or with whoever took that node's place."""
    owners = state.owners()
    moved = {slot: target for (_, target), slots in tally.moved.items() for slot in slots}
    heirs = {target: heir_of(state, target, slots) for (_, target), slots in tally.moved.items()}
    elsewhere = [slot for slot, target in moved.items() if owners.get(slot) not in ([target], [heirs[target]])]
    opened = sorted({slot for slot, _ in state.open_slots()})
    lines = []
    if opened:
        lines.append(
            f"open still: slots {slots_text(opened, 5)}: the same command again, or cluster fix, finishes them"
        )
    if elsewhere:
        words = f"{counted_slots(elsewhere)} of those moved are with another node: {slots_text(elsewhere, 5)}"
        return False, [*lines, f"{words}: somebody has moved them"]
    if moved:
        lines.append(f"{counted_slots(list(moved))} moved are where they were moved to")
    return not opened or bool(tally.left), lines
