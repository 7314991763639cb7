"""CLUSTER NODES, ROLE and SENTINEL replies, sound and broken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cachetui.model import Identity
from cachetui.source.redis import topology
from cachetui.source.redis.info import parse_info
from cachetui.source.redis.replies import as_map, pairs
from cachetui.source.redis.topology import opinions
from cachetui.source.redis.topology.opinions import View

SERVER = Identity("redis", "7.0.15", "cluster", "primary", address="10.0.0.1:7000")

NODES = b"""\
aaa 10.0.0.1:7000@17000,host-a myself,master - 0 0 3 connected 0-5460 [93->-bbb]
bbb 10.0.0.2:7000@17000 master,fail? - 0 0 2 connected 5461-10922 10924
ccc [::1]:7001@17001 slave aaa 0 0 3 disconnected
ddd :0@0 master,fail,noaddr - 0 0 1 disconnected 10925-16383
"""

REPLIES = st.recursive(
    st.none() | st.binary(max_size=30) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.binary(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def test_cluster_nodes_with_all_its_troubles() -> None:
    seen = topology.cluster(NODES, b"cluster_state:fail\r\ncluster_size:3\r\n", SERVER, 1.0)
    by_id = {node.node_id: node for node in seen.nodes}
    assert by_id["aaa"].myself and by_id["aaa"].slots == "0-5460"
    assert by_id["bbb"].state == "fail?" and by_id["bbb"].slots == "5461-10922,10924"
    assert by_id["ccc"].role == "replica" and by_id["ccc"].primary == "10.0.0.1:7000"
    problems = " / ".join(seen.problems)
    assert "cluster_state is fail" in problems and "5460 of 16384 slots are not served" in problems
    assert "slot 93->-bbb is being moved" in problems and "10.0.0.2:7000 is fail?" in problems
    assert "not connected" in problems and "fail, noaddr" in problems
    assert "3 shards, 4 nodes" in seen.summary


def test_role_of_a_primary_and_a_replica() -> None:
    primary = topology.from_role([b"master", 1000, [[b"10.0.0.2", b"6379", b"900"]]], SERVER, 1.0)
    assert primary.nodes[1].lag_bytes == 100 and primary.nodes[1].address == "10.0.0.2:6379"
    replica = topology.from_role([b"slave", b"10.0.0.9", 6379, b"connecting", -1], SERVER, 1.0)
    assert replica.problems and replica.nodes[0].address == "10.0.0.9:6379"


def test_maps_and_flat_lists_read_the_same() -> None:
    flat, mapped, nested = [b"a", 1, b"b", 2], {b"a": 1, b"b": 2}, [[b"a", 1], [b"b", 2]]
    assert as_map(flat) == as_map(mapped) == as_map(nested) == {"a": 1, "b": 2}
    assert list(pairs([b"lonely"])) == []


@given(REPLIES, REPLIES)
def test_no_reply_breaks_the_reading(one: object, two: object) -> None:
    topology.cluster(one, two, SERVER, 1.0)
    topology.from_role(one, SERVER, 1.0)
    group = opinions.read_group(one, (two, one, two, one))
    views = [View("h:1", groups={"g": group}), View("h:2", tilt=opinions.tilt_of(two))]
    groups = opinions.gathered(views, {"h:3": "silent"}, given=("h:1",))
    event = opinions.read_event(one, two, "h:1", 1.0)
    topology.sentinel(groups, (event,), SERVER, 1.0)
    topology.of_groups(groups, (), SERVER, 1.0)


@given(st.text(max_size=200), st.sampled_from(["primary", "replica", None]))
def test_no_info_breaks_the_reading(noise: str, role: str | None) -> None:
    server = Identity("redis", role=role, address="a:1")
    text = f"slave0:{noise}\r\nslave1:ip=x,state=online,offset={noise}\r\nmaster_host:{noise}\r\n{noise}"
    seen = topology.replication(parse_info(text.encode()), server, 1.0)
    assert all(part.isprintable() for part in (seen.summary, *seen.problems, *(node.address for node in seen.nodes)))
