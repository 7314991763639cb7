r"""What MONITOR says, read by lines: which keys were used, and how. Values are never kept.

A line is `+1700000000.123456 [0 127.0.0.1:5000] "GET" "key"`; in quotes stand `\"`, `\\`, `\n`, `\r`, `\t`,
`\a`, `\b` and `\x00`, so that a line feed always ends a line, whatever the clients sent.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cachetui.model.accesses import Use, spatial_hash
from cachetui.model.burst import Seen
from cachetui.source.base import UseSink
from cachetui.source.redis.positions import first_key
from cachetui.source.redis.replies import as_bytes, as_int, as_list

LINE_BYTES = 64 * 1024
"""Of a longer line only the beginning is read, and how long it is."""
HEAD_BYTES = 8 * 1024
"""So much of a longer line."""
_NAMES = 2000
"""Spellings of command names that are remembered."""

_ODD, _MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1

_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_PLAIN = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}

_USES = {
    **dict.fromkeys((b"SET", b"SETEX", b"PSETEX", b"MSET", b"GETSET", b"RESTORE"), Use.WRITE),
    **dict.fromkeys((b"SETNX", b"MSETNX"), Use.UPDATE),
    **dict.fromkeys((b"DEL", b"UNLINK", b"GETDEL", b"DELIFEQ"), Use.DELETE),
    **dict.fromkeys((b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT", b"PERSIST"), Use.EXPIRE),
    **dict.fromkeys((b"EXISTS", b"TTL", b"PTTL", b"TYPE", b"EXPIRETIME", b"PEXPIRETIME"), Use.LOOK),
    b"GETEX": Use.READ,
}
"""Where the flags of a command do not tell."""
_IGNORED = frozenset(
    (
        *(b"EVAL", b"EVALSHA", b"EVAL_RO", b"EVALSHA_RO", b"FCALL", b"FCALL_RO"),  # what they run has lines of its own
        *(b"OBJECT", b"MEMORY", b"XGROUP", b"XINFO", b"DUMP", b"WATCH", b"MIGRATE", b"PFDEBUG", b"DEBUG"),
        *(b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"PUBLISH", b"SPUBLISH", b"SUNSUBSCRIBE"),
    )
)
_MOVES = frozenset((b"RENAME", b"RENAMENX", b"COPY"))
"""The first key goes or is read, the second is written."""


@dataclass(frozen=True, slots=True)
class Command:
    """Where the keys of a command stand, and what it does to them."""

    name: bytes
    use: Use
    first: int
    last: int
    step: int
    moves: bool = False
    """Where the keys stand depends on the other words."""

    @property
    def simple(self) -> bool:
        """The first word is the only key."""
        return (self.first, self.last) == (1, 1) and not self.moves and self.name not in _MOVES


def read_commands(reply: object) -> dict[bytes, Command]:
    """Return the commands with keys in a reply to COMMAND, by upper-case name."""
    found = {}
    for item in as_list(reply):
        entry = as_list(item)
        if len(entry) < 6:
            continue
        name = as_bytes(entry[0]).upper()
        flags = {as_bytes(flag) for flag in as_list(entry[2])}
        first, last, step = (as_int(entry[at]) or 0 for at in (3, 4, 5))
        moves = b"movablekeys" in flags
        if name in _IGNORED or not (first or moves):
            continue
        use = _USES.get(name, Use.UPDATE if b"write" in flags else Use.READ)
        found[name] = Command(name, use, first, last, max(1, step), moves)
    return found


BASIC = {
    name: Command(name, use, 1, last, step)
    for names, use, last, step in (
        ((b"GET", b"HGET", b"HGETALL", b"HMGET", b"GETRANGE", b"SMEMBERS", b"ZRANGE", b"LRANGE"), Use.READ, 1, 1),
        ((b"MGET",), Use.READ, -1, 1),
        ((b"SET", b"SETEX", b"PSETEX"), Use.WRITE, 1, 1),
        ((b"MSET",), Use.WRITE, -1, 2),
        ((b"HSET", b"INCR", b"INCRBY", b"LPUSH", b"RPUSH", b"SADD", b"ZADD", b"APPEND"), Use.UPDATE, 1, 1),
        ((b"DEL", b"UNLINK"), Use.DELETE, -1, 1),
        ((b"EXPIRE", b"PEXPIRE", b"PERSIST"), Use.EXPIRE, 1, 1),
        ((b"EXISTS",), Use.LOOK, -1, 1),
        ((b"TTL", b"PTTL", b"TYPE"), Use.LOOK, 1, 1),
    )
    for name in names
}
"""Where COMMAND is denied."""


class MonitorReader:
    """Reads MONITOR's lines out of the bytes as they come, and hands the sampled accesses on."""

    def __init__(self, commands: Mapping[bytes, Command], sink: UseSink) -> None:
        self._commands, self._sink = commands, sink
        self._simple: dict[bytes, Use] = {}
        """Names, as clients spell them, of commands whose first word is the only key."""
        self._others: dict[bytes, Command | None] = {}
        self._rest = b""
        self._cut = 0
        """Bytes left out of the middle of the line under way."""
        self.lines = 0
        self.lookups = 0
        """Of all keys, sampled or not."""
        self.strange = 0
        """Lines that make no sense, or whose key is too long to be read."""
        self.first_s = self.last_s = math.nan
        """The server's clock in the first line and the newest."""

    def feed(self, data: bytes) -> None:
        """Take in what has come; lines may be cut anywhere."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if lines and self._cut:
            self._read_shortened(lines.pop(0))
        if lines:
            self._read(lines)
        if len(self._rest) > LINE_BYTES:
            # No more of a line is kept than is read of it.
            self._cut += len(self._rest) - HEAD_BYTES
            self._rest = self._rest[:HEAD_BYTES]

    def _read(self, lines: Sequence[bytes]) -> None:
        threshold, simple, crc32 = self._sink.threshold, self._simple, zlib.crc32
        lookups = self.lookups
        for line in lines:
            parts = line.split(b'"', 4)
            if len(parts) == 5 and (use := simple.get(parts[1])) is not None and b"\\" not in parts[3]:
                if use < 2:
                    lookups += 1
                # `spatial_hash`, without the cost of a call for each line.
                if (crc32(parts[3]) * _ODD & _MASK) >> 32 < threshold:
                    self.lookups = lookups
                    self._hand_on(parts, use)
            else:
                self.lookups = lookups
                self._read_whole(line, parts, threshold)
                lookups = self.lookups
        self.lookups = lookups
        self.lines += len(lines)
        self._note_time(lines)

    def _read_shortened(self, line: bytes) -> None:
        """Read a line of which the middle was left out: only its first key, and that only if it is whole."""
        cut, self._cut = self._cut, 0
        self.lines += 1
        parts = line.split(b'"', 4)
        command = self._whole_head(line, parts)
        if command is None:
            self.strange += 1
            return
        self.lookups += command.use <= Use.LOOK
        if spatial_hash(parts[3]) < self._sink.threshold:
            self._hand_on(parts, command.use, cut)

    def _whole_head(self, line: bytes, parts: Sequence[bytes]) -> Command | None:
        """Return the command of a line that was cut, if its only key stands whole before the cut."""
        whole = len(parts) == 5 and len(line) - len(parts[4]) < HEAD_BYTES and b"\\" not in parts[3]
        command = self._learn(parts[1]) if whole else None
        return command if command is not None and command.simple else None

    @staticmethod
    def _keys(command: Command, tail: bytes) -> list[bytes]:
        """Return the keys of a command; `tail` is its line from the first quote on."""
        words = _WORD.findall(tail)
        return [unescaped(words[at]) for at in _places(command, words)]

    def _note_time(self, lines: Sequence[bytes]) -> None:
        if math.isnan(self.first_s):
            self.first_s = next((at for line in lines if not math.isnan(at := _time_of(line))), math.nan)
        newest = _time_of(lines[-1])
        if not math.isnan(newest):
            self.last_s = newest

    def _learn(self, name: bytes) -> Command | None:
        if name in self._others:
            return self._others[name]
        command = self._commands.get(name.upper())
        if len(self._others) < _NAMES:
            self._others[name] = command
            if command is not None and command.simple:
                self._simple[name] = command.use
        return command

    def _hand_on(self, parts: Sequence[bytes], use: Use, cut: int = 0) -> None:
        head, name, _, key, rest = parts
        at_s, db = _time_of(head), _db_of(head)
        if math.isnan(at_s) or db is None:
            self.strange += 1
            return
        ttl_s = _ttl_of(name.upper(), rest, at_s)
        self._sink.take(Seen(at_s, db, key, use, len(rest) + cut, ttl_s, self.lookups))

    def _read_whole(self, line: bytes, parts: Sequence[bytes], threshold: int) -> None:
        """Read a line word by word: several keys, a key with escapes, or a name that is met for the first time."""
        if len(parts) < 3:
            if line.rstrip(b"\r") != b"+OK":
                self.strange += 1
            return
        command = self._learn(parts[1])
        if command is None:
            return
        words = _WORD.findall(line[len(parts[0]) :])
        places = _places(command, words)
        at_s, db = _time_of(parts[0]), _db_of(parts[0])
        if math.isnan(at_s) or db is None:
            self.strange += 1
            return
        if command.use <= Use.LOOK:
            self.lookups += len(places)
        length = sum(map(len, words)) // max(1, len(places))
        for number, at in enumerate(places):
            key = unescaped(words[at])
            if spatial_hash(key) < threshold:
                use = _moved(command, number) if command.name in _MOVES else command.use
                rest = b"".join(b' "%b"' % word for word in words[at + 1 :]) if len(places) == 1 else b""
                ttl_s = _ttl_of(command.name, rest, at_s)
                self._sink.take(Seen(at_s, db, key, use, max(0, length - len(words[at])), ttl_s, self.lookups))


def _moved(command: Command, number: int) -> Use:
    if number:
        return Use.WRITE
    return Use.READ if command.name == b"COPY" else Use.DELETE


def _places(command: Command, words: Sequence[bytes]) -> list[int]:
    """Return the indexes of the keys among the words."""
    if command.moves:
        key = first_key(words)
        return [words.index(key, 1)] if key is not None and key in words[1:] else []
    last = command.last if command.last >= 0 else len(words) + command.last
    return list(range(command.first, min(last, len(words) - 1) + 1, command.step))


def unescaped(word: bytes) -> bytes:
    r"""Return the bytes that a word between quotes stands for.

    >>> unescaped(rb"a\"b\\c\n\x00\xff")
    b'a"b\\c\n\x00\xff'
    """
    if b"\\" not in word:
        return word
    return _ESCAPE.sub(_meant, word)


def _meant(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    return bytes((int(code[1:], 16),)) if len(code) == 3 else _PLAIN.get(code, code)


def _time_of(head: bytes) -> float:
    """Return the seconds at the beginning of a line, NaN where there are none."""
    word = head[1:40].partition(b" ")[0]
    try:
        return float(word) if head[:1] == b"+" and word[:1].isdigit() else math.nan
    except ValueError:
        return math.nan


def _db_of(head: bytes) -> int | None:
    """Return the database of a line; None where the words before the command are no such."""
    before, _, where = head.partition(b" [")
    number = where.partition(b" ")[0]
    return int(number) if before and head.endswith(b"] ") and number.isdigit() and len(number) < 10 else None


_TTL = re.compile(rb'"(EX|PX|EXAT|PXAT)" "(\d{1,18})"(?: "(?:NX|XX|GET|KEEPTTL)")*\s*$', re.IGNORECASE)
_KEEPS = re.compile(rb'"(KEEPTTL)"(?: "(?:NX|XX|GET)")*\s*$', re.IGNORECASE)
_FIRST_NUMBER = re.compile(rb'\s*"(-?\d{1,18})"')
_UNITS = {b"EX": 1.0, b"PX": 0.001, b"EXAT": 1.0, b"PXAT": 0.001}
_TAIL = 200


def _ttl_of(name: bytes, rest: bytes, at_s: float) -> float:
    """Return the seconds to live that a command gives its key; `rest` is what stands behind the key."""
    if name == b"PERSIST":
        return math.inf
    if name in (b"SETEX", b"PSETEX", b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT"):
        number = _FIRST_NUMBER.match(rest)
        if number is None:
            return math.nan
        seconds = int(number[1]) * (0.001 if name.startswith(b"P") else 1.0)
        return seconds - at_s if name.endswith(b"AT") else seconds
    if name == b"MSET":
        return math.inf
    if name not in (b"SET", b"GETEX"):
        return math.nan
    tail = rest[-_TAIL:]
    found = _TTL.search(tail)
    if found is not None:
        word = found[1].upper()
        seconds = int(found[2]) * _UNITS[word]
        return seconds - at_s if word.endswith(b"AT") else seconds
    return math.nan if name == b"GETEX" or _KEEPS.search(tail) else math.inf
