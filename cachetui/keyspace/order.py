"""All keys by what was measured of them: size, time to live, idle time or frequency."""

from __future__ import annotations

import random
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Literal, overload

from cachetui.keyspace.measures import Measures

By = Literal["size", "ttl", "idle", "frequency"]

SLICE = 4096
"""Keys that are dealt out or sorted at once: some milliseconds."""
SAMPLE = 8192


class Order(Sequence[int]):
    """Ranks, sorted; unknown ones last. Made in slices, so that others get their turn."""

    def __init__(
        self, measures: Measures, by: By, *, descending: bool, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        values: array[int] = {
            "size": measures.size_bytes,
            "ttl": measures.expires_at_ms,
            "idle": measures.idle_s,
            "frequency": measures.frequency,
        }[by]
        known, unknown = _dealt(values, cancelled)
        self._ranks = array("I")
        for part in reversed(known) if descending else known:
            if cancelled():
                break
            self._ranks.extend(sorted(part, key=values.__getitem__, reverse=descending))
            time.sleep(0)
        # For ever is the longest time to live.
        lasting = array("I", [rank for rank in unknown if values[rank] == -2]) if by == "ttl" else array("I")
        if lasting:
            unknown = array("I", [rank for rank in unknown if values[rank] != -2])
        self._ranks = (lasting + self._ranks if descending else self._ranks + lasting) + unknown

    def __len__(self) -> int:
        return len(self._ranks)

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...
    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        return self._ranks[at]

    def place(self, rank: int) -> int | None:
        """Return where a rank stands."""
        try:
            return self._ranks.index(rank)
        except ValueError:
            return None


def _dealt(values: array[int], cancelled: Callable[[], bool]) -> tuple[list[array[int]], array[int]]:
    """Deal the ranks out to ranges of values; those without a value apart."""
    sample = sorted({value for value in random.Random(0).choices(values, k=SAMPLE) if value >= 0}) if values else []
    step = max(1, len(sample) * SLICE // max(1, len(values)))
    bounds = sample[::step]
    parts = [array("I") for _ in range(len(bounds) + 1)]
    unknown = array("I")
    for start in range(0, len(values), SLICE):
        if cancelled():
            break
        for rank in range(start, min(start + SLICE, len(values))):
            value = values[rank]
            if value < 0:
                unknown.append(rank)
            else:
                parts[bisect_right(bounds, value)].append(rank)
        time.sleep(0)
    return parts, unknown
