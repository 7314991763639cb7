"""The analyze document."""

from __future__ import annotations

from typing import Any

import pytest

from cachetui.analysis.report import report
from cachetui.model import Evidence, Stats
from tests.unit.documents import assert_document
from tests.unit.evidence import GB, NOW, REDIS, memcached_stats, over_window, redis_stats, seen, trouble

TARGET = "redis://127.0.0.1:6379/0"


def checked(evidence: Evidence, **more: Any) -> dict[str, Any]:
    document = report(evidence, target=TARGET, **more)
    assert_document(document)
    return document


def test_the_document_to_the_letter() -> None:
    document = checked(seen(redis_stats(used_bytes=int(3.2 * GB), peak_bytes=int(3.8 * GB), evicted_total=200)))
    recommendations = document.pop("recommendations")
    assert document == {
        "schema": 1,
        "operation": "analyze-cache",
        "status": "success",
        "target": TARGET,
        "takenAt": "2027-01-15T08:00:00Z",
        "server": {
            "kind": "redis",
            "version": "7.0.15",
            "mode": "standalone",
            "role": "primary",
            "uptimeSeconds": 86_400,
        },
        "metrics": {
            "hitRate": 94.5,
            "missRate": 5.5,
            "evictionRate": 0.02,
            "memoryUsage": {
                "used": "3.2GB",
                "peak": "3.8GB",
                "maxmemory": "4.0GB",
                "utilizationPercent": 80.0,
                "usedBytes": int(3.2 * GB),
                "peakBytes": int(3.8 * GB),
                "maxmemoryBytes": 4 * GB,
                "fragmentationRatio": 1.1,
            },
            "connections": {"current": 45, "blocked": 0, "maxClients": 10_000},
        },
    }
    assert [entry["id"] for entry in recommendations] == ["evicting"]


def test_no_limit_is_zero_bytes_and_no_utilisation() -> None:
    memory = checked(seen(redis_stats(maxmemory_bytes=0)))["metrics"]["memoryUsage"]
    assert (memory["maxmemory"], memory["maxmemoryBytes"], memory["utilizationPercent"]) == ("0B", 0, None)


def test_unknown_is_null() -> None:
    document = checked(seen(Stats(NOW, REDIS)))
    assert document["metrics"]["hitRate"] is None
    assert document["metrics"]["evictionRate"] is None
    assert set(document["metrics"]["memoryUsage"].values()) == {None}
    assert set(document["metrics"]["connections"].values()) == {None}


def test_no_lookups_have_no_rate() -> None:
    metrics = checked(seen(redis_stats(hits_total=0, misses_total=0)))["metrics"]
    assert (metrics["hitRate"], metrics["missRate"], metrics["evictionRate"]) == (None, None, None)


def test_a_sampling_window_is_judged_alone() -> None:
    evidence = over_window({"evicted_total": 50}, {"hits_total": 945_900, "misses_total": 55_100, "evicted_total": 60})
    windowed = checked(evidence, windowed=True)["metrics"]
    assert (windowed["hitRate"], windowed["missRate"], windowed["evictionRate"]) == (90.0, 10.0, 1.0)
    assert checked(evidence)["metrics"]["hitRate"] == 94.5
    assert checked(seen(redis_stats()), windowed=True)["metrics"]["hitRate"] is None


def test_what_was_denied_makes_it_partial() -> None:
    document = checked(seen(redis_stats(denied=("SLOWLOG",))), denied=["CLIENT LIST", "SLOWLOG"])
    assert (document["status"], document["denied"]) == ("partial", ["CLIENT LIST", "SLOWLOG"])
    assert "partly-blind" in [entry["id"] for entry in document["recommendations"]]


@pytest.mark.parametrize("stats", [None, redis_stats(NOW - 60)])
def test_an_unreachable_server_is_an_error_without_figures(stats: Stats | None) -> None:
    document = checked(seen(stats, trouble=trouble("unreachable", "127.0.0.1:6379 refused the connection")))
    assert document["status"] == "error"
    assert set(document["server"].values()) == {None}
    assert document["metrics"]["memoryUsage"]["usedBytes"] is None
    assert [entry["id"] for entry in document["recommendations"]] == ["unreachable"]


def test_memcached_has_the_same_document() -> None:
    document = checked(seen(memcached_stats(evicted_total=500, evicted_unfetched_total=500)))
    assert document["server"]["kind"] == "memcached"
    assert document["server"]["role"] is None
    assert document["metrics"]["evictionRate"] == 0.5


def test_a_target_is_printable_and_the_status_may_be_set() -> None:
    document = report(seen(redis_stats()), target="redis://\x1b[2J", status="partial")
    assert_document(document)
    assert (document["target"], document["denied"]) == ("redis://\\x1b[2J", [])
