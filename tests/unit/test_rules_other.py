"""Rules about availability, hits, time, clients, disk, replication, replies and Memcached."""

from __future__ import annotations

from typing import Any

import pytest

from cachetui.model import CommandStat, ErrorStat, Evidence, Identity, Node, SlabClass
from tests.unit.evidence import (
    GB,
    HEALTHY,
    MB,
    MEMCACHED,
    NOW,
    client,
    client_list,
    found,
    memcached_stats,
    over_window,
    redis_stats,
    seen,
    slow_log,
    topology,
    trouble,
)


def priority(evidence: Evidence, rule: str) -> str | None:
    finding = found(evidence).get(rule)
    return finding.priority if finding else None


@pytest.mark.parametrize("code", ["unreachable", "timed-out", "tls", "not-a-cache", "auth"])
def test_trouble_speaks_with_its_own_words(code: str) -> None:
    finding = found(seen(trouble=trouble(code, "cannot connect to 10.0.0.1:6379", "look at the firewall")))[code]
    assert finding.priority == "high"
    assert finding.issue == "Cannot connect to 10.0.0.1:6379, for 10s"
    assert finding.action == "Look at the firewall."
    bare = found(seen(trouble=trouble(code)))[code]
    assert bare.action.endswith(".")


def test_an_unforeseen_refusal_has_its_meaning() -> None:
    refused = trouble("server-error", "MASTERDOWN: lost", reply="MASTERDOWN Link with MASTER is down")
    assert "fail over" in found(seen(trouble=refused))["refused"].action
    assert found(seen(trouble=trouble("unsupported", "no INFO here")))["refused"].priority == "medium"


@pytest.mark.parametrize(
    ("detail", "commands", "words"),
    [
        ({"reply": "BUSY Redis is busy running a script. You can only call SCRIPT KILL"}, ("SCRIPT KILL",), "script"),
        ({"name": "f", "command": ["FCALL", "f", "0"], "duration_ms": 12_000}, ("FUNCTION KILL",), "for 12s (FCALL f"),
        ({"command": "EVAL while 1"}, ("SCRIPT KILL",), "(EVAL while 1)"),
        ({}, ("SCRIPT KILL", "FUNCTION KILL"), "script or function"),
        ({"name": "\x1b[2J", "duration_ms": -5}, ("FUNCTION KILL",), "\\x1b[2J"),
    ],
)
def test_busy_names_the_script_and_how_to_end_it(
    detail: dict[str, object], commands: tuple[str, ...], words: str
) -> None:
    finding = found(seen(trouble=trouble("busy", **detail)))["busy"]
    assert (finding.priority, finding.commands) == ("high", commands)
    assert words in finding.issue
    assert finding.issue.isprintable()


def test_loading_tells_its_progress() -> None:
    finding = found(seen(redis_stats(loading=True, loading_percent=42.0, loading_eta_s=90.0)))["loading"]
    assert finding.issue == "Loading the data set from disk: 42.0%, about 1m30s left"
    refused = found(seen(trouble=trouble("loading", loading_percent=10)))["loading"]
    assert "10.0%" in refused.issue
    assert found(seen(trouble=trouble("loading", loading_percent="x")))["loading"].evidence["loaded_percent"] is None


def test_what_is_denied_is_named() -> None:
    finding = found(seen(redis_stats(denied=("SLOWLOG", "CONFIG GET"))))["partly-blind"]
    assert (finding.priority, finding.evidence["denied"]) == ("low", ["CONFIG GET", "SLOWLOG"])


@pytest.mark.parametrize(("misses", "expected"), [(10, None), (300, "low"), (600, "medium")])
def test_hit_rate_low(misses: int, expected: str | None) -> None:
    evidence = over_window({}, {"hits_total": 945_000 + 1000 - misses, "misses_total": 55_000 + misses})
    assert priority(evidence, "hit-rate-low") == expected


def test_few_lookups_say_nothing_and_a_short_window_falls_back_on_the_total() -> None:
    few = {"hits_total": 945_001, "misses_total": 55_050}
    assert priority(over_window({}, few), "hit-rate-low") is None
    since_start = {"hits_total": 100, "misses_total": 900}
    finding = found(over_window(since_start, since_start, span_s=2))["hit-rate-low"]
    assert finding.evidence["since_start"] is True
    assert finding.evidence["hit_rate_percent"] == 10


