"""The slow log of a session, and its picture over time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cachetui.analysis.heat import BOUNDS_US, heat
from cachetui.feeds.slow_log import MOST, SlowLogKeeper
from cachetui.model import Identity, SlowEntry, SlowLog
from cachetui.model.latency import LatencyHistogram
from cachetui.ui.panes.latency import percentile_us
from cachetui.ui.panes.slow import heat_lines

RING = 8


def entry(
    number: int, at: float | None = None, duration_us: int | None = 2000, node: str = "", log: str = ""
) -> SlowEntry:
    return SlowEntry(number, 1000.0 + number if at is None else at, duration_us, (b"GET", b"k"), node=node, log=log)


def log_of(entries: list[SlowEntry], run_id: str = "a", kind: str = "redis") -> SlowLog:
    return SlowLog(2000.0, Identity(kind, run_id=run_id), tuple(reversed(entries)), len(entries))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30))
def test_every_entry_that_was_ever_seen_is_kept_once_and_the_rest_is_counted(steps: list[int]) -> None:
    keeper, came, seen = SlowLogKeeper(), 0, set()
    for step in steps:
        came += step
        ring = [entry(number) for number in range(max(0, came - RING), came)]
        seen |= {one.entry_id for one in ring}
        kept = keeper.keep(log_of(ring))
        assert [one.entry_id for one in kept.entries] == sorted(seen, reverse=True)
        assert kept.kept == len(seen) - len(ring)
        first = min(seen, default=0)
        assert kept.missed == (came - first - len(seen) if seen else 0)


def test_ids_begin_anew_after_a_restart_and_differ_between_nodes_and_logs() -> None:
    keeper = SlowLogKeeper()
    keeper.keep(log_of([entry(number) for number in range(5)]))
    again = keeper.keep(log_of([entry(0, at=1500.0)], run_id="b"))
    assert (len(again.entries), again.missed, again.entries[0].at) == (6, 0, 1500.0)
    both = keeper.keep(
        log_of([entry(7, at=1600.0, node="x"), entry(7, at=1600.0, node="y"), entry(7, at=1600.0, log="large-reply")])
    )
    assert (len(both.entries), both.missed) == (9, 0)


def test_a_reset_of_the_servers_log_loses_nothing_here_and_memory_is_bounded() -> None:
    keeper = SlowLogKeeper()
    keeper.keep(log_of([entry(number) for number in range(5)]))
    assert keeper.keep(log_of([])).kept == 5
    kept = keeper.keep(log_of([entry(number) for number in range(5, MOST + 100)]))
    assert len(kept.entries) == MOST
    assert kept.entries[0].entry_id == MOST + 99


def test_events_of_memcached_keep_themselves() -> None:
    keeper = SlowLogKeeper()
    keeper.keep(log_of([entry(1)], kind="memcached"))
    assert keeper.keep(log_of([entry(2)], kind="memcached")).entries == (entry(2),)


@given(st.lists(st.tuples(st.floats(0, 5000), st.integers(0, 5_000_000)), min_size=1, max_size=60), st.integers(2, 80))
def test_every_command_of_the_reach_is_in_its_cell(given_: list[tuple[float, int]], spans: int) -> None:
    now = 10_000.0
    found = heat([entry(n, at=now - back, duration_us=us) for n, (back, us) in enumerate(given_)], spans, now)
    assert found is not None
    assert all(len(row) == spans for row in found.counts)
    assert now < found.until <= now + found.span_s
    whole = found.span_s * (spans - 1) >= max(back for back, _ in given_)
    assert not whole or sum(map(sum, found.counts)) == len(given_)
    for least_us, row in zip(found.least_us, found.counts, strict=True):
        above = min((bound for bound in BOUNDS_US if bound > least_us), default=10**12)
        inside = sum(least_us <= us < above and found.until - found.span_s * spans <= now - back for back, us in given_)
        assert sum(row) <= inside or not whole
        assert not whole or sum(row) == inside


def test_without_lengths_there_is_no_picture() -> None:
    assert heat([], 10, 0.0) is None
    assert heat([entry(1, duration_us=None)], 10, 2000.0) is None
    assert heat_lines([entry(1)], 2000.0, 5) == []


def test_one_among_hundreds_is_drawn() -> None:
    many = [entry(number, at=1999.0) for number in range(500)] + [entry(501, at=1990.0, duration_us=400_000)]
    drawn = ["".join(words for words, _ in line.spans) for line in heat_lines(many, 2000.0, 60, ascii_only=True)]
    assert drawn[0].lstrip().startswith(">300ms") and "." in drawn[0]
    assert "#" in drawn[1] or "#" in drawn[-2]
    assert all(line.isascii() for line in drawn)


def test_percentiles_of_a_histogram() -> None:
    histogram = LatencyHistogram("get", 100, (1, 2, 4, 1024), (90, 8, 1, 1))
    assert [percentile_us(histogram, percent) for percent in (50, 90, 98, 99, 100)] == [1, 1, 2, 4, 1024]
