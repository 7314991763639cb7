"""The slow pane: the slow log as it is or grouped by shape; for Memcached live events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cachetui import text
from cachetui.analysis.slow import SlowGroup, group
from cachetui.model import SlowEntry
from cachetui.source.base import Kind
from cachetui.ui.line import Line, line
from cachetui.ui.panes.pane import TablePane, trouble_words
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row, Table

_ENTRIES = (
    Column("at", 11),
    Column("took", 8, "right"),
    Column("command"),
    Column("client", 21, wide_only=90),
    Column("name", 12, wide_only=110),
)
_EVENTS = (Column("at", 11), Column("event", 10), Column("key"), Column("client", 21, wide_only=90))
_GROUPS = (
    Column("times", 6, "right"),
    Column("total", 8, "right"),
    Column("worst", 8, "right"),
    Column("shape"),
    Column("last", 11),
)
_EVENT_GROUPS = (Column("times", 6, "right"), Column("event and shape"), Column("last", 11))


class SlowPane(TablePane):
    """SLOWLOG newest first; `b` groups it by command shape."""

    heading = "Slow"
    kinds: ClassVar[tuple[Kind, ...]] = ("slowlog",)
    detail_rows = 5

    def __init__(self, *, id: str, grouped: bool = False) -> None:
        super().__init__(id=id)
        self.table = Table(_ENTRIES, follows=True)
        self.grouped = grouped

    def title(self, scene: Scene) -> str:
        log = scene.evidence.slowlog
        words = super().title(scene)
        if log is None:
            return words
        if log.threshold_us is not None and log.threshold_us >= 0:
            words += f" · over {text.duration(log.threshold_us / 1e6)}"
        elif log.threshold_us is not None:
            words += " · switched off (slowlog-log-slower-than -1)"
        return words + (" · by shape" if self.grouped else "")

    def notes(self, scene: Scene) -> list[Line]:
        log = scene.evidence.slowlog
        words = [log.note] if log is not None and log.note else []
        if log is not None and log.skipped:
            words.append(f"{text.count(log.skipped)} events came too fast and are not shown")
        return [line((text.fit(word, self.content_size.width), "muted")) for word in words]

    def empty_words(self, scene: Scene) -> str:
        trouble = scene.states["slowlog"].trouble if "slowlog" in scene.states else None
        if trouble is not None:
            return trouble_words(trouble)
        return "waiting" if scene.evidence.slowlog is None else "nothing slow since the log was reset"

    def rows(self, scene: Scene) -> Sequence[Row]:
        log = scene.evidence.slowlog
        if log is None:
            return []
        events = any(entry.event for entry in log.entries)
        if self.grouped:
            self.table.columns = _EVENT_GROUPS if events else _GROUPS
            return [_group_row(found, events, scene.now) for found in group(log.entries)]
        self.table.columns = _EVENTS if events else _ENTRIES
        return [_event_row(entry, scene.now) if events else _entry_row(entry, scene.now) for entry in log.entries]

    def detail(self, scene: Scene, width: int) -> list[Line]:
        log, row = scene.evidence.slowlog, self.table.current
        if log is None or row is None or self.grouped:
            return []
        entry = next((e for e in log.entries if e.entry_id == row.row_id), None)
        if entry is None:
            return []
        words = "  ".join(text.printable(arg, 2000) for arg in entry.args)
        who = f"{entry.client} {entry.client_name}".strip() or "-"
        return [
            line(
                ("entry ", "muted"),
                str(entry.entry_id),
                ("  client ", "muted"),
                text.fit(who, max(8, width - 30)).rstrip(),
            ),
            *(line(words[at : at + width]) for at in range(0, min(len(words), 3 * width), max(1, width))),
        ]

    def command(self, command_id: str) -> bool:
        if command_id == "group":
            self.grouped = not self.grouped
            self.table.sort_column = None
            if self.scene is not None:
                self.show(self.scene)
            return True
        return super().command(command_id)


def _group_row(found: SlowGroup, events: bool, now: float) -> Row:
    times, shape, last = (text.count(found.count), ""), (found.shape, ""), (text.clock(found.last_at, now), "muted")
    if events:  # they have no durations
        return Row(("shape", found.shape), (times, shape, last), (found.count, found.shape, found.last_at))
    total, worst = text.duration(found.total_us / 1e6), text.duration(found.max_us / 1e6)
    order = (found.count, found.total_us, found.max_us, found.shape, found.last_at)
    return Row(("shape", found.shape), (times, (total, ""), (worst, ""), shape, last), order)


def _entry_row(entry: SlowEntry, now: float) -> Row:
    command = " ".join(text.printable(arg, 200) for arg in entry.args[:8])
    style = "bad" if (entry.duration_us or 0) >= 1_000_000 else "warn" if (entry.duration_us or 0) >= 100_000 else ""
    took = text.duration(None if entry.duration_us is None else entry.duration_us / 1e6)
    cells = (
        (text.clock(entry.at, now), "muted"),
        (took, style),
        (command, ""),
        (entry.client, "muted"),
        (entry.client_name, "muted"),
    )
    return Row(entry.entry_id, cells, (entry.at, entry.duration_us, command, entry.client, entry.client_name))


def _event_row(entry: SlowEntry, now: float) -> Row:
    key = " ".join(text.printable(arg, 250) for arg in entry.args)
    cells = (
        (text.clock(entry.at, now), "muted"),
        (entry.event, "warn" if entry.event == "evict" else ""),
        (key, ""),
        (entry.client, "muted"),
    )
    return Row(entry.entry_id, cells, (entry.at, entry.event, key, entry.client))
