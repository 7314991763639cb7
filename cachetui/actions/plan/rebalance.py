"""Plans that move slots between the primaries of a cluster, shown as what each holds before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cachetui.actions.plan.base import Plan
from cachetui.actions.plan.cluster import cluster_plan
from cachetui.actions.plan.members import Member, State
from cachetui.actions.plan.tasks import PIPELINE, Engine, Move
from cachetui.errors import Refused
from cachetui.model import Identity, SlotMove
from cachetui.model.slots import SLOTS, counted_slots, slots_text

CHECK = "cachetui cluster check says what is wrong, cachetui cluster fix mends it"

PASSING: dict[str, object] = {"passing": True}
"""In the detail of what may be over when every node has heard the news."""


def check_whole(state: State) -> None:
    """Raise Refused while the nodes do not agree on who serves which slots: moves would make it worse."""
    members = state.members
    lost = [
        member.address or member.node_id[:8]
        for member in members.values()
        if member.is_primary and member.slots and member.node_id not in state.answering
    ]
    if lost:
        raise Refused(f"a primary does not answer: {', '.join(lost)}", "bring it back, or fail over to its replica")
    owners = state.owners()
    if twice := [slot for slot, names in owners.items() if len(names) > 1]:
        raise Refused(f"{counted_slots(twice)} are claimed by two nodes: {slots_text(twice, 5)}", CHECK, PASSING)
    if missing := [slot for slot in range(SLOTS) if slot not in owners]:
        raise Refused(f"{counted_slots(missing)} are served by nobody: {slots_text(missing, 5)}", CHECK)
    if not state.agree():
        raise Refused("the nodes do not agree on who serves which slots", f"it may pass by itself; {CHECK}", PASSING)


def cut_moves(state: State) -> list[SlotMove]:
    """Return the moves that were cut half-way, by their open slots. Raises Refused for open slots that are no move."""
    primaries = {member.node_id: member for member in state.primaries}
    owners = state.owners()
    ways: dict[tuple[str, str], list[int]] = {}
    strange: list[int] = []
    for slot in sorted({slot for slot, _ in state.open_slots()}):
        owner = owners.get(slot, [""])[0]
        takers = [member.node_id for member in primaries.values() if slot in member.importing]
        to = primaries[owner].migrating.get(slot) if owner in primaries else None
        if to in primaries and takers in ([to], []):
            ways.setdefault((owner, to), []).append(slot)
        elif to is None and len(takers) == 1 and takers[0] != owner:
            ways.setdefault((owner, takers[0]), []).append(slot)
        else:
            strange.append(slot)
    if strange:
        raise Refused(f"{counted_slots(strange)} are open in a way that is no move: {slots_text(strange, 5)}", CHECK)
    return [SlotMove(tuple(slots), source, target) for (source, target), slots in ways.items()]


def move_tasks(
    state: State,
    moves: Iterable[SlotMove],
    engines: Mapping[str, Engine],
    *,
    replace: bool = False,
    pipeline: int = PIPELINE,
) -> list[Move]:
    """Return the tasks of moves; `engines` by the id of the node that gives."""
    members = state.members
    return [
        Move(
            move.slots,
            members[move.source].address,
            members[move.target].address,
            move.source,
            move.target,
            engines.get(move.source, "classic"),
            replace,
            pipeline,
        )
        for move in moves
        if move.slots
    ]


def plan_moves(
    identity: Identity,
    target: str,
    title: str,
    state: State,
    tasks: Sequence[Move],
    *,
    keys: Mapping[str, int | None] | None = None,
    moved_keys: Mapping[int, int] | None = None,
    notes: Iterable[str] = (),
    undoes: str = "",
    now: float | None = None,
) -> Plan:
    """Plan moves of slots.

    `keys` are those of each primary by node id, `moved_keys` those in the slots that move.
    """
    keys, moved_keys = keys or {}, moved_keys or {}
    slots = sum(len(task.slots) for task in tasks)
    total = sum(moved_keys.get(slot, 0) for task in tasks for slot in task.slots)
    what = [f"move {slots:,} slots{f' with {total:,} keys' if moved_keys else ''} of {target}"]
    what += [_before_after(member, tasks, keys.get(member.node_id), moved_keys) for member in state.primaries]
    what += notes
    what += _how(tasks)
    return cluster_plan(
        identity,
        target,
        title,
        tasks,
        what,
        risk="medium",
        undo="undo moves the slots back, with whatever was written in them meanwhile",
        undoes=undoes,
        now=now,
    )


def _before_after(member: Member, tasks: Sequence[Move], keys: int | None, moved_keys: Mapping[int, int]) -> str:
    goes = [slot for task in tasks if task.source_id == member.node_id for slot in task.slots]
    comes = [slot for task in tasks if task.target_id == member.node_id for slot in task.slots]
    before, after = len(member.slots), len(member.slots) - len(goes) + len(comes)
    words = (
        f"{member.address}: {before:,} slots -> {after:,}" if before != after else f"{member.address}: {before:,} slots"
    )
    if keys is None:
        return words
    then = keys + sum(moved_keys.get(slot, 0) for slot in comes) - sum(moved_keys.get(slot, 0) for slot in goes)
    return f"{words}, {keys:,} keys -> {then:,}" if then != keys else f"{words}, {keys:,} keys"


def _how(tasks: Sequence[Move]) -> list[str]:
    """Say what clients feel, and what happens when it is stopped."""
    lines = []
    if any(task.engine == "atomic" for task in tasks):
        lines.append("the server moves them itself, a job at a time, all of its slots or none: a stop loses nothing")
    if any(task.engine == "classic" for task in tasks):
        lines.append("key by key: a slot on its way answers ASK to clients, which follow it; MIGRATE blocks both nodes")
        lines.append("multi-key commands on a slot that is on its way may answer TRYAGAIN until it has arrived")
    if any(task.replace for task in tasks):
        lines.append("warning: a key that is on both nodes is overwritten with the one of the node that gives")
    lines.append("stopped in the middle, what has moved stays moved; the same command again goes on")
    return lines
