"""A cluster as rows: a verdict, the slots as one bar, shard by shard who serves and who follows, with their figures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from cachetui import text
from cachetui.analysis.topology import is_checked, is_whole_cluster
from cachetui.model import Finding, HotSlot, Membership, Node, NodeFigures, Topology
from cachetui.model.slots import SLOTS, slots_of
from cachetui.ui.line import Line, Span, line
from cachetui.ui.table import Column, Row

COLUMNS = (
    Column("node", 24),
    Column("state", 14),
    Column("keys", 6, "right"),
    Column("memory", 7, "right"),
    Column("ops/s", 6, "right", wide_only=64),
    Column("hits", 6, "right", wide_only=76),
    Column("lag", 7, "right"),
    Column("evicted", 8, "right", wide_only=100),
    Column("in/s", 7, "right", wide_only=130),
    Column("out/s", 7, "right", wide_only=130),
    Column("epoch", 6, "right", wide_only=130),
    Column("version", 8, wide_only=110),
    Column("slots", 0, wide_only=96),
)
LAG_WARN_BYTES, LAG_BAD_BYTES = 1024**2, 10 * 1024**2
FULL_WARN_PERCENT = 85.0
PROBLEMS = 4
"""Problems that are told above the nodes; the Findings view has them all."""
_STYLES = {"high": "bad", "medium": "warn", "low": "muted"}
_SIGNS = {"high": "!!", "medium": "! ", "low": "i "}


def concerns(topology: Topology) -> bool:
    """Tell whether all nodes of a cluster were asked."""
    return is_whole_cluster(topology)


def head(
    topology: Topology, findings: Sequence[Finding], width: int, height: int, *, ascii_only: bool = False
) -> list[Line]:
    """Return the verdict, the bar of the slots, and the worst problems with what to do."""
    found = [one for one in findings if one.id.startswith("cluster-")]
    lines = [_verdict(topology, found, width), coverage(topology, width, ascii_only=ascii_only)]
    room = max(0, height - len(lines) - len(topology.nodes) - 2)
    told = [one for one in found if is_checked(one)] or found
    for one in told[:PROBLEMS] if room >= 2 else told[:1]:
        lines.append(line((text.fit(f"{_SIGNS[one.priority]} {one.issue}", width), _STYLES[one.priority])))
        if len(lines) < 2 + room and is_checked(one):
            lines.append(line((text.fit(f"   {one.action}", width), "muted")))
    return lines


def _verdict(topology: Topology, found: Sequence[Finding], width: int) -> Line:
    """Return whether it is healthy, in a line: its first word says so."""
    wrong = [one for one in found if is_checked(one)]
    served = sum(len(slots_of(node.slots)) for node in topology.nodes if "fail" not in node.state.split(","))
    answering = sum(bool(node.member and node.member.told) for node in topology.nodes)
    shards = sum(node.role == "primary" and bool(node.slots) for node in topology.nodes)
    about = f"{shards} shard{'s' * (shards != 1)}, {answering} of {len(topology.nodes)} nodes answer, "
    about += f"{min(served, SLOTS):,} of {SLOTS:,} slots served"
    if not wrong:
        return line(("healthy", "ok bold"), (text.fit(f": {about}", width - 7), ""))
    worst = "bad" if wrong[0].priority == "high" else "warn"
    word = "broken" if worst == "bad" else "at risk"
    problems = f"{len(wrong)} problem{'s' * (len(wrong) != 1)}"
    return line((word, f"{worst} bold"), (text.fit(f": {problems}; {about}", width - len(word)), ""))


def coverage(topology: Topology, width: int, *, ascii_only: bool = False) -> Line:
    """Return all slots as one bar: shards take turns in two shades; what is not served, open or lost has its sign."""
    cells = max(8, width - 13)
    owners: list[int] = [-1] * SLOTS
    lost: set[int] = set()
    opened: set[int] = set()
    primaries = [node for node in topology.nodes if node.role == "primary"]
    for at, node in enumerate(node for node in primaries if node.slots):
        slots = slots_of(node.slots)
        for slot in slots:
            owners[slot] = at
        if node.state != "online":
            lost |= slots
    for node in topology.nodes:
        opened |= {one.slot for one in (node.member or Membership()).open_slots if 0 <= one.slot < SLOTS}
    drawn = [
        _cell(owners, lost, opened, at * SLOTS // cells, max(at * SLOTS // cells + 1, (at + 1) * SLOTS // cells))
        for at in range(cells)
    ]
    runs = [
        ("".join(sign for sign, _ in group), style)
        for style, group in ((style, list(group)) for style, group in groupby(drawn, key=lambda cell: cell[1]))
    ]
    percent = text.percent(100 * sum(owner >= 0 for owner in owners) / SLOTS, 0 if -1 not in owners else 1)
    shades = str.maketrans("▆▃", "#=") if ascii_only else {}
    return line(
        ("slots ", "muted"), *((signs.translate(shades), style) for signs, style in runs), (f" {percent}", "muted")
    )


def _cell(owners: Sequence[int], lost: set[int], opened: set[int], first: int, end: int) -> Span:
    """Return the sign of one part of the bar; the worst of its slots decides."""
    mine = owners[first:end]
    if -1 in mine:
        return ("x", "bad bold") if all(owner == -1 for owner in mine) else ("x", "bad")
    if any(slot in lost for slot in range(first, end)) if lost else False:
        return ("?", "bad")
    if any(first <= slot < end for slot in opened):
        return (">", "warn bold")
    return ("▆", "accent") if mine[0] % 2 == 0 else ("▃", "accent")


def rows(topology: Topology) -> list[Row]:
    """Return one row a node: each primary, then its replicas further to the right."""
    return [_row(node, topology.taken_at) for node in topology.nodes]


def _row(node: Node, now: float) -> Row:
    figures = node.figures or NodeFigures(node.address, node.role)
    dim = "muted" if figures.trouble else ""
    indent = "" if node.role == "primary" else "  "
    lag, lag_style = _lag(node)
    full = figures.full_percent
    memory_style = "warn" if full is not None and full >= FULL_WARN_PERCENT and not dim else dim
    slots = f"{len(slots_of(node.slots)):,}: {node.slots}" if node.slots else ""
    cells: tuple[Span, ...] = (
        (f"{indent}{node.address}" + (" *" if node.myself else ""), "title" if node.role == "primary" else ""),
        _state(node, figures, now),
        (text.count(figures.keys), dim),
        (text.size(figures.used_bytes), memory_style),
        (text.count(figures.ops_per_s), dim),
        (text.percent(figures.hit_percent, 0), dim),
        (lag, lag_style or dim),
        (text.rate(figures.evicted_per_s) if figures.evicted_per_s else text.count(figures.evicted_total), dim),
        (text.size(figures.net_in_per_s), dim),
        (text.size(figures.net_out_per_s), dim),
        (text.UNKNOWN if node.member is None or node.member.epoch is None else str(node.member.epoch), dim),
        (figures.version or text.UNKNOWN, dim),
        (slots, "muted"),
    )
    order = (
        node.address,
        node.state,
        figures.keys,
        figures.used_bytes,
        figures.ops_per_s,
        figures.hit_percent,
        node.lag_bytes,
        figures.evicted_total,
        figures.net_in_per_s,
        figures.net_out_per_s,
        node.member.epoch if node.member is not None else None,
        figures.version,
        len(slots_of(node.slots)),
    )
    return Row(node.node_id or node.address, cells, order, f"{node.address} {node.role} {node.state} {node.slots}")


def _state(node: Node, figures: NodeFigures, now: float) -> Span:
    """Return the state, and for one that is silent how old its figures are."""
    age = ""
    if figures.trouble and figures.taken_at is not None and now >= figures.taken_at:
        age = f" {text.duration(int(now - figures.taken_at))}"
    if node.state == "online":
        return (node.role, "ok" if node.role == "primary" else "")
    if node.state in ("syncing", "loading"):
        return (f"! {node.state}", "warn")
    return (f"! {node.state}{age}", "bad")


def _lag(node: Node) -> Span:
    if node.role != "replica":
        return ("", "")
    lag = node.lag_bytes
    style = "bad" if (lag or 0) >= LAG_BAD_BYTES else "warn" if (lag or 0) >= LAG_WARN_BYTES else ""
    return (text.size(lag) if lag is not None else text.duration(node.lag_s), style)


def detail(node: Node, width: int) -> list[Line]:
    """Return what is known of one node beside its row."""
    figures, member = node.figures or NodeFigures(node.address, node.role), node.member or Membership()
    where = f"{node.address} {member.hostname}".strip()
    of = f", replica of {node.primary}" if node.primary else ""
    lines = [
        line(("node ", "muted"), text.fit(f"{where}  {node.node_id[:12]}{of}  {', '.join(member.flags)}", width - 5))
    ]
    used = text.size(figures.used_bytes) + (f" of {text.size(figures.limit_bytes)}" if figures.limit_bytes else "")
    told = [
        f"up {text.duration(figures.uptime_s)}",
        f"memory {used}",
        f"clients {text.count(figures.clients)}",
        f"cpu {text.percent(figures.cpu_percent)}",
        f"in {text.size(figures.net_in_per_s)}/s out {text.size(figures.net_out_per_s)}/s",
        f"lag {text.size(node.lag_bytes)} {text.duration(node.lag_s)}" if node.role == "replica" else "",
    ]
    lines.append(line(text.fit("  ".join(filter(None, told)), width)))
    wrong = figures.trouble or "; ".join(member.differs[:2])
    if not wrong and member.not_connected_to:
        wrong = f"has no link to {', '.join(member.not_connected_to[:3])}"
    if not wrong and member.open_slots:
        wrong = f"{len(member.open_slots)} open slots"
    lines.append(line((text.fit(wrong, width), "bad")) if wrong else line(("Enter looks at this node alone", "muted")))
    return lines


def below(topology: Topology, width: int, room: int) -> list[Line]:
    """Return the hottest slots, where the servers count them and there is room."""
    hot = [slot for slot in topology.hot_slots if slot.cpu_per_s or slot.keys]
    if not hot or room < 3:
        return []
    lines = [line(("hottest slots", "muted"))]
    return lines + [line(text.fit(f"  {_hot(slot)}", width)) for slot in hot[: room - 1]]


def _hot(slot: HotSlot) -> str:
    share = "" if slot.cpu_per_s is None else f"  {text.percent(slot.cpu_per_s / 1e4, 2)} of a core"
    return f"{slot.slot:>5}  {slot.node:<21}  {text.count(slot.keys):>7} keys{share}"
