"""Millions of names in little memory: sorted blobs by key range, counted by prefix.

SCAN hands names over in the order of their hashes, so the first of them are a random sample:
they choose the ranges. A bucket holds one range: a sorted blob without repetitions, and what
came since. It is put in order when somebody looks into it, or by `settle`.
"""

from __future__ import annotations

import random
import re
import string
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from cachetui.keyspace.branches import Branch, Branches, branches_of, successor

__all__ = ["Branch", "Branches", "KeyIndex", "successor"]

LIMIT_BYTES = 512 * 1024 * 1024
"""Names kept; after these the index holds a part and says so."""
BUCKET_KEYS = 1024
SPLIT_KEYS = 4 * BUCKET_KEYS
BATCH_KEYS = 4096
"""Names that are sorted at once: some milliseconds."""
SAMPLE_KEYS = 16_384
"""Names that choose the ranges."""
PIECES = 32
"""What came since is joined when it lies in so many pieces: small objects cost memory."""
KEPT_SPLIT = 64
"""Buckets whose names are kept as objects because somebody looked into them lately."""
PREFIX_BYTES = 1024
"""Longest prefix; separators beyond it belong to the last part."""
OVERHEAD_BYTES = 3
"""What a name costs beside its own bytes, about."""

Blob = bytes | tuple[bytes, ...]
"""Names joined by newlines; a tuple where a name contains one."""


def joined(keys: Sequence[bytes]) -> Blob:
    """Return `keys` in the form they are kept."""
    blob = b"\n".join(keys)
    return blob if blob.count(b"\n") == len(keys) - 1 else tuple(keys)


def names_of(blob: Blob) -> list[bytes]:
    """Return the names in a blob (that holds at least one)."""
    return blob.split(b"\n") if isinstance(blob, bytes) else list(blob)


class Bucket:
    """The names of one range."""

    __slots__ = ("blob", "count", "fresh", "pieces")

    def __init__(self) -> None:
        self.blob: Blob = b""
        """Sorted, without repetitions; meaningless while `count` is 0."""
        self.count = 0
        self.pieces: list[Blob] = []
        """What came since, each piece at least one name."""
        self.fresh = 0
        """Names in the pieces; some of them may be there already."""

    def add(self, keys: Sequence[bytes]) -> None:
        self.pieces.append(joined(keys))
        self.fresh += len(keys)
        if len(self.pieces) > PIECES and all(isinstance(piece, bytes) for piece in self.pieces):
            self.pieces = [b"\n".join(self.pieces)]  # type: ignore[arg-type]

    def names(self) -> list[bytes]:
        """Return all names in order, each once; put the bucket in order on the way."""
        keys = names_of(self.blob) if self.count else []
        if self.fresh:
            for piece in self.pieces:
                keys += names_of(piece)
            keys = sorted(set(keys)) if len(keys) > 1 else keys
            self.keep(keys)
        return keys

    def keep(self, keys: list[bytes]) -> None:
        """Hold exactly these names, which are sorted."""
        self.blob, self.count = (joined(keys), len(keys)) if keys else (b"", 0)
        self.pieces, self.fresh = [], 0


