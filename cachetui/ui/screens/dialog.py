"""Small modal screens: a line of text, a choice, the help."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from cachetui.ui.commands import CommandRow, shown_presses

Answer = TypeVar("Answer")

NOTHING_OFF: Mapping[str, str] = {}


class Dialog(ModalScreen[Answer]):
    """What all modal screens share: their looks."""

    CSS_PATH = "dialog.tcss"


class Prompt(Dialog[str | None]):
    """Asks for one line. Returns None after Esc. `check` returns a sentence when the text won't do."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "cancel")]

    def __init__(
        self,
        title: str,
        *,
        initial: str = "",
        hint: str = "",
        check: Callable[[str], str | None] | None = None,
        live: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(classes="bottom" if live else "")
        self._title, self._initial, self._hint = title, initial, hint
        self._check, self._live = check, live

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._title), classes="dialog-title")
            yield Input(self._initial, select_on_focus=False)
            yield Static(Content(self._hint), classes="dialog-hint")

    def on_mount(self) -> None:
        if not self.children:
            return  # it was left before it was there
        self.query_one(Input).cursor_blink = False

    def on_input_changed(self, event: Input.Changed) -> None:
        if self._live is not None:
            self._live(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        problem = self._check(event.value) if self._check is not None else None
        if problem is None:
            self.dismiss(event.value)
        else:
            self.query_one(".dialog-hint", Static).update(Content(problem))


class Choice(Dialog[str | None]):
    """Asks to choose one of several words. Returns None after Esc."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "cancel"),
        Binding("j", "app.simulate_key('down')", show=False),
        Binding("k", "app.simulate_key('up')", show=False),
        *(Binding(str(number), f"choose({number})", show=False) for number in range(1, 10)),
    ]

    def __init__(
        self,
        title: str,
        options: Sequence[tuple[str, str]],
        *,
        current: str = "",
        hint: str = "Enter shows the plan, Esc leaves",
        first: str = "",
        off: Mapping[str, str] = NOTHING_OFF,
        numbered: bool = False,
    ) -> None:
        """`first` is under the cursor at the beginning, `off` says of options why they cannot be chosen.

        With `numbered` a digit chooses as well.
        """
        super().__init__()
        self._title, self._options, self._current, self._hint = title, options, current, hint
        self._first, self._off, self._numbered = first or current, off, numbered

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._title), classes="dialog-title")
            yield OptionList(*(self._option(at) for at in range(len(self._options))))
            yield Static(Content(self._hint), classes="dialog-hint")

    def _option(self, at: int) -> Option:
        name, words = self._options[at]
        width = max(len(name) for name, _ in self._options)
        number = f"{at + 1} " if self._numbered else ""
        why = self._off.get(name)
        shown = f"(not here: {why})" if why is not None else f"{'(now) ' if name == self._current else ''}{words}"
        return Option(Content(f"{number}{name:<{width}}  {shown}"), id=str(at), disabled=why is not None)

    def on_mount(self) -> None:
        if not self.children:
            return  # it was left before it was there
        names = [name for name, _ in self._options]
        self.query_one(OptionList).highlighted = names.index(self._first) if self._first in names else 0

    def action_choose(self, number: int) -> None:
        """Choose by a digit."""
        if self._numbered and number <= len(self._options):
            name = self._options[number - 1][0]
            if (why := self._off.get(name)) is None:
                self.dismiss(name)
            else:
                self.query_one(".dialog-hint", Static).update(Content(f"{name}: {why}"))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._options[event.option_index][0])


class Help(Dialog[None]):
    """All presses, from the command table, and why some do nothing here."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter", "dismiss(None)", "close"),
        Binding("j", "scroll_help(1)", show=False),
        Binding("k", "scroll_help(-1)", show=False),
    ]

    def __init__(self, rows: Sequence[tuple[CommandRow, str]]) -> None:
        super().__init__()
        self._rows = rows

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog help"):
            yield Static(Content("Presses (Esc closes)"), classes="dialog-title")
            lines = []
            for row, why_not in self._rows:
                risk = "" if row.risk == "none" else f"  [changes the server: {row.risk} risk, previewed]"
                off = f"  (not now: {why_not})" if why_not else ""
                lines.append(f"{shown_presses(row.press):<14} {row.title:<14} {row.help}{risk}{off}")
            yield Static(Content("\n".join(lines)))

    def on_mount(self) -> None:
        if not self.children:
            return  # it was left before it was there
        self.query_one(VerticalScroll).focus()

    def action_scroll_help(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)
