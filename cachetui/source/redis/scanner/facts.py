"""Type, TTL and size of every key that a walk finds: questions as one buffer, answers as columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import hiredis

from cachetui.source import faults
from cachetui.source.base import FactSink
from cachetui.text import printable

WORDS = {
    "type": b"*2\r\n$4\r\nTYPE\r\n$%d\r\n%b\r\n",
    "ttl": b"*2\r\n$4\r\nPTTL\r\n$%d\r\n%b\r\n",
    "size": b"*5\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n$%d\r\n%b\r\n$7\r\nSAMPLES\r\n$1\r\n5\r\n",
}
COMMANDS = {"type": "TYPE", "ttl": "PTTL", "size": "MEMORY USAGE"}
ORDER = ("type", "ttl", "size")
GONE_TYPE, GONE_TTL = "none", -2
TYPE_CHARS = 60


class Facts:
    """What is asked about each name of one server. A fact that is refused is not asked for again."""

    def __init__(self, wanted: Iterable[str]) -> None:
        # PTTL also tells what is gone.
        self.asked = [name for name in ORDER if name in {*wanted, "ttl"}]
        self.refused: dict[str, str] = {}
        """By fact: why it is missing."""
        self._types: dict[object, str] = {}

    def questions(self, keys: Sequence[bytes]) -> bytes:
        """Return what to send for `keys`: `len(self.asked)` commands for each."""
        form = b"".join(WORDS[name] for name in self.asked)
        times = len(self.asked)
        return b"".join([form % ((len(key), key) * times) for key in keys])

    def columns(self, asked: Sequence[str], replies: Sequence[object]) -> dict[str, list[object]]:
        """Return the answers by fact, in the order of the keys. An error is None; one about the command is noted."""
        found: dict[str, list[object]] = {}
        for at, name in enumerate(asked):
            column = list(replies[at :: len(asked)])
            if name == "type":
                column = self._named(column)
            if not set(map(type, column)) <= {int, str, type(None)}:
                column = [self._judged(name, value) for value in column]
            found[name] = column
        return found

    def _named(self, column: list[object]) -> list[object]:
        types = self._types
        if set(map(type, column)) != {bytes}:
            return [printable(word, TYPE_CHARS) if isinstance(word, bytes) else word for word in column]
        for word in set(column) - types.keys():
            types[word] = printable(word, TYPE_CHARS)  # type: ignore[arg-type]
        return [types[word] for word in column]

    def _judged(self, name: str, value: object) -> object:
        if isinstance(value, int | str):
            return value
        if isinstance(value, hiredis.ReplyError):
            error = faults.reply_error(str(value), COMMANDS[name])
            if faults.concerns_command(error) and name in self.asked:
                self.refused[name] = error.line()
                self.asked = [other for other in self.asked if other != name]
        return None


def hand_over(sink: FactSink, keys: Sequence[bytes], columns: dict[str, list[object]]) -> int:
    """Give names and facts to `sink`, without keys that were gone when they were asked about; return how many."""
    unknown: list[object] = [None] * len(keys)
    types, ttls, sizes = (columns.get(name, unknown) for name in ORDER)
    if GONE_TYPE in types or GONE_TTL in ttls:
        there = [at for at in range(len(keys)) if types[at] != GONE_TYPE and ttls[at] != GONE_TTL]
        keys = [keys[at] for at in there]
        types, ttls, sizes = ([column[at] for at in there] for column in (types, ttls, sizes))
    if keys:
        sink.add_facts(keys, types, ttls, sizes)  # type: ignore[arg-type]
    return len(keys)
