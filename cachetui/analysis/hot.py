"""What is used most, out of a stream that is too long to be kept: by key, prefix, command and client.

The counts are those of Space-Saving (Metwally, Agrawal, El Abbadi, 2005), pruned in batches: what is not held was
named at most `floor` times, and what comes anew may have been named as often before.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

from cachetui import text
from cachetui.model import ClientInfo, KeyFacts
from cachetui.model.burst import Access, Call
from cachetui.model.prefixes import Share, prefix_of

By = Literal["key", "prefix", "command", "client", "server"]
BYS: tuple[By, ...] = ("key", "prefix", "command", "client", "server")

KEYS, PREFIXES, COMMANDS, CLIENTS = 20_000, 4000, 500, 4000
"""So many of each are held; between two prunings twice as many."""
SURE = 1.96
"""Standard errors of 95 %."""
PREFIX_BYTES = 256
"""A prefix is looked for in so much of a name."""

Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Count(Generic[Item]):
    """How often something was named; at most `error` of it may have been something else."""

    item: Item
    count: int
    """Never less than it was."""
    error: int
    reads: int
    """Seen for sure; so are `writes`."""
    writes: int


class TopK(Generic[Item]):
    """Counts that keep the most frequent of any number of items in bounded memory."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._counts: dict[Item, list[int]] = {}
        """By item: reads, writes, others, and how often it may have come before it was held."""
        self.floor = 0
        """What is not held came at most so often."""

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, item: Item, kind: int, number: int) -> None:
        """Count an item `number` times; `kind` 0: read, 1: written, 2: neither."""
        counts = self._counts.get(item)
        if counts is None:
            counts = self._counts[item] = [0, 0, 0, self.floor]
            counts[kind] = number
            if len(self._counts) > 2 * self._size:
                self._prune()
        else:
            counts[kind] += number

    def _prune(self) -> None:
        """Keep the larger half."""
        ordered = sorted(self._counts.items(), key=lambda pair: -sum(pair[1]))
        self.floor = max(self.floor, sum(ordered[self._size][1]))
        self._counts = dict(ordered[: self._size])

    def top(self, number: int) -> list[Count[Item]]:
        """Return the most frequent items, those that came most for sure first."""
        ordered = sorted(self._counts.items(), key=lambda pair: pair[1][3] - sum(pair[1]))[:number]
        return [Count(item, sum(counts), counts[3], counts[0], counts[1]) for item, counts in ordered]

    def all(self) -> list[Count[Item]]:
        """Return everything that is held."""
        return self.top(len(self._counts))


@dataclass(frozen=True, slots=True)
class HotRow:
    """One key, prefix, command or client."""

    name: str
    """Printable."""
    count: int
    share: Share
    """Of all accesses to keys, or of all commands; with what the sketch and chance leave open (95 %)."""
    reads: int
    writes: int
    per_s: float | None
    key: bytes | None = None
    """Where it is a key."""
    db: int = 0
    note: str = ""
    """More on it, printable."""


class Tally:
    """Counts all commands of one server or of several; `at` gives the sink of each. May be read while it is filled."""

    def __init__(self, *, separators: str = ":", keys: int = KEYS, commands: int | None = None) -> None:
        """`commands`: nothing more is wanted after so many."""
        self._separators, self._most = separators, commands
        self._lock = threading.Lock()
        self._keys: TopK[tuple[str, int, bytes]] = TopK(keys)
        self._prefixes: TopK[bytes] = TopK(PREFIXES)
        self._commands: TopK[str] = TopK(COMMANDS)
        self._clients: TopK[str] = TopK(CLIENTS)
        self._servers: TopK[str] = TopK(CLIENTS)
        self._prefix: dict[bytes, bytes] = {}
        self.accesses = 0
        """To keys."""
        self.calls = 0
        """Commands."""

    @property
    def full(self) -> bool:
        return self._most is not None and self.calls >= self._most

    def at(self, server: str) -> Sink:
        """Return the sink for what one server is sent."""
        return Sink(self, server)

    def take(self, server: str, accesses: Mapping[Access, int], calls: Mapping[Call, int]) -> None:
        """Count what came."""
        with self._lock:
            for (db, key, writes), number in accesses.items():
                self._keys.add((server, db, key), int(writes), number)
                self._prefixes.add(self._prefix_of(key), int(writes), number)
                self.accesses += number
            for (command, client, writing), number in calls.items():
                kind = 2 if writing is None else int(writing)
                self._commands.add(command, kind, number)
                self._clients.add(client, kind, number)
                self._servers.add(server, kind, number)
                self.calls += number

    def _prefix_of(self, key: bytes) -> bytes:
        found = self._prefix.get(key)
        if found is None:
            if len(self._prefix) >= 2 * KEYS:
                self._prefix.clear()
            found = self._prefix[key] = prefix_of(key[:PREFIX_BYTES], self._separators)
        return found

    def rows(
        self, by: By, *, most: int = 200, seconds: float | None = None, clients: Sequence[ClientInfo] = ()
    ) -> list[HotRow]:
        """Return what was used most, the first first.

        `seconds` is how long was watched; `clients` tell who is behind an address.
        """
        with self._lock:
            if by == "key":
                return [self._key_row(one, seconds) for one in self._keys.top(most)]
            if by == "prefix":
                found = self._prefixes.top(most)
                return [_row(one, text.printable(one.item, 120), self.accesses, seconds=seconds) for one in found]
            if by == "command":
                return [_row(one, one.item, self.calls, seconds=seconds) for one in self._commands.top(most)]
            if by == "server":
                return [_row(one, one.item, self.calls, seconds=seconds) for one in self._servers.top(most)]
            grouped, told = _grouped(self._clients.all(), clients)
            return [_row(one, one.item, self.calls, seconds=seconds, note=told[one.item]) for one in grouped[:most]]

    def _key_row(self, found: Count[tuple[str, int, bytes]], seconds: float | None) -> HotRow:
        server, db, key = found.item
        row = _row(found, text.printable(key, 250) or '""', self.accesses, seconds=seconds)
        return replace(row, key=key, db=db, note=f"{server}  db {db}".strip() if db else server)


