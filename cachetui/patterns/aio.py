"""The face for asyncio: each method is a coroutine. What they guarantee is said where the core is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from cachetui.patterns.breaker import CircuitBreaker
from cachetui.patterns.cache_aside import CacheAsideCore
from cachetui.patterns.cached import CachedCore, TagsOf
from cachetui.patterns.codec import Json
from cachetui.patterns.flusher import FlusherCore
from cachetui.patterns.guard import Bulkhead
from cachetui.patterns.keys import Key
from cachetui.patterns.local import Local
from cachetui.patterns.tags import TagsCore
from cachetui.patterns.versioned import VersionedCore
from cachetui.patterns.write_behind import Backlog, WriteBehindCore
from cachetui.patterns.write_through import WriteThroughCore, Written

__all__ = [
    "Bulkhead",
    "CacheAside",
    "CircuitBreaker",
    "Flusher",
    "Local",
    "Tags",
    "Versioned",
    "WriteBehind",
    "WriteThrough",
    "cached",
]


class CacheAside(CacheAsideCore):
    __doc__ = CacheAsideCore.__doc__
    _face = "tasks"

    async def get(self, key: str) -> Any:
        """Return the value of `key`, or None where the loader has none. Raises the loader's own error."""
        return await self._get(key)

    async def invalidate(self, *keys: str) -> int:
        """Remove `keys` from the cache and return how many it held. Call it after the source has changed.

        Raises the client's error, or TimeoutError, when the cache did not confirm.
        """
        return await self._invalidate(keys)

    async def close(self) -> None:
        """Wait for refreshes in the background. The client stays open."""
        await self._close()


class Cached(CachedCore):
    __doc__ = CachedCore.__doc__

    async def __call__(self, *args: Any, **named: Any) -> Any:
        return await self.cache._get(self.key(*args, **named), self._load(args, named))

    async def invalidate(self, *args: Any, **named: Any) -> int:
        """Remove the result of one call from the cache."""
        return await self.cache._invalidate([self.key(*args, **named)])


def cached(
    client: Any, *, ttl: float, key: Key = None, tags: TagsOf = (), **options: Any
) -> Callable[[Callable[..., Any]], Cached]:
    """Read a coroutine function's results through the cache; the same as `cachetui.patterns.cached`."""

    def decorate(function: Callable[..., Any]) -> Cached:
        return Cached(CacheAside(client, function, ttl, **{"codec": Json(), **options}), function, key, tags)

    return decorate


class WriteThrough(WriteThroughCore):
    __doc__ = WriteThroughCore.__doc__
    _face = "tasks"

    async def write(self, key: str, value: Any) -> Written:
        """Write to the database and then to the cache. Raises the database's error."""
        return await self._write(key, value)


class WriteBehind(WriteBehindCore):
    __doc__ = WriteBehindCore.__doc__
    _face = "tasks"

    async def put(self, key: str, value: Any) -> None:
        """Queue one update; None deletes. Raises Backlogged."""
        await self._put([(key, value)])

    async def put_many(self, updates: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> int:
        """Queue updates in their order, 500 at a time, and return how many. Raises Backlogged."""
        return await self._put(updates)

    def reading(self, loader: Callable[[str], Awaitable[Any]]) -> Callable[[str], Awaitable[Any]]:
        """Return the loader for the `CacheAside` in front: what is queued comes before the database."""

        async def load(key: str) -> Any:
            return await self._read(loader, key)

        return load

    async def backlog(self) -> Backlog:
        """Return what waits."""
        return await self._backlog()


class Flusher(FlusherCore):
    __doc__ = FlusherCore.__doc__
    _face = "tasks"
    _task: asyncio.Task[None] | None = None

    async def flush(self) -> int:
        """Write one batch of each partition that is ours; return how many updates were taken from the stream."""
        return await self._flush()

    async def start(self) -> None:
        """Flush in a task until `close`."""
        self._task = asyncio.ensure_future(self._run())

    async def close(self, drain_s: float = 10.0) -> None:
        """Write what waits, for `drain_s` at most, and let the partitions go."""
        self._drain_s, self._stopping = drain_s, True
        await (self._task or self._run())


class Tags(TagsCore):
    __doc__ = TagsCore.__doc__
    _face = "tasks"

    async def add(self, key: str, tags: Iterable[str], ttl_s: float) -> None:
        """Let a key belong to tags for `ttl_s` seconds: as long as its value lives, at least."""
        await self._add(key, tags, ttl_s)

    async def members(self, tag: str) -> set[bytes]:
        """Return the keys that belong to a tag, some of them perhaps gone."""
        return await self._members(tag)

    async def invalidate(self, *tags: str) -> int:
        """Remove the keys of these tags and return how many there were. Raises the client's error."""
        return await self._invalidate(tags)


class Versioned(VersionedCore):
    __doc__ = VersionedCore.__doc__
    _face = "tasks"

    async def version(self) -> int:
        """Return the current version."""
        return await self._version()

    async def bump(self) -> int:
        """Raise the version and return it: all keys of earlier ones are out of reach."""
        return await self._bump()

    async def key(self, key: str) -> str:
        """Return the full name of a key under the current version."""
        return await self._key(key)
