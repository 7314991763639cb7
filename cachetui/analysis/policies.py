"""Miniature caches: what a server of a given size and policy would have kept of a sampled stream.

They follow the rules of Redis and Valkey to the letter where these matter: a handful of keys is
looked at for each eviction, the best of them wait in a pool of 16, idle times count whole seconds,
frequencies are logarithmic counters that begin at 5 and decay by the minute. A cache for a sample
of one key in ten has a tenth of the memory.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from heapq import heappop, heappush
from random import Random

from cachetui.analysis.table import Table
from cachetui.model.accesses import Accesses, Rules

SEGMENTED = "lru-segmented"
"""Memcached's policy, unless it is told otherwise."""
POOL = 16
"""Candidates for eviction that a server keeps in mind."""
LFU_FIRST = 5
"""The frequency of a new key."""
LFU_MOST = 255
_MINUTES = 1 << 16
EARLY = 0.25
"""By so much of the stream it is judged how often the keys were used that were in memory before."""
SETTLED_S = 60.0
"""A server that has just come to an LFU policy is taken to have counted for so long."""


def known(policy: str) -> bool:
    """Tell whether `policy` can be simulated.

    >>> known("volatile-ttl"), known("allkeys-best")
    (True, False)
    """
    if policy in ("noeviction", SEGMENTED):
        return True
    return policy.startswith(("allkeys-", "volatile-")) and _kind(policy) in _MAKERS


def _kind(policy: str) -> str:
    return policy.rpartition("-")[2]


class Miniature:
    """What is in memory, by key index, and how a key is chosen to go. Subclasses know a policy each."""

    def __init__(self, accesses: Accesses, capacity_bytes: float, rules: Rules, rng: Random) -> None:
        self.accesses, self.capacity, self.rules, self.random = accesses, capacity_bytes, rules, rng.random
        self.sizes = accesses.sizes_bytes
        self.used = 0
        self.evicted = self.refused = 0
        self.volatile = rules.policy.startswith("volatile-")
        self.stamps = array("q", bytes(8 * len(self.sizes)))
        """What the policy notes of each key."""
        self.expires = array("d", [math.inf]) * len(self.sizes)
        self.usual_ttl = array("d", accesses.expires_s)
        self._due: list[tuple[float, int]] = []
        self._place = array("q", [-1]) * len(self.sizes)
        """Where in `members` a key is; -1: not in memory."""
        self.members: list[int] = []
        self.candidates = Table(accesses.rate)
        """The keys that may be evicted: all, or those with a time to live."""
        self._learn_ttls()

    def _learn_ttls(self) -> None:
        """Note the first time to live that each key is given: a fill that the stream does not hold would give it."""
        accesses, usual = self.accesses, self.usual_ttl
        began = accesses.times_s[0] if accesses.times_s else 0.0
        for key, at in enumerate(accesses.expires_s):
            usual[key] = max(1.0, at - began) if at < math.inf else math.inf
        told: set[int] = set()
        for key, ttl_s in zip(accesses.keys, accesses.ttls_s, strict=True):
            if not math.isnan(ttl_s) and key not in told:
                told.add(key)
                usual[key] = ttl_s

    def __contains__(self, key: int) -> bool:
        return self._place[key] >= 0

    def may_go(self, key: int) -> bool:
        """Tell whether a key is in memory and may be evicted."""
        return self._place[key] >= 0 and not (self.volatile and self.expires[key] == math.inf)

    # What a policy defines.

    def born(self, key: int, now_s: float) -> None:
        """Note a new key."""

    def used_again(self, key: int, now_s: float, *, written: bool) -> None:
        """Note one more use."""

    def choose(self, now_s: float) -> int | None:
        """Return a key to evict; None: there is none."""
        raise NotImplementedError

    def recalled(self, key: int, began_s: float) -> None:
        """Note a key that was in memory before the stream began."""
        idle = self.accesses.idle_s[key]
        self.born(key, began_s - (0.0 if math.isnan(idle) else idle))

    # What is common.

    def preload(self) -> None:
        """Put in what the server held when the stream began, the longest idle first, as far as there is room."""
        accesses = self.accesses
        if not accesses.times_s:
            return
        began = accesses.times_s[0]
        there = [key for key in range(len(self.sizes)) if accesses.was_there(key) and self.sizes[key] <= self.capacity]
        idle = accesses.idle_s
        for key in sorted(there, key=lambda key: 0.0 if math.isnan(idle[key]) else -idle[key]):
            self._enter(key, accesses.expires_s[key])
            self.recalled(key, began)
            while self.used > self.capacity:
                if not self._evict(began):
                    self.remove(key)

    def insert(self, key: int, now_s: float, ttl_s: float) -> None:
        """Write a key that is not in memory."""
        # What has no room in an empty memory would empty it in vain.
        full = self.rules.policy == "noeviction" and self.used + self.sizes[key] > self.capacity
        if full or self.sizes[key] > self.capacity:
            self.refused += 1
            return
        self._enter(key, now_s + ttl_s)
        self.born(key, now_s)
        while self.used > self.capacity:
            if not self._evict(now_s):
                self.refused += 1
                self.remove(key)
                return

    def _evict(self, now_s: float) -> bool:
        key = self.choose(now_s)
        if key is None:
            return False
        self.remove(key)
        self.evicted += 1
        return True

    def expire(self, now_s: float) -> None:
        """Remove what has expired by now."""
        while self._due and self._due[0][0] <= now_s:
            at, key = heappop(self._due)
            if self.expires[key] == at and key in self:
                self.remove(key)

    @property
    def next_due_s(self) -> float:
        return self._due[0][0] if self._due else math.inf

    def set_expiry(self, key: int, at_s: float) -> None:
        """Give a key that is in memory another time to expire; infinity: never."""
        before, self.expires[key] = self.expires[key], at_s
        if at_s < math.inf:
            heappush(self._due, (at_s, key))
        if self.volatile and (before < math.inf) is not (at_s < math.inf):
            (self.candidates.add if at_s < math.inf else self.candidates.remove)(key)

    def remove(self, key: int) -> None:
        """Take a key out of memory, whatever the reason."""
        if self.may_go(key):
            self.candidates.remove(key)
        self.used -= self.sizes[key]
        _take(self.members, self._place, key)
        self.expires[key] = math.inf

    def _enter(self, key: int, expires_s: float) -> None:
        self.used += self.sizes[key]
        self._place[key] = len(self.members)
        self.members.append(key)
        if not self.volatile:
            self.candidates.add(key)
        self.expires[key] = math.inf
        if expires_s < math.inf:
            self.set_expiry(key, expires_s)


