"""The latency pane: the round trip and the server's share of it, latency events, and how long commands take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cachetui import text
from cachetui.model import Stats
from cachetui.model.latency import LatencyEvent, LatencyHistogram
from cachetui.source.base import Kind
from cachetui.ui.line import Line, line
from cachetui.ui.panes.pane import TablePane
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row, Table

EVENTS = 4
"""Events told at most."""
LONG_MS = 100
_COLUMNS = (
    Column("command", 24),
    Column("calls", 8, "right"),
    Column("half in", 9, "right"),
    Column("99% in", 9, "right"),
    Column("99.9% in", 9, "right"),
    Column("longest", 9, "right"),
)


class LatencyPane(TablePane):
    """LATENCY LATEST, HISTOGRAM and DOCTOR; and what of the round trip is the network's."""

    DEFAULT_CSS = "LatencyPane { height: 2fr; max-height: 16; }"
    heading = "Latency"
    kinds: ClassVar[tuple[Kind, ...]] = ("slowlog", "stats")

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.table = Table(_COLUMNS)

    def notes(self, scene: Scene) -> list[Line]:
        width, log, stats = self.content_size.width, scene.evidence.slowlog, scene.evidence.stats
        lines = [line((text.fit(round_trip_words(stats), width), ""))] if stats is not None else []
        latency = log.latency if log is not None else None
        if latency is None:
            return lines
        lines += [_event_line(event, scene.now, width) for event in latency.events[:EVENTS]]
        if latency.threshold_ms == 0:
            words = "events are not watched for: latency-monitor-threshold is 0 (100 is usual)"
            lines.append(line((text.fit(words, width), "muted")))
        elif not latency.events and latency.threshold_ms is not None:
            lines.append(line((text.fit(f"no event of {latency.threshold_ms} ms or more", width), "muted")))
        return lines

    def rows(self, scene: Scene) -> Sequence[Row]:
        log = scene.evidence.slowlog
        histograms = log.latency.histograms if log is not None and log.latency is not None else ()
        return [_row(histogram) for histogram in histograms]

    def empty_words(self, scene: Scene) -> str:
        log = scene.evidence.slowlog
        return "waiting" if log is None else "this server keeps no histograms of its commands"

    def copied(self) -> str:
        """Return LATENCY DOCTOR's words where there are any, else the row."""
        log = self.scene.evidence.slowlog if self.scene is not None else None
        doctor = log.latency.doctor if log is not None and log.latency is not None else ""
        return doctor or super().copied()


def round_trip_words(stats: Stats) -> str:
    """Return how long one round trip takes, and how much of it the server itself needs."""
    if stats.latency_us is None:
        return "round trip unknown"
    words = f"round trip {text.duration(round(stats.latency_us, -2) / 1e6)}"
    ping = next((command for command in stats.commands if command.name == "ping" and command.calls), None)
    if ping is None:
        return words
    own_us = ping.usec / ping.calls
    return f"{words}: the server needs {text.duration(own_us / 1e6)} of it, the rest is the way and its queue"


def percentile_us(histogram: LatencyHistogram, percent: float) -> int:
    """Return the bound within which `percent` of the calls ended."""
    wanted, seen = sum(histogram.within) * percent / 100, 0
    for bound, count in zip(histogram.upto_us, histogram.within, strict=True):
        seen += count
        if seen >= wanted:
            return bound
    return histogram.upto_us[-1]


def _row(histogram: LatencyHistogram) -> Row:
    figures = (*(percentile_us(histogram, percent) for percent in (50, 99, 99.9)), histogram.upto_us[-1])
    cells = [(text.printable(histogram.command, 24), ""), (text.count(histogram.calls), "")]
    for figure in figures:
        style = "bad" if figure >= 1_000_000 else "warn" if figure >= 10_000 else ""
        cells.append((text.duration(figure / 1e6), style))
    return Row(histogram.command, tuple(cells), (histogram.command, histogram.calls, *figures))


def _event_line(event: LatencyEvent, now: float, width: int) -> Line:
    when = text.clock(event.at, now)
    words = f"{event.name}: {event.latest_ms} ms at {when}, worst {event.worst_ms} ms"
    return line((text.fit(f"! {words}", width), "bad" if event.latest_ms >= LONG_MS else "warn"))
