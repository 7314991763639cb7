"""Strings, lists and sorted sets: windows by offset, index and rank."""

from __future__ import annotations

from dataclasses import replace

from cachetui.errors import CacheError
from cachetui.model import KeyFacts, ValueItem, ValueSection
from cachetui.source.redis.connection import Argument
from cachetui.source.redis.replies import as_bytes, as_int, as_list, as_score, pairs
from cachetui.source.redis.values.window import Ask, Part, Window, following, one

BITS_SEARCHED_BYTES = 16 * 1024 * 1024
"""How far one window looks for a set bit, and the longest string whose set bits are all counted."""

STRING_BYTES = 32 * 1024 * 1024
"""The most bytes of a string in one window, however many are asked for."""

_HYPERLOGLOG = b"HYLL"
_HYPERLOGLOG_HEADER_BYTES = 16


async def read_string(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return bytes from an offset on, or with the order `bits` the positions of the bits that are set."""
    window = replace(window, max_bytes=min(window.max_bytes, STRING_BYTES))
    if window.order == "bits":
        return await _bits(ask, facts, window)
    start = window.offset()
    length, data = await ask(
        [("STRLEN", facts.key), ("GETRANGE", facts.key, start, start + window.max_bytes - 1)],
    )
    if isinstance(data, CacheError):
        raise data
    found, total = as_bytes(data), as_int(length)
    if start and not found:
        return Part(total=total, note="the value is shorter now: begin again")
    item = ValueItem(b"", found, total_bytes=total)
    sections = (_hyperloglog(found),) if start == 0 and found.startswith(_HYPERLOGLOG) else ()
    next_ = following(start, len(found), window.max_bytes, total)
    return Part((item,), next_, total, sections=tuple(section for section in sections if section))


def _hyperloglog(data: bytes) -> ValueSection | None:
    """Return what the header says. (PFCOUNT may write the count it finds, so it is not asked.)"""
    if len(data) < _HYPERLOGLOG_HEADER_BYTES:
        return None
    encoding = {0: "dense", 1: "sparse"}.get(data[4], f"unknown ({data[4]})")
    cached = int.from_bytes(data[8:16], "little")
    count = "not cached" if cached >> 63 else f"{cached:,}"
    return ValueSection("HyperLogLog", ("field", "value"), (("encoding", encoding), ("count", count)))


async def _bits(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    start, key = window.offset(), facts.key
    searched_to = start // 8 + BITS_SEARCHED_BYTES - 1
    length, found = await ask([("STRLEN", key), ("BITPOS", key, 1, start // 8, searched_to)])
    if isinstance(found, CacheError):
        raise found
    size, first = as_int(length) or 0, as_int(found)
    sections = (await _bit_count(ask, key, size),) if window.start is None else ()
    columns = ("set bit",)
    if first is None or first < 0:
        more = searched_to + 1 < size
        next_ = b"%d" % (8 * (searched_to + 1)) if more else None
        note = f"no bit is set in bytes {start // 8:,} to {min(searched_to, size - 1):,}" if size else ""
        return Part((), next_, None, columns, sections, note=note)
    from_byte = max(start, first) // 8
    data = as_bytes(await one(ask, "GETRANGE", key, from_byte, from_byte + window.max_bytes - 1))
    places = _set_bits(data, 8 * from_byte, start, window.rows + 1)
    items = tuple(window.item(b"", b"%d" % place) for place in places[: window.rows])
    if len(places) > window.rows:
        return Part(items, b"%d" % places[-1], None, columns, sections)
    end = from_byte + len(data)
    return Part(items, b"%d" % (8 * end) if end < size else None, None, columns, sections)


def _set_bits(data: bytes, first: int, start: int, most: int) -> list[int]:
    """Return the numbers of the first `most` bits set in `data`, from bit `start` on; its own first is `first`."""
    places: list[int] = []
    for at, byte in enumerate(data):
        if byte:
            bits = (first + 8 * at + bit for bit in range(8) if byte & 0x80 >> bit)
            places += [place for place in bits if place >= start]
            if len(places) >= most:
                break
    return places[:most]


async def _bit_count(ask: Ask, key: bytes, size: int) -> ValueSection:
    most = min(size, BITS_SEARCHED_BYTES)
    (count,) = await ask([("BITCOUNT", key, 0, most - 1) if most else ("BITCOUNT", key)])
    where = "set bits" if most == size else f"set bits of the first {most:,} bytes"
    told = count.message if isinstance(count, CacheError) else f"{as_int(count) or 0:,}"
    return ValueSection("bits", ("field", "value"), (("bits", f"{8 * size:,}"), (where, told)))


async def read_list(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return elements by index; `descending` begins at the tail."""
    start = window.offset()
    last = start + window.rows - 1
    descending = window.order == "descending"
    span = (-last - 1, -start - 1) if descending else (start, last)
    length, reply = await ask([("LLEN", facts.key), ("LRANGE", facts.key, *span)])
    if isinstance(reply, CacheError):
        raise reply
    total, elements = as_int(length), as_list(reply)
    if descending:
        elements = elements[::-1]
    items = []
    for at, element in enumerate(elements, start):
        index = (total - 1 - at if total is not None else -1 - at) if descending else at
        items.append(window.item(b"%d" % index, as_bytes(element)))
    return Part(tuple(items), following(start, len(items), window.rows, total), total)


async def read_zset(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return members by rank; `descending` by score from the highest, `geo` with their places."""
    start = window.offset()
    name = "ZREVRANGE" if window.order == "descending" else "ZRANGE"
    command: tuple[Argument, ...] = (name, facts.key, start, start + window.rows - 1, "WITHSCORES")
    length, reply = await ask([("ZCARD", facts.key), command])
    if isinstance(reply, CacheError):
        raise reply
    total = as_int(length)
    members = [(as_bytes(member), as_score(score)) for member, score in pairs(reply)]
    next_ = following(start, len(members), window.rows, total)
    if window.order == "geo" and members:
        places = as_list(await one(ask, "GEOPOS", facts.key, *(member for member, _ in members)))
        found = [_place(places[at]) if at < len(places) else b"" for at in range(len(members))]
        rows = [window.item(member, place, score) for (member, score), place in zip(members, found, strict=True)]
        return Part(tuple(rows), next_, total, ("member", "longitude, latitude", "score"))
    return Part(tuple(window.item(b"", member, score) for member, score in members), next_, total)


def _place(reply: object) -> bytes:
    """Return a place as `13.361389, 38.115556`; empty where the score is none."""
    found = [as_score(part) for part in as_list(reply)]
    if len(found) != 2 or found[0] is None or found[1] is None:
        return b""
    return f"{found[0]:.6f}, {found[1]:.6f}".encode()
