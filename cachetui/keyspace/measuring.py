"""Facts that come in the order of a scan, taken in by the ranks of an index: in batches, of bounded memory."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from cachetui.keyspace.index import Blob, KeyIndex, names_of
from cachetui.keyspace.measures import Measures

PENDING_KEYS = 131_072
"""Keys that wait for their range to be looked into: about 20 MB."""
TAKEN_AT_ONCE = 256
"""A range with so many waiting is looked into at once."""

Row = tuple[bytes, str | None, int | None, int | None]
"""Key, type, TTL in milliseconds (-1 none), size in bytes; None unknown."""


class MeasureSink:
    """Fills `measures` from an enumeration with facts (see `cachetui.source.base.FactSink`).

    The index must hold still meanwhile: ranks are those of its names now. Names that it
    does not have are left out. May be called from several threads.
    """

    wanted = frozenset({"type", "ttl", "size"})

    def __init__(self, index: KeyIndex, measures: Measures) -> None:
        self._measures = measures
        self._ranges: list[tuple[int, Blob]] = []
        self._bounds: list[bytes] = []
        for rank, blob, _ in index.pieces(b"", None):
            self._ranges.append((rank, blob))
            self._bounds.append(blob.partition(b"\n")[0] if isinstance(blob, bytes) else blob[0])
        self._lock = threading.Lock()
        self._waiting: list[list[Row]] = [[] for _ in self._ranges]
        self._waiting_keys = 0

    def add(self, keys: Sequence[bytes]) -> None:
        """Names without facts say nothing here."""

    def clear(self) -> None:
        with self._lock:
            self._forget_waiting()
            self._measures.clear()

    def add_facts(
        self,
        keys: Sequence[bytes],
        types: Sequence[str | None],
        ttls_ms: Sequence[int | None],
        sizes_bytes: Sequence[int | None],
    ) -> None:
        bounds = self._bounds
        with self._lock:
            waiting = self._waiting
            for row in zip(keys, types, ttls_ms, sizes_bytes, strict=True):
                at = bisect_right(bounds, row[0]) - 1
                if at >= 0:
                    waiting[at].append(row)
                    if len(waiting[at]) >= TAKEN_AT_ONCE:
                        self._take(at)
            self._waiting_keys += len(keys)
            if self._waiting_keys >= PENDING_KEYS:
                self._take_all()

    def finish(self, *, whole: bool) -> None:
        """Take in what still waits; after a `whole` pass the keys that did not come are gone."""
        with self._lock:
            self._take_all()
            if whole:
                self._measures.known = len(self._measures)

    def _forget_waiting(self) -> None:
        self._waiting = [[] for _ in self._ranges]
        self._waiting_keys = 0

    def _take_all(self) -> None:
        for at, rows in enumerate(self._waiting):
            if rows:
                self._take(at)
        self._waiting_keys = 0

    def _take(self, at: int) -> None:
        """Look into one range and take in what waits for it."""
        rows, self._waiting[at] = self._waiting[at], []
        self._waiting_keys -= len(rows)
        first, blob = self._ranges[at]
        names = names_of(blob)
        now_ms = round(time.time() * 1000)
        put, end = self._measures.put_scanned, len(names)
        for key, type_, ttl_ms, size_bytes in rows:
            place = bisect_left(names, key)
            if place < end and names[place] == key:
                put(first + place, type_, ttl_ms, size_bytes, now_ms)
