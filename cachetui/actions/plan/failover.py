"""Plans that make a replica the primary: through Sentinel, or by FAILOVER on the primary itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cachetui.actions.plan.base import Failover, Plan, stamped, typed_name
from cachetui.actions.plan.commands import Command
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.model import Identity, Node, SentinelGroup, Topology, Watched
from cachetui.text import duration, printable, size

CATCH_UP_S = 10.0
"""So long FAILOVER holds writes back until the replica has everything; then it is given up."""
MUCH_BYTES = 1024**2
SILENT_S = 10
_DOWN = ("s_down", "o_down", "disconnected")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A replica that may become the primary."""

    address: str
    priority: int | None
    """Sentinel takes the lowest first, and never 0."""
    lag_bytes: int | None
    heard_s: int | None
    why_not: str = ""
    """Why it cannot be; empty: it can."""

    def words(self) -> str:
        """Return what it is like, for a list."""
        if self.why_not:
            return self.why_not
        told = [f"{size(self.lag_bytes)} behind" if self.lag_bytes is not None else "its lag is unknown"]
        if self.priority is not None:
            told.append(f"priority {self.priority}")
        if self.heard_s is not None and self.heard_s > SILENT_S:
            told.append(f"silent for {duration(self.heard_s)}")
        return ", ".join(told)


def candidates(topology: Topology) -> tuple[Candidate, ...]:
    """Return the replicas of the primary, the one that is best first: able, of low priority, with little lag."""
    primary = primary_of(topology)
    found = [_candidate(node) for node in topology.nodes if node.role == "replica" and node.primary == primary]
    return tuple(
        sorted(
            found,
            key=lambda one: (
                bool(one.why_not),
                one.priority if one.priority is not None else 100,
                one.lag_bytes if one.lag_bytes is not None else MUCH_BYTES,
                one.address,
            ),
        )
    )


def primary_of(topology: Topology) -> str:
    """Return the address of the primary; empty when none is known."""
    own = next((node for node in topology.nodes if node.myself and node.role == "primary"), None)
    top = next((node for node in topology.nodes if node.role == "primary" and not node.primary), None)
    found = own or top
    return found.address if found is not None else ""


def _candidate(node: Node) -> Candidate:
    own = node.replication
    priority = own.priority if own is not None else None
    why = ""
    if node.state != "online":
        why = f"it is not online: {node.state}"
    elif priority == 0:
        why = "its priority is 0: never to be promoted"
    return Candidate(node.address, priority, node.lag_bytes, node.lag_s, why)


def plan_failover(
    identity: Identity,
    target: str,
    topology: Topology,
    to: str = "",
    *,
    watched: bool = False,
    now: float | None = None,
) -> Plan:
    """Plan FAILOVER on the primary: `to` is to take over, by default the best replica.

    `watched` says that a Sentinel watches this primary and may undo it. Raises Refused, BadUsage.
    """
    old = primary_of(topology)
    found = candidates(topology)
    if not old:
        raise Refused("the primary is unknown here", "connect to it")
    if not found:
        raise Refused(f"{old} has no replica: there is nothing to fail over to", "add a replica first (REPLICAOF)")
    chosen = _chosen(found, to)
    host, _, port = chosen.address.rpartition(":")
    command = (b"FAILOVER", b"TO", host.strip("[]").encode(), port.encode(), b"TIMEOUT", b"%d" % (CATCH_UP_S * 1000))
    others = tuple(one.address for one in found if one.address != chosen.address and not one.why_not)
    follow: Command = (b"REPLICAOF", host.strip("[]").encode(), port.encode())
    what = [
        f"{old} hands over to {chosen.address} ({chosen.words()})",
        f"writes wait until it has everything, at most {duration(CATCH_UP_S)}: then nothing is lost",
        "if it does not catch up in time, it is given up, and nothing changes",
        f"clients that know only {old} then speak to a replica: their writes are refused (READONLY)",
    ]
    what += [f"{other} is told to follow {chosen.address}" for other in others]
    if watched:
        what.append("warning: a Sentinel watches this primary and may undo it: fail over through redis+sentinel://")
    risk = "high" if watched or (chosen.lag_bytes or 0) > MUCH_BYTES else "medium"
    return stamped(
        identity,
        target,
        f"Fail over to {chosen.address}",
        tuple(dict.fromkeys((command, *((follow,) if others else ())))),
        what,
        needs="failover",
        risk=risk,  # type: ignore[arg-type]
        undo="no undo by itself: fail over back when the old primary follows",
        typed=typed_name(target) if watched else None,
        failover=Failover("replication", old, command, old, new=chosen.address, followers=others, follow=follow),
        now=now,
    )


