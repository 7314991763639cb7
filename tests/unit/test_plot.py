"""The curve as text: within its width, high where the hit rate is high, and plain signs where asked for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachetui.analysis.curve import Curve, Point
from cachetui.ui.line import width_of
from cachetui.ui.plot import curve_lines

MB = 1024**2


def words(lines) -> list[str]:  # type: ignore[no-untyped-def]
    return ["".join(part for part, _ in drawn.spans) for drawn in lines]


def rising() -> Curve:
    points = (Point(10 * MB, 0.1, 0.05, 0.2), Point(20 * MB, 0.6, 0.5, 0.7), Point(40 * MB, 0.9, 0.7, 1.0))
    return Curve(points, "allkeys-lru", "stream")


def test_a_rising_curve_rises() -> None:
    shown = words(curve_lines(rising(), width=46, ascii_only=True, marks=[(20 * MB, "now")]))
    stars = [(row, shown[row].index("*")) for row in range(8) if "*" in shown[row]]
    assert [column for _, column in stars] == sorted((column for _, column in stars), reverse=True)
    assert shown[0].startswith(" 100%")
    assert shown[7].startswith("   0%")
    assert "10.0MB" in shown[8] and shown[8].endswith("40.0MB")
    assert shown[9].index("^") == 6 + round(39 / 3)
    assert shown[9].endswith("^ now")
    assert all(line.isascii() for line in shown)


def test_braille_has_the_interval_in_grey_and_the_curve_in_colour() -> None:
    lines = curve_lines(rising(), width=46)
    styles = {style for drawn in lines[:8] for _, style in drawn.spans}
    assert {"accent", "muted"} <= styles
    assert any(0x2800 < ord(char) < 0x2900 for char in "".join(words(lines)))


@pytest.mark.parametrize("curve", [Curve((), "x", "idle"), Curve((Point(1, 0.5, 0.5, 0.5),), "x", "idle")])
def test_nothing_is_drawn_of_nothing(curve: Curve) -> None:
    assert curve_lines(curve, width=60) == []


def test_nothing_is_drawn_without_room() -> None:
    assert curve_lines(rising(), width=12) == curve_lines(rising(), width=60, rows=1) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 10**12), st.floats(0, 1)), min_size=2, max_size=12, unique_by=lambda pair: pair[0]
    ),
    st.integers(18, 160),
    st.integers(2, 20),
    st.booleans(),
    st.integers(0, 10**12),
)
def test_any_curve_stays_within_its_width(
    pairs: list[tuple[int, float]], width: int, rows: int, ascii_only: bool, mark: int
) -> None:
    points = tuple(Point(size, rate, rate / 2, (1 + rate) / 2) for size, rate in sorted(pairs))
    lines = curve_lines(
        Curve(points, "p", "stream"), width=width, rows=rows, ascii_only=ascii_only, marks=[(mark, "now")]
    )
    assert len(lines) == rows + 2
    assert all(width_of(drawn) <= max(width, 24) for drawn in lines)
