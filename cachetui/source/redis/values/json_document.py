"""JSON documents: a small one whole, of a large one its members, each small one by its text."""

from __future__ import annotations

from cachetui import text
from cachetui.errors import CacheError
from cachetui.model import KeyFacts, ValueItem
from cachetui.source.redis.connection import Argument
from cachetui.source.redis.replies import as_bytes, as_int, as_list, as_text
from cachetui.source.redis.values.window import WINDOW_BYTES, Ask, Part, Window, following, one

WHOLE_BYTES = 256 * 1024
"""Memory of the largest document, or member, that is asked for in one piece."""
NAMES = 100_000
"""The most members whose names are asked for: they come in one piece."""


async def read_json(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return a small document as text from an offset on, a larger one member by member."""
    key = facts.key
    # Asked together, and with a path for which another type is no error: round trips are what takes time.
    told, members, elements = await ask([("JSON.TYPE", key), ("JSON.OBJLEN", key, "$"), ("JSON.ARRLEN", key, "$")])
    if isinstance(told, CacheError):
        raise told
    size, kind = facts.size_bytes, _first_text(told)
    if kind == "":
        return Part(note="gone")
    if size is None:
        (found,) = await ask([("JSON.DEBUG", "MEMORY", key)])
        size = None if isinstance(found, CacheError) else as_int(found)
    if size is not None and size <= WHOLE_BYTES:
        return await _whole(ask, key, window)
    if kind == "object":
        return await _object(ask, key, window, members)
    if kind == "array":
        return await _array(ask, key, window, elements)
    held = "of unknown size" if size is None else f"of {text.size(size)}"
    return Part(note=f"one {kind} {held}: too large to read, and JSON.GET reads no part of it")


async def _whole(ask: Ask, key: bytes, window: Window) -> Part:
    start = window.offset()
    document = as_bytes(await one(ask, "JSON.GET", key))
    data = document[start : start + window.max_bytes]
    if start and not data:
        return Part(total=len(document), note="the value is shorter now: begin again")
    next_ = following(start, len(data), window.max_bytes, len(document))
    return Part((ValueItem(b"", data, total_bytes=len(document)),), next_, len(document))


async def _object(ask: Ask, key: bytes, window: Window, length: object) -> Part:
    if isinstance(length, CacheError):
        raise length
    start, total = window.offset(), _first_int(length)
    if total is None or total > NAMES:
        members = "too many members" if total is None else f"{total:,} members"
        return Part(total=total, note=f"an object of {members}: their names come only in one piece, too large to read")
    names = [as_bytes(name) for name in as_list(await one(ask, "JSON.OBJKEYS", key))]
    shown = names[start : start + window.rows]
    items = await _members(ask, key, window, [(name, _path(name)) for name in shown])
    return Part(items, following(start, len(shown), window.rows, len(names)), len(names), ("member", "value"))


def _path(name: bytes) -> bytes:
    """Return the path of a member. Paths know no other escapes than these two; control bytes stand as they are."""
    return b'$["' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"]'


async def _array(ask: Ask, key: bytes, window: Window, length: object) -> Part:
    if isinstance(length, CacheError):
        raise length
    start, total = window.offset(), _first_int(length)
    end = start + window.rows if total is None else min(total, start + window.rows)
    named = [(b"%d" % at, b"$[%d]" % at) for at in range(start, end)]
    items = await _members(ask, key, window, named)
    return Part(items, following(start, len(items), window.rows, total), total, ("index", "value"))


async def _members(ask: Ask, key: bytes, window: Window, named: list[tuple[bytes, bytes]]) -> tuple[ValueItem, ...]:
    """Return each member by its JSON text; one that is large by its type and size."""
    questions: list[tuple[Argument, ...]] = []
    for _, path in named:
        questions += [("JSON.DEBUG", "MEMORY", key, path), ("JSON.TYPE", key, path)]
    replies = await ask(questions) if questions else []
    sizes = [_first_int(reply) for reply in replies[::2]]
    small, held = [], 0
    for at, size in enumerate(sizes):
        if size is not None and size <= WHOLE_BYTES and held + size <= WINDOW_BYTES:
            small.append(at)
            held += size
    texts = await ask([("JSON.GET", key, named[at][1]) for at in small]) if small else []
    found = dict(zip(small, texts, strict=True))
    items = []
    for at, (name, _) in enumerate(named):
        document = found.get(at)
        if document is None or isinstance(document, CacheError):
            why = document or next((r for r in replies[2 * at : 2 * at + 2] if isinstance(r, CacheError)), None)
            items.append(_told(window, name, _first_text(replies[2 * at + 1]), sizes[at], why))
        else:
            # A path with $ answers with a list of what it fits.
            items.append(window.item(name, as_bytes(document).removeprefix(b"[").removesuffix(b"]")))
    return tuple(items)


def _told(window: Window, name: bytes, kind: str, size: int | None, why: CacheError | None) -> ValueItem:
    """Return the row of a member that is not read."""
    if why is not None:
        return window.item(name, f"({why.message})".encode())
    words = f"({kind} of {text.size(size)}: not read)".encode()
    return ValueItem(name[: window.max_bytes], words, total_bytes=size)


def _first(reply: object) -> object:
    """Return the innermost first element: older protocols answer bare, newer ones in one list or two."""
    for _ in range(3):
        if not isinstance(reply, list):
            return reply
        reply = reply[0] if reply else None
    return reply


def _first_int(reply: object) -> int | None:
    return None if isinstance(reply, CacheError) else as_int(_first(reply))


def _first_text(reply: object) -> str:
    """Return a type's name; empty where there is nothing."""
    found = None if isinstance(reply, CacheError) else _first(reply)
    return as_text(found, 40)
