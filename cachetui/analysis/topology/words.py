"""What the checks share: who counts, and how several names are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from cachetui.model import Finding, Membership, Node, NodeFigures, Topology

_CATEGORIES = {
    **dict.fromkeys(("replica-syncing", "replica-cut", "replica-behind", "replica-orphaned"), "replication"),
    **dict.fromkeys(("replica-chained", "replica-failed", "no-replica", "same-host"), "replication"),
    **dict.fromkeys(("config-drift", "versions", "epoch-collision"), "configuration"),
    **dict.fromkeys(("node-full", "uneven-memory", "uneven-keys"), "memory"),
    **dict.fromkeys(("uneven-traffic", "uneven-slots", "no-slots", "hot-slot"), "performance"),
    "node-crowded": "clients",
}
"""Of what is not availability."""
Priority = Literal["high", "medium", "low"]

LAG_BYTES, LAG_MUCH_BYTES = 10 * 1024**2, 100 * 1024**2
"""Bytes a replica is behind: ten times the default backlog of 1 MB; and minutes of catching up."""
NAMED = 3
"""So many nodes are named; the others are counted."""


def finding(  # noqa: PLR0917
    name: str,
    priority: Priority,
    issue: str,
    action: str,
    evidence: dict[str, object],
    commands: Sequence[str] = (),
) -> Finding:
    """Return a finding of a check."""
    category = _CATEGORIES.get(name, "availability")
    return Finding(f"cluster-{name}", category, priority, issue, action, evidence, tuple(commands))


def member(node: Node) -> Membership:
    """Return what is known of a node's place; nothing where it was not asked."""
    return node.member or Membership()


def figures(node: Node) -> NodeFigures:
    """Return a node's figures; all unknown where it told none."""
    return node.figures or NodeFigures(node.address, node.role)


def has_failed(node: Node) -> bool:
    """Tell whether the cluster itself has given the node up."""
    return not {"fail", "noaddr"}.isdisjoint(node.state.split(","))


def is_suspected(node: Node) -> bool:
    """Tell whether some node thinks that this one may be lost."""
    return not has_failed(node) and ("fail?" in node.state.split(",") or bool(member(node).doubted_by))


def host_of(node: Node) -> str:
    """Return the host of a node's address."""
    return node.address.rpartition(":")[0]


def primaries(seen: Topology, *, serving: bool = False) -> list[Node]:
    """Return the primaries that have not failed; with `serving` those that have slots."""
    found = (node for node in seen.nodes if node.role == "primary" and not has_failed(node))
    return [node for node in found if node.slots or not serving]


def replicas_of(seen: Topology, primary: Node) -> list[Node]:
    """Return the replicas of a primary."""
    return [node for node in seen.nodes if node.role == "replica" and node.primary == primary.address]


def some(names: Iterable[str], most: int = NAMED) -> str:
    """Return names as a list that does not grow without end.

    >>> some(["a"]), some(["a", "b"]), some("abcde")
    ('a', 'a and b', 'a, b, c and 2 more')
    """
    all_names = list(names)
    if len(all_names) > most:
        return f"{', '.join(all_names[:most])} and {len(all_names) - most} more"
    return " and ".join(filter(None, [", ".join(all_names[:-1]), *all_names[-1:]]))


def plural(count: int, word: str, more: str = "") -> str:
    """Return a count with its noun.

    >>> plural(1, "slot"), plural(2, "slot"), plural(2, "replica is", "replicas are")
    ('1 slot', '2 slots', '2 replicas are')
    """
    return f"{count:,} {word if count == 1 else more or word + 's'}"
