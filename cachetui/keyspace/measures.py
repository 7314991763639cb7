"""What a pass over all keys learnt of each: compact, by the key's rank in its index."""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass
from itertools import accumulate

from cachetui.model import KeyFacts

UNKNOWN = -1
_NO_TTL = -2
_STEP = 4096
"""Keys between two sums."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of the keys of a range."""

    keys: int
    """Keys that were measured and were there."""
    size_bytes: int
    without_ttl: int


class Measures:
    """Sizes, expiries and use of `keys` keys; unknown until they are put in."""

    def __init__(self, keys: int) -> None:
        self._empty(keys)

    def _empty(self, keys: int) -> None:
        self.known = 0
        """Keys that were put in."""
        self.use_known = False
        """Idle times or frequencies are among what was put in."""
        self.size_bytes = array("q", [UNKNOWN]) * keys
        self.expires_at_ms = array("q", [UNKNOWN]) * keys
        """Unix milliseconds; -2 without a TTL."""
        self.idle_s = array("i", [UNKNOWN]) * keys
        self.frequency = array("h", [UNKNOWN]) * keys
        self._types = bytearray(keys)
        self._type_names: list[str] = [""]
        self._sums: tuple[list[int], list[int], list[int]] | None = None

    def __len__(self) -> int:
        return len(self.size_bytes)

    def clear(self) -> None:
        """Forget everything: all keys are unknown again."""
        self._empty(len(self))

    def put(self, rank: int, facts: KeyFacts, now: float | None = None) -> None:
        """Take in what is known of one key."""
        if not 0 <= rank < len(self):
            return
        self.known += 1
        self._sums = None
        if not facts.exists:
            return
        if facts.size_bytes is not None:
            self.size_bytes[rank] = facts.size_bytes
        if facts.has_ttl is False:
            self.expires_at_ms[rank] = _NO_TTL
        elif facts.ttl_s is not None:
            self.expires_at_ms[rank] = round(((time.time() if now is None else now) + facts.ttl_s) * 1000)
        if facts.idle_s is not None:
            self.idle_s[rank] = min(facts.idle_s, 2**31 - 1)
            self.use_known = True
        if facts.frequency is not None:
            self.frequency[rank] = min(facts.frequency, 2**15 - 1)
            self.use_known = True
        self._types[rank] = self._type_number(facts.type)

    def put_scanned(
        self, rank: int, type_: str | None, ttl_ms: int | None, size_bytes: int | None, now_ms: int
    ) -> None:
        """Take in what a scan says of one key (a TTL of -1 is none); one that comes again counts once."""
        self._sums = None
        expires = self.expires_at_ms
        if expires[rank] == UNKNOWN and not self._types[rank]:
            self.known = min(self.known + 1, len(self))
        if ttl_ms is not None:
            expires[rank] = _NO_TTL if ttl_ms < 0 else now_ms + ttl_ms
        if size_bytes is not None:
            self.size_bytes[rank] = size_bytes
        self._types[rank] = self._type_number(type_)

    def _type_number(self, name: str | None) -> int:
        if not name:
            return 0
        if name not in self._type_names:
            if len(self._type_names) > 255:
                return 0
            self._type_names.append(name)
        return self._type_names.index(name)

    def fact(self, rank: int, key: bytes, now: float | None = None) -> KeyFacts:
        """Return what is known of the key with this rank."""
        if not 0 <= rank < len(self):
            return KeyFacts(key)
        expires = self.expires_at_ms[rank]
        left_s = None if expires < 0 else max(0.0, expires / 1000 - (time.time() if now is None else now))
        return KeyFacts(
            key,
            type=self._type_names[self._types[rank]] or None,
            ttl_s=left_s,
            has_ttl=None if expires == UNKNOWN else expires != _NO_TTL,
            size_bytes=_known(self.size_bytes[rank]),
            idle_s=_known(self.idle_s[rank]),
            frequency=_known(self.frequency[rank]),
        )

    def summary(self, start: int, stop: int) -> Summary:
        """Return the sums over the ranks from `start` up to `stop`."""
        if self._sums is None:
            self._sums = self._summed()
        begin, end = -(-start // _STEP), stop // _STEP
        if begin >= end:
            return Summary(*self._part(start, stop))
        whole = [sums[end] - sums[begin] for sums in self._sums]
        before, after = self._part(start, begin * _STEP), self._part(end * _STEP, stop)
        return Summary(*(a + b + c for a, b, c in zip(before, whole, after, strict=True)))

    def _part(self, start: int, stop: int) -> tuple[int, int, int]:
        sizes, expiries = self.size_bytes[start:stop], self.expires_at_ms[start:stop]
        keys = len(expiries) - expiries.count(UNKNOWN)
        return keys, sum(sizes) + sizes.count(UNKNOWN), expiries.count(_NO_TTL)

    def _summed(self) -> tuple[list[int], list[int], list[int]]:
        parts = [self._part(at, at + _STEP) for at in range(0, len(self), _STEP)]
        keys, sizes, lasting = zip(*parts, strict=True) if parts else ((), (), ())
        return ([0, *accumulate(keys)], [0, *accumulate(sizes)], [0, *accumulate(lasting)])


def _known(number: int) -> int | None:
    return None if number < 0 else number
