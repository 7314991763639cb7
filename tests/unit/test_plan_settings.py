"""Plans for a server's settings say what happens at once."""

from __future__ import annotations

import pytest

from cachetui.actions.plan import (
    Plan,
    plan_kill,
    plan_maxmemory,
    plan_policy,
    plan_rewrite,
    plan_slowlog_reset,
)
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.model import ClientInfo, DbKeys, Identity, Stats

REDIS = Identity("redis", "7.0.15", role="primary")
MEMCACHED = Identity("memcached", "1.6.18")
TARGET = "redis://127.0.0.1:6379/0"
MB = 1024**2
ALLOWED = ("noeviction", "allkeys-lru", "allkeys-lfu", "volatile-lru", "volatile-ttl")


def stats(
    *,
    used: int | None = 80 * MB,
    limit: int | None = 100 * MB,
    policy: str | None = "allkeys-lru",
    keys: int = 1000,
    expires: int = 500,
    system: int | None = 1024 * MB,
    server: Identity = REDIS,
) -> Stats:
    return Stats(
        0.0,
        server,
        used_bytes=used,
        maxmemory_bytes=limit,
        policy=policy,
        keys=keys,
        databases=(DbKeys(0, keys, expires),) if keys else (),
        system_memory_bytes=system,
    )


def policy(now: Stats, new: str) -> Plan:
    return plan_policy(REDIS, TARGET, now, new, ALLOWED)


def maxmemory(now: Stats, new_bytes: int) -> Plan:
    return plan_maxmemory(REDIS, TARGET, now, new_bytes)


def said(plan: Plan) -> str:
    return "\n".join(plan.what)


def test_policy_is_one_command_with_its_undo() -> None:
    plan = policy(stats(), "allkeys-lfu")
    assert list(plan.commands()) == [(b"CONFIG", b"SET", b"maxmemory-policy", b"allkeys-lfu")]
    assert plan.undo == "CONFIG SET maxmemory-policy allkeys-lru"
    assert plan.expects == ("maxmemory-policy", "allkeys-lfu")
    assert plan.typed is None
    assert "holds until the server restarts" in said(plan)


def test_rewrite_comes_after_and_in_a_batch_of_its_own() -> None:
    plan = plan_policy(REDIS, TARGET, stats(), "volatile-lru", ALLOWED, rewrite=True)
    assert list(plan.commands())[1] == (b"CONFIG", b"REWRITE")
    assert plan.batch == 1
    assert "permanent" in said(plan)
    assert plan.undo == "CONFIG SET maxmemory-policy allkeys-lru, then CONFIG REWRITE"
    assert plan_policy(REDIS, TARGET, stats(limit=0), "volatile-lru", ALLOWED, rewrite=True).risk == "medium"


def test_a_policy_the_server_does_not_offer_is_refused_with_those_it_does() -> None:
    with pytest.raises(BadUsage) as refusal:
        policy(stats(), "allkeys-magic\x1b")
    assert "volatile-ttl" in refusal.value.hint
    assert refusal.value.line().isprintable()


def test_the_same_policy_changes_nothing() -> None:
    plan = policy(stats(), "allkeys-lru")
    assert plan.risk == "low"
    assert "nothing changes" in said(plan)


@pytest.mark.parametrize(
    ("now", "new", "risk", "at_once", "words"),
    [
        (stats(), "noeviction", "medium", False, "when memory is full (now 80.0%) writes fail with OOM"),
        (stats(used=95 * MB), "noeviction", "high", False, "writes fail with OOM"),
        (stats(used=101 * MB), "noeviction", "high", True, "at once: memory is full, so writes that need memory fail"),
        (stats(expires=0), "volatile-lru", "medium", False, "no key has a TTL: it behaves like noeviction"),
        (stats(used=101 * MB, expires=0), "volatile-lru", "high", True, "at once: memory is full"),
        (stats(expires=20), "volatile-ttl", "medium", False, "these are few"),
        (stats(used=95 * MB, expires=20), "volatile-ttl", "high", False, "these are few"),
        (stats(expires=500), "volatile-ttl", "medium", False, "500 of 1,000 (50.0%)"),
        (stats(policy="volatile-lru"), "allkeys-lru", "medium", False, "also the 500 of 1,000 without a TTL"),
        (stats(), "allkeys-lfu", "medium", False, "start with a frequency near 0"),
        (stats(policy="allkeys-lfu"), "allkeys-lru", "medium", False, "idle times"),
        (stats(limit=0, policy="noeviction"), "allkeys-lru", "low", False, "no maxmemory is set"),
        (stats(used=None), "noeviction", "high", False, "unknown"),
        (stats(used=110 * MB, policy="noeviction"), "allkeys-lru", "high", True, "at once: evicts about 10.0MB"),
    ],
)
def test_what_a_policy_does_at_once(now: Stats, new: str, risk: str, at_once: bool, words: str) -> None:
    plan = policy(now, new)
    assert words in said(plan)
    assert plan.risk == risk
    assert (plan.typed is not None) == at_once


def test_how_many_keys_have_a_ttl_may_be_unknown() -> None:
    now = Stats(0.0, REDIS, used_bytes=200, maxmemory_bytes=100, policy="noeviction", keys=5)
    assert "how many have one is unknown" in said(policy(now, "volatile-lru"))
    assert "may fail with OOM" in said(policy(now, "volatile-lru"))
    assert "if there are too few" in said(
        maxmemory(Stats(0.0, REDIS, used_bytes=200, policy="volatile-lru", keys=5), 100)
    )


