"""Keys by their prefixes: what the tree of the Keys view shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import overload

from cachetui.source.globs import compiled
from cachetui.text import printable

KEYS_KEPT = 200_000
"""Distinct keys held; after these the tree is incomplete and says so."""
DEPTH = 32
"""Levels of prefixes; separators beyond them belong to the last part."""
PREFIX_BYTES = 1024
"""Longest prefix; separators beyond it belong to the last part."""


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
    """The children of one prefix, biggest first, then by name; made as they are looked at."""

    def __init__(self, parent: bytes, prefixes: list[tuple[int, bytes]], keys: list[bytes]) -> None:
        self._cut = len(parent)
        self._prefixes = prefixes
        self._keys = keys

    def __len__(self) -> int:
        return len(self._prefixes) + len(self._keys)

    @overload
    def __getitem__(self, at: int) -> Branch: ...
    @overload
    def __getitem__(self, at: slice) -> list[Branch]: ...
    def __getitem__(self, at: int | slice) -> Branch | list[Branch]:
        if isinstance(at, slice):
            return [self._branch(index) for index in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        return self._branch(at % len(self))

    def _branch(self, at: int) -> Branch:
        if at < len(self._prefixes):
            negative, name = self._prefixes[at]
            return Branch(name, name[self._cut :], False, -negative)
        name = self._keys[at - len(self._prefixes)]
        return Branch(name, name[self._cut :], True, 1)


class _Leaves:
    """The keys directly beneath one prefix, sorted only when somebody looks."""

    __slots__ = ("_fresh", "_ordered", "names")

    def __init__(self) -> None:
        self.names: set[bytes] = set()
        self._ordered: list[bytes] = []
        self._fresh: list[bytes] = []

    def add(self, key: bytes) -> None:
        self.names.add(key)
        self._fresh.append(key)

    def remove(self, keys: Iterable[bytes]) -> None:
        self.names.difference_update(keys)
        self._ordered, self._fresh = [], list(self.names)

    def ordered(self) -> list[bytes]:
        if self._fresh:
            self._fresh.sort()
            self._ordered = [*self._ordered, *self._fresh]
            self._ordered.sort()  # two sorted runs: merged, not sorted anew
            self._fresh = []
        return self._ordered


class PrefixTree:
    """Distinct keys, counted by prefix. Every key is reachable from b"" on exactly one way."""

    def __init__(self, separator: str | bytes = ":", *, limit: int = KEYS_KEPT) -> None:
        self.separator = separator.encode() if isinstance(separator, str) else separator
        self.limit = limit
        self.complete = True
        """False once a key was left out because the tree is full."""
        self.total = 0
        """Distinct keys held."""
        self._prefixes: dict[bytes, dict[bytes, int]] = {}
        self._leaves: dict[bytes, _Leaves] = {}

    def add(self, keys: Iterable[bytes]) -> None:
        """Take in keys; one that is there already changes nothing."""
        for key in keys:
            path = self._path(key)
            parent = path[-1]
            leaves = self._leaves.get(parent)
            if leaves is not None and key in leaves.names:
                continue
            if self.total >= self.limit:
                self.complete = False
                return
            if leaves is None:
                leaves = self._leaves[parent] = _Leaves()
            leaves.add(key)
            self.total += 1
            self._count(path, 1)

    def discard(self, keys: Iterable[bytes]) -> None:
        """Take out keys; one that is not there changes nothing."""
        gone: dict[bytes, list[bytes]] = {}
        for key in dict.fromkeys(keys):
            path = self._path(key)
            leaves = self._leaves.get(path[-1])
            if leaves is not None and key in leaves.names:
                gone.setdefault(path[-1], []).append(key)
                self._count(path, -1)
                self.total -= 1
        for parent, names in gone.items():
            leaves = self._leaves[parent]
            leaves.remove(names)
            if not leaves.names:
                del self._leaves[parent]

    def clear(self) -> None:
        """Forget everything."""
        self._prefixes.clear()
        self._leaves.clear()
        self.total, self.complete = 0, True

    def count(self, prefix: bytes) -> int:
        """Return how many keys begin with `prefix`, which may be any bytes."""
        if prefix == b"":
            return self.total
        path = self._path(prefix)
        if path[-1] == prefix:
            return self._prefixes.get(path[-2], {}).get(prefix, 0)
        return sum(1 for _ in self._beneath(prefix))

    def children(self, prefix: bytes) -> Branches:
        """Return what stands directly beneath `prefix` (b"" or a branch's name), biggest first, then by name."""
        prefixes = sorted((-count, name) for name, count in self._prefixes.get(prefix, {}).items())
        leaves = self._leaves.get(prefix)
        return Branches(prefix, prefixes, leaves.ordered() if leaves else [])

    def keys(self, prefix: bytes = b"") -> list[bytes]:
        """Return all keys that begin with `prefix`, which may be any bytes."""
        return list(self._beneath(prefix))

    def matches(self, needle: str | bytes) -> list[bytes]:
        r"""Return the keys a filter finds: a glob when it has `*`, `?` or `[`, else a part of the name.

        Without a capital letter it matches both cases. With a backslash it is compared with
        the name as it is shown, so that `\x1b` finds an escape character.
        """
        fits = _filter(needle)
        return [key for key in self._beneath(b"") if fits(key)]

    def _path(self, key: bytes) -> list[bytes]:
        """Return the prefixes of `key` from b"" on, each with its separator."""
        path = [b""]
        step = len(self.separator)
        if not step:
            return path
        at = key.find(self.separator, 0, PREFIX_BYTES)
        while at >= 0 and len(path) <= DEPTH:
            path.append(key[: at + step])
            at = key.find(self.separator, at + step, PREFIX_BYTES)
        return path

    def _count(self, path: list[bytes], change: int) -> None:
        for parent, name in pairwise(path):
            counts = self._prefixes.setdefault(parent, {})
            counts[name] = counts.get(name, 0) + change
            if counts[name] <= 0:
                del counts[name]
                if not counts:
                    del self._prefixes[parent]

    def _beneath(self, prefix: bytes) -> Iterator[bytes]:
        start = next((name for name in reversed(self._path(prefix)) if self._known(name)), b"")
        left = [start]
        while left:
            name = left.pop()
            if not name.startswith(prefix[: len(name)]):
                continue
            if name in self._leaves:
                yield from (key for key in self._leaves[name].ordered() if key.startswith(prefix))
            left += sorted(self._prefixes.get(name, ()), reverse=True)

    def _known(self, name: bytes) -> bool:
        return name in self._leaves or name in self._prefixes


def _filter(needle: str | bytes) -> Callable[[bytes], bool]:
    wanted = needle.encode("utf-8", "surrogateescape") if isinstance(needle, str) else needle
    if b"\\" in wanted:
        shown = wanted.decode("utf-8", "replace")
        return lambda key: shown in printable(key)
    folded = wanted == wanted.lower()
    if any(sign in wanted for sign in (b"*", b"?", b"[")):
        fits = compiled(wanted).fullmatch
        return (lambda key: fits(key.lower()) is not None) if folded else (lambda key: fits(key) is not None)
    return (lambda key: wanted in key.lower()) if folded else (lambda key: wanted in key)
