"""Primaries and replicas as rows: who follows whom, how far behind, and what each is fit for."""

from __future__ import annotations

from collections.abc import Sequence

from cachetui import text
from cachetui.model import Node, Replication, Topology
from cachetui.ui.line import Line, Span, line
from cachetui.ui.table import Column, Row

COLUMNS = (
    Column("address", 24),
    Column("role", 8),
    Column("state", 14),
    Column("behind", 8, "right"),
    Column("heard", 6, "right"),
    Column("prio", 4, "right", wide_only=72),
    Column("version", 8, wide_only=100),
    Column("note", 0, wide_only=76),
)
LAG_WARN_BYTES = 1024**2
HEARD_WARN_S = 10


def concerns(topology: Topology) -> bool:
    """Tell whether it is about primaries and replicas, or Sentinels: not a cluster, not a fleet."""
    return topology.server.kind != "memcached" and topology.server.mode in ("standalone", "sentinel")


def rows(topology: Topology) -> list[Row]:
    """Return one row a server, a replica of a replica further to the right."""
    depths = _depths(topology.nodes)
    return [_row(node, depths[node.address]) for node in topology.nodes]


def _depths(nodes: Sequence[Node]) -> dict[str, int]:
    above = {node.address: node.primary for node in nodes}
    depths: dict[str, int] = {}
    for address in above:
        depth, at = 0, address
        while (at := above.get(at, "")) and depth < len(above):
            depth += 1
        depths[address] = depth
    return depths


def _row(node: Node, depth: int) -> Row:
    good = node.state == "online"
    state: Span = (node.state, "ok") if good else (f"! {node.state}", "bad")
    behind: Span = (text.size(node.lag_bytes) if node.primary else "", "")
    if (node.lag_bytes or 0) > LAG_WARN_BYTES:
        behind = (behind[0], "warn")
    heard: Span = (text.duration(node.lag_s) if node.primary else "", "")
    if (node.lag_s or 0) > HEARD_WARN_S:
        heard = (heard[0], "warn")
    own = node.replication
    priority = "" if own is None or own.priority is None or not node.primary else str(own.priority)
    cells: tuple[Span, ...] = (
        ("  " * depth + node.address + (" (this)" if node.myself else ""), ""),
        (node.role, ""),
        state,
        behind,
        heard,
        (priority, "warn" if priority == "0" else ""),
        (node.version or "", "muted"),
        (_note(node), "muted"),
    )
    order = (node.address, node.role, node.state, node.lag_bytes, node.lag_s, own.priority if own else None)
    return Row(node.node_id or node.address, cells, order, find=node.address)


def _note(node: Node) -> str:
    own = node.replication
    told = [node.note] if node.note else []
    if own is not None:
        told += _progress(own)
        if own.priority == 0 and node.primary:
            told.append("never promoted")
        if own.read_only is False:
            told.append("TAKES WRITES")
        if own.failover:
            told.append(own.failover)
    return ", ".join(told)


def _progress(own: Replication) -> list[str]:
    """Return how far a copy is that this server is sent, or sends."""
    told = []
    if own.sync_running:
        read = f"{text.size(own.sync_read_bytes)} read" if own.sync_read_bytes else "waiting for data"
        told.append(f"full copy: {read}" + (f", {own.sync_percent:.0f}%" if own.sync_percent is not None else ""))
    if own.loading_percent is not None:
        told.append(f"{own.loading_percent:.0f}% loaded")
    if own.saved_keys is not None and own.saved_of_keys:
        told.append(f"copies its keys: {100 * own.saved_keys / own.saved_of_keys:.0f}%")
    return told


def fact_lines(topology: Topology, width: int, room: int) -> list[Line]:
    """Return the facts that are no group's own, as many as there is room for."""
    groups = tuple(f"{group.name} " for group in topology.groups)
    facts = [(name, value) for name, value in topology.facts if not groups or not name.startswith(groups)]
    return [line((text.fit(name, 26), "muted"), text.fit(value, max(0, width - 26))) for name, value in facts[:room]]
