"""What a pane draws: lines of spans, each span a text and the name of a style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cachetui.text import cells

Span = tuple[str, str]
"""Text that has passed `text.printable`, and a style: "", title, muted, ok, warn, bad, unknown, accent, mark
(a state may be followed by " bold"), or "label COLOUR" for the word of a profile."""


class Line(NamedTuple):
    """One row of the screen; `row` names the style of its ground ("cursor" or "")."""

    spans: tuple[Span, ...] = ()
    row: str = ""
    row_columns: int | None = None
    """How many columns from the left have that ground: it ends with a span. None: all."""


BLANK = Line()


def line(*spans: Span | str, row: str = "") -> Line:
    """Return a line of spans; a bare str has the default style."""
    return Line(tuple((span, "") if isinstance(span, str) else span for span in spans), row)


def width_of(drawn: Line) -> int:
    """Return the columns a line takes."""
    return sum(cells(text) for text, _ in drawn.spans)


def changed_columns(old: Line, new: Line, width: int, gap: int = 10) -> list[tuple[int, int]]:
    """Return (start, length) of the columns that differ; runs closer than `gap` are joined.

    A run costs a cursor move and its colours, so joining near ones saves bytes.

    >>> changed_columns(line("abc 1 def 2"), line("abc 9 def 2"), 20)
    [(4, 1)]
    >>> changed_columns(Line((("abc def", ""),), "cursor", 3), line("abc def"), 20)
    [(0, 3)]
    """
    start = max(_ground(old, width), _ground(new, width)) if old.row != new.row else 0
    if start >= width:
        return [(0, width)]
    before, after = _cells_of(old, width), _cells_of(new, width)
    runs: list[tuple[int, int]] = [(0, start)] if start else []
    for column in range(start, width):
        if before[column] == after[column]:
            continue
        if runs and column - (runs[-1][0] + runs[-1][1]) < gap:
            first = runs[-1][0]
            runs[-1] = (first, column - first + 1)
        else:
            runs.append((column, 1))
    return runs


def _ground(drawn: Line, width: int) -> int:
    """Return how many columns from the left have a ground of their own."""
    if not drawn.row:
        return 0
    return width if drawn.row_columns is None else min(width, drawn.row_columns)


def _cells_of(drawn: Line, width: int) -> list[Span]:
    out: list[Span] = []
    for text, style in drawn.spans:
        if text.isascii():
            out.extend((char, style) for char in text)
            continue
        for char in text:
            step = cells(char)
            if step == 0 and out:
                out[-1] = (out[-1][0] + char, style)
            else:
                # Each cell of a wide character differs when the character does.
                out.extend([(char, style)] * step)
    out.extend([(" ", "")] * (width - len(out)))
    return out[:width]


def slice_of(drawn: Line, start: int, end: int) -> Line:
    """Return the columns from `start` up to `end` as a line of their own.

    >>> slice_of(line("abc", ("def", "ok")), 2, 5)
    Line(spans=(('c', ''), ('de', 'ok')), row='', row_columns=None)
    """
    spans: list[Span] = []
    at = 0
    for text, style in drawn.spans:
        kept = []
        for char in text:
            if start <= at < end:
                kept.append(char)
            at += cells(char)
        if kept:
            spans.append(("".join(kept), style))
    return Line(tuple(spans), drawn.row)


BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.:-=+*#"


def trend(values: Sequence[float | None], *, ascii_only: bool = False, top: float | None = None) -> str:
    """Return bars for `values`, scaled from zero to their largest (or `top`); unknown is a blank.

    >>> trend([0, 4, None, 8]), trend([0, 0])
    ('▁▄ █', '▁▁')
    """
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    known = [value for value in values if value is not None]
    highest = top if top is not None else max(known, default=0.0)
    bars = []
    for value in values:
        if value is None:
            bars.append(" ")
        elif highest <= 0:
            bars.append(blocks[0])
        else:
            share = min(1.0, max(0.0, value / highest))
            bars.append(blocks[min(len(blocks) - 1, int(share * (len(blocks) - 1) + 0.49))])
    return "".join(bars)
