"""How `lru_crawler metadump` of one server begins: the crawler's turn, the walk, the first line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cachetui.errors import Busy, CacheError, Unsupported
from cachetui.source.memcached.connection import Connection, reply_error
from cachetui.source.memcached.stats import Fields, read_stats

BUSY_PAUSE_S = 0.05
"""Before the crawler is asked for again; doubles each time, up to `BUSY_PAUSE_MOST_S`."""
BUSY_PAUSE_MOST_S = 1.0

WALKS = (b"hash", b"all")
"""Tried in turn. Along the hash table nothing is missed; along the LRUs items that just move are
(70 of 1,000,000 after a fill), but older servers know only that, and a table that grows is locked."""
NAME = "lru_crawler metadump"

_ODD, _PERCENT = b"\x01", b"\x02"
"""Stand for the `%` of a byte that no plain name holds, and for a `%` itself: dumps hold neither."""
_HIDDEN = re.compile(rb"\x01([0-9A-Fa-f]{2})")
_CODE = re.compile(rb"%[0-9A-Fa-f]{2}")


def opened(lines: bytes) -> bytes:
    """Return lines of a dump with their URI-encoded names readable, all but what `name_of` makes of them.

    One replacement for each byte that occurs, however many names: a million calls of `unquote` take seconds.

    >>> opened(b"key=user%3A1%250 exp=-1") == b"key=user:1\x020 exp=-1", name_of(b"1\x020\x010A")
    (True, b'1%0\\n')
    """
    at = lines.find(b"%")
    while at >= 0:
        code = lines[at : at + 3]
        if not _CODE.fullmatch(code):
            raise refusal(lines[at : at + 40])
        byte = int(code[1:], 16)
        lines = lines.replace(code, _plain(byte, code))
        at = lines.find(b"%", at)
    return lines


def _plain(byte: int, code: bytes) -> bytes:
    if byte == ord("%"):
        return _PERCENT
    return bytes((byte,)) if byte > ord(" ") and byte != 127 else _ODD + code[1:]


def is_odd(name: bytes) -> bool:
    """Tell whether an opened name holds bytes that no plain name can."""
    return _ODD in name


def name_of(opened_name: bytes) -> bytes:
    """Return the name itself."""
    found = opened_name.replace(_PERCENT, b"%")
    return _HIDDEN.sub(lambda code: bytes((int(code[1], 16),)), found) if _ODD in found else found


def hides(lines: bytes) -> bool:
    """Tell whether any opened name needs `name_of`."""
    return _ODD in lines or _PERCENT in lines


@dataclass(frozen=True, slots=True)
class Begun:
    """A dump that has begun."""

    connection: Connection
    first: bytes
    """Its first line; `END` when there is nothing to tell."""
    general: Fields
    """The server's `stats` just before."""


async def begin(
    dial: Callable[[], Awaitable[Connection]],
    count: Callable[[str], None],
    *,
    name: str,
    timeout_s: float,
    wait_s: float,
    waiting: Callable[[CacheError | None], None] = lambda _: None,
) -> Begun:
    """Connect and ask for the dump, `wait_s` long again while the crawler is busy. Raises Busy after that.

    `count` is told each command, `waiting` what is waited for. Only one dump may be asked for at
    a time: memcached 1.6.18 stalls the worker thread that takes a second one.
    """
    clock = asyncio.get_running_loop().time
    until, pause_s = clock() + wait_s, BUSY_PAUSE_S
    async with asyncio.timeout(timeout_s):
        connection = await dial()
    try:
        while True:
            async with asyncio.timeout(timeout_s):
                count("stats")
                await connection.send(b"stats\r\n")
                general = await read_stats(connection)
                idle = general.get("lru_crawler_running", "0") == "0"
                first = await _asked(connection, count) if idle else None
            if first is not None:
                waiting(None)
                return Begun(connection, first, general)
            busy = Busy(
                f"{name}: the LRU crawler is busy with another dump or crawl",
                "wait until it ends: a second one would stall the server",
            )
            if clock() + pause_s > until:
                raise busy
            waiting(busy)
            await asyncio.sleep(pause_s)
            pause_s = min(BUSY_PAUSE_MOST_S, pause_s * 2)
    except BaseException:
        connection.close()
        raise


async def _asked(connection: Connection, count: Callable[[str], None]) -> bytes | None:
    """Ask for the dump and return its first line with its end; None when the crawler is busy."""
    line = b""
    for walk in WALKS:
        count(NAME)
        await connection.send(b"lru_crawler metadump %b\r\n" % walk)
        line = await connection.line()
        if line == b"OK":  # memcached 1.6.43 and later say so first
            line = await connection.line()
        if not line.startswith((b"BADCLASS", b"ERROR locked")):
            break
    if line.startswith((b"BUSY", b"ERROR locked")):
        return None
    if not line.startswith(b"key=") and line != b"END":
        raise refusal(line)
    return line + b"\n"


def refusal(line: bytes) -> CacheError:
    """Return the error for a reply that is no dump."""
    error = reply_error(line, NAME)
    if "not allowed" in error.message:
        return Unsupported(
            "listing keys is switched off on this server (-X)", "open a key by its exact name", error.detail
        )
    if "disabled" in error.message:
        return Unsupported(
            "listing keys needs the LRU crawler, and it is off", "`lru_crawler enable` switches it on", error.detail
        )
    return error