def falling(recent_misses: int, **recent: Any) -> Evidence:
    middle = {"hits_total": 955_000, "misses_total": 55_500, "evicted_total": 0, "expired_total": 10_100}
    now = {"hits_total": 956_000 - recent_misses, "misses_total": 55_500 + recent_misses}
    return seen(redis_stats(NOW, **middle | now | recent), redis_stats(NOW - 300), redis_stats(NOW - 60, **middle))


def test_a_falling_hit_rate_names_its_cause() -> None:
    assert priority(falling(50), "hit-rate-falling") is None
    assert priority(falling(200), "hit-rate-falling") == "medium"
    assert priority(falling(600), "hit-rate-falling") == "high"
    assert "while evictions rose" in found(falling(200, evicted_total=500))["hit-rate-falling"].issue
    assert "while expiries rose" in found(falling(200, expired_total=90_000))["hit-rate-falling"].issue
    finding = found(falling(200))["hit-rate-falling"]
    assert finding.evidence["hit_rate_recent_percent"] == 80
    assert finding.evidence["recent_span_s"] == 60


def test_cpu_by_the_main_thread_where_it_is_told() -> None:
    assert priority(over_window({"cpu_s_total": 100.0}, {"cpu_s_total": 218.0}), "cpu-saturated") == "high"
    assert priority(over_window({"cpu_s_total": 100.0}, {"cpu_s_total": 108.5}, 10), "cpu-saturated") == "medium"
    assert priority(over_window({"cpu_s_total": 100.0}, {"cpu_s_total": 160.0}), "cpu-saturated") is None
    main = {"used_cpu_user_main_thread": "1.0", "used_cpu_sys_main_thread": "1.0"}
    later = {"used_cpu_user_main_thread": "11.0", "used_cpu_sys_main_thread": "1.0"}
    with_main = over_window({"cpu_s_total": 1.0, "extra": main}, {"cpu_s_total": 400.0, "extra": later})
    assert priority(with_main, "cpu-saturated") is None
    threaded = {"extra": {"io_threads_active": "1"}}
    assert priority(over_window({"cpu_s_total": 1.0}, {"cpu_s_total": 400.0} | threaded), "cpu-saturated") is None


def test_memcached_has_a_core_for_each_thread() -> None:
    def after(cpu: float) -> Evidence:
        return seen(memcached_stats(cpu_s_total=cpu), memcached_stats(NOW - 60, cpu_s_total=0.0))

    assert priority(after(60.0), "cpu-saturated") is None
    assert priority(after(238.0), "cpu-saturated") == "high"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], None),
        ([(5000, 900_000, (b"GET", b"old"))], None),
        ([(30, 20_000, (b"KEYS", b"*"))], "low"),
        ([(30, 200_000, (b"KEYS", b"*"))], "medium"),
        ([(i, 500_000, (b"SMEMBERS", b"big:%d" % i)) for i in range(60)], "high"),
    ],
)
def test_slow_commands(entries: list[tuple[float, int, tuple[bytes, ...]]], expected: str | None) -> None:
    evidence = seen(redis_stats(), slowlog=slow_log(*entries))
    assert priority(evidence, "slow-commands") == expected
    if expected == "high":
        assert "SMEMBERS big:*" in found(evidence)["slow-commands"].issue


def test_keys_in_use() -> None:
    keys = (*HEALTHY["commands"], CommandStat("keys", 7, 700_000))
    assert priority(over_window({}, {"commands": keys}), "keys-command") == "medium"
    assert priority(seen(redis_stats(commands=keys)), "keys-command") == "low"
    assert priority(over_window({"commands": keys}, {"commands": keys}), "keys-command") is None


def test_one_heavy_command() -> None:
    heavy = (*HEALTHY["commands"], CommandStat("smembers", 100, 30_000_000))
    finding = found(over_window({}, {"commands": heavy}))["heavy-command"]
    assert finding.evidence["command"] == "SMEMBERS"
    assert finding.evidence["us_per_call"] == 300_000


def test_fork_network_round_trip_monitor() -> None:
    assert priority(seen(redis_stats(fork_us=150_000)), "fork-slow") == "low"
    assert priority(seen(redis_stats(fork_us=600_000)), "fork-slow") == "medium"
    moved = over_window({"net_out_bytes_total": 0}, {"net_out_bytes_total": 120 * 110 * 1000**2})
    assert priority(moved, "network-busy") == "low"
    far = [redis_stats(NOW - i, latency_us=250_000.0) for i in (3, 2, 1, 0)]
    assert priority(seen(far[-1], *far[:-1]), "round-trip") == "low"
    watching = client_list(client(flags="O", client_id=12), client(flags="O", ours=True))
    assert found(seen(redis_stats(), clients=watching))["monitor-running"].commands == ("CLIENT KILL ID 12",)


