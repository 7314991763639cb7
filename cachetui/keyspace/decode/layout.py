"""A value as lines for a pane: its rows, its sections, its series. All of it bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cachetui import text
from cachetui.keyspace.decode.described import LINES, Described, as_text
from cachetui.keyspace.decode.php import PHP
from cachetui.keyspace.decode.plot import plot
from cachetui.keyspace.decode.table import describe
from cachetui.model import Value, ValueItem, ValueSection

HINT_BYTES = 2_048
"""Bytes of an element that its row is made from."""
SECTION_ROWS = 200
_LABEL = 256
_CELL = 60
_AS_IT_IS = frozenset({"text", "JSON", "JSON (its beginning)", "integer", "UUID", "binary", "empty"})
"""Kinds whose elements are shown as they are: their kind is plain to see, or there is none."""


@dataclass(frozen=True, slots=True)
class _Laid:
    """All lines, and which of them are elements."""

    lines: list[str]
    first_item: int = 0
    items: int = 0
    """0: the value is one thing, not a collection."""


def lines_of(
    value: Value, *, width: int, decoder: str | None = None, folded: bool = False, ascii_only: bool = False
) -> list[str]:
    """Return all lines of `value` at `width` columns, safe on any terminal and bounded in number.

    `decoder` names one of DECODER_NAMES; without, each element is shown as what it looks like.
    `ascii_only` draws a series without block characters.
    """
    return _laid(value, width, decoder, folded, ascii_only=ascii_only).lines if width > 0 else []


def preview(
    value: Value,
    *,
    width: int,
    rows: int,
    decoder: str | None = None,
    folded: bool = False,
    offset: int = 0,
    ascii_only: bool = False,
) -> list[str]:
    """Return at most `rows` of the lines of `value`, from line `offset` on; the last says when there are more."""
    if width <= 0 or rows <= 0:
        return []
    laid = _laid(value, width, decoder, folded, ascii_only=ascii_only, drawn=range(offset - 1, offset + rows))
    window = laid.lines[offset : offset + rows]
    if offset + rows >= len(laid.lines):
        return window
    if rows == 1:
        return window
    seen = min(laid.items, offset + rows - 1 - laid.first_item)
    if laid.items and 0 < seen < laid.items:
        return [*window[:-1], _cut(_part(value, seen), width)]
    return [*window[:-1], _cut("…", width)]


def _laid(
    value: Value, width: int, decoder: str | None, folded: bool, *, ascii_only: bool, drawn: range = range(LINES)
) -> _Laid:
    """Lay out all lines; of the elements outside of `drawn` only the place is kept."""
    tail = _tail(value, width, ascii_only)
    if not value.items:
        head = [value.note] if value.note or tail else ["empty"]
        lines = [_cut(text.printable(line), width) for line in head if line]
        return _Laid([*lines, *(tail if lines else tail[1:])])
    if len(value.items) == 1 and not value.items[0].label and value.columns == ("value",):
        return _Laid([*_one(value.items[0], value, width, decoder, folded), *tail])
    lines = _many(value, width, decoder, drawn)
    return _Laid([*lines, *tail], 1, len(value.items))


def _one(item: ValueItem, value: Value, width: int, decoder: str | None, folded: bool) -> list[str]:
    total = item.total_bytes if item.total_bytes is not None else value.total
    cut = total is not None and total > len(item.data)
    described = describe(item.data, decoder, folded=folded, whole=not cut)
    head = f"{described.kind}, {text.size(total if total is not None else len(item.data))}"
    if cut:
        head += f", first {text.size(len(item.data))}" if value.start is None else ", a part of it"
    if value.flags:
        head += f", flags {value.flags}"
    lines = [_cut(head, width)]
    for line in described.lines:
        if len(lines) > LINES:
            return [*lines, _cut(f"… cut after {LINES:,} lines", width)]
        lines += _wrapped(line, width, LINES + 1 - len(lines))
    return lines


def _many(value: Value, width: int, decoder: str | None, drawn: range) -> list[str]:
    """Lay out elements: label (where this type has one), score (where there is one), data."""
    shown = value.items[:LINES]
    scored = any(item.score is not None for item in shown)
    label_head, data_head, score_head = heads(value)
    labels = [text.printable(item.label, _LABEL) for item in shown]
    room = min(max(8, width // 3), max(text.cells(label) for label in (label_head, *labels)))
    table = [(label_head, score_head, data_head)]
    for at, item in enumerate(shown):
        score = "" if item.score is None else f"{item.score:.15g}"
        table.append((labels[at], score, _short(item, width, decoder) if at in drawn else ""))
    lines = []
    for label, score, data in table:
        named = f"{text.fit(label, room)}  " if label_head else ""
        figure = f"{text.fit(score, 12, 'right')}  " if scored else ""
        lines.append(_cut(f"{named}{figure}{data}", width))
    total = value.total if value.total is not None else len(value.items)
    if total > len(shown):
        lines.append(_cut(_part(value, len(shown)), width))
    return lines


def heads(value: Value) -> tuple[str, str, str]:
    """Return what this type calls the label, the data and the score of its elements; empty for what it has not.

    >>> from cachetui.model import KeyFacts
    >>> heads(Value(0.0, KeyFacts(b"k"), (ValueItem(b"", b"a", 1.0),), 1, ("member", "score")))
    ('', 'member', 'score')
    """
    names = list(value.columns)
    scored = any(item.score is not None for item in value.items)
    score = names.pop() if scored and len(names) > 1 else ""
    label = names.pop(0) if len(names) > 1 else ""
    return label, names[0] if names else "", score


def _part(value: Value, seen: int) -> str:
    total = value.total if value.total is not None else len(value.items)
    return f"… first {seen:,} of {total:,}" if value.start is None else f"… {seen:,} of {total:,}"


def _short(item: ValueItem, width: int, decoder: str | None) -> str:
    words = hint(item.data, width, decoder)
    if item.ttl_s is not None:
        words = f"[TTL {text.duration(item.ttl_s)}] {words}"
    return words


def hint(data: bytes, width: int, decoder: str | None = None) -> str:
    """Return one line of at most about `width` columns on an element: as it is, or `[kind]` and what is inside."""
    return _hint(data[:HINT_BYTES], len(data) <= HINT_BYTES, width, decoder)


@lru_cache(1_000)
def _hint(data: bytes, whole: bool, width: int, decoder: str | None) -> str:
    if decoder is None and not data[:1].isdigit() and not PHP.fits(data) and as_text(data) is not None:
        return text.printable(data, width + 1)
    described = describe(data, decoder, folded=True, whole=whole)
    if decoder is None and described.kind == "integer" and len(described.lines) > 1:
        return f"{described.lines[0]}  {described.lines[1]}"
    if decoder is None and described.kind in _AS_IT_IS:
        return text.printable(data, width + 1)
    words = f"[{described.kind}] {_joined(described, width)}".rstrip()
    return words if len(words) <= width + 1 else words[:width] + "…"


def _joined(described: Described, width: int) -> str:
    """Return the first lines as one."""
    joined = ""
    for line in described.lines:
        joined += " " * bool(joined) + line.strip()
        if len(joined) > width:
            break
    return joined


def _tail(value: Value, width: int, ascii_only: bool) -> list[str]:
    """Return the series and the sections, each after an empty line."""
    lines: list[str] = []
    drawn = plot(value.points, width=width, ascii_only=ascii_only)
    if drawn:
        lines += ["", *(_cut(line, width) for line in drawn)]
    for section in value.sections:
        lines += ["", *_section(section, width)]
    return lines


def _section(section: ValueSection, width: int) -> list[str]:
    lines = [_cut(section.title, width)] if section.title else []
    rows = [row for row in (section.columns, *section.rows[:SECTION_ROWS]) if any(row)]
    lines += [_cut(line, width) for line in _aligned(rows)]
    if len(section.rows) > SECTION_ROWS:
        lines.append(_cut(f"… first {SECTION_ROWS:,} of {len(section.rows):,}", width))
    return lines


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns, numbers to the right."""
    count = max((len(row) for row in rows), default=0)
    full = [[*row, *[""] * (count - len(row))] for row in rows]
    widths = [min(_CELL, max(text.cells(row[at]) for row in full)) for at in range(count)]
    right = [len(full) > 1 and all(_is_figure(row[at]) for row in full[1:]) for at in range(count)]
    lines = []
    for row in full:
        cells = [text.fit(row[at], widths[at], "right" if right[at] else "left") for at in range(count - 1)]
        # The last column is not padded, and is cut only by the width of the pane.
        last = text.fit(row[-1], widths[-1], "right") if right[-1] else row[-1]
        lines.append("  ".join([*cells, last]).rstrip())
    return lines


def _is_figure(cell: str) -> bool:
    return cell in ("", "-") or cell[0].isdigit() or (cell[0] == "-" and cell[1].isdigit())


def _cut(line: str, width: int) -> str:
    return line if text.cells(line) <= width else text.fit(line, width)


def _wrapped(line: str, width: int, rows: int) -> list[str]:
    """Return the first `rows` parts of `line`."""
    if text.cells(line) <= width:
        return [line]
    parts: list[str] = []
    at = 0
    while at < len(line) and len(parts) < rows:
        end = at + width
        while text.cells(line[at:end]) > width and end > at + 1:
            end -= 1
        parts.append(_cut(line[at:end], width))
        at = end
    return parts
