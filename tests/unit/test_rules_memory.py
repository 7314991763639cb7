"""Rules about memory."""

from __future__ import annotations

import pytest

from cachetui.model import CommandStat, DbKeys, ErrorStat
from tests.unit.evidence import GB, MB, NOW, found, memcached_stats, over_window, redis_stats, seen


def test_full_without_eviction_is_out_of_memory() -> None:
    finding = found(seen(redis_stats(used_bytes=4 * GB + 1, policy="noeviction")))["oom"]
    assert finding.priority == "high"
    assert "100% of 4.0GB" in finding.issue or "100.0% of 4.0GB" in finding.issue
    assert "CONFIG SET maxmemory 6gb" in finding.commands
    assert "oom" not in found(seen(redis_stats(used_bytes=4 * GB + 1)))


def test_oom_replies_in_the_window_are_now_and_since_start_are_then() -> None:
    errors = (ErrorStat("OOM", 50),)
    now = found(over_window({"errors": (ErrorStat("OOM", 10),)}, {"errors": errors, "policy": "noeviction"}))["oom"]
    assert (now.priority, now.evidence["oom_errors"], now.evidence["span_s"]) == ("high", 40, 120)
    then = found(seen(redis_stats(errors=errors)))["oom"]
    assert (then.priority, then.evidence["since_start"]) == ("low", True)
    assert "oom" not in found(over_window({"errors": errors}, {"errors": errors}))


def test_a_word_that_is_new_in_the_window_counts_from_zero() -> None:
    finding = found(over_window({}, {"errors": (ErrorStat("OOM", 3),), "policy": "noeviction"}))["oom"]
    assert finding.evidence["oom_errors"] == 3
    assert finding.evidence["since_start"] is False


def test_a_snapshot_kept_without_details_is_no_zero() -> None:
    thin = {"commands": (), "errors": ()}
    finding = found(over_window(thin, {"errors": (ErrorStat("OOM", 3),), "commands": (CommandStat("get", 9, 9),)}))
    assert finding["oom"].evidence["since_start"] is True


