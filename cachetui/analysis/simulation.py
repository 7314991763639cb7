"""A sampled stream put through a miniature cache, and its misses counted."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from cachetui.analysis.policies import Miniature, make
from cachetui.model.accesses import GROUPS, Accesses, Rules, Use

WARM_UP, LONGER_WARM_UP, MOST_WARM_UP = 0.25, 0.5, 0.75
"""Of the stream so much only brings the miniature into its stride."""

Beyond = Callable[[float], float]
"""How probably a lookup is a hit that is known to be beyond so many bytes of other keys."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a miniature cache did after its warm-up."""

    misses: float
    """Sampled lookups that missed; those of which nothing is known count by their probability."""
    unknown: float
    """So many misses more there would be if each of those had missed."""
    unlikely: float
    """So many misses fewer there would be if each of those had been a hit."""
    lookups: int
    """Lookups of all keys, sampled or not, in that time."""
    by_group: tuple[float, ...]
    """Misses by sub-sample."""
    by_time: tuple[tuple[float, int], ...]
    """Misses, and lookups of all keys, in equal parts of the time."""
    evicted: int
    refused: int = 0
    """Writes that found no room: noeviction, or a volatile policy without keys that may go."""


def simulate(
    accesses: Accesses, capacity_bytes: float, rules: Rules, *, beyond: Beyond | None = None, seed: int = 1
) -> Outcome:
    """Return what a memory of `capacity_bytes` for keys would have missed of the whole stream's lookups.

    Under a policy that is not the server's own, or with more memory, the warm-up is longer: what the server
    holds now is what its own policy and size have left there.
    """
    alike = rules.policy == accesses.rules.policy and capacity_bytes <= accesses.memory_bytes - accesses.fixed_bytes
    warm_up = WARM_UP if alike else LONGER_WARM_UP
    cache = make(accesses, capacity_bytes * accesses.rate, rules, Random(seed))
    cache.preload()
    return _Run(accesses, cache, beyond).outcome(warm_up)


_PARTS = 5


class _Run:
    """A stream put through a miniature cache, and its misses counted."""

    def __init__(self, accesses: Accesses, cache: Miniature, beyond: Beyond | None) -> None:
        self._accesses, self._cache, self._beyond = accesses, cache, beyond
        self._by_group = [0.0] * GROUPS
        self._by_time = [[0.0, 0] for _ in range(_PARTS)]
        self._misses = self._unknown = self._unlikely = 0.0
        self._counting = False
        self._fresh = bytearray(b"\x01") * len(cache.sizes)
        """Keys of which nothing is known yet: neither in memory before, nor seen in the stream."""
        self._seen_bytes = 0
        if accesses.complete:
            for key in cache.members:
                self._fresh[key] = 0
            self._seen_bytes = cache.used

    def outcome(self, warm_up: float) -> Outcome:
        """Put all of it through; the first part of `warm_up` does not count."""
        accesses, cache = self._accesses, self._cache
        warm = max(accesses.reads * warm_up, min(accesses.reads * MOST_WARM_UP, self._unsettled()))
        counted = max(1.0, accesses.reads - warm)
        for now_s, key, use, ttl_s, lookups in zip(
            accesses.times_s, accesses.keys, accesses.uses, accesses.ttls_s, accesses.lookups, strict=True
        ):
            if now_s >= cache.next_due_s:
                cache.expire(now_s)
            self._counting = lookups > warm
            missed = self._step(now_s, key, use, ttl_s)
            if missed and self._counting:
                part = min(_PARTS - 1, int((lookups - warm) / counted * _PARTS))
                self._by_time[part][0] += missed
                self._by_group[accesses.groups[key]] += missed
                self._misses += missed
        each = int(counted / _PARTS)
        return Outcome(
            self._misses,
            self._unknown,
            self._unlikely,
            int(counted),
            tuple(self._by_group),
            tuple((misses, each) for misses, _ in self._by_time),
            cache.evicted,
            cache.refused,
        )

    def _unsettled(self) -> int:
        """Return the lookups until all that was in memory before had been looked up."""
        at = bisect_left(self._accesses.times_s, self._accesses.settled_s)
        return self._accesses.lookups[min(at, len(self._accesses.lookups) - 1)] if at else 0

    def _step(self, now_s: float, key: int, use: int, ttl_s: float) -> float:
        """Carry out one access; return by how much it is a miss."""
        cache, held, missed = self._cache, key in self._cache, 0.0
        fresh, self._fresh[key] = self._fresh[key], 0
        if fresh:
            self._seen_bytes += cache.sizes[key]
        if use <= Use.LOOK:
            if held:
                if use == Use.READ:
                    cache.used_again(key, now_s, written=False)
            else:
                missed = self._missed(key, bool(fresh))
                if use == Use.READ and self._accesses.fillable[key]:
                    cache.insert(key, now_s, cache.usual_ttl[key])
        elif use == Use.DELETE:
            if held:
                cache.remove(key)
        elif use == Use.EXPIRE:
            if held and not math.isnan(ttl_s):
                cache.set_expiry(key, now_s + ttl_s)
        else:
            self._write(now_s, key, use, ttl_s, held)
        return missed

    def _write(self, now_s: float, key: int, use: int, ttl_s: float, held: bool) -> None:
        cache = self._cache
        if not held:
            cache.insert(key, now_s, math.inf if math.isnan(ttl_s) else ttl_s)
            return
        if use != Use.FILL:  # a fill was carried out with the read before it
            cache.used_again(key, now_s, written=True)
        if not math.isnan(ttl_s):
            cache.set_expiry(key, now_s + ttl_s)
        elif use == Use.WRITE:
            cache.set_expiry(key, math.inf)

    def _missed(self, key: int, fresh: bool) -> float:
        """Return 1 for a sure miss; less for a key that may have been in memory before the stream began."""
        cache = self._cache
        if not fresh or cache.evicted or self._beyond is None or not self._accesses.fillable[key]:
            return 1.0
        hit = self._beyond(self._seen_bytes / self._accesses.rate)
        if self._counting:
            self._unknown += hit
            self._unlikely += 1 - hit
        return 1 - hit
