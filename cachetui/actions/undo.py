"""Undo: a plan made of what was kept, and how it is carried out. What was written since is never overwritten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cachetui.actions.batch import Batch
from cachetui.actions.cluster.balancing import plan_back
from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.going import goes_on
from cachetui.actions.journal import Journal
from cachetui.actions.pace import Pacer
from cachetui.actions.plan import Command, Plan, refuse_replica
from cachetui.actions.plan.base import BATCH, Needs, stamped
from cachetui.actions.plan.commands import render
from cachetui.actions.plan.config import plan_setting
from cachetui.actions.returning import Returning, add, restore, returning_for
from cachetui.actions.running import TAKEN, Running, watched
from cachetui.actions.scripts import absolute_expiries
from cachetui.actions.spool import SUFFIX, Kept, Kind, Stored, inspected, opened, standing, stored
from cachetui.actions.sweep import ahead_ms
from cachetui.actions.tally import Progress, Tally
from cachetui.errors import BadUsage, CacheError, Denied, Refused, Unsupported
from cachetui.model import Identity, JournalEntry, Stats
from cachetui.model.slots import slots_in
from cachetui.source.base import Source
from cachetui.text import printable, size

EXAMPLES = 10
OPEN = frozenset(("started", "running"))
"""Outcomes of entries that nothing has followed."""
INTERRUPTED = "interrupted"
ENDED = frozenset(("done", "failed", "stopped"))
"""Outcomes of a write of which something may have been done."""
THERE = "there already: brought back before, or written since"
EACH = "a key that was written since is left as it is, and named; one that would have expired by now stays away"
TOGETHER = (
    "they belong together: when one of them was written since, or would have expired by now, all stay as they are"
)
KEPT = "those keys do not come back; the file is left where it is"
WORDS: dict[Kind, tuple[str, str]] = {
    "delete": ("bring back", "with their values and expiries"),
    "ttl": ("give the old expiry back to", "where they still have the one they were given"),
    "write": ("put back", "where they are still as they were written"),
}


def directory_of(journal: Path) -> Path:
    """Return where the copies lie that belong to this journal."""
    return journal.parent / "undo"


def same_target(one: str, other: str) -> bool:
    """Tell whether two names mean the same target: one that did not say what it is has no scheme and no database.

    >>> same_target("redis://h:6379/0", "h:6379"), same_target("redis://h:6379/1", "h:6379")
    (True, False)
    """
    return _place(one) == _place(other)


def _place(target: str) -> str:
    return target.rpartition("://")[2].removesuffix("/0")


def receipts(journal: Path, target: str | None = None) -> list[Stored]:
    """Return what can be undone, the newest first; of one target or of all."""
    found = stored(directory_of(journal))
    return [one for one in found if target is None or same_target(one.head.target, target)]


def found(journal: Path, receipt: str) -> Stored:
    """Return what is kept under a receipt. Raises BadUsage where nothing is."""
    path = directory_of(journal) / f"{receipt}{SUFFIX}"
    if "/" in receipt or not path.exists():
        raise BadUsage(f"nothing is kept under {render((receipt.encode(),), 60)}", "see cachetui undo --list")
    return opened(path)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A write that can be undone."""

    receipt: str
    at: float
    target: str
    title: str
    outcome: str
    """As the journal has it; empty where it is not known."""
    kept: Stored | None = None
    """What is kept of its keys."""
    back: tuple[tuple[str, str, str], ...] = ()
    """Settings to set back: name, value before, value after."""
    nodes: tuple[str, ...] = ()
    """Where they were set; none: on the server itself."""
    moves: tuple[tuple[str, str, str], ...] = ()
    """Slots to move back: which, and the ids of the nodes where from and where to they went."""


def ended(journal: Journal, limit: int | None = None) -> list[JournalEntry]:
    """Return the journal, the newest first; a write without an end that does not go on was interrupted."""
    return [
        replace(entry, outcome="running" if goes_on(journal.path, entry.receipt) else INTERRUPTED)
        if entry.outcome in OPEN
        else entry
        for entry in journal.read(limit)
    ]


def undoable(journal: Journal, target: str | None = None) -> list[Receipt]:
    """Return the writes that can be undone, the newest first; of one target or of all. Raises CacheError."""
    return [
        row
        for row in _rows(journal, ended(journal))
        if (row.kept is None or row.kept.keys > 0) and (target is None or same_target(row.target, target))
    ]


def newest(journal: Journal, target: str) -> Receipt | None:
    """Return what was done last on a target and can be undone. Raises CacheError."""
    return next(iter(undoable(journal, target)), None)


def undoing(journal: Journal, receipt: str) -> Receipt:
    """Return one of them, or one that ended before it had written anything. Raises BadUsage where there is none."""
    entries = ended(journal)
    row = next((row for row in _rows(journal, entries) if row.receipt == receipt), None)
    if row is not None:
        return row
    words = render((receipt.encode("utf-8", "surrogateescape"),), 60)
    by = next((entry.receipt for entry in entries if entry.undoes == receipt and is_whole(entry)), None)
    if by is not None:
        raise BadUsage(f"{words} was undone already, by {by}", "see cachetui undo --list for what can be undone")
    raise BadUsage(f"nothing can be undone under {words}", "see cachetui undo --list for what can be")


