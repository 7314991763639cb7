"""What was measured, its sums and its orders, against plain lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cachetui.keyspace.measures import Measures
from cachetui.keyspace.order import Order
from cachetui.model import KeyFacts

NOW = 1_000_000.0
FACTS = st.lists(
    st.builds(
        KeyFacts,
        key=st.just(b"k"),
        exists=st.booleans(),
        type=st.sampled_from([None, "string", "hash"]),
        size_bytes=st.none() | st.integers(0, 50),
        has_ttl=st.just(True),
        ttl_s=st.none() | st.integers(1, 50).map(float),
        idle_s=st.none() | st.integers(0, 9),
    )
    | st.builds(KeyFacts, key=st.just(b"k"), has_ttl=st.just(False), size_bytes=st.integers(0, 9)),
    max_size=60,
)


def measured(facts: list[KeyFacts]) -> Measures:
    measures = Measures(len(facts))
    for rank, one in enumerate(facts):
        measures.put(rank, one, NOW)
    return measures


@given(FACTS)
def test_what_is_put_in_comes_out(facts: list[KeyFacts]) -> None:
    measures = measured(facts)
    assert measures.known == len(facts)
    for rank, one in enumerate(facts):
        known = measures.fact(rank, b"k", NOW)
        if one.exists:
            assert (known.type, known.size_bytes, known.ttl_s, known.idle_s) == (
                one.type,
                one.size_bytes,
                one.ttl_s,
                one.idle_s,
            )
        else:
            assert known.size_bytes is None and known.has_ttl is None


@given(FACTS, st.integers(0, 60), st.integers(0, 60))
def test_sums(facts: list[KeyFacts], start: int, stop: int) -> None:
    there = [one for one in facts[start:stop] if one.exists]
    summary = measured(facts).summary(start, max(start, min(stop, len(facts))))
    assert summary.size_bytes == sum(one.size_bytes or 0 for one in there)
    assert summary.without_ttl == sum(one.has_ttl is False for one in there)


def test_sums_of_many() -> None:
    measures = Measures(20_000)
    for rank in range(20_000):
        measures.put(rank, KeyFacts(b"k", size_bytes=rank, has_ttl=rank % 2 == 0, ttl_s=1.0 if rank % 2 == 0 else None))
    summary = measures.summary(1_000, 17_001)
    assert (summary.keys, summary.size_bytes) == (16_001, sum(range(1_000, 17_001)))
    assert summary.without_ttl == 8_000


@given(FACTS, st.booleans())
def test_orders(facts: list[KeyFacts], descending: bool) -> None:
    measures = measured(facts)
    for by, values in (("size", measures.size_bytes), ("idle", measures.idle_s)):
        order = Order(measures, by, descending=descending)  # type: ignore[arg-type]
        known = [rank for rank in range(len(facts)) if values[rank] >= 0]
        unknown = [rank for rank in range(len(facts)) if values[rank] < 0]
        assert sorted(order) == list(range(len(facts)))
        ranked = [values[rank] for rank in order[: len(known)]]
        assert ranked == sorted(ranked, reverse=descending)
        assert list(order[len(known) :]) == unknown
        assert [order.place(rank) for rank in order] == list(range(len(facts)))


def test_for_ever_is_the_longest_time() -> None:
    facts = [
        KeyFacts(b"a", has_ttl=False),
        KeyFacts(b"b", has_ttl=True, ttl_s=5.0),
        KeyFacts(b"c"),
        KeyFacts(b"d", has_ttl=True, ttl_s=1.0),
    ]
    assert list(Order(measured(facts), "ttl", descending=False)) == [3, 1, 0, 2]
    assert list(Order(measured(facts), "ttl", descending=True)) == [0, 1, 3, 2]
