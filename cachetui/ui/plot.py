"""A curve with its interval as lines of text: dots of braille, or plain signs."""

from __future__ import annotations

from collections.abc import Sequence

from cachetui import text
from cachetui.analysis.curve import Curve, Point
from cachetui.ui.line import Line, line

ROWS = 8
_LABEL = 5
LEAST_COLUMNS = 12
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of braille by row and column of a cell."""


def curve_lines(
    curve: Curve, *, width: int, rows: int = ROWS, ascii_only: bool = False, marks: Sequence[tuple[int, str]] = ()
) -> list[Line]:
    """Return the hit rate (0 to 100 %) against memory: the curve, its interval in grey, and a line of sizes.

    `marks` are sizes in bytes with a word each (`now`): a row below says where they are. Nothing is
    returned where there is no room, or nothing to draw.
    """
    columns = width - _LABEL - 1
    if columns < LEAST_COLUMNS or rows < 2 or len(curve.points) < 2:
        return []
    down, across = (1, 1) if ascii_only else (4, 2)
    first, last = curve.points[0].bytes, curve.points[-1].bytes
    found = [curve.at(first + (last - first) * at / max(1, columns * across - 1)) for at in range(columns * across)]
    points = [point if point is not None else curve.points[-1] for point in found]
    steps = rows * down
    lines = []
    for row in range(rows):
        label = {0: "100%", rows - 1: "0%"}.get(row, "")
        cells = [_cell(points[column * across : (column + 1) * across], row, down, steps) for column in range(columns)]
        spans = [(f"{label:>{_LABEL}} ", "muted")]
        for sign, style in cells if not ascii_only else map(_plain, cells):
            if spans[-1][1] == style:
                spans[-1] = (spans[-1][0] + sign, style)
            else:
                spans.append((sign, style))
        lines.append(line(*spans))
    lines.append(line((_sizes(first, last, columns), "muted")))
    if marks:
        lines.append(line((_marked(marks, first, last, columns), "accent")))
    return lines


def _cell(points: Sequence[Point], row: int, down: int, steps: int) -> tuple[str, str]:
    """Return the dots of one cell: of the curve where it runs through it, else of the interval."""
    curve_bits = band_bits = 0
    for column, point in enumerate(points):
        middle, low, high = (_step(rate, steps) for rate in (point.hit_rate, point.low, point.high))
        for dot in range(down):
            step = steps - 1 - (row * down + dot)
            curve_bits |= _DOTS[dot][column] * (step == middle)
            # Every other dot: an interval is no area of its own.
            band_bits |= _DOTS[dot][column] * (low <= step <= high and (step + column) % 2 == 0)
    if curve_bits:
        return chr(0x2800 + curve_bits), "accent"
    return (chr(0x2800 + band_bits), "muted") if band_bits else (" ", "")


def _plain(cell: tuple[str, str]) -> tuple[str, str]:
    return {"accent": "*", "muted": "."}.get(cell[1], " "), cell[1]


def _step(rate: float, steps: int) -> int:
    return min(steps - 1, max(0, round(rate * (steps - 1))))


def _sizes(first: int, last: int, columns: int) -> str:
    left, right = text.size(first), text.size(last)
    return " " * (_LABEL + 1) + left + " " * max(1, columns - len(left) - len(right)) + right


def _marked(marks: Sequence[tuple[int, str]], first: int, last: int, columns: int) -> str:
    """Return a row with `^ word` under each size, as far as they do not run into each other."""
    row = [" "] * columns
    for at_bytes, word in marks:
        at = round((at_bytes - first) / max(1, last - first) * (columns - 1))
        sign = f"^ {word}"
        if at + len(sign) > columns:
            sign, at = f"{word} ^", at - len(word) - 1
        if first <= at_bytes <= last and at >= 0 and not "".join(row[at : at + len(sign)]).strip():
            row[at : at + len(sign)] = sign
    return (" " * (_LABEL + 1) + "".join(row)).rstrip()


def range_words(point: Point) -> str:
    """Return a hit rate with its interval.

    >>> range_words(Point(1, 0.774, 0.765, 0.782))
    '77.4 % (76.5 to 78.2)'
    """
    return f"{100 * point.hit_rate:.1f} % ({100 * point.low:.1f} to {100 * point.high:.1f})"
