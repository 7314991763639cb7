"""What goes next: the keys that each policy thinks least of, with honest words where that cannot be told."""

from __future__ import annotations

import random

import pytest

from cachetui.analysis.eviction import outlook
from cachetui.model import KeyFacts

LRU, LFU = ("allkeys-lru", "volatile-lru"), ("allkeys-lfu", "volatile-lfu")


def keys(number: int = 800) -> list[KeyFacts]:
    """Old ones expire soon and are used seldom; half of the young ones never expire."""
    rng = random.Random(5)
    found = []
    for at in range(number):
        old = at % 2 == 0
        expires = old or at % 4 == 1
        found.append(
            KeyFacts(
                b"%s:%d" % (b"old" if old else b"young", at),
                size_bytes=100,
                idle_s=rng.randrange(1000, 2000) if old else rng.randrange(900),
                frequency=rng.randrange(5) if old else rng.randrange(20, 60),
                has_ttl=expires,
                ttl_s=(rng.uniform(1, 50) if old else rng.uniform(100, 900)) if expires else None,
            )
        )
    return found


@pytest.mark.parametrize("policy", [*LRU, *LFU, "volatile-ttl"])
def test_the_least_worth_goes_first(policy: str) -> None:
    found = outlook(keys(), 80_000, policy)
    name, share = found.shares[0]
    assert name == b"old:*" and share.value > 0.95 and share.low <= share.value <= share.high
    assert found.freed_bytes == pytest.approx(0.1 * 8_000_000) and found.keys == pytest.approx(8000, rel=0.05)
    assert found.idle_s is not None and 1000 <= found.idle_s < 2000
    assert found.lasts == pytest.approx(1.0 if policy.startswith("allkeys") else 0.75)


def test_at_random_all_are_alike() -> None:
    found = dict(outlook(keys(), 80_000, "allkeys-random").shares)
    assert found[b"old:*"].value == pytest.approx(0.5, abs=0.07)
    assert found[b"old:*"].low < 0.5 < found[b"old:*"].high


def test_more_samples_choose_better() -> None:
    few, many = (outlook(keys(), 80_000, "allkeys-lru", samples=samples, ahead=0.4) for samples in (1, 10))
    assert dict(many.shares)[b"old:*"].value > dict(few.shares)[b"old:*"].value + 0.2


def test_what_cannot_be_told_is_said() -> None:
    untimed = [KeyFacts(b"a:%d" % at, size_bytes=100, idle_s=at, has_ttl=False) for at in range(200)]
    assert outlook(untimed, 200, "volatile-lru").note.startswith("no key looked at has a TTL")
    assert outlook(untimed, 200, "allkeys-lfu").note.startswith("the server counts no frequencies")
    assert "refused" in outlook(untimed, 200, "noeviction").note
    assert outlook([], 0, "allkeys-lru").note == "there are no keys"
    assert "too few" in outlook(untimed[:10], 10, "allkeys-lru").note
    counted = [KeyFacts(b"a:%d" % at, size_bytes=100, frequency=3, has_ttl=False) for at in range(200)]
    assert outlook(counted, 200, "allkeys-lru").note.startswith("the server keeps no idle times")


def test_a_policy_that_runs_out_of_keys_says_so() -> None:
    few = [KeyFacts(b"a:%d" % at, size_bytes=100, idle_s=at, has_ttl=at < 60, ttl_s=9.0) for at in range(1000)]
    found = outlook(few, 1000, "volatile-lru")
    assert found.lasts == pytest.approx(0.06) and "no key with a TTL is left" in found.note
    assert found.keys == pytest.approx(60)
