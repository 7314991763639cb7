"""A cluster as all of its nodes see it, to one `Topology`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cachetui.model import HotSlot, Identity, Membership, Node, NodeFigures, OpenSlot, Topology
from cachetui.model.slots import SLOTS, slots_of, slots_text
from cachetui.source.redis.info import Info, parse_replicas
from cachetui.source.redis.replies import as_int
from cachetui.source.redis.topology.view import ABSENT, FAILED, ClusterView, MemberLine
from cachetui.source.redis.topology.words import address_of

SHOWN_RANGES = 4
"""Ranges of slots that a sentence names."""
HOT_SLOTS = 20
_FACTS = ("cluster_state", "cluster_size", "cluster_known_nodes", "cluster_current_epoch")


@dataclass(frozen=True, slots=True)
class Told:
    """What one node said when it was asked."""

    at: float
    """Unix seconds."""
    view: ClusterView
    about: Mapping[str, str] = field(default_factory=dict)
    """CLUSTER INFO; empty where it is denied."""
    info: Info = field(default_factory=Info)
    settings: tuple[tuple[str, str], ...] = ()
    hot_slots: tuple[HotSlot, ...] = ()
    figures: NodeFigures | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """The newest that is known from one node, and why there is nothing newer."""

    told: Told | None
    trouble: str = ""


def reference(views: Sequence[ClusterView]) -> ClusterView:
    """Return the view that most nodes share; of several the first."""
    if not views:
        return ClusterView({})
    shared = Counter(view.signature() for view in views)
    best = max(shared.values())
    return next(view for view in views if shared[view.signature()] == best)


def whole(
    heard: Mapping[str, Heard],
    guide: ClusterView,
    *,
    here: str,
    server: Identity,
    taken_at: float,
) -> Topology:
    """Return the cluster from what its nodes said: `heard` by node id; `guide` is a view that is surely there.

    `here` is the id of the node that we are connected to.
    """
    fresh = {node_id: one.told for node_id, one in heard.items() if one.told is not None and not one.trouble}
    common = reference([told.view for told in fresh.values()] or [guide])
    lines = _lines(fresh, common, guide)
    places = {node_id: line.address for node_id, line in lines.items()}
    doubts = _doubts(fresh, places)
    nodes = [
        _node(line, heard.get(node_id, Heard(None)), places, common, doubts, is_here=node_id == here)
        for node_id, line in lines.items()
    ]
    nodes = _with_lag(nodes, {node_id: told.info for node_id, told in fresh.items()})
    lowest = {node.address: min(slots_of(node.slots), default=SLOTS) for node in nodes if node.role == "primary"}
    nodes.sort(key=lambda node: _place_in(node, lowest))
    about = next((told.about for told in fresh.values() if told.view is common), {})
    hot = [replace(slot, node=places.get(node_id, "")) for node_id, told in fresh.items() for slot in told.hot_slots]
    hot = sorted((slot for slot in hot if slot.cpu_us or slot.keys), key=_heat, reverse=True)
    return Topology(
        taken_at,
        server,
        tuple(nodes),
        _summary(nodes),
        tuple(_problems(nodes)),
        tuple((name, about[name]) for name in _FACTS if name in about),
        hot_slots=tuple(hot[:HOT_SLOTS]),
    )


def _heat(slot: HotSlot) -> tuple[float, float, float]:
    return (slot.cpu_per_s or 0.0, float(slot.cpu_us or 0), float(slot.keys or 0))


def _lines(fresh: Mapping[str, Told], common: ClusterView, guide: ClusterView) -> dict[str, MemberLine]:
    """Return every node once: by its own word, else by the common view's, else by anybody's."""
    found: dict[str, MemberLine] = {}
    for view in (common, guide, *(told.view for told in fresh.values())):
        for node_id, line in view.lines.items():
            if "handshake" not in line.flags or view is common:
                found.setdefault(node_id, line)
    for node_id, told in fresh.items():
        own, by_others = told.view.me, found.get(node_id)
        if own is not None:
            # Only the others know under which address it can be reached.
            address = by_others.address if by_others is not None and by_others.known_place else own.address
            flags = own.flags | (by_others.flags & FAILED if by_others is not None else frozenset())
            found[node_id] = replace(own, address=address or own.address, flags=flags)
    return found


def _doubts(fresh: Mapping[str, Told], places: Mapping[str, str]) -> dict[str, tuple[list[str], list[str]]]:
    """Return by node id who holds it for failed, and who has no link to it."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for viewer, told in fresh.items():
        for node_id, line in told.view.lines.items():
            if node_id == viewer:
                continue
            if line.flags & FAILED:
                found.setdefault(node_id, ([], []))[0].append(places.get(viewer, viewer))
            elif not line.connected and not line.flags & ABSENT:
                found.setdefault(viewer, ([], []))[1].append(places.get(node_id, node_id))
    return found


