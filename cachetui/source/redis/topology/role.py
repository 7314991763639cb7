"""The reply to ROLE, to `Topology`: for when INFO is denied."""

from __future__ import annotations

from cachetui.model import Identity, Node, Topology
from cachetui.source.redis.info import role_word
from cachetui.source.redis.replies import as_int, as_list, as_text
from cachetui.source.redis.topology.words import address_of


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
