"""How much else was used between two uses of a key: the distances that tell what each size of memory would keep.

A read is a hit in an exact LRU cache of all sizes from its distance up. The first read of a key in
the stream has no distance, but a least one: all that was used since the stream began. Such
readings ("censored") are taken into account as survival analysis does (Kaplan and Meier, 1958).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush

from cachetui.model.accesses import Accesses, Use

_TOUCHES = frozenset((Use.READ, Use.WRITE, Use.FILL, Use.UPDATE))
_NEVER, _GONE = -1, -2
"""A key that was not seen yet; one that was deleted or has expired."""


class Fenwick:
    """Sums over ranges of a row of numbers that change: both in O(log n)."""

    def __init__(self, length: int) -> None:
        self._tree = [0] * (length + 1)
        self.total = 0

    def add(self, at: int, amount: int) -> None:
        """Add `amount` to the number at index `at`."""
        self.total += amount
        tree, at, length = self._tree, at + 1, len(self._tree)
        while at < length:
            tree[at] += amount
            at += at & -at

    def after(self, at: int) -> int:
        """Return the sum of the numbers behind index `at`."""
        tree, before, at = self._tree, 0, at + 1
        while at > 0:
            before += tree[at]
            at -= at & -at
        return self.total - before


@dataclass(frozen=True, slots=True)
class Distances:
    """What was found for each sampled lookup of a key that can be there, in the order they came."""

    at_bytes: array[float]
    """The least memory for keys that makes it a hit; where `known` is 0, it is more than this."""
    known: bytes
    groups: bytes
    lookups: array[int]
    """Lookups of all keys up to it."""
    hopeless: int = 0
    """Sampled lookups of keys that never exist: misses at any size."""
    reach_bytes: float = 0.0
    """All that was used in the stream and before: beyond this nothing is known."""


def distances(accesses: Accesses) -> Distances:
    """Return the distance of each lookup, weighted by the keys' sizes and scaled to all keys."""
    walk = _Walk(accesses)
    for record in zip(accesses.times_s, accesses.keys, accesses.uses, accesses.ttls_s, accesses.lookups, strict=True):
        walk.step(*record)
    return walk.found()


class _Walk:
    """The stream walked once. `_last` says where in the tree a key's last use stands."""

    def __init__(self, accesses: Accesses) -> None:
        self._accesses = accesses
        sizes, idle = accesses.sizes_bytes, accesses.idle_s
        before = [at for at in range(len(sizes)) if accesses.complete and not math.isnan(idle[at])]
        before.sort(key=lambda at: -idle[at])
        self._tree = Fenwick(len(before) + len(accesses.keys))
        self._last = [_NEVER] * len(sizes)
        self._expires = array("d", accesses.expires_s)
        self._due: list[tuple[float, int]] = []
        for self._position, key in enumerate(before):
            self._tree.add(self._position, sizes[key])
            self._last[key] = self._position
            self._plan(key, self._expires[key])
        self._position = self._began = len(before)
        self._found, self._known = array("d"), bytearray()
        self._groups, self._lookups, self._hopeless = bytearray(), array("q"), 0

    def step(self, now_s: float, key: int, use: int, ttl_s: float, lookups: int) -> None:
        while self._due and self._due[0][0] <= now_s:
            at, gone = heappop(self._due)
            if self._expires[gone] == at:
                self._forget(gone)
        held = self._last[key]
        if use <= Use.LOOK:
            self._look(now_s, key, held, lookups)
            if held == _GONE:
                return
        if use in _TOUCHES:
            self._touch(key)
        elif use == Use.DELETE:
            self._forget(key)
        if use in (Use.WRITE, Use.FILL) or (use == Use.EXPIRE and self._last[key] >= 0):
            self._plan(key, now_s + ttl_s if not math.isnan(ttl_s) else self._expires[key])

    def _look(self, now_s: float, key: int, held: int, lookups: int) -> None:
        if held == _GONE or not self._accesses.fillable[key]:
            self._hopeless += 1
            return
        # What is counted of the key itself is not scaled: it is one key, not one of many like it.
        if held < self._began and now_s < self._accesses.settled_s:
            held, others = _NEVER, self._tree.after(self._began - 1)
        else:
            others = self._tree.total if held == _NEVER else self._tree.after(held)
        self._found.append(others / self._accesses.rate + self._accesses.sizes_bytes[key])
        self._known.append(held != _NEVER)
        self._groups.append(self._accesses.groups[key])
        self._lookups.append(lookups)

    def _touch(self, key: int) -> None:
        if not self._accesses.fillable[key]:
            return
        size, held = self._accesses.sizes_bytes[key], self._last[key]
        if held >= 0:
            self._tree.add(held, -size)
        self._tree.add(self._position, size)
        self._last[key] = self._position
        self._position += 1

    def _forget(self, key: int) -> None:
        """The key is gone from a memory of any size, until somebody writes it again."""
        if self._last[key] >= 0:
            self._tree.add(self._last[key], -self._accesses.sizes_bytes[key])
        self._last[key] = _GONE
        self._expires[key] = math.inf

    def _plan(self, key: int, at_s: float) -> None:
        self._expires[key] = at_s
        if at_s < math.inf:
            heappush(self._due, (at_s, key))

    def found(self) -> Distances:
        reach = self._tree.total / self._accesses.rate
        return Distances(self._found, bytes(self._known), bytes(self._groups), self._lookups, self._hopeless, reach)


