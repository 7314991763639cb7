"""Rules about data on disk."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.growth import error_growth
from cachetui.analysis.rules.rule import Problem
from cachetui.model import Evidence


def save_failed(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or stats.save_ok is not False:
        return None
    ago = max(0.0, evidence.taken_at - stats.last_save_at) if stats.last_save_at else None
    last = "" if ago is None else f", the last good one {text.duration(ago)} ago"
    unsaved = f", {text.count(stats.changes_since_save)} changes unsaved" if stats.changes_since_save else ""
    return Problem(
        "high",
        f"The last save to disk failed{last}{unsaved}; writes may be refused",
        "Make room on the disk, mend the directory's permissions or give the fork memory; then BGSAVE.",
        {
            "last_save_s_ago": None if ago is None else round(ago, 1),
            "changes_since_save": stats.changes_since_save,
        },
        ("BGSAVE", "CONFIG SET stop-writes-on-bgsave-error no"),
    )


def writes_refused(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    refused = error_growth(evidence, "MISCONF")
    if stats is None or refused is None or refused.amount <= 0:
        return None
    mended = stats.save_ok is True and stats.aof_write_ok is not False and refused.since_start
    return Problem(
        "low" if mended else "high",
        f"Writes are refused, saving to disk failed: {text.count(refused.amount)} MISCONF replies {refused.words}",
        "Make room on the disk or mend its permissions, then BGSAVE; reads still work."
        if not mended
        else "It has been mended since: the last save is ok.",
        {"misconf_errors": int(refused.amount), "save_ok": stats.save_ok, **refused.facts()},
        () if mended else ("BGSAVE", "CONFIG SET stop-writes-on-bgsave-error no"),
    )


def aof_failed(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or stats.aof_write_ok is not False or stats.aof_enabled is False:
        return None
    return Problem(
        "high",
        "The append-only file cannot be written: writes are refused until it can",
        "Make room on the disk or mend its permissions: the server goes on by itself.",
        {"aof_write_ok": False},
    )
