"""An hour of history: rates, gaps, restarts, buckets, bounded memory."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from cachetui.feeds.history import METRICS, SLOTS, WINDOW_LENGTH, History, changes
from cachetui.model import CommandStat, Identity, Stats

T = 1_700_000_000.0
WHO = Identity("redis", "7.0.15", role="primary", run_id="a", address="h:1")


def stats(at: float, who: Identity = WHO, **fields: Any) -> Stats:
    return Stats(T + at, who, uptime_s=fields.pop("uptime_s", 1000 + int(at)), **fields)


def filled(spans: list[float], per_s: float = 100.0) -> History:
    history, at = History(), 0.0
    for span in spans:
        history.append(stats(at, hits_total=int(per_s * at), misses_total=0, clients=int(at)))
        at += span
    return history


def test_rates_are_differences_per_second() -> None:
    history = History()
    assert history.rate("hits") is None and history.hit_rate() is None and history.gauge("clients") is None
    history.append(stats(0, hits_total=1_000_000, misses_total=0, clients=5, cpu_s_total=10.0))
    assert history.rate("hits") is None, "one snapshot has no rate: since its start is not now"
    history.append(stats(2, hits_total=1_000_090, misses_total=10, clients=6, cpu_s_total=11.0))
    assert history.rate("hits") == history.rate("hits_total") == 45
    assert history.hit_rate() == 90
    assert history.gauge("clients") == 6 and history.gauge("blocked") is None
    assert history.series("cpu", 2, 1) == [0.5]
    assert history.rate("evicted") is None, "unknown is not zero"


def test_a_restart_gives_a_mark_and_no_rate() -> None:
    history = filled([1] * 10)
    after = replace(WHO, run_id="b")
    history.append(stats(10, after, uptime_s=0, hits_total=3, misses_total=0))
    assert history.rate("hits") is None
    assert [mark.text for mark in history.marks] == ["restarted"]
    assert history.marks[0].at == T + 10
    history.append(stats(11, after, uptime_s=1, hits_total=8, misses_total=0))
    assert history.rate("hits") == 5
    values = [value for value in history.series("hits", 60, 60) if value is not None]
    assert min(values) >= 0 and max(values) <= 100
    assert len(history.window()) == 2, "the window holds one run only"


def test_a_restart_that_already_counted_further_gives_no_giant_rate() -> None:
    history = filled([1] * 3)
    history.append(stats(4, replace(WHO, run_id="b"), uptime_s=1, hits_total=10**9, misses_total=0))
    assert history.rate("hits") is None
    assert max(value for value in history.series("hits", 10, 10) if value is not None) == 100


def test_a_server_without_run_id_shows_its_restart_by_its_uptime() -> None:
    who = Identity("memcached", "1.6.18")
    history = History()
    history.append(stats(0, who, uptime_s=500, hits_total=9))
    history.append(stats(1, who, uptime_s=0, hits_total=900))
    assert history.rate("hits") is None and [mark.text for mark in history.marks] == ["restarted"]


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (replace(WHO, role="replica"), ["role changed to replica"]),
        (replace(WHO, run_id="b", kind="valkey", version="9.1.0"), ["restarted", "now valkey 9.1.0"]),
        (replace(WHO, run_id="b", address="h:2"), ["connected to h:2"]),
        (replace(WHO, mode="fleet", run_id="b"), ["a server restarted, went or came back"]),
        (replace(WHO, run_id=None, version=None, role=None), []),
        (WHO, []),
    ],
)
def test_changes_are_told_apart(after: Identity, told: list[str]) -> None:
    assert changes(stats(0, hits_total=5), stats(1, after, hits_total=6)) == told


def test_a_reset_is_marked_and_only_the_fallen_counter_has_no_rate() -> None:
    history = History()
    history.append(stats(0, hits_total=50, net_in_bytes_total=100))
    history.append(stats(1, hits_total=1, net_in_bytes_total=130))
    assert [mark.text for mark in history.marks] == ["counters reset"]
    assert history.rate("hits") is None and history.rate("net_in") == 30


def test_an_outage_is_a_gap_and_a_longer_interval_is_none() -> None:
    history = filled([1] * 10 + [60] + [1] * 10)
    values = history.series("hits", 80, 80)
    assert values[-10:] == [100] * 10
    assert values[11:70] == [None] * 59, "nobody saw that minute"
    slow = filled([5] * 12)
    assert slow.series("hits", 50, 50) == [100] * 50
    slower = filled([30] * 10)
    assert slower.series("hits", 100, 10)[-3:] == [100] * 3, "a usual span is noticed"
    told = History(interval_s=60)
    for at in (0, 60, 120):
        told.append(stats(at, hits_total=at))
    assert told.series("hits", 60, 6) == [1] * 6


def test_polls_within_one_second_are_averaged() -> None:
    history = History(0.1)
    counts = [0, 5, 10, 100, 110, 120, 120, 120, 120, 120, 120, 120]
    for step, hits in enumerate(counts):
        history.append(stats(step / 4, hits_total=hits))
    assert history.series("hits", 2, 2)[0] == pytest.approx(20 / 1.0, abs=1)


def test_buckets_lie_still_until_they_are_full() -> None:
    history = filled([1] * 600)
    before = history.series("clients", 600, 60)
    history.append(stats(600, hits_total=60_000, clients=600))
    after = history.series("clients", 600, 60)
    assert len(before) == len(after) == 60
    assert before[1:-1] == after[1:-1] or before[2:-1] == after[1:-2]
    assert before[-2] == pytest.approx(sum(range(580, 600)) / 20, abs=6)


def test_series_until_now_ends_in_a_gap_when_the_server_is_silent() -> None:
    history = filled([1] * 100)
    values = history.series("hits", 100, 10, now=T + 149)
    assert values[-5:] == [None] * 5 and values[1] == 100
    assert history.series("hits", 100, 10, now=T + 100_000) == [None] * 10
    assert History().series("hits", 60, 5) == [None] * 5
    assert history.series("hits", 60, 0) == []


def test_the_ring_forgets_after_an_hour() -> None:
    history = filled([1] * (SLOTS + 100))
    values = history.series("clients", SLOTS, SLOTS)
    assert len(values) == SLOTS and values[0] == 100 and values[-1] == SLOTS + 99
    history.append(stats(10 * SLOTS, hits_total=10**7, clients=1))
    assert [value for value in history.series("clients", SLOTS, SLOTS) if value is not None] == [1]


def test_the_window_is_thin_and_ten_minutes_long() -> None:
    history = filled([1] * 2000)
    window = history.window()
    assert len(window) <= WINDOW_LENGTH
    assert window[-1] is history.latest
    assert 580 <= window[-1].taken_at - window[0].taken_at <= 600
    assert all(a.taken_at < b.taken_at for a, b in pairwise(window))
    young = filled([1] * 3)
    assert [s.taken_at - T for s in young.window()] == [0, 2]


def test_winding_back_takes_what_came_after_away() -> None:
    history = filled([1] * 100)
    history.mark("later", T + 90)
    history.append(stats(50, hits_total=5000, clients=50))
    assert history.rate("hits") is None and history.marks == ()
    values = history.series("clients", 60, 60, now=T + 99)
    assert values[:11] == list(range(40, 51)) and values[11:] == [None] * 49
    assert all(s.taken_at <= T + 50 for s in history.window())
    history.append(stats(51, hits_total=5100, clients=51))
    assert history.rate("hits") == 100


def test_a_snapshot_seen_already_changes_nothing() -> None:
    history = filled([1] * 5)
    before = history.rate("hits")
    assert history.latest is not None
    history.append(history.latest)
    assert history.rate("hits") == before == 100


def test_memory_is_bounded_after_four_hours() -> None:
    commands = tuple(CommandStat(f"c{n}", n, n) for n in range(100))
    gc.collect()
    tracemalloc.start()
    try:
        history = History()
        sizes = []
        for at in range(4 * 3600):
            history.append(stats(at, hits_total=at, misses_total=at, clients=at, commands=commands))
            if at % 50 == 0:
                history.mark(f"mark {at}")
            if at % 3600 == 3599:
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[-1] < 2_000_000
    assert abs(sizes[-1] - sizes[1]) < 50_000
    assert all(len(history.series(name, 3600, 60)) == 60 for name in METRICS)
