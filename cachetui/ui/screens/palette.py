"""The palette: find a command by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from cachetui.ui.commands import CommandRow, shown_presses
from cachetui.ui.screens.dialog import Dialog


class Palette(Dialog[str | None]):
    """Lists the commands that contain the typed letters in their order. Returns a command's id."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "close"),
        Binding("down", "point(1)", show=False),
        Binding("up", "point(-1)", show=False),
    ]

    def __init__(self, rows: Sequence[tuple[CommandRow, str]]) -> None:
        super().__init__()
        self._rows = [(row, why_not) for row, why_not in rows if row.id != "palette"]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Input(placeholder="command", select_on_focus=False)
            yield OptionList()

    def on_mount(self) -> None:
        if not self.children:
            return  # it was left before it was there
        self.query_one(Input).cursor_blink = False
        self.query_one(OptionList).can_focus = False
        self._list("")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._list(event.value)

    def _list(self, needle: str) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        found = [(row, why_not) for row, why_not in self._rows if _contains(f"{row.title} {row.help}", needle)]
        found.sort(key=lambda pair: not pair[0].title.lower().startswith(needle.lower()))
        for row, why_not in found:
            off = f"  (not now: {why_not})" if why_not else ""
            words = f"{row.title:<14} {shown_presses(row.press):<12} {row.help}{off}"
            options.add_option(Option(Content(words), id=row.id))
        options.highlighted = 0 if found else None

    def action_point(self, by: int) -> None:
        options = self.query_one(OptionList)
        if by > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        options = self.query_one(OptionList)
        chosen = options.highlighted_option
        self.dismiss(chosen.id if chosen is not None else None)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)


def _contains(words: str, needle: str) -> bool:
    """Tell whether the letters of `needle` appear in `words` in this order.

    >>> _contains("Overview", "ovw"), _contains("Keys", "sk")
    (True, False)
    """
    rest = iter(words.lower())
    return all(letter in rest for letter in needle.lower() if letter != " ")
