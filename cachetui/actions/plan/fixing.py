"""What is wrong with a cluster's slots, and the plan that mends it: each gets one owner and no open end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cachetui.actions.plan.base import Plan
from cachetui.actions.plan.cluster import cluster_plan
from cachetui.actions.plan.members import Member, State
from cachetui.actions.plan.tasks import Await, Gather, Move, Send, Task
from cachetui.errors import Refused
from cachetui.model import Identity
from cachetui.model.slots import SLOTS, counted_slots, slots_text

AT_ONCE = 1000
"""Slots in one ADDSLOTS."""

Counts = Mapping[int, Mapping[str, int]]
"""By slot the keys that each answering primary (by id) holds of it."""


def doubtful(state: State) -> list[int]:
    """Return the slots that something is wrong with, as far as the nodes' own words tell."""
    owners = state.owners()
    wrong = {slot for slot in range(SLOTS) if len(owners.get(slot, ())) != 1}
    wrong |= {slot for slot, _ in state.open_slots()}
    return sorted(wrong)


def of_failed(state: State) -> dict[str, list[int]]:
    """Return by node id the slots that only primaries that have failed serve: their keys are there."""
    owners = state.owners()
    found: dict[str, list[int]] = {}
    for member in state.members.values():
        if member.is_primary and "fail" in member.flags and member.node_id not in state.answering:
            slots = [slot for slot in member.slots if slot not in owners]
            if slots:
                found[member.node_id] = sorted(slots)
    return found


@dataclass
class Mending:
    """Tasks by their order: what ends doubt, then what covers, then what moves keys."""

    first: list[Task] = field(default_factory=list)
    covering: dict[str, list[int]] = field(default_factory=dict)
    """By node id the slots that it takes on."""
    then: list[Task] = field(default_factory=list)
    bumped: dict[str, str] = field(default_factory=dict)
    """Nodes (address by id) whose claim must win."""
    lines: list[str] = field(default_factory=list)
    stable: dict[str, list[int]] = field(default_factory=dict)
    """By address the slots whose open ends are closed without moving anything."""

    def close(self, member: Member, slot: int) -> None:
        """Close a slot on a node."""
        self.stable.setdefault(member.address, []).append(slot)


def plan_fix(
    identity: Identity,
    target: str,
    state: State,
    counts: Counts,
    *,
    replace: bool = False,
    give_up_failed: bool = False,
    now: float | None = None,
) -> Plan:
    """Plan what mends the slots. Raises Refused where nothing is to be mended, or only by losing keys.

    `give_up_failed`: the slots of primaries that have failed go to others; their keys are lost.
    """
    failed = of_failed(state)
    lost = sorted(slot for slots in failed.values() for slot in slots)
    mending = Mending()
    takers = _by_room(state)
    if not takers:
        raise Refused("no primary answers", "bring the nodes back first")
    here = {member.node_id: member for member in state.primaries}
    owners, kept = state.owners(), set() if give_up_failed else set(lost)
    for slot in doubtful(state):
        if slot not in kept:
            claims = owners.get(slot, [])
            _mend(mending, slot, claims, here=here, held=counts.get(slot, {}), takers=takers, replace=replace)
    tasks = _tasks(mending, state)
    notes = _failed_lines(state, failed, given_up=give_up_failed)
    if not tasks:
        if lost:
            raise Refused("; ".join(notes), "fail over to a replica, start the node again, or --give-up-failed")
        words = "nothing to do: every slot has one owner, and none is open"
        raise Refused(words, "cachetui cluster check looks wider", {"nothing": True})
    whole = not (lost and not give_up_failed)
    if whole:
        tasks.append(Await("agree", "until all nodes that answer agree on all slots", tuple(_addresses(state))))
    tasks += mending.then
    silent = [f"{address} does not answer and is left as it is" for address in state.silent]
    return cluster_plan(
        identity,
        target,
        "Fix the cluster's slots",
        tasks,
        [*_grouped(mending.lines), *notes, *silent, "at once: clients see each change as MOVED and follow it"],
        risk="high" if (lost and give_up_failed) or replace else "medium",
        undo="no undo: there is no good state to go back to",
        typed=bool(lost and give_up_failed),
        now=now,
    )


def _addresses(state: State) -> list[str]:
    return [member.address for member in state.answering.values()]


def _by_room(state: State) -> dict[str, int]:
    """Return how many slots each primary that answers serves, by id."""
    return {member.node_id: len(member.slots) for member in state.primaries}


