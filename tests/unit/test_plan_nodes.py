"""Settings by node, and the plans that change them everywhere: words, ways back, refusals."""

from __future__ import annotations

import pytest

from cachetui.actions.plan import plan_maxmemory, plan_policy, plan_rewrite, plan_setting
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.model import Identity, NodeSettings, SettingsByNode
from tests.unit.test_plan_settings import ALLOWED, MB, MEMCACHED, REDIS, TARGET, stats

CLUSTER = Identity("redis", "7.0.15", mode="cluster", role="primary")


def node(address: str, role: str = "primary", **more: object) -> NodeSettings:
    values = {"maxmemory": "0", "maxmemory-policy": "noeviction", "port": address[-1], "hz": "10"}
    return NodeSettings(address, role, values=values | more.pop("values", {}), **more)  # type: ignore[operator,arg-type]


def seen(*nodes: NodeSettings, server: Identity = REDIS) -> SettingsByNode:
    return SettingsByNode(0.0, server, nodes)


def test_drift_is_what_differs_and_is_no_nodes_own() -> None:
    found = seen(node("a:1", myself=True), node("a:2", values={"hz": "20"}), NodeSettings("a:3", problem="away"))
    assert found.drift == ("hz",)
    assert found.shares("port") == [("1", 1), ("2", 1)]
    assert found.values_of("hz") == {"a:1": "10", "a:2": "20"}
    assert found.here is not None and found.here.address == "a:1"


def test_a_setting_that_only_some_versions_have_is_no_drift() -> None:
    assert seen(node("a:1", values={"new": "1"}), node("a:2")).drift == ()


def test_a_change_reaches_a_cluster_whole_and_a_server_with_its_replicas() -> None:
    above, me, below = node("a:1"), node("a:2", "replica", myself=True), node("a:3", "replica")
    assert seen(above, me, below).reach == (me, below)
    assert seen(above, me, below, server=CLUSTER).reach == (above, me, below)


def test_every_node_is_named_with_what_it_has_and_what_is_wrong() -> None:
    nodes = (node("a:1", myself=True), node("a:2", "replica"), NodeSettings("a:3", "replica", problem="no answer"))
    plan = plan_policy(CLUSTER, TARGET, stats(policy="noeviction"), "allkeys-lru", ALLOWED, nodes=nodes)
    assert plan.nodes == ("a:1", "a:2", "a:3") and plan.count == 3
    assert "goes to 1 primary, 2 replicas, one after the other:" in plan.what
    assert "- a:2 (replica): noeviction now" in plan.what
    assert "- a:3 (replica): does not answer now, will be tried; no answer" in plan.what
    assert plan.back == (("maxmemory-policy", "noeviction", "allkeys-lru"),)
    assert plan.undo == "CONFIG SET maxmemory-policy noeviction, on each of the 3 nodes"
    assert plan.preview_commands(2) == [
        "a:1> CONFIG SET maxmemory-policy allkeys-lru",
        "a:2> CONFIG SET maxmemory-policy allkeys-lru",
        "... and 1 more",
    ]


def test_different_values_before_have_no_one_way_back() -> None:
    nodes = (node("a:1", myself=True), node("a:2", values={"hz": "20"}))
    plan = plan_setting(CLUSTER, TARGET, "hz", "10", "10", nodes=nodes)
    assert plan.back == () and plan.undo == "no undo in one: hz was 10 on a:1; 20 on a:2"
    assert "from different values to 10" in plan.what[0]
    assert not any("already" in line for line in plan.what)


def test_the_policy_this_node_has_already_still_matters_elsewhere() -> None:
    nodes = (node("a:1", myself=True), node("a:2", values={"maxmemory-policy": "allkeys-lru"}))
    plan = plan_policy(CLUSTER, TARGET, stats(policy="noeviction"), "noeviction", ALLOWED, nodes=nodes)
    assert not any("nothing changes" in line for line in plan.what) and plan.risk != "low"