def _take(keys: list[int], places: array[int], key: int) -> None:
    """Take `key` out of an unordered list that knows the place of each."""
    at, last = places[key], keys.pop()
    if last != key:
        keys[at] = last
        places[last] = at
    places[key] = -1


class Pooled(Miniature):
    """Looks at a few keys at random for each eviction, and remembers the best candidates of earlier looks.

    As in the servers, a candidate's score is not looked at again: it may have been used meanwhile.
    """

    def __init__(self, accesses: Accesses, capacity_bytes: float, rules: Rules, rng: Random) -> None:
        super().__init__(accesses, capacity_bytes, rules, rng)
        self.scores: list[float] = []
        self.pool: list[int] = []

    def score(self, key: int, now_s: float) -> float:
        """Return how much a key deserves to go."""
        raise NotImplementedError

    def choose(self, now_s: float) -> int | None:
        candidates, scores, pool = self.candidates, self.scores, self.pool
        while len(candidates):
            for key in candidates.some(self.rules.samples, self.random):
                score = self.score(key, now_s)
                at = bisect_left(scores, score)
                if len(scores) >= POOL:
                    if at == 0:
                        continue
                    del scores[0], pool[0]
                    at -= 1
                scores.insert(at, score)
                pool.insert(at, key)
            while pool:
                scores.pop()
                key = pool.pop()
                if self.may_go(key):
                    return key
        return None


class LeastRecent(Pooled):
    """lru: the longest idle, in whole seconds of the server's clock."""

    def born(self, key: int, now_s: float) -> None:
        self.stamps[key] = int(now_s)

    def used_again(self, key: int, now_s: float, *, written: bool) -> None:
        self.stamps[key] = int(now_s)

    def score(self, key: int, now_s: float) -> float:
        return int(now_s) - self.stamps[key]


