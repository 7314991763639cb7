"""The keys pane: prefixes as a tree or keys as a list, and the value of the opened key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.message import Message

from cachetui import text
from cachetui.keyspace.filter import parse_filter
from cachetui.keyspace.listing import Entry, Sorting, Wanted
from cachetui.source.base import Kind
from cachetui.ui.line import Line, Span, line
from cachetui.ui.panes.key_cells import LABEL, key_cells, prefix_cells, short_cells
from cachetui.ui.panes.key_value import ValueView
from cachetui.ui.panes.key_words import held_words, measure_words, scan_words, scope_words
from cachetui.ui.panes.pane import Pane
from cachetui.ui.roll import MARKS_MOST, Roll
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column

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


class KeysPane(Pane):
    """The key browser. It asks by messages: the app reads, the pane draws."""

    heading = "Keys"
    kinds: ClassVar[tuple[Kind, ...]] = ("stats",)

    class FactsWanted(Message):
        """These keys and prefixes became visible and their facts are wanted."""

        def __init__(self, keys: list[bytes], prefixes: list[bytes]) -> None:
            super().__init__()
            self.keys, self.prefixes = keys, prefixes

    class ListingWanted(Message):
        """Other rows are wanted."""

        def __init__(self, pane_id: str, wanted: Wanted) -> None:
            super().__init__()
            self.pane_id, self.wanted = pane_id, wanted

    class ValueWanted(Message):
        """This key was opened."""

        def __init__(self, key: bytes) -> None:
            super().__init__()
            self.key = key

    class ValueClosed(Message):
        """The value was closed."""

    class WindowWanted(Message):
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
        super().show(scene)

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

    # Presses

    def move(self, by: int) -> None:
        (self.value if self.value.focused else self.table).move(by)
        self._moved()

    def move_to(self, at: int) -> None:
        (self.value if self.value.focused else self.table).move_to(at)
        self._moved()

    def _moved(self) -> None:
        self.redraw()
        self.post_message(self.Pointed(self))

    def command(self, command_id: str) -> bool:
        answer = _ANSWERS.get(command_id)
        if answer is None or not answer(self):
            return False
        if self.scene is not None:
            self.show(self.scene)
        return True

    def want(self, wanted: Wanted) -> None:
        """Ask for other rows."""
        if wanted != self.wanted:
            self.wanted = wanted
            self.post_message(self.ListingWanted(self.pane_id, wanted))

    def find(self, needle: str) -> None:
        """Show only the keys that a filter finds (see `keyspace.filter`)."""
        self.needle, self.problem = needle, ""
        try:
            found = parse_filter(needle) if needle else None
        except ValueError as error:
            self.problem = str(error)
        else:
            self.want(replace(self.wanted, filter=found))
        if self.scene is not None:
            self.show(self.scene)

    def copied(self) -> str:
        if self.value.focused and self.scene is not None and self.scene.browse.value is not None:
            value = self.scene.browse.value
            item = self.value.item(value)
            data = item.data if item is not None else b"\n".join(item.data for item in value.items)
            return text.printable(data)
        selected = self.selected()
        return "" if selected is None else text.printable(selected[1])

    def _back(self) -> bool:
        if self.value.focused and self.value.leave_element():
            return True
        if self.scene is not None and self.scene.browse.opened is not None:
            self.value.focused = False
            self.post_message(self.ValueClosed())
            return True
        if self.needle:
            self.find("")
            return True
        return False

    def _open(self) -> bool:
        if self.value.focused and self.scene is not None and self.scene.browse.value is not None:
            self.value.open_element(self.scene.browse.value)
            return True
        selected = self.selected()
        if selected is None:
            return True
        kind, name = selected
        if self.compact:
            self.post_message(self.Opened(self, selected))
        elif kind == "prefix":
            self.want(replace(self.wanted, expanded=self.wanted.expanded ^ {name}))
        else:
            self.post_message(self.ValueWanted(name))
        return True

    def _right(self) -> bool:
        selected = self.selected()
        if selected is not None and selected[0] == "prefix" and not self.compact:
            self.want(replace(self.wanted, expanded=self.wanted.expanded | {selected[1]}))
        elif selected is not None:
            return self._open()
        return True

    def _left(self) -> bool:
        if self.value.focused:
            return self.value.leave_element() or self._next_side()
        selected = self.selected()
        if selected is None:
            return True
        kind, name = selected
        if kind == "prefix" and name in self.wanted.expanded:
            self.want(replace(self.wanted, expanded=self.wanted.expanded - {name}))
            return True
        parents = [prefix for prefix in self.wanted.expanded if name.startswith(prefix) and prefix != name]
        if parents:
            self.table.select(("prefix", max(parents, key=len)))
            self.want(replace(self.wanted, expanded=self.wanted.expanded - {max(parents, key=len)}))
        return True

    def _next_side(self) -> bool:
        """Go from the list to the value and back, where both are shown."""
        if self.compact or self.scene is None or self.scene.browse.opened is None:
            return False
        if self.content_size.width < SPLIT_COLUMNS:
            return False
        self.value.focused = not self.value.focused
        return True

    def _sort(self) -> bool:
        measures = self.scene.browse.measures if self.scene is not None else None
        measured = measures is not None
        orders: tuple[Sorting, ...] = ("count", "name") if not self.wanted.flat else ("name",)
        if self.wanted.flat and measured:
            orders = ("name", "size", "ttl", "idle", "frequency")
        at = orders.index(self.wanted.sorting) if self.wanted.sorting in orders else -1
        chosen = orders[(at + 1) % len(orders)]
        self.want(replace(self.wanted, sorting=chosen, descending=chosen in ("count", "size", "idle", "frequency")))
        words = f"by {chosen}"
        if self.wanted.flat and not measured:
            words += "; measure all (M) to sort by size, TTL or idle time"
        elif measures is not None and chosen in ("idle", "frequency") and not measures.use_known:
            words += ": not known yet; M asks key by key, which takes longer"
        self.app.notify(words, timeout=3, markup=False)
        return True

    def _reverse(self) -> bool:
        self.want(replace(self.wanted, descending=not self.wanted.descending))
        return True

    def _flat(self) -> bool:
        flat = not self.wanted.flat
        sorting: Sorting = "name" if flat else "count"
        self.want(replace(self.wanted, flat=flat, sorting=sorting, descending=not flat))
        return True

    def _mark(self) -> bool:
        self.table.toggle_mark()
        return True

    def _mark_range(self) -> bool:
        if not self.table.mark_range():
            self.app.notify("mark the first row of the range with Space", timeout=3, markup=False)
        return True

    def _mark_all(self) -> bool:
        return self._many(self.table.mark_all())

    def _invert(self) -> bool:
        return self._many(self.table.invert())

    def _many(self, done: bool) -> bool:
        if not done:
            words = f"{len(self.table):,} rows are too many to mark one by one (at most {MARKS_MOST:,}): filter first"
            self.app.notify(words, severity="warning", timeout=4, markup=False)
        return True

    def _unmark(self) -> bool:
        self.table.marked.clear()
        return True

    def _fold(self) -> bool:
        self.value.folded = not self.value.folded
        return True

    def _window(self, by: int) -> bool:
        if self.scene is None or self.scene.browse.opened is None:
            return False
        self.post_message(self.WindowWanted(by))
        return True

    # The mouse

    def on_click(self, event: events.Click) -> None:
        if self.scene is None:
            return
        top = len(self.notes(self.scene, self.content_size.width))
        at = event.y - self.gutter.top - top - 1 + self.table.offset
        if 0 <= at < len(self.table) and not (self.value.focused and self.content_size.width < SPLIT_COLUMNS):
            self.value.focused = False
            self.move_to(at)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.move(-3)


_ANSWERS: dict[str, Callable[[KeysPane], bool]] = {
    "open": KeysPane._open,
    "back": KeysPane._back,
    "right": KeysPane._right,
    "left": KeysPane._left,
    "next-pane": KeysPane._next_side,
    "previous-pane": KeysPane._next_side,
    "sort": KeysPane._sort,
    "reverse": KeysPane._reverse,
    "flat": KeysPane._flat,
    "mark": KeysPane._mark,
    "mark-range": KeysPane._mark_range,
    "mark-all": KeysPane._mark_all,
    "invert": KeysPane._invert,
    "unmark": KeysPane._unmark,
    "fold": KeysPane._fold,
    "next-window": lambda pane: pane._window(1),
    "previous-window": lambda pane: pane._window(-1),
}
"""By command id; each returns whether it meant something here."""


def _beside(left: list[Line], right: list[Line], at: int, width: int) -> Line:
    one = left[at] if at < len(left) else line()
    other = right[at] if at < len(right) else line()
    used = sum(text.cells(part) for part, _ in one.spans)
    gap = (" " * max(0, width - used), "")
    if other.row:
        return Line((*one.spans, gap, (" > ", "accent"), *other.spans), "", width)
    return Line((*one.spans, gap, (" │ ", "muted"), *other.spans), one.row, width)
