"""A cluster as one of its nodes sees it, to `Topology`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cachetui.model import Identity, Node, Topology
from cachetui.model.slots import SLOTS
from cachetui.source.redis.replies import as_bytes, as_int, as_text
from cachetui.source.redis.topology.words import address_of, as_text_lines


def cluster(nodes_reply: object, info_reply: object, server: Identity, taken_at: float) -> Topology:
    """Return the cluster as CLUSTER NODES and CLUSTER INFO of one node describe it."""
    lines = [line.split() for line in as_bytes(nodes_reply).decode("utf-8", "replace").splitlines()]
    lines = [parts for parts in lines if len(parts) >= 8]
    by_id = {parts[0]: _node_address(parts[1], server) for parts in lines}
    nodes, problems, served = [], [], 0
    for parts in lines:
        node, here, trouble = _cluster_node(parts, by_id, server)
        nodes.append(node)
        problems += trouble
        served += here
    about = dict(_cluster_info(info_reply))
    if served < SLOTS:
        problems.insert(0, f"{SLOTS - served} of {SLOTS} slots are not served by any node")
    if about.get("cluster_state") not in (None, "ok"):
        problems.insert(0, f"cluster_state is {about['cluster_state']}")
    primaries = [node for node in nodes if node.role == "primary" and node.slots]
    shards = f"{len(primaries)} shard{'s' * (len(primaries) != 1)}, {len(nodes)} node{'s' * (len(nodes) != 1)}"
    summary = f"cluster node: {served} of {SLOTS} slots served, {shards}"
    ordered = sorted(nodes, key=lambda node: (node.primary or node.address, node.role != "primary", node.address))
    return Topology(taken_at, server, tuple(ordered), summary, tuple(problems), tuple(about.items()))


def _cluster_info(reply: object) -> list[tuple[str, str]]:
    wanted = ("cluster_state", "cluster_known_nodes", "cluster_size", "cluster_current_epoch", "cluster_my_epoch")
    lines = (line.partition(":") for line in as_text_lines(reply))
    return [(name, value) for name, colon, value in lines if colon and (name in wanted or "_fail" in name)]


def _node_address(text: str, server: Identity) -> str:
    """Return `host:port` of `host:port@bus,hostname`; a node that has no address yet is the asked one."""
    host_port = re.split("[@,]", text, maxsplit=1)[0]
    host, _, port = host_port.rpartition(":")
    if not host:
        return server.address if "myself" in text or not port else f"?:{as_text(port)}"
    return address_of(as_text(host), as_text(port))


def _cluster_node(parts: Sequence[str], by_id: dict[str, str], server: Identity) -> tuple[Node, int, list[str]]:
    node_id, _, flag_text, primary_id, _, _, epoch, link = parts[:8]
    flags = flag_text.split(",")
    myself = "myself" in flags
    address = server.address if myself and by_id[node_id].startswith("?") else by_id[node_id]
    role = "replica" if "slave" in flags or "replica" in flags else "primary"
    bad = [flag for flag in ("fail", "fail?", "noaddr", "handshake") if flag in flags]
    problems = []
    if bad:
        problems.append(f"{role} {address} is {', '.join(bad)}")
    elif link != "connected" and not myself:
        problems.append(f"{role} {address} is not connected")
    ranges = [part for part in parts[8:] if not part.startswith("[")]
    open_slots = [part for part in parts[8:] if part.startswith("[")]
    problems += [f"slot {as_text(part.strip('[]'))} is being moved" for part in open_slots]
    count = sum(_range_size(part) for part in ranges)
    node = Node(
        address,
        role,
        ",".join(bad) or ("online" if link == "connected" or myself else link),
        myself=myself,
        node_id=as_text(node_id),
        primary=by_id.get(primary_id, "") if primary_id != "-" else "",
        slots=",".join(as_text(part) for part in ranges),
        version=server.version if myself else None,
        note=f"epoch {as_text(epoch)}",
    )
    return node, 0 if "fail" in flags else count, problems


def _range_size(text: str) -> int:
    first, _, last = text.partition("-")
    begin, end = as_int(first), as_int(last or first)
    return end - begin + 1 if begin is not None and end is not None and end >= begin else 0