@pytest.mark.parametrize(
    ("percent", "policy", "priority"),
    [
        (79, "noeviction", None),
        (81, "noeviction", "medium"),
        (96, "noeviction", "high"),
        (81, "allkeys-lru", "low"),
        (100, "allkeys-lfu", "low"),
        (96, None, "medium"),
        (96, "volatile-lru", "low"),
    ],
)
def test_near_the_limit(percent: int, policy: str | None, priority: str | None) -> None:
    finding = found(seen(redis_stats(used_bytes=percent * 4 * GB // 100 + 1, policy=policy))).get("memory-high")
    assert (finding.priority if finding else None) == priority


def test_the_trend_tells_when_it_is_full() -> None:
    used = [3 * GB + step * 20 * MB for step in range(7)]
    window = [redis_stats(NOW - 60 + 10 * i, used_bytes=b, policy="noeviction") for i, b in enumerate(used)]
    finding = found(seen(window[-1], *window[:-1]))["memory-high"]
    assert finding.priority == "high"
    assert finding.evidence["growth_bytes_per_s"] == 2 * MB
    assert finding.evidence["full_in_s"] == (4 * GB - used[-1]) / (2 * MB)
    assert "full in 7m32s at 2.0MB/s; then writes are refused" in finding.issue


def test_a_limit_beyond_the_host_is_not_advised() -> None:
    finding = found(seen(redis_stats(used_bytes=int(3.9 * GB), policy="noeviction", system_memory_bytes=5 * GB)))
    assert finding["memory-high"].commands == ()
    assert "no room" in finding["memory-high"].action


def test_memcached_near_its_limit_evicts() -> None:
    finding = found(seen(memcached_stats(used_bytes=60 * MB)))["memory-high"]
    assert (finding.priority, finding.commands) == ("low", ("cache_memlimit 96",))


@pytest.mark.parametrize(
    ("evicted", "lookups", "misses", "priority"),
    [(120, 100_000, 5_000, "low"), (3_000, 100_000, 5_000, "medium"), (20_000, 100_000, 60_000, "high")],
)
def test_evictions_by_rate_and_share(evicted: int, lookups: int, misses: int, priority: str) -> None:
    finding = found(
        over_window(
            {"evicted_total": 7},
            {
                "evicted_total": 7 + evicted,
                "hits_total": 945_000 + lookups - misses,
                "misses_total": 55_000 + misses,
            },
        )
    )["evicting"]
    assert finding.priority == priority
    assert finding.evidence["evicted_per_s"] == pytest.approx(evicted / 120, rel=0.01)
    assert finding.evidence["evicted_per_100_lookups"] == pytest.approx(100 * evicted / lookups, rel=0.01)


def test_evictions_of_long_ago_are_told_as_such_and_later_not_at_all() -> None:
    old = {"evicted_total": 5_000}
    alone = found(seen(redis_stats(**old)))["evicting"]
    assert alone.evidence["since_start"] is True
    assert "since the start 1d00h ago" in alone.issue
    assert "evicting" not in found(over_window(old, old))


def test_a_restart_in_the_window_is_not_a_rate() -> None:
    restarted = found(over_window({"evicted_total": 9_000, "uptime_s": 90_000}, {"evicted_total": 10, "uptime_s": 5}))
    assert restarted["evicting"].evidence["since_start"] is True
    assert restarted["evicting"].evidence["evicted_keys"] == 10


@pytest.mark.parametrize(
    ("used", "priority"),
    [(1 * GB, "low"), (9 * GB, "medium"), (14 * GB, "high")],
)
def test_no_limit_by_the_share_of_the_host(used: int, priority: str) -> None:
    finding = found(seen(redis_stats(maxmemory_bytes=0, used_bytes=used, rss_bytes=used, policy="noeviction")))
    assert finding["no-maxmemory"].priority == priority
    assert "CONFIG SET maxmemory-policy allkeys-lru" in finding["no-maxmemory"].commands


def test_a_policy_without_a_limit_is_in_vain() -> None:
    finding = found(seen(redis_stats(maxmemory_bytes=0)))["no-maxmemory"]
    assert "allkeys-lru never evicts" in finding.issue
    assert finding.commands == ("CONFIG SET maxmemory 12gb",)


@pytest.mark.parametrize(
    ("expires", "used", "priority"),
    [(0, 2 * GB, "medium"), (0, int(3.9 * GB), "high"), (20, 2 * GB, "low"), (5_000, 2 * GB, None)],
)
def test_volatile_without_ttl(expires: int, used: int, priority: str | None) -> None:
    stats = redis_stats(policy="volatile-lfu", databases=(DbKeys(0, 100_000, expires),), used_bytes=used)
    finding = found(seen(stats)).get("volatile-without-ttl")
    assert (finding.priority if finding else None) == priority
    if finding:
        assert finding.commands == ("CONFIG SET maxmemory-policy allkeys-lfu",)


def test_fragmentation_needs_a_ratio_and_real_waste() -> None:
    bad = {"fragmentation_ratio": 2.0, "used_bytes": 500 * MB, "rss_bytes": 1000 * MB, "fragmentation_bytes": 500 * MB}
    assert found(seen(redis_stats(**bad)))["fragmentation"].priority == "low"
    assert "fragmentation" not in found(seen(redis_stats(**bad | {"fragmentation_bytes": 50 * MB})))
    assert "fragmentation" not in found(seen(redis_stats(**bad | {"fragmentation_ratio": 1.2})))


def test_swap_is_suspected_when_little_is_resident() -> None:
    assert found(seen(redis_stats(rss_bytes=GB)))["swapped"].evidence["rss_over_used"] == 0.5
    assert "swapped" not in found(seen(redis_stats(rss_bytes=MB, used_bytes=2 * MB)))


def test_expired_keys_that_stay() -> None:
    assert found(seen(redis_stats(extra={"expired_stale_perc": "31.20"})))["expired-stale"].priority == "low"
    assert "expired-stale" not in found(seen(redis_stats(extra={"expired_stale_perc": "nan"})))
