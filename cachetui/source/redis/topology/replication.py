"""Replication as one server sees it, to `Topology`."""

from __future__ import annotations

from cachetui.model import Identity, Node, Topology
from cachetui.source.redis.info import Info, parse_replicas, role_word
from cachetui.source.redis.replies import as_int, as_list, as_text
from cachetui.source.redis.topology.words import address_of
from cachetui.text import duration, size


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
