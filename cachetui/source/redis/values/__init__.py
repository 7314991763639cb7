"""A bounded window on one value, by its type: each reader says what to send and what the replies mean."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cachetui.errors import CacheError, Refused
from cachetui.model import KeyFacts, Value, ValueSection
from cachetui.source.redis.connection import Argument
from cachetui.source.redis.replies import as_text
from cachetui.source.redis.values.core import read_list, read_string, read_zset
from cachetui.source.redis.values.json_document import read_json
from cachetui.source.redis.values.modules import (
    Reader,
    read_array,
    read_digest,
    read_figures,
    read_top,
    read_unknown,
    read_vectors,
)
from cachetui.source.redis.values.scanned import read_hash, read_hash_with_ttl, read_set
from cachetui.source.redis.values.search import TYPES, SearchIndexes
from cachetui.source.redis.values.series import read_series
from cachetui.source.redis.values.stream import read_stream
from cachetui.source.redis.values.window import ROWS, Ask, Part, Window

__all__ = ["READERS", "READS", "Abilities", "SearchIndexes", "Window", "read_value"]

_BLOOM = (read_figures("BF.INFO", "bloom filter", "Number of items inserted"), ())

READERS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "string": (read_string, ("value",)),
    "hash": (read_hash, ("field", "value")),
    "list": (read_list, ("index", "value")),
    "set": (read_set, ("member",)),
    "zset": (read_zset, ("member", "score")),
    "stream": (read_stream, ("id", "fields")),
    "vectorset": (read_vectors, ("member",)),
    "array": (read_array, ("index", "value")),
    "ReJSON-RL": (read_json, ("value",)),
    "TSDB-TYPE": (read_series, ("timestamp", "value")),
    "MBbloom--": _BLOOM,
    "bloomfltr": _BLOOM,
    "MBbloomCF": (read_figures("CF.INFO", "cuckoo filter", "Number of items inserted"), ()),
    "CMSk-TYPE": (read_figures("CMS.INFO", "count-min sketch", "count"), ()),
    "TopK-TYPE": (read_top, ("member", "count")),
    "TDIS-TYPE": (read_digest, ()),
}
"""How each type is read, and what its columns are called."""

READS = frozenset(
    (
        *(
            "EXISTS",
            "STRLEN",
            "GETRANGE",
            "BITPOS",
            "BITCOUNT",
            "LLEN",
            "LRANGE",
            "ZCARD",
            "ZRANGE",
            "ZREVRANGE",
            "GEOPOS",
        ),
        *("HSCAN", "HMGET", "HTTL", "SSCAN", "XRANGE", "XREVRANGE", "XINFO STREAM", "XINFO GROUPS", "XINFO CONSUMERS"),
        *("XPENDING", "VCARD", "VINFO", "VRANGE", "VRANDMEMBER", "VEMB", "ARINFO", "ARSCAN", "COMMAND INFO", "DUMP"),
        *("JSON.TYPE", "JSON.DEBUG", "JSON.GET", "JSON.OBJLEN", "JSON.OBJKEYS", "JSON.ARRLEN"),
        *("TS.INFO", "TS.RANGE", "TS.REVRANGE", "BF.INFO", "CF.INFO", "CMS.INFO", "TOPK.INFO", "TOPK.LIST"),
        *("TDIGEST.INFO", "TDIGEST.QUANTILE", "FT._LIST", "FT.INFO"),
    )
)
"""Every command that looking at a value may send. None of them writes."""

_PASSED_ON = ("unreachable", "timed-out", "tls", "not-a-cache", "busy", "loading", "auth")
"""What is wrong with the server and not with this value."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the server has beyond its types."""

    field_ttl: bool = False
    """HTTL."""
    indexes: SearchIndexes | None = None
    """None: it has no search."""
    epoch: int = 0
    """Of the connection (see `session`): what was learnt in another is forgotten."""


async def read_value(
    ask: Ask, facts: KeyFacts, window: Window, abilities: Abilities = Abilities(), *, taken_at: float
) -> Value:
    """Return a window on the value that `facts` describes. Raises CacheError when the connection fails."""
    window = replace(window, rows=min(window.rows, ROWS))
    bare = Value(taken_at, facts, start=window.start)
    if not facts.exists:
        return replace(bare, note="gone")
    if facts.type is None:
        return replace(bare, note="the type is unknown: TYPE was refused")
    reader, columns = READERS.get(facts.type, (read_unknown, ()))
    if abilities.field_ttl and facts.type == "hash":
        reader = read_hash_with_ttl
    asking, began = _reading_only(ask), time.monotonic()
    try:
        part = await _read(reader, asking, facts, window.narrowed(facts))
    except CacheError as error:
        if error.code in _PASSED_ON and not error.detail.get("too_large"):
            raise
        note = "gone" if error.code == "server-error" and await _is_gone(asking, facts) else _why(error)
        return replace(bare, columns=columns or bare.columns, total=facts.length, note=note)
    return replace(
        bare,
        items=part.items,
        total=facts.length if part.total is None else part.total,
        columns=part.columns or columns or bare.columns,
        note=part.note or await _emptiness(asking, facts, window, part),
        next=part.next,
        sections=(*part.sections, *await _indexes(asking, facts, window, abilities, began)),
        points=part.points,
    )


async def _read(reader: Reader, ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Read a window; where its elements are too large together, one of them alone."""
    try:
        return await reader(ask, facts, window)
    except CacheError as error:
        if not error.detail.get("too_large") or window.rows == 1:
            raise
    return await reader(ask, facts, replace(window, rows=1))


def _reading_only(ask: Ask) -> Ask:
    """Return `ask` for the commands in READS alone."""

    async def asking(commands: Sequence[Sequence[Argument]]) -> list[object]:
        for command in commands:
            if not {_word(command[0]), " ".join(map(_word, command[:2]))} & READS:
                raise Refused(f"{_word(command[0])}: not a command that only looks")
        return await ask(commands)

    return asking


def _word(argument: Argument) -> str:
    return as_text(argument, 40).upper()


async def _indexes(
    ask: Ask, facts: KeyFacts, window: Window, abilities: Abilities, began: float
) -> tuple[ValueSection, ...]:
    if abilities.indexes is None or window.start is not None or facts.type not in TYPES:
        return ()
    return await abilities.indexes.covering(ask, facts, abilities.epoch, began)


def _why(error: CacheError) -> str:
    if error.detail.get("too_large"):
        return "its elements are too large to read"
    reply = str(error.detail.get("reply", "")).lower()
    if getattr(error, "word", "") == "WRONGTYPE" or "wrong redis type" in reply or "wrong kind of value" in reply:
        return "type changed: open it again"
    return error.message


async def _emptiness(ask: Ask, facts: KeyFacts, window: Window, part: Part) -> str:
    """Return `gone` where elements were told of, none was found, and the key is no more."""
    held = any(item.data or item.label for item in part.items)
    if held or not facts.length or part.next is not None or window.start is not None:
        return ""
    return "gone" if await _is_gone(ask, facts) else ""


async def _is_gone(ask: Ask, facts: KeyFacts) -> bool:
    (reply,) = await ask([("EXISTS", facts.key)])
    return reply == 0
