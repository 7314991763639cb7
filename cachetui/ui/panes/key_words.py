"""What the lines above the list of keys say: how far a pass is, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable

from cachetui import text
from cachetui.model import ScanProgress
from cachetui.ui.browse import Browse

BAR_COLUMNS = 20
SHORT_BAR_COLUMNS = 12


def bar(share: float, columns: int = BAR_COLUMNS, *, ascii_only: bool = False) -> str:
    """Return a progress bar.

    >>> bar(0.5, 4), bar(0.5, 4, ascii_only=True)
    ('██░░', '##--')
    """
    full = round(columns * max(0.0, min(1.0, share)))
    return ("#" if ascii_only else "█") * full + ("-" if ascii_only else "░") * (columns - full)


def scan_words(progress: ScanProgress, *, ascii_only: bool = False) -> str:
    """Return how far an enumeration is, in one line."""
    parts = []
    if progress.total:
        parts.append(bar(progress.seen / progress.total, ascii_only=ascii_only))
        parts.append(text.percent(min(100.0, 100 * progress.seen / progress.total), 0))
    parts.append(f"{text.count(progress.seen)} of {text.count(progress.total)}")
    if progress.state == "paused":
        parts.append("paused: K goes on")
    else:
        parts.append(f"{text.count(round(progress.per_s))}/s")
        if progress.left_s is not None and progress.left_s >= 1:
            parts.append(f"{text.duration(round(progress.left_s))} left")
    if progress.note:
        parts.append(progress.note)
    return "  ".join(parts)


def measure_words(progress: ScanProgress, *, ascii_only: bool = False) -> str:
    """Return how far "measure all" is, in one line."""
    share = progress.share if progress.share is not None else progress.seen / max(1, progress.total or 0)
    words = (
        f"measuring {bar(share, ascii_only=ascii_only)}  {text.count(progress.seen)} of {text.count(progress.total)}"
    )
    if progress.state == "paused":
        return f"{words}  paused: K goes on, M stops it"
    left = "-" if progress.left_s is None else text.duration(round(progress.left_s))
    note = f"  {progress.note}" if progress.note else ""
    return f"{words}  {text.count(round(progress.per_s))}/s  {left} left: M stops it{note}"


def held_words(browse: Browse) -> Iterable[str]:
    """Yield what is missing from the list, and why."""
    if not browse.index.complete:
        yield (
            f"holds {text.count(browse.index.total)} keys in {text.size(browse.index.used_bytes)};"
            f" {text.count(browse.index.left_out)} more did not fit: filter on the server with K"
        )
    if browse.stopped:
        yield "the scan was stopped: this is a part of the keys; r scans again"
    elif browse.progress is not None and browse.progress.note:
        yield browse.progress.note
    if browse.measured_note:
        yield f"measured: {browse.measured_note}"


def scope_words(browse: Browse) -> str:
    """Return what the server was asked to leave out."""
    parts = []
    if browse.scope.match is not None:
        parts.append(f"match {text.printable(browse.scope.match)}")
    if browse.scope.type_ is not None:
        parts.append(f"type {text.printable(browse.scope.type_)}")
    return f"only {', '.join(parts)}, chosen by the server: K changes it"
