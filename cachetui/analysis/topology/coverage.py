"""Are all slots served, each by one node that all others know of?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cachetui.analysis.topology.words import finding, has_failed, member, plural, primaries, some
from cachetui.model import Finding, Node, OpenSlot, Topology
from cachetui.model.slots import SLOTS, slots_of, slots_text

RANGES = 4
"""Ranges of slots that a sentence names."""
_FIX = "cachetui cluster fix shows and does what is needed"


def coverage_checks(seen: Topology) -> Iterator[Finding]:
    """Yield what is wrong with the slots."""
    yield from _uncovered(seen)
    yield from _several_owners(seen)
    yield from _disagreement(seen)
    yield from _open_slots(seen)
    yield from _refusing(seen)


def uncovered(seen: Topology) -> frozenset[int]:
    """Return the slots that no node serves which the cluster has not given up."""
    served = frozenset().union(*(slots_of(node.slots) for node in primaries(seen)))
    return frozenset(range(SLOTS)) - served


def _uncovered(seen: Topology) -> Iterator[Finding]:
    missing = uncovered(seen)
    if not missing:
        return
    lost = [node for node in seen.nodes if node.role == "primary" and has_failed(node) and slots_of(node.slots)]
    settings = {dict(member(node).settings).get("cluster-require-full-coverage") for node in seen.nodes}
    reach = "every command is refused" if "yes" in settings else "commands on their keys are refused"
    if lost:
        follow = [node.address for node in seen.nodes if node.primary in {one.address for one in lost}]
        action = f"Start {some(node.address for node in lost)} again"
        action += f", or make a replica take over ({some(follow)}: CLUSTER FAILOVER TAKEOVER)." if follow else "."
    else:
        action = f"Give them to a node: {_FIX}."
    yield finding(
        "slots-uncovered",
        "high",
        f"{plural(len(missing), 'slot is', 'slots are')} served by no node: {slots_text(missing, RANGES)}; {reach}",
        action,
        {"slots": slots_text(missing), "count": len(missing), "failed_primaries": [node.address for node in lost]},
        [f"{follow[0]}> CLUSTER FAILOVER TAKEOVER"] if lost and follow else [],
    )


def _several_owners(seen: Topology) -> Iterator[Finding]:
    owners = Counter(slot for node in primaries(seen) for slot in slots_of(node.slots))
    double = [slot for slot, count in owners.items() if count > 1]
    if double:
        who = [node.address for node in primaries(seen) if not slots_of(node.slots).isdisjoint(double)]
        yield finding(
            "slots-double",
            "high",
            f"{plural(len(double), 'slot is', 'slots are')} claimed by several primaries:"
            f" {slots_text(double, RANGES)} by {some(who)}",
            f"Keys are written on both: let the one with the higher epoch keep them; {_FIX}.",
            {"slots": slots_text(double), "nodes": who},
        )


def _disagreement(seen: Topology) -> Iterator[Finding]:
    differing = [node for node in seen.nodes if member(node).differs]
    if not differing:
        return
    first = differing[0]
    more = f" (and {plural(len(differing) - 1, 'other node')})" if len(differing) > 1 else ""
    yield finding(
        "disagree",
        "high",
        f"Nodes disagree about the slots: {first.address} {member(first).differs[0]}{more}",
        f"Wait some seconds: after a change they agree by themselves. If they do not, {_FIX}.",
        {"nodes": {node.address: list(member(node).differs) for node in differing}},
    )


def _open_slots(seen: Topology) -> Iterator[Finding]:
    opened = [(node, one) for node in seen.nodes for one in member(node).open_slots]
    if not opened:
        return
    unknown = [(node, one) for node, one in opened if not one.known]
    slots = sorted({one.slot for _, one in opened})
    half = _half_open(opened)
    words = f"{plural(len(slots), 'slot is', 'slots are')} open: {_told(*opened[0])}"
    words += f" (and {len(opened) - 1} more)" if len(opened) > 1 else ""
    if unknown:
        words += f"; {plural(len(unknown), 'goes', 'go')} to or from a node that nobody knows"
    elif half:
        words += "; only one of the two nodes says so: the move was cut"
    yield finding(
        "slots-open",
        "high" if unknown else "medium",
        words,
        f"If no move is running, it was cut half-way: {_FIX}.",
        {
            "slots": slots_text(slots),
            "open": [
                {"slot": one.slot, "node": node.address, "way": one.way, "other": one.other, "known": one.known}
                for node, one in opened
            ],
        },
        [f"{node.address}> CLUSTER SETSLOT {one.slot} STABLE" for node, one in opened[:8]],
    )


def _told(node: Node, one: OpenSlot) -> str:
    way = "goes to" if one.way == "migrating" else "comes from"
    other = one.other if one.known else f"the unknown node {one.other[:12]}"
    return f"{one.slot} on {node.address} {way} {other}"


def _half_open(opened: list[tuple[Node, OpenSlot]]) -> bool:
    """Tell whether some slot is open at one end only."""
    ends = {(one.slot, node.address, one.other, one.way) for node, one in opened}
    back = {"migrating": "importing", "importing": "migrating"}
    return any((slot, there, here, back[way]) not in ends for slot, here, there, way in ends if way in back)


def _refusing(seen: Topology) -> Iterator[Finding]:
    refusing = [node for node in seen.nodes if member(node).state == "fail"]
    if not refusing or uncovered(seen):
        return  # why has been said already
    answering = [node for node in seen.nodes if member(node).told]
    everyone = len(refusing) == len(answering)
    yield finding(
        "down",
        "high" if everyone or any(node.role == "primary" for node in refusing) else "medium",
        f"{'All nodes' if everyone else some(node.address for node in refusing)} refuse commands (cluster_state fail)",
        "They do not reach a majority of the primaries: look at the network between them and at the bus port "
        "(the port plus 10,000).",
        {"nodes": [node.address for node in refusing]},
    )