def test_connections() -> None:
    refused = {"rejected_connections_total": 5}
    assert priority(over_window({}, refused), "rejected-connections") == "high"
    assert priority(seen(redis_stats(**refused)), "rejected-connections") == "low"
    assert priority(seen(redis_stats(clients=8_100)), "near-maxclients") == "medium"
    assert priority(seen(redis_stats(clients=9_900)), "near-maxclients") == "high"
    assert priority(seen(redis_stats(blocked_clients=4)), "blocked-clients") is None
    assert priority(seen(redis_stats(blocked_clients=6)), "blocked-clients") == "low"
    assert priority(seen(redis_stats(blocked_clients=400, clients=500)), "blocked-clients") == "medium"
    churning = over_window({}, {"connections_total": 35_000, "commands_total": 2_060_000})
    assert found(churning)["connection-churn"].evidence["commands_per_connection"] == 2
    cut = over_window({"output_limit_disconnections_total": 1}, {"output_limit_disconnections_total": 4})
    assert found(cut)["clients-cut-off"].evidence["output_limit_disconnections"] == 3


def test_output_buffers_and_idle_clients() -> None:
    slow_reader = client(output_bytes=20 * MB, client_id=3, name="report")
    finding = found(seen(redis_stats(), clients=client_list(client(), slow_reader)))["output-buffers"]
    assert (finding.priority, finding.commands) == ("medium", ("CLIENT KILL ID 3",))
    assert "report (10.0.0.9:5000)" in finding.issue
    greedy = client_list(client(output_bytes=GB))
    assert priority(seen(redis_stats(), clients=greedy), "output-buffers") == "high"
    asleep = client_list(*(client(idle_s=7200) for _ in range(150)))
    assert priority(seen(redis_stats(), clients=asleep), "idle-clients") == "low"
    assert priority(seen(redis_stats(max_clients=200), clients=asleep), "idle-clients") == "medium"
    consumers = client_list(*(client(idle_s=7200, flags="b") for _ in range(150)))
    assert priority(seen(redis_stats(), clients=consumers), "idle-clients") is None


def test_disk() -> None:
    assert priority(seen(redis_stats(save_ok=False)), "save-failed") == "high"
    assert priority(seen(redis_stats(aof_enabled=True, aof_write_ok=False)), "aof-failed") == "high"
    misconf = {"errors": (ErrorStat("MISCONF", 4),)}
    assert priority(over_window({}, misconf | {"save_ok": False}), "misconf") == "high"
    assert priority(seen(redis_stats(**misconf)), "misconf") == "low"


def test_replication() -> None:
    replica = Identity("redis", "7.0.15", "standalone", "replica", "run-1")
    down = redis_stats(server=replica, link_up=False, link_down_s=12)
    finding = found(seen(down, topology=topology("the link to its primary is down", server=replica)))
    assert finding["link-down"].issue.startswith("Replication link to the primary is down for 12s")
    assert "topology" not in finding
    assert set(found(seen(redis_stats(server=replica, link_up=False, sync_running=True)))) == {"sync-running"}
    assert priority(seen(redis_stats(server=replica, link_up=True, replication_lag_s=20)), "replica-lag") == "medium"
    assert priority(seen(redis_stats(server=replica, link_up=True, replication_lag_s=9)), "replica-lag") is None
    assert priority(seen(redis_stats(worst_lag_bytes=200 * MB)), "replica-lag") == "high"
    nodes = (Node("10.0.0.2:6379", "replica", lag_s=30),)
    assert (
        "10.0.0.2:6379 silent for 30s"
        in found(seen(redis_stats(), topology=topology(nodes=nodes)))["replica-lag"].issue
    )
    assert priority(over_window({"sync_full_total": 2}, {"sync_full_total": 5}), "full-resyncs") == "medium"


@pytest.mark.parametrize(
    ("word", "rule", "expected"),
    [
        ("CLUSTERDOWN", "cluster-down", "high"),
        ("MASTERDOWN", "primary-down", "high"),
        ("NOREPLICAS", "too-few-replicas", "high"),
        ("READONLY", "readonly-writes", "medium"),
    ],
)
def test_words_of_the_server(word: str, rule: str, expected: str) -> None:
    errors = {"errors": (ErrorStat(word, 40),)}
    assert priority(over_window({}, errors), rule) == expected
    assert priority(seen(redis_stats(**errors)), rule) == "low"
    assert priority(over_window(errors, errors), rule) is None


