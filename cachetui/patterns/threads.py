"""The face for threads: each method blocks its caller. What they guarantee is said where the core is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cachetui.patterns.cache_aside import CacheAsideCore
from cachetui.patterns.running import finish
from cachetui.patterns.tags import TagsCore
from cachetui.patterns.versioned import VersionedCore
from cachetui.patterns.write_through import WriteThroughCore, Written


class CacheAside(CacheAsideCore):
    __doc__ = CacheAsideCore.__doc__
    _face = "threads"

    def get(self, key: str) -> Any:
        """Return the value of `key`, or None where the loader has none. Raises the loader's own error."""
        return finish(self._get(key))

    def invalidate(self, *keys: str) -> int:
        """Remove `keys` from the cache and return how many it held. Call it after the source has changed.

        Raises the client's error when the cache did not confirm.
        """
        return finish(self._invalidate(keys))

    def close(self) -> None:
        """Wait for refreshes in the background. The client stays open."""
        finish(self._close())


class WriteThrough(WriteThroughCore):
    __doc__ = WriteThroughCore.__doc__
    _face = "threads"

    def write(self, key: str, value: Any) -> Written:
        """Write to the database and then to the cache. Raises the database's error."""
        return finish(self._write(key, value))


class Tags(TagsCore):
    __doc__ = TagsCore.__doc__
    _face = "threads"

    def add(self, key: str, tags: Iterable[str], ttl_s: float) -> None:
        """Let a key belong to tags for `ttl_s` seconds: as long as its value lives, at least."""
        finish(self._add(key, tags, ttl_s))

    def members(self, tag: str) -> set[bytes]:
        """Return the keys that belong to a tag, some of them perhaps gone."""
        return finish(self._members(tag))

    def invalidate(self, *tags: str) -> int:
        """Remove the keys of these tags and return how many there were. Raises the client's error."""
        return finish(self._invalidate(tags))


class Versioned(VersionedCore):
    __doc__ = VersionedCore.__doc__
    _face = "threads"

    def version(self) -> int:
        """Return the current version."""
        return finish(self._version())

    def bump(self) -> int:
        """Raise the version and return it: all keys of earlier ones are out of reach."""
        return finish(self._bump())

    def key(self, key: str) -> str:
        """Return the full name of a key under the current version."""
        return finish(self._key(key))
