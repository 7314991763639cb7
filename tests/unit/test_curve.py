"""The curve: exact distances against a list walked each time, samples against the whole, intervals that hold."""

from __future__ import annotations

import itertools
import math
import random
from array import array
from bisect import bisect
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachetui.analysis.curve import Curve, Point, from_idle, from_stream, lru_exact, sizes_of
from cachetui.analysis.distances import Fenwick, distances, survival
from cachetui.model.accesses import HASHES, IdleSample, Rules, Use, spatial_hash
from tests.unit.streams import sampled, stream

KEYS = 3000


def stack_distances(keys: Sequence[int], sizes: Sequence[int]) -> list[int | None]:
    """Walk an LRU list each time: slow and obvious. None: the first use."""
    stack: list[int] = []
    found: list[int | None] = []
    for key in keys:
        if key in stack:
            depth = stack.index(key)
            found.append(sum(sizes[other] for other in stack[: depth + 1]))
            del stack[depth]
        else:
            found.append(None)
        stack.insert(0, key)
    return found


def zipf(count: int, exponent: float, seed: int, keys: int = KEYS) -> list[int]:
    rng = random.Random(seed)
    sums = list(itertools.accumulate(1 / (rank + 1) ** exponent for rank in range(keys)))
    return [bisect(sums, rng.random() * sums[-1]) for _ in range(count)]


def lru_hits(keys: Sequence[int], sizes: Sequence[int], capacity: int) -> int:
    kept: dict[int, int] = {}
    used = hits = 0
    for key in keys:
        if key in kept:
            hits += 1
            del kept[key]
        else:
            used += sizes[key]
        kept[key] = sizes[key]
        while used > capacity:
            used -= kept.pop(next(iter(kept)))
    return hits


@given(st.lists(st.integers(0, 12), max_size=120), st.lists(st.integers(1, 9), min_size=13, max_size=13))
def test_distances_are_those_of_a_list_walked_each_time(keys: list[int], sizes: list[int]) -> None:
    found = distances(stream(keys, sizes))
    expected = stack_distances(keys, sizes)
    assert [bool(known) for known in found.known] == [distance is not None for distance in expected]
    assert [at for at, known in zip(found.at_bytes, found.known, strict=True) if known] == [
        distance for distance in expected if distance is not None
    ]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(-9, 9)), max_size=60), st.integers(-1, 30))
def test_a_fenwick_tree_sums_like_a_list(changes: list[tuple[int, int]], behind: int) -> None:
    tree, plain = Fenwick(31), [0] * 31
    for at, amount in changes:
        tree.add(at, amount)
        plain[at] += amount
    assert tree.after(behind) == sum(plain[behind + 1 :])
    assert tree.total == sum(plain)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([Use.READ, Use.DELETE, Use.WRITE])), max_size=80))
def test_what_was_deleted_is_a_miss_at_any_size(steps: list[tuple[int, Use]]) -> None:
    found = distances(stream([key for key, _ in steps], [1] * 10, uses=[use for _, use in steps]))
    there: dict[int, bool] = {}
    hopeless = 0
    for key, use in steps:
        if use == Use.READ:
            hopeless += there.get(key) is False
        elif use == Use.DELETE:
            there[key] = False
        if use == Use.WRITE:
            there[key] = True
    assert found.hopeless == hopeless
    assert len(found.at_bytes) + hopeless == sum(use == Use.READ for _, use in steps)


def test_what_was_in_memory_before_has_a_distance_at_once() -> None:
    idle = array("d", [5.0, 1.0, math.nan])
    found = distances(stream([0, 1, 2], [10, 20, 40], idle_s=idle, complete=True))
    # Key 1 was used last, then key 0; of key 2 it is only known that it is beyond both.
    assert list(found.at_bytes) == [30, 30, 70]
    assert list(found.known) == [1, 1, 0]


