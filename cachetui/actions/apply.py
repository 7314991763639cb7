"""The one writer: runs a plan once, counts every reply, and keeps the journal.

Nothing else in cachetui calls `Source.execute`. No command is ever sent twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cachetui.actions.journal import Journal, who
from cachetui.actions.plan import Command, Plan, refuse_replica, render
from cachetui.actions.plan.commands import valid_memcached_word
from cachetui.actions.tally import Failure, Outcome, Progress, Tally
from cachetui.errors import CacheError, Denied, Refused, ServerError, Unsupported
from cachetui.model import JournalEntry
from cachetui.source.base import Source
from cachetui.text import printable

__all__ = ["Failure", "Guard", "Outcome", "Progress", "apply"]

CONTAINERS = frozenset(
    b"ACL CLIENT CLUSTER CONFIG DEBUG FUNCTION LATENCY MEMORY MODULE OBJECT SCRIPT SLOWLOG XGROUP".split()
)
"""Commands whose flags depend on their second word."""
READ = "readonly"
CHANGES = frozenset({"write", "admin", "dangerous"})

KEYS_CHECKED = 20
COMMANDS_JOURNALLED = 20


@dataclass(frozen=True, slots=True)
class Guard:
    """Whether writes are allowed here at all."""

    read_only: bool
    reason: str = ""
    """Where read-only came from: `--read-only`, `profile prod`."""

    def check(self, flags: dict[str, frozenset[str] | None]) -> None:
        """Raise Refused in read-only mode unless the server itself says that every command only reads."""
        if not self.read_only:
            return
        for name, known in flags.items():
            if known is None or READ not in known or known & CHANGES:
                because = f" ({self.reason})" if self.reason else ""
                raise Refused(f"read-only{because}: {name} was not sent", "nothing was changed")


async def apply(
    plan: Plan,
    source: Source,
    *,
    journal: Journal,
    guard: Guard,
    progress: Callable[[Progress], None] | None = None,
    cancel: asyncio.Event | None = None,
) -> Outcome:
    """Run `plan` on `source`, once, and return what became of it.

    Raises Refused (or another CacheError) before anything is sent when the plan is expired,
    was applied before, belongs to another target, when `guard` or the server's role forbids
    it, or when the journal cannot be written. From the first command on, failures are counted
    in the outcome. `cancel` stops it between two batches; a cancelled task leaves the same
    honest journal behind.
    """
    _check_plan(plan, source)
    survey = await asyncio.to_thread(_survey, plan, journal)
    await _check_server(plan, source, guard, survey)
    entry = _begin(plan, journal, survey)
    tally = Tally(left=len(plan.steps))
    trouble = ""
    try:
        await _run(plan, source, tally, progress, cancel)
    except CacheError as error:
        tally.reason = error.line()
    finally:
        # On every way out, a cancelled task's and a defect's too: the journal must say how far it went.
        trouble = _end(journal, entry, tally)
    verified, checks = await _verify(plan, source, tally)
    return tally.outcome(verified, (*checks, trouble) if trouble else checks)


@dataclass(frozen=True, slots=True)
class _Survey:
    """What one pass over all commands found."""

    names: tuple[str, ...]
    """Distinct command names, with `|` before a subcommand."""
    summary: tuple[str, ...]
    """The commands as the journal keeps them."""


def _survey(plan: Plan, journal: Journal) -> _Survey:
    """Pass over every command that will be sent, whoever made the plan; in a thread, for it may be a million."""
    if journal.has(plan.id):
        raise Refused(*_APPLIED)
    names: dict[str, None] = {}
    memcached = plan.kind == "memcached"
    for command in plan.commands():
        if not command or (memcached and not all(map(valid_memcached_word, command))):
            raise Refused(f"not a command: {render(command, 80)!r}", "nothing was changed")
        names[_name(command)] = None
    summary = plan.preview_commands(COMMANDS_JOURNALLED)
    return _Survey(tuple(names), (*summary, f"sha256 {plan.digest()}"))


def _name(command: Command) -> str:
    word = command[0].upper()
    if word in CONTAINERS and len(command) > 1:
        return printable(word + b"|" + command[1].upper(), 80)
    return printable(command[0], 80)


def _check_plan(plan: Plan, source: Source) -> None:
    if not plan.steps:
        raise Refused("the plan holds no commands", "nothing was changed")
    if time.time() >= plan.expires_at:
        raise Refused("the plan has expired: the server may have changed since", "make it again and look at it")
    if plan.target != source.name:
        raise Refused(f"the plan is for {plan.target}, not for {source.name}", "nothing was changed")


async def _check_server(plan: Plan, source: Source, guard: Guard, survey: _Survey) -> None:
    """Ask the server what these commands are and what it is itself; raise unless both allow the plan."""
    try:
        flags = await _flags(source, survey.names)
    except (Denied, Unsupported):
        if not _without_flags(source):
            raise
        flags = dict.fromkeys(survey.names)
    guard.check(flags)
    identity = source.identity or await source.open()
    if identity.kind != plan.kind:
        raise Refused(f"the plan is for {plan.kind}, and this is {identity.kind} now", "make it again")
    if any(known is not None and "write" in known for known in flags.values()):
        refuse_replica(identity)
    unknown = [name for name, known in flags.items() if known is None]
    if unknown and not _without_flags(source):
        raise Unsupported(f"this server does not know {', '.join(unknown)}", "nothing was changed")


def _without_flags(source: Source) -> bool:
    """Tell whether COMMAND itself is denied: then nothing is known of any command, and the server judges alone."""
    return any(name.partition(" ")[0] == "COMMAND" for name in source.denied)


async def _flags(source: Source, names: Sequence[str]) -> dict[str, frozenset[str] | None]:
    """Return flags by name; a server without flags of subcommands (before 7.0) answers for the whole command."""
    asked = dict.fromkeys((*names, *(name.partition("|")[0] for name in names)))
    found = await source.flags(tuple(asked))
    return {
        name: flags if (flags := found.get(name)) is not None else found.get(name.partition("|")[0]) for name in names
    }


_APPLIED = ("this plan was applied before", "a plan runs once: make it again")
_begun: set[str] = set()
"""Receipts of this process, whichever journal they went to."""


def _begin(plan: Plan, journal: Journal, survey: _Survey) -> JournalEntry:
    """Write `started` to the journal. Never awaits: nothing may come between the check and the entry."""
    if plan.id in _begun:
        raise Refused(*_APPLIED)
    entry = JournalEntry(
        at=time.time(),
        receipt=plan.id,
        user=who(),
        target=plan.target,
        title=plan.title,
        commands=survey.summary,
        outcome="started",
        left=len(plan.steps),
        undo=plan.undo,
    )
    try:
        journal.append(entry)
    except CacheError as error:
        raise Refused(f"{error.message}: nothing was sent", error.hint) from error
    _begun.add(plan.id)
    return entry


def _end(journal: Journal, entry: JournalEntry, tally: Tally) -> str:
    """Write the end to the journal; return what to tell when that fails, for the writes are done."""
    ended = replace(
        entry,
        outcome=tally.state(),
        done=tally.done,
        missing=tally.missing,
        failed=tally.failed,
        left=tally.left,
        unknown=tally.in_flight,
        error=tally.reason,
    )
    try:
        journal.append(ended)
    except CacheError as error:
        return f"{error.message}: it still says `started`"
    return ""


async def _run(
    plan: Plan,
    source: Source,
    tally: Tally,
    progress: Callable[[Progress], None] | None,
    cancel: asyncio.Event | None,
) -> None:
    """Send batch after batch. Returns when all are answered, cancelled, or a whole batch was refused."""
    total = len(plan.steps)
    for start in range(0, total, plan.batch):
        if cancel is not None and cancel.is_set():
            tally.reason = "cancelled"
            return
        batch = list(plan.steps[start : start + plan.batch])
        tally.left -= len(batch)
        tally.in_flight = len(batch)
        replies = await source.execute(batch)
        if len(replies) != len(batch):
            raise ServerError(f"{len(replies)} replies came to {len(batch)} commands")
        tally.in_flight = 0
        failed = tally.count(batch, replies)
        if progress is not None:
            progress(tally.progress())
        if failed == len(batch) and tally.left and tally.last_error is not None:
            tally.reason = f"every command of a batch was refused: {tally.last_error.line()}"
            return
    tally.reason = tally.errors[0].error.line() if tally.errors else ""


async def _verify(plan: Plan, source: Source, tally: Tally) -> tuple[bool | None, tuple[str, ...]]:
    """Look again: does the server show what was done? Returns the answer (None: not checked) and its words."""
    if not tally.done or tally.in_flight:
        return None, ()
    try:
        if plan.expects is not None:
            return await _verify_setting(source, *plan.expects)
        if plan.deletes:
            return await _verify_gone(plan, source, tally)
    except CacheError as error:
        return None, (f"could not be checked: {error.message}",)
    return None, ()


async def _verify_setting(source: Source, name: str, value: str) -> tuple[bool | None, tuple[str, ...]]:
    shown = (await source.config(name)).get(name)
    if shown is None:
        return None, (f"could not be checked: the server does not show {name}",)
    return shown == value, (f"{name} reads {shown}" + ("" if shown == value else f", not {value}"),)


async def _verify_gone(plan: Plan, source: Source, tally: Tally) -> tuple[bool | None, tuple[str, ...]]:
    step = max(1, tally.answered // KEYS_CHECKED)
    keys = [plan.steps[at][1] for at in range(0, tally.answered, step)][:KEYS_CHECKED]
    facts = (await source.facts(keys, size=False)).facts
    there = sum(known.exists for known in facts)
    if not there:
        return True, (f"{len(keys):,} of the keys were looked up again: gone",)
    # Not a failure of ours: failed ones are counted, and a client may have written a key again.
    return None, (f"{there:,} of {len(keys):,} keys looked up again exist: refused, or written again since",)
