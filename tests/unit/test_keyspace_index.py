"""The index against a plain set of names: counts, ranks, prefixes, whatever comes in whatever order."""

from __future__ import annotations

import random
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from cachetui.keyspace import index as index_module
from cachetui.keyspace.index import BATCH_KEYS, SAMPLE_KEYS, KeyIndex, successor

NAMES = st.binary(max_size=6).map(lambda data: bytes(b"ab:\n\xff\x00c"[byte % 7] for byte in data))


def settled(names: list[bytes], separators: str = ":") -> KeyIndex:
    index = KeyIndex(separators)
    index.add(names)
    for _ in index.settle():
        pass
    return index


def many(number: int) -> list[bytes]:
    names = [b"%s:%d:x" % ((b"user", b"cart", b"s")[at % 3], at) for at in range(number)]
    random.Random(1).shuffle(names)
    return names


@given(st.lists(NAMES), st.lists(NAMES, max_size=5), NAMES)
def test_it_holds_what_a_set_holds(names: list[bytes], gone: list[bytes], probe: bytes) -> None:
    index = settled(names)
    index.discard(gone)
    expected = sorted(set(names) - set(gone))
    assert len(index) == index.total == len(expected) and index.exact
    assert index.keys(0, len(expected)) == expected == list(index.under(b""))
    assert [index.key(rank) for rank in range(len(expected))] == expected
    assert (probe in index) == (probe in expected)
    assert index.rank(probe) == sum(name < probe for name in expected)
    beneath = [name for name in expected if name.startswith(probe)]
    assert index.count(probe) == len(beneath) and list(index.under(probe)) == beneath


@given(st.lists(NAMES))
def test_every_name_is_reached_from_the_root_on_one_way(names: list[bytes]) -> None:
    index = settled(names)
    reached: list[bytes] = []

    def walk(prefix: bytes) -> int:
        count = 0
        for branch in index.children(prefix):
            assert branch.name == prefix + branch.label
            if branch.is_key:
                reached.append(branch.name)
                count += 1
            else:
                assert branch.count == walk(branch.name) == index.count(branch.name)
                count += branch.count
        return count

    assert walk(b"") == len(set(names))
    assert sorted(reached) == sorted(set(names))


def test_a_million_like_order_of_buckets_is_kept(monkeypatch: object) -> None:
    names = many(60_000)
    index = KeyIndex()
    index.expect(len(names))
    for start in range(0, len(names), 500):
        index.add(names[start : start + 500])
        index.add(names[start : start + 20])  # SCAN repeats some
    assert len(index) >= 60_000
    for _ in index.settle():
        pass
    assert index.exact and len(index) == 60_000
    assert index.keys(0, 60_000) == sorted(names)
    assert [(branch.name, branch.count) for branch in index.children(b"")] == [
        (b"cart:", 20_000),
        (b"s:", 20_000),
        (b"user:", 20_000),
    ]
    beneath = index.children(b"user:", largest_first=False)
    assert len(beneath) == 20_000 and beneath[0].name == b"user:0:" and not beneath[-1].is_key


def test_leaves_beneath_one_prefix_are_listed_in_order() -> None:
    names = [b"k:%06d" % at for at in range(30_000)]
    index = settled(names)
    branches = index.children(b"k:")
    assert len(branches) == 30_000 and branches.prefixes == 0
    assert [branches[at].name for at in (0, 1, 15_000, -1)] == [names[0], names[1], names[15_000], names[-1]]


def test_counts_are_right_while_it_fills() -> None:
    names = many(SAMPLE_KEYS + 3 * BATCH_KEYS)
    index = KeyIndex()
    for start in range(0, len(names), 1000):
        index.add(names[start : start + 1000])
        held = names[: start + 1000]
        assert index.count(b"user:") == sum(name.startswith(b"user:") for name in held)
        assert index.total == len(held)


def test_it_is_filled_by_one_thread_and_read_by_another() -> None:
    names = many(50_000)
    index = KeyIndex()
    problems: list[BaseException] = []

    def fill() -> None:
        try:
            for start in range(0, len(names), 250):
                index.add(names[start : start + 250])
        except BaseException as error:
            problems.append(error)

    filler = threading.Thread(target=fill)
    filler.start()
    while filler.is_alive():
        for branch in index.children(b""):
            assert branch.count <= len(names)
        for key in index.keys(0, 50):
            assert key in index
    filler.join()
    assert not problems
    assert sorted(set(names)) == list(index.under(b""))


def test_a_full_memory_says_so() -> None:
    index = KeyIndex(limit_bytes=100_000)
    names = many(40_000)
    for start in range(0, len(names), 1000):
        index.add(names[start : start + 1000])
    assert not index.complete
    assert index.left_out + index.total == 40_000
    index.clear()
    assert index.complete and len(index) == 0


def test_hostile_names() -> None:
    names = [b"", b"\n", b"\n\n", b":" * 100, b"a\nb:c", b"\x00", b"x" * 1_000_000, b"x" * 1_000_000 + b":y"]
    index = settled(names)
    assert list(index.under(b"")) == sorted(names)
    assert index.sample(b"x", 9, random.Random(0)) == sorted(name for name in names if name.startswith(b"x"))
    depth, prefix = 0, b""
    while (branches := index.children(b":" * depth)) and not branches[0].is_key and depth < 200:
        depth, prefix = depth + 1, branches[0].name
    assert depth == 32 and prefix == b":" * 32
    assert any(branch.is_key for branch in branches)


@settings(max_examples=30)
@given(st.lists(NAMES), st.sampled_from([":", ":/", "any", ""]))
def test_any_separators(names: list[bytes], separators: str) -> None:
    index = settled(names, separators)
    assert sum(branch.count for branch in index.children(b"")) == len(set(names))


def test_the_name_after_a_prefix() -> None:
    assert successor(b"") is None and successor(b"\xff\xff") is None
    assert index_module.names_of(index_module.joined([b"a\nb", b""])) == [b"a\nb", b""]
