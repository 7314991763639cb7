"""Enumerations from their beginning to their end, also across a restart of the server."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable

from cachetui.errors import NotACache, ServerError, TlsFailed, Unreachable
from cachetui.model import ScanStep
from cachetui.source.base import Source

RESTARTS = 5
"""How often one enumeration begins again before it gives up."""
PAUSE_S = 0.2
"""Before the first new beginning; doubles with each further one, so that a restarting server is waited for."""


async def steps(
    source: Source,
    *,
    match: bytes | None = None,
    type_: str | None = None,
    limit: int | None = None,
    count: int = 500,
    on_restart: Callable[[], None] | None = None,
) -> AsyncIterator[ScanStep]:
    """Yield the steps of one enumeration; at most `limit` keys in all. Keys may repeat.

    When the server restarts or the connection breaks on the way, its cursor is worthless:
    the enumeration begins again, and `on_restart` is called first so that the caller forgets
    what it has. Raises the source's CacheError when the very first step fails, or when it
    broke too often.
    """
    cursor: bytes | None = None
    begun, restarts, seen = False, 0, 0
    while True:
        try:
            step = await source.scan(cursor, match=match, type_=type_, count=count)
        except (Unreachable, ServerError) as error:
            restarts += 1
            if not begun or restarts > RESTARTS or isinstance(error, NotACache | TlsFailed):
                raise
            await asyncio.sleep(PAUSE_S * 2 ** (restarts - 1))
            if cursor is not None and on_restart is not None:
                on_restart()
            cursor, seen = None, 0
            continue
        begun, cursor = True, step.cursor
        if limit is not None and seen + len(step.keys) >= limit:
            yield dataclasses.replace(step, keys=step.keys[: limit - seen], cursor=None)
            return
        seen += len(step.keys)
        yield step
        if cursor is None:
            return
