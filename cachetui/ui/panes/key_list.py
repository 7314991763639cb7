"""The list of keys as it is drawn: lines above it, rows as a tree or flat, the opened value beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.message import Message
from textual.timer import Timer

from cachetui import text
from cachetui.keyspace.listing import Entry, Wanted
from cachetui.source.base import Kind
from cachetui.ui.line import Line, Span, changed_columns, line
from cachetui.ui.panes.allowance import Allowance
from cachetui.ui.panes.key_cells import LABEL, key_cells, prefix_cells, short_cells
from cachetui.ui.panes.key_value import ValueView
from cachetui.ui.panes.key_words import held_words, measure_words, scan_words, scope_words
from cachetui.ui.panes.pane import Pane
from cachetui.ui.roll import Roll
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column

FEW_ROWS = 4
"""Changed rows that are always shown at once: the cursor moved."""
RUN_BYTES = 150
"""What a run of changed columns costs in the terminal beside its characters, about: a place and some colours."""

_FULL = (
    Column("key", 0),
    Column("keys", 7, "right"),
    Column("type", 10),
    Column("TTL", 7, "right"),
    Column("size", 8, "right"),
    Column("encoding", 10, wide_only=84),
    Column("idle", 6, "right", wide_only=84),
)
_SHORT = (Column("prefix", 0), Column("keys", 7, "right"), Column("share", 6, "right"))
_HEADS = {"name": 0, "count": 1, "ttl": 3, "size": 4, "idle": 6, "frequency": 6}
"""The column whose head shows the arrow."""

PART = 0.9
"""Fewer of the keys than this are a part of them; while counting a few come and go."""

LIVE_S = 60.0
"""An enumeration older than this says when it was made."""

SPLIT_COLUMNS = 100
"""From this width on the value stands beside the list."""


class KeyListPane(Pane):
    """The list of keys as it is drawn. It asks by messages: the app reads, the pane draws."""

    heading = "Keys"
    kinds: ClassVar[tuple[Kind, ...]] = ("stats",)

    class FactsWanted(Message, namespace="keys_pane"):
        """These keys and prefixes became visible and their facts are wanted."""

        def __init__(self, keys: list[bytes], prefixes: list[bytes]) -> None:
            super().__init__()
            self.keys, self.prefixes = keys, prefixes

    class ListingWanted(Message, namespace="keys_pane"):
        """Other rows are wanted."""

        def __init__(self, pane_id: str, wanted: Wanted) -> None:
            super().__init__()
            self.pane_id, self.wanted = pane_id, wanted

    class ValueWanted(Message, namespace="keys_pane"):
        """This key was opened."""

        def __init__(self, key: bytes) -> None:
            super().__init__()
            self.key = key

    class ValueClosed(Message, namespace="keys_pane"):
        """The value was closed."""

    class WindowWanted(Message, namespace="keys_pane"):
        """The next window on the value (1) or the one before (-1)."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def __init__(self, *, id: str, compact: bool = False) -> None:
        super().__init__(id=id)
        self.pane_id = id
        self.compact = compact
        self.table = Roll(_SHORT if compact else _FULL, follows=compact)
        self.value = ValueView()
        self.wanted = Wanted()
        self.needle = ""
        self.problem = ""
        """What is wrong with the filter."""
        self._asked: tuple[object, ...] = ()
        self._allowance = Allowance()
        self._late: Timer | None = None

    def title(self, scene: Scene) -> str:
        browse = scene.browse
        words = self.heading
        if browse.scanning and browse.scanned_at is None:
            words += f" · scanning {text.count(browse.scanned)} of {text.count(browse.total)}"
        elif browse.scanned_at is not None:
            words += f" · {text.count(browse.index.total)}"
            if browse.stopped or not browse.index.complete or browse.index.total < PART * (browse.total or 0):
                words += f" of {text.count(browse.total)}: a part"
            if scene.now - browse.scanned_at > LIVE_S:
                words += f" · as of {text.clock(browse.scanned_at, scene.now)}"
        if self.table.marked:
            words += f" · {len(self.table.marked):,} marked"
        return words

    # Lines above the list

    def notes(self, scene: Scene, width: int) -> list[Line]:
        browse = scene.browse
        trouble = browse.trouble
        found = []
        words = scene.why_not("scan") or (trouble.line() if trouble is not None else "")
        if words:
            found.append((words, "bad"))
        if browse.scanning and browse.scanned_at is None and browse.progress is not None and not self.compact:
            found.append((scan_words(browse.progress, ascii_only=scene.settings.ascii), "accent"))
        elif not self.compact:
            found += [(words, "warn") for words in held_words(browse)]
        if browse.measuring is not None and not self.compact:
            found.append((measure_words(browse.measuring, ascii_only=scene.settings.ascii), "accent"))
        if browse.scope.match is not None or browse.scope.type_ is not None:
            found.append((scope_words(browse), "warn"))
        if self.needle:
            found.append((self._filter_words(), "bad" if self.problem else "accent"))
        return [line((text.fit(words, width), style)) for words, style in found]

    def _filter_words(self) -> str:
        if self.problem:
            return f"filter: {self.problem}"
        shown = text.printable(self.needle)
        if self.table.listing is None or self.table.listing.wanted != self.wanted:
            return f"filter: {shown}  (looking)"
        found = len(self.table)
        return f"filter: {shown}  ({found:,} row{'s' if found != 1 else ''}; Esc ends it)"

    def _empty_words(self, scene: Scene) -> str:
        if scene.browse.scanned_at is None:
            return "" if scene.browse.trouble else "scanning"
        return "no keys" if not self.needle else "no key matches"

    # Rows

    def cells(self, scene: Scene, entry: Entry) -> tuple[Span, ...]:
        """Return the cells of one row."""
        label = text.printable(entry.label, LABEL) or '""'
        if not self.wanted.flat and self.wanted.filter is None:
            signs = ("v ", "> ") if scene.settings.ascii else ("▾ ", "▸ ")
            sign = "  " if entry.kind == "key" else signs[0 if entry.is_open else 1]
            label = "  " * entry.depth + sign + label
        if self.compact:
            return short_cells(scene.browse, entry, label)
        return (prefix_cells if entry.kind == "prefix" else key_cells)(scene.browse, entry, label)

    # What is selected

    def selected(self) -> tuple[str, bytes] | None:
        """Return ("key", name) or ("prefix", name) under the cursor."""
        entry = self.table.current
        return (entry.kind, entry.name) if entry is not None else None

    def marked(self) -> list[bytes]:
        """Return the marked keys; a marked prefix counts with its keys."""
        keys: set[bytes] = set()
        for kind, name in self.table.marked:
            if kind == "key":
                keys.add(name)
            elif self.scene is not None:
                keys.update(self.scene.browse.index.under(name))
        return sorted(keys)

    # Drawing

    def show(self, scene: Scene) -> None:
        listing = scene.browse.listings.get(self.pane_id)
        if listing is None:
            self.post_message(self.ListingWanted(self.pane_id, self.wanted))
        self.table.show(listing)
        self.table.leaps = scene.settings.slow_link
        super().show(scene)

    def _redraw_late(self) -> None:
        self._late = None
        self.redraw()

    def paint(self, lines: Sequence[Line]) -> None:
        """Show `lines`; on a slow link many changed ones not before it has taken what was drawn until now."""
        if self.scene is not None and self.scene.settings.slow_link:
            pairs = [(old, new) for old, new in zip(self.lines, lines, strict=False) if old != new]
            if len(pairs) > FEW_ROWS:
                if (wait_s := self._allowance.wait_s()) > 0:
                    self._late = self._late or self.set_timer(wait_s, self._redraw_late)
                    return
                self._allowance.spend(sum(self._cost(old, new) for old, new in pairs))
        super().paint(lines)

    def _cost(self, old: Line, new: Line) -> int:
        """Return about how many bytes it takes to draw `new` over `old`."""
        return sum(length + RUN_BYTES for _, length in changed_columns(old, new, self.content_size.width))

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        if self.compact:
            return self._list_lines(scene, width, height)
        opened = scene.browse.opened is not None
        if width < SPLIT_COLUMNS:
            self.value.focused = opened
            lines = self.value.draw(scene, width, height) if opened else self._list_lines(scene, width, height)
        else:
            self.value.focused &= opened
            left = width * 55 // 100 if width < 160 else width - 80
            right = self.value.draw(scene, width - left - 3, height)
            listed = self._list_lines(scene, left, height)
            lines = [_beside(listed, right, at, left) for at in range(height)]
        self._want_facts(height)
        return lines

    def _list_lines(self, scene: Scene, width: int, height: int) -> list[Line]:
        top = self.notes(scene, width)
        sorting = self.wanted.sorting
        if self.wanted.filter is not None or (self.wanted.flat and sorting == "count"):
            sorting = "name"
        return top + self.table.draw(
            width,
            height - len(top),
            lambda entry: self.cells(scene, entry),
            empty=self._empty_words(scene),
            sorted_by=None if self.compact else _HEADS[sorting],
            descending=self.wanted.descending and sorting != "name",
        )

    def _want_facts(self, height: int) -> None:
        listing = self.table.listing
        if listing is None or self.compact:
            return
        entries = [listing.entry(at) for at in self.table.visible(height)]
        asked = tuple((entry.kind, entry.name) for entry in entries)
        if entries and asked != self._asked:
            self._asked = asked
            keys = [entry.name for entry in entries if entry.kind == "key"]
            self.post_message(self.FactsWanted(keys, [entry.name for entry in entries if entry.kind == "prefix"]))

    def forget_asked(self) -> None:
        """Ask for the visible keys' facts again at the next drawing."""
        self._asked = ()


def _beside(left: list[Line], right: list[Line], at: int, width: int) -> Line:
    one = left[at] if at < len(left) else line()
    other = right[at] if at < len(right) else line()
    used = sum(text.cells(part) for part, _ in one.spans)
    gap = (" " * max(0, width - used), "")
    if other.row:
        return Line((*one.spans, gap, (" > ", "accent"), *other.spans), "", width)
    return Line((*one.spans, gap, (" │ ", "muted"), *other.spans), one.row, width)
