"""Rows with a cursor: what stays selected, sorted, filtered and marked while the rows come and go."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from cachetui.text import fit
from cachetui.ui.line import Line, Span, line


@dataclass(frozen=True, slots=True)
class Column:
    """One column: a head, a width (0 takes what is left) and a side."""

    head: str
    width: int = 0
    align: str = "left"
    wide_only: int = 0
    """Hidden when the table is narrower than this."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `row_id` is its identity, `cells` are printable spans, `order` sorts (None last)."""

    row_id: Hashable
    cells: tuple[Span, ...]
    order: tuple[object, ...] = ()
    find: str = ""
    """What the filter searches; the cells when empty."""


@dataclass(slots=True)
class Table:
    """A list with a cursor, drawn as lines. Knows no widget."""

    columns: tuple[Column, ...]
    rows: list[Row] = field(default_factory=list)
    cursor_id: Hashable = None
    offset: int = 0
    sort_column: int | None = None
    descending: bool = False
    needle: str = ""
    marked: set[Hashable] = field(default_factory=set)
    follows: bool = False
    """A cursor on the first row stays there when newer rows come in above it."""
    _all: Sequence[Row] = ()
    _cursor: int = 0

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Replace the rows; the cursor stays on its row, or where that row was."""
        self._all = rows
        shown = [row for row in rows if self._matches(row)] if self.needle else list(rows)
        if self.sort_column is not None:
            at = self.sort_column
            known = [row for row in shown if at < len(row.order) and row.order[at] is not None]
            unknown = [row for row in shown if not (at < len(row.order) and row.order[at] is not None)]
            known.sort(key=lambda row: row.order[at], reverse=self.descending)  # type: ignore[arg-type,return-value]
            shown = known + unknown
        self.rows = shown
        places = {row.row_id: place for place, row in enumerate(shown)}
        if self.cursor_id in places and not (self.follows and self._cursor == 0):
            self._cursor = places[self.cursor_id]
        self._place(self._cursor)

    def _matches(self, row: Row) -> bool:
        text = row.find or " ".join(cell for cell, _ in row.cells)
        return self.needle.lower() in text.lower()

    def _place(self, at: int) -> None:
        self._cursor = max(0, min(at, len(self.rows) - 1))
        self.cursor_id = self.rows[self._cursor].row_id if self.rows else None

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self.rows[self._cursor] if self.rows else None

    @property
    def cursor(self) -> int:
        """The place of the cursor among the shown rows."""
        return self._cursor

    def move(self, by: int) -> None:
        self._place(self._cursor + by)

    def move_to(self, at: int) -> None:
        """Go to a place; a negative one counts from the end."""
        self._place(at if at >= 0 else len(self.rows) + at)

    def select(self, row_id: Hashable) -> bool:
        """Go to the row with this identity, if it is shown."""
        for place, row in enumerate(self.rows):
            if row.row_id == row_id:
                self._place(place)
                return True
        return False

    def filter(self, needle: str) -> None:
        self.needle = needle
        self.set_rows(self._all)

    def sort_next(self) -> str:
        """Sort by the next column; return what the order is now, in words."""
        last = max((len(row.order) for row in self._all), default=0)
        at = -1 if self.sort_column is None else self.sort_column
        self.sort_column = at + 1 if at + 1 < last else None
        first = next(
            (
                row.order[self.sort_column]
                for row in self._all
                if self.sort_column is not None and row.order[self.sort_column] is not None
            ),
            None,
        )
        self.descending = isinstance(first, (int, float))
        self.set_rows(self._all)
        return self.order_words()

    def forget_order(self) -> None:
        """Go back to the order in which rows are given: other columns stand here now."""
        self.sort_column, self.descending = None, False

    def reverse(self) -> str:
        self.descending = not self.descending
        if self.sort_column is None:
            self.sort_column = 0
        self.set_rows(self._all)
        return self.order_words()

    def order_words(self) -> str:
        if self.sort_column is None:
            return "in the server's order"
        head = self.columns[self.sort_column].head if self.sort_column < len(self.columns) else "?"
        return f"by {head}, {'largest' if self.descending else 'smallest'} first"

    def toggle_mark(self) -> None:
        """Mark or unmark the current row and go to the next."""
        if self.current is not None:
            self.marked ^= {self.current.row_id}
            self.move(1)

    def draw(self, width: int, height: int, *, empty: str = "") -> list[Line]:
        """Return the head and the visible rows, `height` lines at most."""
        visible = max(1, height - 1)
        self.offset = max(0, min(self.offset, max(0, len(self.rows) - visible)))
        if self._cursor < self.offset:
            self.offset = self._cursor
        elif self._cursor >= self.offset + visible:
            self.offset = self._cursor - visible + 1
        widths = column_widths(self.columns, width)
        lines = [head_line(self.columns, widths, self.sort_column, self.descending)]
        if not self.rows:
            lines.append(line((fit("  " + (empty or "nothing here"), width), "muted")))
        for place in range(self.offset, min(self.offset + visible, len(self.rows))):
            row = self.rows[place]
            chosen, marked = place == self._cursor, row.row_id in self.marked
            lines.append(row_line(self.columns, widths, row.cells, selected=chosen, marked=marked))
        return lines[: max(1, height)]


def column_widths(columns: Sequence[Column], width: int) -> list[int]:
    """Return the width of each column in a table so wide; 0 for one that is hidden."""
    shown = [0 if column.wide_only > width else (column.width or -1) for column in columns]
    taken = 2 + sum(w + 1 for w in shown if w > 0)
    growing = shown.count(-1)
    if growing:
        left = max(growing * 4, width - taken - growing)
        shown = [left // growing if w == -1 else w for w in shown]
    return shown


def head_line(columns: Sequence[Column], widths: Sequence[int], sorted_by: int | None, descending: bool) -> Line:
    """Return the heads; the column that sorts has an arrow."""
    parts = []
    for at, (column, width) in enumerate(zip(columns, widths, strict=True)):
        if width:
            arrow = (" v" if descending else " ^") if at == sorted_by else ""
            parts.append(fit(column.head + arrow, width, column.align))
    return line(("  " + " ".join(parts), "muted"))


def row_line(
    columns: Sequence[Column], widths: Sequence[int], cells: Sequence[Span], *, selected: bool, marked: bool
) -> Line:
    """Return one row with its signs for the cursor and the mark."""
    sign = (">" if selected else " ") + ("*" if marked else " ")
    spans: list[Span] = [(sign, "mark" if marked else "")]
    first = True
    for column, width, (text, style) in zip(columns, widths, cells, strict=False):
        if width:
            spans.append((("" if first else " ") + fit(text, width, column.align), style))
            first = False
    return Line(tuple(spans), "cursor" if selected else "")
