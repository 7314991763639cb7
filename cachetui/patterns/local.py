"""A first level in this process, kept right by the server: it tells what has changed (CLIENT TRACKING, RESP3)."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from cachetui.patterns.errors import Unsupported
from cachetui.patterns.loading import Read
from cachetui.patterns.running import finish
from cachetui.patterns.store import Face

log = logging.getLogger("cachetui.patterns")

LATELY = 4096
"""So many invalidations are remembered for lookups that are under way."""
PING_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0


class Local:
    """The first level of one `CacheAside`: give it as `local=Local(...)`, and each cache its own.

    It holds at most `max_entries` values, each for at most `ttl_s`; every get returns the same object, so do not
    change it. One connection of its own hears from the server of every change under the cache's prefix, which must
    not be empty. For one server and Sentinel, with a redis-py client; not for a cluster (each node tells only of its
    own keys) and not for Memcached.

    Guarantees:

    - A value is returned only while that connection lives; when it is lost, everything here is forgotten.
    - A lookup that was under way when its key changed is not kept.
    - After a change anywhere, the old value is returned no longer than the server's message takes, and, when the
      connection hangs without breaking, than two seconds. A key that expires is told when the server removes it,
      so it may be returned up to `ttl_s` longer.
    """

    def __init__(self, max_entries: int = 10_000, ttl_s: float = 30.0) -> None:
        if max_entries < 1 or ttl_s <= 0:
            raise ValueError("max_entries must be at least 1 and ttl_s more than 0")
        self.max_entries, self.ttl_s = max_entries, ttl_s
        self.live = False
        """Whether the server tells of changes at this moment."""
        self._entries: OrderedDict[bytes, tuple[Read, float]] = OrderedDict()
        self._lately: OrderedDict[bytes, int] = OrderedDict()
        self._floor = self._clock = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._listener: threading.Thread | asyncio.Task[None] | None = None

    def bind(self, client: Any, face: Face, prefix: bytes) -> Local:
        """Begin to listen for changes under a prefix. Raises Unsupported."""
        if self._listener is not None:
            raise ValueError("a Local belongs to one cache")
        if not prefix:
            raise ValueError("a local level needs a prefix: it hears of every change under it")
        pool = getattr(client, "connection_pool", None)
        if pool is None or not hasattr(pool, "connection_class"):
            raise Unsupported("a local level needs one Redis-like server, or Sentinel, that tracks keys")
        self._face, self._pool, self._prefix = face, pool, prefix
        if face == "threads":
            self._start()
        return self

    def _start(self) -> None:
        if self._face == "threads":
            listener = threading.Thread(target=lambda: finish(self._listen()), name="cache-tracking", daemon=True)
            self._listener = listener
            listener.start()
        else:
            self._listener = asyncio.get_running_loop().create_task(self._listen())

    # ----- what a cache asks

    def look(self, name: bytes) -> tuple[Read | None, int]:
        """Return what is kept, and a stamp to keep with what the server answers now."""
        if self._listener is None:
            self._start()  # with asyncio only when the loop runs
        with self._lock:
            found = self._entries.get(name)
            if found is not None:
                read, until = found
                now = time.monotonic()
                if now < until and not (read.fresh_until_ms and time.time() * 1000 >= read.fresh_until_ms):
                    self._entries.move_to_end(name)
                    return read, self._clock
                del self._entries[name]
            return None, self._clock

    def keep(self, name: bytes, read: Read, stamp: int) -> None:
        """Keep what the server answered, unless the key has changed since the stamp."""
        with self._lock:
            if not self.live or stamp < self._floor or self._lately.get(name, -1) > stamp:
                return
            self._entries[name] = read, time.monotonic() + self.ttl_s
            self._entries.move_to_end(name)
            if len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)

    def drop(self, names: Iterable[bytes]) -> None:
        """Forget names, also for the lookups that are under way."""
        with self._lock:
            self._clock += 1
            for name in names:
                self._entries.pop(name, None)
                self._lately[name] = self._clock
                self._lately.move_to_end(name)
            while len(self._lately) > LATELY:
                _, self._floor = self._lately.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._clock += 1
            self._floor = self._clock
            self._entries.clear()
            self._lately.clear()

    def close(self) -> None:
        """Stop to listen and forget everything."""
        self._closed.set()
        if isinstance(self._listener, asyncio.Task):
            self._listener.cancel()
        self._gone()

    # ----- listening

    def _gone(self) -> None:
        self.live = False
        self.clear()

    async def _listen(self) -> None:
        from redis.exceptions import RedisError

        pause_s = FIRST_PAUSE_S
        while not self._closed.is_set():
            try:
                await self._hear()
            except (RedisError, OSError, TimeoutError) as error:
                log.info("the local level is off: the server does not tell of changes: %s", type(error).__name__)
                pause_s = FIRST_PAUSE_S if self.live else min(LONGEST_PAUSE_S, pause_s * 2)
            finally:
                self._gone()
            waited_s = pause_s * random.uniform(0.7, 1.3)
            if self._face == "threads":
                self._closed.wait(waited_s)
            else:
                await asyncio.sleep(waited_s)

    async def _hear(self) -> None:
        """Listen on one connection until it fails."""
        connection = self._pool.connection_class(**{**self._pool.connection_kwargs, "protocol": 3})
        try:
            await _settled(connection.connect())
            connection._parser.set_invalidation_push_handler(self._told if self._face == "threads" else self._told_soon)
            command = ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix)
            await _settled(connection.send_command(*command))
            await _settled(connection.read_response())
            self.clear()
            self.live, asked = True, False
            while not self._closed.is_set():
                try:
                    reading = connection.read_response(push_request=True, timeout=PING_S, disconnect_on_error=False)
                    await _settled(reading)
                    asked = False
                except _timeouts():
                    if asked:
                        raise
                    asked = True
                    await _settled(connection.send_command("PING"))
        finally:
            self._gone()
            await _settled(connection.disconnect())

    def _told(self, message: list[Any]) -> list[Any]:
        names = message[1]
        if names is None:
            self.clear()
        else:
            self.drop(names)
        return message

    async def _told_soon(self, message: list[Any]) -> list[Any]:
        return self._told(message)


def _timeouts() -> tuple[type[Exception], ...]:
    from redis.exceptions import TimeoutError as RedisTimeout

    return (RedisTimeout, TimeoutError)


async def _settled(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer
