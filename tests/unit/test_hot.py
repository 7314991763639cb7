"""The sketch of the hottest: bounded, never less than the truth, and honest about what it cannot know."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.analysis.hot import BYS, Tally, TopK, from_frequencies, from_report, interval
from cachetui.model import ClientInfo, KeyFacts
from cachetui.model.burst import Access, Call
from cachetui.source.redis.calls import CallReader
from cachetui.source.redis.hotkeys import report
from cachetui.source.redis.monitored import BASIC


@given(st.lists(st.integers(0, 60), max_size=400), st.integers(1, 12))
def test_the_true_count_lies_between_the_bounds(stream: list[int], size: int) -> None:
    sketch: TopK[int] = TopK(size)
    for item in stream:
        sketch.add(item, item % 3, 1)
    true = Counter(stream)
    held = {one.item: one for one in sketch.all()}
    assert len(held) <= 2 * size
    for item, number in true.items():
        if item in held:
            assert held[item].count - held[item].error <= number <= held[item].count
        else:
            assert number <= sketch.floor
    assert all(one.reads + one.writes <= one.count for one in held.values())


def test_what_is_frequent_survives_a_flood_of_others() -> None:
    sketch: TopK[str] = TopK(50)
    for number in range(20_000):
        sketch.add(f"once:{number}", 0, 1)
        if number % 5 == 0:
            sketch.add("hot", number % 2, 1)
    best = sketch.top(1)[0]
    assert best.item == "hot"
    assert best.count - best.error <= 4000 <= best.count
    assert len(sketch) <= 100


@pytest.mark.parametrize(("part", "whole"), [(0, 10), (1, 10), (10, 10), (500, 100_000)])
def test_an_interval_holds_the_share(part: int, whole: int) -> None:
    low, high = interval(part, whole)
    assert 0 <= low <= part / whole <= high + 1e-12 <= 1 + 1e-9
    assert low < high


def _tally() -> Tally:
    tally = Tally(commands=1000)
    accesses = {Access(0, b"user:1", False): 6, Access(0, b"user:2", True): 2, Access(3, b"\x1b[2J", False): 2}
    calls = {
        Call("GET", "10.0.0.1:5000", False): 8,
        Call("SET", "10.0.0.1:5001", True): 2,
        Call("PING", "10.0.0.9:1", None): 10,
    }
    tally.at("a:1").take_calls(accesses, calls)
    return tally


def test_keys_prefixes_commands_and_clients_are_told_apart() -> None:
    tally = _tally()
    keys = tally.rows("key", seconds=2.0)
    assert [(row.name, row.count, row.reads, row.writes) for row in keys] == [
        ("user:1", 6, 6, 0),
        ("user:2", 2, 0, 2),
        ("\\x1b[2J", 2, 2, 0),
    ]
    assert keys[0].per_s == 3.0
    assert keys[0].share.low < 0.6 == keys[0].share.value < keys[0].share.high
    assert (keys[2].key, keys[2].db) == (b"\x1b[2J", 3)
    assert "db 3" in keys[2].note
    assert tally.rows("prefix")[0].name == "user:*"
    assert [(row.name, row.reads, row.writes) for row in tally.rows("command")] == [
        ("PING", 0, 0),
        ("GET", 8, 0),
        ("SET", 0, 2),
    ]
    assert [row.name for row in tally.rows("server")] == ["a:1"]


def test_clients_are_named_where_somebody_knows_them() -> None:
    known = [
        ClientInfo(1, "10.0.0.1:5000", "web", library="redis-py"),
        ClientInfo(2, "10.0.0.1:5001", "web"),
        ClientInfo(3, "10.0.0.9:1", ours=True),
    ]
    found = {row.name: row for row in _tally().rows("client", clients=known)}
    assert set(found) == {"web 10.0.0.1", "cachetui (us)"}
    assert found["web 10.0.0.1"].note == "2 connections, redis-py"
    assert {row.name for row in _tally().rows("client")} == {"10.0.0.1", "10.0.0.9"}


def test_it_is_full_after_so_many_commands_of_all_servers() -> None:
    tally = Tally(commands=30)
    assert not tally.at("a").full
    tally.at("a").take_calls({}, {Call("GET", "x:1", False): 20})
    tally.at("b").take_calls({}, {Call("GET", "x:1", False): 10})
    assert tally.at("a").full
    assert {row.name: row.count for row in tally.rows("server")} == {"a": 20, "b": 10}


def test_no_rows_of_nothing() -> None:
    assert all(Tally().rows(by) == [] for by in BYS)
    assert from_frequencies([KeyFacts(b"x")]) == []


LINES = (
    b'+1700000000.000001 [0 127.0.0.1:50] "GET" "a"\r\n'
    b'+1700000000.000002 [0 127.0.0.1:50] "get" "a"\r\n'
    b'+1700000000.000003 [2 [::1]:60] "MGET" "a" "b\\x00"\r\n'
    b'+1700000000.000004 [0 lua] "SET" "c\\"d" "x"\r\n'
    b'+1700000000.000005 [0 unix:/tmp/s] "PING"\r\n'
    b'+1700000000.000006 [0 127.0.0.1:99] "INFO"\r\n'
    b'+1700000000.000007 [0 127.0.0.1:50] "SET" "big" "' + b"v" * 200_000 + b'"\r\n'
    b'+1700000000.000008 [0 127.0.0.1:50] "GET" "a"\r\n'
)


class _Kept:
    """A sink that keeps all."""

    full = False

    def __init__(self) -> None:
        self.accesses: Counter[Access] = Counter()
        self.calls: Counter[Call] = Counter()

    def take_calls(self, accesses: Counter[Access], calls: Counter[Call]) -> None:
        self.accesses += accesses
        self.calls += calls


@pytest.mark.parametrize("step", [1_000_000, 4096, 7])
def test_every_command_is_counted_however_the_stream_is_cut(step: int) -> None:
    kept = _Kept()
    reader = CallReader(BASIC, kept, ours=["127.0.0.1:99"])  # type: ignore[arg-type]
    for at in range(0, len(LINES), step):
        reader.feed(LINES[at : at + step])
    assert kept.accesses == {
        Access(0, b"a", False): 3,
        Access(2, b"a", False): 1,
        Access(2, b"b\x00", False): 1,
        Access(0, b'c"d', True): 1,
        Access(0, b"big", True): 1,
    }
    assert kept.calls == {
        Call("GET", "127.0.0.1:50", False): 3,
        Call("MGET", "[::1]:60", False): 1,
        Call("SET", "lua", True): 1,
        Call("PING", "unix:/tmp/s", None): 1,
        Call("SET", "127.0.0.1:50", True): 1,
    }
    assert (reader.lines, reader.lookups, reader.strange) == (8, 5, 0)


def test_lines_that_make_no_sense_are_counted_as_such() -> None:
    kept = _Kept()
    reader = CallReader(BASIC, kept)  # type: ignore[arg-type]
    reader.feed(b'+OK\r\nHTTP/1.1 400\r\n+17 [x y] "GET" "a"\r\n\x1b]0;title\x07\r\n')
    assert reader.strange == 3
    assert not kept.accesses


FLAT = [
    *(b"tracking-active", 0, b"sample-ratio", 4, b"selected-slots", [], b"all-commands-all-slots-us", 400),
    *(b"net-bytes-all-commands-all-slots", 1000, b"collection-duration-ms", 5000),
    *(b"by-cpu-time-us", [b"x\x1b", 100, b"y", 300], b"by-net-bytes", [b"y", 900]),
]


@pytest.mark.parametrize(
    "reply",
    [FLAT, [FLAT], dict(zip(FLAT[::2], FLAT[1::2], strict=True)), [dict(zip(FLAT[::2], FLAT[1::2], strict=True))]],
)
def test_the_servers_own_hot_keys_are_read_in_each_shape(reply: object) -> None:
    found = report(reply, 1.0)
    assert (found.seconds, found.sample_ratio) == (5.0, 4)
    assert found.by_cpu == ((b"y", 300), (b"x\x1b", 100))
    assert found.by_net == ((b"y", 900),)
    rows = from_report(found.by_cpu, found.cpu_us)
    assert [(row.name, row.share.value) for row in rows] == [("y", 0.75), ("x\\x1b", 0.25)]


def test_hot_keys_by_frequency_come_in_order() -> None:
    rows = from_frequencies([KeyFacts(b"a", frequency=3), KeyFacts(b"b", frequency=200), KeyFacts(b"c")])
    assert [(row.name, row.count) for row in rows] == [("b", 200), ("a", 3)]
