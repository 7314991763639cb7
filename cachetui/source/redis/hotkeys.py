"""HOTKEYS (Redis 8.6): the server's own look at the keys that cost most. It ends by itself, and we tidy up after it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

from cachetui.errors import ServerError, Unsupported
from cachetui.model.hot import HotKeyReport
from cachetui.source.redis.replies import as_bytes, as_int, as_list, as_map, pairs
from cachetui.source.redis.session import Session

PATIENCE_S = 0.2
"""Beyond the time that the server was given."""


async def hot_keys(session: Session, seconds: float, most: int) -> HotKeyReport:
    """Let the server look for `seconds`, and return what it found; `most` keys by each measure.

    Raises Unsupported where there is no such command, Denied, and ServerError while somebody else's look is under way.
    """
    if session.features is not None and not session.features.knows("hotkeys"):
        raise Unsupported("this server has no HOTKEYS: it comes with Redis 8.6")
    whole = max(1, math.ceil(seconds))
    async with session.deadline():
        await session.ask("keys", "HOTKEYS", "START", "METRICS", 2, "CPU", "NET", "COUNT", most, "DURATION", whole)
    try:
        await asyncio.sleep(whole + PATIENCE_S)
        async with session.deadline():
            reply = await session.ask("keys", "HOTKEYS", "GET")
    finally:
        async with session.deadline():
            # It may have ended by itself: then there is nothing to stop, and only the memory is given back.
            await session.ask_all("keys", [("HOTKEYS", "STOP"), ("HOTKEYS", "RESET")])
    return report(reply, float(whole))


def report(reply: object, seconds: float) -> HotKeyReport:
    """Return what a reply to HOTKEYS GET says: a map, a flat list of one, or a list that holds one of these.

    Raises ServerError when it says nothing.
    """
    items = as_list(reply)
    fields = as_map(items[0] if len(items) == 1 else reply)
    if not fields:
        raise ServerError("HOTKEYS GET told nothing", "another client has reset it", word="HOTKEYS")
    lasted = as_int(fields.get("collection-duration-ms"))
    return HotKeyReport(
        lasted / 1000 if lasted else seconds,
        _ranking(fields, "by-cpu-time-us", "by-cpu-time"),
        _number(fields, "all-commands-selected-slots-us", "all-commands-all-slots-us"),
        _ranking(fields, "by-net-bytes"),
        _number(fields, "net-bytes-all-commands-selected-slots", "net-bytes-all-commands-all-slots"),
        as_int(fields.get("sample-ratio")) or 1,
    )


def _number(fields: Mapping[str, object], *names: str) -> int | None:
    return next((number for name in names if (number := as_int(fields.get(name))) is not None), None)


def _ranking(fields: Mapping[str, object], *names: str) -> tuple[tuple[bytes, int], ...]:
    found = next((fields[name] for name in names if name in fields), None)
    told = ((as_bytes(key), as_int(value)) for key, value in pairs(found))
    ranked = [(key, value) for key, value in told if value is not None]
    return tuple(sorted(ranked, key=lambda pair: -pair[1]))