def is_whole(entry: JournalEntry) -> bool:
    """Tell whether this is an undo that has left nothing to be done: what it left alone stays as it is."""
    if not entry.undoes or entry.outcome not in ("done", "stopped"):
        return False
    return not (entry.left or entry.unknown or entry.failed)


def _rows(journal: Journal, entries: Sequence[JournalEntry]) -> list[Receipt]:
    undone = {entry.undoes for entry in entries if is_whole(entry)}
    outcomes = {entry.receipt: entry.outcome for entry in entries}
    rows = [
        Receipt(head.receipt, head.created_at, head.target, head.title, outcomes.get(head.receipt, ""), kept=one)
        for one in receipts(journal.path)
        if (head := one.head)
    ]
    rows += [
        Receipt(
            entry.receipt,
            entry.at,
            entry.target,
            entry.title,
            entry.outcome,
            back=entry.back,
            nodes=entry.nodes,
            moves=entry.moves,
        )
        for entry in entries
        if not entry.undoes
        and ((entry.back and entry.outcome in ENDED) or (entry.moves and entry.outcome in (*ENDED, INTERRUPTED)))
    ]
    return sorted((row for row in rows if row.receipt not in undone), key=lambda row: row.receipt, reverse=True)


async def plan_of(source: Source, row: Receipt, nodes: Nodes | None = None) -> Plan:
    """Plan the way back of a receipt on this source; `nodes` are those of a cluster. Raises CacheError."""
    identity = source.identity or await source.open()
    kept = row.kept
    if kept is not None:
        plan = await asyncio.to_thread(lambda: plan_undo(identity, source.name, inspected(kept.path)))
        return replace(plan, what=(*plan.what, *await _no_room(source, kept)))
    if not same_target(row.target, source.name):
        raise Refused(f"that was done on {row.target}, not on {source.name}", "connect there to undo it")
    if row.moves:
        if nodes is None:
            raise Refused("the nodes of the cluster cannot be reached from here", "cachetui undo moves the slots back")
        moves = [(slots_in(slots), went_from, went_to) for slots, went_from, went_to in row.moves]
        return await plan_back(nodes, identity, source.name, moves, title=f"Undo: {row.title}", undoes=row.receipt)
    ((name, before, after), *_) = row.back
    # Some of Memcached's are set together with others.
    known = (await source.settings("*" if identity.kind == "memcached" else name)).reach
    where = tuple(node for node in known if (node.address in row.nodes if row.nodes else node.myself))
    shown = next((node.values.get(name) for node in where if name in node.values), None)
    if shown != after:
        now = "is not shown" if shown is None else f"reads {printable(shown, 80)} now"
        raise Refused(f"{name} {now}, not {after}: somebody has set it since", "nothing was changed; set it by hand")
    plan = plan_setting(identity, source.name, name, after, before, nodes=where)
    return replace(plan, title=f"Undo: {row.title}", undoes=row.receipt)


async def _no_room(source: Source, what: Stored) -> list[str]:
    """Say what happens at once where the copies alone are more than there is room for."""
    if what.head.kind != "delete" or source.identity is None or source.identity.mode in ("cluster", "fleet"):
        return []  # of several servers the figures are sums
    try:
        stats = await source.poll("stats")
    except (Denied, Unsupported):
        return []  # nothing is known of its memory
    assert isinstance(stats, Stats)
    used, most = stats.used_bytes, stats.maxmemory_bytes
    if used is None or not most or used + what.stored_bytes <= most:
        return []
    policy = stats.policy or "its own choice"
    then = "what does not fit is refused" if policy == "noeviction" else f"others are evicted for them ({policy})"
    copies = f"the copies are {size(what.stored_bytes)} compressed"
    return [f"warning: {size(used)} of {size(most)} are used, and {copies}: {then}"]


def plan_undo(identity: Identity, target: str, what: Stored) -> Plan:
    """Plan the way back of one receipt. Raises Refused for another target or server, or while its write goes on."""
    head = what.head
    if not same_target(head.target, target):
        raise Refused(f"that was done on {head.target}, not on {target}", "connect there to undo it")
    if head.server != identity.kind:
        raise Refused(f"that was done on {head.server}, and this is {identity.kind} now", "nothing was changed")
    if what.running:
        raise Refused("that write still goes on", "stop it first")
    refuse_replica(identity)
    verb, how = WORDS[head.kind]
    lines = [
        f"{verb} {what.keys:,} keys of {target} {how}",
        f"what is undone: {head.title}",
        TOGETHER if head.together else EACH,
        f"kept: {size(what.stored_bytes)} in {what.path.name}",
    ]
    if what.keys <= 0:
        raise Refused("nothing was kept under it: it ended before anything was written", "there is nothing to undo")
    if what.lost:
        lines.append(f"warning: {what.lost:,} of the copies are damaged on the disk: those keys do not come back")
    elif what.damaged:
        lines.append("warning: the end of the file is torn; what it held does not come back")
    needs: Needs = {"delete": "delete", "write": "edit"}.get(head.kind, "ttl")  # type: ignore[assignment]
    steps = list(_examples(what, memcached=identity.kind == "memcached"))
    undo = f"no undo: {head.title} once more is the way back of this"
    return stamped(
        identity,
        target,
        f"Undo: {head.title}",
        steps,
        lines,
        needs=needs,
        risk="medium",
        undo=undo,
        batch=BATCH,
        undoes=head.receipt,
        expected=what.keys,
    )


