"""The slow pane: the slow log as it is or grouped by shape; for Memcached live events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from cachetui import text
from cachetui.analysis.heat import heat
from cachetui.analysis.slow import SlowGroup, group, prefix
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
_EVENTS = (Column("at", 11), Column("event", 10), Column("key"), Column("client", 38, wide_only=90))
_GROUPS = (
    Column("times", 6, "right"),
    Column("total", 8, "right"),
    Column("worst", 8, "right"),
    Column("shape"),
    Column("last", 11),
)
_EVENT_GROUPS = (Column("times", 6, "right"), Column("event and shape"), Column("last", 11))
By = Literal["", "shape", "prefix"]
_NEXT: dict[By, By] = {"": "shape", "shape": "prefix", "prefix": ""}
HEAT_FROM = 18
"""Rows from which there is room for the heat map."""
HEAT_LABEL = 9
_SHADES, _ASCII_SHADES = " ░▒▓█", " .:*#"


def heat_lines(entries: Sequence[SlowEntry], now: float, width: int, *, ascii_only: bool = False) -> list[Line]:
    """Return the entries as shades: time from left to right, the longest on top."""
    spans = max(0, width - HEAT_LABEL - 1)
    found = heat(entries, spans, now)
    if found is None:
        return []
    shades = _ASCII_SHADES if ascii_only else _SHADES
    most = max(max(row) for row in found.counts)
    lines = []
    for least_us, row in zip(found.least_us, found.counts, strict=True):
        # Any shade means some: one among hundreds must not look like none.
        drawn = "".join(shades[0 if not number else 1 + (len(shades) - 2) * number // most] for number in row)
        label = f">{text.duration(least_us / 1e6)}" if least_us else "shorter"
        style = "bad" if least_us >= 300_000 else "warn" if least_us >= 30_000 else "accent"
        lines.append(line((text.fit(label, HEAT_LABEL, "right") + " ", "muted"), (drawn, style)))
    span, reach = text.duration(found.span_s), text.duration(found.span_s * spans)
    words = f"each column {span}, {reach} in all; {shades[-1]} = {most}"
    return [*lines, line((" " * (HEAT_LABEL + 1) + text.fit(words, spans), "muted"))]


class SlowPane(TablePane):
    """SLOWLOG newest first; `b` groups it by command shape, and then by prefix."""

    heading = "Slow"
    kinds: ClassVar[tuple[Kind, ...]] = ("slowlog",)
    detail_rows = 5

    def __init__(self, *, id: str, by: By = "") -> None:
        super().__init__(id=id)
        self.table = Table(_ENTRIES, follows=True)
        self.by: By = by

    def title(self, scene: Scene) -> str:
        log = scene.evidence.slowlog
        words = super().title(scene)
        if log is None:
            return words
        if log.threshold_us is not None and log.threshold_us >= 0:
            words += f" · over {text.duration(log.threshold_us / 1e6)}"
        elif log.threshold_us is not None:
            words += " · switched off (slowlog-log-slower-than -1)"
        return words + (f" · by {self.by}" if self.by else "")

    def notes(self, scene: Scene) -> list[Line]:
        log = scene.evidence.slowlog
        words = [log.note] if log is not None and log.note else []
        if log is not None and log.skipped:
            words.append(f"{text.count(log.skipped)} events came too fast and are not shown")
        if log is not None and log.kept:
            words.append(f"{text.count(log.kept)} of them the server has forgotten; they are kept here")
        if log is not None and log.missed:
            words.append(f"{text.count(log.missed)} came and went between two looks: slowlog-max-len is too small")
        width, height = self.content_size
        lines = [line((text.fit(word, width), "muted")) for word in words]
        if log is not None and height >= HEAT_FROM:
            lines += heat_lines(log.entries, scene.now, width, ascii_only=scene.settings.ascii)
        return lines

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
        if self.by:
            self.table.columns = _EVENT_GROUPS if events else _GROUPS
            found = group(log.entries, prefix if self.by == "prefix" else None)
            return [_group_row(one, events, scene.now) for one in found]
        self.table.columns = _EVENTS if events else _ENTRIES
        return [_event_row(entry, scene.now) if events else _entry_row(entry, scene.now) for entry in log.entries]

    def detail(self, scene: Scene, width: int) -> list[Line]:
        log, row = scene.evidence.slowlog, self.table.current
        if log is None or row is None or self.by:
            return []
        entry = next((e for e in log.entries if _row_id(e) == row.row_id), None)
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
            self.by = _NEXT[self.by]
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
    if entry.size_bytes is not None:
        took = text.size(entry.size_bytes)
    if entry.log:
        command = f"({entry.log}) {command}"
    who = f"{entry.node} < {entry.client}" if entry.node else entry.client
    cells = (
        (text.clock(entry.at, now), "muted"),
        (took, style),
        (command, ""),
        (who, "muted"),
        (entry.client_name, "muted"),
    )
    return Row(_row_id(entry), cells, (entry.at, entry.duration_us, command, who, entry.client_name))


def _row_id(entry: SlowEntry) -> tuple[str, str, int, float]:
    return entry.node, entry.log, entry.entry_id, entry.at


def _event_row(entry: SlowEntry, now: float) -> Row:
    key = " ".join(text.printable(arg, 250) for arg in entry.args)
    who = f"{entry.node} < {entry.client}".removesuffix(" < ") if entry.node else entry.client
    cells = (
        (text.clock(entry.at, now), "muted"),
        (entry.event, "warn" if entry.event == "evict" else ""),
        (key, ""),
        (who, "muted"),
    )
    return Row(_row_id(entry), cells, (entry.at, entry.event, key, who))