def test_what_has_expired_is_a_miss_and_takes_no_room() -> None:
    ttls = array("d", [0.0015, math.nan, math.nan, math.nan])
    found = distances(
        stream([0, 1, 1, 0], [10, 20], uses=[Use.WRITE, Use.WRITE, Use.READ, Use.READ], ttls_s=ttls, per_s=1000.0)
    )
    assert (list(found.at_bytes), found.hopeless) == ([20.0], 1)


@given(st.lists(st.tuples(st.integers(1, 20), st.just(1)), min_size=1, max_size=60), st.integers(0, 21))
def test_survival_without_censoring_is_a_plain_share(found: list[tuple[int, int]], at: int) -> None:
    share = sum(distance > at for distance, _ in found) / len(found)
    assert survival([(float(distance), known) for distance, known in found]).above(at) == pytest.approx(share)


def test_exact_lru_is_what_an_lru_cache_does_in_the_long_run() -> None:
    rng = random.Random(3)
    sizes = [rng.randrange(50, 500) for _ in range(KEYS)]
    keys = zipf(60_000, 0.9, 1)
    whole = stream(keys, sizes)
    for share in (0.1, 0.3, 0.6):
        capacity = int(sum(sizes) * share)
        curve = lru_exact(whole, [capacity])
        before = lru_hits(keys[:30_000], sizes, capacity)
        steady = (lru_hits(keys, sizes, capacity) - before) / 30_000
        assert curve.points[0].hit_rate == pytest.approx(steady, abs=0.012)


@pytest.mark.parametrize("rate", [0.3, 0.1])
def test_samples_tell_the_same_within_their_intervals(rate: float) -> None:
    rng = random.Random(5)
    sizes = [rng.randrange(50, 500) for _ in range(KEYS)]
    keys = zipf(60_000, 1.0, 2)
    whole = stream(keys, sizes, per_s=2000.0)
    at = [int(sum(sizes) * share) for share in (0.05, 0.1, 0.2, 0.4, 0.7)]
    exact = lru_exact(whole, at)
    held = total = 0
    worst = 0.0
    for draw in range(12):
        names = [b"draw:%d:%d" % (draw, key) for key in range(KEYS)]
        curve = lru_exact(sampled(whole, names, rate), at)
        for point, true in zip(curve.points, exact.points, strict=True):
            total += 1
            held += point.low <= true.hit_rate <= point.high
            worst = max(worst, abs(point.hit_rate - true.hit_rate))
    assert held >= 0.8 * total
    assert worst < 0.2


def test_miniatures_of_a_sample_do_as_those_of_the_whole() -> None:
    sizes = [100] * KEYS
    whole = stream(zipf(40_000, 0.9, 4), sizes, per_s=2000.0)
    at = [60_000, 120_000]
    true = from_stream(whole, at)
    small = from_stream(sampled(whole, [b"k:%d" % key for key in range(KEYS)], 0.25), at)
    for one, other in zip(true.points, small.points, strict=True):
        assert other.low <= one.hit_rate <= other.high
        assert abs(one.hit_rate - other.hit_rate) < 0.05


def test_beyond_what_was_seen_the_interval_is_wide_open() -> None:
    curve = lru_exact(stream(list(range(500)) * 2, [100] * 500), [10_000, 50_000, 100_000])
    # The second half is known to have a distance of 50,000 bytes each, the first only a least one.
    small, enough, more = curve.points
    assert small.hit_rate == 0.0
    assert more.hit_rate >= enough.hit_rate > 0.9
    short = lru_exact(stream(list(range(500)), [100] * 500), [100_000]).points[0]
    assert (short.low, short.high) == (0.0, 1.0)


def test_keys_that_never_exist_are_misses_at_any_size() -> None:
    accesses = stream([0, 1] * 400, [10, 10], fillable=b"\x01\x00")
    (exact,), (real,) = lru_exact(accesses, [1000]).points, from_stream(accesses, [1000]).points
    assert exact.hit_rate == pytest.approx(0.5, abs=0.01)
    assert real.hit_rate == pytest.approx(0.5, abs=0.01)


