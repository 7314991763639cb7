"""The verdict line."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.rules import findings
from cachetui.analysis.verdict import WIDTH, Verdict, verdict
from cachetui.model import Evidence, Finding, Identity
from tests.unit.evidence import GB, NOW, memcached_stats, over_window, redis_stats, seen, trouble


def judged(evidence: Evidence) -> Verdict:
    line = verdict(evidence, findings(evidence))
    assert text.cells(line.text) <= WIDTH
    assert line.text.isprintable()
    return line


def test_unknown_before_the_first_answer() -> None:
    assert judged(seen()) == Verdict("unknown", "Waiting for the first answer")


def test_all_is_well() -> None:
    line = judged(seen(redis_stats(used_bytes=int(3.12 * GB))))
    assert line == Verdict("ok", "primary, 2 replicas - hit rate 94.5%, memory 78% of 4.0GB, no evictions")
    lately = over_window({}, {"hits_total": 945_900, "misses_total": 55_100})
    assert "hit rate 90.0%" in judged(lately).text
    assert judged(seen(memcached_stats())).text == "memcached - hit rate 90.0%, memory 47% of 64.0MB, no evictions"
    replica = Identity("redis", "7.0.15", "cluster", "replica", "run-1")
    assert judged(seen(redis_stats(server=replica, link_up=True))).text.startswith("cluster replica, link up - ")


def test_notes_leave_it_well() -> None:
    line = judged(seen(redis_stats(maxmemory_bytes=0)))
    assert line.level == "ok"
    assert line.text.endswith("memory 2.0GB, no limit, no evictions - 1 note")
    assert line.finding_id == "no-maxmemory"


def test_the_worst_and_how_many_more() -> None:
    line = judged(seen(redis_stats(save_ok=False, clients=8_500, fork_us=600_000)))
    assert (line.level, line.finding_id) == ("bad", "save-failed")
    assert line.text.startswith("primary - The last save to disk failed")
    assert line.text.endswith(" - 2 more")
    assert judged(seen(redis_stats(clients=8_500))).level == "warn"


def test_trouble_says_its_message() -> None:
    line = judged(seen(redis_stats(NOW - 20), trouble=trouble("unreachable", "10.0.0.1:6379 refused the connection")))
    assert line == Verdict("bad", "10.0.0.1:6379 refused the connection, for 10s", "unreachable")
    assert judged(seen(trouble=trouble("timed-out", "no answer", ago=0))).text == "No answer"


def test_a_long_issue_is_cut_and_keeps_its_count() -> None:
    findings_ = [Finding("a", "memory", "high", "日本" * 200, "do.")] * 3
    line = verdict(seen(redis_stats()), findings_)
    assert text.cells(line.text) <= WIDTH
    assert line.text.endswith("… - 2 more")
