"""The cursor, the window and the marks over a listing of any length: rows are looked up when they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cachetui.keyspace.listing import Entry, Listing
from cachetui.text import fit
from cachetui.ui.line import Line, Span, line
from cachetui.ui.table import Column, column_widths, head_line, row_line

MARKS_MOST = 100_000
"""More rows than this are marked by their prefix, or found by a filter and exported or invalidated by it."""

Identity = tuple[str, bytes]
"""("key" or "prefix", name)."""


@dataclass(slots=True)
class Roll:
    """Where somebody is in a listing. Knows no widget."""

    columns: tuple[Column, ...]
    listing: Listing | None = None
    cursor: int = 0
    offset: int = 0
    marked: set[Identity] = field(default_factory=set)
    follows: bool = False
    """A cursor on the first row stays there when others come in above it."""
    leaps: bool = False
    """Scrolls by most of a page, so that most moves change two rows only: for a slow link."""
    _current: Entry | None = None
    _anchor: Identity | None = None
    """The row that was marked last: where a range begins."""

    def __len__(self) -> int:
        return len(self.listing) if self.listing is not None else 0

    def show(self, listing: Listing | None) -> None:
        """Replace the rows; the cursor stays on its row, or where that row was."""
        if listing is self.listing:
            return
        before = self._current
        self.listing = listing
        at = self.cursor
        if before is not None and not (self.follows and at == 0):
            found = self.place(before.kind, before.name)
            if found is not None:
                # The row stays where it is on the screen.
                self.offset = max(0, self.offset + found - at)
                at = found
        self.move_to(at)
        if before is not None and not len(self):
            self._current = before  # an empty moment is not the end of its place

    def place(self, kind: str, name: bytes) -> int | None:
        """Return the row of a prefix or key, None when it is not listed."""
        if self.listing is None:
            return None
        if self.cursor < len(self):
            here = self.listing.entry(self.cursor)
            if (here.kind, here.name) == (kind, name):
                return self.cursor
        return self.listing.place(kind, name)

    @property
    def current(self) -> Entry | None:
        """The row under the cursor."""
        return self._current if len(self) else None

    def move(self, by: int) -> None:
        self.move_to(max(0, self.cursor + by))

    def move_to(self, at: int) -> None:
        """Go to a row; a negative one counts from the end."""
        if not len(self) or self.listing is None:
            self.cursor = 0
            return
        self.cursor = max(0, min(at if at >= 0 else len(self) + at, len(self) - 1))
        self._current = self.listing.entry(self.cursor)

    def select(self, identity: Identity) -> bool:
        """Go to this prefix or key, if it is listed."""
        at = self.place(*identity)
        if at is not None:
            self.move_to(at)
        return at is not None

    # Marks

    def toggle_mark(self) -> None:
        """Mark or unmark the current row and go to the next."""
        if self.current is not None:
            self._anchor = (self.current.kind, self.current.name)
            self.marked ^= {self._anchor}
            self.move(1)

    def mark_range(self) -> bool:
        """Mark all from the row that was marked last to the cursor. Returns False without such a row."""
        start = self.place(*self._anchor) if self._anchor is not None else None
        if start is None or self.listing is None:
            return False
        first, last = sorted((start, self.cursor))
        self.marked.update(self._identities(range(first, min(last + 1, first + MARKS_MOST))))
        return True

    def mark_all(self) -> bool:
        """Mark every listed row. Returns False when there are too many."""
        if len(self) > MARKS_MOST:
            return False
        self.marked.update(self._identities(range(len(self))))
        return True

    def invert(self) -> bool:
        """Mark what is listed and not marked, and the other way round. Returns False when there is too much."""
        if len(self) > MARKS_MOST:
            return False
        self.marked ^= set(self._identities(range(len(self))))
        return True

    def _identities(self, rows: range) -> list[Identity]:
        assert self.listing is not None
        return [(entry.kind, entry.name) for entry in map(self.listing.entry, rows)]

    # Drawing

    def visible(self, height: int) -> range:
        """Return the rows that fit beneath the head, scrolled so that the cursor is among them."""
        room = max(1, height - 1)
        self.offset = max(0, min(self.offset, max(0, len(self) - room)))
        leap = room * 2 // 3 if self.leaps else 0
        if self.cursor < self.offset:
            self.offset = max(0, self.cursor - leap)
        elif self.cursor >= self.offset + room:
            self.offset = max(0, min(self.cursor - room + 1 + leap, len(self) - room))
        return range(self.offset, min(self.offset + room, len(self)))

    def draw(
        self,
        width: int,
        height: int,
        cells: Callable[[Entry], Sequence[Span]],
        *,
        empty: str = "",
        sorted_by: int | None = None,
        descending: bool = False,
    ) -> list[Line]:
        """Return the head and the visible rows, `height` lines at most."""
        widths = column_widths(self.columns, width)
        lines = [head_line(self.columns, widths, sorted_by, descending)]
        if self.listing is None or not len(self):
            lines.append(line((fit("  " + (empty or "nothing here"), width), "muted")))
            return lines[: max(1, height)]
        for at in self.visible(height):
            entry = self.listing.entry(at)
            marked = (entry.kind, entry.name) in self.marked
            row = row_line(self.columns, widths, cells(entry), selected=at == self.cursor, marked=marked)
            lines.append(row)
        return lines[: max(1, height)]
