"""A bounded window on one value, by its type. Each reader says what to send and what the replies mean."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from cachetui.errors import CacheError
from cachetui.model import KeyFacts, Value, ValueItem
from cachetui.source.redis.connection import Argument
from cachetui.source.redis.replies import as_bytes, as_int, as_list, as_score, pairs

Ask = Callable[[Sequence[Sequence[Argument]]], Awaitable[list[object]]]
"""Sends one pipeline; a CacheError stands in the place of a refused command."""

WINDOW_BYTES = 8 * 1024 * 1024
"""What one window may hold, judged by the average element: rows are cut before they are asked for."""

_STEPS = 8
"""SCAN steps for one window: a sparse table answers with few elements at a time."""

Rows = list[ValueItem]


@dataclass(frozen=True, slots=True)
class Window:
    """How much may be read."""

    rows: int
    max_bytes: int

    def item(self, label: bytes, data: bytes, score: float | None = None) -> ValueItem:
        """Return one row, cut to the window."""
        kept, full = data[: self.max_bytes], len(data)
        return ValueItem(label[: self.max_bytes], kept, score, total_bytes=full)

    def narrowed(self, facts: KeyFacts) -> Window:
        """Return a window with fewer rows where the elements are huge."""
        if not facts.size_bytes or not facts.length:
            return self
        average = facts.size_bytes // facts.length
        return Window(max(1, min(self.rows, WINDOW_BYTES // max(1, average))), self.max_bytes)


async def read_value(ask: Ask, facts: KeyFacts, window: Window, *, field_ttl: bool, taken_at: float) -> Value:
    """Return a window on the value that `facts` describes. Raises CacheError when the connection fails."""
    reader = _READERS.get(facts.type or "")
    if not facts.exists:
        return Value(taken_at, facts, note="gone")
    if facts.type is None:
        return Value(taken_at, facts, note="the type is unknown: TYPE was refused")
    if reader is None:
        return Value(taken_at, facts, total=facts.length, note=f"{facts.type}: facts only")
    read, columns = reader
    try:
        items = await read(ask, facts.key, window.narrowed(facts))
        if field_ttl and facts.type == "hash" and items:
            items = await _with_ttl(ask, facts.key, items)
    except CacheError as error:
        if error.code in _PASSED_ON and not error.detail.get("too_large"):
            raise
        return Value(taken_at, facts, columns=columns, total=facts.length, note=_why(error))
    return Value(taken_at, facts, tuple(items), facts.length, columns, note=_emptiness(facts, items))


_PASSED_ON = ("unreachable", "timed-out", "tls", "busy", "loading", "auth")
"""What is wrong with the server and not with this value."""


def _why(error: CacheError) -> str:
    if error.detail.get("too_large"):
        return "its elements are too large to read"
    if getattr(error, "word", "") == "WRONGTYPE":
        return "type changed: open it again"
    return error.message


def _emptiness(facts: KeyFacts, items: Rows) -> str:
    if items or facts.type == "stream" or facts.length == 0:
        return ""
    return "gone"


async def _one(ask: Ask, *command: Argument) -> object:
    (reply,) = await ask([command])
    if isinstance(reply, CacheError):
        raise reply
    return reply


async def _string(ask: Ask, key: bytes, window: Window) -> Rows:
    length, data = await ask([("STRLEN", key), ("GETRANGE", key, 0, window.max_bytes - 1)])
    if isinstance(data, CacheError):
        raise data
    return [ValueItem(b"", as_bytes(data), total_bytes=as_int(length))]


async def _scanned(ask: Ask, command: str, key: bytes, window: Window, wanted: int) -> list[object]:
    """Return at least `wanted` flat reply elements, or all: HSCAN, SSCAN in a few steps."""
    found: list[object] = []
    cursor: bytes = b"0"
    for _ in range(_STEPS):
        reply = as_list(await _one(ask, command, key, cursor, "COUNT", window.rows))
        if len(reply) != 2:
            break
        cursor = as_bytes(reply[0])
        found += as_list(reply[1])
        if cursor == b"0" or len(found) >= wanted:
            break
    return found


async def _hash(ask: Ask, key: bytes, window: Window) -> Rows:
    found = await _scanned(ask, "HSCAN", key, window, 2 * window.rows)
    fields = {as_bytes(name): as_bytes(content) for name, content in zip(found[::2], found[1::2], strict=False)}
    return [window.item(name, content) for name, content in list(fields.items())[: window.rows]]


async def _with_ttl(ask: Ask, key: bytes, items: Rows) -> Rows:
    """Add the fields' own times to live; a server that refuses leaves them unknown."""
    names = [item.label for item in items]
    (reply,) = await ask([("HTTL", key, "FIELDS", len(names), *names)])
    seconds = [as_int(value) for value in as_list(reply)]
    if len(seconds) != len(items):
        return items
    return [
        item
        if left is None or left < 0
        else ValueItem(item.label, item.data, item.score, float(left), item.total_bytes)
        for item, left in zip(items, seconds, strict=True)
    ]


async def _list(ask: Ask, key: bytes, window: Window) -> Rows:
    elements = as_list(await _one(ask, "LRANGE", key, 0, window.rows - 1))
    return [window.item(str(at).encode(), as_bytes(element)) for at, element in enumerate(elements)]


async def _set(ask: Ask, key: bytes, window: Window) -> Rows:
    found = await _scanned(ask, "SSCAN", key, window, window.rows)
    members = list(dict.fromkeys(as_bytes(member) for member in found))
    return [window.item(b"", member) for member in members[: window.rows]]


async def _zset(ask: Ask, key: bytes, window: Window) -> Rows:
    reply = await _one(ask, "ZRANGE", key, 0, window.rows - 1, "WITHSCORES")
    return [window.item(b"", as_bytes(member), as_score(score)) for member, score in pairs(reply)]


async def _stream(ask: Ask, key: bytes, window: Window) -> Rows:
    rows = []
    for entry in as_list(await _one(ask, "XREVRANGE", key, "+", "-", "COUNT", window.rows)):
        parts = as_list(entry)
        if len(parts) < 2:
            continue
        words = [as_bytes(name) + b"=" + as_bytes(content) for name, content in pairs(parts[1])]
        rows.append(window.item(as_bytes(parts[0]), b" ".join(words)))
    return rows


_READERS: dict[str, tuple[Callable[[Ask, bytes, Window], Awaitable[Rows]], tuple[str, ...]]] = {
    "string": (_string, ("value",)),
    "hash": (_hash, ("field", "value")),
    "list": (_list, ("index", "value")),
    "set": (_set, ("member",)),
    "zset": (_zset, ("member", "score")),
    "stream": (_stream, ("id", "fields")),
}
