"""What a decoder gets and gives, and how its text is kept safe and bounded."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from cachetui import text

LINES = 2_000
"""Most lines of one value; a heading and a line that says "cut" may come on top."""
DATA_BYTES = 1024 * 1024
"""No decoder looks further into a value."""
NESTED = 3
"""Packings inside packings are opened so deep."""
LOOKED_AT = 4096
"""Characters that decide whether something is text."""


@dataclass(frozen=True, slots=True)
class Described:
    """What some bytes are."""

    kind: str
    """`JSON`, `integer`, `text`, `gzip of JSON`, `pickle (not loaded)`, `binary`, ..."""
    lines: tuple[str, ...]
    """Safe on any terminal, of any width."""


@dataclass(frozen=True, slots=True)
class Look:
    """How some bytes are looked at."""

    folded: bool = False
    """Show one line for each top-level member of a document."""
    whole: bool = True
    """False: only the beginning of the value is here."""
    asked: bool = False
    """The user named the decoder: a bold guess is welcome."""
    depth: int = 0
    """How many packings have been opened so far."""

    def inside(self, whole: bool) -> Look:
        """Return how to look at what was packed."""
        return replace(self, whole=whole and self.whole, asked=False, depth=self.depth + 1)


@dataclass(frozen=True, slots=True)
class Decoder:
    """One way to read bytes. Both functions take any bytes, and neither loads nor runs anything."""

    name: str
    fits: Callable[[bytes], bool]
    """A cheap look: False when the bytes cannot be this."""
    read: Callable[[bytes, Look], Described | None]
    """None, or a ValueError with the reason, when they are not this after all."""
    by_itself: bool = True
    """False: only used when the user asks for it."""


def anything(_: bytes) -> bool:
    """Return True: this decoder can show all bytes."""
    return True


def bounded(lines: Iterable[str], what: str = "lines") -> tuple[str, ...]:
    """Return at most LINES of `lines`, and one more that says so when there are more."""
    kept: list[str] = []
    for line in lines:
        if len(kept) == LINES:
            return (*kept, f"… cut after {LINES:,} {what}")
        kept.append(line)
    return tuple(kept)


def as_text(data: bytes) -> str | None:
    """Return `data` as text, or None when it looks binary. A character cut off at the end is forgiven."""
    if b"\x00" in data:
        return None
    try:
        words = codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return None
    odd = sum(1 for char in words[:LOOKED_AT] if not char.isprintable() and char not in "\n\r\t\x1b")
    return words if words and odd * 10 <= min(len(words), LOOKED_AT) else None


def text_lines(words: str) -> tuple[str, ...]:
    """Return the lines of `words`, each escaped."""
    return bounded(text.printable(part) for part in words.split("\n", LINES + 1))
