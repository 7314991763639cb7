"""Replication, Cluster and Sentinel as seen from one server, to `Topology`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cachetui.model import Identity, Node, Topology
from cachetui.source.redis.info import Info, parse_replicas, role_word
from cachetui.source.redis.replies import as_bytes, as_int, as_list, as_map, as_text
from cachetui.text import duration, size

SLOTS = 16384
_MANY_GROUPS = 20


def address_of(host: str, port: object) -> str:
    """Return `host:port`, with brackets for IPv6.

    >>> address_of("::1", "6379"), address_of("10.0.0.1", 7000)
    ('[::1]:6379', '10.0.0.1:7000')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def replication(info: Info, server: Identity, taken_at: float) -> Topology:
    """Return a primary with its replicas, or a replica with its primary, from INFO replication."""
    if server.role == "replica":
        return _replica(info, server, taken_at)
    offset = info.number("master_repl_offset")
    replicas, problems = [], []
    for parts in parse_replicas(info):
        address = address_of(parts.get("ip", "?"), parts.get("port", "?"))
        state, at = parts.get("state", "?"), as_int(parts.get("offset"))
        lag = max(0, offset - at) if offset is not None and at is not None else None
        lag_s = as_int(parts.get("lag"))
        replicas.append(Node(address, "replica", state, primary=server.address, offset=at, lag_bytes=lag, lag_s=lag_s))
        if state != "online":
            problems.append(f"replica {address} is not online: {state}")
        elif lag_s is not None and lag_s > 10:
            problems.append(f"replica {address} has not answered for {duration(lag_s)}")
    me = Node(server.address, server.role or "server", myself=True, offset=offset, version=server.version)
    number = len(replicas)
    summary = "primary without replicas" if not number else f"primary with {number} replica{'s' * (number != 1)}"
    if server.role is None:
        summary = "role unknown"
    facts = _named(info, "master_replid", "repl_backlog_active", "second_repl_offset")
    for name in ("repl_backlog_size", "repl_backlog_histlen"):
        if (value := info.number(name)) is not None:
            facts += ((name, size(value)),)
    return Topology(taken_at, server, (me, *replicas), summary, tuple(problems), facts)


def _replica(info: Info, server: Identity, taken_at: float) -> Topology:
    primary = address_of(info.fields.get("master_host", "?"), info.fields.get("master_port", "?"))
    up = info.fields.get("master_link_status") == "up"
    down_s = info.age("master_link_down_since_seconds")
    problems = []
    if not up:
        since = f" for {duration(down_s)}" if down_s is not None else ""
        problems.append(f"the link to the primary {primary} is down{since}")
    if info.flag("master_sync_in_progress"):
        left = info.number("master_sync_left_bytes")
        problems.append("a full synchronisation is running" + (f": {size(left)} left" if left and left > 0 else ""))
    offset = info.number("slave_repl_offset")
    me = Node(
        server.address,
        "replica",
        "online" if up else "link down",
        myself=True,
        primary=primary,
        offset=offset,
        lag_s=info.age("master_last_io_seconds_ago"),
        version=server.version,
    )
    above = Node(primary, "primary", "online" if up else "unknown", note="as this replica sees it")
    below = tuple(
        Node(
            address_of(parts.get("ip", "?"), parts.get("port", "?")),
            "replica",
            parts.get("state", "?"),
            primary=server.address,
            offset=as_int(parts.get("offset")),
            lag_s=as_int(parts.get("lag")),
        )
        for parts in parse_replicas(info)
    )
    summary = f"replica of {primary}, link {'up' if up else 'down'}"
    facts = _named(info, "slave_read_only", "slave_priority", "master_replid")
    return Topology(taken_at, server, (above, me, *below), summary, tuple(problems), facts)


