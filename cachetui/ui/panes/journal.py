"""The journal pane: what was changed with cachetui."""

from __future__ import annotations

from collections.abc import Sequence

from cachetui import text
from cachetui.model import JournalEntry
from cachetui.ui.line import Line, line
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


class JournalPane(TablePane):
    """Newest first, from this user's journal on this machine."""

    heading = "Journal"
    empty = "nothing was changed with cachetui yet"
    detail_rows = 9

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.table = Table(
            (
                Column("at", 11),
                Column("outcome", 11),
                Column("done", 9, "right"),
                Column("not done", 9, "right", wide_only=90),
                Column("what"),
                Column("target", 30, wide_only=100),
                Column("who", 20, wide_only=120),
            )
        )

    def selected_receipt(self) -> str | None:
        """Return the receipt of the selected entry."""
        row = self.table.current
        return None if row is None else str(row.row_id)

    def rows(self, scene: Scene) -> Sequence[Row]:
        return [
            Row(
                e.receipt,
                (
                    (text.clock(e.at, scene.now), "muted"),
                    (e.outcome, _STYLES.get(e.outcome, "")),
                    (text.count(e.done), ""),
                    (text.count(short) if (short := _short_of(e)) else "", "warn"),
                    (e.title, ""),
                    (e.target, "muted"),
                    (e.user, "muted"),
                ),
                (e.at, e.outcome, e.done, _short_of(e), e.title, e.target, e.user),
            )
            for e in scene.journal
        ]

    def detail(self, scene: Scene, width: int) -> list[Line]:
        row = self.table.current
        entry = next((e for e in scene.journal if row is not None and e.receipt == row.row_id), None)
        if entry is None:
            return []
        figures = (
            ("done", entry.done),
            ("gone already", entry.missing),
            ("left alone", entry.skipped),
            ("failed", entry.failed),
            ("unknown", entry.unknown),
            ("not sent", entry.left),
        )
        counts = "  ".join(f"{name} {figure:,}" for name, figure in figures if figure or name == "done")
        lines = [line((entry.receipt + "  ", "muted"), counts, ("  " + entry.error, "bad"))]
        lines += [line(("undo  ", "muted"), text.fit(entry.undo or text.UNKNOWN, width - 6).rstrip())]
        return lines + [line(("ran   ", "muted"), text.fit(command, width - 6).rstrip()) for command in entry.commands]


def _short_of(entry: JournalEntry) -> int:
    """Return how many keys or commands were not done as planned."""
    return entry.skipped + entry.failed + entry.unknown + entry.left
