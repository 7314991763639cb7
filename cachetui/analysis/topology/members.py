"""Is every node there, does everybody see it, and does it follow whom it should?"""

from __future__ import annotations

from collections.abc import Iterator

from cachetui import text
from cachetui.analysis.sanity import possible
from cachetui.analysis.topology.words import (
    LAG_BYTES,
    LAG_MUCH_BYTES,
    figures,
    finding,
    has_failed,
    is_suspected,
    member,
    plural,
    some,
)
from cachetui.model import Finding, Node, Topology


def member_checks(seen: Topology) -> Iterator[Finding]:
    """Yield what is wrong with single nodes."""
    yield from _failed(seen)
    yield from _suspected(seen)
    yield from _silent(seen)
    yield from _links(seen)
    yield from _replication(seen)
    yield from _lag(seen)
    yield from _orphans(seen)


def _addresses(nodes: list[Node]) -> list[str]:
    return [node.address for node in nodes]


def _failed(seen: Topology) -> Iterator[Finding]:
    for role in ("primary", "replica"):
        failed = [node for node in seen.nodes if node.role == role and has_failed(node)]
        if not failed:
            continue
        # A primary whose slots went to its replica has been replaced already.
        replaced = role == "replica" or not any(node.slots for node in failed)
        what = plural(len(failed), f"{role} has", f"{'primaries' if role == 'primary' else 'replicas'} have")
        yield finding(
            f"{role}-failed",
            "medium" if replaced else "high",
            f"{what} failed: {some(_addresses(failed))}"
            + (", and a replica has taken over" if role == "primary" and replaced else ""),
            "Start it again: it becomes a replica and catches up by itself."
            if replaced
            else "Start it again, or make one of its replicas take over.",
            {"nodes": _addresses(failed)},
            [] if not replaced else [f"CLUSTER FORGET {node.node_id}" for node in failed[:4] if node.node_id],
        )


def _suspected(seen: Topology) -> Iterator[Finding]:
    doubted = [node for node in seen.nodes if is_suspected(node)]
    if not doubted:
        return
    first = doubted[0]
    by = member(first).doubted_by
    words = f"{first.address} may be lost: " + (f"{some(by)} cannot reach it" if by else "it is marked fail?")
    more = f" (and {plural(len(doubted) - 1, 'other node')})" if len(doubted) > 1 else ""
    yield finding(
        "suspected",
        "high" if any(node.role == "primary" and node.slots for node in doubted) else "medium",
        words + more,
        "If it stays so, a majority declares it failed and a replica takes over: look at that host and the network.",
        {"nodes": {node.address: list(member(node).doubted_by) for node in doubted}},
    )


def _silent(seen: Topology) -> Iterator[Finding]:
    silent = [
        node for node in seen.nodes if figures(node).trouble and not has_failed(node) and "fail?" not in node.state
    ]
    if not silent:
        return
    first = figures(silent[0])
    since = ""
    if first.taken_at is not None and possible(seen.taken_at - first.taken_at):
        since = f" for {text.duration(int(seen.taken_at - first.taken_at))}"
    more = f" (and {plural(len(silent) - 1, 'other node')})" if len(silent) > 1 else ""
    yield finding(
        "node-silent",
        "medium",
        f"{silent[0].address} does not answer us{since}: {first.trouble}{more}",
        "The other nodes may reach it: look at the network and the firewall between here and there, and at its load.",
        {"nodes": {node.address: figures(node).trouble for node in silent}},
    )


def _away(seen: Topology) -> set[str]:
    """Return the addresses of nodes that are lost, or may be."""
    return {node.address for node in seen.nodes if has_failed(node) or is_suspected(node) or figures(node).trouble}


def _links(seen: Topology) -> Iterator[Finding]:
    failed = _away(seen)
    cut = {
        node.address: lost
        for node in seen.nodes
        if (lost := [other for other in member(node).not_connected_to if other not in failed])
    }
    if cut:
        here, there = next(iter(cut.items()))
        yield finding(
            "links-down",
            "medium",
            f"{plural(sum(map(len, cut.values())), 'link')} between nodes down: {here} does not reach {some(there)}",
            "Look at the network between them: the bus port (usually the port plus 10,000) must be open both ways.",
            {"links": {node: list(others) for node, others in cut.items()}},
        )


def _replication(seen: Topology) -> Iterator[Finding]:
    away = _away(seen)
    lost = [
        node
        for node in seen.nodes
        if node.role == "replica"
        and member(node).link_up is False
        and node.address not in away
        and node.primary not in away  # that has been said
    ]
    if not lost:
        return
    syncing = [node for node in lost if member(node).sync_running]
    down_s = max((member(node).link_down_s or 0 for node in lost), default=0)
    since = f" for {text.duration(down_s)}" if possible(down_s) and down_s else ""
    if len(syncing) == len(lost):
        yield finding(
            "replica-syncing",
            "medium",
            f"{plural(len(lost), 'replica copies', 'replicas copy')} everything from its primary now:"
            f" {some(_addresses(lost))}",
            "Wait for its end; until then these cannot take over.",
            {"nodes": _addresses(lost)},
        )
        return
    yield finding(
        "replica-cut",
        "medium",
        f"{plural(len(lost), 'replica has', 'replicas have')} no link to its primary{since}: {some(_addresses(lost))}",
        "They hold old data and may not take over: look whether the primary runs and takes masterauth's password.",
        {"nodes": {node.address: node.primary for node in lost}, "down_s": down_s},
    )


def _lag(seen: Topology) -> Iterator[Finding]:
    behind = [
        node for node in seen.nodes if node.role == "replica" and possible(node.lag_bytes) and not has_failed(node)
    ]
    slowest = max(behind, key=lambda node: node.lag_bytes or 0, default=None)
    lag = slowest.lag_bytes if slowest is not None else None
    if slowest is None or lag is None or lag < LAG_BYTES:
        return
    yield finding(
        "replica-behind",
        "high" if lag >= LAG_MUCH_BYTES else "medium",
        f"Replica {slowest.address} is {text.size(lag)} behind {slowest.primary}",
        "A failover would lose these writes: look at that host and the network between.",
        {"replica": slowest.address, "primary": slowest.primary, "lag_bytes": lag},
    )


def _orphans(seen: Topology) -> Iterator[Finding]:
    known = {node.address: node for node in seen.nodes}
    lost = [
        node for node in seen.nodes if node.role == "replica" and not has_failed(node) and node.primary not in known
    ]
    chained = [
        node
        for node in seen.nodes
        if node.role == "replica" and (above := known.get(node.primary)) is not None and above.role == "replica"
    ]
    for nodes, name, words in (
        (lost, "replica-orphaned", "follows a primary that is not in the cluster"),
        (chained, "replica-chained", "follows another replica: it serves no slot and cannot take over"),
    ):
        if nodes:
            yield finding(
                name,
                "medium",
                f"{nodes[0].address} {words}" + (f" (and {len(nodes) - 1} more)" if len(nodes) > 1 else ""),
                "Let it follow a primary with CLUSTER REPLICATE ID.",
                {"nodes": _addresses(nodes)},
            )
