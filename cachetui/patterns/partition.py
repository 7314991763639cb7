"""One partition of a write-behind queue, as the flusher that holds it sees it."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from typing import Any

from cachetui.patterns.names import lock_of
from cachetui.patterns.store import Lease
from cachetui.patterns.write_behind import Queue, Update

log = logging.getLogger("cachetui.patterns")

GROUP, CONSUMER = "flush", "flusher"
"""One consumer for all flushers: only one at a time has the partition, and finds what another left under way."""
DEAD_MOST = 100_000

# Only who has the lease may take: what a flusher that lost it took would wait for nobody. Each take renews the lease.
TAKE = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local reply = redis.call('XREADGROUP', 'GROUP', ARGV[3], ARGV[4], 'COUNT', ARGV[5], 'STREAMS', KEYS[1], ARGV[6])
return reply and reply[1][2] or {}
"""
# Only who has the lease may say that its updates are done.
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


class Partition:
    """A stream and our lease on it."""

    def __init__(self, queue: Queue, number: int, lease_s: float) -> None:
        from cachetui.patterns.redis_store import Script

        self.recover = True
        """Updates may have been delivered that we do not hold."""
        self.resume_at = 0.0
        """Until then, by the monotonic clock, nothing is tried."""
        self.failures = 0
        self.attempts: dict[bytes, int] = {}
        """Failures of single updates in rounds where others succeeded."""
        self._queue, self._store = queue, queue.store
        self._stream = queue.stream(number)
        self._lock = lock_of(self._stream)
        self._lease_ms = max(1, round(lease_s * 1000))
        self._token = b""
        self._take, self._done = Script(TAKE), Script(DONE)

    @property
    def held(self) -> bool:
        """Whether it is ours, as far as we know."""
        return bool(self._token)

    async def hold(self) -> bool:
        """Return whether it is ours; take it where nobody has it."""
        if self._token:
            return True
        token = b"flusher:" + secrets.token_hex(8).encode()
        if not await self._store.add(self._lock, token, self._lease_ms):
            return False
        self._token, self.recover = token, True
        await self._make_group()
        await self._warn_of_eviction()
        return True

    async def _make_group(self) -> None:
        from redis.exceptions import ResponseError

        try:
            await self._store.ask("XGROUP", "CREATE", self._stream, GROUP, "0", "MKSTREAM")
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _warn_of_eviction(self) -> None:
        if self._store.clustered:
            return
        memory = await self._store.ask("INFO", "memory")
        if memory.get("maxmemory") and str(memory.get("maxmemory_policy")).startswith("allkeys"):
            log.warning("write-behind: this server may evict the queue: use noeviction or volatile-*")

    async def let_go(self) -> None:
        """Give the lease back, so that the next flusher need not wait."""
        if self._token:
            token, self._token = self._token, b""
            try:
                await self._store.release(Lease(self._stream, token))
            except self._store.failures as error:
                log.info("the lease of a partition runs out by itself: %s", type(error).__name__)

    def lost(self) -> None:
        """Note that another flusher has it."""
        self._token, self.recover = b"", True

    async def take(self, batch: int) -> list[Taken]:
        """Return the next updates: first those that were delivered before. Raises LostLease."""
        taken: list[Taken] = []
        if self.recover:
            taken = await self._read("0", batch)
            self.recover = len(taken) >= batch
        if len(taken) < batch:
            taken += await self._read(">", batch - len(taken))
        return taken

    async def _read(self, start: str, count: int) -> list[Taken]:
        arguments = (self._token, self._lease_ms, GROUP, CONSUMER, count, start)
        rows: Any = await self._store.run(self._take, [self._stream, self._lock], *arguments)
        if rows == 0:
            raise LostLease
        taken = []
        for entry_id, flat in rows:
            fields = dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}
            try:
                taken.append(Taken(entry_id, self._update(entry_id, fields)))
            except (KeyError, ValueError) as error:  # somebody else wrote into the stream, or another codec did
                log.error("write-behind: an entry that cannot be read becomes a dead letter: %s", error)
                await self.end([entry_id], {fields.get(b"k", b""): entry_id}, f"unreadable: {error}")
        return taken

    def _update(self, entry_id: bytes, fields: dict[bytes, bytes]) -> Update:
        milliseconds, _, number = entry_id.partition(b"-")
        return Update(fields[b"k"].decode(), self._queue.decode(fields[b"v"]), int(milliseconds) << 20 | int(number))

    async def end(self, ids: list[bytes], last: dict[bytes, bytes], reason: str = "") -> None:
        """Take entries from the stream, and from the waiting values those of which `last` names the latest.

        With a reason they become dead letters. Raises LostLease.
        """
        keys = [self._stream, self._stream + b":values", self._lock, self._stream + b":dead"]
        pairs = [field for pair in last.items() for field in pair]
        head = (self._token, GROUP, reason, DEAD_MOST, len(ids))
        if not await self._store.run(self._done, keys, *head, *ids, *pairs):
            raise LostLease
