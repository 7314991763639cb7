"""Commands that look once: slowlog, topology, log."""

from __future__ import annotations

import base64
import time
from datetime import datetime

from cachetui.cli.call import Call, poll_once
from cachetui.cli.output import columns, document, iso, write_document, write_line, write_lines
from cachetui.errors import BadUsage
from cachetui.model import JournalEntry, SlowEntry, SlowLog
from cachetui.text import UNKNOWN, clean_utf8, duration, printable

ARGS_SHOWN = 32
ARG_CHARACTERS = 200


def slowlog(call: Call) -> int:
    """Print the slow log, newest first. Exit code 5 where it is denied."""
    target, _ = call.target()
    name, log = poll_once(target, "slowlog")
    assert isinstance(log, SlowLog)
    from cachetui.feeds.redact import redacted

    log = redacted(log)
    if call.json:
        head = document("slowlog", name, log.taken_at)
        head |= {"total": log.total, "thresholdUs": log.threshold_us, "note": log.note, "skipped": log.skipped}
        write_document({**head, "entries": [_slow_document(entry) for entry in log.entries]})
        return 0
    rows = [(_when(e.at), duration(_seconds(e.duration_us)), e.client or UNKNOWN, _command(e)) for e in log.entries]
    write_lines(columns(rows, "lrll"))
    _narrate_slowlog(call, log)
    return 0


def _narrate_slowlog(call: Call, log: SlowLog) -> None:
    if log.note:
        call.tell(log.note)
    if log.threshold_us is not None and log.threshold_us < 0:
        call.tell("the slow log is switched off (slowlog-log-slower-than is negative)")
    if not log.entries:
        call.tell("no entries")


def _slow_document(entry: SlowEntry) -> dict[str, object]:
    return {
        "id": entry.entry_id,
        "at": iso(entry.at),
        "durationUs": entry.duration_us,
        "command": _command(entry),
        "args": [_argument(arg) for arg in entry.args],
        "client": entry.client,
        "clientName": entry.client_name,
        "event": entry.event,
    }


def _argument(arg: bytes) -> str | dict[str, str]:
    text = clean_utf8(arg)
    return text if text is not None else {"base64": base64.b64encode(arg).decode()}


def _command(entry: SlowEntry) -> str:
    shown = " ".join(printable(arg, ARG_CHARACTERS) for arg in entry.args[:ARGS_SHOWN])
    more = f" ... ({len(entry.args)} arguments)" if len(entry.args) > ARGS_SHOWN else ""
    return f"{entry.event} {shown}{more}".strip()


def log(call: Call) -> int:
    """Print the journal, newest first."""
    from cachetui.actions.journal import Journal, default_path
    from cachetui.actions.undo import ended, is_whole

    if call.words:
        raise BadUsage("log takes no target", "the journal is of all targets")
    path = default_path()
    journal = Journal(path)
    everything = ended(journal)
    undone = {entry.undoes: entry.receipt for entry in everything if is_whole(entry)}
    entries = [entry for entry in everything if _wanted(call, entry)][: call.options.limit]
    if call.json:
        head = {"schema": 1, "operation": "log", "status": "success", "journal": printable(str(path))}
        write_document({**head, "entries": [_entry_document(entry, undone) for entry in entries]})
        return 0
    for entry in entries:
        write_line(f"{_when(entry.at)}  {entry.outcome:<12}{entry.receipt}  {entry.title}")
        write_line(f"    {entry.target}, by {entry.user}: {_tally(entry)}")
        write_lines(f"    {command}" for command in entry.commands)
        by = undone.get(entry.receipt, "")
        more = (("error", entry.error), ("undoes", entry.undoes), ("undone by", by), ("undo", "" if by else entry.undo))
        write_lines(f"    left alone: {words}" for words in entry.left_alone)
        write_lines(f"    {label}: {text}" for label, text in more if text)
    if not entries:
        call.tell(f"nothing was done yet ({printable(str(path))})")
    return 0


def _wanted(call: Call, entry: JournalEntry) -> bool:
    options = call.options
    if options.since is not None and entry.at < time.time() - options.since:
        return False
    if options.of_target is not None and options.of_target not in entry.target:
        return False
    if options.outcome is not None and options.outcome != entry.outcome:
        return False
    texts = (entry.title, entry.user, entry.receipt, *entry.commands)
    return options.grep is None or any(options.grep in text for text in texts)


def _tally(entry: JournalEntry) -> str:
    others = (
        (entry.missing, "gone already"),
        (entry.skipped, "left alone"),
        (entry.failed, "failed"),
        (entry.unknown, "unknown"),
        (entry.left, "not sent"),
    )
    return ", ".join([f"{entry.done:,} done", *(f"{number:,} {words}" for number, words in others if number)])


def _entry_document(entry: JournalEntry, undone: dict[str, str]) -> dict[str, object]:
    return {
        "at": iso(entry.at),
        "receipt": entry.receipt,
        "outcome": entry.outcome,
        "title": entry.title,
        "target": entry.target,
        "user": entry.user,
        "commands": list(entry.commands),
        "done": entry.done,
        "missing": entry.missing,
        "skipped": entry.skipped,
        "failed": entry.failed,
        "unknown": entry.unknown,
        "left": entry.left,
        "error": entry.error or None,
        "undo": entry.undo or None,
        "undoes": entry.undoes or None,
        "undoneBy": undone.get(entry.receipt),
        "leftAlone": list(entry.left_alone),
    }


def _when(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return UNKNOWN


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / 1e6
