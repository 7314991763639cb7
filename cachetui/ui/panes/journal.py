"""The journal pane: what was changed with cachetui."""

from __future__ import annotations

from collections.abc import Sequence

from cachetui import text
from cachetui.model import JournalEntry
from cachetui.ui.line import Line, Span, line
from cachetui.ui.panes.pane import TablePane
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row, Table

_STYLES = {
    "done": "ok",
    "failed": "bad",
    "stopped": "warn",
    "refused": "muted",
    "running": "warn",
    "interrupted": "bad",
}
_GOES_ON = ("stopped", "interrupted")
"""Outcomes after which there may be a rest."""


class JournalPane(TablePane):
    """Newest first, from this user's journal on this machine."""

    heading = "Journal"
    empty = "nothing was changed with cachetui yet"
    detail_rows = 9

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.table = Table(
            (
                Column("when", 11),
                Column("who", 16, wide_only=120),
                Column("what"),
                Column("target", 30, wide_only=160),
                Column("outcome", 11),
                Column("done", 9, "right"),
                Column("left", 7, "right", wide_only=100),
                Column("failed", 7, "right", wide_only=100),
                Column("skipped", 7, "right", wide_only=100),
                Column("undo", 7),
            )
        )

    def selected(self) -> JournalEntry | None:
        """Return the selected entry."""
        row = self.table.current
        if row is None or self.scene is None:
            return None
        return next((entry for entry in self.scene.journal if entry.receipt == row.row_id), None)

    def rows(self, scene: Scene) -> Sequence[Row]:
        # Of several undos of one receipt the newest comes first: what it left alone, none before it had done.
        undone = {entry.undoes: entry.outcome for entry in reversed(scene.journal) if entry.undoes and entry.done}
        return [_row(entry, scene, undone.get(entry.receipt, "")) for entry in scene.journal]

    def detail(self, scene: Scene, width: int) -> list[Line]:
        entry = self.selected()
        if entry is None:
            return []
        presses = ["Enter shows all of it", *what_next(entry, scene)]
        lines = [
            line((entry.receipt + "  ", "muted"), counts_of(entry), (f"  {entry.error}" if entry.error else "", "bad")),
            line(("press ", "muted"), text.fit(", ".join(presses), width - 6).rstrip()),
            line(("undo  ", "muted"), text.fit(entry.undo or text.UNKNOWN, width - 6).rstrip()),
        ]
        return lines + [line(("ran   ", "muted"), text.fit(command, width - 6).rstrip()) for command in entry.commands]


def what_next(entry: JournalEntry, scene: Scene) -> list[str]:
    """Return what can be done about an entry, by press."""
    found = ["u undoes it"] if entry.receipt in scene.undoable else []
    return found + (["I goes on with the rest"] if entry.outcome in _GOES_ON and not entry.undoes else [])


def counts_of(entry: JournalEntry) -> str:
    """Return what became of the keys or commands, in words."""
    figures = (
        ("gone already", entry.missing),
        ("left alone", entry.skipped),
        ("failed", entry.failed),
        ("unknown", entry.unknown),
        ("not sent", entry.left),
    )
    return ", ".join([f"{entry.done:,} done", *(f"{figure:,} {words}" for words, figure in figures if figure)])


def _row(entry: JournalEntry, scene: Scene, undone: str) -> Row:
    cells: tuple[Span, ...] = (
        (text.clock(entry.at, scene.now), "muted"),
        (entry.user, "muted"),
        (entry.title, ""),
        (entry.target, "muted"),
        (entry.outcome, _STYLES.get(entry.outcome, "")),
        (text.count(entry.done), ""),
        _figure(entry.left + entry.unknown, "warn"),
        _figure(entry.failed, "bad"),
        _figure(entry.skipped, "warn"),
        (_undo_word(entry, entry.receipt in scene.undoable, undone), "muted"),
    )
    order = (
        entry.at,
        entry.user,
        entry.title,
        entry.target,
        entry.outcome,
        entry.done,
        entry.left + entry.unknown,
        entry.failed,
        entry.skipped,
    )
    find = " ".join((entry.receipt, entry.user, entry.title, entry.target, entry.outcome, *entry.commands))
    return Row(entry.receipt, cells, order, find)


def _figure(number: int, style: str) -> Span:
    return (text.count(number), style) if number else ("", "")


def _undo_word(entry: JournalEntry, undoable: bool, undone: str) -> str:
    """Return whether it can be undone; `undone` is the outcome of its undo so far."""
    if undone == "done":
        return "undone"
    if undoable:
        return "u: rest" if undone else "u"
    if undone:
        return "in part"
    if entry.undo.startswith("no undo"):
        return "no"
    return "by hand" if entry.undo and "cachetui undo" not in entry.undo else text.UNKNOWN
