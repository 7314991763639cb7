"""A write on many keys under way: each batch is looked at, kept, written and counted.

Memory is bounded by the batches in flight, whatever the number of keys. A key is settled once:
done, missing, failed or left alone; where the connection broke after a write was sent, the
server is asked again before anything else is done with that key.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter

from cachetui.actions.batch import Batch, is_unsent, once_more, passing
from cachetui.actions.pace import Pacer
from cachetui.actions.plan import Command
from cachetui.actions.scripts import ask
from cachetui.actions.spool import Kept, Spool, void
from cachetui.actions.strokes import CHECKSUM_BYTES, Fate, Keeping, Sight, Strokes
from cachetui.actions.tally import Progress, Tally
from cachetui.errors import CacheError, Unreachable
from cachetui.source.base import Source

IN_FLIGHT = 4
"""Batches under way at a time."""
PATIENCE_S = 30.0
"""So long a server may be silent, loading or without a primary before the sweep ends part-way."""
RETRY_S, RETRY_MOST_S = 0.1, 2.0
CHANGES = 5
"""A key that is written by others again and again is left alone after so many tries."""
SHOWN_S, NOTED_S = 0.2, 5.0
"""Seconds between two reports of progress, on the screen and in the journal."""
VERIFIED = 20
"""Keys looked up again afterwards."""
ERRORS, ERRORS_SHARE = 100, 0.05
"""From so many failures on, and this share of all answers, the sweep stops."""
SWITCH_S = 0.001
"""How long one thread may hold the interpreter meanwhile: the probe of the pace measures through it."""

_KEY, _LEFT_SO = itemgetter(0), itemgetter(2, 4)
"""Of `Kept` the key; its expiry and what became of it."""

CHANGED = "written by somebody else all the time"
TAKEN = "written since"


class Running:
    """Keys that come in batches and are written on their way; `_batches` says which."""

    def __init__(
        self, source: Source, tally: Tally, strokes: Strokes, *, pacer: Pacer, spool: Spool | None = None
    ) -> None:
        self._source, self._tally, self._strokes = source, tally, strokes
        self._spool, self._pacer = spool, pacer
        self._spooling = asyncio.Lock()
        self._stopped = asyncio.Event()
        self._silent_since: float | None = None
        self._trouble = ""
        self.written: list[bytes] = []
        """Some of the keys, chosen at random."""

    async def run(self) -> None:
        """Go through all keys. Returns at the end, or when it was stopped: `tally.reason` says why."""
        tally = self._tally
        tally.reason = "interrupted"
        batches: asyncio.Queue[list[bytes] | None] = asyncio.Queue(1)
        workers = [asyncio.create_task(self._work(batches)) for _ in range(IN_FLIGHT)]
        feeding = asyncio.create_task(self._feed(batches))
        try:
            await asyncio.gather(feeding, *workers)
            await self._finish()
        finally:
            for task in (feeding, *workers):
                task.cancel()
            await asyncio.gather(feeding, *workers, return_exceptions=True)
        if not self._stopped.is_set():
            tally.left = 0  # of a rule it was an estimate
            tally.reason = tally.errors[0].error.line() if tally.errors else ""
        else:
            tally.left = max(tally.left, self._waiting())

    def stop(self, reason: str) -> None:
        """Begin nothing more."""
        if not self._stopped.is_set():
            self._tally.reason = reason
            self._stopped.set()

    async def heed(self, cancel: asyncio.Event) -> None:
        """Stop when somebody says so."""
        await cancel.wait()
        self.stop("cancelled")
        self._pacer.resume()

    # What a kind of write says

    def _batches(self) -> AsyncIterator[list[bytes]]:
        """Yield the keys in batches."""
        raise NotImplementedError

    async def _fitting(self, keys: Sequence[bytes]) -> list[bytes]:
        """Leave out the keys that do not fit the conditions, where nobody else has judged that."""
        return list(keys)

    async def _finish(self) -> None:
        """Do what is left when all batches have ended."""

    def _waiting(self) -> int:
        """Return how many keys are known and not in a batch yet."""
        return 0

    def _words(self) -> str:
        """Return what there is to say while nothing is in the way."""
        return ""

    # Batches

    async def _feed(self, batches: asyncio.Queue[list[bytes] | None]) -> None:
        try:
            async for batch in self._batches():
                if self._stopped.is_set():
                    break
                await self._leave(len(batch))
                if self._stopped.is_set():
                    break
                await batches.put(batch)
        except CacheError as error:
            self.stop(error.line())
        for _ in range(IN_FLIGHT):
            await batches.put(None)

    async def _leave(self, keys: int) -> None:
        """Wait for the pace, or until there is nothing to wait for."""
        waits = {asyncio.create_task(self._pacer.leave(keys)), asyncio.create_task(self._stopped.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    def _cut(self, keys: Sequence[bytes]) -> Iterator[list[bytes]]:
        at = 0
        while at < len(keys):
            yield list(keys[at : (at := at + self._pacer.batch)])

    async def _work(self, batches: asyncio.Queue[list[bytes] | None]) -> None:
        while (batch := await batches.get()) is not None:
            try:
                await self._settle(batch)
            except CacheError as error:
                self.stop(error.line())

    async def _settle(self, keys: Sequence[bytes]) -> None:
        """Bring one batch to its end, across whatever passes by."""
        batch = Batch(dict.fromkeys(await self._fitting(keys)))
        failed_before = self._tally.failed
        while batch.todo and not self._stopped.is_set():
            try:
                trouble = await self._round(batch)
            except CacheError as error:
                if not passing(error):
                    raise
                trouble = error
                if isinstance(error, Unreachable):
                    batch.at_once = max(1, min(batch.at_once, len(batch.todo)) // 4)
            if trouble is not None:
                await self._wait(trouble)
            else:
                self._heard()
        batch.voided += [key for key in batch.todo if key in batch.kept and key not in batch.doubtful]
        await self._take_back(batch)
        self._judge(self._tally.failed - failed_before, len(keys))

    async def _round(self, batch: Batch) -> CacheError | None:
        """Look, keep and write once; return why the rest must wait, None when it need not."""
        trouble: CacheError | None = None
        keys = list(islice(batch.todo, batch.at_once))
        replies = await ask(self._source, self._strokes.looks(keys))
        if isinstance(self._strokes, Keeping) and (copies := self._strokes.copies(keys, replies)) is not None:
            await self._keep(batch, copies)
            proofs = [copy.value[-CHECKSUM_BYTES:] for copy in copies if copy.value is not None]
            return await self._write(batch, keys, self._strokes.deletes(keys, proofs))
        sights = self._strokes.sights(keys, replies)
        ready: list[bytes] = []
        seen: list[Sight] = []
        for key, sight in zip(keys, sights, strict=True):
            if not isinstance(sight, Sight):
                trouble = self._unseen(batch, key, sight) or trouble
            elif not sight.exists:
                self._end(batch, key, "done" if key in batch.doubtful else "missing")
            elif sight.alone:
                self._leave_alone(batch, key, sight.alone)
            else:
                ready.append(key)
                seen.append(sight)
        await self._keep(batch, [sight.kept for sight in seen if sight.kept is not None])
        if not ready:
            return trouble
        return await self._write(batch, ready, self._strokes.writes(ready, seen)) or trouble

    async def _keep(self, batch: Batch, records: Sequence[Kept]) -> None:
        """Bring the copies to the disk; only then may anything be written."""
        if self._spool is not None and records:
            if batch.kept:
                records = [once_more(record, batch) for record in records]
            batch.kept.update(zip(map(_KEY, records), map(_LEFT_SO, records), strict=True))
            async with self._spooling:
                await asyncio.to_thread(self._spool.add, records)

    async def _take_back(self, batch: Batch) -> None:
        """Say of copies that there is nothing to undo: an undo must not bring back what others deleted."""
        records, batch.voided = [void(key) for key in batch.voided], []
        if self._spool is not None and records:
            async with self._spooling:
                await asyncio.to_thread(self._spool.add, records)

    async def _write(self, batch: Batch, ready: list[bytes], writes: Sequence[Command]) -> CacheError | None:
        trouble: CacheError | None = None
        before = set(batch.doubtful)
        new = [key for key in ready if key not in before] if before else ready
        self._tally.left -= len(new)
        self._tally.in_flight += len(new)
        batch.doubtful.update(new)
        try:
            replies = await ask(self._source, writes)
        except CacheError as error:
            if is_unsent(error):
                for key in new:
                    self._nothing_done(batch, key)
            raise
        fates = self._strokes.fates(ready, replies)
        if not before and fates.count("done") == len(ready):
            self._end_all(batch, ready)
            return None
        for key, fate in zip(ready, fates, strict=True):
            if isinstance(fate, CacheError):
                if is_unsent(fate) and key not in before:
                    self._nothing_done(batch, key)
                trouble = self._refused(batch, key, fate) or trouble
            elif fate == "changed":
                self._nothing_done(batch, key)
                batch.changed[key] += 1
                if batch.changed[key] >= CHANGES:
                    self._leave_alone(batch, key, CHANGED)
            elif fate == "taken" and key not in before:
                self._leave_alone(batch, key, TAKEN)
            else:
                self._end(batch, key, "done" if key in before else fate)
        return trouble

    # Counting

    def _end_all(self, batch: Batch, keys: Sequence[bytes]) -> None:
        """Count a batch of which every key was written."""
        for key in keys:
            del batch.todo[key]
        batch.doubtful.clear()
        self._tally.in_flight -= len(keys)
        room = max(0, VERIFIED - len(self.written))
        self.written += keys[:room]
        if not room:
            self._remember(random.choice(keys), len(keys))
        self._tally.done += len(keys)

    def _end(self, batch: Batch, key: bytes, fate: Fate) -> None:
        self._forget(batch, key, unwritten=fate == "missing")
        if fate == "missing":
            self._tally.missing += 1
        else:
            self._remember(key, 1)
            self._tally.done += 1

    def _remember(self, one: bytes, count: int) -> None:
        """Put a key among those that are looked up afterwards, now and then: of `count` written at once."""
        if len(self.written) < VERIFIED:
            self.written.append(one)
        elif random.random() * (self._tally.done + count) < VERIFIED * count:
            self.written[random.randrange(VERIFIED)] = one

    def _refused(self, batch: Batch, key: bytes, error: CacheError) -> CacheError | None:
        """Count a refusal; return it when it may pass and there is something to wait for."""
        if passing(error):
            return error if error.code != "ask_again" else None
        self._forget(batch, key, unwritten=True)
        self._tally.refused((self._strokes.verb, key), error)
        return None

    def _unseen(self, batch: Batch, key: bytes, error: CacheError) -> CacheError | None:
        """Count a refusal to look. What was sent before may have been carried out: that stays unknown."""
        if key not in batch.doubtful or passing(error):
            return self._refused(batch, key, error)
        del batch.todo[key]
        self._tally.last_error = error
        return None

    def _leave_alone(self, batch: Batch, key: bytes, why: str) -> None:
        self._forget(batch, key, unwritten=True)
        self._tally.leave_alone(why)

    def _nothing_done(self, batch: Batch, key: bytes) -> None:
        """Take a key back that is known not to have been written."""
        if key in batch.doubtful:
            batch.doubtful.discard(key)
            self._tally.in_flight -= 1
            self._tally.left += 1

    def _forget(self, batch: Batch, key: bytes, *, unwritten: bool = False) -> None:
        """Settle a key: it is neither left nor in flight any more. `unwritten`: it is as it was."""
        if unwritten and key in batch.kept:
            batch.voided.append(key)
        if key in batch.doubtful:
            batch.doubtful.discard(key)
            self._tally.in_flight -= 1
        else:
            self._tally.left -= 1
        del batch.todo[key]

    def _judge(self, failed: int, keys: int) -> None:
        tally = self._tally
        if tally.last_error is None:
            return
        if failed and failed == keys and tally.left > 0:
            self.stop(f"every command of a batch was refused: {tally.last_error.line()}")
        elif tally.failed >= ERRORS and tally.failed > ERRORS_SHARE * tally.answered:
            self.stop(f"too many were refused: {tally.last_error.line()}")

    # Waiting and telling

    def _heard(self) -> None:
        self._silent_since, self._trouble = None, ""

    async def _wait(self, trouble: CacheError) -> None:
        """Wait a little for a server that does not answer or cannot yet; give up after a while."""
        now = time.monotonic()
        # From the first trouble on: before it a pause or a slow pace may have lasted long.
        self._silent_since = now if self._silent_since is None else self._silent_since
        silent_s = now - self._silent_since
        self._trouble = f"waiting: {trouble.message}"
        if silent_s > PATIENCE_S:
            self.stop(trouble.line())
            return
        try:
            pause_s = min(RETRY_MOST_S, max(RETRY_S, silent_s / 4))
            await asyncio.wait_for(self._stopped.wait(), pause_s)
        except TimeoutError:
            return

    def progress(self) -> Progress:
        """Return where it stands."""
        words = "paused" if self._pacer.paused else self._trouble or self._words()
        spooled = self._spool.stored_bytes if self._spool is not None else None
        return self._tally.progress(note=words, p99_us=self._pacer.p99_us, kept_bytes=spooled)

    async def report(self, progress: Callable[[Progress], None] | None, note: Callable[[], None]) -> None:
        """Tell how far it is, until cancelled."""
        noted_at = time.monotonic()
        while True:
            await asyncio.sleep(SHOWN_S)
            if progress is not None:
                progress(self.progress())
            if time.monotonic() - noted_at > NOTED_S:
                noted_at = time.monotonic()
                await asyncio.to_thread(note)


async def watched(
    running: Running,
    source: Source,
    *,
    pacer: Pacer,
    progress: Callable[[Progress], None] | None,
    note: Callable[[], None],
    cancel: asyncio.Event | None,
) -> list[bytes]:
    """Run it with its pace watched and its progress told; return some of the keys that were written.

    `note` is called in a thread every few seconds: it writes to the journal how far things are.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    others = [asyncio.create_task(pacer.watch(source)), asyncio.create_task(running.report(progress, note))]
    if cancel is not None:
        others.append(asyncio.create_task(running.heed(cancel)))
    try:
        await running.run()
    finally:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        sys.setswitchinterval(before)
    if progress is not None:
        progress(running.progress())
    return running.written