def _mend(
    mending: Mending,
    slot: int,
    said: Sequence[str],
    *,
    here: Mapping[str, Member],
    held: Mapping[str, int],
    takers: dict[str, int],
    replace: bool,
) -> None:
    """Say what is to be done with one slot; `said` are the ids of all that claim it."""
    claims = [name for name in said if name in here]
    if not claims and said:
        mending.lines.append(f"left: slots of a node that does not answer but has not failed: {slot}")
        return
    owner = _owner(slot, claims, held, here, takers)
    if not claims:
        takers[owner] += 1
        mending.covering.setdefault(owner, []).append(slot)
        why = f"with its {held[owner]:,} keys there" if held.get(owner) else "without any keys"
        mending.lines.append(f"served by nobody, goes to {here[owner].address} {why}: {slot}")
    for name in claims:
        if name != owner:
            mending.first.append(Send(here[name].address, (b"CLUSTER", b"DELSLOTS", b"%d" % slot)))
            mending.lines.append(
                f"claimed by {here[name].address} and {here[owner].address}, stays with the latter: {slot}"
            )
            mending.bumped[owner] = here[owner].address
    way = _way(slot, here[owner], here, held) if claims == [owner] else None
    for member in here.values():
        others_keys = held.get(member.node_id, 0) if member.node_id != owner else 0
        is_open = slot in member.migrating or slot in member.importing
        if way is not None and member.node_id in (owner, way):
            continue
        if others_keys:
            mending.then.append(Gather(slot, member.address, here[owner].address, member.node_id, owner, replace))
            mending.lines.append(f"{others_keys:,} keys on {member.address} go to {here[owner].address}: {slot}")
        elif is_open:
            mending.close(member, slot)
            mending.lines.append(f"open on {member.address} without need, is closed: {slot}")
    if way is not None:
        mending.then.append(Move((slot,), here[owner].address, here[way].address, owner, way, replace=replace))
        mending.lines.append(f"half moved from {here[owner].address} to {here[way].address}, is finished: {slot}")


def _owner(
    slot: int,
    claims: Sequence[str],
    held: Mapping[str, int],
    here: Mapping[str, Member],
    takers: Mapping[str, int],
) -> str:
    """Return who is to own a slot: of those that claim it, else of all, the one with most keys; else who has room."""
    if len(claims) == 1:
        return claims[0]
    names = claims or [name for name in here if held.get(name)] or [min(takers, key=lambda name: takers[name])]
    return max(names, key=lambda name: (held.get(name, 0), here[name].epoch, name))


def _way(slot: int, owner: Member, here: Mapping[str, Member], held: Mapping[str, int]) -> str | None:
    """Return where a half moved slot was to go, when both ends are there and something has moved or is ready to."""
    to = owner.migrating.get(slot)
    if to is None or to == owner.node_id or to not in here:
        return None
    return to if slot in here[to].importing or held.get(to) else None


def _tasks(mending: Mending, state: State) -> list[Task]:
    """Return the tasks that come before any key moves."""
    here = state.answering
    tasks = list(mending.first)
    for address, slots in mending.stable.items():
        tasks += [Send(address, (b"CLUSTER", b"SETSLOT", b"%d" % slot, b"STABLE")) for slot in slots]
    for name, slots in mending.covering.items():
        address = here[name].address
        known = next(view for view in state.views if view.me.node_id == name).served()
        # A node that believes that somebody else serves a slot must forget that first.
        taken = [slot for slot in slots if slot in known]
        tasks += [Send(address, (b"CLUSTER", b"DELSLOTS", b"%d" % slot)) for slot in taken]
        for at in range(0, len(slots), AT_ONCE):
            words = (b"%d" % slot for slot in slots[at : at + AT_ONCE])
            tasks.append(Send(address, (b"CLUSTER", b"ADDSLOTS", *words)))
        if taken:
            mending.bumped[name] = address
    tasks += [
        Send(address, (b"CLUSTER", b"BUMPEPOCH"), says=(b"BUMPED", b"STILL")) for address in mending.bumped.values()
    ]
    if not tasks and not mending.then:
        return []
    return tasks or [Await("known", "until the nodes know each other", tuple(_addresses(state)), limit_s=5.0)]


def _failed_lines(state: State, failed: Mapping[str, Sequence[int]], *, given_up: bool) -> list[str]:
    lines = []
    for name, slots in failed.items():
        member = state.members[name]
        words = f"{counted_slots(slots)} ({slots_text(slots, 3)}) belong to {member.address}, which has failed"
        lines.append(f"warning: {words}: they go to others, and its keys are lost" if given_up else words)
    return lines


def _grouped(lines: Iterable[str]) -> list[str]:
    """Join lines that differ in the slot only."""
    found: dict[str, list[int]] = {}
    for line in lines:
        words, _, slot = line.rpartition(": ")
        found.setdefault(words, []).append(int(slot))
    return [f"{words}: {counted_slots(slots)} ({slots_text(slots, 5)})" for words, slots in found.items()]