class KeyIndex:
    """Distinct names in order. `add` and `clear` may come from another thread than the rest."""

    def __init__(self, separators: str = ":", *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.separators = separators
        self.limit_bytes = limit_bytes
        signs = string.punctuation if separators == "any" else separators
        self._signs = signs.encode()
        self._separator = re.compile(b"[" + re.escape(self._signs) + b"]") if signs else re.compile(rb"(?!)")
        self._lock = threading.RLock()
        self._expected = 0
        self._empty()

    def _empty(self) -> None:
        self._buckets = [Bucket()]
        self._bounds: list[bytes] = []
        """Bucket n holds names from `_bounds[n - 1]` up to, but not, `_bounds[n]`."""
        self._pending: list[bytes] = []
        self._ends: list[int] | None = None
        self._split: OrderedDict[int, tuple[Bucket, list[bytes]]] = OrderedDict()
        self.version = getattr(self, "version", 0) + 1
        self.used_bytes = 0
        self.left_out = 0
        """Names that were not taken in: the memory is full."""
        self.exact = True
        """No name is counted twice."""

    # Filling

    def expect(self, total: int) -> None:
        """Say how many names will come, so that the ranges have the right size from the beginning."""
        self._expected = total

    def add(self, keys: Sequence[bytes]) -> None:
        """Take in names in any order; some may be there already."""
        with self._lock:
            if self.used_bytes > self.limit_bytes:
                self.left_out += len(keys)
                return
            self._pending += keys
            if len(self._pending) >= (BATCH_KEYS if self._bounds else SAMPLE_KEYS):
                self._flush()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._empty()

    def discard(self, keys: Iterable[bytes]) -> None:
        """Take out names; one that is not there changes nothing."""
        gone: dict[int, set[bytes]] = {}
        with self._lock:
            self._flush()
            for key in keys:
                gone.setdefault(bisect_right(self._bounds, key), set()).add(key)
            for at, names in gone.items():
                kept = [key for key in self._names(at) if key not in names]
                self.used_bytes -= sum(len(name) + OVERHEAD_BYTES for name in names)
                self._buckets[at].keep(kept)
                self._split.pop(id(self._buckets[at]), None)
            self._changed()

    def settle(self, slice_keys: int = SPLIT_KEYS) -> Iterator[None]:
        """Put bucket after bucket in order, yielding often; afterwards every count is exact."""
        at = 0
        while True:
            with self._lock:
                self._flush()
                done = 0
                while at < len(self._buckets) and done < slice_keys:
                    if self._buckets[at].fresh:
                        done += self._buckets[at].fresh
                        self._order(at)
                        if self._buckets[at].count > SPLIT_KEYS:
                            self._divide(at)
                    at += 1
                if at >= len(self._buckets):
                    self.exact = not any(bucket.fresh for bucket in self._buckets)
                    return
            yield

    def _changed(self) -> None:
        self.version += 1
        self._ends = None

    def _flush(self) -> None:
        """Sort what came and deal it out to the buckets."""
        if not self._pending:
            return
        batch, self._pending = self._pending, []
        if not self._bounds and len(batch) >= SAMPLE_KEYS:
            self._choose_bounds(batch)
        for start in range(0, len(batch), BATCH_KEYS):
            self._deal(sorted(batch[start : start + BATCH_KEYS]))
        self.exact = False
        self._changed()

    def _deal(self, keys: list[bytes]) -> None:
        bounds, at, end = self._bounds, 0, len(keys)
        while at < end:
            place = bisect_right(bounds, keys[at])
            stop = bisect_left(keys, bounds[place], at) if place < len(bounds) else end
            self._buckets[place].add(keys[at:stop])
            at = stop
        self.used_bytes += sum(map(len, keys)) + OVERHEAD_BYTES * end

    def _choose_bounds(self, sample: list[bytes]) -> None:
        wanted = max(self._expected, len(sample)) // BUCKET_KEYS
        names = sorted(sample)
        step = max(1.0, len(names) / max(1, wanted))
        chosen = dict.fromkeys(names[round(number * step)] for number in range(1, int(len(names) / step)))
        chosen.pop(names[0], None)
        before = self._buckets[0]
        self._bounds = list(chosen)
        self._buckets = [Bucket() for _ in range(len(self._bounds) + 1)]
        if before.count or before.fresh:
            self._deal(before.names())

    def _divide(self, at: int) -> None:
        keys = self._names(at)
        parts = [keys[first : first + BUCKET_KEYS] for first in range(0, len(keys), BUCKET_KEYS)]
        buckets = []
        for part in parts:
            bucket = Bucket()
            bucket.keep(part)
            buckets.append(bucket)
        self._split.pop(id(self._buckets[at]), None)
        self._buckets[at : at + 1] = buckets
        self._bounds[at:at] = [part[0] for part in parts[1:]]
        self._changed()

    # Looking into buckets; with the lock held

    def _order(self, at: int) -> None:
        bucket = self._buckets[at]
        before = bucket.count + bucket.fresh
        bucket.names()
        self._split.pop(id(bucket), None)
        if bucket.count != before:
            self._ends = None

    def _names(self, at: int) -> list[bytes]:
        bucket = self._buckets[at]
        kept = self._split.get(id(bucket))
        if kept is not None and not bucket.fresh:
            self._split.move_to_end(id(bucket))
            return kept[1]
        if bucket.fresh:
            self._order(at)
        keys = bucket.names()
        # The bucket itself is kept too: its id stays its own.
        self._split[id(bucket)] = (bucket, keys)
        if len(self._split) > KEPT_SPLIT:
            self._split.popitem(last=False)
        return keys

    def _cumulated(self) -> list[int]:
        if self._ends is None:
            self._ends = list(accumulate(bucket.count + bucket.fresh for bucket in self._buckets))
        return self._ends

    def _before(self, at: int) -> int:
        """Return how many names the buckets before `at` hold."""
        return self._cumulated()[at - 1] if at else 0

    # Counting

    @property
    def complete(self) -> bool:
        """False once names were left out because the memory is full."""
        return not self.left_out

    @property
    def total(self) -> int:
        """Names held; while `exact` is False some may be counted twice."""
        with self._lock:
            return self._cumulated()[-1] + len(self._pending)

    def __len__(self) -> int:
        with self._lock:
            self._flush()
            return self._cumulated()[-1]

    def __contains__(self, key: bytes) -> bool:
        with self._lock:
            self._flush()
            keys = self._names(bisect_right(self._bounds, key))
            at = bisect_left(keys, key)
            return at < len(keys) and keys[at] == key

    def rank(self, key: bytes) -> int:
        """Return how many names come before `key`, which need not be there."""
        with self._lock:
            self._flush()
            at = bisect_right(self._bounds, key)
            place = bisect_left(self._names(at), key)
            return self._before(at) + place

    def key(self, rank: int) -> bytes:
        """Return the name with so many before it. Raises IndexError."""
        with self._lock:
            self._flush()
            while 0 <= rank < self._cumulated()[-1]:
                at = bisect_right(self._cumulated(), rank)
                keys = self._names(at)
                inside = rank - self._before(at)
                if inside < len(keys):
                    return keys[inside]
        raise IndexError(rank)

    def keys(self, start: int, stop: int) -> list[bytes]:
        """Return the names from one rank up to another."""
        found: list[bytes] = []
        with self._lock:
            self._flush()
            while start + len(found) < stop:
                rank = start + len(found)
                if rank >= self._cumulated()[-1]:
                    break
                at = bisect_right(self._cumulated(), rank)
                keys = self._names(at)
                inside = rank - self._before(at)
                found += keys[inside : inside + stop - rank]
        return found

    def span(self, prefix: bytes) -> tuple[int, int]:
        """Return the ranks of the names that begin with `prefix`: the first, and the one after the last."""
        with self._lock:
            start = self.rank(prefix)
            after = successor(prefix)
            stop = len(self) if after is None else self.rank(after)
            # Looking at the end may have put names of the beginning in order.
            return self.rank(prefix) if start > stop else start, stop

    def count(self, prefix: bytes) -> int:
        """Return how many names begin with `prefix`, which may be any bytes."""
        start, stop = self.span(prefix)
        return stop - start

    def under(self, prefix: bytes = b"") -> Iterator[bytes]:
        """Yield the names that begin with `prefix`, in order; others may be added meanwhile."""
        after, last = successor(prefix), prefix
        while True:
            with self._lock:
                self._flush()
                at = bisect_right(self._bounds, last)
                keys = self._names(at)
                first = bisect_left(keys, last)
                stop = len(keys) if after is None else bisect_left(keys, after)
                found = keys[first:stop]
                bound = self._bounds[at] if at < len(self._bounds) else None
            yield from found
            if bound is None or (after is not None and bound >= after):
                return
            last = bound

    def sample(self, prefix: bytes, number: int, rng: random.Random) -> list[bytes]:
        """Return some of the names that begin with `prefix`, each as likely as any other."""
        start, stop = self.span(prefix)
        ranks = range(start, stop)
        chosen = ranks if stop - start <= number else rng.sample(ranks, number)
        found = []
        for rank in chosen:
            try:
                found.append(self.key(rank))
            except IndexError:  # names went meanwhile
                break
        return found

    # For listings and filters

    def child(self, parent: bytes, key: bytes) -> bytes | None:
        """Return the prefix that stands between `parent` and `key`; None when the key is directly beneath."""
        found = self._separator.search(key, len(parent), PREFIX_BYTES)
        return None if found is None else key[: found.end()]

    def children(self, prefix: bytes, *, largest_first: bool = True) -> Branches:
        """Return what stands directly beneath `prefix` (b"" or a branch's name); for a worker thread if it is big."""
        return branches_of(self, prefix, largest_first=largest_first)

    def pieces(self, first: bytes, after: bytes | None) -> Iterator[tuple[int, Blob, int]]:
        """Yield (rank of its first name, blob, names in it) for each range that overlaps; all in order."""
        last = first
        while True:
            with self._lock:
                self._flush()
                at = bisect_right(self._bounds, last)
                if self._buckets[at].fresh:
                    self._order(at)
                bucket = self._buckets[at]
                piece = (self._before(at), bucket.blob, bucket.count)
                bound = self._bounds[at] if at < len(self._bounds) else None
            if piece[2]:
                yield piece
            if bound is None or (after is not None and bound >= after):
                return
            last = bound

    def range_at(self, first: bytes, after: bytes | None) -> tuple[list[bytes], bytes | None]:
        """Return the names from `first` up to `after` in the range that holds `first`, and where the next begins.

        None instead of the latter when nothing before `after` follows.
        """
        with self._lock:
            self._flush()
            at = bisect_right(self._bounds, first)
            keys = self._names(at)
            start = bisect_left(keys, first)
            stop = len(keys) if after is None else bisect_left(keys, after)
            bound = self._bounds[at] if at < len(self._bounds) else None
            if bound is not None and after is not None and bound >= after:
                bound = None
            return keys[start:stop], bound

    @property
    def signs(self) -> bytes:
        """The separating characters."""
        return self._signs
