"""The way back of what was done, and what is left of what was stopped: from a press to a plan."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from cachetui.actions.undo import INTERRUPTED, plan_of, same_target, undoable, undoing
from cachetui.errors import BadUsage, Refused
from cachetui.model import Identity, JournalEntry
from cachetui.ui.clustering import reached
from cachetui.ui.invalidating import swept
from cachetui.ui.panes.journal import JournalPane
from cachetui.ui.proposal import Proposal

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live


async def undone(app: CachetuiApp, live: Live, identity: Identity) -> Proposal | None:
    """Plan the way back of the journal's selected entry, elsewhere of what was done last on this target."""
    pane = app.pane
    if isinstance(pane, JournalPane):
        entry = pane.selected()
        if entry is None:
            raise Refused("no entry is selected", "nothing was changed with cachetui yet")
        return await _of_entry(app, live, entry)
    rows = await asyncio.to_thread(undoable, live.journal, live.source.name)
    if not rows:
        raise BadUsage(f"nothing that was done on {live.source.name} can be undone", "press 9 for what was done")
    return await undone_receipt(app, live, rows[0].receipt)


async def _of_entry(app: CachetuiApp, live: Live, entry: JournalEntry) -> Proposal:
    try:
        return await undone_receipt(app, live, entry.receipt)
    except BadUsage as error:
        # What the plan said of its undo is more than that nothing is kept.
        if entry.undo and "already" not in error.message and f"undo {entry.receipt}" not in entry.undo:
            words = entry.undo if entry.undo.startswith("no undo") else f"to be undone by hand: {entry.undo}"
            raise Refused(words, "nothing was changed") from error
        raise


async def undone_receipt(app: CachetuiApp, live: Live, receipt: str) -> Proposal:
    """Plan the way back of one receipt. Raises CacheError that says why it cannot be."""
    row = await asyncio.to_thread(undoing, live.journal, receipt)
    async with reached(app) as nodes:
        plan = await plan_of(live.source, row, nodes)
    return Proposal(plan, partial(undone_receipt, app, live, receipt))


async def resumed(app: CachetuiApp, live: Live, identity: Identity) -> Proposal | None:
    """Plan what is left of the journal's selected rule that was stopped or interrupted."""
    pane = app.pane
    entry = pane.selected() if isinstance(pane, JournalPane) else None
    if entry is None:
        raise Refused("no entry is selected", "press 9 and move to one that was stopped or interrupted")
    if entry.outcome not in (INTERRUPTED, "stopped"):
        raise Refused(f"that write is {entry.outcome}", "only what was stopped or interrupted can be gone on with")
    try:
        row = await asyncio.to_thread(undoing, live.journal, entry.receipt)
    except BadUsage as error:
        raise Refused(
            "what it was about is not kept: nothing had been written, or it had no undo", "i asks again"
        ) from (error)
    head = row.kept.head if row.kept is not None else None
    if head is None or head.selection is None or head.operation is None:
        raise Refused("only what was done by a pattern or a tag can be gone on with", "mark the keys again")
    if row.kept is not None and row.kept.running:
        raise Refused("that write still goes on", "stop it first")
    if not same_target(head.target, live.source.name):
        raise Refused(f"that was begun on {head.target}, not on {live.source.name}", "connect there to go on with it")
    return await swept(app, live, identity, head.selection, head.operation)