def _node(
    line: MemberLine,
    heard: Heard,
    places: Mapping[str, str],
    common: ClusterView,
    doubts: Mapping[str, tuple[list[str], list[str]]],
    *,
    is_here: bool,
) -> Node:
    told = heard.told if not heard.trouble else None
    info = told.info if told is not None else Info()
    doubted, cut = doubts.get(line.node_id, ((), ()))
    link = info.fields.get("master_link_status")
    member = Membership(
        flags=tuple(sorted(line.flags - {"myself", "noflags"})),
        epoch=line.epoch,
        hostname=line.hostname,
        open_slots=tuple(
            OpenSlot(slot, way, places.get(other, other), other in places) for slot, way, other in line.open_slots
        ),
        state=told.about.get("cluster_state", "") if told is not None else "",
        differs=tuple(_differences(told.view, common, places)) if told is not None else (),
        doubted_by=tuple(sorted(doubted)),
        not_connected_to=tuple(sorted(cut)),
        link_up=None if link is None else link == "up",
        link_down_s=info.age("master_link_down_since_seconds"),
        sync_running=info.flag("master_sync_in_progress"),
        settings=heard.told.settings if heard.told is not None else (),
        told=told is not None,
    )
    figures = heard.told.figures if heard.told is not None else None
    if figures is None:
        figures = NodeFigures(line.address, line.role, line.node_id)
    figures = replace(figures, address=line.address, role=line.role, node_id=line.node_id, trouble=heard.trouble)
    offset = info.number("slave_repl_offset") if line.role == "replica" else info.number("master_repl_offset")
    return Node(
        line.address or "?",
        line.role,
        _state(line, heard, info),
        myself=is_here,
        node_id=line.node_id,
        primary=places.get(line.primary_id, "") if line.primary_id else "",
        offset=offset,
        lag_s=info.age("master_last_io_seconds_ago") if line.role == "replica" else None,
        slots=line.slots,
        version=figures.version,
        keys=figures.keys,
        used_bytes=figures.used_bytes,
        limit_bytes=figures.limit_bytes,
        hits_total=figures.hits_total,
        misses_total=figures.misses_total,
        clients=figures.clients,
        figures=figures,
        member=member,
    )


def _state(line: MemberLine, heard: Heard, info: Info) -> str:
    """Return the node's state in a word or two; what the cluster holds of it comes before what we see."""
    bad = [flag for flag in ("fail", "fail?", "noaddr", "handshake") if flag in line.flags]
    if bad:
        return ",".join(bad)
    if heard.trouble:
        return "no answer"
    if info.flag("loading"):
        return "loading"
    if line.role == "replica" and info.fields.get("master_link_status") not in (None, "up"):
        return "syncing" if info.flag("master_sync_in_progress") else "link down"
    return "online"


def _differences(view: ClusterView, common: ClusterView, places: Mapping[str, str]) -> list[str]:
    """Return in words how a view differs from the common one."""
    if view.signature() == common.signature():
        return []
    mine, theirs = _owners(view), _owners(common)
    ways: dict[tuple[str, str], set[int]] = {}
    for slot in mine.keys() | theirs.keys():
        if mine.get(slot) != theirs.get(slot):
            ways.setdefault((mine.get(slot, ""), theirs.get(slot, "")), set()).add(slot)

    def named(node_id: str) -> str:
        return f"at {places.get(node_id, node_id)}" if node_id else "at nobody"

    return [
        f"sees {'slot' if len(slots) == 1 else 'slots'} {slots_text(slots, SHOWN_RANGES)} {named(here)},"
        f" where most see {'it' if len(slots) == 1 else 'them'} {named(there)}"
        for (here, there), slots in sorted(ways.items(), key=lambda item: min(item[1]))
    ]


def _owners(view: ClusterView) -> dict[int, str]:
    return {slot: line.node_id for line in view.lines.values() for slot in slots_of(line.slots)}


def _with_lag(nodes: Sequence[Node], infos: Mapping[str, Info]) -> list[Node]:
    """Return the nodes with how far each replica is behind: by its primary's word, else by both offsets."""
    by_address = {node.address: node for node in nodes}
    found = []
    for node in nodes:
        above = by_address.get(node.primary)
        if node.role != "replica" or above is None or above.node_id not in infos:
            found.append(node)
            continue
        said = next((p for p in parse_replicas(infos[above.node_id]) if _is_it(p, node)), {})
        at = as_int(said.get("offset"))
        at = node.offset if at is None else at
        end = infos[above.node_id].number("master_repl_offset")
        lag = max(0, end - at) if end is not None and at is not None else None
        lag_s = as_int(said.get("lag"))
        found.append(replace(node, lag_bytes=lag, lag_s=node.lag_s if lag_s is None else lag_s))
    return found


def _is_it(parts: Mapping[str, str], node: Node) -> bool:
    where = address_of(parts.get("ip", "?"), parts.get("port", "?"))
    port = node.address.rpartition(":")[2]
    hostname = node.member.hostname if node.member is not None else ""
    return where in (node.address, f"{hostname}:{port}")


def _place_in(node: Node, lowest: Mapping[str, int]) -> tuple[int, str, bool, str]:
    """Order shards by their lowest slot, the primary first; who follows nobody known comes last."""
    above = node.address if node.role == "primary" else node.primary
    return lowest.get(above, SLOTS + 1), above, node.role != "primary", node.address


def _summary(nodes: Sequence[Node]) -> str:
    served = len(frozenset().union(*(slots_of(node.slots) for node in nodes if "fail" not in node.state.split(","))))
    shards = sum(node.role == "primary" and bool(node.slots) for node in nodes)
    groups = f"{shards} shard{'s' * (shards != 1)}, {len(nodes)} node{'s' * (len(nodes) != 1)}"
    return f"cluster: {served} of {SLOTS} slots served, {groups}"


def _problems(nodes: Sequence[Node]) -> list[str]:
    """Return what is wrong, one short sentence each, the worst first; the check says more."""
    served = frozenset().union(*(slots_of(node.slots) for node in nodes if "fail" not in node.state.split(",")))
    found = [f"{SLOTS - len(served)} of {SLOTS} slots are not served by any node"] if len(served) < SLOTS else []
    for node in nodes:
        member = node.member or Membership()
        if node.state not in ("online", "syncing"):
            found.append(f"{node.role} {node.address} is {node.state.replace(',', ', ')}")
        found += [f"slot {one.slot} is being moved ({one.way}, {node.address})" for one in member.open_slots]
        found += [f"{node.address} {words}" for words in member.differs[:1]]
    return found
