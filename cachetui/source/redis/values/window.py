"""What every reader of a value works with: the window it is given, and the part of the value it returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from cachetui.errors import BadUsage, CacheError
from cachetui.model import KeyFacts, ValueItem, ValueSection
from cachetui.source.redis.connection import Argument
from cachetui.source.redis.replies import as_list, as_text, pairs

Ask = Callable[[Sequence[Sequence[Argument]]], Awaitable[list[object]]]
"""Sends one pipeline; a CacheError stands in the place of a refused command."""

WINDOW_BYTES = 8 * 1024 * 1024
"""What one window may hold, judged by the average element: rows are cut before they are asked for."""

ROWS = 10_000
"""The most elements of one window, however many are asked for."""

_CELL = 200
_WORDS = 20


@dataclass(frozen=True, slots=True)
class Window:
    """How much may be read, from where, in which order."""

    rows: int
    max_bytes: int
    start: bytes | None = None
    order: str = ""

    def item(self, label: bytes, data: bytes, score: float | None = None, ttl_s: float | None = None) -> ValueItem:
        """Return one row, cut to the window."""
        return ValueItem(label[: self.max_bytes], data[: self.max_bytes], score, ttl_s, len(data))

    def narrowed(self, facts: KeyFacts) -> Window:
        """Return a window with fewer rows where the elements are huge."""
        if not facts.size_bytes or not facts.length:
            return self
        average = facts.size_bytes // facts.length
        return replace(self, rows=max(1, min(self.rows, WINDOW_BYTES // max(1, average))))

    def offset(self) -> int:
        """Return where the window begins, as a number. Raises BadUsage for what is no number."""
        if self.start is None:
            return 0
        if not self.start.isdigit() or len(self.start) > 19:
            raise no_such_window()
        return int(self.start)


@dataclass(frozen=True, slots=True)
class Part:
    """What a reader found."""

    items: tuple[ValueItem, ...] = ()
    next: bytes | None = None
    total: int | None = None
    """None: the length that the facts tell."""
    columns: tuple[str, ...] = ()
    """Empty: those of the type."""
    sections: tuple[ValueSection, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    note: str = ""


def no_such_window() -> BadUsage:
    """Return the error for a `start` that no window of this type has given."""
    return BadUsage("there is no such window on this value", "begin with the first")


def following(start: int, got: int, rows: int, total: int | None) -> bytes | None:
    """Return the token of the window after one that begins at `start` and holds `got` of at most `rows` elements."""
    more = got >= rows if total is None else got > 0 and start + got < total
    return b"%d" % (start + got) if more else None


async def one(ask: Ask, *command: Argument) -> object:
    """Return the reply to one command; a refusal is raised."""
    (reply,) = await ask([command])
    if isinstance(reply, CacheError):
        raise reply
    return reply


def section_of(title: str, reply: object, *, without: Sequence[str] = ()) -> ValueSection:
    """Return a map of names and values as a section; a refusal as a title that says why there is nothing."""
    if isinstance(reply, CacheError):
        return failed(title, reply)
    rows = tuple((as_text(name, _CELL), cell(content)) for name, content in pairs(reply))
    return ValueSection(title, ("field", "value"), tuple(row for row in rows if row[0] not in without))


def failed(title: str, error: CacheError) -> ValueSection:
    """Return a section that says why it is empty."""
    return ValueSection(f"{title}: {error.message}", (), ())


def cell(value: object) -> str:
    """Return a reply as the text of one cell: a list by its first words.

    >>> cell(b"a\\x1b"), cell([1, [b"k", b"v"]]), cell(None), cell([])
    ('a\\\\x1b', '1, k=v', '-', 'none')
    """
    if value is None:
        return "-"
    if isinstance(value, dict):
        value = [[name, content] for name, content in value.items()]
    if not isinstance(value, list | tuple | set | frozenset):
        return as_text(figure(value), _CELL)
    words = [_word(part) for part in as_list(value)[:_WORDS]]
    if len(value) > _WORDS:
        words.append(f"… of {len(value):,}")
    return ", ".join(words) or "none"


def _word(part: object) -> str:
    inner = as_list(part)
    if not inner:
        return as_text(figure(part), 60)
    return "=".join("…" if as_list(word) else as_text(figure(word), 60) for word in inner[:4])


def figure(reply: object) -> object:
    """Return a number of RESP3 as RESP2 writes it: a whole one without a fraction.

    >>> figure(2.0), figure(0.9), figure(b"x"), figure(float("nan"))
    (b'2', b'0.9', b'x', b'nan')
    """
    return repr(reply).removesuffix(".0").encode() if isinstance(reply, float) else reply
