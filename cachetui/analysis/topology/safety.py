"""What would break next: shards without a spare, hosts that hold too much, nodes that are set up differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cachetui.analysis.topology.words import (
    figures,
    finding,
    has_failed,
    host_of,
    is_suspected,
    member,
    plural,
    primaries,
    replicas_of,
    some,
)
from cachetui.model import Finding, Node, Topology

_LESS_URGENT = frozenset(("timeout", "save", "appendonly", "cluster-slot-stats-enabled", "maxclients"))
"""Settings that are often different on purpose: between primaries and replicas, big hosts and small ones."""
LEAST_PRIMARIES = 3
"""With fewer there is no majority without the one that failed."""


def safety_checks(seen: Topology) -> Iterator[Finding]:
    """Yield what the cluster would not survive."""
    yield from _majority(seen)
    yield from _without_replicas(seen)
    yield from _same_host(seen)
    yield from _host_of_majority(seen)
    yield from _epochs(seen)
    yield from _drift(seen)
    yield from _versions(seen)


def _majority(seen: Topology) -> Iterator[Finding]:
    voters = [node for node in seen.nodes if node.role == "primary" and node.slots]
    # Without a majority nobody can be declared failed: then suspicion is all there is.
    lost = [node for node in voters if has_failed(node) or (is_suspected(node) and figures(node).trouble)]
    if len(voters) > 1 and 2 * (len(voters) - len(lost)) <= len(voters):
        yield finding(
            "no-majority",
            "high",
            f"{len(lost)} of {plural(len(voters), 'primary', 'primaries')} lost: no majority is left for a failover",
            "Start them again, or let replicas take over by CLUSTER FAILOVER TAKEOVER, which asks nobody.",
            {"primaries": len(voters), "failed": [node.address for node in lost]},
        )
    elif 0 < len(voters) < LEAST_PRIMARIES and any(replicas_of(seen, node) for node in voters):
        yield finding(
            "few-primaries",
            "low",
            f"Only {plural(len(voters), 'primary', 'primaries')}: if one fails, no majority is left for a failover",
            "Spread the slots over three primaries or more.",
            {"primaries": len(voters)},
        )


def _without_replicas(seen: Topology) -> Iterator[Finding]:
    bare = [
        node
        for node in primaries(seen, serving=True)
        if not any(not has_failed(one) and one.state != "no answer" for one in replicas_of(seen, node))
    ]
    if not bare:
        return
    some_have = len(bare) < len(primaries(seen, serving=True))
    # A cluster without any replicas is a choice; one shard without is an accident.
    yield finding(
        "no-replica",
        "medium" if some_have or any(node.role == "replica" for node in seen.nodes) else "low",
        f"{plural(len(bare), 'primary has', 'primaries have')} no working replica:"
        f" {some(node.address for node in bare)}",
        "If it is lost, its slots are served by nobody: add a replica (cachetui cluster add), "
        "or move one there with CLUSTER REPLICATE.",
        {"primaries": [node.address for node in bare]},
        [f"CLUSTER REPLICATE {node.node_id}" for node in bare[:4] if node.node_id],
    )


def _same_host(seen: Topology) -> Iterator[Finding]:
    hosts = {host_of(node) for node in seen.nodes}
    shared = [
        (node, primary)
        for primary in primaries(seen, serving=True)
        for node in replicas_of(seen, primary)
        if host_of(node) == host_of(primary)
    ]
    if not shared:
        return
    node, primary = shared[0]
    if len(hosts) == 1:
        words = f"All {len(seen.nodes)} nodes are on one host ({next(iter(hosts))}): when it is lost, everything is"
    else:
        more = f" (and {len(shared) - 1} more)" if len(shared) > 1 else ""
        words = f"Replica {node.address} is on the host of its primary {primary.address}{more}: both are lost together"
    yield finding(
        "same-host",
        "low" if len(hosts) == 1 else "medium",
        words,
        "Let replicas of different shards change places with CLUSTER REPLICATE, so that each is on another host."
        if len(hosts) > 1
        else "Fine for a test; else spread the nodes over hosts.",
        {"pairs": [[one.address, other.address] for one, other in shared], "hosts": len(hosts)},
    )


def _host_of_majority(seen: Topology) -> Iterator[Finding]:
    voters = primaries(seen, serving=True)
    hosts = Counter(map(host_of, voters))
    if len({host_of(node) for node in seen.nodes}) < 2 or len(voters) < LEAST_PRIMARIES:
        return
    host, count = hosts.most_common(1)[0]
    if 2 * count >= len(voters):
        yield finding(
            "host-of-majority",
            "medium",
            f"{count} of {len(voters)} primaries are on the host {host}: without it no majority is left for a failover",
            "Let a replica on another host take over with CLUSTER FAILOVER.",
            {"host": host, "primaries": count, "of": len(voters)},
        )


def _epochs(seen: Topology) -> Iterator[Finding]:
    by_epoch: dict[int, list[Node]] = {}
    for node in primaries(seen, serving=True):
        epoch = member(node).epoch
        if epoch:
            by_epoch.setdefault(epoch, []).append(node)
    same = {epoch: nodes for epoch, nodes in by_epoch.items() if len(nodes) > 1}
    if same:
        epoch, nodes = next(iter(same.items()))
        yield finding(
            "epoch-collision",
            "medium",
            f"Primaries share the configuration epoch {epoch}: {some(node.address for node in nodes)}",
            "If they claim the same slot nobody is believed. It ends by itself within seconds; "
            "if not, send CLUSTER BUMPEPOCH to one of them.",
            {"epochs": {str(epoch): [node.address for node in nodes] for epoch, nodes in same.items()}},
            [f"{nodes[0].address}> CLUSTER BUMPEPOCH"],
        )


def _drift(seen: Topology) -> Iterator[Finding]:
    known = [(node, dict(member(node).settings)) for node in seen.nodes if member(node).settings]
    names = list(dict.fromkeys(name for _, settings in known for name in settings))
    drifted: dict[str, dict[str, list[str]]] = {}
    for name in names:
        values: dict[str, list[str]] = {}
        for node, settings in known:
            if name in settings:
                values.setdefault(settings[name], []).append(node.address)
        if len(values) > 1:
            drifted[name] = values
    if not drifted:
        return
    urgent = [name for name in drifted if name not in _LESS_URGENT]
    told = [_drift_words(name, drifted[name]) for name in [*urgent, *(n for n in drifted if n not in urgent)]]
    yield finding(
        "config-drift",
        "medium" if urgent else "low",
        f"Nodes are set up differently: {'; '.join(told[:2])}"
        + (f" (and {len(told) - 2} more)" if len(told) > 2 else ""),
        "Set them alike on every node (press 0 for the settings): after a failover another node's count.",
        {"settings": drifted},
        _settling(drifted, urgent),
    )


def _common(values: dict[str, list[str]]) -> str:
    return max(values, key=lambda value: len(values[value]))


def _drift_words(name: str, values: dict[str, list[str]]) -> str:
    common = _common(values)
    value, nodes = next((value, nodes) for value, nodes in values.items() if value != common)
    return f"{name} is {_shown(value)} on {some(nodes, 1)}, {_shown(common)} on others"


def _shown(value: str) -> str:
    return value or '""'


def _settling(drifted: dict[str, dict[str, list[str]]], urgent: list[str]) -> list[str]:
    return [
        f"{node}> CONFIG SET {name} {_shown(_common(drifted[name]))}"
        for name in urgent
        for value, nodes in drifted[name].items()
        if value != _common(drifted[name])
        for node in nodes
    ][:8]


def _versions(seen: Topology) -> Iterator[Finding]:
    versions = Counter(figures(node).version for node in seen.nodes if figures(node).version)
    if len(versions) > 1:
        told = ", ".join(f"{count} of {version}" for version, count in versions.most_common())
        yield finding(
            "versions",
            "low",
            f"Nodes run different versions: {told}",
            "Fine while upgrading, replicas first; do not stay so: data goes from older to newer only.",
            {"versions": {str(version): count for version, count in versions.items()}},
        )
