"""What the checks of a cluster say, state by state, and that no cluster makes them raise."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from cachetui import text
from cachetui.analysis.rules import findings
from cachetui.analysis.topology import cluster_findings, is_checked
from cachetui.model import (
    Evidence,
    Finding,
    HotSlot,
    Identity,
    Membership,
    Node,
    NodeFigures,
    OpenSlot,
    Stats,
    Topology,
)

SERVER = Identity("redis", "7.0.15", "cluster")
SLOTS = ("0-5460", "5461-10922", "10923-16383")
NOW = 1000.0


def primary(at: int, **changes: object) -> Node:
    return _node(f"10.0.0.{at + 1}:7000", "primary", slots=SLOTS[at], node_id=f"p{at}", **changes)


def replica(at: int, **changes: object) -> Node:
    return _node(f"10.0.1.{at + 1}:7000", "replica", primary=f"10.0.0.{at + 1}:7000", node_id=f"r{at}", **changes)


def _node(address: str, role: str, **changes: object) -> Node:
    member = {"epoch": 1, "state": "ok", "told": True, "link_up": True if role == "replica" else None}
    figures = {"taken_at": NOW, "version": "7.0.15", "used_bytes": 1000, "keys": 10, "limit_bytes": 0}
    for name in list(changes):
        if name in {field.name for field in dataclasses.fields(Membership)} - {"state"}:
            member[name] = changes.pop(name)
        elif name in {field.name for field in dataclasses.fields(NodeFigures)} - {"address", "role", "node_id"}:
            figures[name] = changes.pop(name)
    member["epoch"] = member["epoch"] if role == "replica" or member["epoch"] != 1 else int(address.split(".")[3][0])
    return Node(
        address,
        role,
        member=Membership(**member),  # type: ignore[arg-type]
        figures=NodeFigures(address, role, **figures),  # type: ignore[arg-type]
        **changes,  # type: ignore[arg-type]
    )


def cluster(*changed: Node, without: tuple[str, ...] = (), **more: object) -> Topology:
    """Return three shards on six hosts; `changed` take the places of the nodes with their addresses."""
    nodes = {node.address: node for at in range(3) for node in (primary(at), replica(at))}
    nodes |= {node.address: node for node in changed}
    kept = tuple(node for address, node in nodes.items() if address not in without)
    return Topology(NOW, SERVER, kept, **more)  # type: ignore[arg-type]


def checked(seen: Topology) -> dict[str, Finding]:
    return {one.id.removeprefix("cluster-"): one for one in cluster_findings(seen)}


def test_a_healthy_cluster_has_nothing() -> None:
    assert checked(cluster()) == {}
    assert cluster_findings(None) == () == cluster_findings(Topology(NOW, SERVER, (Node("a:1", "primary"),)))


def test_slots() -> None:
    found = checked(cluster(primary(1, state="fail", doubted_by=("10.0.0.1:7000",))))
    assert found["slots-uncovered"].evidence["slots"] == "5461-10922" and found["slots-uncovered"].priority == "high"
    assert "CLUSTER FAILOVER TAKEOVER" in found["slots-uncovered"].commands[0]
    assert found["primary-failed"].priority == "high"

    found = checked(cluster(dataclasses.replace(primary(0), slots="5-5460")))
    assert "5 slots are served by no node: 0-4" in found["slots-uncovered"].issue

    found = checked(cluster(dataclasses.replace(primary(0), slots="0-5470")))
    assert "10 slots are claimed by several primaries: 5461-5470" in found["slots-double"].issue

    found = checked(cluster(replica(1, differs=("sees slot 5 at a, where most see it at b",))))
    assert found["disagree"].issue.startswith("Nodes disagree about the slots: 10.0.1.2:7000 sees slot 5")


def test_open_slots() -> None:
    goes = OpenSlot(6000, "migrating", "10.0.0.3:7000")
    comes = OpenSlot(6000, "importing", "10.0.0.2:7000")
    whole = checked(cluster(primary(1, open_slots=(goes,)), primary(2, open_slots=(comes,))))["slots-open"]
    assert whole.priority == "medium" and "cut" not in whole.issue and "1 slot is open" in whole.issue
    half = checked(cluster(primary(1, open_slots=(goes,))))["slots-open"]
    assert "only one of the two nodes says so" in half.issue
    assert half.commands == ("10.0.0.2:7000> CLUSTER SETSLOT 6000 STABLE",)
    lost = checked(cluster(primary(1, open_slots=(OpenSlot(7, "importing", "abcdef0123456789", False),))))["slots-open"]
    assert lost.priority == "high" and "the unknown node abcdef012345" in lost.issue


def test_nodes() -> None:
    found = checked(cluster(primary(1, state="fail?", doubted_by=("10.0.0.1:7000", "10.0.0.3:7000"))))
    assert "10.0.0.1:7000 and 10.0.0.3:7000 cannot reach it" in found["suspected"].issue
    found = checked(cluster(replica(2, trouble="it timed out", taken_at=NOW - 90, told=False, state="no answer")))
    assert "10.0.1.3:7000 does not answer us for 1m30s" in found["node-silent"].issue
    assert found["no-replica"].evidence["primaries"] == ["10.0.0.3:7000"]
    found = checked(cluster(primary(0, not_connected_to=("10.0.0.2:7000",))))
    assert "10.0.0.1:7000 does not reach 10.0.0.2:7000" in found["links-down"].issue
    found = checked(cluster(primary(0, state="online"), *(primary(at, trouble="", told=True) for at in (1, 2))))
    assert found == {}


def test_replicas() -> None:
    assert (
        "no link to its primary for 1m01s"
        in checked(cluster(replica(0, link_up=False, link_down_s=61)))["replica-cut"].issue
    )
    assert "replica-syncing" in checked(cluster(replica(0, link_up=False, sync_running=True)))
    behind = checked(cluster(dataclasses.replace(replica(0), lag_bytes=200 * 1024**2)))["replica-behind"]
    assert behind.priority == "high" and "200MB behind 10.0.0.1:7000" in behind.issue
    assert checked(cluster(without=("10.0.1.1:7000",)))["no-replica"].priority == "medium"
    assert "replica-orphaned" in checked(cluster(dataclasses.replace(replica(0), primary="10.9.9.9:1")))
    assert "replica-chained" in checked(cluster(dataclasses.replace(replica(0), primary="10.0.1.2:7000")))


def test_safety() -> None:
    beside = dataclasses.replace(replica(0), address="10.0.0.1:7001")
    shared = checked(cluster(beside, without=("10.0.1.1:7000",)))["same-host"]
    assert shared.priority == "medium" and "10.0.0.1:7001 is on the host of its primary" in shared.issue
    one_host = cluster()
    one_host = dataclasses.replace(one_host, nodes=tuple(_on_one_host(one_host.nodes)))
    assert checked(one_host)["same-host"].priority == "low" and not any(map(is_checked, cluster_findings(one_host)))
    crowd = checked(
        cluster(
            *(dataclasses.replace(primary(at), address=f"10.0.0.1:700{at}") for at in (1, 2)),
            without=("10.0.0.2:7000", "10.0.0.3:7000"),
        )
    )
    assert "3 of 3 primaries are on the host 10.0.0.1" in crowd["host-of-majority"].issue
    lost = [primary(at, state="fail?", trouble="x", doubted_by=("10.0.0.1:7000",), told=False) for at in (1, 2)]
    assert checked(cluster(*lost))["no-majority"].priority == "high"
    assert "epoch 9" in checked(cluster(primary(0, epoch=9), primary(1, epoch=9)))["epoch-collision"].issue


def _on_one_host(nodes: tuple[Node, ...]) -> list[Node]:
    def moved(address: str) -> str:
        parts = address.split(".")
        return f"127.0.0.1:{parts[2]}{parts[3][0]}00" if address else ""

    return [dataclasses.replace(node, address=moved(node.address), primary=moved(node.primary)) for node in nodes]


def test_drift_and_balance() -> None:
    drift = checked(cluster(*(primary(at, settings=(("maxmemory", "1gb" if at else "2gb"),)) for at in range(3))))
    assert drift["config-drift"].priority == "medium"
    assert drift["config-drift"].commands == ("10.0.0.1:7000> CONFIG SET maxmemory 1gb",)
    assert (
        checked(cluster(primary(0, settings=(("save", "a"),)), primary(1, settings=(("save", ""),))))[
            "config-drift"
        ].priority
        == "low"
    )
    uneven = checked(
        cluster(primary(0, used_bytes=2 * 1024**3, keys=10**6), *(primary(at, used_bytes=1, keys=1) for at in (1, 2)))
    )
    assert "3.0 times the mean" in uneven["uneven-memory"].issue and uneven["uneven-keys"].priority == "medium"
    full = checked(cluster(primary(0, used_bytes=96, limit_bytes=100, evicted_per_s=5.0)))["node-full"]
    assert full.priority == "high" and "uses 96%" in full.issue and "evicts" in full.issue
    assert "node-crowded" in checked(cluster(replica(0, clients=9000, max_clients=10_000)))
    assert "no-slots" in checked(cluster(_node("10.0.2.1:7000", "primary", node_id="p9")))
    hot = cluster(
        hot_slots=(
            HotSlot(7, "10.0.0.1:7000", 3, 10**6, cpu_per_s=200_000.0),
            HotSlot(8, "10.0.0.1:7000", 3, 1, cpu_per_s=1.0),
        )
    )
    assert "Slot 7 on 10.0.0.1:7000 is hot: 20.0% of a core" in checked(hot)["hot-slot"].issue
    assert "2 of 7.2.0" in checked(cluster(replica(0, version="7.2.0"), replica(1, version="7.2.0")))["versions"].issue


def test_in_the_findings_sums_give_no_limits() -> None:
    stats = Stats(
        NOW, SERVER, used_bytes=101, maxmemory_bytes=100, policy="noeviction", nodes=(NodeFigures("a:1", "primary"),)
    )
    found = findings(Evidence(NOW, "x", stats, topology=cluster(dataclasses.replace(primary(0), slots="5-5460"))))
    assert found[0].priority == "high" and "cluster-slots-uncovered" in {one.id for one in found}
    commands = [command for one in found for command in one.commands if not one.id.startswith("cluster-")]
    assert commands and all(command.startswith("each node> ") for command in commands)
    assert not any("CONFIG SET maxmemory " in command for command in commands)


WORDS = st.sampled_from(["", "0-5460", "1,2,9-3", "99999", "x", "fail", "online", "fail?,noaddr", "a:1", "?:1"])
NUMBERS = st.none() | st.integers(-5, 2**64) | st.sampled_from([0, 10**400])
MEMBERS = st.builds(
    Membership,
    epoch=NUMBERS,
    open_slots=st.lists(st.builds(OpenSlot, st.integers(-9, 99999), WORDS, WORDS, st.booleans()), max_size=2).map(
        tuple
    ),
    differs=st.lists(WORDS, max_size=2).map(tuple),
    doubted_by=st.lists(WORDS, max_size=2).map(tuple),
    not_connected_to=st.lists(WORDS, max_size=2).map(tuple),
    link_up=st.none() | st.booleans(),
    link_down_s=NUMBERS,
    settings=st.lists(st.tuples(WORDS, WORDS), max_size=2).map(tuple),
    told=st.booleans(),
)
FIGURES = st.builds(
    NodeFigures,
    WORDS,
    WORDS,
    taken_at=st.none() | st.floats(),
    trouble=WORDS,
    keys=NUMBERS,
    used_bytes=NUMBERS,
    limit_bytes=NUMBERS,
    ops_per_s=st.none() | st.floats(),
    clients=NUMBERS,
    max_clients=NUMBERS,
)
NODES = st.builds(
    Node,
    WORDS,
    st.sampled_from(["primary", "replica", "x"]),
    WORDS,
    primary=WORDS,
    slots=WORDS,
    lag_bytes=NUMBERS,
    figures=st.none() | FIGURES,
    member=st.none() | MEMBERS,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(NODES, max_size=4))
def test_no_cluster_makes_the_checks_raise(nodes: list[Node]) -> None:
    hot = (HotSlot(1, "a:1", cpu_per_s=float("nan")), HotSlot(2, "a:1", cpu_per_s=1e9))
    seen = Topology(NOW, SERVER, tuple(nodes), hot_slots=hot)
    for one in findings(Evidence(NOW, "x", topology=seen)):
        assert one.issue.isprintable() and one.action.isprintable() and text.cells(one.issue) > 0
