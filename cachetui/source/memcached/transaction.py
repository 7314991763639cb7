"""Compare and set by an item's CAS number: one item, one command, judged by memcached itself."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetui.errors import CacheError, Changed, Refused, ServerError, Unreachable, Unsupported
from cachetui.source.base import Check, Command
from cachetui.source.changes import NOW_CHARS, changed
from cachetui.source.memcached.commands import STORES, Wire, wired
from cachetui.source.memcached.connection import Connection, reply_error
from cachetui.source.memcached.keys import VALUE_LIMIT_BYTES, written
from cachetui.source.memcached.keys import check as check_key
from cachetui.source.memcached.server import Server
from cachetui.text import size

if TYPE_CHECKING:
    from cachetui.source.memcached.source import MemcachedSource

ITEM_BYTES = 1024 * 1024
"""`item_size_max` where the server does not say it (-I)."""
ITEM_OVERHEAD_BYTES = 128
"""Head and tail of an item, generously."""
RELATIVE_S = 30 * 86400
"""Above this, memcached reads an expiry as a Unix time."""

_LENGTH = re.compile(rb"\d{1,10}")
_REFUSALS = (b"EXISTS", b"NOT_FOUND", b"NOT_STORED")


@dataclass(frozen=True, slots=True)
class _Item:
    """An item as `mg` shows it."""

    version: bytes
    left_s: int | None
    """Seconds to live; None: it stays."""
    data: bytes | None
    """None: not asked for."""


async def transact(source: MemcachedSource, checks: Sequence[Check], commands: Sequence[Command]) -> list[object]:
    """Send one command if the items are still as `checks` say; see `Source.transact`.

    An `ms` with a version keeps what is left of the item's time to live, whatever its T word
    says. An error of the connection before anything could be done has `sent: False` in its detail.
    """
    try:
        wire, place = await _ready(source, checks, commands)
    except Unreachable as error:
        error.detail["sent"] = False
        raise
    if wire is None or place is None:
        return []
    (reply,) = await source._fleet.run(place, [wire])
    if isinstance(reply, Unreachable):
        raise reply
    if reply in _REFUSALS:
        raise await _too_late(source, checks, reply)
    if wire.name == "ms" and isinstance(reply, ServerError) and reply.word in ("SERVER_ERROR", "OOM"):
        hint = "memcached drops the old item when it has no room for the new one: look whether it is still there"
        raise ServerError(reply.message, hint, reply.detail, reply.word)
    return [reply]


async def _ready(
    source: MemcachedSource, checks: Sequence[Check], commands: Sequence[Command]
) -> tuple[Wire | None, Server | None]:
    """Make the checks; return what is to be sent and where."""
    found: dict[bytes, tuple[Server, _Item | None]] = {}
    for check in checks:
        key = _key_of(check)
        check_key(key, source._scans.odd_keys)
        server, item = await _look(source, key, data=check.command[2] == b"v")
        found[key] = server, item
        now = None if item is None else item.data if check.command[2] == b"v" else item.version
        if now != check.expected:
            raise changed(check, None if item is None else await _beginning(source, key))
    if not commands:
        return None, None
    if len(commands) > 1:
        raise Unsupported("memcached carries out one command at a time: two are never done together", "")
    (command,) = commands
    place, item = found.get(command[1] if len(command) > 1 else b"", (None, None))
    wire = wired(_with_time_left(command, item), source._scans.odd_keys)
    if isinstance(wire, CacheError):
        raise wire
    if wire.key is None:
        raise Refused(f"{wire.name}: only commands on one item depend on its version", "nothing was sent")
    await _refuse_too_large(source, wire, command)
    return wire, place or source._fleet.home(wire.key)


def _key_of(check: Check) -> bytes:
    if len(check.command) != 3 or check.command[0] != b"mg" or check.command[2] not in (b"c", b"v"):
        raise Refused("this check is not one of memcached's", "nothing was sent")
    return check.command[1]


async def _look(source: MemcachedSource, key: bytes, *, data: bool) -> tuple[Server, _Item | None]:
    """Return where the item is, its home first, and what it is."""
    holders = (await source._fleet.holders([key]))[key]
    home = source._fleet.home(key)
    server = home if home in holders else holders[0]
    word, flag = written(key)
    question = b"mg %b c t%b u%b\r\n" % (word, b" v" if data else b"", flag)
    return server, await server.ask(question, _read_item, sent={"mg": 1})


async def _read_item(connection: Connection) -> _Item | None:
    line = await connection.line()
    if line == b"EN":
        return None
    words = line.split(b" ")
    data = None
    if words[0] == b"VA" and len(words) > 1 and _LENGTH.fullmatch(words[1]):
        length = int(words[1])
        if length > VALUE_LIMIT_BYTES:
            raise ServerError(f"mg: an item of {size(length)} is too large to compare", word="PROTOCOL")
        data = await connection.block(length, length)
    elif words[0] != b"HD":
        raise reply_error(line, "mg")
    version = next((word[1:] for word in words[1:] if word.startswith(b"c")), b"")
    left = next((word[1:] for word in words[1:] if word.startswith(b"t")), b"-1")
    return _Item(version, int(left) if _LENGTH.fullmatch(left) else None, data)


def _with_time_left(command: Command, item: _Item | None) -> Command:
    """Return an `ms` that replaces a version with the time that its item has left now."""
    settings = {word[:1] for word in command[2:-1]}
    if command[0] != b"ms" or b"C" not in settings or item is None:
        return command
    if item.left_s is None:
        left_s = 0
    elif item.left_s > RELATIVE_S:
        left_s = item.left_s + int(time.time())
    else:
        left_s = max(1, item.left_s)  # 0 would mean: for ever
    kept = [word for word in command[2:-1] if not word.startswith(b"T")]
    return (*command[:2], *kept, b"T%d" % left_s, command[-1])


async def _refuse_too_large(source: MemcachedSource, wire: Wire, command: Command) -> None:
    """Refuse what the server has no place for: it would drop the old item and then refuse the new one."""
    if wire.name != "ms" and wire.name not in STORES:
        return
    try:
        said = (await source.config("item_size_max")).get("item_size_max", "")
    except (Unsupported, ServerError):
        said = ""  # it does not show its settings
    limits = [int(words) for words in said.split(" | ") if words.isdigit()]
    limit = min(limits, default=ITEM_BYTES)
    if len(command[-1]) + len(command[1]) + ITEM_OVERHEAD_BYTES > limit:
        raise Refused(
            f"{size(len(command[-1]))} are too large for an item here (-I {size(limit)}): nothing was written",
            "make the value smaller, or start memcached with a larger -I",
        )


async def _beginning(source: MemcachedSource, key: bytes) -> bytes:
    value = await source.value(key, max_bytes=NOW_CHARS)
    return value.items[0].data if value.items else b""


async def _too_late(source: MemcachedSource, checks: Sequence[Check], reply: object) -> Changed:
    """Return the error for an item that was written between our look and our write: nothing of ours was done."""
    if not checks:
        return Changed("the item was changed by somebody else: nothing was written", "look at it again")
    check = checks[0]
    now = None if reply == b"NOT_FOUND" else await _beginning(source, _key_of(check))
    return changed(check, now)
