"""The other half of write-behind: takes updates from the stream and writes them to the database."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any

from cachetui.patterns.codec import Codec, Serialiser
from cachetui.patterns.errors import Rejected
from cachetui.patterns.partition import LostLease, Partition, Taken
from cachetui.patterns.store import Face
from cachetui.patterns.write_behind import Queue

log = logging.getLogger("cachetui.patterns")

SPLIT_AFTER = 2
"""A batch is tried so often as a whole before its updates are tried one by one."""
GIVE_UP_AFTER = 3
"""When the first so many of them all fail, it is the database, not the updates."""


class FlusherCore:
    """Writes the updates of a queue, each partition by one flusher at a time.

    `write(updates)` gets a list of `Update` and has to write all of them, or raise. It must be idempotent. Raise
    `Rejected` in it for a list with an update that no retry can save. With `coalesce` only the last of several
    updates of one key in a batch is written.

    Guarantees:

    - At least once: an update is taken from the stream only after `write` has returned for it. A flusher that was
      killed is followed by another after `lease_s`, which first takes over what was under way.
    - In order for each key: a failing update holds back the later ones of its key, and those of no other key.
    - A batch that fails is tried again with growing, jittered pauses, at most `longest_pause_s`, for as long as the
      database is down. An update that fails `attempts` times while others succeed, or is `Rejected`, becomes a dead
      letter, with the reason, in `behind:{NAME:PARTITION}:dead` (the newest 100,000 are kept).
    - `close` writes what waits until the queue is empty or `drain_s` are over, and leaves the rest in the stream.

    Not guaranteed: exactly once, and order across a pause. A flusher that is paused inside `write` for longer than
    `lease_s` may write an old batch after a newer one: keep `Update.sequence` in the database and refuse smaller ones
    (`... WHERE excluded.sequence > sequence`), and nothing goes wrong. `lease_s` must be longer than the slowest write.
    """

    _face: Face

    def __init__(
        self,
        client: Any,
        name: str,
        write: Callable[..., Any],
        *,
        prefix: str = "",
        partitions: int = 1,
        codec: Codec | Serialiser | None = None,
        batch: int = 500,
        coalesce: bool = True,
        attempts: int = 5,
        lease_s: float = 30.0,
        first_pause_s: float = 0.1,
        longest_pause_s: float = 30.0,
        idle_s: float = 0.05,
    ) -> None:
        if not 1 <= batch <= 2000 or attempts < 1 or min(lease_s, first_pause_s, longest_pause_s, idle_s) <= 0:
            raise ValueError("batch must be from 1 to 2000, attempts at least 1, all times more than 0")
        self.batch, self.coalesce, self.attempts = batch, coalesce, attempts
        self.first_pause_s, self.longest_pause_s, self.idle_s = first_pause_s, longest_pause_s, idle_s
        self.written = 0
        """Updates taken from the stream as written since the start."""
        self._queue = Queue(client, name, partitions, codec, self._face)
        self._store, self._runtime, self._write = self._queue.store, self._queue.runtime, write
        self._prefix = prefix.encode()
        self._parts = [Partition(self._queue, number, lease_s) for number in range(partitions)]
        self._stopping, self._drain_s = False, 0.0

    # ----- the loop

    async def _run(self) -> None:
        """Flush until told to stop; then go on until nothing waits, for a limited time."""
        until = None
        while True:
            worked = await self._flush()
            if self._stopping:
                until = until or time.monotonic() + self._drain_s
                waiting = sum(part.held and part.resume_at > time.monotonic() for part in self._parts)
                if time.monotonic() >= until or not (worked or waiting):
                    break
            if not worked:
                await self._runtime.sleep(self.idle_s)
        for part in self._parts:
            await part.let_go()

    async def _flush(self) -> int:
        """Write one batch of each partition; return how many updates were taken from the stream."""
        worked = 0
        for part in self._parts:
            if time.monotonic() < part.resume_at:
                continue
            try:
                worked += await self._step(part)
            except LostLease:
                part.lost()
            except self._store.failures as error:
                log.warning("the queue of write-behind does not answer: %s", type(error).__name__)
                part.recover = True
                if "NOGROUP" in str(error):
                    await part.let_go()  # the stream is gone, and its group with it: taken anew, both are made
                self._pause(part)
        return worked

    async def _step(self, part: Partition) -> int:
        if not await part.hold():
            return 0
        taken = await part.take(self.batch)
        return await self._settle(part, taken) if taken else 0

    def _pause(self, part: Partition) -> None:
        pause_s = min(self.longest_pause_s, self.first_pause_s * 2 ** min(part.failures, 20))
        part.failures += 1
        part.resume_at = time.monotonic() + pause_s * random.uniform(0.7, 1.3)

    # ----- writing

    async def _settle(self, part: Partition, taken: list[Taken]) -> int:
        """Write updates and take from the stream what was written; return how many."""
        try:
            await self._written([one for group in self._groups(taken) for one in group[-1:]])
        except Exception as error:
            log.warning("write-behind: a batch of %d failed: %s: %s", len(taken), type(error).__name__, error)
            part.recover = True
            done = 0
            if isinstance(error, Rejected) or part.failures >= SPLIT_AFTER:
                done = await self._settle_singly(part, taken)
            if not done:
                self._pause(part)
            return done
        await self._finish(part, taken)
        part.failures = 0
        part.attempts.clear()
        return len(taken)

    async def _settle_singly(self, part: Partition, taken: list[Taken]) -> int:
        held: dict[str, Exception] = {}
        failed: list[tuple[Taken, Exception]] = []
        done = 0
        for group in self._groups(taken):
            last = group[-1]
            if last.update.key in held:
                continue  # an earlier update of this key has to be written first
            try:
                await self._written([last])
            except Exception as error:
                held[last.update.key] = error
                failed.append((last, error))
                if (
                    not done
                    and len(failed) >= GIVE_UP_AFTER
                    and not any(isinstance(why, Rejected) for _, why in failed)
                ):
                    return 0
            else:
                await self._finish(part, group)
                done += len(group)
        others = done > 0
        for one, why in failed:
            part.attempts[one.id] = part.attempts.get(one.id, 0) + others
            if isinstance(why, Rejected) or part.attempts[one.id] >= self.attempts:
                await self._finish(part, [one], f"{type(why).__name__}: {why}"[:500])
                part.attempts.pop(one.id)
                done += 1
        return done

    def _groups(self, taken: list[Taken]) -> list[list[Taken]]:
        """Return what is written as one: all updates of a key, of which the last counts, or each by itself."""
        if not self.coalesce:
            return [[one] for one in taken]
        groups: dict[str, list[Taken]] = {}
        for one in taken:
            groups.setdefault(one.update.key, []).append(one)
        return list(groups.values())

    async def _written(self, some: list[Taken]) -> None:
        await self._runtime.call(self._write, [one.update for one in some])

    async def _finish(self, part: Partition, taken: list[Taken], reason: str = "") -> None:
        """Take updates from the stream; with a reason they become dead letters. Raises LostLease."""
        last = {one.update.key.encode(): one.id for one in taken}
        # A writer that died before it removed the cached value is made good here.
        await self._store.remove([self._prefix + key for key in last])
        await part.end([one.id for one in taken], last, reason)
        if not reason:
            self.written += len(taken)
