"""The face for asyncio: each method is a coroutine. What they guarantee is said where the core is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cachetui.patterns.breaker import CircuitBreaker
from cachetui.patterns.cache_aside import CacheAsideCore
from cachetui.patterns.guard import Bulkhead
from cachetui.patterns.local import Local
from cachetui.patterns.tags import TagsCore
from cachetui.patterns.versioned import VersionedCore
from cachetui.patterns.write_through import WriteThroughCore, Written

__all__ = ["Bulkhead", "CacheAside", "CircuitBreaker", "Local", "Tags", "Versioned", "WriteThrough"]


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


class WriteThrough(WriteThroughCore):
    __doc__ = WriteThroughCore.__doc__
    _face = "tasks"

    async def write(self, key: str, value: Any) -> Written:
        """Write to the database and then to the cache. Raises the database's error."""
        return await self._write(key, value)


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
