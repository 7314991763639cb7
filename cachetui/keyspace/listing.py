"""What the key browser lists: a tree of prefixes, all keys in order, or those that a filter finds.

A listing is made in a worker thread and then only read: rows are looked up when they are drawn.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from cachetui.keyspace.filter import KeyFilter, Matches, find
from cachetui.keyspace.index import Branches, KeyIndex
from cachetui.keyspace.measures import Measures
from cachetui.keyspace.order import By, Order

Sorting = Literal["count", "name", "size", "ttl", "idle", "frequency"]

_MEASURED: dict[Sorting, By] = {"size": "size", "ttl": "ttl", "idle": "idle", "frequency": "frequency"}

LOOKED_THROUGH = 20_000
"""So many prefixes of one parent are looked through for one that is wanted again."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants listed."""

    flat: bool = False
    """All keys in one list, not as a tree."""
    expanded: frozenset[bytes] = frozenset()
    """The open prefixes of the tree."""
    filter: KeyFilter | None = None
    """Keys that it finds, in one list."""
    sorting: Sorting = "count"
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: a prefix or a key."""

    kind: Literal["prefix", "key"]
    name: bytes
    """The whole prefix with its separator, or the whole key."""
    label: bytes
    """What it adds to its parent."""
    depth: int = 0
    count: int = 1
    """Keys beneath a prefix; 1 for a key."""
    is_open: bool = False


class Listing(Protocol):
    """Rows by their place."""

    wanted: Wanted
    index: KeyIndex
    version: int
    """Of the index, when it was made."""

    def __len__(self) -> int: ...

    def entry(self, at: int) -> Entry: ...

    def place(self, kind: str, name: bytes) -> int | None:
        """Return the row of this prefix or key; None when it is not listed (or not found quickly)."""
        ...


def make_listing(index: KeyIndex, wanted: Wanted, measures: Measures | None, cancelled: Callable[[], bool]) -> Listing:
    """Return the listing; takes up to some 100 ms per million keys, in slices. For a worker thread."""
    version = index.version
    if wanted.filter is not None:
        return FoundKeys(index, wanted, version, find(index, wanted.filter, cancelled=cancelled))
    if not wanted.flat:
        return PrefixRows(index, wanted, version)
    order = None
    by = _MEASURED.get(wanted.sorting)
    if by is not None and measures is not None:
        order = Order(measures, by, descending=wanted.descending, cancelled=cancelled)
    return AllKeys(index, wanted, version, order)


class AllKeys:
    """All keys, by name or by what was measured of them."""

    def __init__(self, index: KeyIndex, wanted: Wanted, version: int, order: Order | None) -> None:
        self.index, self.wanted, self.version = index, wanted, version
        self._order = order
        self._length = len(index)
        self._backwards = order is None and wanted.sorting == "name" and wanted.descending

    def __len__(self) -> int:
        return self._length

    def entry(self, at: int) -> Entry:
        rank = self._order[at] if self._order is not None else self._length - 1 - at if self._backwards else at
        name = self.index.key(rank)
        return Entry("key", name, name)

    def place(self, kind: str, name: bytes) -> int | None:
        if kind != "key" or name not in self.index:
            return None
        rank = self.index.rank(name)
        if self._order is not None:
            return self._order.place(rank)
        return self._length - 1 - rank if self._backwards else rank


class FoundKeys:
    """The keys that a filter finds, by name."""

    def __init__(self, index: KeyIndex, wanted: Wanted, version: int, matches: Matches) -> None:
        self.index, self.wanted, self.version = index, wanted, version
        self._matches = matches

    def __len__(self) -> int:
        return len(self._matches)

    def entry(self, at: int) -> Entry:
        name = self._matches[at]
        return Entry("key", name, name)

    def place(self, kind: str, name: bytes) -> int | None:
        return self._matches.place(name) if kind == "key" else None


@dataclass(frozen=True, slots=True)
class _Part:
    """Consecutive rows that are consecutive children of one prefix."""

    row: int
    branches: Branches
    first: int
    depth: int


class PrefixRows:
    """The tree, with the children of the open prefixes beneath them."""

    def __init__(self, index: KeyIndex, wanted: Wanted, version: int) -> None:
        self.index, self.wanted, self.version = index, wanted, version
        self._parts: list[_Part] = []
        self._length = 0
        self._add(b"", 0)
        self._rows = [part.row for part in self._parts]

    def _add(self, prefix: bytes, depth: int) -> None:
        branches = self.index.children(prefix, largest_first=self.wanted.sorting != "name")
        opened = [name for name in self.wanted.expanded if name.startswith(prefix) and name != prefix]
        places = sorted((at, name) for name in opened if (at := _place_of_prefix(branches, name)) is not None)
        first = 0
        for at, name in places:
            self._append(branches, first, at + 1, depth)
            self._add(name, depth + 1)
            first = at + 1
        self._append(branches, first, len(branches), depth)

    def _append(self, branches: Branches, first: int, stop: int, depth: int) -> None:
        if stop > first:
            self._parts.append(_Part(self._length, branches, first, depth))
            self._length += stop - first

    def __len__(self) -> int:
        return self._length

    def entry(self, at: int) -> Entry:
        part = self._parts[bisect_right(self._rows, at) - 1]
        branch = part.branches[part.first + at - part.row]
        kind: Literal["prefix", "key"] = "key" if branch.is_key else "prefix"
        is_open = not branch.is_key and branch.name in self.wanted.expanded
        return Entry(kind, branch.name, branch.label, part.depth, branch.count, is_open)

    def place(self, kind: str, name: bytes) -> int | None:
        for at, part in enumerate(self._parts):
            stop = self._parts[at + 1].row if at + 1 < len(self._parts) else self._length
            last = part.first + stop - part.row
            find_place = _place_of_prefix if kind == "prefix" else _place_of_key
            inside = find_place(part.branches, name)
            if inside is not None and part.first <= inside < last:
                return part.row + inside - part.first
        return None


def _place_of_prefix(branches: Branches, name: bytes) -> int | None:
    for at in range(min(len(branches), LOOKED_THROUGH)):
        branch = branches[at]
        if branch.is_key:
            return None
        if branch.name == name:
            return at
    return None


def _place_of_key(branches: Branches, name: bytes) -> int | None:
    first = branches.prefixes
    at = first + bisect_left(range(first, len(branches)), name, key=lambda place: branches[place].name)
    return at if at < len(branches) and branches[at].name == name else None
