"""Commands that look once: slowlog, topology, log."""

from __future__ import annotations

import base64
import time
from datetime import datetime

from cachetui.cli.call import Call, poll_once
from cachetui.cli.output import columns, document, iso, write_document, write_line, write_lines
from cachetui.errors import BadUsage
from cachetui.model import JournalEntry, Node, SlowEntry, SlowLog, Topology
from cachetui.text import UNKNOWN, clean_utf8, count, duration, printable, size

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


def topology(call: Call) -> int:
    """Print who is who; with `--check`, exit 1 when something is wrong."""
    target, _ = call.target()
    name, seen = poll_once(target, "topology")
    assert isinstance(seen, Topology)
    wrong = bool(call.options.check and seen.problems)
    if call.json:
        server = seen.server
        head = document("topology", name, seen.taken_at)
        head["server"] = {"kind": server.kind, "version": server.version, "mode": server.mode, "role": server.role}
        head |= {"ok": not seen.problems, "summary": seen.summary, "problems": list(seen.problems)}
        write_document({**head, "nodes": [_node_document(node) for node in seen.nodes], "facts": dict(seen.facts)})
        return int(wrong)
    write_line(seen.summary or f"{seen.server.kind} {seen.server.mode}")
    rows = [_node_row(node) for node in seen.nodes]
    write_lines(f"  {line}" for line in columns(rows, "lllll"))
    write_lines(f"  {name}: {value}" for name, value in seen.facts)
    write_lines(f"problem: {problem}" for problem in seen.problems)
    return int(wrong)


def _node_row(node: Node) -> tuple[str, ...]:
    lag = [
        size(node.lag_bytes) if node.lag_bytes is not None else "",
        duration(node.lag_s) if node.lag_s is not None else "",
    ]
    behind = " ".join(filter(None, lag))
    more = [
        f"lag {behind}" if behind else "",
        f"of {node.primary}" if node.primary else "",
        f"slots {node.slots}" if node.slots else "",
        f"{count(node.keys)} keys" if node.keys is not None else "",
        node.version or "",
        node.note,
    ]
    return ("*" if node.myself else " ", node.address, node.role, node.state, ", ".join(filter(None, more)))


def _node_document(node: Node) -> dict[str, object]:
    return {
        "address": node.address,
        "role": node.role,
        "state": node.state,
        "myself": node.myself,
        "id": node.node_id or None,
        "primary": node.primary or None,
        "offset": node.offset,
        "lagBytes": node.lag_bytes,
        "lagSeconds": node.lag_s,
        "slots": node.slots or None,
        "version": node.version,
        "keys": node.keys,
        "usedBytes": node.used_bytes,
        "limitBytes": node.limit_bytes,
        "clients": node.clients,
        "note": node.note,
    }


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
