"""The table's cursor, marks, order and filter survive rows that come and go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.text import cells
from cachetui.ui.line import BLANK, changed_columns, line, width_of
from cachetui.ui.table import Column, Row, Table


def make(names: list[str]) -> Table:
    table = Table((Column("name", 0), Column("n", 5, "right")))
    table.set_rows(rows(names))
    return table


def rows(names: list[str]) -> list[Row]:
    return [Row(name, ((name, ""), (str(len(name)), "")), (name, len(name))) for name in names]


def test_the_cursor_stays_on_its_row_when_others_come_and_go() -> None:
    table = make(["a", "b", "c"])
    table.move_to(1)
    table.set_rows(rows(["x", "a", "y", "b"]))
    assert table.current is not None
    assert table.current.row_id == "b"


def test_the_cursor_stays_in_place_when_its_row_is_gone() -> None:
    table = make(["a", "b", "c"])
    table.move_to(1)
    table.set_rows(rows(["a", "c"]))
    assert table.current is not None
    assert table.current.row_id == "c"
    table.set_rows([])
    assert table.current is None
    table.move(1)
    assert table.current is None


def test_marks_outlive_the_filter() -> None:
    table = make(["apple", "bear", "cat"])
    table.toggle_mark()
    table.filter("ea")
    assert [row.row_id for row in table.rows] == ["bear"]
    assert table.marked == {"apple"}


def test_sorting_goes_through_the_columns_and_back_to_the_servers_order() -> None:
    table = make(["ccc", "a", "bb"])
    table.sort_next()
    assert [row.row_id for row in table.rows] == ["a", "bb", "ccc"]
    table.sort_next()
    assert [row.row_id for row in table.rows] == ["ccc", "bb", "a"]
    assert table.reverse() == "by n, smallest first"
    table.sort_next()
    assert [row.row_id for row in table.rows] == ["ccc", "a", "bb"]


def test_unknown_figures_sort_last_in_both_directions() -> None:
    table = Table((Column("n"),))
    table.set_rows([Row(1, (("-", ""),), (None,)), Row(2, (("5", ""),), (5,)), Row(3, (("7", ""),), (7,))])
    table.sort_next()
    assert [row.row_id for row in table.rows] == [3, 2, 1]
    table.reverse()
    assert [row.row_id for row in table.rows] == [2, 3, 1]


@pytest.mark.parametrize(("width", "height"), [(10, 3), (80, 20), (250, 70)])
def test_every_drawn_line_fits_and_the_cursor_is_visible(width: int, height: int) -> None:
    table = make([f"key-日本-{n}" for n in range(200)])
    for at in (0, 150, 199, 3):
        table.move_to(at)
        drawn = table.draw(width, height)
        assert len(drawn) <= height
        assert all(width_of(part) <= max(width, 20) for part in drawn)
        assert any(part.row == "cursor" for part in drawn)


@given(
    st.text(st.characters(categories=("L", "N", "S")), max_size=30),
    st.text(st.characters(categories=("L", "N", "S")), max_size=30),
)
def test_changed_columns_cover_every_difference_and_nothing_when_equal(old: str, new: str) -> None:
    width = 40
    before, after = line(old), line(new)
    runs = changed_columns(before, after, width, gap=3)
    covered = {column for start, length in runs for column in range(start, start + length)}
    assert (runs == []) == (old.rstrip() == new.rstrip() or _padded(old, width) == _padded(new, width))
    assert all(0 <= column < width for column in covered)
    assert changed_columns(after, after, width) == []
    assert changed_columns(BLANK, after, width) == changed_columns(line(""), after, width)


def _padded(text: str, width: int) -> list[str]:
    out: list[str] = []
    for char in text:
        step = cells(char)
        if step == 0 and out:
            out[-1] += char
        else:
            out += [char] * step
    return (out + [" "] * width)[:width]
