"""The table of rules: its form, silence on what is well or unknown, order, stale figures."""

from __future__ import annotations

import json
import re

import pytest

from cachetui.analysis.rules import RULES, findings
from cachetui.model import DbKeys, Evidence, Identity, Stats
from cachetui.model.findings import PRIORITIES
from tests.unit.documents import CATEGORIES
from tests.unit.evidence import NOW, REDIS, found, memcached_stats, over_window, redis_stats, seen, topology, trouble


def test_the_table_names_each_rule_once() -> None:
    assert len(RULES) >= 40
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id) for rule in RULES)
    assert {rule.category for rule in RULES} == CATEGORIES - {"topology"}


@pytest.mark.parametrize(
    "evidence",
    [
        seen(),
        seen(redis_stats()),
        seen(redis_stats(), redis_stats(NOW - 600), redis_stats(NOW - 60)),
        seen(memcached_stats(), memcached_stats(NOW - 60)),
        seen(Stats(NOW, REDIS)),
        seen(Stats(NOW, Identity("memcached"))),
        seen(redis_stats(), topology=topology()),
        over_window({}, {"hits_total": 955_000, "misses_total": 55_600, "commands_total": 2_020_000}),
    ],
    ids=["nothing", "busy", "idle", "memcached", "unknown", "unknown-memcached", "topology", "lookups"],
)
def test_what_is_well_or_unknown_is_silent(evidence: Evidence) -> None:
    assert findings(evidence) == ()


def test_a_new_empty_server_has_only_a_note() -> None:
    new = Stats(
        NOW,
        REDIS,
        uptime_s=1,
        hits_total=0,
        misses_total=0,
        evicted_total=0,
        used_bytes=1_000_000,
        rss_bytes=8_000_000,
        fragmentation_ratio=8.0,
        maxmemory_bytes=0,
        policy="noeviction",
        system_memory_bytes=8 * 1024**3,
        databases=(),
        clients=1,
        max_clients=10_000,
        blocked_clients=0,
        save_ok=True,
        loading=False,
    )
    assert [(f.id, f.priority) for f in findings(seen(new))] == [("no-maxmemory", "low")]


def test_a_busy_cache_at_its_limit_has_nothing_high() -> None:
    evidence = over_window(
        {"used_bytes": 4 * 1024**3 - 1000, "evicted_total": 0},
        {
            "used_bytes": 4 * 1024**3,
            "evicted_total": 600,
            "hits_total": 1_045_000,
            "misses_total": 60_800,
            "blocked_clients": 8,
            "databases": (DbKeys(0, 100_000, 20),),
        },
    )
    assert {f.priority for f in findings(evidence)} <= {"low", "medium"}
    assert found(evidence)["evicting"].priority == "low"


def test_the_worst_come_first_and_the_order_is_stable() -> None:
    evidence = over_window(
        {"rejected_connections_total": 1, "evicted_total": 0},
        {
            "rejected_connections_total": 9,
            "evicted_total": 5_000,
            "save_ok": False,
            "fork_us": 200_000,
            "clients": 9_000,
            "link_up": None,
        },
    )
    ids = [finding.id for finding in findings(evidence)]
    assert ids == [finding.id for finding in findings(evidence)]
    order = [PRIORITIES.index(finding.priority) for finding in findings(evidence)]
    assert order == sorted(order)
    assert ids[:2] == ["save-failed", "rejected-connections"]
    assert {"near-maxclients", "evicting", "fork-slow"} <= set(ids)


def test_figures_from_before_the_trouble_are_stale_and_silent() -> None:
    full = redis_stats(NOW - 30, used_bytes=5 * 1024**3, policy="noeviction")
    alone = findings(seen(full, trouble=trouble("unreachable", "127.0.0.1:6379 refused the connection")))
    assert [finding.id for finding in alone] == ["unreachable"]
    assert alone[0].evidence["last_answer_s_ago"] == 30
    assert alone[0].evidence["last_used_bytes"] == 5 * 1024**3
    assert "oom" in found(seen(full))


def test_a_denied_command_leaves_the_rest_to_be_judged() -> None:
    ids = set(found(seen(redis_stats(save_ok=False), trouble=trouble("denied", "SLOWLOG: not permitted"))))
    assert ids == {"denied", "save-failed"}


def test_every_finding_is_plain_json_with_words() -> None:
    evidence = over_window(
        {},
        {"evicted_total": 90_000, "hits_total": 946_000, "misses_total": 60_000, "save_ok": False},
    )
    for finding in findings(evidence):
        assert json.loads(json.dumps(finding.evidence, allow_nan=False)) == finding.evidence
        assert finding.issue[0].isupper() or finding.issue[0].isdigit() or finding.issue.startswith("volatile")
        assert finding.action.endswith(".")
        assert finding.evidence
