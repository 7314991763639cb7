"""What MONITOR says, counted: which keys every command names, and which client sent it. Values are never looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from cachetui.model.accesses import HASHES, Use
from cachetui.model.burst import Access, Call, Seen
from cachetui.source.base import CallSink
from cachetui.source.redis.monitored import Command, MonitorReader
from cachetui.text import printable

_PLACES, _CLIENT = 20_000, 80
"""Clients that are remembered, and the most characters shown of one."""
_NAME = 40


class _Everything:
    """A sample of all keys: the reader passes none over."""

    threshold = HASHES
    full = False

    def take(self, seen: Seen) -> None:
        """Take in a use: here they are counted instead."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one chunk tells."""

    accesses: Counter[Access] = field(default_factory=Counter)
    calls: Counter[Call] = field(default_factory=Counter)


class CallReader(MonitorReader):
    """Reads MONITOR's lines and counts them, chunk by chunk."""

    def __init__(self, commands: Mapping[bytes, Command], sink: CallSink, *, ours: Collection[str] = ()) -> None:
        """`ours` are the ends of our own connections: what they send is left out."""
        super().__init__(commands, _Everything())
        self._calls_to = sink
        self._ours = frozenset(f" {address}] ".encode() for address in ours)
        self._clients: dict[bytes, tuple[int, str]] = {}
        self._shown: dict[bytes, str] = {}

    def _read(self, lines: Sequence[bytes]) -> None:
        simple, ours = self._simple, self._ours
        quick: Counter[tuple[bytes, bytes, bytes]] = Counter()
        batch = _Batch()
        for line in lines:
            parts = line.split(b'"', 4)
            where = parts[0].partition(b" [")[2]
            if len(parts) == 5 and parts[1] in simple and b"\\" not in parts[3]:
                quick[(where, parts[1], parts[3])] += 1
            elif where[where.find(b" ") :] not in ours:
                self._count_whole(line, parts, where, batch)
        for (where, name, key), number in quick.items():
            if where[where.find(b" ") :] not in ours:
                self._count(where, name, [key], simple[name], batch=batch, number=number)
        self._calls_to.take_calls(batch.accesses, batch.calls)
        self.lines += len(lines)
        self._note_time(lines)

    def _count(
        self, where: bytes, name: bytes, keys: Sequence[bytes], use: Use | None, *, batch: _Batch, number: int = 1
    ) -> None:
        db, client = self._place(where)
        if db < 0:
            self.strange += number
            return
        writes = None if use is None else use > Use.LOOK
        if use is not None and use <= Use.LOOK:
            self.lookups += number * len(keys)
        batch.calls[Call(self._name(name), client, writes)] += number
        for key in keys:
            batch.accesses[Access(db, key, bool(writes))] += number

    def _count_whole(self, line: bytes, parts: Sequence[bytes], where: bytes, batch: _Batch) -> None:
        """Count a command with several keys or none, a key with escapes, or a name met for the first time."""
        if len(parts) < 3:
            if line.rstrip(b"\r") != b"+OK":
                self.strange += 1
            return
        command = self._learn(parts[1])
        if command is None:
            self._count(where, parts[1], [], None, batch=batch)
        else:
            self._count(where, parts[1], self._keys(command, line[len(parts[0]) :]), command.use, batch=batch)

    def _read_shortened(self, line: bytes) -> None:
        """Count a line of which the middle was left out, with its first key if that is whole."""
        self._cut = 0
        self.lines += 1
        parts = line.split(b'"', 4)
        command = self._whole_head(line, parts)
        if command is None:
            self.strange += 1
            return
        batch = _Batch()
        self._count(parts[0].partition(b" [")[2], parts[1], [parts[3]], command.use, batch=batch)
        self._calls_to.take_calls(batch.accesses, batch.calls)

    def _place(self, where: bytes) -> tuple[int, str]:
        """Return database and client of `0 127.0.0.1:5000] `; -1 where it is no such."""
        known = self._clients.get(where)
        if known is None:
            number, _, client = where.removesuffix(b"] ").partition(b" ")
            known = (int(number) if number.isdigit() and len(number) < 10 else -1, printable(client, _CLIENT))
            if len(self._clients) < _PLACES:
                self._clients[where] = known
        return known

    def _name(self, name: bytes) -> str:
        shown = self._shown.get(name)
        if shown is None:
            shown = printable(name, _NAME).upper()
            if len(self._shown) < _PLACES:
                self._shown[name] = shown
        return shown
