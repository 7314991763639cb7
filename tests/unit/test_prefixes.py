"""Figures by prefix: the truth lies within their intervals, cliffs are found and slopes are not, hints fit."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable

import pytest

from cachetui.analysis.expiries import expiries
from cachetui.analysis.prefixes import picture
from cachetui.model import KeyFacts
from cachetui.model.prefixes import KeySample, PrefixSum, prefix_of

KEYS, DRAWS = 20_000, 100

Size = Callable[[random.Random, int], float]
POPULATIONS: dict[str, Size] = {
    "even": lambda rng, kind: 100 * kind + rng.expovariate(1 / 200),
    "log-normal": lambda rng, kind: rng.lognormvariate(4 + kind, 1.2),
    "by kind": lambda rng, kind: [80, 400, 3000, 50_000][kind - 1],
    "heavy": lambda rng, kind: 60 * rng.paretovariate(2.1),
}


def facts(key: bytes, size: int) -> KeyFacts:
    return KeyFacts(key, type="string", size_bytes=size, has_ttl=False)


@pytest.mark.parametrize("name", POPULATIONS)
def test_the_truth_lies_within_the_intervals(name: str) -> None:
    rng, truth = random.Random(7), Counter[bytes]()
    sizes: dict[bytes, int] = {}
    for at in range(KEYS):
        (kind,) = rng.choices((1, 2, 3, 4), (500, 300, 180, 20))
        key = b"kind%d:%d" % (kind, at)
        sizes[key] = max(50, int(POPULATIONS[name](rng, kind)))
        truth[prefix_of(key)] += sizes[key]
    within = told = 0
    for _ in range(DRAWS):
        names = tuple(rng.sample(list(sizes), 5000))
        waiting: dict[bytes, list[bytes]] = {}
        for key in names[300:]:
            waiting.setdefault(prefix_of(key), []).append(key)
        more = [facts(key, sizes[key]) for some in waiting.values() for key in some[:50]]
        sample = KeySample(0.0, KEYS, 0, names, tuple(facts(key, sizes[key]) for key in names[:300]), tuple(more))
        for row in picture(sample).rows:
            share = truth[row.prefix] / truth.total()
            assert row.share is not None
            told += 1
            within += row.share.low <= share <= row.share.high
    assert told == 4 * DRAWS and within / told >= 0.93


def test_all_looked_at_is_exact() -> None:
    known = tuple(facts(b"%d:x" % (at % 7), 100 + at) for at in range(700))
    shown = picture(KeySample(0.0, 700, 0, tuple(one.key for one in known), known))
    assert shown.bytes == sum(one.size_bytes or 0 for one in known) and shown.bytes_error == 0
    (row,) = shown.rows
    assert row.prefix == b"*" and row.keys == 700 and row.keys_error == 0
    assert row.share is not None and row.share == (1.0, 1.0, 1.0)
    assert row.without_ttl == (1.0, 1.0, 1.0)


def test_sums_over_all_keys() -> None:
    sums = {b"a:*": PrefixSum(10, 10, 1000, 100, 10, 5), b"b:*": PrefixSum(30, 30, 3000, 100, 30, 0)}
    shown = picture(KeySample(0.0, 40, sums=sums))
    assert shown.exact and shown.bytes == 4000 and [row.prefix for row in shown.rows] == [b"b:*", b"a:*"]
    assert shown.rows[0].share == (0.75, 0.75, 0.75) and shown.without_ttl == (0.125, 0.125, 0.125)


def test_nothing_known_is_nothing_told() -> None:
    shown = picture(KeySample(0.0, 0))
    assert shown.rows == () and shown.bytes is None and shown.without_ttl is None and shown.expiries is None
    unsized = picture(KeySample(0.0, 10, 0, (b"a:1",), (KeyFacts(b"a:1"),)))
    assert unsized.bytes is None and unsized.rows[0].bytes is None and unsized.rows[0].share is None
    assert unsized.rows[0].without_ttl is None and unsized.rows[0].idle_s is None


def test_small_prefixes_are_told_together() -> None:
    names = tuple(b"p%d:%d" % (at, again) for at in range(200) for again in range(1 + 50 * (at < 3)))
    shown = picture(KeySample(0.0, len(names), 0, names, tuple(facts(name, 100) for name in names)))
    rest = next(row for row in shown.rows if row.prefix == b"")
    assert len(shown.rows) < 100 and sum(row.keys for row in shown.rows) == pytest.approx(len(names))
    assert rest.keys > 100


def test_a_cliff_is_found_and_a_steady_flow_is_none() -> None:
    rng = random.Random(3)
    steady = [(rng.uniform(0, 60), b"page:*") for _ in range(2000)]
    found = expiries(steady, 10)
    assert found is not None and found.cliffs == () and found.keys[0] == 20_000
    cliff = [(1800 + rng.uniform(0, 5), b"import:*") for _ in range(300)]
    found = expiries(steady + cliff, 10)
    assert found is not None
    (one,) = found.cliffs
    assert one.prefix == b"import:*" and one.keys == 3000 and 1799 < one.begins_s < one.ends_s < 1806
    assert expiries([], 1) is None


def test_what_could_be_kept_better() -> None:
    flat = json.dumps({"name": "x", "price": 1, "stock": 3}).encode()
    values = {
        b"flat:%d": (flat, "json"),
        b"deep:%d": (b'{"a": {"b": 1}, "c": [1], "d": 2}', "json"),
        b"long:%d": (b"the same words again and again " * 60, "text"),
        b"noise:%d": (random.Random(1).randbytes(2000), "binary"),
        b"code:%d": (b"\x80\x04.", "pickle"),
    }
    heads = tuple((name % at, value) for name, (value, _) in values.items() for at in range(5))
    formats = {name % at: kind for name, (_, kind) in values.items() for at in range(5)}
    keys = [key for key, _ in heads] + [b"lonely1", b"lonely2", b"lonely3", b"with space:1"]
    sample = KeySample(
        0.0, len(keys), 0, tuple(keys), tuple(facts(key, 100) for key in keys), heads=heads, formats=formats
    )
    hints = [hint.words for hint in picture(sample).hints]
    for beginning in ("flat:* holds flat JSON", "long:* holds long text", "code:* holds pickles"):
        assert any(hint.startswith(beginning) for hint in hints), hints
    assert not any(hint.startswith(("deep:", "noise:")) for hint in hints)
    assert any("have no prefix" in hint for hint in hints) and any("with spaces" in hint for hint in hints)
    tidy = picture(KeySample(0.0, 3, 0, (b"a:1", b"a:2", b"b:1"), tuple(facts(key, 60) for key in (b"a:1", b"b:1"))))
    assert tidy.hints == ()
