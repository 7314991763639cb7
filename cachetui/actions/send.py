"""Batches of a plan's commands on their way: every reply counted, no command sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from cachetui.actions.plan import Command, Plan
from cachetui.actions.tally import Progress, Tally
from cachetui.errors import CacheError, ServerError, Unreachable
from cachetui.model import Check
from cachetui.source.base import Source


async def send(
    source: Source, tally: Tally, batch: Sequence[Command], progress: Callable[[Progress], None] | None
) -> int:
    """Send one batch and return how many of its commands failed."""
    tally.left -= len(batch)
    tally.in_flight = len(batch)
    return count(tally, batch, await source.execute(batch), progress)


def count(
    tally: Tally, batch: Sequence[Command], replies: Sequence[object], progress: Callable[[Progress], None] | None
) -> int:
    if len(replies) != len(batch):
        raise ServerError(f"{len(replies)} replies came to {len(batch)} commands")
    tally.in_flight = 0
    failed = tally.count(batch, replies)
    if progress is not None:
        progress(tally.progress())
    return failed


def stopped(tally: Tally, all_failed: bool) -> bool:
    """Tell whether there is no point in going on, and note why."""
    if not all_failed or not tally.left or tally.last_error is None:
        return False
    tally.reason = f"every command of a batch was refused: {tally.last_error.line()}"
    return True


async def run_together(
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
        await send_together(source, tally, plan.watched, plan.checks, batch, progress=progress)
    except CacheError as error:
        if not tally.in_flight:
            tally.undone(batch, error)
        raise
    tally.reason = tally.errors[0].error.line() if tally.errors else ""


async def send_together(
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
    return count(tally, batch, replies, progress)
