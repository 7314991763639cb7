"""Commands as bytes, and their exact text for a preview and the journal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import overload

Command = tuple[bytes, ...]
"""One command, its name first."""

ARGUMENT_BYTES = 512
"""Of a longer argument only this much is written out; the digest still covers all of it."""

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:/@%+=,*{}")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@dataclass(frozen=True, slots=True)
class PerKey(Sequence[Command]):
    """The same command for each of many keys, made when asked for: a million keys cost no more than the keys."""

    head: Command
    """What stands before the key: `(b"UNLINK",)`."""
    keys: tuple[bytes, ...]
    tail: Command = ()
    """What stands after it: the seconds of an EXPIRE."""

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Command]:
        return ((*self.head, key, *self.tail) for key in self.keys)

    @overload
    def __getitem__(self, at: int) -> Command: ...
    @overload
    def __getitem__(self, at: slice) -> PerKey: ...
    def __getitem__(self, at: int | slice) -> Command | PerKey:
        if isinstance(at, slice):
            return PerKey(self.head, self.keys[at], self.tail)
        return (*self.head, self.keys[at], *self.tail)


def render(command: Command, argument_bytes: int = ARGUMENT_BYTES) -> str:
    r"""Return one command as `redis-cli` would read it back, byte for byte, safe on any terminal.

    Anything but plain ASCII words is quoted; inside quotes every byte that is not printable
    text becomes `\xNN`. An argument over `argument_bytes` is cut and its length named.

    >>> render((b"UNLINK", b"user:1")), render((b"UNLINK", b'a "b"\n\xff'))
    ('UNLINK user:1', 'UNLINK "a \\"b\\"\\n\\xff"')
    >>> render((b"GET", b"")), render((b"GET", b"abcdef"), 3)
    ('GET ""', 'GET "abc"...(6 bytes)')
    """
    return " ".join(_argument(word, argument_bytes) for word in command)


def _argument(word: bytes, limit: int) -> str:
    if len(word) > limit:
        return f"{_quoted(word[:limit])}...({len(word):,} bytes)"
    return word.decode("ascii") if word and _PLAIN.issuperset(word) else _quoted(word)


def _quoted(word: bytes) -> str:
    return '"' + "".join(_character(char) for char in word.decode("utf-8", "surrogateescape")) + '"'


def _character(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def preview(commands: Sequence[Command], limit: int) -> list[str]:
    """Return the exact text of the first `limit` commands, and a line that counts the rest."""
    lines = [render(command) for command in islice(commands, limit)]
    rest = len(commands) - len(lines)
    return [*lines, f"... and {rest:,} more"] if rest > 0 else lines


def digest(commands: Iterable[Command]) -> str:
    """Return the SHA-256 (hex) of all commands as they are framed on the wire, so that no two lists share it."""
    sha = hashlib.sha256()
    for command in commands:
        framed = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in command)
        sha.update(b"*%d\r\n%b" % (len(command), framed))
    return sha.hexdigest()


_WITH_DATA = frozenset((b"set", b"add", b"replace", b"append", b"prepend", b"ms"))
"""Commands of Memcached whose last word travels as a block of its own, its length before it."""


def valid_memcached(command: Command) -> bool:
    r"""Tell whether every word of a Memcached command stays what it is on the wire.

    >>> valid_memcached((b"add", b"k", b"0", b"0", b"a\r\nb")), valid_memcached((b"delete", b"a\r\nb"))
    (True, False)
    """
    words = command[:-1] if command and command[0].lower() in _WITH_DATA else command
    return bool(words) and all(map(valid_memcached_word, words))


def valid_memcached_word(word: bytes) -> bool:
    """Tell whether `word` stays one word of a Memcached text line: anything else would inject a command."""
    return word != b"" and all(byte > 0x20 and byte != 0x7F for byte in word)
