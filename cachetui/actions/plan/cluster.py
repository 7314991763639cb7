"""Plans that make a cluster of servers, and change who is in it and who leads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cachetui.actions.plan.base import Plan, stamped, typed_name
from cachetui.actions.plan.commands import Command
from cachetui.actions.plan.effects import Risk
from cachetui.actions.plan.tasks import Await, Send, Task, commands_of
from cachetui.errors import BadUsage, Refused
from cachetui.model import Identity
from cachetui.model.slots import SLOTS

LEAST_PRIMARIES = 3
"""Fewer cannot agree on a failover when one of them is lost."""
FORGOTTEN_S = 60
"""So long a node that was forgotten stays unknown, whatever others tell of it."""


@dataclass(frozen=True, slots=True)
class NewNode:
    """A server that is to become a node, as it was found."""

    address: str
    node_id: str
    meets_as: str
    """Its IP address and port, as the other nodes reach it: CLUSTER MEET takes no names."""
    kind: str
    """`redis` or `valkey`."""
    version: str
    bus_port: int = 0
    """`cluster-port`; 0: ten thousand above the port."""
    epoch: int = 0
    by_ranges: bool = True
    """It knows CLUSTER ADDSLOTSRANGE."""
    memory_bytes: int | None = None
    """`maxmemory`; 0: no limit, None: unknown."""


def check_alike(nodes: Sequence[NewNode]) -> list[str]:
    """Return what is worth saying of differing versions. Raises Refused where they do not fit together."""
    kinds = sorted({node.kind for node in nodes})
    if len(kinds) > 1:
        raise Refused(f"{' and '.join(kinds)} do not make one cluster", "use servers of one kind")
    versions = sorted({node.version for node in nodes})
    majors = {version.split(".")[0] for version in versions}
    if len(majors) > 1:
        raise Refused(
            f"the servers' versions are too far apart: {', '.join(versions)}",
            "a replica cannot read what a newer primary sends: use one version",
        )
    if len(versions) > 1:
        return [f"warning: the versions differ ({', '.join(versions)}): a replica older than its primary may not sync"]
    return []


def plan_create(
    identity: Identity,
    target: str,
    nodes: Sequence[NewNode],
    shares: Mapping[str, tuple[int, int]],
    replica_of: Mapping[str, str],
    *,
    notes: Iterable[str] = (),
    now: float | None = None,
) -> Plan:
    """Plan a new cluster of empty servers.

    `shares` are the slots of each primary, both ends included, `replica_of` the primary of each
    replica: all by address. `notes` are lines for the preview. Raises BadUsage, Refused.
    """
    known = {node.address: node for node in nodes}
    if len(shares) < LEAST_PRIMARIES:
        raise BadUsage(
            f"{len(nodes)} nodes make {len(shares)} primar{'y' if len(shares) == 1 else 'ies'}, "
            f"and a cluster needs {LEAST_PRIMARIES}",
            "fewer cannot agree on a failover: give more nodes, or fewer replicas",
        )
    warnings = check_alike(nodes)
    first = nodes[0]
    tasks: list[Task] = [Send(address, _own(known[address], begin, end)) for address, (begin, end) in shares.items()]
    tasks += [
        Send(node.address, (b"CLUSTER", b"SET-CONFIG-EPOCH", b"%d" % at))
        for at, node in enumerate(nodes, 1)
        if not node.epoch
    ]
    tasks += [Send(first.address, meet(node)) for node in nodes[1:]]
    everybody = tuple(node.address for node in nodes)
    tasks.append(Await("known", f"until all {len(nodes)} nodes know each other", everybody))
    tasks += [
        Send(address, (b"CLUSTER", b"REPLICATE", known[primary].node_id.encode()), again=True)
        for address, primary in replica_of.items()
    ]
    tasks += [
        Await("replica", f"until {address} follows {primary}", (address,), known[primary].node_id)
        for address, primary in replica_of.items()
    ]
    tasks.append(Await("agree", f"until all {len(nodes)} nodes agree on all {SLOTS:,} slots", everybody))
    what = [f"make one cluster of {len(nodes)} empty {first.kind} {first.version} servers"]
    what += [
        f"{address} serves slots {begin}-{end}{_followers(address, replica_of)}"
        for address, (begin, end) in shares.items()
    ]
    what += [*notes, *warnings]
    what.append("at once: the nodes serve keys only by the cluster's rules: clients must follow MOVED")
    return cluster_plan(
        identity,
        target,
        f"Create a cluster of {len(nodes)} nodes",
        tasks,
        what,
        risk="medium",
        undo="no undo by itself: CLUSTER RESET HARD on every node, while none holds keys",
        now=now,
    )


def _own(node: NewNode, begin: int, end: int) -> Command:
    if node.by_ranges:
        return (b"CLUSTER", b"ADDSLOTSRANGE", b"%d" % begin, b"%d" % end)
    return (b"CLUSTER", b"ADDSLOTS", *(b"%d" % slot for slot in range(begin, end + 1)))


def _followers(address: str, replica_of: Mapping[str, str]) -> str:
    own = [replica for replica, primary in replica_of.items() if primary == address]
    return f", followed by {', '.join(own)}" if own else ", without a replica"


def meet(node: NewNode) -> Command:
    """Return the command that makes a node known to the one that gets it."""
    host, _, port = node.meets_as.rpartition(":")
    bus = (b"%d" % node.bus_port,) if node.bus_port else ()
    return (b"CLUSTER", b"MEET", host.strip("[]").encode(), port.encode(), *bus)


def cluster_plan(
    identity: Identity,
    target: str,
    title: str,
    tasks: Sequence[Task],
    what: Iterable[str],
    *,
    risk: Risk,
    undo: str,
    typed: bool = False,
    undoes: str = "",
    now: float | None = None,
) -> Plan:
    """Stamp a plan of tasks; its steps are the commands of all of them."""
    steps = tuple(dict.fromkeys(command for task in tasks for _, command in commands_of(task)))
    return stamped(
        identity,
        target,
        title,
        steps,
        what,
        needs="cluster",
        risk=risk,
        undo=undo,
        typed=typed_name(target) if typed else None,
        undoes=undoes,
        tasks=tuple(tasks),
        now=now,
    )
