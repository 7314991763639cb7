"""Plans for who is in a cluster and who leads: failover by hand, a node that joins, leaves, or is forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from cachetui.actions.plan.base import Plan
from cachetui.actions.plan.cluster import FORGOTTEN_S, NewNode, check_alike, cluster_plan, meet
from cachetui.actions.plan.members import Member, State
from cachetui.actions.plan.tasks import Await, Move, Send, Task
from cachetui.errors import BadUsage, Refused
from cachetui.model import Identity
from cachetui.model.slots import counted_slots, slots_text

Force = Literal["", "FORCE", "TAKEOVER"]

FAILOVER_S = 20.0
"""The server gives a failover by hand five seconds, and a forced one may wait for a vote."""
_WORDS: dict[Force, tuple[str, ...]] = {
    "": (
        "the primary stops writes until the replica has all of them, then the replica takes over: nothing is lost",
        "at once: writes wait for a moment (milliseconds as a rule, five seconds at most, then it is called off)",
    ),
    "FORCE": (
        "FORCE: the primary is not asked: what it has not sent to the replica yet is lost",
        "the other primaries must agree by majority",
    ),
    "TAKEOVER": (
        "TAKEOVER: nobody is asked, neither the primary nor the majority: writes that the replica lacks are lost",
        "for a cluster that has lost its majority; where the old primary lives on, both may take writes for a while",
    ),
}


def named(state: State, words: str) -> Member:
    """Return the node that is meant by an address or the beginning of an id. Raises BadUsage."""
    member = state.named(words)
    if member is None:
        some = ", ".join(sorted(one.address or one.node_id[:8] for one in state.members.values()))
        raise BadUsage(f"no node is called {words}", f"an address or the beginning of an id; there are {some}")
    return member


def plan_failover(
    identity: Identity, target: str, state: State, replica: Member, force: Force = "", *, now: float | None = None
) -> Plan:
    """Plan that a replica takes the place of its primary. Raises Refused where that cannot be."""
    if replica.is_primary:
        theirs = [one.address for one in state.members.values() if one.primary_id == replica.node_id]
        some = f"name one of its replicas: {', '.join(theirs)}" if theirs else "it has no replica to fail over to"
        raise Refused(f"{replica.address} is a primary", some)
    if replica.node_id not in state.answering:
        raise Refused(f"{replica.address} does not answer", "name a replica that is up")
    primary = state.members.get(replica.primary_id)
    up = primary is not None and primary.node_id in state.answering
    if not up and not force:
        raise Refused(
            f"the primary of {replica.address} does not answer: it cannot hand over",
            "--force goes without it: the other primaries vote",
        )
    old = primary.address if primary is not None else "its primary"
    others = [member.address for member in state.answering.values()]
    tasks: list[Task] = [
        Send(replica.address, (b"CLUSTER", b"FAILOVER", *((force.encode(),) if force else ()))),
        Await("primary", f"until {replica.address} is the primary", (replica.address,), limit_s=FAILOVER_S),
    ]
    if force != "TAKEOVER":
        tasks.append(Await("agree", f"until all {len(others)} nodes that answer agree", tuple(others)))
    return cluster_plan(
        identity,
        target,
        f"Fail over to {replica.address}",
        tasks,
        (
            f"{replica.address} takes the {_slots_of(primary)} of {old}, which becomes its replica",
            *_WORDS[force],
            *(("warning: the primary is up: without FORCE nothing would be lost",) if force and up else ()),
        ),
        risk="high" if force else "medium",
        undo=f"no undo by itself: when {old} follows it, fail over to {old}",
        typed=bool(force),
        now=now,
    )


def _slots_of(member: Member | None) -> str:
    return counted_slots(sorted(member.slots)) if member is not None else "slots"


def fewest_followed(state: State, host: str = "", without: Iterable[str] = ()) -> Member:
    """Return the primary with the fewest replicas, on another host if that can be. Raises Refused without one."""
    left_out = set(without)
    primaries = [one for one in state.primaries if one.slots and one.node_id not in left_out]
    if not primaries:
        raise Refused("no other primary answers", "bring one back first")
    followed = {one.node_id: 0 for one in primaries}
    for member in state.members.values():
        if member.primary_id in followed:
            followed[member.primary_id] += 1
    return min(primaries, key=lambda one: (followed[one.node_id], one.host == host))


def plan_add(
    identity: Identity,
    target: str,
    state: State,
    new: NewNode,
    primary: Member | None = None,
    *,
    now: float | None = None,
) -> Plan:
    """Plan that an empty node joins: as a primary without slots, or as a replica of `primary`."""
    if new.node_id in state.members:
        raise Refused(f"{new.address} is in this cluster already", "nothing was sent")
    if primary is not None and not primary.is_primary:
        raise Refused(f"{primary.address} is a replica", "a replica follows a primary")
    old = NewNode("", "", "", identity.kind, identity.version or new.version)
    warnings = check_alike((old, new))
    everybody = [member.address for member in state.answering.values()]
    tasks: list[Task] = [
        Send(everybody[0], meet(new)),
        Await("known", "until all nodes know it", (*everybody, new.address)),
    ]
    if primary is None:
        what = f"{new.address} joins as a primary without slots: cachetui cluster rebalance --empty gives it some"
    else:
        what = f"{new.address} joins as a replica of {primary.address}, and copies its {_slots_of(primary)}"
        replicate = (b"CLUSTER", b"REPLICATE", primary.node_id.encode())
        tasks.append(Send(new.address, replicate, again=True))
        words = f"until {new.address} follows {primary.address}"
        tasks.append(Await("replica", words, (new.address,), primary.node_id, limit_s=600.0))
    tasks.append(Await("agree", "until all nodes agree", (*everybody, new.address)))
    silent = [f"{address} does not answer: it hears of the new node later" for address in state.silent]
    return cluster_plan(
        identity,
        target,
        f"Add {new.address} to the cluster",
        tasks,
        (what, *warnings, *silent, "at once: nothing changes for clients"),
        risk="low",
        undo=f"no undo by itself: cachetui cluster remove takes {new.address} out again",
        now=now,
    )


def plan_remove(
    identity: Identity,
    target: str,
    state: State,
    member: Member,
    moves: Sequence[Move],
    *,
    notes: Iterable[str] = (),
    now: float | None = None,
) -> Plan:
    """Plan that a node leaves: its slots move away (`moves`), its replicas follow others, and all forget it."""
    if member.node_id not in state.answering:
        raise Refused(f"{member.address} does not answer: it cannot be asked to leave", "cachetui cluster forget")
    replicas = [one for one in state.answering.values() if one.primary_id == member.node_id]
    tasks: list[Task] = list(moves)
    what = [f"{member.address} leaves the cluster, and is reset: it keeps nothing"]
    if moves:
        what.append(f"first its {counted_slots(sorted(member.slots))} go to the other primaries")
        what += [f"{counted_slots(move.slots)} to {move.target}: {slots_text(move.slots, 5)}" for move in moves]
    for replica in replicas:
        other = fewest_followed(state, replica.host, (member.node_id,))
        tasks.append(Send(replica.address, (b"CLUSTER", b"REPLICATE", other.node_id.encode()), again=True))
        words = f"until {replica.address} follows {other.address}"
        tasks.append(Await("replica", words, (replica.address,), other.node_id, limit_s=600.0))
        what.append(f"its replica {replica.address} follows {other.address} from then on, and copies it anew")
    if not member.is_primary:
        what.append("it is a replica: no slots move, and its copy of them is deleted")
    others = [one.address for one in state.answering.values() if one.node_id != member.node_id]
    tasks += _forgotten(member, others)
    tasks += [
        Send(member.address, (b"CLUSTER", b"RESET", b"HARD")),
        Await("apart", f"until {member.address} knows nobody", (member.address,)),
        Await("gone", "until nobody lists it", tuple(others), member.node_id),
    ]
    return cluster_plan(
        identity,
        target,
        f"Remove {member.address} from the cluster",
        tasks,
        (*what, *notes, *_silent_lines(state, member)),
        risk="medium",
        undo=f"no undo by itself: cachetui cluster add brings {member.address} back, empty",
        now=now,
    )


def plan_forget(identity: Identity, target: str, state: State, member: Member, *, now: float | None = None) -> Plan:
    """Plan that all nodes forget one that is gone for good. Raises Refused while it answers or is needed."""
    if member.node_id in state.answering:
        raise Refused(
            f"{member.address} answers: it would be back after {FORGOTTEN_S} s", "take it out: cachetui cluster remove"
        )
    where = member.address or member.node_id[:8]
    if member.slots:
        raise Refused(
            f"{where} still has {counted_slots(sorted(member.slots))}",
            "fail over to its replica, or cachetui cluster fix --give-up-failed",
        )
    others = [one.address for one in state.answering.values()]
    following = [one.address for one in state.answering.values() if one.primary_id == member.node_id]
    if following:
        raise Refused(f"{', '.join(following)} still follow{'s' if len(following) == 1 else ''} it", "fail over first")
    return cluster_plan(
        identity,
        target,
        f"Forget {where}",
        [*_forgotten(member, others), Await("gone", "until nobody lists it", tuple(others), member.node_id)],
        (
            f"all {len(others)} nodes that answer forget {where} ({member.node_id[:8]})",
            f"for {FORGOTTEN_S} s they do not listen to anybody who still knows it; then it is gone",
            *_silent_lines(state, member),
        ),
        risk="medium",
        undo="no undo: when it lives again it must be added anew",
        now=now,
    )


def _forgotten(member: Member, others: Iterable[str]) -> list[Task]:
    words = (b"CLUSTER", b"FORGET", member.node_id.encode())
    return [Send(address, words, again=True, missing=("Unknown node",)) for address in others]


def _silent_lines(state: State, member: Member) -> list[str]:
    return [
        f"warning: {one.address} does not answer and does not forget it: it may bring it back after {FORGOTTEN_S} s"
        for one in state.members.values()
        if one.node_id not in state.answering and one.node_id != member.node_id and "fail" not in one.flags
    ]