def test_replicas_and_cluster_nodes_are_named() -> None:
    replica = plan_policy(Identity("redis", role="replica"), TARGET, stats(), "noeviction", ALLOWED)
    assert "this is a replica" in said(replica)
    node = plan_maxmemory(Identity("valkey", mode="cluster", role="primary"), TARGET, stats(), 200 * MB)
    assert "one node of the cluster" in said(node)


def test_an_unknown_old_value_has_no_undo() -> None:
    assert policy(stats(policy=None), "noeviction").undo.startswith("no undo")
    assert maxmemory(stats(limit=None), 200 * MB).undo.startswith("no undo")


@pytest.mark.parametrize(
    ("now", "new_bytes", "risk", "at_once", "words"),
    [
        (stats(), 200 * MB, "medium", False, "120MB are free under the new limit"),
        (stats(), 40 * MB, "high", True, "at once: evicts about 40.0MB (some 500 of 1,000 keys)"),
        (stats(policy="noeviction"), 40 * MB, "high", True, "noeviction evicts nothing: writes fail with OOM"),
        (stats(policy="volatile-lru", expires=0), 40 * MB, "high", True, "no TTL on any key evicts nothing"),
        (stats(), 2048 * MB, "high", False, "more than the system's memory (1.0GB)"),
        (stats(system=None), 2048 * MB, "medium", False, "system's memory is unknown"),
        (stats(), 0, "high", False, "no limit"),
        (stats(used=None), 40 * MB, "high", False, "unknown"),
    ],
)
def test_what_a_limit_does_at_once(now: Stats, new_bytes: int, risk: str, at_once: bool, words: str) -> None:
    plan = maxmemory(now, new_bytes)
    assert words in said(plan)
    assert plan.risk == risk
    assert (plan.typed is not None) == at_once
    assert list(plan.commands()) == [(b"CONFIG", b"SET", b"maxmemory", b"%d" % new_bytes)]
    assert plan.undo.startswith(f"CONFIG SET maxmemory {100 * MB}")


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(BadUsage):
        maxmemory(stats(), -1)


def test_memcached_counts_in_megabytes_and_is_typed() -> None:
    now = stats(used=40 * MB, limit=64 * MB, policy=None, server=MEMCACHED)
    plan = plan_maxmemory(MEMCACHED, "memcached://h:11211", now, 32 * MB + 5)
    assert list(plan.commands()) == [(b"cache_memlimit", b"32")]
    assert plan.expects == ("maxbytes", str(32 * MB))
    assert plan.typed == "h:11211"
    assert plan.undo.startswith("cache_memlimit 64")
    assert "items will be evicted" in said(plan)


def test_what_memcached_has_not_is_said() -> None:
    now = stats(server=MEMCACHED)
    with pytest.raises(Unsupported, match="no eviction policy"):
        plan_policy(MEMCACHED, "memcached://h:1", now, "allkeys-lru", ())
    with pytest.raises(BadUsage, match="8MB"):
        plan_maxmemory(MEMCACHED, "memcached://h:1", now, 0)
    with pytest.raises(Unsupported, match="each server"):
        plan_maxmemory(Identity("memcached", mode="fleet"), "memcached://h:1,i:1", now, 64 * MB)
    with pytest.raises(Unsupported):
        plan_rewrite(MEMCACHED, "memcached://h:1")
    with pytest.raises(Unsupported):
        plan_slowlog_reset(MEMCACHED, "memcached://h:1")
    with pytest.raises(Unsupported):
        plan_kill(MEMCACHED, "memcached://h:1", ClientInfo(1, "a:1"))


def test_a_client_is_killed_by_id_and_address() -> None:
    plan = plan_kill(REDIS, TARGET, ClientInfo(7, "10.0.0.9:4242", name="web", idle_s=3, command="get", flags="N"))
    assert list(plan.commands()) == [(b"CLIENT", b"KILL", b"ID", b"7", b"ADDR", b"10.0.0.9:4242")]
    assert "last command get, idle 3s" in said(plan)
    assert plan.risk == "medium"


@pytest.mark.parametrize(("flags", "words"), [("S", "replica"), ("M", "primary"), ("P", "subscribed")])
def test_a_kill_that_hurts_others_is_flagged(flags: str, words: str) -> None:
    plan = plan_kill(REDIS, TARGET, ClientInfo(7, "10.0.0.9:4242", flags=flags))
    assert words in said(plan)
    assert plan.risk == "high"


def test_our_own_connection_and_one_without_id_are_refused() -> None:
    with pytest.raises(Refused, match="own"):
        plan_kill(REDIS, TARGET, ClientInfo(7, "a:1", ours=True))
    with pytest.raises(Unsupported, match="no id"):
        plan_kill(REDIS, TARGET, ClientInfo(None, "a:1"))


def test_rewrite_and_slowlog_reset() -> None:
    rewrite, reset = plan_rewrite(REDIS, TARGET), plan_slowlog_reset(REDIS, TARGET)
    assert list(rewrite.commands()) == [(b"CONFIG", b"REWRITE")]
    assert list(reset.commands()) == [(b"SLOWLOG", b"RESET")]
    assert rewrite.undo.startswith("no undo")
    assert (rewrite.risk, reset.risk) == ("medium", "low")