class LeastModified(LeastRecent):
    """lrm: the longest not written; reads do not count."""

    def used_again(self, key: int, now_s: float, *, written: bool) -> None:
        if written:
            self.stamps[key] = int(now_s)


class LeastFrequent(Pooled):
    """lfu: the lowest of the logarithmic counters. A stamp is the minute of the last use, times 256, plus that."""

    def born(self, key: int, now_s: float) -> None:
        self.stamps[key] = _minute(now_s) << 8 | LFU_FIRST

    def recalled(self, key: int, began_s: float) -> None:
        frequency = self.accesses.frequencies[key]
        self.stamps[key] = _minute(began_s) << 8 | (self._settled(key) if frequency < 0 else frequency)

    def preload(self) -> None:
        accesses = self.accesses
        if accesses.times_s:
            began = accesses.times_s[0]
            early = bisect_left(accesses.times_s, began + accesses.seconds * EARLY)
            self._early = Counter(accesses.keys[:early])
            self._early_s = accesses.seconds * EARLY
        super().preload()

    def _settled(self, key: int) -> int:
        """Return the counter a key would have come to, as often as it was used lately."""
        idle = self.accesses.idle_s[key]
        watched_s = self._early_s + (0.0 if math.isnan(idle) else idle)
        per_s = (self._early[key] + 1) / max(1.0, watched_s)
        factor, decay = self.rules.lfu_log_factor, self.rules.lfu_decay_min
        uses = per_s * SETTLED_S
        # Each use adds 1 / (excess * factor + 1); summed up that is a root.
        excess = (math.sqrt(1 + 2 * factor * uses) - 1) / factor if factor else uses
        if decay and factor:
            excess = min(excess, (60 * decay * per_s - 1) / factor)
        idle_min = 0 if math.isnan(idle) or not decay else int(idle) // (60 * decay)
        return min(LFU_MOST, max(0, LFU_FIRST + max(0, int(excess)) - idle_min))

    def decayed(self, key: int, now_s: float) -> int:
        """Return the counter as it is now."""
        stamp = self.stamps[key]
        if not self.rules.lfu_decay_min:
            return stamp & LFU_MOST
        periods = (_minute(now_s) - (stamp >> 8)) % _MINUTES // self.rules.lfu_decay_min
        return max(0, (stamp & LFU_MOST) - periods)

    def used_again(self, key: int, now_s: float, *, written: bool) -> None:
        counter = self.decayed(key, now_s)
        if counter < LFU_MOST:
            base = max(0, counter - LFU_FIRST)
            if self.random() * (base * self.rules.lfu_log_factor + 1) < 1:
                counter += 1
        self.stamps[key] = _minute(now_s) << 8 | counter

    def score(self, key: int, now_s: float) -> float:
        return LFU_MOST - self.decayed(key, now_s)


def _minute(now_s: float) -> int:
    return int(now_s) // 60 % _MINUTES


class SoonestExpiry(Pooled):
    """ttl: what expires first."""

    def score(self, key: int, now_s: float) -> float:
        return -self.expires[key]


class AtRandom(Miniature):
    """random: any."""

    def choose(self, now_s: float) -> int | None:
        return self.candidates.one(self.random) if len(self.candidates) else None


class Never(Miniature):
    """noeviction: nothing goes, writes are refused."""

    def choose(self, now_s: float) -> int | None:
        return None


_MAKERS: dict[str, type[Miniature]] = {
    "lru": LeastRecent,
    "lrm": LeastModified,
    "lfu": LeastFrequent,
    "ttl": SoonestExpiry,
    "random": AtRandom,
    "noeviction": Never,
}


def make(accesses: Accesses, capacity_bytes: float, rules: Rules, rng: Random) -> Miniature:
    """Return an empty miniature cache of so many bytes under these rules. The policy must be a known one."""
    if rules.policy == SEGMENTED:
        from cachetui.analysis.segmented import Segmented

        return Segmented(accesses, capacity_bytes, rules, rng)
    return _MAKERS[_kind(rules.policy)](accesses, capacity_bytes, rules, rng)
