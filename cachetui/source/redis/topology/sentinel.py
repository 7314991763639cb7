"""The groups that a Sentinel watches, to `Topology`."""

from __future__ import annotations

from cachetui.model import Identity, Node, Topology
from cachetui.source.redis.replies import as_bytes, as_int, as_list, as_map, as_text
from cachetui.source.redis.topology.words import address_of

_MANY_GROUPS = 20


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
