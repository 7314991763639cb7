"""How far a plan is that runs: lines of steady width, so that nothing jumps while the figures move."""

from __future__ import annotations

import time
from collections import deque

from cachetui import text
from cachetui.actions.apply import Pacer, Progress
from cachetui.ui.line import Line, line
from cachetui.ui.panes.key_words import bar

ROWS = 6
LABEL, FIGURE = 12, 10
"""Columns; three of both fit a terminal of 80."""
SPAN_S = 3.0
"""The speed that is shown is that of so many seconds."""


class Speed:
    """How many keys a second are settled just now."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self.per_s = 0.0

    def take(self, settled: int, now: float | None = None) -> None:
        """Take in how many keys are settled at the moment `now` (seconds of a clock that only goes on).

        >>> speed = Speed()
        >>> speed.take(0, 0.0), speed.take(100, 1.0), speed.per_s
        (None, None, 100.0)
        >>> [speed.take(100, at) for at in (2.0, 3.0, 4.0)], speed.per_s
        ([None, None, None], 0.0)
        """
        now = time.monotonic() if now is None else now
        self._seen.append((now, settled))
        while len(self._seen) > 2 and now - self._seen[0][0] >= SPAN_S:
            self._seen.popleft()
        then, before = self._seen[0]
        if now > then:
            self.per_s = max(0.0, (settled - before) / (now - then))


def settled_of(progress: Progress) -> int:
    """Return of how many keys it is known what became of them."""
    return progress.done + progress.failed + progress.missing + progress.skipped


def meter(
    progress: Progress, pacer: Pacer, per_s: float, width: int, *, ended: bool = False, ascii_only: bool = False
) -> list[Line]:
    """Return the lines on a plan that runs at `per_s` keys a second, or has ended."""
    settled = settled_of(progress)
    total = settled + progress.left
    share = settled / total if total else 1.0
    if not ended:
        share = min(share, 0.99)  # of a rule the number was an estimate: there may be more
    waits = ended or pacer.paused or per_s <= 0
    left_s = progress.left / per_s if progress.left and not waits else None
    others = text.UNKNOWN if progress.p99_us is None else f"{progress.p99_us / 1000:.1f} ms"
    limit = "none" if pacer.rate is None else text.rate(pacer.rate)
    kept = text.UNKNOWN if progress.kept_bytes is None else text.size(progress.kept_bytes)
    return [
        line((bar(share, max(1, width - 6), ascii_only=ascii_only), "accent"), f"  {int(share * 100):>3}%"),
        _row(("done", f"{progress.done:,}", ""), ("left", f"{progress.left:,}", ""), _bad("failed", progress.failed)),
        _row(("gone already", f"{progress.missing:,}", ""), _warn("left alone", progress.skipped), ("kept", kept, "")),
        _row(
            ("speed", text.rate(per_s), ""),
            ("limit", limit, ""),
            ("time left", text.UNKNOWN if left_s is None else text.duration(left_s), ""),
        ),
        _row(("others wait", others, "")),
        line((text.fit(_state(progress, pacer, ended=ended), width), "warn")),
    ]


def _state(progress: Progress, pacer: Pacer, *, ended: bool) -> str:
    if ended:
        return ""
    return "paused: Space goes on" if pacer.paused else progress.note


def _row(*cells: tuple[str, str, str]) -> Line:
    spans = []
    for label, figure, style in cells:
        spans += [(text.fit(label, LABEL), "muted"), (text.fit(figure, FIGURE, "right"), style), (" ", "")]
    return line(*spans[:-1])


def _bad(label: str, number: int) -> tuple[str, str, str]:
    return label, f"{number:,}", "bad" if number else ""


def _warn(label: str, number: int) -> tuple[str, str, str]:
    return label, f"{number:,}", "warn" if number else ""
