"""Streams: entries by id, and what is known of their groups and consumers."""

from __future__ import annotations

import re
from dataclasses import replace

from cachetui import text
from cachetui.errors import CacheError
from cachetui.model import KeyFacts, ValueSection
from cachetui.source.redis.connection import Argument
from cachetui.source.redis.replies import as_bytes, as_int, as_list, as_map, as_text, pairs
from cachetui.source.redis.values.window import Ask, Part, Window, cell, failed, no_such_window

GROUPS = 10
CONSUMERS = 20
"""How many of a group are listed."""
LISTED = 1_000
"""The most groups, or consumers of one group, that are asked for: the server sends them in one piece."""
ENTRY_BYTES = 1024 * 1024
_LARGE = "its entries are large, and XINFO STREAM would bring two of them"

_ID = re.compile(rb"\d{1,20}-\d{1,20}")
_NAME = 200


async def read_stream(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return entries, newest first or with `oldest` in their order; in the first window all about its groups too."""
    start = window.start
    if start is not None and not _ID.fullmatch(start):
        raise no_such_window()
    # One more than is shown tells where the next window begins.
    oldest_first: tuple[Argument, ...] = ("XRANGE", facts.key, start or b"-", b"+", "COUNT", window.rows + 1)
    newest_first: tuple[Argument, ...] = ("XREVRANGE", facts.key, start or b"+", b"-", "COUNT", window.rows + 1)
    commands = [oldest_first if window.order == "oldest" else newest_first]
    large = _are_large(facts)
    if start is None and not large:
        commands.append(("XINFO", "STREAM", facts.key))
    reply, *about = await ask(commands)
    if isinstance(reply, CacheError):
        raise reply
    entries = [parts for entry in as_list(reply) if len(parts := as_list(entry)) >= 2]
    items = []
    for parts in entries[: window.rows]:
        fields = tuple((as_bytes(name), as_bytes(content)) for name, content in pairs(parts[1]))
        item = window.item(as_bytes(parts[0]), b" ".join(name + b"=" + content for name, content in fields))
        whole = item.total_bytes in (None, len(item.data))
        items.append(replace(item, fields=fields) if whole else item)
    next_ = as_bytes(entries[window.rows][0]) if len(entries) > window.rows else None
    sections: tuple[ValueSection, ...] = ()
    if start is None:
        told = _stream(about[0]) if about else ValueSection(f"stream: {_LARGE}", (), ())
        sections = (told, *await _groups(ask, facts.key, about[0] if about else None))
    return Part(tuple(items), next_, sections=sections)


def _are_large(facts: KeyFacts) -> bool:
    """Tell whether XINFO STREAM, which brings the first and the last entry whole, would bring too much."""
    return bool(facts.size_bytes and facts.length) and (facts.size_bytes or 0) // (facts.length or 1) > ENTRY_BYTES


def _stream(reply: object) -> ValueSection:
    if isinstance(reply, CacheError):
        return failed("stream", reply)
    rows = []
    for name, content in as_map(reply).items():
        if name in ("first-entry", "last-entry"):
            rows.append((name, cell(next(iter(as_list(content)), None))))
        else:
            rows.append((name, cell(content)))
    return ValueSection("stream", ("field", "value"), tuple(rows))


async def _groups(ask: Ask, key: bytes, about: object) -> list[ValueSection]:
    told = None if isinstance(about, CacheError) else as_int(as_map(about).get("groups"))
    if told == 0:
        return []
    if told is not None and told > LISTED:
        return [ValueSection(f"groups: {told:,}, which come only in one piece: not listed", (), ())]
    (reply,) = await ask([("XINFO", "GROUPS", key)])
    if isinstance(reply, CacheError):
        return [failed("groups", reply)]
    every = _most_pending_first(reply)
    if not every:
        return []
    shown = every[:GROUPS]
    asked = [group for group in shown if (as_int(group.get("consumers")) or 0) <= LISTED]
    questions: list[tuple[Argument, ...]] = []
    for group in asked:
        name = as_bytes(group.get("name"))
        questions += [("XPENDING", key, name), ("XINFO", "CONSUMERS", key, name)]
    replies = await ask(questions) if questions else []
    answers = {id(group): replies[2 * at : 2 * at + 2] for at, group in enumerate(asked)}
    rows = tuple(_group(group, next(iter(answers.get(id(group), ())), None)) for group in shown)
    heads = ("group", "consumers", "pending", "last delivered", "lag", "oldest pending", "newest pending")
    sections = [ValueSection(_title("groups", len(shown), len(every)), heads, rows)]
    for group in shown:
        sections += _consumers(group, answers.get(id(group)))
    return sections


def _group(group: dict[str, object], pending: object) -> tuple[str, ...]:
    """Return the row of one group; `pending` is XPENDING's summary, why there is none, or None: not asked for."""
    summary = [] if isinstance(pending, CacheError) else as_list(pending)
    oldest, newest = (cell(summary[at]) if len(summary) > at else text.UNKNOWN for at in (1, 2))
    named = as_text(group.get("name"), _NAME)
    figures = (cell(group.get(name)) for name in ("consumers", "pending", "last-delivered-id", "lag"))
    return (named, *figures, oldest, newest)


def _consumers(group: dict[str, object], replies: list[object] | None) -> list[ValueSection]:
    title = f"consumers of {as_text(group.get('name'), _NAME)}"
    if replies is None:
        count = as_int(group.get("consumers")) or 0
        return [ValueSection(f"{title}: {count:,}, which come only in one piece: not listed", (), ())]
    reply = replies[1]
    if isinstance(reply, CacheError):
        return [failed(title, reply)]
    every = _most_pending_first(reply)
    if not every:
        return []
    rows = []
    for consumer in every[:CONSUMERS]:
        idle, inactive = (_ms(consumer.get(name)) for name in ("idle", "inactive"))
        rows.append((as_text(consumer.get("name"), _NAME), cell(consumer.get("pending")), idle, inactive))
    return [
        ValueSection(_title(title, len(rows), len(every)), ("consumer", "pending", "idle", "inactive"), tuple(rows))
    ]


def _ms(reply: object) -> str:
    """Return a time in words; -1 stands for never."""
    found = as_int(reply)
    return text.UNKNOWN if found is None else "never" if found < 0 else text.duration(found / 1000)


def _title(what: str, shown: int, total: int) -> str:
    return what if shown == total else f"{what}: the {shown:,} of {total:,} with most pending"


def _most_pending_first(reply: object) -> list[dict[str, object]]:
    return sorted((as_map(each) for each in as_list(reply)), key=lambda each: -(as_int(each.get("pending")) or 0))
