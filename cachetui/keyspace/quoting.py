"""Command lines as redis-cli reads and writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cachetui.text import clean_utf8

_BARE = re.compile(rb"[A-Za-z0-9_:./@%+,=*-]+")
_SHORT = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x07: "\\a", 0x08: "\\b", 0x22: '\\"', 0x5C: "\\\\"}
_LONG = {ord("n"): 0x0A, ord("r"): 0x0D, ord("t"): 0x09, ord("a"): 0x07, ord("b"): 0x08}
_HEX = re.compile(rb"x[0-9a-fA-F]{2}")
_SPACE = b" \t\r\n\x00"


def quoted(command: Sequence[bytes]) -> str:
    r"""Return one command as a line that redis-cli reads back to the same bytes, safe on any terminal.

    >>> quoted((b"SET", b"a b", b"\xff\n"))
    'SET "a b" "\\xff\\n"'
    """
    return " ".join(_word(word) for word in command)


def _word(word: bytes) -> str:
    if _BARE.fullmatch(word):
        return word.decode("ascii")
    if (clean := clean_utf8(word)) is not None:
        escaped = clean.replace("\\", "\\\\").replace('"', '\\"')
    else:
        escaped = "".join(_SHORT.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}") for byte in word)
    return f'"{escaped}"'


def words_of(line: bytes) -> list[bytes]:
    r"""Return the words of one command line, as redis-cli splits it. Raises ValueError for quotes without an end.

    >>> words_of(rb'SET "a b" "\xff" ' + b"'it\\'s'")
    [b'SET', b'a b', b'\xff', b"it's"]
    """
    words: list[bytes] = []
    at = 0
    while True:
        while at < len(line) and line[at] in _SPACE:
            at += 1
        if at >= len(line):
            return words
        word = bytearray()
        while at < len(line) and line[at] not in _SPACE:
            if line[at] in b"\"'":
                at = _in_quotes(line, at, word)
                if at < len(line) and line[at] not in _SPACE:
                    raise ValueError("a quote ends in the middle of a word")
                break
            word.append(line[at])
            at += 1
        words.append(bytes(word))


def _in_quotes(line: bytes, at: int, word: bytearray) -> int:
    """Add what stands between the quotes that open at `at`; return where they are behind."""
    quote = line[at]
    at += 1
    while at < len(line):
        byte = line[at]
        if byte == quote:
            return at + 1
        if byte == 0x5C and at + 1 < len(line):
            at += _escape(line, at + 1, quote, word)
        else:
            word.append(byte)
        at += 1
    raise ValueError("a quote has no end")


def _escape(line: bytes, at: int, quote: int, word: bytearray) -> int:
    """Add what a backslash before `at` means; return how many bytes it took besides itself."""
    if quote == 0x27:
        # Between single quotes only the quote itself can be escaped.
        word.append(0x27 if line[at] == 0x27 else 0x5C)
        return 1 if line[at] == 0x27 else 0
    if _HEX.match(line, at):
        word.append(int(line[at + 1 : at + 3], 16))
        return 3
    word.append(_LONG.get(line[at], line[at]))
    return 1
