"""The one writer: runs a plan once, counts every reply, and keeps the journal.

Nothing else in cachetui calls `Source.execute` or `Source.transact`. No command is ever sent twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from cachetui.actions.guard import APPLIED, Guard, Survey, check_plan, check_server, survey
from cachetui.actions.journal import Journal, who
from cachetui.actions.plan import BATCH, Command, Plan, render
from cachetui.actions.plan.new import counted
from cachetui.actions.tally import Failure, Outcome, Progress, Tally
from cachetui.errors import CacheError, Changed, Denied, Refused, ServerError, Unreachable
from cachetui.model import Check, JournalEntry
from cachetui.source.base import Source

__all__ = ["Failure", "Guard", "Outcome", "Progress", "apply"]

KEYS_CHECKED = 20
TOGETHER_BYTES = 1024 * 1024
"""Of new keys so much is written in one transaction: other clients wait for its end."""


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
    check_plan(plan, source)
    found = await asyncio.to_thread(survey, plan, journal)
    await check_server(plan, source, guard, found)
    entry = _begin(plan, journal, found)
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


_begun: set[str] = set()
"""Receipts of this process, whichever journal they went to."""


def _begin(plan: Plan, journal: Journal, found: Survey) -> JournalEntry:
    """Write `started` to the journal. Never awaits: nothing may come between the check and the entry."""
    if plan.id in _begun:
        raise Refused(*APPLIED)
    entry = JournalEntry(
        at=time.time(),
        receipt=plan.id,
        user=who(),
        target=plan.target,
        title=plan.title,
        commands=found.summary,
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
    if plan.fresh:
        await _run_fresh(plan, source, tally, progress, cancel)
        return
    if plan.watched or plan.checks:
        await _run_together(plan, source, tally, progress, cancel)
        return
    total = len(plan.steps)
    for start in range(0, total, plan.batch):
        if cancel is not None and cancel.is_set():
            tally.reason = "cancelled"
            return
        batch = list(plan.steps[start : start + plan.batch])
        failed = await _send(source, tally, batch, progress)
        if _stopped(tally, failed == len(batch)):
            return
    tally.reason = tally.errors[0].error.line() if tally.errors else ""


async def _send(
    source: Source, tally: Tally, batch: Sequence[Command], progress: Callable[[Progress], None] | None
) -> int:
    """Send one batch and return how many of its commands failed."""
    tally.left -= len(batch)
    tally.in_flight = len(batch)
    return _count(tally, batch, await source.execute(batch), progress)


def _count(
    tally: Tally, batch: Sequence[Command], replies: Sequence[object], progress: Callable[[Progress], None] | None
) -> int:
    if len(replies) != len(batch):
        raise ServerError(f"{len(replies)} replies came to {len(batch)} commands")
    tally.in_flight = 0
    failed = tally.count(batch, replies)
    if progress is not None:
        progress(tally.progress())
    return failed


def _stopped(tally: Tally, all_failed: bool) -> bool:
    """Tell whether there is no point in going on, and note why."""
    if not all_failed or not tally.left or tally.last_error is None:
        return False
    tally.reason = f"every command of a batch was refused: {tally.last_error.line()}"
    return True


async def _run_together(
    plan: Plan,
    source: Source,
    tally: Tally,
    progress: Callable[[Progress], None] | None,
    cancel: asyncio.Event | None,
) -> None:
    """Send all commands as one, if everything is still as it was when they were planned."""
    if cancel is not None and cancel.is_set():
        tally.reason = "cancelled"
        return
    batch = list(plan.steps)
    try:
        await _send_together(source, tally, plan.watched, plan.checks, batch, progress=progress)
    except CacheError as error:
        if not tally.in_flight:
            tally.undone(batch, error)
        raise
    tally.reason = tally.errors[0].error.line() if tally.errors else ""


async def _send_together(
    source: Source,
    tally: Tally,
    watched: Sequence[bytes],
    checks: Sequence[Check],
    batch: Sequence[Command],
    *,
    progress: Callable[[Progress], None] | None,
) -> int:
    """Send one batch that is carried out whole or not at all; after an error that means "not" nothing is in flight."""
    tally.left -= len(batch)
    tally.in_flight = len(batch)
    try:
        replies = await source.transact(watched, checks, batch)
    except CacheError as error:
        if error.detail.get("sent", isinstance(error, Unreachable)) is False:
            tally.left += len(batch)
            tally.in_flight = 0
        raise
    return _count(tally, batch, replies, progress)


_ALL_ALIKE = frozenset(("OOM", "READONLY", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "MASTERDOWN", "LOADING"))
"""What a server says to every write alike: there is no point in asking key by key."""

_Group = tuple[bytes, list[Command]]
"""A key that must not exist yet, and what writes it."""


async def _run_fresh(
    plan: Plan,
    source: Source,
    tally: Tally,
    progress: Callable[[Progress], None] | None,
    cancel: asyncio.Event | None,
) -> None:
    """Write keys that are not there yet, many in one transaction; a key that is there by then is left alone."""
    # In a cluster a transaction holds one slot.
    alone = source.identity is not None and source.identity.mode == "cluster"
    skipped = 0
    for groups in _fresh_batches(plan, alone=alone):
        if cancel is not None and cancel.is_set():
            tally.reason = "cancelled"
            return
        failed = tally.failed
        try:
            await _write_fresh(source, tally, groups, progress)
        except (Changed, Denied, ServerError) as error:
            if tally.in_flight:
                raise
            if isinstance(error, ServerError) and error.word in _ALL_ALIKE:
                tally.undone(groups[0][1], error)
                raise
            for group in groups:
                skipped += await _write_one_fresh(source, tally, group, progress)
        if _stopped(tally, tally.failed - failed == sum(len(commands) for _, commands in groups)):
            return
    words = f"left alone, for somebody else has made them: {counted(skipped)}" if skipped else ""
    tally.reason = tally.errors[0].error.line() if tally.errors else words


async def _write_one_fresh(
    source: Source, tally: Tally, group: _Group, progress: Callable[[Progress], None] | None
) -> bool:
    """Write one key; tell whether it was there by then."""
    commands = group[1]
    try:
        await _write_fresh(source, tally, [group], progress)
    except (Changed, Denied, ServerError) as error:
        if tally.in_flight:
            raise
        tally.left -= len(commands)
        if isinstance(error, Changed):
            tally.missing += len(commands)
            return True
        tally.count(commands, [error] * len(commands))
    return False


async def _write_fresh(
    source: Source, tally: Tally, groups: Sequence[_Group], progress: Callable[[Progress], None] | None
) -> None:
    """Write the keys of one batch; what a large key has beyond one transaction follows it."""
    keys = tuple(key for key, _ in groups)
    checks = [Check((b"EXISTS", key), 0, f"the key {render((key,), 80)}") for key in keys]
    commands = [command for _, some in groups for command in some]
    chunks = list(_chunks(commands)) if len(groups) == 1 else [commands]
    await _send_together(source, tally, keys, checks, chunks[0], progress=progress)
    for chunk in chunks[1:]:
        await _send(source, tally, chunk, progress)


def _fresh_batches(plan: Plan, *, alone: bool) -> Iterator[list[_Group]]:
    batch: list[_Group] = []
    commands = held = at = 0
    for key, count in plan.fresh:
        group = key, list(plan.steps[at : at + count])
        at += count
        weight = _weight(group[1])
        if batch and (alone or commands + count > BATCH or held + weight > TOGETHER_BYTES):
            yield batch
            batch, commands, held = [], 0, 0
        batch.append(group)
        commands, held = commands + count, held + weight
    if batch:
        yield batch


def _chunks(commands: Sequence[Command]) -> Iterator[list[Command]]:
    chunk: list[Command] = []
    held = 0
    for command in commands:
        weight = _weight((command,))
        if chunk and (len(chunk) >= BATCH or held + weight > TOGETHER_BYTES):
            yield chunk
            chunk, held = [], 0
        chunk.append(command)
        held += weight
    if chunk:
        yield chunk


def _weight(commands: Sequence[Command]) -> int:
    """Return about how many bytes these commands travel as."""
    return sum(len(word) + 16 for command in commands for word in command)


async def _verify(plan: Plan, source: Source, tally: Tally) -> tuple[bool | None, tuple[str, ...]]:
    """Look again: does the server show what was done? Returns the answer (None: not checked) and its words."""
    if not tally.done or tally.in_flight:
        return None, ()
    try:
        if plan.expects is not None:
            return await _verify_setting(source, *plan.expects)
        if plan.deletes:
            return await _verify_gone(plan, source, tally)
        if plan.shows and tally.done == len(plan.steps):
            return await _verify_shown(plan, source)
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


async def _verify_shown(plan: Plan, source: Source) -> tuple[bool | None, tuple[str, ...]]:
    try:
        await source.transact((), plan.shows, ())
    except Changed as error:
        # Not a failure of ours: the server said yes, so somebody wrote it since.
        return None, (f"{error.detail.get('what')} reads differently by now: written again since",)
    return True, ("read back: as it was written",)
