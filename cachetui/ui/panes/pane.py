"""What all panes share: a title, a canvas, and the answers to presses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import events
from textual.content import Content
from textual.message import Message

from cachetui.model import Trouble
from cachetui.source.base import Kind
from cachetui.text import clock, fit, printable
from cachetui.ui.canvas import Canvas
from cachetui.ui.line import Line, line
from cachetui.ui.scene import Scene
from cachetui.ui.table import Row, Table

ROWS_BEFORE_DETAIL = 14
"""Rows the list keeps before the details of one row get any."""


def trouble_words(trouble: Trouble) -> str:
    """Return what went wrong and what to do, as one line."""
    return f"{trouble.message}; {trouble.hint}" if trouble.hint else trouble.message


class Pane(Canvas, can_focus=True):
    """A focusable canvas with a title. `draw` is pure: a scene and a size in, lines out."""

    DEFAULT_CSS = """
    Pane {
        height: 1fr; width: 1fr; border-top: solid $muted;
        border-title-color: $muted; border-title-background: $background;
    }
    Pane:focus { border-top: heavy $accent; border-title-color: $accent; border-title-style: bold; }
    """

    heading: ClassVar[str] = ""
    kinds: ClassVar[tuple[Kind, ...]] = ()
    """What must be polled while this pane is on the screen."""
    instead: ClassVar[Mapping[str, str]] = {}
    """Commands that mean another one here."""

    class Opened(Message):
        """A row was opened that leads elsewhere."""

        def __init__(self, pane: Pane, row_id: tuple[str, bytes]) -> None:
            super().__init__()
            self.pane, self.row_id = pane, row_id

    class Pointed(Message):
        """The cursor moved, by a press or the mouse."""

        def __init__(self, pane: Pane) -> None:
            super().__init__()
            self.pane = pane

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, classes="pane")
        self.scene: Scene | None = None
        self.behind = ""
        """Words for the title on panes that are hidden behind this one."""

    def show(self, scene: Scene) -> None:
        """Draw a new scene."""
        self.scene = scene
        self.redraw()

    def redraw(self) -> None:
        if self.scene is None:
            return
        width, height = self.content_size
        if width and height:
            self.paint(self.draw(self.scene, width, height))
            self._retitle(self.title(self.scene))

    def title(self, scene: Scene) -> str:
        """Return the heading and, when they are not live, since when its figures are stale."""
        stale = ""
        for kind in self.kinds[:1]:
            state = scene.states.get(kind)
            if state is not None and state.trouble is not None:
                last = getattr(scene.evidence, kind)
                stale = f" · stale since {clock(last.taken_at, scene.now)}" if last is not None else " · no data"
        return f"{self.heading}{stale}"

    def _retitle(self, title: str) -> None:
        content = Content(f"{title}  ·  {self.behind}" if self.behind else title)
        if self.border_title != content.markup:
            self.border_title = content

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        raise NotImplementedError

    def on_resize(self, event: events.Resize) -> None:
        self.redraw()

    # Answers to presses; a pane without a list has none.
    def move(self, by: int) -> None:
        """Move the cursor by rows."""

    def move_to(self, at: int) -> None:
        """Move the cursor to a row; -1 is the last."""

    def command(self, command_id: str) -> bool:
        """Answer a press; False when it means nothing here."""
        return False

    def copied(self) -> str:
        """Return the text that `y` copies."""
        return ""

    @property
    def page(self) -> int:
        """Rows of half a page."""
        return max(1, self.content_size.height // 2)


class TablePane(Pane):
    """A pane whose content is one table, with the details of the selected row below where there is room."""

    table: Table
    empty: ClassVar[str] = "nothing yet"
    detail_rows: ClassVar[int] = 0
    """Lines for the details of the selected row in a tall pane; 0: none."""

    def rows(self, scene: Scene) -> Sequence[Row]:
        raise NotImplementedError

    def detail(self, scene: Scene, width: int) -> list[Line]:
        """Return lines on the selected row."""
        return []

    def notes(self, scene: Scene) -> list[Line]:
        """Return lines above the table: what is missing and why."""
        return []

    def show(self, scene: Scene) -> None:
        self.table.set_rows(self.rows(scene))
        super().show(scene)

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        top = self.notes(scene)
        if self.table.needle:
            found = f"{len(self.table.rows):,} row{'s' if len(self.table.rows) != 1 else ''}"
            words = f"filter: {printable(self.table.needle)}  ({found}; Esc ends it)"
            top.append(line((fit(words, width), "accent")))
        details = self.detail(scene, width) if height >= self.detail_rows + ROWS_BEFORE_DETAIL else []
        below = self.detail_rows if details else 0
        drawn = top + self.table.draw(width, height - len(top) - below, empty=self.empty_words(scene))
        if below:
            drawn += [line()] * (height - below - len(drawn))
            drawn += [line(("─" * width, "muted")), *details][:below]
        return drawn

    def empty_words(self, scene: Scene) -> str:
        return self.empty

    def _moved(self) -> None:
        self.redraw()
        self.post_message(self.Pointed(self))

    def move(self, by: int) -> None:
        self.table.move(by)
        self._moved()

    def move_to(self, at: int) -> None:
        self.table.move_to(at)
        self._moved()

    def command(self, command_id: str) -> bool:
        if command_id == "sort":
            self.notify_order(self.table.sort_next())
        elif command_id == "reverse":
            self.notify_order(self.table.reverse())
        elif command_id == "back" and self.table.needle:
            self.table.filter("")
        else:
            return False
        self.redraw()
        return True

    def notify_order(self, words: str) -> None:
        self.app.notify(words, timeout=2, markup=False)

    def find(self, needle: str) -> None:
        """Show only rows that contain `needle`."""
        self.table.filter(needle)
        self.redraw()

    def copied(self) -> str:
        row = self.table.current
        return "" if row is None else (row.find or row.cells[0][0])

    def on_click(self, event: events.Click) -> None:
        top = 0 if self.scene is None else len(self.notes(self.scene)) + bool(self.table.needle)
        place = event.y - self.gutter.top - top - 1 + self.table.offset
        if 0 <= place < len(self.table.rows):
            self.move_to(place)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.move(-3)
