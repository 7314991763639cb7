"""`@cached`: a function whose results are read through the cache."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from cachetui.patterns.cache_aside import CacheAsideCore
from cachetui.patterns.keys import Key, key_maker
from cachetui.patterns.loading import Load

TagsOf = Iterable[str] | Callable[..., Iterable[str]]


class CachedCore:
    """What `@cached` makes of a function: call it as before.

    The keys are stable: the same arguments give the same key in every process and on every machine, and different
    ones never share one (see `keys.canonical`). Everything that `CacheAside` guarantees holds; a result of None is
    an absence. What the function returns, a hit returns too: with JSON a tuple is a list from the first call on.
    """

    def __init__(self, cache: CacheAsideCore, function: Callable[..., Any], key: Key, tags: TagsOf) -> None:
        functools.update_wrapper(self, function)
        self.cache = cache
        self.function = function
        self._key = key_maker(function, key)
        self._tags = tags if callable(tags) else tuple(tags)

    def key(self, *args: Any, **named: Any) -> str:
        """Return the key of a call, without the prefix."""
        return self._key(*args, **named)

    def __get__(self, instance: Any, _owner: type | None = None) -> Any:
        # A method: its object is the first argument, so `key` has to be a template or a function.
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Return the result, from the cache where it is there."""
        raise NotImplementedError

    def _load(self, args: tuple[Any, ...], named: dict[str, Any]) -> Load:
        tags = tuple(self._tags(*args, **named)) if callable(self._tags) else self._tags
        return Load(self.function, args, named, tags)
