"""The other half of write-behind: takes updates from the stream and writes them to the database."""

from __future__ import annotations

import logging
import os
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cachetui.patterns.codec import Codec, Serialiser
from cachetui.patterns.errors import Rejected
from cachetui.patterns.names import lock_of
from cachetui.patterns.store import Face, Lease
from cachetui.patterns.write_behind import GROUP, Queue, Update

log = logging.getLogger("cachetui.patterns")

SPLIT_AFTER = 2
"""A batch is tried so often as a whole before its updates are tried one by one."""
GIVE_UP_AFTER = 3
"""When the first so many of them all fail, it is the database, not the updates."""
DEAD_MOST = 100_000

RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
# Only who still has the partition may say that its updates are done.
DONE = """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
local reason, count, ids = ARGV[3], tonumber(ARGV[5]), {}
for at = 1, count do ids[at] = ARGV[5 + at] end
if reason ~= '' then
  for _, id in ipairs(ids) do
    local found = redis.call('XRANGE', KEYS[1], id, id)
    if found[1] then
      redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[4], '*', 'why', reason, 'id', id, unpack(found[1][2]))
    end
  end
end
redis.call('XACK', KEYS[1], ARGV[2], unpack(ids))
redis.call('XDEL', KEYS[1], unpack(ids))
for at = 6 + count, #ARGV, 2 do
  local key, id = ARGV[at], ARGV[at + 1]
  local latest = redis.call('HGET', KEYS[2], key)
  if latest and string.sub(latest, 1, #id + 1) == id .. ':' then redis.call('HDEL', KEYS[2], key) end
end
return 1
"""


class LostLease(Exception):
    """Another flusher has taken the partition over."""


@dataclass(slots=True)
class Taken:
    """An update with its place in the stream."""

    id: bytes
    update: Update