def _chosen(found: Sequence[Candidate], to: str) -> Candidate:
    if not to:
        best = found[0]
    else:
        named = [one for one in found if one.address == to]
        if not named:
            known = ", ".join(one.address for one in found)
            raise BadUsage(f"{printable(to, 80)} is no replica of this primary", f"there are {known}")
        best = named[0]
    if best.why_not:
        raise Refused(f"{best.address} cannot take over: {best.why_not}", "choose another replica, or wait")
    return best


def plan_sentinel_failover(
    identity: Identity, target: str, topology: Topology, name: str, *, now: float | None = None
) -> Plan:
    """Plan SENTINEL FAILOVER of one group. Raises Refused, Unsupported where no Sentinel can do it."""
    group = next((one for one in topology.groups if one.name == name), None)
    if group is None:
        known = ", ".join(one.name for one in topology.groups) or "none"
        raise Unsupported(f"no Sentinel knows the group {printable(name, 80)}", f"known groups: {known}")
    asked = _asked(group)
    able = [(member, _unable(member)) for member in group.members if member.role == "replica"]
    fit = sorted((member for member, why in able if not why), key=_by_sentinel)
    if not fit:
        told = "; ".join(f"{member.address}: {why}" for member, why in able) or "it has no replica"
        raise Refused(f"no replica of {name} can take over: {told}", "bring a replica back first")
    by_address = {node.address: node for node in topology.nodes}
    lag = by_address[fit[0].address].lag_bytes if fit[0].address in by_address else None
    what = [
        f"{asked} promotes a replica of {name} in the place of {group.primary}, without asking the other Sentinels",
        f"the Sentinel chooses it: probably {fit[0].address} ({_member_words(fit[0], lag)})",
        "what the primary has not sent to it yet is lost"
        + (f": now {size(lag)}" if lag is not None else ": how much is unknown"),
        f"the other replicas, and later {group.primary} itself, are told to follow it; clients that ask "
        "the Sentinels follow too, others must be told",
    ]
    what += [f"warning: {member.address} cannot take over: {why}" for member, why in able if why]
    if group.problems:
        what.append(f"warning: {group.problems[0]}")
    command = (b"SENTINEL", b"FAILOVER", name.encode())
    return stamped(
        replace(identity, mode="standalone"),
        target,
        f"Fail over the group {name}",
        (command,),
        what,
        needs="failover",
        risk="high" if group.problems or (lag or 0) > MUCH_BYTES else "medium",
        undo="no undo by itself: fail over again when the old primary follows",
        failover=Failover(
            "sentinel",
            asked,
            command,
            group.primary,
            group=name,
            sentinels=tuple(one.sentinel for one in group.answered if one.primary == group.primary),
        ),
        now=now,
    )


def _asked(group: SentinelGroup) -> str:
    """Return the Sentinel that gets the command: one that agrees and acts, rather the one we speak to."""
    agreeing = [one for one in group.answered if one.primary == group.primary]
    if any("failover_in_progress" in one.flags for one in agreeing):
        raise Refused(f"a failover of {group.name} is under way already", "watch it: press 4")
    fit = [one for one in agreeing if not one.tilt]
    if not fit:
        raise Unsupported(f"no Sentinel of {group.name} can act now", "see what each of them says: press 4")
    return sorted(fit, key=lambda one: (not one.myself, not one.given, one.sentinel))[0].sentinel


def _unable(member: Watched) -> str:
    if held := [flag for flag in member.flags if flag in _DOWN]:
        return f"it is {', '.join(held)}"
    if member.priority == 0:
        return "its priority is 0"
    return "its link to the primary is down" if member.link_up is False else ""


def _by_sentinel(member: Watched) -> tuple[int, int, str]:
    """Order replicas as Sentinel does: by priority, then by what they have got, then by their id."""
    return member.priority if member.priority is not None else 100, -(member.offset or 0), member.run_id


def _member_words(member: Watched, lag: int | None) -> str:
    told = [f"priority {member.priority}"] if member.priority is not None else []
    told.append(f"{size(lag)} behind" if lag is not None else "its lag is unknown")
    return ", ".join(told)