LEAST_AT_RISK = 50
"""Beyond the distance that so few lookups reach, the curve is only continued."""


@dataclass(frozen=True, slots=True)
class Survival:
    """Which share of lookups has a distance above any number of bytes."""

    steps: tuple[float, ...]
    """Distances, rising."""
    shares: tuple[float, ...]
    """The share above each of them."""
    start: float = 1.0
    horizon: float = math.inf
    """What is beyond was seen by too few; the curve goes on from here as it came over the last doubling."""

    def above(self, distance: float) -> float:
        """Return the share of lookups with a distance above `distance`: what misses at that size."""
        if distance <= self.horizon:
            return self._seen(distance)
        there = self._seen(self.horizon)
        fell = self._seen(self.horizon / 2) - there
        return max(0.0, there - fell * math.log2(distance / self.horizon))

    def _seen(self, distance: float) -> float:
        at = bisect_right(self.steps, distance)
        return self.shares[at - 1] if at else self.start

    def hits_within(self, distance: float, beyond: float) -> float:
        """Return how probably a lookup known to be beyond `beyond` is within `distance`."""
        there = self.above(beyond)
        return max(0.0, 1 - self.above(distance) / there) if there > 0 else 0.0


def survival(found: Iterable[tuple[float, int]], start: float = 1.0) -> Survival:
    """Return the estimate by Kaplan and Meier from pairs of distance and whether it is known exactly.

    `start` is the share of lookups that these are: with SHARDS' correction, what hit keys are missing
    from the sample, or are too many in it, is taken to be hits at any size.

    >>> curve = survival([(1.0, 1), (2.0, 0), (3.0, 1)])
    >>> [round(curve.above(at), 3) for at in (0.5, 1, 2, 3)]
    [1.0, 0.667, 0.667, 0.0]
    """
    ordered = sorted(found)
    at_risk, share = len(ordered), start
    steps, shares = [], []
    index = 0
    while index < len(ordered):
        distance = ordered[index][0]
        events = gone = 0
        while index < len(ordered) and ordered[index][0] == distance:
            events += ordered[index][1]
            gone += 1
            index += 1
        if events:
            share *= 1 - events / at_risk
            steps.append(distance)
            shares.append(share)
        at_risk -= gone
    horizon = ordered[-LEAST_AT_RISK][0] if len(ordered) >= 2 * LEAST_AT_RISK else math.inf
    return Survival(tuple(steps), tuple(shares), start, horizon)
