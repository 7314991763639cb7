"""The one writer: runs a plan once, counts every reply, and keeps the journal.

Nothing else in cachetui calls `Source.execute` or `Source.transact`. No command is ever sent twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.cluster.verifying import verify_tasks
from cachetui.actions.cluster.working import Working
from cachetui.actions.failover import FailingOver
from cachetui.actions.fresh import run_fresh
from cachetui.actions.going import going
from cachetui.actions.guard import APPLIED, Guard, Survey, check_plan, check_server, survey
from cachetui.actions.journal import Journal, who
from cachetui.actions.nodes import as_shown, run_on_nodes
from cachetui.actions.pace import Pacer
from cachetui.actions.plan import Plan
from cachetui.actions.send import run_together, send, stopped
from cachetui.actions.spool import Head, Kept, Kind, Spool
from cachetui.actions.sweep import sweep
from cachetui.actions.tally import Failure, Outcome, Progress, Tally
from cachetui.actions.touched import copied, keys_of, with_after
from cachetui.actions.undo import directory_of, undo
from cachetui.actions.verifying import verify
from cachetui.errors import CacheError, Denied, Refused, ServerError, Unsupported
from cachetui.model import JournalEntry, Keep
from cachetui.source.base import Source

__all__ = ["Failure", "Guard", "Outcome", "Pacer", "Progress", "apply"]


async def apply(
    plan: Plan,
    source: Source,
    *,
    journal: Journal,
    guard: Guard,
    progress: Callable[[Progress], None] | None = None,
    cancel: asyncio.Event | None = None,
    pacer: Pacer | None = None,
    nodes: Nodes | None = None,
) -> Outcome:
    """Run `plan` on `source`, once, and return what became of it.

    Raises Refused (or another CacheError) before anything is sent when the plan is expired,
    was applied before, belongs to another target, when `guard` or the server's role forbids
    it, or when the journal cannot be written. From the first command on, failures are counted
    in the outcome. `cancel` stops it between two batches; a cancelled task leaves the same
    honest journal behind. `pacer` lets whoever watches a sweep pause it or change its rate.
    `nodes` are for plans of tasks: these speak to each node of a cluster by itself.
    """
    check_plan(plan, source)
    if (plan.tasks or plan.failover) and nodes is None:
        raise Refused("this plan speaks to the nodes of a cluster, and none can be reached here", "nothing was sent")
    found = await asyncio.to_thread(survey, plan, journal)
    if plan.failover is not None:
        assert nodes is not None
        return await _fail_over(plan, nodes, found, journal=journal, guard=guard, progress=progress, cancel=cancel)
    await check_server(plan, source, guard, found)
    # Nothing may be awaited from here to the journal's first entry.
    with going(journal.path, plan.id):
        entry = _begin(plan, journal, found)
        if plan.tasks:
            assert nodes is not None  # `check_plan` has seen to it
            return await _carry_out_tasks(
                plan, nodes, entry, journal=journal, progress=progress, cancel=cancel, pacer=pacer
            )
        return await _carry_out(plan, source, entry, journal=journal, progress=progress, cancel=cancel, pacer=pacer)


async def _carry_out(
    plan: Plan,
    source: Source,
    entry: JournalEntry,
    *,
    journal: Journal,
    progress: Callable[[Progress], None] | None,
    cancel: asyncio.Event | None,
    pacer: Pacer | None,
) -> Outcome:
    """Run what is begun, write its end to the journal, and look at it again."""
    tally = Tally(left=plan.count)
    trouble = ""
    swept: list[bytes] = []
    try:
        if plan.sweep is not None or plan.restores:
            pacer = pacer or (Pacer() if plan.sweep is None else Pacer.of(plan.sweep))
            swept = await _in_batches(
                plan, source, tally, entry, journal=journal, progress=progress, cancel=cancel, pacer=pacer
            )
        else:
            await _run_kept(plan, source, tally, journal=journal, progress=progress, cancel=cancel)
    except CacheError as error:
        tally.reason = error.line()
    finally:
        # On every way out, a cancelled task's and a defect's too: the journal must say how far it went.
        trouble = _end(journal, entry, tally)
    verified, checks = await verify(plan, source, tally, swept)
    if verified and plan.reworded and plan.back:
        trouble = trouble or _end(journal, replace(entry, back=await as_shown(plan, source)), tally)
    return tally.outcome(verified, (*checks, trouble) if trouble else checks)


async def _carry_out_tasks(
    plan: Plan,
    nodes: Nodes,
    entry: JournalEntry,
    *,
    journal: Journal,
    progress: Callable[[Progress], None] | None,
    cancel: asyncio.Event | None,
    pacer: Pacer | None,
) -> Outcome:
    """Run a plan for a cluster; its entry says which slots have moved so far, for the way back."""
    tally = Tally(left=plan.count)

    def note() -> None:
        with contextlib.suppress(CacheError):
            journal.append(_account(entry, tally, "running"))

    trouble = ""
    working = Working(plan, nodes, tally, pacer=pacer or Pacer(), progress=progress, note=note, cancel=cancel)
    try:
        await working.run()
    except CacheError as error:
        tally.reason = error.line()
    finally:
        trouble = _end(journal, entry, tally)
    verified, checks = await verify_tasks(plan, nodes, tally)
    return tally.outcome(verified, (*checks, trouble) if trouble else checks)


async def _fail_over(
    plan: Plan,
    nodes: Nodes,
    found: Survey,
    *,
    journal: Journal,
    guard: Guard,
    progress: Callable[[Progress], None] | None,
    cancel: asyncio.Event | None,
) -> Outcome:
    """Run a failover to its end; whoever gets its command says whether it is allowed."""
    tally = Tally(left=plan.count)
    change = FailingOver(plan, nodes, tally, progress=progress, cancel=cancel)
    try:
        await change.asked.open()
        await check_server(plan, change.asked, guard, found)
        with going(journal.path, plan.id):
            entry = _begin(plan, journal, found)
            try:
                await change.run()
            except CacheError as error:
                tally.reason = error.line()
            finally:
                trouble = _end(journal, entry, tally)
            verified, checks = await change.verify()
            return tally.outcome(verified, (*checks, trouble) if trouble else checks)
    finally:
        await change.close()


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
        left=plan.count,
        undo=plan.undo,
        undoes=plan.undoes,
        back=plan.back,
        nodes=plan.nodes,
    )
    try:
        journal.append(entry)
    except CacheError as error:
        raise Refused(f"{error.message}: nothing was sent", error.hint) from error
    _begun.add(plan.id)
    return entry


def _end(journal: Journal, entry: JournalEntry, tally: Tally) -> str:
    """Write the end to the journal; return what to tell when that fails, for the writes are done."""
    try:
        journal.append(_account(entry, tally, tally.state(), tally.reason))
    except CacheError as error:
        return f"{error.message}: it still says `started`"
    return ""


def _account(entry: JournalEntry, tally: Tally, outcome: str, reason: str = "") -> JournalEntry:
    """Return the entry with what has been counted so far."""
    return replace(
        entry,
        outcome=outcome,
        done=tally.done,
        missing=tally.missing,
        failed=tally.failed,
        skipped=tally.skipped,
        left=max(0, tally.left),
        unknown=tally.in_flight,
        error=reason,
        left_alone=tuple(some.line() for some in tally.left_alone()),
        moves=tally.moves(),
    )


async def _in_batches(
    plan: Plan,
    source: Source,
    tally: Tally,
    entry: JournalEntry,
    *,
    journal: Journal,
    progress: Callable[[Progress], None] | None,
    cancel: asyncio.Event | None,
    pacer: Pacer,
) -> list[bytes]:
    """Run a sweep with its spool open, or an undo; return some of the keys that were written."""

    def note() -> None:
        # How far it is matters less than that it goes on: the end is written again, and its trouble told.
        with contextlib.suppress(CacheError):
            journal.append(_account(entry, tally, "running"))

    if plan.restores:
        return await undo(
            plan, source, tally, journal=journal.path, pacer=pacer, progress=progress, note=note, cancel=cancel
        )
    spool = await asyncio.to_thread(_opened_spool, plan, journal)
    try:
        return await sweep(plan, source, tally, spool=spool, pacer=pacer, progress=progress, note=note, cancel=cancel)
    finally:
        if spool is not None:
            tally.kept = spool.keys
            spool.close()


def _opened_spool(plan: Plan, journal: Journal) -> Spool | None:
    """Open what keeps the way back, where the plan has one."""
    if plan.sweep is None or plan.sweep.keep is None:
        return None
    return _spool_of(plan, journal, "delete" if plan.sweep.operation.kind == "delete" else "ttl")


def _spool_of(plan: Plan, journal: Journal, kind: Kind) -> Spool:
    wanted = plan.sweep
    head = Head(
        receipt=plan.id,
        target=plan.target,
        server=plan.kind,
        title=plan.title,
        created_at=plan.created_at,
        kind=kind,
        selection=wanted.selection if wanted is not None and wanted.selection.keys is None else None,
        operation=wanted.operation if wanted is not None else None,
        together=kind == "write" and not plan.fresh,
    )
    most = wanted.keep.max_bytes if wanted is not None and wanted.keep is not None else Keep().max_bytes
    return Spool(directory_of(journal.path), head, most)


async def _run_kept(
    plan: Plan,
    source: Source,
    tally: Tally,
    *,
    journal: Journal,
    progress: Callable[[Progress], None] | None,
    cancel: asyncio.Event | None,
) -> None:
    """Run a small plan, with the keys that it writes kept before and looked at after it, where that is possible."""
    keys = keys_of(plan)
    records: list[Kept] = []
    if keys:
        # Without a copy there is no undo for it; that is no reason to refuse what was confirmed.
        with contextlib.suppress(ServerError, Denied, Unsupported):
            records = await copied(source, keys)
    if not records:
        await _run(plan, source, tally, progress, cancel)
        return
    spool = await asyncio.to_thread(_spool_of, plan, journal, "write")
    try:
        await asyncio.to_thread(spool.add, records)
        await _run(plan, source, tally, progress, cancel)
        if tally.done or tally.in_flight:
            # What was done is done; without this look its undo will say that it cannot be sure.
            with contextlib.suppress(CacheError):
                await asyncio.to_thread(spool.add, await with_after(source, records))
                tally.kept = spool.keys
    finally:
        spool.close(empty=not (tally.done or tally.in_flight))


async def _run(
    plan: Plan,
    source: Source,
    tally: Tally,
    progress: Callable[[Progress], None] | None,
    cancel: asyncio.Event | None,
) -> None:
    """Send batch after batch. Returns when all are answered, cancelled, or a whole batch was refused."""
    if plan.nodes:
        await run_on_nodes(plan, source, tally, progress, cancel)
        return
    if plan.fresh:
        await run_fresh(plan, source, tally, progress, cancel)
        return
    if plan.watched or plan.checks:
        await run_together(plan, source, tally, progress, cancel)
        return
    total = len(plan.steps)
    for start in range(0, total, plan.batch):
        if cancel is not None and cancel.is_set():
            tally.reason = "cancelled"
            return
        batch = list(plan.steps[start : start + plan.batch])
        failed = await send(source, tally, batch, progress)
        if stopped(tally, failed == len(batch)):
            return
    tally.reason = tally.errors[0].error.line() if tally.errors else ""