class Sink:
    """Where one server's commands go (`cachetui.source.base.CallSink`)."""

    def __init__(self, tally: Tally, server: str) -> None:
        self._tally, self._server = tally, server

    @property
    def full(self) -> bool:
        return self._tally.full

    def take_calls(self, accesses: Mapping[Access, int], calls: Mapping[Call, int]) -> None:
        """Count what came."""
        self._tally.take(self._server, accesses, calls)


def _row(found: Count[Item], name: str, total: int, *, seconds: float | None, note: str = "") -> HotRow:
    sure = found.count - found.error
    share = Share(sure / total, interval(sure, total)[0], interval(found.count, total)[1])
    return HotRow(name, sure, share, found.reads, found.writes, sure / seconds if seconds else None, note=note)


def interval(part: int, whole: int) -> tuple[float, float]:
    """Return the 95 % interval of a share that was counted (Wilson).

    >>> [round(bound, 2) for bound in interval(50, 100)], interval(0, 0)
    ([0.4, 0.6], (0.0, 1.0))
    """
    if whole <= 0:
        return 0.0, 1.0
    share, square = min(1.0, part / whole), SURE**2 / whole
    middle = (share + square / 2) / (1 + square)
    half = SURE * math.sqrt(share * (1 - share) / whole + square / 4 / whole) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def _grouped(found: Sequence[Count[str]], clients: Sequence[ClientInfo]) -> tuple[list[Count[str]], dict[str, str]]:
    """Return clients by what they call themselves, else by host; and of each its library and connections."""
    known = {client.address: client for client in clients}
    sums: dict[str, list[Count[str]]] = {}
    libraries: dict[str, str] = {}
    for one in found:
        client = known.get(one.item)
        name = _who(one.item, client)
        sums.setdefault(name, []).append(one)
        if client is not None and client.library:
            libraries[name] = client.library
    grouped = [
        Count(
            name,
            sum(one.count for one in some),
            sum(one.error for one in some),
            sum(one.reads for one in some),
            sum(one.writes for one in some),
        )
        for name, some in sums.items()
    ]
    notes = {name: _connections(name, len(some), libraries.get(name, "")) for name, some in sums.items()}
    return sorted(grouped, key=lambda one: (one.error - one.count, one.item)), notes


def _who(address: str, client: ClientInfo | None) -> str:
    if client is not None and client.ours:
        return "cachetui (us)"
    if client is not None and client.name:
        return f"{client.name} {_host(address)}"
    return _host(address)


def _host(address: str) -> str:
    host, colon, port = address.rpartition(":")
    return host if colon and port.isdigit() else address


def _connections(name: str, number: int, library: str) -> str:
    if name == "lua":
        return "what scripts ran"
    words = f"{number} connection{'' if number == 1 else 's'}"
    return f"{words}, {library}" if library else words


def uses_of(frequency: int, log_factor: int = 10) -> float:
    """Return about how many uses lead to an LFU counter, if none was forgotten meanwhile.

    >>> uses_of(5), round(uses_of(6)), round(uses_of(10))
    (0.0, 1, 105)
    """
    steps = max(0, frequency - 5)
    return steps + log_factor * steps * (steps - 1) / 2


def from_frequencies(facts: Sequence[KeyFacts], log_factor: int = 10) -> list[HotRow]:
    """Return keys by their LFU counters, the hottest first; nothing where there are none. `count` is the counter."""
    known = [(one.frequency, one) for one in facts if one.frequency is not None]
    total = sum(uses_of(frequency, log_factor) for frequency, _ in known) or 1.0
    return [
        HotRow(
            text.printable(one.key, 250) or '""',
            frequency,
            Share(uses_of(frequency, log_factor) / total, 0.0, 1.0),
            0,
            0,
            None,
            one.key,
            note=one.type or "",
        )
        for frequency, one in sorted(known, key=lambda pair: (-pair[0], pair[1].key))
    ]


def from_report(ranking: Sequence[tuple[bytes, int]], total: int | None) -> list[HotRow]:
    """Return one of the server's own rankings; `total` is the measure of all commands."""
    whole = total or sum(value for _, value in ranking) or 1
    return [
        HotRow(text.printable(key, 250) or '""', value, Share(min(1.0, value / whole), 0.0, 1.0), 0, 0, None, key)
        for key, value in ranking
    ]
