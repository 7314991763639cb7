"""A hash table as the servers have it, as far as it decides which keys are looked at for an eviction.

A server draws a place at random and takes the keys of the places from there on until it has enough.
So keys with close neighbours are looked at less often than lone ones: in a loop over more keys than
there is room for, some of them stay for good, and the hit rate is higher than a fair draw would make it.
"""

from __future__ import annotations

from collections.abc import Callable

_LEAST = 4
_ODD, _MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1
_EMPTY_RUN = 5
"""After more empty places than this a server draws anew."""
_STEPS = 10
"""For each key wanted it looks at so many places at most."""


class Table:
    """Keys by index, in chains. `rate` is the share of a server's keys that these stand for."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._whole = _LEAST
        """Places that the server's own table has: a power of two, doubled when there are as many keys."""
        self._chains: list[list[int]] = [[]]
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: int) -> None:
        """Put in a key that is not there; it comes first in its chain."""
        self._count += 1
        if self._count / self._rate >= self._whole:
            self._grow()
        self._chains[self._place(key)].insert(0, key)

    def remove(self, key: int) -> None:
        """Take out a key that is there."""
        self._count -= 1
        self._chains[self._place(key)].remove(key)

    def some(self, count: int, random: Callable[[], float]) -> list[int]:
        """Return `count` keys from neighbouring places, or fewer where there are few."""
        chains, found, empty = self._chains, list[int](), 0
        count = min(count, self._count)
        places = len(chains)
        at = int(random() * places)
        for _ in range(count * _STEPS):
            if chain := chains[at]:
                empty = 0
                found += chain[: count - len(found)]
                if len(found) >= count:
                    break
            else:
                empty += 1
                if empty >= _EMPTY_RUN and empty > count:
                    at, empty = int(random() * places), 0
            at = at + 1 if at + 1 < places else 0
        return found

    def one(self, random: Callable[[], float]) -> int:
        """Return a key of a place drawn at random. There must be one."""
        chains = self._chains
        while not (chain := chains[int(random() * len(chains))]):
            continue
        return chain[int(random() * len(chain))] if len(chain) > 1 else chain[0]

    def _place(self, key: int) -> int:
        return ((key * _ODD & _MASK) >> 32) * len(self._chains) >> 32

    def _grow(self) -> None:
        keys = [key for chain in self._chains for key in chain]
        while self._count / self._rate >= self._whole:
            self._whole *= 2
        self._chains = [[] for _ in range(max(1, round(self._whole * self._rate)))]
        for key in keys:
            self._chains[self._place(key)].append(key)
