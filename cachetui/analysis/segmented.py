"""A miniature of memcached's segmented LRU: what is fetched again and again leaves the way of what comes and goes.

New items go to HOT; from its tail they go on to WARM, if they were fetched twice meanwhile, or else to COLD. From
COLD the longest idle are evicted; an item that is fetched there for the second time goes to WARM.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from random import Random

from cachetui.analysis.policies import Miniature
from cachetui.model.accesses import Accesses, Rules

HOT_SHARE, WARM_SHARE = 0.20, 0.40
"""hot_lru_pct and warm_lru_pct, as a server has them unless told otherwise."""
HOT_FACTOR, WARM_FACTOR = 0.2, 2.0
"""hot_max_factor and warm_max_factor: items older than so much of COLD's age go on."""
STEPS = 3
"""Items that are moved on at most in each list for each new one."""
_HOT, _WARM, _COLD = range(3)


class Segmented(Miniature):
    """HOT, WARM and COLD of one server, all slab classes together."""

    def __init__(self, accesses: Accesses, capacity_bytes: float, rules: Rules, rng: Random) -> None:
        super().__init__(accesses, capacity_bytes, rules, rng)
        self._lists: tuple[OrderedDict[int, float], ...] = (OrderedDict(), OrderedDict(), OrderedDict())
        """Keys with when they were put in their places, the oldest first."""
        self._bytes = [0, 0, 0]
        self._list_of = bytearray(len(self.sizes))
        self._fetched = bytearray(len(self.sizes))
        """How often a key was fetched, up to 2."""

    def born(self, key: int, now_s: float) -> None:
        self._fetched[key] = 0
        self._put(key, _HOT, now_s)
        self._move_on(now_s)

    def recalled(self, key: int, began_s: float) -> None:
        """Note a key that was in memory before the stream began: how often it was fetched nobody knows."""
        idle = self.accesses.idle_s[key]
        self._fetched[key] = 1
        self._put(key, _COLD, began_s - (0.0 if math.isnan(idle) else idle))

    def used_again(self, key: int, now_s: float, *, written: bool) -> None:
        if written:
            self._take_out(key)
            self.born(key, now_s)
            return
        self._fetched[key] = min(2, self._fetched[key] + 1)
        if self._fetched[key] < 2:
            return
        here = self._list_of[key]
        if here == _COLD:
            self._take_out(key)
            self._fetched[key] = 1
            self._put(key, _WARM, now_s)
            self._move_on(now_s)
        else:
            self._lists[here][key] = now_s  # only the time: it keeps its place

    def remove(self, key: int) -> None:
        self._take_out(key)
        super().remove(key)

    def choose(self, now_s: float) -> int | None:
        for which in (_COLD, _WARM, _HOT):
            if self._lists[which]:
                return next(iter(self._lists[which]))
        return None

    def _put(self, key: int, which: int, at_s: float) -> None:
        self._list_of[key] = which
        self._lists[which][key] = at_s
        self._bytes[which] += self.sizes[key]

    def _take_out(self, key: int) -> None:
        which = self._list_of[key]
        if self._lists[which].pop(key, None) is not None:
            self._bytes[which] -= self.sizes[key]

    def _move_on(self, now_s: float) -> None:
        """Let what is over, or too old, go on to the next list."""
        cold = self._lists[_COLD]
        cold_age = now_s - next(iter(cold.values())) if cold else float("inf")
        for which, share, factor in ((_HOT, HOT_SHARE, HOT_FACTOR), (_WARM, WARM_SHARE, WARM_FACTOR)):
            items = self._lists[which]
            for _ in range(STEPS):
                if not items:
                    break
                key, at_s = next(iter(items.items()))
                over = self._bytes[which] > share * self.used or now_s - at_s > factor * cold_age
                if self._fetched[key] == 2:
                    self._fetched[key] = 1
                    self._take_out(key)
                    self._put(key, _WARM, now_s)
                elif over:
                    self._take_out(key)
                    self._put(key, _COLD, at_s)
                else:
                    break
