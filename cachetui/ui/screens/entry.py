"""One entry of the journal, all of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from cachetui import text
from cachetui.model import JournalEntry
from cachetui.ui.panes.journal import counts_of
from cachetui.ui.screens.dialog import Dialog


class EntryScreen(Dialog[str | None]):
    """Shows what was done, exactly. Returns the command that the person wants next."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss(None)", "close"),
        Binding("u", "dismiss('undo')", "undo"),
        Binding("I", "dismiss('resume')", "go on"),
        Binding("j", "scroll_entry(1)", show=False),
        Binding("k", "scroll_entry(-1)", show=False),
    ]

    def __init__(self, entry: JournalEntry, presses: Sequence[str] = ()) -> None:
        """`presses` says what can be done about it."""
        super().__init__()
        self._entry, self._presses = entry, presses

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._entry.title), classes="dialog-title")
            with VerticalScroll(classes="entry-body"):
                yield Static(Content("\n".join(entry_lines(self._entry))))
            yield Static(Content(", ".join((*self._presses, "Esc closes"))), classes="dialog-hint")

    def on_mount(self) -> None:
        if not self.children:
            return  # it was left before it was there
        self.query_one(VerticalScroll).focus()

    def action_scroll_entry(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)


def entry_lines(entry: JournalEntry) -> list[str]:
    """Return the whole entry, a fact in each line."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.at))
    rows = [
        ("when", stamp),
        ("who", entry.user),
        ("target", entry.target),
        ("outcome", f"{entry.outcome}: {counts_of(entry)}"),
        ("reason", entry.error),
        ("receipt", entry.receipt),
        ("undo", entry.undo or text.UNKNOWN),
        ("undoes", entry.undoes),
        ("nodes", ", ".join(entry.nodes)),
    ]
    rows += [("setting", f"{name}: {before or 'empty'} -> {after or 'empty'}") for name, before, after in entry.back]
    lines = [f"{label:<8} {words}" for label, words in rows if words]
    return [*lines, "", "exact commands:", *(f"  {command}" for command in entry.commands)]
