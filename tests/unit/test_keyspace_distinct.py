"""Counting different names, and choosing some of them."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from cachetui.keyspace.distinct import Distinct


def counting(size: int = 10, seed: int = 1, **how: int) -> Distinct:
    return Distinct(size, random.Random(seed), **how)


@given(st.lists(st.lists(st.binary(max_size=6), max_size=30), max_size=10), st.integers(0, 2**32))
def test_every_name_counts_once_and_a_small_number_is_the_sample(batches: list[list[bytes]], seed: int) -> None:
    counter = counting(400, seed)
    for batch in batches:
        counter.add(batch)
    different = {name for batch in batches for name in batch}
    assert counter.received == sum(map(len, batches))
    assert sorted(counter.sample()) == sorted(different)
    assert counter.count() == (len(different), 0)


def test_the_sample_does_not_depend_on_order_or_repetition() -> None:
    names = [b"name:%d" % number for number in range(20_000)]
    shuffled = [*names, *names[:5_000]]
    random.Random(7).shuffle(shuffled)
    one, other = counting(50), counting(50)
    for start in range(0, len(names), 1000):
        one.add(names[start : start + 1000])
    other.add(shuffled)
    assert sorted(one.sample()) == sorted(other.sample())
    assert len(one.sample()) == 50
    assert sorted(counting(50, seed=2).sample()) == []
    assert one.count() == other.count() == (20_000, 0)


def test_each_name_is_as_likely_as_any_other() -> None:
    names = [b"%d" % number for number in range(1000)]
    hits = 0
    for seed in range(200):
        counter = counting(100, seed)
        counter.add(names)
        hits += sum(int(name) < 500 for name in counter.sample())
    assert abs(hits / 20_000 - 0.5) < 0.03


def test_beyond_the_limit_it_is_an_estimate() -> None:
    counter = counting(exact=10_000)
    for start in range(0, 100_000, 500):
        batch = [b"%d" % number for number in range(start, start + 500)]
        counter.add([*batch, *batch[:50]])  # one in eleven again
    number, error = counter.count()
    assert abs(number - 100_000) <= error < 1000


def test_what_was_forgotten_does_not_count() -> None:
    counter = counting()
    counter.add([b"a", b"b"])
    counter.clear()
    counter.add([b"c"])
    assert (counter.sample(), counter.received, counter.count()) == ([b"c"], 1, (1, 0))
