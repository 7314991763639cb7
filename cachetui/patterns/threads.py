"""The face for threads: each method blocks its caller. What they guarantee is said where the core is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cachetui.patterns.cache_aside import CacheAsideCore
from cachetui.patterns.cached import CachedCore, TagsOf
from cachetui.patterns.codec import Json
from cachetui.patterns.flusher import FlusherCore
from cachetui.patterns.keys import Key
from cachetui.patterns.running import finish
from cachetui.patterns.tags import TagsCore
from cachetui.patterns.versioned import VersionedCore
from cachetui.patterns.write_behind import Backlog, WriteBehindCore
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


class Cached(CachedCore):
    __doc__ = CachedCore.__doc__

    def __call__(self, *args: Any, **named: Any) -> Any:
        return finish(self.cache._get(self.key(*args, **named), self._load(args, named)))

    def invalidate(self, *args: Any, **named: Any) -> int:
        """Remove the result of one call from the cache."""
        return finish(self.cache._invalidate([self.key(*args, **named)]))


def cached(
    client: Any, *, ttl: float, key: Key = None, tags: TagsOf = (), **options: Any
) -> Callable[[Callable[..., Any]], Cached]:
    """Read a function's results through the cache for `ttl` seconds each.

    `key`: a template of argument names (`"user:{id}"`), a function of the arguments, or None for the function's name
    and a digest of its arguments. `tags`: names, or a function of the arguments. `options`: as for `CacheAside`; the
    results are kept as JSON unless they say otherwise.

        @cached(Redis(), ttl=60, key="user:{id}", tags=["users"], stale_s=30)
        def user(id: int) -> dict: ...
    """

    def decorate(function: Callable[..., Any]) -> Cached:
        return Cached(CacheAside(client, function, ttl, **{"codec": Json(), **options}), function, key, tags)

    return decorate


class WriteThrough(WriteThroughCore):
    __doc__ = WriteThroughCore.__doc__
    _face = "threads"

    def write(self, key: str, value: Any) -> Written:
        """Write to the database and then to the cache. Raises the database's error."""
        return finish(self._write(key, value))


class WriteBehind(WriteBehindCore):
    __doc__ = WriteBehindCore.__doc__
    _face = "threads"

    def put(self, key: str, value: Any) -> None:
        """Queue one update; None deletes. Raises Backlogged."""
        finish(self._put([(key, value)]))

    def put_many(self, updates: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> int:
        """Queue updates in their order, 500 at a time, and return how many. Raises Backlogged."""
        return finish(self._put(updates))

    def reading(self, loader: Callable[[str], Any]) -> Callable[[str], Any]:
        """Return the loader for the `CacheAside` in front: what is queued comes before the database."""

        def load(key: str) -> Any:
            return finish(self._read(loader, key))

        return load

    def backlog(self) -> Backlog:
        """Return what waits."""
        return finish(self._backlog())


class Flusher(FlusherCore):
    __doc__ = FlusherCore.__doc__
    _face = "threads"
    _thread: threading.Thread | None = None

    def flush(self) -> int:
        """Write one batch of each partition that is ours; return how many updates were taken from the stream."""
        return finish(self._flush())

    def start(self) -> None:
        """Flush in a thread until `close`."""
        self._thread = threading.Thread(target=lambda: finish(self._run()), name="cache-flusher", daemon=True)
        self._thread.start()

    def close(self, drain_s: float = 10.0) -> None:
        """Write what waits, for `drain_s` at most, and let the partitions go."""
        self._drain_s, self._stopping = drain_s, True
        if self._thread is not None:
            self._thread.join()
        else:
            finish(self._run())


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
