"""A write on many keys: their names come as a stream, by a list, by a tag's set, or by a rule."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

from cachetui.actions.batch import passing
from cachetui.actions.names import Names, members
from cachetui.actions.pace import Pacer
from cachetui.actions.plan import Plan, Sweep
from cachetui.actions.running import Running, watched
from cachetui.actions.scripts import absolute_expiries
from cachetui.actions.spool import Spool
from cachetui.actions.strokes import Strokes, strokes_for
from cachetui.actions.tally import Progress, Tally
from cachetui.errors import CacheError, ServerError
from cachetui.model import KeyFacts, Selection
from cachetui.source.base import Source


async def sweep(
    plan: Plan,
    source: Source,
    tally: Tally,
    *,
    spool: Spool | None,
    pacer: Pacer,
    progress: Callable[[Progress], None] | None,
    note: Callable[[], None],
    cancel: asyncio.Event | None,
) -> list[bytes]:
    """Carry out `plan.sweep`; return some of the keys that were written. Failures are in `tally`."""
    assert plan.sweep is not None
    running = Sweeping(plan.sweep, source, tally, await _strokes(plan.sweep, source), spool=spool, pacer=pacer)
    return await watched(running, source, pacer=pacer, progress=progress, note=note, cancel=cancel)


async def _strokes(wanted: Sweep, source: Source) -> Strokes:
    identity = source.identity or await source.open()
    memcached = identity.kind == "memcached"
    absolute = not memcached and await absolute_expiries(source)
    ahead = 0 if memcached or wanted.operation.kind != "expire" else await ahead_ms(source)
    one_slot = identity.mode != "cluster"
    return strokes_for(wanted, memcached=memcached, one_slot=one_slot, absolute=absolute, ahead_ms=ahead)


async def ahead_ms(source: Source) -> int:
    """Return how much later it is on the server than here. Raises CacheError."""
    began_s = time.time()
    (reply,) = await source.execute([(b"TIME",)])
    if isinstance(reply, list) and len(reply) == 2:
        here_ms = (began_s + time.time()) * 500
        return round(int(reply[0]) * 1000 + int(reply[1]) / 1000 - here_ms)
    if isinstance(reply, CacheError):
        raise reply
    raise ServerError("TIME: the reply makes no sense", "nothing was changed")


class Sweeping(Running):
    """The keys of a selection."""

    def __init__(
        self, wanted: Sweep, source: Source, tally: Tally, strokes: Strokes, *, spool: Spool | None, pacer: Pacer
    ) -> None:
        super().__init__(source, tally, strokes, spool=spool, pacer=pacer)
        self._selection = wanted.selection
        self._names: Names | None = None

    def _waiting(self) -> int:
        return self._names.waiting if self._names is not None else 0

    def _words(self) -> str:
        return self._names.note if self._names is not None else ""

    async def _batches(self) -> AsyncIterator[list[bytes]]:
        selection = self._selection
        if selection.keys is not None:
            for batch in self._cut(selection.keys):
                yield batch
        elif selection.tag is not None:
            async for some in members(self._source, selection.tag, self._wait, self._stopped):
                self._heard()
                for batch in self._cut(some):
                    yield batch
        else:
            self._names = Names(self._source, selection)
            async for batch in self._names.batches(lambda: self._pacer.batch, self._stopped):
                yield batch

    async def _finish(self) -> None:
        """Write the tag's set itself, when all of its members were."""
        tag, tally = self._selection.tag, self._tally
        if tag is None or self._stopped.is_set():
            return
        if tally.failed or tally.skipped:
            self.stop("the tag's set was left: not all of its members could be written")
            return
        await self._pacer.leave(1)
        await self._settle([tag])

    async def _fitting(self, keys: Sequence[bytes]) -> list[bytes]:
        selection = self._selection
        listed = not selection.ruled
        conditions = selection.idle_s is not None or (listed and (selection.type_ or selection.ttl is not None))
        if not conditions:
            return list(keys)
        known: list[KeyFacts] = []
        while not self._stopped.is_set():
            try:
                known += (await self._source.facts(keys, size=selection.idle_s is not None)).facts
                break
            except CacheError as error:
                if not passing(error):
                    raise
                await self._wait(error)
        fitting = [facts.key for facts in known if not facts.exists or _fits(selection, facts)]
        if listed:
            self._tally.left -= len(known) - len(fitting)
            self._tally.missing += len(known) - len(fitting)
        return fitting


def _fits(selection: Selection, facts: KeyFacts) -> bool:
    if selection.type_ is not None and facts.type != selection.type_:
        return False
    if selection.ttl is not None and facts.has_ttl is not selection.ttl:
        return False
    return selection.idle_s is None or (facts.idle_s is not None and facts.idle_s >= selection.idle_s)
