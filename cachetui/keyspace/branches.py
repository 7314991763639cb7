"""What stands directly beneath a prefix: longer prefixes and keys, found in the ranges of an index."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from cachetui.keyspace.index import KeyIndex

ORDERED = 200_000
"""More prefixes than this beneath one parent stay in the order of their names."""
DEPTH = 32
"""Levels of prefixes; separators beyond them belong to the last part."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One child of a prefix: a longer prefix, or a key."""

    name: bytes
    """The whole prefix with its separator, or the whole key."""
    label: bytes
    """What it adds to its parent; empty for the key that is spelled like its parent."""
    is_key: bool
    count: int
    """Keys beneath a prefix; 1 for a key."""


class Branches(Sequence[Branch]):
    """The children of one prefix: prefixes, largest first or by name, then keys by name; made as they are looked at."""

    def __init__(self, index: KeyIndex, parent: bytes, found: _Found, *, largest_first: bool) -> None:
        self._index, self._parent, self._found = index, parent, found
        self.ordered = largest_first and len(found.counts) <= ORDERED
        """Whether the largest come first."""
        self._order: Sequence[int] = range(len(found.counts))
        if self.ordered:
            counts = found.counts
            self._order = sorted(self._order, key=lambda at: -counts[at])
        self._ends = list(found.run_ends)

    @property
    def prefixes(self) -> int:
        """How many of them are prefixes: they come first."""
        return len(self._order)

    def __len__(self) -> int:
        return len(self._order) + (self._ends[-1] if self._ends else 0)

    @overload
    def __getitem__(self, at: int) -> Branch: ...
    @overload
    def __getitem__(self, at: slice) -> list[Branch]: ...
    def __getitem__(self, at: int | slice) -> Branch | list[Branch]:
        if isinstance(at, slice):
            return [self._branch(place) for place in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        return self._branch(at % len(self))

    def _branch(self, at: int) -> Branch:
        cut = len(self._parent)
        if at < len(self._order):
            place = self._order[at]
            name = self._found.names[place]
            return Branch(name, name[cut:], False, self._found.counts[place])
        at -= len(self._order)
        run = bisect_right(self._ends, at)
        inside = at - (self._ends[run - 1] if run else 0)
        first = self._found.run_firsts[run]
        # Keys may have come before this run since: its place is looked up by its first name.
        try:
            name = self._index.key(self._index.rank(first) + inside)
        except IndexError:
            name = first
        return Branch(name, name[cut:], True, 1)


class _Found:
    """The children in the order of their names; keys as runs of neighbours."""

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.counts = array("I")
        self.run_firsts: list[bytes] = []
        self.run_ends: list[int] = []
        self._leaves = 0
        self._in_run = False

    def prefix(self, name: bytes, count: int) -> None:
        if self.names and self.names[-1] == name:
            self.counts[-1] += count
            return
        self.names.append(name)
        self.counts.append(count)
        self._in_run = False

    def keys(self, first: bytes, count: int) -> None:
        self._leaves += count
        if self._in_run:
            self.run_ends[-1] = self._leaves
        else:
            self.run_firsts.append(first)
            self.run_ends.append(self._leaves)
            self._in_run = True


def branches_of(index: KeyIndex, parent: bytes, *, largest_first: bool) -> Branches:
    """Find the children of `parent`: a range that lies within one child is only counted."""
    found = _Found()
    if _depth(index, parent) >= DEPTH:
        start, stop = index.span(parent)
        if stop > start:
            found.keys(index.key(start), stop - start)
        return Branches(index, parent, found, largest_first=largest_first)
    beyond = (
        re.compile(
            b"(?m)^" + re.escape(parent) + b"[^\\n" + re.escape(index.signs) + b"]*[" + re.escape(index.signs) + b"]"
        )
        if index.signs
        else None
    )
    last = parent
    while True:
        jump = _walk_piece(index, parent, last, beyond, found)
        if jump is None:
            return Branches(index, parent, found, largest_first=largest_first)
        last = jump


def _walk_piece(
    index: KeyIndex, parent: bytes, last: bytes, beyond: re.Pattern[bytes] | None, found: _Found
) -> bytes | None:
    """Take in the children in the range that holds `last`; return where to go on, None at the end."""
    after = successor(parent)
    keys, bound = index.range_at(last, after)
    at, end = 0, len(keys)
    if keys and beyond is not None and _leaves_only(keys, beyond):
        found.keys(keys[0], end)
        at = end
    child: bytes | None = None
    while at < end:
        key = keys[at]
        child = index.child(parent, key)
        if child is None:
            found.keys(key, 1)
            at += 1
            continue
        follows = successor(child)
        stop = end if follows is None else bisect_left(keys, follows, at)
        if stop == end and bound is not None and follows is not None and bound < follows:
            # It goes on in the next ranges: count them all at once.
            start, finish = index.span(child)
            found.prefix(child, finish - start)
            return None if after is not None and follows >= after else follows
        found.prefix(child, stop - at)
        at = stop
    return bound


def _leaves_only(keys: Sequence[bytes], beyond: re.Pattern[bytes]) -> bool:
    blob = b"\n".join(keys)
    return blob.count(b"\n") == len(keys) - 1 and beyond.search(blob) is None


def _depth(index: KeyIndex, parent: bytes) -> int:
    depth, at = 0, 0
    while at < len(parent):
        child = index.child(parent[:at], parent)
        if child is None:
            break
        depth, at = depth + 1, len(child)
    return depth


def successor(prefix: bytes) -> bytes | None:
    r"""Return the smallest name after all that begin with `prefix`; None when there is none.

    >>> successor(b"a:"), successor(b"a\xff"), successor(b"")
    (b'a;', b'b', None)
    """
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