def test_another_primary_that_evicts_at_once_makes_it_typed_and_a_replica_does_not() -> None:
    full = {"maxmemory-policy": "allkeys-lru"}
    me = node("a:1", myself=True, used_bytes=10 * MB, values=full)
    now = stats(used=10 * MB, limit=0, policy="allkeys-lru")
    other = node("a:2", used_bytes=90 * MB, values=full)
    plan = plan_maxmemory(CLUSTER, TARGET, now, 50 * MB, nodes=(me, other))
    assert plan.typed and any(line.startswith("a:2: at once: evicts about 40.0MB") for line in plan.what)
    replica = node("a:2", "replica", used_bytes=90 * MB, values=full)
    assert plan_maxmemory(CLUSTER, TARGET, now, 50 * MB, nodes=(me, replica)).typed is None


def test_a_rewrite_says_where_it_will_be_refused() -> None:
    with_, without = node("a:1", myself=True, has_file=True), node("a:2", has_file=False)
    plan = plan_rewrite(CLUSTER, TARGET, nodes=(with_, without))
    assert plan.nodes == ("a:1", "a:2") and plan.needs == "rewrite"
    assert any("refused by a:2" in line for line in plan.what)
    with pytest.raises(Refused, match="none of the 2 nodes was"):
        plan_rewrite(CLUSTER, TARGET, nodes=(without, without))


@pytest.mark.parametrize("name", ["", "max*", "hz 10", "a\r\nb", "requirepass\x00"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(BadUsage):
        plan_setting(REDIS, TARGET, name, None, "1")


@pytest.mark.parametrize("name", ["requirepass", "masterauth", "PrimaryAuth", "tls-key-file-pass", "x-password"])
def test_secrets_never_get_into_a_plan(name: str) -> None:
    with pytest.raises(Refused, match="secret"):
        plan_setting(REDIS, TARGET, name, None, "hunter2")


@pytest.mark.parametrize(
    ("name", "risk", "typed", "words"),
    [
        ("save", "high", True, "what a crash loses"),
        ("dir", "high", True, "another directory"),
        ("databases", "medium", False, "fix this when they start"),
        ("hz", "medium", False, "holds for everybody"),
        ("notify-keyspace-events", "medium", False, "each event is published"),
    ],
)
def test_what_is_dangerous_or_fixed_is_said(name: str, risk: str, typed: bool, words: str) -> None:
    plan = plan_setting(REDIS, TARGET, name, "before", "after")
    assert (plan.risk, plan.typed is not None) == (risk, typed)
    assert any(words in line for line in plan.what)
    assert plan.back == ((name, "before", "after"),) and plan.reworded


def test_an_empty_value_is_a_value() -> None:
    plan = plan_setting(REDIS, TARGET, "notify-keyspace-events", "", "KEA")
    assert plan.back == (("notify-keyspace-events", "", "KEA"),)
    assert plan.undo == 'CONFIG SET notify-keyspace-events ""'
    assert list(plan_setting(REDIS, TARGET, "save", "1 1", "").steps) == [(b"CONFIG", b"SET", b"save", b"")]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("maxconns", "10", Unsupported),
        ("slab_automove", "3", BadUsage),
        ("verbosity", "1\r\nflush_all", BadUsage),
        ("lru_segmented", "maybe", BadUsage),
        ("hot_lru_pct", "70", BadUsage),
        ("hot_lru_pct", "x", BadUsage),
        ("maxbytes", "1", BadUsage),
    ],
)
def test_memcached_takes_only_what_it_can(name: str, value: str, error: type[Exception]) -> None:
    shown = {"hot_lru_pct": "20", "warm_lru_pct": "40", "hot_max_factor": "0.20", "warm_max_factor": "2.00"}
    nodes = (NodeSettings("m:1", myself=True, values=shown),)
    with pytest.raises(error):
        plan_setting(MEMCACHED, "memcached://m:1", name, None, value, nodes=nodes)
