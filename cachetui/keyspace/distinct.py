"""How many different names came by, and some of them at random, in little memory whatever their number and length."""

from __future__ import annotations

import heapq
import random
import threading
from array import array
from collections.abc import Sequence

EXACT = 2_000_000
"""Names that are counted exactly: their hashes take eight bytes each."""
REPEATED_ERROR = 0.005
"""How wrong the share of repetitions may be among the names beyond."""
CHUNK = 65_536
PARTS = 64
"""The hashes are looked at in so many parts, one after the other."""


class Distinct:
    """Takes in names, some of them again; may be called from several threads.

    The sample is `size` of the different names, each as likely as any other, however often and
    in whatever order they come. The same `rng` chooses the same names within one process.
    """

    def __init__(self, size: int, rng: random.Random, *, exact: int = EXACT) -> None:
        self._size, self._exact = size, exact
        self._mask = rng.getrandbits(64) - (1 << 63)  # as hashes are: with a sign
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._chunks = [array("q")]
            self._received = self._left_out = 0
            self._lowest: dict[int, bytes] = {}
            self._bound = 1 << 64

    def add(self, keys: Sequence[bytes]) -> None:
        """Take in names."""
        hashes = list(map(hash, keys))
        with self._lock:
            self._received += len(keys)
            if self._received - self._left_out > self._exact:
                self._left_out += len(keys)
            else:
                self._chunks[-1].extend(hashes)
                if len(self._chunks[-1]) >= CHUNK:
                    self._chunks.append(array("q"))
            bound, lowest = self._bound, self._lowest
            # The lowest hashes are a sample of all names, and a repeated name is the same one.
            for number, key in zip(map(self._mask.__xor__, hashes), keys, strict=True):
                if number < bound:
                    lowest[number] = key
            if len(lowest) > 4 * self._size + 1000:
                self._cut()

    @property
    def received(self) -> int:
        """How many came, repetitions too."""
        return self._received

    def count(self) -> tuple[int, int]:
        """Return how many different names came, and the error of that. Ends the counting; a second for millions."""
        with self._lock:
            held = self._received - self._left_out
            parts = [array("q") for _ in range(PARTS)]
            while self._chunks:
                for number in self._chunks.pop():
                    parts[number % PARTS].append(number)
            different = 0
            while parts:
                different += len(set(parts.pop()))
        # Of what was not kept as many are repetitions as of what was.
        fresh = self._left_out * different / max(1, held)
        return round(different + fresh), round(REPEATED_ERROR * fresh)

    def sample(self) -> list[bytes]:
        """Return the sample, in an order that means nothing."""
        with self._lock:
            self._cut()
            return list(self._lowest.values())

    def _cut(self) -> None:
        kept = heapq.nsmallest(self._size, self._lowest)
        self._lowest = {number: self._lowest[number] for number in kept}
        if len(kept) == self._size and kept:
            self._bound = kept[-1]