def test_cluster_problems() -> None:
    cluster = Identity("redis", "7.0.15", "cluster", "primary", "run-1")
    problems = topology("5461 of 16384 slots are not served", "10.0.0.3:6379 is down", server=cluster)
    finding = found(seen(redis_stats(server=cluster), topology=problems))["topology"]
    assert finding.priority == "high"
    assert finding.issue == "5461 of 16384 slots are not served (and 1 more)"
    failed = topology("cluster_state is fail", server=cluster)
    assert priority(seen(redis_stats(server=cluster), topology=failed), "topology") == "high"
    group = Identity("redis", "7.0.15", "sentinel", "sentinel")
    for state, expected in (("s_down,o_down", "high"), ("fail?", "medium")):
        nodes = (Node("10.0.0.2:6379", "primary", state),)
        lost = topology("group mymaster: primary is away", server=group, nodes=nodes)
        assert priority(seen(topology=lost), "topology") == expected
    replica_gone = topology("a replica is away")
    assert priority(seen(redis_stats(), topology=replica_gone), "topology") == "medium"


def test_errors_rising_by_word() -> None:
    some = over_window({}, {"errors": (ErrorStat("WRONGTYPE", 20),), "commands_total": 2_100_000})
    assert priority(some, "errors-rising") == "low"
    many = over_window({}, {"errors": (ErrorStat("WRONGTYPE", 600),), "commands_total": 2_100_000})
    assert priority(many, "errors-rising") == "medium"
    outage = over_window({}, {"errors": (ErrorStat("ERR", 60_000),), "commands_total": 2_100_000})
    assert priority(outage, "errors-rising") == "high"
    ordinary = over_window({}, {"errors": (ErrorStat("MOVED", 60_000), ErrorStat("NOSCRIPT", 900))})
    assert priority(ordinary, "errors-rising") is None
    assert "refresh the list" in found(many)["errors-rising"].action


def test_logins_and_permissions() -> None:
    assert priority(over_window({}, {"errors": (ErrorStat("WRONGPASS", 3),)}), "logins-refused") == "low"
    assert priority(over_window({}, {"errors": (ErrorStat("NOAUTH", 300),)}), "logins-refused") == "medium"
    denied = over_window(
        {"extra": {"acl_access_denied_cmd": "1"}},
        {"extra": {"acl_access_denied_cmd": "5"}},
    )
    assert found(denied)["acl-denials"].evidence["denied_commands"] == 4


def test_memcached_own() -> None:
    unread = seen(
        memcached_stats(evicted_total=1_000, evicted_unfetched_total=900),
        memcached_stats(NOW - 60),
    )
    assert found(unread)["evicted-unfetched"].evidence["share_percent"] == 90
    stopped = seen(memcached_stats(listen_disabled_total=3), memcached_stats(NOW - 60))
    assert priority(stopped, "listen-disabled") == "high"
    yielding = seen(memcached_stats(conn_yields_total=500, gets_total=110_000), memcached_stats(NOW - 60))
    assert priority(yielding, "connection-yields") == "low"


def test_slab_imbalance() -> None:
    def slabs(evicted: int) -> tuple[SlabClass, ...]:
        return (
            SlabClass(1, 96, 60, 60 * 10_922, 1_000, 60 * 10_922 - 1_000, evicted=0, server="a"),
            SlabClass(20, 8_544, 4, 488, 488, 0, evicted=evicted, server="a"),
        )

    stats = memcached_stats(slabs=slabs(500), evicted_total=500)
    assert priority(seen(stats), "slab-imbalance") == "low"
    now = found(seen(stats, memcached_stats(NOW - 60, slabs=slabs(100), evicted_total=100)))["slab-imbalance"]
    assert (now.priority, now.evidence["evicted"]) == ("medium", 400)
    assert now.commands == ("slabs automove 1", "slabs reassign 1 20")
    elsewhere = memcached_stats(slabs=(slabs(0)[0], SlabClass(20, 8_544, 4, 488, 488, 0, evicted=5, server="b")))
    assert priority(seen(elsewhere), "slab-imbalance") is None
    assert MEMCACHED.kind == "memcached"
