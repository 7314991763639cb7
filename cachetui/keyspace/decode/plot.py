"""A time series as a small plot of plain characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cachetui import text
from cachetui.keyspace.decode.figures import moment

PLOT_ROWS = 8
"""Rows of a plot, with the line of its times."""
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = " ...:::##"
_LABEL = 10
_LEAST_COLUMNS = 10


def plot(points: Sequence[tuple[float, float]], *, width: int, ascii_only: bool = False) -> list[str]:
    """Return at most PLOT_ROWS lines of `width` columns: the mean of each span of time, gaps left empty."""
    finite = [(at, value) for at, value in points if math.isfinite(at) and math.isfinite(value)]
    columns = width - _LABEL - 1
    if not finite or columns < _LEAST_COLUMNS:
        return []
    means = _means(finite, columns)
    known = [mean for mean in means if mean is not None]
    low, high = min(known), max(known)
    rows = PLOT_ROWS - 1
    blocks = _ASCII_BLOCKS if ascii_only else _BLOCKS
    heights = [None if mean is None else _height(mean, low, high, rows * 8) for mean in means]
    lines = []
    for row in range(rows - 1, -1, -1):
        label = {rows - 1: f"{high:.6g}", 0: f"{low:.6g}"}.get(row, "")
        bar = "".join(" " if top is None else blocks[max(0, min(8, top - 8 * row))] for top in heights)
        lines.append(f"{text.fit(label, _LABEL, 'right')} {bar}".rstrip())
    return [*lines, _times(finite, columns)]


def _height(mean: float, low: float, high: float, most: int) -> int:
    """Return a height from 1 (the lowest value is seen too) to `most`; halves keep it from overflowing."""
    if low == high:
        return most // 2
    return 1 + round((mean / 2 - low / 2) / (high / 2 - low / 2) * (most - 1))


def _means(points: Sequence[tuple[float, float]], columns: int) -> list[float | None]:
    first, last = min(at for at, _ in points), max(at for at, _ in points)
    means: list[float | None] = [None] * columns
    counts = [0] * columns
    for at, value in points:
        column = int((at - first) / (last - first) * (columns - 1)) if last > first else 0
        counts[column] += 1
        before = means[column]
        means[column] = value if before is None else before + (value / counts[column] - before / counts[column])
    return means


def _times(points: Sequence[tuple[float, float]], columns: int) -> str:
    first, last = (moment(int(at)) or f"{at:.6g}" for at in (points[0][0], points[-1][0]))
    gap = columns - len(first) - len(last)
    if gap < 1:
        return " " * (_LABEL + 1) + text.fit(first, columns)
    return " " * (_LABEL + 1) + first + " " * gap + last
