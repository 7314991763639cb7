"""Cursors of SCAN: reverse-binary counters, so that a plain table can be walked from many places at once.

A cursor counts its bits from the highest to the lowest. Read backwards it only grows, from 0 to
the end, whatever size the table has or gets: so [0, 2^64) read backwards is cut into equal parts,
each begins at its first cursor and ends where the next one begins.
Source: `dictScan` in Redis's dict.c, `hashtableScan` in Valkey's hashtable.c.
"""

from __future__ import annotations

from dataclasses import dataclass

BITS = 64


def reversed_bits(cursor: int) -> int:
    """Return the 64 bits of `cursor` in the other direction.

    >>> reversed_bits(1) == 1 << 63, reversed_bits(reversed_bits(12345))
    (True, 12345)
    """
    return int(f"{cursor:064b}"[::-1], 2)


@dataclass(slots=True)
class Part:
    """A part of the table: where its walk is."""

    start: int
    """Read backwards, as `end`."""
    end: int
    cursor: int
    """As the server knows it."""
    done: bool = False

    def advance(self, cursor: int) -> None:
        """Take in the cursor that the server answered with."""
        self.done = cursor == 0 or reversed_bits(cursor) >= self.end
        self.cursor = cursor

    @property
    def share(self) -> float:
        """How much of this part is done, 0 to 1."""
        if self.done:
            return 1.0
        at = reversed_bits(self.cursor)
        return max(0.0, (at - self.start) / (self.end - self.start))


def parts(number: int) -> list[Part]:
    """Return the table in `number` equal parts (a power of two).

    >>> [part.cursor for part in parts(4)]
    [0, 2, 1, 3]
    """
    width = (1 << BITS) // number
    return [Part(at * width, (at + 1) * width, reversed_bits(at * width)) for at in range(number)]
