"""Rules about what `cachetui.patterns` keeps: queues of write-behind, dead letters, locks."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.rules.rule import Problem
from cachetui.model import Evidence, KeyFacts
from cachetui.model.conventions import recognise

BACKLOG, BACKLOG_HIGH = 1000, 50_000
"""Updates that wait for the database: a flusher takes hundreds at once."""
STAYING = 0.1
"""More than this part of a namespace's keys never expires, as far as the sample tells."""
NAMES = 3


def _of_kind(evidence: Evidence, kind: str) -> list[KeyFacts]:
    known = () if evidence.prefixes is None else evidence.prefixes.conventions
    return [one for one in known if one.exists and (said := recognise(one.key)) is not None and said.kind == kind]


def _names(found: list[KeyFacts]) -> str:
    more = f" and {len(found) - NAMES} more" if len(found) > NAMES else ""
    return ", ".join(text.printable(one.key, 60) for one in found[:NAMES]) + more


def backlog(evidence: Evidence) -> Problem | None:
    found = [one for one in _of_kind(evidence, "stream") if (one.length or 0) >= BACKLOG]
    if not found:
        return None
    waiting = sum(one.length or 0 for one in found)
    return Problem(
        "high" if waiting >= BACKLOG_HIGH else "medium",
        f"{text.count(waiting)} updates wait in write-behind queues: {_names(found)}",
        "See whether the flusher runs and the database keeps up: until then readers of the database see old values.",
        {"updates": waiting, "queues": [text.printable(one.key, 200) for one in found]},
        tuple(f"XINFO GROUPS {text.printable(one.key, 200)}" for one in found[:NAMES]),
    )


def dead_letters(evidence: Evidence) -> Problem | None:
    found = [one for one in _of_kind(evidence, "dead-letters") if one.length]
    if not found:
        return None
    dead = sum(one.length or 0 for one in found)
    return Problem(
        "medium",
        f"{text.count(dead)} updates were refused by the database and lie in dead letters: {_names(found)}",
        "Read them, mend the cause, and put them again; they are written nowhere else.",
        {"updates": dead, "streams": [text.printable(one.key, 200) for one in found]},
        tuple(f"XRANGE {text.printable(one.key, 200)} - + COUNT 10" for one in found[:NAMES]),
    )


def locks_for_ever(evidence: Evidence) -> Problem | None:
    found = [one for one in _of_kind(evidence, "lock") if one.has_ttl is False]
    if not found:
        return None
    return Problem(
        "medium",
        f"{len(found)} locks never end by themselves: {_names(found)}",
        "A lock needs a lease (SET ... NX PX): its holder may have died. Delete it once nobody holds it.",
        {"locks": [text.printable(one.key, 200) for one in found]},
    )


def staying_versions(evidence: Evidence) -> Problem | None:
    shown = evidence.prefixes
    if shown is None:
        return None
    spaces = {said.of for one in _of_kind(evidence, "version") if (said := recognise(one.key)) is not None}
    rows = [
        row
        for row in shown.rows
        if row.prefix[:-2] in spaces and row.without_ttl is not None and row.without_ttl.low > STAYING
    ]
    if not rows:
        return None
    names = ", ".join(text.printable(row.prefix, 60) for row in rows[:NAMES])
    return Problem(
        "medium",
        f"Keys of versions without a TTL: {names}",
        "Give each a TTL: after the next version nobody reads the old ones, and they stay for ever.",
        {"prefixes": [text.printable(row.prefix, 200) for row in rows]},
    )
