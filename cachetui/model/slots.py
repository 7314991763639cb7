"""Slots of a cluster: as numbers, as ranges, and on their way from one node to another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SLOTS = 16384
"""How many every cluster has."""


@dataclass(frozen=True, slots=True)
class SlotMove:
    """Slots that go from one primary to another; both by their node ids."""

    slots: tuple[int, ...]
    source: str
    target: str


def slot_ranges(slots: Iterable[int]) -> list[tuple[int, int]]:
    """Return slots as ranges, both ends included.

    >>> slot_ranges([5, 1, 2, 3]), slot_ranges([])
    ([(1, 3), (5, 5)], [])
    """
    ranges: list[tuple[int, int]] = []
    for slot in sorted(set(slots)):
        if ranges and ranges[-1][1] == slot - 1:
            ranges[-1] = (ranges[-1][0], slot)
        else:
            ranges.append((slot, slot))
    return ranges


def slots_text(slots: Iterable[int], limit: int | None = None) -> str:
    """Return slots as `0-99,105`; after `limit` ranges the rest is counted.

    >>> slots_text([0, 1, 2, 9]), slots_text([0, 2, 4, 6], 2), slots_text([])
    ('0-2,9', '0,2 and 2 more', 'none')
    """
    ranges = slot_ranges(slots)
    shown = ranges if limit is None else ranges[:limit]
    rest = sum(last - first + 1 for first, last in ranges[len(shown) :])
    words = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in shown)
    return (words or "none") + (f" and {rest:,} more" if rest else "")


def slots_in(text: str) -> list[int]:
    """Return the slots of a text as `0-99,105`. Raises ValueError with a sentence.

    >>> slots_in("0-2,9")
    [0, 1, 2, 9]
    """
    found: set[int] = set()
    for part in filter(None, text.replace(" ", "").split(",")):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            raise ValueError(f"slots are written as 0-99,105, not {part[:40]!r}")
        begin, end = int(first[:8]), int((last or first)[:8])
        if not begin <= end < SLOTS:
            raise ValueError(f"slots go from 0 to {SLOTS - 1}, not {part[:40]!r}")
        found.update(range(begin, end + 1))
    return sorted(found)


def slots_of(text: str) -> frozenset[int]:
    """Like `slots_in`, of a text that a server sent or a file held: what makes no sense there is passed over.

    >>> sorted(slots_of("0-2,9,x,7-5,20000")), sorted(slots_of(""))
    ([0, 1, 2, 9], [])
    """
    found: set[int] = set()
    for part in text.split(","):
        try:
            found.update(slots_in(part))
        except ValueError:
            continue
    return frozenset(found)


def counted_slots(slots: Sequence[int]) -> str:
    """Return how many slots these are, in words.

    >>> counted_slots([1]), counted_slots([1, 2])
    ('1 slot', '2 slots')
    """
    return f"{len(slots):,} slot{'' if len(slots) == 1 else 's'}"
