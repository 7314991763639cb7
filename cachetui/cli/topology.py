"""`cachetui topology`: who is who; with `--check` all that is wrong, in words that say what to do."""

from __future__ import annotations

from collections.abc import Sequence

from cachetui.analysis.rules import findings
from cachetui.analysis.topology import is_checked, is_whole_cluster
from cachetui.cli.call import Call, poll_once
from cachetui.cli.output import columns, document, write_document, write_line, write_lines
from cachetui.cli.topology_groups import group_documents, group_lines, replication_document
from cachetui.model import Evidence, Finding, HotSlot, Node, NodeFigures, OpenSlot, Topology
from cachetui.text import UNKNOWN, clock, count, duration, percent, rate, size

CHECKED = 5
"""Commands that are shown for one finding."""


def topology(call: Call) -> int:
    """Print who is who; with `--check`, exit 1 when something is wrong."""
    target, _ = call.target()
    name, seen = poll_once(target, "topology")
    assert isinstance(seen, Topology)
    whole = is_whole_cluster(seen)
    found = findings(Evidence(seen.taken_at, name, topology=seen)) if whole else ()
    ok = not any(map(is_checked, found)) if whole else not seen.problems
    if call.json:
        write_document(_document(name, seen, found, ok=ok))
    elif whole:
        _write_cluster(seen, found, checking=call.options.check)
    else:
        _write_servers(seen)
    return int(call.options.check and not ok)


# As text


def _write_servers(seen: Topology) -> None:
    write_line(seen.summary or f"{seen.server.kind} {seen.server.mode}")
    write_lines(f"  {line}" for line in columns([_node_row(node) for node in seen.nodes], "lllll"))
    write_lines(f"  {name}: {value}" for name, value in seen.facts)
    write_lines(group_lines(seen))
    write_lines(f"problem: {problem}" for problem in seen.problems)


def _node_row(node: Node) -> tuple[str, ...]:
    behind = _behind(node)
    more = [
        f"lag {behind}" if behind else "",
        f"of {node.primary}" if node.primary else "",
        f"slots {node.slots}" if node.slots else "",
        f"{count(node.keys)} keys" if node.keys is not None else "",
        node.version or "",
        node.note,
    ]
    return ("*" if node.myself else " ", node.address, node.role, node.state, ", ".join(filter(None, more)))


def _behind(node: Node) -> str:
    lag = [
        size(node.lag_bytes) if node.lag_bytes is not None else "",
        duration(node.lag_s) if node.lag_s is not None else "",
    ]
    return " ".join(filter(None, lag))


def _write_cluster(seen: Topology, found: Sequence[Finding], *, checking: bool) -> None:
    write_line(seen.summary)
    rows = [("", "node", "role", "state", "keys", "memory", "ops/s", "hits", "lag", "slots"), *map(_row, _known(seen))]
    write_lines(f"  {line.rstrip()}" for line in columns(rows, "llllrrrrrl"))
    write_lines(f"  {name}: {value}" for name, value in seen.facts)
    if not checking:
        write_lines(f"problem: {one.issue}" for one in found if is_checked(one))
        return
    for one in found:
        write_line(f"{'problem' if is_checked(one) else 'note'} ({one.priority}): {one.issue}")
        write_line(f"  {one.action}")
        write_lines(f"    {command}" for command in one.commands[:CHECKED])
    if not any(map(is_checked, found)):
        write_line(f"ok: all slots are covered, all {len(seen.nodes)} nodes answer and agree")


def _known(seen: Topology) -> list[tuple[Node, NodeFigures, float]]:
    return [(node, node.figures or NodeFigures(node.address, node.role), seen.taken_at) for node in seen.nodes]


def _row(known: tuple[Node, NodeFigures, float]) -> tuple[str, ...]:
    node, figures, now = known
    stale = ""
    if figures.trouble:
        stale = f" (figures of {clock(figures.taken_at, now)})" if figures.taken_at is not None else " (never heard)"
    return (
        "*" if node.myself else "",
        ("  " if node.role == "replica" else "") + node.address,
        node.role,
        node.state + stale,
        count(figures.keys),
        size(figures.used_bytes) + (f"/{size(figures.limit_bytes)}" if figures.limit_bytes else ""),
        rate(figures.ops_per_s).removesuffix("/s") if figures.ops_per_s is not None else UNKNOWN,
        percent(figures.hit_percent),
        _behind(node) or UNKNOWN,
        node.slots,
    )


# As JSON


def _document(name: str, seen: Topology, found: Sequence[Finding], *, ok: bool) -> dict[str, object]:
    server = seen.server
    head = document("topology", name, seen.taken_at)
    head["server"] = {"kind": server.kind, "version": server.version, "mode": server.mode, "role": server.role}
    problems = [one.issue for one in found if is_checked(one)] if found else list(seen.problems)
    return {
        **head,
        "ok": ok,
        "summary": seen.summary,
        "problems": problems,
        "findings": [_finding_document(one) for one in found],
        "nodes": [_node_document(node) for node in seen.nodes],
        "groups": group_documents(seen),
        "hotSlots": [_hot_document(slot) for slot in seen.hot_slots],
        "facts": dict(seen.facts),
    }


def _finding_document(one: Finding) -> dict[str, object]:
    return {
        "id": one.id,
        "priority": one.priority,
        "issue": one.issue,
        "action": one.action,
        "evidence": one.evidence,
        "commands": list(one.commands),
    }


def _node_document(node: Node) -> dict[str, object]:
    known: dict[str, object] = {
        "address": node.address,
        "role": node.role,
        "state": node.state,
        "myself": node.myself,
        "id": node.node_id or None,
        "primary": node.primary or None,
        "offset": node.offset,
        "lagBytes": node.lag_bytes,
        "lagSeconds": node.lag_s,
        "slots": node.slots or None,
        "version": node.version,
        "keys": node.keys,
        "usedBytes": node.used_bytes,
        "limitBytes": node.limit_bytes,
        "clients": node.clients,
        "note": node.note,
    }
    if (own := replication_document(node)) is not None:
        known["replication"] = own
    if node.figures is not None:
        known |= _figures_document(node.figures)
    if node.member is not None:
        member = node.member
        known |= {
            "flags": list(member.flags),
            "epoch": member.epoch,
            "hostname": member.hostname or None,
            "clusterState": member.state or None,
            "linkUp": member.link_up,
            "openSlots": [_open_document(one) for one in member.open_slots],
            "differs": list(member.differs),
            "doubtedBy": list(member.doubted_by),
            "notConnectedTo": list(member.not_connected_to),
        }
    return known


def _figures_document(figures: NodeFigures) -> dict[str, object]:
    return {
        "figuresAt": figures.taken_at,
        "trouble": figures.trouble or None,
        "uptimeSeconds": figures.uptime_s,
        "opsPerSecond": figures.ops_per_s,
        "hitPercent": None if figures.hit_percent is None else round(figures.hit_percent, 2),
        "evictedTotal": figures.evicted_total,
        "evictedPerSecond": figures.evicted_per_s,
        "netInBytesPerSecond": figures.net_in_per_s,
        "netOutBytesPerSecond": figures.net_out_per_s,
    }


def _open_document(one: OpenSlot) -> dict[str, object]:
    return {"slot": one.slot, "way": one.way, "other": one.other, "known": one.known}


def _hot_document(slot: HotSlot) -> dict[str, object]:
    return {
        "slot": slot.slot,
        "node": slot.node,
        "keys": slot.keys,
        "cpuMicroseconds": slot.cpu_us,
        "netInBytes": slot.net_in_bytes,
        "netOutBytes": slot.net_out_bytes,
    }
