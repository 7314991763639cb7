"""The keys pane: what each press does to the list of keys and to the value of the opened key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from textual import events

from cachetui import text
from cachetui.keyspace.filter import parse_filter
from cachetui.keyspace.listing import Sorting, Wanted
from cachetui.ui.panes.key_list import SPLIT_COLUMNS, KeyListPane
from cachetui.ui.roll import MARKS_MOST


class KeysPane(KeyListPane):
    """The key browser."""

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
