"""Write-behind: updates are queued in a stream of Redis and written to the database later, by a `Flusher`."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cachetui.patterns.codec import Codec, Serialiser
from cachetui.patterns.entry import PREFIX, Entry
from cachetui.patterns.errors import Backlogged, Unsupported
from cachetui.patterns.store import Face, bind

if TYPE_CHECKING:
    from cachetui.patterns.redis_store import RedisStore, Script

CHUNK = 500
"""So many updates at most travel in one call."""
PAUSE_S = 0.01

PUT = """
if redis.call('XLEN', KEYS[1]) + (#ARGV - 1) / 2 > tonumber(ARGV[1]) then return 0 end
local latest = {}
for at = 2, #ARGV, 2 do
  local id = redis.call('XADD', KEYS[1], '*', 'k', ARGV[at], 'v', ARGV[at + 1])
  latest[at - 1] = ARGV[at]
  latest[at] = id .. ':' .. ARGV[at + 1]
end
redis.call('HSET', KEYS[2], unpack(latest))
return 1
"""


@dataclass(frozen=True, slots=True)
class Update:
    """One change of one key."""

    key: str
    value: Any
    """None: the key is deleted."""
    sequence: int
    """Grows with every update of a key. A database that keeps it can refuse what comes again or too late."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in a queue, all partitions together."""

    depth: int
    """Updates not yet written."""
    oldest_s: float
    """Age of the oldest of them in seconds, 0 when there is none."""
    dead: int
    """Dead letters."""


class Queue:
    """The names and the form of a write-behind queue, known to its writers and its flushers."""

    def __init__(self, client: Any, name: str, partitions: int, codec: Codec | Serialiser | None, face: Face) -> None:
        from cachetui.patterns.redis_store import RedisStore, Script

        if not name or "{" in name or "}" in name or partitions < 1:
            raise ValueError("a queue has a name without braces and at least one partition")
        store, self.runtime = bind(client, face)
        if not isinstance(store, RedisStore):
            raise Unsupported("write-behind needs streams: Redis or Valkey")
        self.store: RedisStore = store
        self.name, self.partitions = name, partitions
        self.codec = codec if isinstance(codec, Codec) else Codec(codec)
        self.put_script: Script = Script(PUT)

    def stream(self, partition: int) -> bytes:
        return f"behind:{{{self.name}:{partition}}}".encode()

    def partition(self, key: str) -> int:
        return zlib.crc32(key.encode()) % self.partitions

    def encode(self, value: Any) -> bytes:
        if value is None:
            return Entry(None).encode()
        packed = self.codec.pack(value)
        if packed is None:
            raise ValueError("the value is larger than the codec's max_bytes")
        return Entry(*packed).encode()

    def decode(self, data: bytes) -> Any:
        if not data.startswith(PREFIX):
            return self.codec.unpack(data)
        entry = Entry.decode(data)
        return None if entry.body is None else self.codec.unpack(entry.body, entry.packed)


class WriteBehindCore:
    """Queues updates; a `Flusher` with the same `name`, `partitions` and `codec`, here or elsewhere, writes them.

    `prefix` is that of the `CacheAside` in front; give its loader to `reading` first. The queue holds at most
    `max_backlog` updates in each of its `partitions`; `put` waits `wait_s` for room.

    Guarantees:

    - When `put` has returned, the update is in the stream: it reaches the database at least once, also when this
      process or a flusher is killed at any moment, in the order in which the updates of its key were queued.
    - When `put` has returned, every read through `reading` gives this value or a later one, whether it is still
      queued or written, evicted from the cache or not.
    - The queue is bounded: `put` raises `Backlogged`, and queues nothing of what it names, when there is no room.
    - If `put` raises another error, or its process dies, the update may or may not be queued; the cache may show the
      old value until it is written.

    The stream is only as safe as its server: use one that does not evict (`noeviction` or `volatile-*`) and that
    persists (`appendonly yes`). A failover may lose the last updates; `WAIT` on your side narrows that.
    """

    _face: Face

    def __init__(
        self,
        client: Any,
        name: str,
        *,
        prefix: str = "",
        partitions: int = 1,
        max_backlog: int = 100_000,
        wait_s: float = 1.0,
        codec: Codec | Serialiser | None = None,
    ) -> None:
        if max_backlog < 1 or wait_s < 0:
            raise ValueError("max_backlog must be at least 1 and wait_s at least 0")
        self.max_backlog, self.wait_s = max_backlog, wait_s
        self._queue = Queue(client, name, partitions, codec, self._face)
        self._prefix = prefix.encode()

    async def _put(self, updates: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> int:
        queue, until = self._queue, time.monotonic() + self.wait_s
        parts: dict[int, list[tuple[bytes, bytes]]] = {}
        for key, value in updates.items() if isinstance(updates, Mapping) else updates:
            parts.setdefault(queue.partition(key), []).append((key.encode(), queue.encode(value)))
        queued = 0
        for partition, pairs in parts.items():
            step = min(CHUNK, self.max_backlog)
            for at in range(0, len(pairs), step):
                some = pairs[at : at + step]
                await self._queued(partition, some, until, queued)
                # Whoever loaded before may no longer store it, and the next reader finds the queued value.
                await queue.store.remove([self._prefix + key for key in dict(some)])
                queued += len(some)
        return queued

    async def _queued(self, partition: int, pairs: list[tuple[bytes, bytes]], until: float, queued: int) -> None:
        queue, stream = self._queue, self._queue.stream(partition)
        flat = [part for pair in pairs for part in pair]
        while not await queue.store.run(queue.put_script, [stream, stream + b":values"], self.max_backlog, *flat):
            if time.monotonic() >= until:
                raise Backlogged(f"{self.max_backlog:,} updates wait already; {queued:,} of this call were queued")
            await queue.runtime.sleep(PAUSE_S)

    async def _queued_value(self, key: str) -> tuple[bool, Any]:
        """Return whether an update of a key waits, and the value it will have."""
        queue = self._queue
        found = await queue.store.ask("HGET", queue.stream(queue.partition(key)) + b":values", key.encode())
        return (False, None) if found is None else (True, queue.decode(found.partition(b":")[2]))

    async def _read(self, loader: Callable[..., Any], key: str) -> Any:
        # The cache asks after it took its lease: an update queued later ends that lease.
        waits, value = await self._queued_value(key)
        return value if waits else await self._queue.runtime.call(loader, key)

    async def _backlog(self) -> Backlog:
        store, depth, dead, oldest_ms = self._queue.store, 0, 0, 0
        for partition in range(self._queue.partitions):
            stream = self._queue.stream(partition)
            depth += await store.ask("XLEN", stream)
            dead += await store.ask("XLEN", stream + b":dead")
            first = await store.ask("XRANGE", stream, "-", "+", "COUNT", 1)
            if first:
                age_ms = round(time.time() * 1000) - int(first[0][0].partition(b"-")[0])
                oldest_ms = max(oldest_ms, age_ms)
        return Backlog(depth, oldest_ms / 1000, dead)