def _examples(what: Stored, *, memcached: bool) -> Iterator[Command]:
    strokes = returning_for(what.head, memcached=memcached, absolute=False, ahead_ms=0)
    for frame in standing(what.path):
        for record in frame[:EXAMPLES]:
            strokes.records[record.key] = record
            yield from _example(what.head.kind, record, strokes, memcached=memcached)
        return


def _example(kind: Kind, record: Kept, strokes: Returning, *, memcached: bool) -> Sequence[Command]:
    if kind == "delete":
        return [add(record) if memcached else restore(record)]
    if kind == "write":
        return [restore(record) if record.value is not None else (b"UNLINK", record.key)]
    return strokes.writes([record.key], [])


async def undo(
    plan: Plan,
    source: Source,
    tally: Tally,
    *,
    journal: Path,
    pacer: Pacer,
    progress: Callable[[Progress], None] | None,
    note: Callable[[], None],
    cancel: asyncio.Event | None,
) -> list[bytes]:
    """Carry out a plan of `plan_undo`; return some of the keys that were put back. Failures are in `tally`.

    When nothing is left that could be put back later, the copies are removed.
    """
    what = found(journal, plan.undoes)
    begun = await asyncio.to_thread(_begun_before, Journal(journal), plan)
    memcached = plan.kind == "memcached"
    absolute = not memcached and await absolute_expiries(source)
    ahead = 0 if memcached else await ahead_ms(source)
    strokes = returning_for(what.head, memcached=memcached, absolute=absolute, ahead_ms=ahead)
    running = Undoing(what, source, tally, strokes, pacer=pacer, begun=begun)
    written = await watched(running, source, pacer=pacer, progress=progress, note=note, cancel=cancel)
    if not (tally.left > 0 or tally.in_flight or tally.failed or what.damaged):
        what.path.unlink(missing_ok=True)
    return written


def _begun_before(journal: Journal, plan: Plan) -> bool:
    return any(entry.undoes == plan.undoes and entry.receipt != plan.id for entry in journal.read())


class Undoing(Running):
    """The keys of a receipt, the newest first. `begun`: an earlier undo of it has stopped."""

    def __init__(
        self, what: Stored, source: Source, tally: Tally, strokes: Returning, *, pacer: Pacer, begun: bool
    ) -> None:
        super().__init__(source, tally, strokes, pacer=pacer)
        self._what, self._returning, self._begun = what, strokes, begun
        self._lost: list[int] = []

    async def _batches(self) -> AsyncIterator[list[bytes]]:
        frames = standing(self._what.path, self._lost.append)
        while (frame := await asyncio.to_thread(next, frames, None)) is not None:
            records = self._returning.records
            # A key that was deleted twice comes twice: the newer one is back, or on its way.
            chosen = {record.key: record for record in frame if record.key not in records}
            self._tally.left -= len(frame) - len(chosen)
            records |= chosen
            for batch in [list(chosen)] if self._what.head.together else self._cut(list(chosen)):
                yield batch

    async def _finish(self) -> None:
        """Count keys whose copies cannot be read as failed; not sooner, for they are no reason to stop the others."""
        if not (lost := sum(self._lost)):
            return
        self._tally.left -= lost
        self._tally.refused((self._strokes.verb,), CacheError(f"{lost:,} copies are damaged on the disk", KEPT))
        self._tally.failed += lost - 1

    async def _round(self, batch: Batch) -> CacheError | None:
        if self._what.head.together:
            batch.at_once = len(batch.todo)
        return await super()._round(batch)

    def _leave_alone(self, batch: Batch, key: bytes, why: str) -> None:
        if self._begun and why == TAKEN:
            why = THERE
        super()._leave_alone(batch, key, why)
        self._tally.name_alone(why, key)

    def _forget(self, batch: Batch, key: bytes, *, unwritten: bool = False) -> None:
        super()._forget(batch, key, unwritten=unwritten)
        self._returning.records.pop(key, None)

    def _end_all(self, batch: Batch, keys: Sequence[bytes]) -> None:
        super()._end_all(batch, keys)
        for key in keys:
            self._returning.records.pop(key, None)