def from_role(reply: object, server: Identity, taken_at: float) -> Topology:
    """Return what ROLE tells where INFO is denied."""
    parts = as_list(reply)
    word = role_word(parts[0]) if parts else None
    if word == "replica" and len(parts) >= 5:
        primary = address_of(as_text(parts[1]), as_int(parts[2]))
        state = as_text(parts[3])
        nodes: tuple[Node, ...] = (
            Node(primary, "primary", "online" if state == "connected" else "unknown", note="as this replica sees it"),
            Node(server.address, "replica", state, myself=True, primary=primary, offset=as_int(parts[4])),
        )
        problems = () if state == "connected" else (f"the link to the primary {primary} is not up: {state}",)
        return Topology(taken_at, server, nodes, f"replica of {primary}, {state}", problems)
    offset = as_int(parts[1]) if len(parts) > 1 else None
    me = Node(server.address, word or "server", myself=True, offset=offset)
    replicas = []
    for entry in as_list(parts[2]) if len(parts) > 2 else []:
        host, port, at = [*as_list(entry), None, None, None][:3]
        where, seen = address_of(as_text(host), as_text(port)), as_int(at)
        lag = max(0, offset - seen) if offset is not None and seen is not None else None
        replicas.append(Node(where, "replica", primary=server.address, offset=seen, lag_bytes=lag))
    number = len(replicas)
    summary = f"{word or 'role unknown'}, {number} replica{'s' * (number != 1)}"
    return Topology(taken_at, server, (me, *replicas), summary)


def _named(info: Info, *names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, info.fields[name]) for name in names if name in info.fields)


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


def as_text_lines(reply: object) -> list[str]:
    """Return a text reply's lines, each printable."""
    return [as_text(line.strip(b"\r")) for line in as_bytes(reply).split(b"\n") if line.strip()]


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


def sentinel_names(masters: object) -> list[bytes]:
    """Return the names of the groups a Sentinel watches, at most twenty."""
    names = [as_bytes(_lookup(entry, b"name")) for entry in as_list(masters)]
    return [name for name in names if name][:_MANY_GROUPS]


def _lookup(entry: object, wanted: bytes) -> object:
    return as_map(entry).get(wanted.decode())


def sentinel(
    masters: object, groups: dict[bytes, tuple[object, object]], server: Identity, taken_at: float
) -> Topology:
    """Return the groups a Sentinel watches; `groups` holds SENTINEL REPLICAS and SENTINELS by name."""
    me = Node(server.address, "sentinel", myself=True, version=server.version)
    nodes, problems, facts, seen = [me], [], [], 0
    for entry in as_list(masters):
        about = as_map(entry)
        name = as_text(about.get("name"), 100)
        seen += 1
        primary = _watched(about, "primary", name, "")
        nodes.append(primary)
        replicas, sentinels = groups.get(as_bytes(about.get("name")), ((), ()))
        members = [_watched(as_map(one), "replica", name, primary.address) for one in as_list(replicas)]
        members += [_watched(as_map(one), "sentinel", name, primary.address) for one in as_list(sentinels)]
        nodes += members
        problems += [
            f"group {name}: {node.role} {node.address} is {node.state}"
            for node in (primary, *members)
            if node.state != "online"
        ]
        quorum, others = as_int(about.get("quorum")), as_int(about.get("num-other-sentinels"))
        facts.append((f"{name} quorum", f"{quorum} of {(others or 0) + 1} sentinels"))
        facts.append((f"{name} epoch", as_text(about.get("config-epoch"))))
        if quorum is not None and others is not None and others + 1 < quorum:
            problems.append(f"group {name}: a quorum of {quorum} cannot be reached by {others + 1} sentinels")
    summary = f"Sentinel watching {seen} group{'s' * (seen != 1)}"
    return Topology(taken_at, server, tuple(nodes), summary, tuple(problems), tuple(facts))


def _watched(about: dict[str, object], role: str, group: str, primary: str) -> Node:
    flags = as_text(about.get("flags")).split(",")
    bad = [flag for flag in flags if flag in ("s_down", "o_down", "disconnected", "failover_in_progress")]
    return Node(
        address_of(as_text(about.get("ip"), 200), as_text(about.get("port"), 8)),
        role,
        ",".join(bad) or "online",
        node_id=as_text(about.get("runid"), 64),
        primary=primary,
        offset=as_int(about.get("slave-repl-offset")),
        note=f"group {group}",
    )