@dataclass(slots=True)
class Part:
    """A partition, as this flusher sees it."""

    stream: bytes
    token: bytes = b""
    """What our lease is known by; empty: we have none."""
    renew_at: float = 0.0
    recover: bool = True
    """Updates may have been delivered to us that we do not hold."""
    resume_at: float = 0.0
    failures: int = 0
    attempts: dict[bytes, int] = field(default_factory=dict)
    """Failures of single updates in rounds where others succeeded."""


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
        from cachetui.patterns.redis_store import Script

        self.batch, self.coalesce, self.attempts, self.lease_s = batch, coalesce, attempts, lease_s
        self.first_pause_s, self.longest_pause_s, self.idle_s = first_pause_s, longest_pause_s, idle_s
        self.written = 0
        """Updates taken from the stream as written since the start."""
        self._queue = Queue(client, name, partitions, codec, self._face)
        self._store, self._runtime, self._write = self._queue.store, self._queue.runtime, write
        self._prefix = prefix.encode()
        self._parts = [Part(self._queue.stream(partition)) for partition in range(partitions)]
        self._consumer = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(3)}"
        self._renew, self._done = Script(RENEW), Script(DONE)
        self._stopping, self._drain_s = False, 0.0

    # ----- the loop

    async def _run(self) -> None:
        """Flush until told to stop; then go on until nothing waits, for a limited time."""
        until = None
        while True:
            worked = await self._flush()
            if self._stopping:
                until = until or time.monotonic() + self._drain_s
                waiting = sum(bool(part.token) and part.resume_at > time.monotonic() for part in self._parts)
                if time.monotonic() >= until or not (worked or waiting):
                    break
            if not worked:
                await self._runtime.sleep(self.idle_s)
        for part in self._parts:
            await self._let_go(part)

    async def _flush(self) -> int:
        """Write one batch of each partition; return how many updates were taken from the stream."""
        worked = 0
        for part in self._parts:
            if time.monotonic() < part.resume_at:
                continue
            try:
                worked += await self._step(part)
            except LostLease:
                part.token, part.recover = b"", True
            except self._store.failures as error:
                log.warning("the queue of write-behind does not answer: %s", type(error).__name__)
                part.recover = True
                self._pause(part)
        return worked

    async def _step(self, part: Part) -> int:
        if not await self._hold(part):
            return 0
        taken = await self._take(part)
        if not taken:
            part.recover = False
            return 0
        return await self._settle(part, taken)

    def _pause(self, part: Part) -> None:
        pause_s = min(self.longest_pause_s, self.first_pause_s * 2 ** min(part.failures, 20))
        part.failures += 1
        part.resume_at = time.monotonic() + pause_s * random.uniform(0.7, 1.3)

    # ----- the lease of a partition

    async def _hold(self, part: Part) -> bool:
        now, lease_ms = time.monotonic(), max(1, round(self.lease_s * 1000))
        if part.token:
            if now >= part.renew_at:
                if not await self._store.run(self._renew, [lock_of(part.stream)], part.token, lease_ms):
                    raise LostLease
                part.renew_at = now + self.lease_s / 3
            return True
        token = b"flusher:" + secrets.token_hex(8).encode()
        if not await self._store.add(lock_of(part.stream), token, lease_ms):
            return False
        part.token, part.renew_at, part.recover = token, now + self.lease_s / 3, True
        await self._take_over(part)
        return True

    async def _take_over(self, part: Part) -> None:
        """Make everything ours that another consumer had under way: only one at a time has the partition."""
        from redis.exceptions import ResponseError

        try:
            await self._store.ask("XGROUP", "CREATE", part.stream, GROUP, "0", "MKSTREAM")
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        cursor: Any = "0-0"
        while True:
            claim = ("XAUTOCLAIM", part.stream, GROUP, self._consumer, 0, cursor, "COUNT", 1000)
            reply = await self._store.ask(*claim)
            cursor = reply[0] if isinstance(reply[0], bytes | str) else b"0-0"
            if cursor in (b"0-0", "0-0"):
                return

    async def _let_go(self, part: Part) -> None:
        if part.token:
            try:
                await self._store.release(Lease(part.stream, part.token))
            except self._store.failures as error:
                log.info("the lease of a partition runs out by itself: %s", type(error).__name__)
            part.token = b""

    # ----- reading

    async def _take(self, part: Part) -> list[Taken]:
        """Return the next updates: first those that were delivered to us before."""
        taken: list[Taken] = []
        if part.recover:
            taken = await self._read(part, "0")
            part.recover = len(taken) >= self.batch
        if len(taken) < self.batch:
            taken += await self._read(part, ">", self.batch - len(taken))
        return taken

    async def _read(self, part: Part, start: str, count: int | None = None) -> list[Taken]:
        words = ("XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", count or self.batch, "STREAMS")
        rows = _rows(await self._store.ask(*words, part.stream, start))
        gone = [row[0] for row in rows if not row[1]]
        if gone:
            await self._store.ask("XACK", part.stream, GROUP, *gone)
        taken = []
        for entry_id, fields in ((row[0], row[1]) for row in rows if row[1]):
            try:
                taken.append(Taken(entry_id, self._update(entry_id, fields)))
            except (KeyError, ValueError) as error:  # somebody else wrote into the stream, or another codec did
                log.error("write-behind: an entry that cannot be read becomes a dead letter: %s", error)
                await self._end(part, [entry_id], {fields.get(b"k", b""): entry_id}, f"unreadable: {error}")
        return taken

    def _update(self, entry_id: bytes, fields: Any) -> Update:
        milliseconds, _, number = entry_id.partition(b"-")
        return Update(fields[b"k"].decode(), self._queue.decode(fields[b"v"]), int(milliseconds) << 20 | int(number))

    # ----- writing

    async def _settle(self, part: Part, taken: list[Taken]) -> int:
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

    async def _settle_singly(self, part: Part, taken: list[Taken]) -> int:
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

    async def _finish(self, part: Part, taken: list[Taken], reason: str = "") -> None:
        """Take updates from the stream; with a reason they become dead letters. Raises LostLease."""
        last = {one.update.key.encode(): one.id for one in taken}
        # A writer that died before it removed the cached value is made good here.
        await self._store.remove([self._prefix + key for key in last])
        await self._end(part, [one.id for one in taken], last, reason)
        if not reason:
            self.written += len(taken)

    async def _end(self, part: Part, ids: list[bytes], last: dict[bytes, bytes], reason: str) -> None:
        """Take entries from the stream, and from the waiting values those of which `last` names the latest."""
        keys = [part.stream, part.stream + b":values", lock_of(part.stream), part.stream + b":dead"]
        pairs = [field for pair in last.items() for field in pair]
        head = (part.token, GROUP, reason, DEAD_MOST, len(ids))
        if not await self._store.run(self._done, keys, *head, *ids, *pairs):
            raise LostLease


def _rows(reply: Any) -> list[Any]:
    """Return the entries of an XREADGROUP reply of either protocol version."""
    streams = reply.values() if isinstance(reply, dict) else [entries for _, entries in reply or ()]
    rows: list[Any] = []
    for entries in streams:
        # Some versions of the client wrap the entries once more.
        wrapped = entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], list | tuple)
        rows += entries[0] if wrapped else entries
    return rows
