"""Cursors of SCAN, and how the keys of one server are cut into parts that are walked side by side.

A plain table's cursor counts its bits from the highest to the lowest. Read backwards it only grows,
from 0 to the end, whatever size the table has or gets: so [0, 2^64) read backwards is cut into equal
parts, each begins at its first cursor and ends where the next one begins.
Source: `dictScan` in Redis's dict.c, `hashtableScan` in Valkey's hashtable.c.

Where a cluster's server keeps a table for each slot, the lowest bits of the cursor are the slot, and the
walk goes from slot to slot: there the slots are cut into parts. Source: `kvstoreScan` in kvstore.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

BITS = 64
SLOTS = 16384


class NotDivisible(Exception):
    """The server's cursors do not go the way that the parts count on."""


def reversed_bits(cursor: int) -> int:
    """Return the 64 bits of `cursor` in the other direction.

    >>> reversed_bits(1) == 1 << 63, reversed_bits(reversed_bits(12345))
    (True, 12345)
    """
    return int(f"{cursor:064b}"[::-1], 2)


class Part(Protocol):
    """A part of the keys: where its walk is."""

    start: int
    """Where it begins, and where the part after it does: names near there may come with both."""
    end: int
    cursor: bytes
    """As the server knows it."""
    weight: float
    """The part of all keys that it holds, about."""
    done: bool
    begun: bool

    def advance(self, cursor: bytes) -> None:
        """Take in the cursor that the server answered with. Raises NotDivisible, ValueError."""
        ...

    def split(self) -> Part | None:
        """Give up the second half of what is left, as a part of its own; None where that cannot be."""
        ...

    @property
    def share(self) -> float | None:
        """How much of this part is done, 0 to 1; None where the cursor does not tell."""
        ...


@dataclass(slots=True)
class WholePart:
    """All keys, by one cursor that may look like anything."""

    start: int = 0
    end: int = 1
    cursor: bytes = b"0"
    weight: float = 1.0
    done: bool = False
    begun: bool = False

    def advance(self, cursor: bytes) -> None:
        self.cursor, self.begun, self.done = cursor, True, cursor == b"0"

    def split(self) -> Part | None:
        return None

    @property
    def share(self) -> float | None:
        return 1.0 if self.done else None if self.begun else 0.0


@dataclass(slots=True)
class TablePart:
    """A part of a plain table; `start` and `end` are cursors read backwards."""

    start: int
    end: int
    cursor: bytes
    weight: float
    done: bool = False
    begun: bool = False
    at: int = 0
    """The cursor read backwards."""

    def advance(self, cursor: bytes) -> None:
        number = int(cursor)
        at = reversed_bits(number)
        if number and (at <= self.at or number >> BITS):
            raise NotDivisible
        self.begun, self.cursor, self.at = True, cursor, at
        self.done = not number or at >= self.end

    def split(self) -> Part | None:
        middle = (self.at + self.end + 1) // 2
        if self.done or not self.at < middle < self.end:
            return None
        given = self.weight * (self.end - middle) / (self.end - self.start)
        other = TablePart(middle, self.end, b"%d" % reversed_bits(middle), weight=given, at=middle)
        self.weight, self.end = self.weight - given, middle
        return other

    @property
    def share(self) -> float | None:
        return 1.0 if self.done else (self.at - self.start) / (self.end - self.start)


@dataclass(slots=True)
class SlotPart:
    """The slots from `start` up to, but not, `end`."""

    start: int
    end: int
    cursor: bytes
    weight: float
    done: bool = False
    begun: bool = False
    at: int = 0

    def advance(self, cursor: bytes) -> None:
        number = int(cursor)
        at = number % SLOTS
        if number and at < self.at:
            raise NotDivisible
        self.begun, self.cursor, self.at = True, cursor, at
        self.done = not number or at >= self.end

    def split(self) -> Part | None:
        middle = (self.at + self.end + 1) // 2
        if self.done or not self.at < middle < self.end:
            return None
        given = self.weight * (self.end - middle) / (self.end - self.start)
        other = SlotPart(middle, self.end, b"%d" % middle, weight=given, at=middle)
        self.weight, self.end = self.weight - given, middle
        return other

    @property
    def share(self) -> float | None:
        return 1.0 if self.done else (self.at - self.start) / (self.end - self.start)


def table_parts(number: int) -> list[TablePart]:
    """Return a plain table in `number` equal parts (a power of two).

    >>> [part.cursor for part in table_parts(4)]
    [b'0', b'2', b'1', b'3']
    """
    width = (1 << BITS) // number
    starts = [at * width for at in range(number)]
    return [
        TablePart(start, start + width, b"%d" % reversed_bits(start), weight=1 / number, at=start) for start in starts
    ]


def slot_parts(number: int, slots: Sequence[tuple[int, int]]) -> list[SlotPart]:
    """Return ranges of slots (first and last, in order) in about `number` parts.

    They hold all slots, as some may have been moved meanwhile.

    >>> [(part.start, part.end) for part in slot_parts(2, [(7, 9), (50, 52)])]
    [(0, 50), (50, 16384)]
    """
    owned = [slot for first, last in slots for slot in range(first, last + 1)]
    step = max(1, -(-len(owned) // number))
    starts = [0, *owned[step::step]]
    ends = [*starts[1:], SLOTS]
    weight = 1 / max(1, len(starts))
    return [
        SlotPart(start, end, b"%d" % start, weight=weight, at=start) for start, end in zip(starts, ends, strict=True)
    ]
