"""Miniature caches against a model of the server's rules that is written the long way."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachetui.analysis import policies, simulation
from cachetui.analysis.policies import LFU_FIRST, POOL, LeastFrequent, LeastRecent
from cachetui.analysis.simulation import simulate
from cachetui.model.accesses import Rules, Use
from tests.unit.streams import stream

POLICIES = ("allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl", "noeviction", "allkeys-lrm")


class Model:
    """A cache of dicts that follows the same rules, draws the same random numbers, and is slow."""

    def __init__(self, sizes: Sequence[int], capacity: int, rules: Rules) -> None:
        self.sizes, self.capacity, self.rules = sizes, capacity, rules
        self.random = random.Random(1).random
        self.kept: dict[int, tuple[float, int]] = {}
        """When each was used last, and its frequency."""
        self.whole = 4
        """Places of the table."""
        self.order: dict[int, int] = {}
        """A number for each key that falls with its arrival: the newest comes first in its chain."""
        self.expires: dict[int, float] = {}
        self.pool: list[tuple[float, int]] = []
        self.evicted: list[int] = []

    def use(self, key: int, now: float, kind: Use, ttl: float) -> bool:
        for gone in [other for other, at in self.expires.items() if at <= now]:
            self.drop(gone)
        hit = key in self.kept
        if hit:
            last, counter = self.kept[key]
            periods = (int(now) // 60 - int(last) // 60) // self.rules.lfu_decay_min if self.rules.lfu_decay_min else 0
            counter = max(0, counter - periods)
            if "lfu" in self.rules.policy and counter < 255:
                chance = 1 / (max(0, counter - LFU_FIRST) * self.rules.lfu_log_factor + 1)
                counter += self.random() < chance
            if "lrm" not in self.rules.policy or kind == Use.WRITE:
                last = now
            self.kept[key] = (last, counter)
        else:
            if self.rules.policy == "noeviction" and self.held() + self.sizes[key] > self.capacity:
                return False
            self.kept[key] = (now, LFU_FIRST)
            if len(self.kept) >= self.whole:
                # A table that grows is dealt out anew: chains keep their order.
                places, self.whole = self.chains(), self.whole * 2
                self.order = {}
                for chain in places:
                    for other in chain:
                        self.order[other] = len(self.order)
            self.order[key] = min(self.order.values(), default=0) - 1
            if kind == Use.READ and ttl == math.inf:
                ttl = math.inf
        if kind == Use.WRITE:
            self.expires.pop(key, None)
            if ttl < math.inf:
                self.expires[key] = now + ttl
        while self.held() > self.capacity:
            victim = self.victim(now)
            if victim is None:
                self.drop(key)
                break
            self.evicted.append(victim)
            self.drop(victim)
        return hit

    def held(self) -> int:
        return sum(self.sizes[key] for key in self.kept)

    def drop(self, key: int) -> None:
        self.kept.pop(key)
        self.expires.pop(key, None)
        del self.order[key]

    def chains(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in range(self.whole)]
        for key in sorted(self.order, key=lambda key: self.order[key]):
            found[(key * 0x9E3779B97F4A7C15 % 2**64 // 2**32) * self.whole // 2**32].append(key)
        return found

    def some(self) -> list[int]:
        """Take keys from a random place on, place by place."""
        chains, wanted, found, empty = self.chains(), min(self.rules.samples, len(self.order)), list[int](), 0
        at = int(self.random() * self.whole)
        for _ in range(10 * wanted):
            found += chains[at]
            empty = 0 if chains[at] else empty + 1
            if len(found) >= wanted:
                break
            if empty >= 5 and empty > wanted:
                at, empty = int(self.random() * self.whole), 0
            at = (at + 1) % self.whole
        return found[:wanted]

    def score(self, key: int, now: float) -> float:
        last, counter = self.kept[key]
        kind = self.rules.policy.rpartition("-")[2]
        if kind == "lfu":
            periods = (int(now) // 60 - int(last) // 60) // self.rules.lfu_decay_min if self.rules.lfu_decay_min else 0
            return 255 - max(0, counter - periods)
        return float(int(now) - int(last))

    def victim(self, now: float) -> int | None:
        if self.rules.policy == "noeviction" or not self.order:
            return None
        if self.rules.policy.endswith("random"):
            chains = self.chains()
            while not (chain := chains[int(self.random() * self.whole)]):
                continue
            return chain[int(self.random() * len(chain))] if len(chain) > 1 else chain[0]
        while self.order:
            for key in self.some():
                score = self.score(key, now)
                better = [entry for entry in self.pool if entry[0] < score]
                if not better and len(self.pool) == POOL:
                    continue
                self.pool.insert(len(better), (score, key))
                if len(self.pool) > POOL:
                    self.pool.pop(0)
            while self.pool:
                _, key = self.pool.pop()
                if key in self.kept:
                    return key
        return None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 25), st.sampled_from([Use.READ, Use.READ, Use.WRITE])), min_size=1, max_size=300),
    st.lists(st.integers(1, 5), min_size=26, max_size=26),
    st.integers(5, 60),
    st.sampled_from(["allkeys-lru", "allkeys-lfu", "allkeys-random", "allkeys-lrm", "noeviction"]),
    st.sampled_from([0.02, 1.0, 20.0]),
)
def test_a_miniature_misses_what_the_model_misses(
    steps: list[tuple[int, Use]], sizes: list[int], capacity: int, policy: str, per_s: float
) -> None:
    rules = Rules(policy)
    accesses = stream(
        [key for key, _ in steps], sizes, uses=[use for _, use in steps], per_s=per_s, rules=rules, memory_bytes=10**9,
        ttls_s=array("d", [math.inf]) * len(steps),
    )  # fmt: skip
    model = Model(sizes, capacity, rules)
    warm = accesses.reads * simulation.WARM_UP
    missed = 0
    for at_s, (key, use), lookups in zip(accesses.times_s, steps, accesses.lookups, strict=True):
        hit = model.use(key, at_s, use, math.inf)
        missed += use == Use.READ and not hit and lookups > warm
    outcome = simulate(accesses, capacity, rules)
    assert outcome.misses == missed
    assert outcome.evicted == len(model.evicted)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 25), st.sampled_from(list(Use)), st.sampled_from([math.nan, math.inf, 0.5, 3.0, 90.0])
        ),
        min_size=1,
        max_size=200,
    ),
    st.integers(1, 80),
    st.sampled_from(POLICIES),
)
def test_whatever_comes_the_memory_is_never_overdrawn(
    steps: list[tuple[int, Use, float]], capacity: int, policy: str
) -> None:
    rules = Rules(policy)
    accesses = stream(
        [key for key, _, _ in steps], [3 + key % 4 for key in range(26)], uses=[use for _, use, _ in steps], per_s=2.0,
        ttls_s=array("d", (ttl for _, _, ttl in steps)), rules=rules,
    )  # fmt: skip
    cache = policies.make(accesses, float(capacity), rules, random.Random(1))
    run = simulation._Run(accesses, cache, None)
    for at_s, (key, use, ttl_s) in zip(accesses.times_s, steps, strict=True):
        cache.expire(at_s)
        run._step(at_s, key, use, ttl_s)
        assert cache.used == sum(cache.sizes[key] for key in cache.members) <= capacity
        assert len(set(cache.members)) == len(cache.members)
        if cache.volatile:
            assert len(cache.candidates) == sum(cache.expires[key] < math.inf for key in cache.members)
        assert all(cache.expires[key] > at_s for key in cache.members if use != Use.EXPIRE)


def test_the_counter_grows_by_the_logarithm_of_the_uses() -> None:
    # The servers' documentation: with a factor of 10, 100 uses come to 10, 1,000 to 18, 100,000 to 142.
    cache = LeastFrequent(stream([0], [1]), 10.0, Rules("allkeys-lfu"), random.Random(5))
    cache.insert(0, 1e9, math.inf)
    seen = {}
    for uses in range(1, 100_001):
        cache.used_again(0, 1e9, written=False)
        seen[uses] = cache.decayed(0, 1e9)
    assert 7 <= seen[100] <= 13
    assert 14 <= seen[1000] <= 22
    assert 125 <= seen[100_000] <= 170


@pytest.mark.parametrize(("decay", "after_min", "expected"), [(1, 3, 2), (2, 3, 4), (0, 1000, 5), (1, 10, 0)])
def test_the_counter_decays_by_the_minute(decay: int, after_min: int, expected: int) -> None:
    cache = LeastFrequent(stream([0], [1]), 10.0, Rules("allkeys-lfu", lfu_decay_min=decay), random.Random(5))
    began = 60.0 * 1_000_000
    cache.insert(0, began, math.inf)
    assert cache.decayed(0, began + 60 * after_min) == expected


def test_idle_times_count_whole_seconds() -> None:
    cache = LeastRecent(stream([0, 1], [1, 1]), 10.0, Rules(), random.Random(5))
    cache.insert(0, 100.1, math.inf)
    cache.insert(1, 100.9, math.inf)
    assert cache.score(0, 102.0) == cache.score(1, 102.0) == 2


def test_the_soonest_expiry_goes_first_and_keys_without_one_never() -> None:
    uses = [Use.WRITE] * 6
    ttls = array("d", [50.0, 10.0, math.inf, 30.0, 40.0, math.nan])
    rules = Rules("volatile-ttl")
    accesses = stream([0, 1, 2, 3, 4, 2], [1] * 5, uses=uses, ttls_s=ttls, rules=rules)
    cache = policies.SoonestExpiry(accesses, 3.0, rules, random.Random(1))
    for key, ttl in ((0, 50.0), (1, 10.0), (2, math.inf), (3, 30.0), (4, 40.0)):
        cache.insert(key, 0.0, ttl)
    assert sorted(cache.members) == [0, 2, 4]


def test_volatile_without_any_ttl_is_like_noeviction() -> None:
    keys = list(range(10)) * 10
    accesses = stream(keys, [1] * 10, rules=Rules("volatile-lru"))
    one, other = simulate(accesses, 5, Rules("volatile-lru")), simulate(accesses, 5, Rules("noeviction"))
    assert one.evicted == other.evicted == 0
    assert one.refused == other.refused > 0


def test_a_fill_makes_a_frequency_no_higher() -> None:
    uses = [Use.READ, Use.FILL] * 50
    rules = Rules("allkeys-lfu")
    accesses = stream([0] * 100, [1], uses=uses, ttls_s=array("d", [math.inf]) * 100, rules=rules)
    cache = LeastFrequent(accesses, 10.0, rules, random.Random(3))
    plain = LeastFrequent(accesses, 10.0, rules, random.Random(3))
    run = simulation._Run(accesses, cache, None)
    for at_s, key, use in zip(accesses.times_s, accesses.keys, accesses.uses, strict=True):
        run._step(at_s, key, use, math.inf)
    plain.insert(0, 1e9, math.inf)
    for _ in range(49):
        plain.used_again(0, 1e9, written=False)
    assert cache.decayed(0, 1e9) == plain.decayed(0, 1e9)


def test_expired_keys_are_filled_again_with_their_usual_ttl() -> None:
    uses = [Use.WRITE, Use.READ, Use.READ, Use.READ]
    ttls = array("d", [1.5, math.nan, math.nan, math.nan])
    accesses = stream([0] * 4, [1], uses=uses, ttls_s=ttls, per_s=1.0)
    cache = LeastRecent(accesses, 10.0, Rules(), random.Random(1))
    run = simulation._Run(accesses, cache, None)
    missed = []
    for at_s, key, use, ttl_s in zip(accesses.times_s, accesses.keys, uses, ttls, strict=True):
        cache.expire(at_s)
        missed.append(run._step(at_s, key, use, ttl_s))
    # Written at 0, gone at 1.5; the read at 2 fills it again until 3.5.
    assert missed == [0.0, 0.0, 1.0, 0.0]


def test_what_was_in_memory_before_is_a_hit_at_once() -> None:
    idle = array("d", [3.0, 9.0, 1.0, math.nan])
    accesses = stream([0, 1, 2, 3] * 10, [1] * 4, idle_s=idle, complete=True)
    cache = LeastRecent(accesses, 2.0, Rules(), random.Random(1))
    cache.preload()
    assert sorted(cache.members) == [0, 2]


def test_unknown_lookups_count_by_their_probability() -> None:
    accesses = stream(list(range(100)) * 2, [1] * 100, memory_bytes=10**9)
    sure = simulate(accesses, 1000, Rules())
    half = simulate(accesses, 1000, Rules(), beyond=lambda _: 0.5)
    # A quarter of the stream is warm-up: 75 first reads are counted there, 50 of the hundred are not.
    assert sure.misses == 50
    assert half.misses == 25
    assert half.unknown == half.unlikely == 25
