"""Keys from arguments are stable, and different arguments never share one."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.patterns.entry import Entry
from cachetui.patterns.errors import Unreadable
from cachetui.patterns.keys import canonical, digest, key_maker
from cachetui.patterns.names import beside, lock_of, recognise, slot

PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


class Colour(Enum):
    RED = 1


def shape(value: Any) -> Any:
    """Return a value so that `==` tells what `canonical` has to tell apart: True is not 1."""
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, dict):
        return {(type(name), name): shape(of) for name, of in value.items()}
    return type(value), value


@given(VALUES, VALUES)
def test_only_equal_values_share_their_bytes(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (shape(one) == shape(other))


def test_values_that_look_alike_differ() -> None:
    alike = [1, True, 1.0, "1", b"1", Decimal(1), Colour.RED, (1,), {1}, {1: None}, UUID(int=1), None, "None", ""]
    alike += [
        date(2026, 1, 1),
        datetime(2026, 1, 1),
        "2026-01-01",
        ("a", "bc"),
        ("ab", "c"),
        [["a"], "b"],
        1.5,
        -0.0,
        0.0,
    ]
    assert len({canonical(value) for value in alike}) == len(alike)
    with pytest.raises(TypeError, match="give key="):
        canonical(object())


def test_the_order_and_the_process_do_not_matter() -> None:
    script = "from cachetui.patterns.keys import digest; print(digest([{'b': 1, 'a': {3, 1, 2}}, 'x', 1.5]))"
    seen = set()
    for seed in ("0", "1"):
        argv, environ = [sys.executable, "-c", script], {"PYTHONHASHSEED": seed}
        seen.add(subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout.strip())
    assert seen == {digest([{"a": {2, 3, 1}, "b": 1}, "x", 1.5])} == {"5ceaca166466731e92298978fcf5f4e0"}


def test_a_call_has_one_key_however_it_is_written() -> None:
    def function(one: int, two: int = 2, *rest: int, **named: int) -> None: ...

    key = key_maker(function, None)
    assert key(1) == key(1, 2) == key(one=1, two=2) != key(2, 1)
    assert key(1, 2, x=1, y=2) == key(1, 2, y=2, x=1) != key(1, 2, 1, 2)
    assert key_maker(function, "f:{two}:{one}")(1) == "f:2:1"
    assert key_maker(function, lambda one, **_: f"by:{one}")(5) == "by:5"


@given(st.binary(max_size=12))
def test_a_lock_lies_in_the_slot_of_its_key(key: bytes) -> None:
    assert slot(lock_of(key)) == slot(key) == slot(beside(b"expiry", key))


@pytest.mark.parametrize("key", [b"page:1", b"{user:1}:cart", b"a}b{c}"])
def test_a_lock_says_what_it_locks(key: bytes) -> None:
    found = recognise(lock_of(key))
    assert found is not None and found.kind == "lock" and found.of.endswith(key)


def test_the_conventions_are_recognised() -> None:
    names = {
        b"behind:{orders:0}": ("stream", b"orders:0"),
        b"behind:{orders:1}:dead": ("dead-letters", b"orders:1"),
        b"behind:{orders:1}:values": ("values", b"orders:1"),
        beside(b"expiry", b"tag:new"): ("tag-expiry", b"new"),
        b"lock:behind:{orders:0}": ("lock", b"behind:{orders:0}"),
    }
    assert {name: tuple(recognise(name) or ()) for name in names} == names
    assert recognise(b"t/new/x", "t/{tag}/x") == ("tag", b"new")
    assert [recognise(name) for name in (b"tag:", b":version", b"behind:orders", b"", b"locked")] == [None] * 5


@given(st.binary(max_size=30), st.booleans(), st.integers(0, 2**60), st.integers(0, 2**40))
def test_an_entry_comes_back_as_it_was(body: bytes, packed: bool, fresh_until_ms: int, cost_ms: int) -> None:
    entry = Entry.decode(Entry(body, packed, fresh_until_ms, cost_ms).encode())
    assert (entry.body, entry.packed, entry.fresh_until_ms) == (body, packed, fresh_until_ms)


@given(st.binary(max_size=30))
def test_rubbish_is_a_value_or_unreadable_and_nothing_else(data: bytes) -> None:
    for tried in (data, b"\x00ct" + data, b"\x00ct1" + data):
        try:
            Entry.decode(tried)
        except Unreadable:
            assert tried.startswith(b"\x00ct")
