"""The lines around the panes: header, verdict, view bar, footer. Pure: a scene in, one line out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cachetui import text
from cachetui.ui.commands import VIEWS, CommandRow, shown_presses
from cachetui.ui.line import Line, Span, line

if TYPE_CHECKING:
    from cachetui.ui.scene import Scene

NAMED_COLUMNS = 100
"""A narrower header has no room for our own name and the server's age."""

SHORT_TITLE = 3
"""Letters that a view's name keeps at least."""
_FIRST = ("open", "filter")
_ALWAYS = ("help",)
"""Commands that the footer shows on the narrowest screen."""

SIGNS = {"ok": "ok", "warn": "! ", "bad": "!!", "unknown": "? "}


def header(scene: Scene, width: int) -> tuple[Line, Line]:
    """Return two parts: who we look at; whether it is live and what looking costs."""
    left: list[Span] = [(" cachetui " if width >= NAMED_COLUMNS else " ", "muted")]
    if scene.settings.label:
        left.append((f" {text.printable(scene.settings.label, 20)} ", f"label {scene.settings.label_color}"))
        left.append((" ", ""))
    if scene.node:
        left.append((f"node {text.printable(scene.node, 60)} alone", "accent bold"))
        left.append((" (Esc: all)", "muted"))
    else:
        left.append((text.printable(scene.target, 60), "title"))
    identity = scene.identity
    if identity is not None:
        version = f"{identity.kind} {identity.version or ''}".strip()
        left.append((f"  {version}", ""))
        if identity.mode != "standalone":
            left.append((f" {identity.mode}", ""))
        if identity.role and identity.role != identity.mode:
            left.append((f" {identity.role}", "title" if identity.role == "primary" else "warn bold"))
    stats = scene.evidence.stats
    if stats is not None and stats.uptime_s is not None and width >= NAMED_COLUMNS:
        left.append((f"  up {_uptime(stats.uptime_s)}", "muted"))
    right: list[Span] = [("  ", "")]
    if scene.read_only:
        right.append(("read-only  ", "warn"))
    elif scene.armed_s:
        right.append((f"ARMED {_armed(scene.armed_s)}  ", "bad bold"))
    right.append(_live(scene))
    if scene.cost_per_s is not None:
        share = "" if scene.cost_percent is None else f" {_share(scene.cost_percent)}"
        right.append((f"  we: {scene.cost_per_s:.0f} cmd/s{share}", "muted"))
    right.append((" ", ""))
    room = width - sum(text.cells(part) for part, _ in right)
    return Line(tuple(_cut(left, room))), Line(tuple(right))


def _armed(seconds: float) -> str:
    """Return the time left: in minutes while there are several.

    >>> _armed(299.2), _armed(60.5), _armed(59.5), _armed(0.2)
    ('5m', '2m', '60s', ' 1s')
    """
    return f"{math.ceil(seconds / 60)}m" if seconds > 60 else f"{math.ceil(seconds):>2}s"


def _live(scene: Scene) -> Span:
    if scene.frozen:
        return ("FROZEN", "accent bold")
    if scene.stale_since is not None:
        return (f"STALE since {text.clock(scene.stale_since, scene.now)}", "bad bold")
    if scene.evidence.trouble is not None:
        return ("NO ANSWER", "bad bold")
    if scene.replay:
        return (f"replay {scene.replay}", "accent")
    return ("live", "ok") if scene.evidence.stats is not None else ("connecting", "muted")


def _uptime(seconds: int) -> str:
    if seconds < 60:
        return "<1m"
    if seconds < 3600:
        return f"{seconds // 60}m"
    return f"{seconds // 3600}h" if seconds < 86400 else f"{seconds // 86400}d"


def _share(percent: float) -> str:
    return "<0.1%" if percent < 0.1 else f"{percent:.1f}%"


def _cut(spans: Iterable[Span], width: int) -> list[Span]:
    kept: list[Span] = []
    for part, style in spans:
        room = width - sum(text.cells(done) for done, _ in kept)
        if room <= 0:
            break
        kept.append((part if text.cells(part) <= room else text.fit(part, room), style))
    return kept


def verdict(scene: Scene, width: int) -> Line:
    """The one line that answers: is it up, and what is worst."""
    level = scene.verdict.level
    words = text.fit(text.printable(scene.verdict.text), max(0, width - 4))
    return line((f" {SIGNS.get(level, '? ')} ", f"{level} bold"), (words, "" if level == "ok" else level))


def view_bar(current: str, width: int) -> Line:
    """The views by their number presses; where there is little room the names of the others are cut."""
    spans: list[Span] = []
    needed = sum(len(shown_presses(row.press)) + len(row.title) + 2 for row in VIEWS)
    longest = max(len(row.title) for row in VIEWS)
    while needed > width and longest > SHORT_TITLE:
        longest -= 1
        needed -= sum(len(row.title) > longest for row in VIEWS if row.id != current)
    for row in VIEWS:
        chosen = row.id == current
        spans.append((f" {shown_presses(row.press)} ", "accent" if chosen else "muted"))
        spans.append((row.title, "title") if chosen else (row.title[:longest], "muted"))
        if needed + len(VIEWS) <= width:
            spans.append((" ", ""))
    return Line(tuple(_cut(spans, width)))


def footer_rows(rows: Iterable[CommandRow], view_id: str, kind: str = "") -> list[CommandRow]:
    """Return the rows for the footer of a view: what is of this view, or changes something, before what is anywhere.

    `kind` is the server's, where it is known: what never works there is left out.
    """
    other = {"": "", "memcached": "redis"}.get(kind, "memcached")
    here = [row for row in rows if row.footer and (not row.where or view_id in row.where)]
    here = [row for row in here if not row.kind or row.kind != other]
    return sorted(here, key=lambda row: 0 if row.id in _FIRST else 1 if row.where or row.risk != "none" else 2)


def footer(rows: Iterable[tuple[CommandRow, str]], width: int) -> Line:
    """The presses that matter here; one that does nothing now is dimmed. Whatever does not fit, the help does."""
    shown = list(rows)
    spans: list[Span] = []
    left = width - sum(_cells(row) for row, _ in shown if row.id in _ALWAYS)
    for row, why_not in shown:
        need = 0 if row.id in _ALWAYS else _cells(row)
        if need > left:
            left = 0  # what follows matters less: nothing of it stands in the place of this
            continue
        left -= need
        off = bool(why_not)
        spans += [
            (f" {_first_press(row)} ", "muted" if off else "accent"),
            (f"{row.title} ", "muted" if off or row.risk == "none" else "warn"),
        ]
    return Line(tuple(spans))


def _first_press(row: CommandRow) -> str:
    return shown_presses(row.press).split(" ")[0]


def _cells(row: CommandRow) -> int:
    return len(_first_press(row)) + len(row.title) + 3
