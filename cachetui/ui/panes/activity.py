"""The activity pane: which commands are called now, what they cost, which errors come back; and the hottest keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cachetui import text
from cachetui.analysis.activity import CommandRate, activity
from cachetui.source.base import Kind
from cachetui.ui.line import Line, line
from cachetui.ui.panes.activity_hot import columns_of, hot_notes, hot_rows, slot_notes
from cachetui.ui.panes.activity_items import COLUMNS, item_notes, item_rows
from cachetui.ui.panes.latency import percentile_us
from cachetui.ui.panes.pane import TablePane, trouble_words
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row, Table

_COLUMNS = (
    Column("command", 24),
    Column("calls/s", 9, "right"),
    Column("busy", 7, "right"),
    Column("each", 8, "right"),
    Column("99% in", 8, "right", wide_only=90),
    Column("failed/s", 9, "right"),
    Column("refused/s", 9, "right", wide_only=90),
    Column("share of the server's time", 0, wide_only=110),
)
ERRORS = 4
BUSY_PERCENT = 25.0
"""Of one core: what takes more is worth a colour."""
_BAR = 30
HOT_NOTES, HOT_NOTES_TALL = 3, 8
"""Lines on how the hottest keys were found: in a low pane, and in a high one."""
TALL = 30


class ActivityPane(TablePane):
    """INFO commandstats and errorstats as rates of the last seconds; Memcached's own counters; what `N` found."""

    heading = "Activity"
    kinds: ClassVar[tuple[Kind, ...]] = ("stats", "slowlog", "topology")

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.table = Table(_COLUMNS)
        self.by = ""
        """What the hottest are told apart by; empty: the commands, or Memcached's live events."""
        self._looks = 0

    def show(self, scene: Scene) -> None:
        by = self.by
        if scene.hot.number != self._looks and scene.hot.tables:
            self._looks, by = scene.hot.number, next(iter(scene.hot.tables))
        self._choose(by if by in scene.hot.tables else "")
        super().show(scene)

    def _choose(self, by: str) -> None:
        if by != self.by:
            self.by = by
            self.table.forget_order()

    def command(self, command_id: str) -> bool:
        scene = self.scene
        if command_id == "group" and scene is not None:
            choices = ["", *scene.hot.tables]
            if len(choices) == 1:
                self.notify_order("N finds the hottest keys first")
                return True
            self._choose(choices[(choices.index(self.by) + 1) % len(choices)])
            self.show(scene)
            return True
        if command_id == "back" and self.by and not self.table.needle and scene is not None:
            self._choose("")
            self.show(scene)
            return True
        return super().command(command_id)

    def selected(self) -> bytes | None:
        """Return the key under the cursor; None where the row is none."""
        row = self.table.current
        if self.by and row is not None and isinstance(row.row_id, tuple) and isinstance(row.row_id[0], bytes):
            return row.row_id[0]
        return None

    def title(self, scene: Scene) -> str:
        words = super().title(scene)
        if scene.hot.tables:
            others = ", ".join(by or self._usual(scene) for by in ("", *scene.hot.tables) if by != self.by)
            words += f" · {f'hottest by {self.by}' if self.by else self._usual(scene)} (b: {others})"
        elif not self.by:
            words += " · N: hottest keys"
        found = None if self.by else activity(scene.evidence)
        return words + (f" · last {text.duration(round(found.span_s))}" if found else "")

    @staticmethod
    def _usual(scene: Scene) -> str:
        return "live events" if _of_items(scene) else "commands"

    def notes(self, scene: Scene) -> list[Line]:
        width, height = self.content_size
        if self.by or scene.hot.busy or not scene.hot.tables:
            lines = hot_notes(scene.hot, width, most=HOT_NOTES_TALL if height >= TALL else HOT_NOTES)
        else:
            lines = []
        if self.by:
            return lines
        if _of_items(scene):
            return [*lines, *item_notes(scene, width)]
        found = activity(scene.evidence)
        lines += slot_notes(scene, width)
        if found is None or not found.errors:
            return lines
        words = ", ".join(f"{word} {text.rate(per_s)}" for word, per_s in found.errors[:ERRORS])
        return [*lines, line((text.fit(f"! errors: {words}", width), "warn"))]

    def rows(self, scene: Scene) -> Sequence[Row]:
        if self.by and (found_hot := scene.hot.tables.get(self.by)) is not None:
            self.table.columns = columns_of(self.by, found_hot)
            return hot_rows(found_hot, ascii_only=scene.settings.ascii)
        if _of_items(scene):
            self.table.columns = COLUMNS
            return item_rows(scene)
        self.table.columns = _COLUMNS
        found = activity(scene.evidence)
        if found is None:
            return []
        log = scene.evidence.slowlog
        histograms = log.latency.histograms if log is not None and log.latency is not None else ()
        within = {histogram.command: percentile_us(histogram, 99) for histogram in histograms}
        total = sum(rate.busy_percent for rate in found.commands) or 1.0
        return [
            _row(rate, within.get(rate.name), rate.busy_percent / total, ascii_only=scene.settings.ascii)
            for rate in found.commands
        ]

    def empty_words(self, scene: Scene) -> str:
        stats = scene.evidence.stats
        if self.by:
            return "nothing was used meanwhile"
        if scene.evidence.trouble is not None:
            return trouble_words(scene.evidence.trouble)
        if stats is None:
            return "waiting"
        if _of_items(scene):
            return "no live events yet"
        if not stats.commands:
            return "this server keeps no statistics of its commands, or may not tell them"
        return "waiting for a second look: rates are differences"


def _of_items(scene: Scene) -> bool:
    return scene.evidence.stats is not None and scene.evidence.stats.server.kind == "memcached"


def _row(rate: CommandRate, within_us: int | None, share: float, *, ascii_only: bool) -> Row:
    name = text.printable(rate.name, 24)
    busy_style = "warn" if rate.busy_percent >= BUSY_PERCENT else ""
    failing = "bad" if rate.failed_per_s else ""
    bar = ("#" if ascii_only else "█") * round(share * _BAR)
    cells = (
        (name, ""),
        (text.rate(rate.calls_per_s), ""),
        (text.percent(rate.busy_percent), busy_style),
        (_each(rate.usec_per_call), ""),
        (text.duration(None if within_us is None else within_us / 1e6), ""),
        (text.rate(rate.failed_per_s), failing),
        (text.rate(rate.rejected_per_s), "bad" if rate.rejected_per_s else ""),
        (f"{bar} {share:.0%}".lstrip(), "accent"),
    )
    order = (rate.name, rate.calls_per_s, rate.busy_percent, rate.usec_per_call, within_us)
    return Row(rate.name, cells, (*order, rate.failed_per_s, rate.rejected_per_s, share))


def _each(usec: float | None) -> str:
    """Return a duration of which parts of a microsecond matter."""
    return f"{usec:.1f}us" if usec is not None and usec < 10 else text.duration(None if usec is None else usec / 1e6)