def test_a_curve_is_read_between_its_points() -> None:
    curve = Curve((Point(100, 0.2, 0.1, 0.3), Point(200, 0.4, 0.3, 0.5)), "allkeys-lru", "stream")
    assert curve.at(150) == Point(150, pytest.approx(0.3), pytest.approx(0.2), pytest.approx(0.4))
    assert curve.at(100) == curve.points[0]
    assert curve.at(200) == curve.points[1]
    assert curve.at(99) is curve.at(201) is None
    assert sizes_of(1000, [777])[-1] == 3000
    assert 777 in sizes_of(1000, [777])


# By idle times.


def idle_sample(keys: Sequence[int], per_s: float, capacity: int) -> IdleSample:
    """Return the idle times in an LRU cache of keys of 100 bytes at the end of a stream."""
    last: dict[int, int] = {}
    for at, key in enumerate(keys):
        last.pop(key, None)
        last[key] = at
    kept = list(last.values())[-capacity // 100 :]
    idle = [int((len(keys) - at) / per_s) for at in kept]
    return IdleSample(tuple(idle), (100,) * len(idle), len(idle), per_s, 100 * len(idle))


@pytest.mark.parametrize("exponent", [0.8, 1.0, 1.2])
def test_idle_times_tell_the_curve_of_what_is_in_memory(exponent: float) -> None:
    keys = zipf(60_000, exponent, 6)
    capacity = 120_000
    sample = idle_sample(keys, 200.0, capacity)
    exact = lru_exact(stream(keys, [100] * KEYS), [30_000, 60_000, 90_000])
    curve = from_idle(sample, sample.key_bytes, [30_000, 60_000, 90_000])
    assert curve is not None
    for true, point in zip(exact.points, curve.points, strict=True):
        assert abs(true.hit_rate - point.hit_rate) < 0.1
        assert point.low - 0.01 <= true.hit_rate <= point.high + 0.01


def test_idle_times_say_nothing_where_they_tell_nothing() -> None:
    few = IdleSample((1,) * 20, (100,) * 20, 20, 100.0, 2000)
    assert from_idle(few, 2000) is None
    unread = IdleSample((1,) * 500, (100,) * 500, 500, 0.0, 50_000)
    assert from_idle(unread, 50_000) is None
    # All of it was used within the last second: smaller memories cannot be told apart.
    busy = IdleSample((0,) * 500, (100,) * 500, 500, 100.0, 50_000)
    curve = from_idle(busy, 50_000)
    assert curve is not None
    assert [point.bytes for point in curve.points] == [50_000]


def test_no_smaller_memory_does_better_than_the_server_now() -> None:
    sample = idle_sample(zipf(60_000, 1.0, 6), 200.0, 120_000)
    curve = from_idle(sample, sample.key_bytes, hit_rate=0.3)
    assert curve is not None
    assert all(point.hit_rate <= 0.3 + 1e-9 for point in curve.points)


@given(st.binary(max_size=40))
def test_hashes_are_in_range(key: bytes) -> None:
    assert 0 <= spatial_hash(key) < HASHES


@pytest.mark.parametrize("shape", ["user:%d", "%08d", "session:%x", "a:%d:b", "{%d}"])
def test_hashes_are_spread_evenly_for_names_as_people_make_them(shape: str) -> None:
    buckets = [0] * 64
    for number in range(20_000):
        buckets[spatial_hash((shape % number).encode()) * 64 // HASHES] += 1
    mean = 20_000 / 64
    assert sum((count - mean) ** 2 / mean for count in buckets) < 140  # 63 degrees of freedom: 1 in 10 million


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=200), st.integers(0, 400), st.sampled_from(["lru", "lfu"]))
def test_a_curve_is_a_rate_within_its_interval(keys: list[int], size: int, kind: str) -> None:
    accesses = stream(keys, [10] * 21)
    for curve in (from_stream(accesses, [size], Rules(f"allkeys-{kind}")), lru_exact(accesses, [size])):
        (point,) = curve.points
        assert 0 <= point.low <= point.hit_rate <= point.high <= 1
