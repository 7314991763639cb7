"""The activity pane: which commands are called now, what they cost, and which errors come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cachetui import text
from cachetui.analysis.activity import CommandRate, activity
from cachetui.source.base import Kind
from cachetui.ui.line import Line, line
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


class ActivityPane(TablePane):
    """INFO commandstats and errorstats as rates of the last seconds; Memcached's own counters."""

    heading = "Activity"
    kinds: ClassVar[tuple[Kind, ...]] = ("stats", "slowlog")

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.table = Table(_COLUMNS)

    def title(self, scene: Scene) -> str:
        found = activity(scene.evidence)
        return super().title(scene) + (f" · last {text.duration(round(found.span_s))}" if found else "")

    def notes(self, scene: Scene) -> list[Line]:
        if _of_items(scene):
            return item_notes(scene, self.content_size.width)
        found = activity(scene.evidence)
        if found is None or not found.errors:
            return []
        words = ", ".join(f"{word} {text.rate(per_s)}" for word, per_s in found.errors[:ERRORS])
        return [line((text.fit(f"! errors: {words}", self.content_size.width), "warn"))]

    def rows(self, scene: Scene) -> Sequence[Row]:
        if _of_items(scene):
            self.table.columns = COLUMNS
            return item_rows(scene)
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
