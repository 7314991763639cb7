"""Slow log entries grouped by shape."""

from __future__ import annotations

import pytest

from cachetui.analysis.slow import EXAMPLE_ARGS, SHAPE_WIDTH, group, key_shape, shape
from cachetui.model import SlowEntry


def entry(
    *args: bytes, us: int | None = 1_000, at: float = 0.0, who: str = "10.0.0.1:99", event: str = ""
) -> SlowEntry:
    return SlowEntry(1, at, us, args, who, event=event)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((b"get", b"user:1"), "GET user:*"),
        ((b"GET", b"user:1:orders:2"), "GET user:*:orders:*"),
        ((b"HGETALL", b"s:3f2b8c1e-0000-4000-8000-123456789abc"), "HGETALL s:*"),
        ((b"GET", b"page:deadbeef01"), "GET page:*"),
        ((b"GET", b"deadline"), "GET deadline"),
        ((b"GET", b"v1.2.3"), "GET v*"),
        ((b"GET", b""), 'GET ""'),
        ((b"KEYS", b"user:*"), "KEYS user:*"),
        ((b"SCAN", b"17", b"MATCH", b"x"), "SCAN"),
        ((b"client", b"list"), "CLIENT LIST"),
        ((b"MEMORY", b"USAGE", b"k:9"), "MEMORY USAGE k:*"),
        ((b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", b"jobs:1", b">"), "XREADGROUP jobs:*"),
        ((b"EVALSHA", b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db", b"1", b"k:1"), "EVALSHA e0e1f9fa… k:*"),
        ((b"EVAL", b"return\n  1", b"0"), "EVAL return 1"),
        ((b"ZUNION", b"2", b"z:1", b"z:2"), "ZUNION z:*"),
        ((b"\x1b]0;x\x07", b"\xff\x00"), "\\X1B]0;X\\X07 \\xff\\x*"),
        ((b"PING",), "PING"),
        ((), "(empty)"),
    ],
)
def test_shapes(args: tuple[bytes, ...], expected: str) -> None:
    assert shape(entry(*args)) == expected


def test_events_of_memcached() -> None:
    assert shape(entry(b"user:1", event="evict", us=None)) == "evict user:*"
    assert group([entry(b"user:1", event="evict", us=None)])[0].total_us == 0


def test_a_long_key_is_cut() -> None:
    assert len(key_shape(b"x" * 1_000_000)) == SHAPE_WIDTH
    assert key_shape(b"1" * 1_000_000) == "*"


def test_groups_by_total_time() -> None:
    groups = group(
        [
            entry(b"GET", b"a:1", us=50, at=1),
            entry(b"GET", b"a:2", us=70, at=9, who="10.0.0.2:5"),
            entry(b"get", b"a:3", us=10, at=3),
            entry(b"DEL", b"b", us=100, at=4),
        ]
    )
    assert [(g.shape, g.count, g.total_us, g.max_us, g.last_at) for g in groups] == [
        ("GET a:*", 3, 130, 70, 9),
        ("DEL b", 1, 100, 100, 4),
    ]
    assert groups[0].example == ("GET", "a:2")
    assert groups[0].clients == ("10.0.0.1", "10.0.0.2")


def test_the_example_is_safe_and_short() -> None:
    args = (b"MSET", *(b"\x9b[31m" * 100 for _ in range(200)))
    example = group([entry(*args)])[0].example
    assert len(example) == EXAMPLE_ARGS + 1
    assert example[-1] == f"(+{len(args) - EXAMPLE_ARGS})"
    assert all(part.isprintable() and len(part) <= 80 for part in example)
