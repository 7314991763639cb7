"""Types of modules and of newer servers: vector sets, arrays, sketches told by their figures, and unknown ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cachetui import text
from cachetui.errors import CacheError
from cachetui.model import KeyFacts, ValueSection
from cachetui.source.redis.replies import as_bytes, as_float, as_int, as_list, as_map, as_text, pairs
from cachetui.source.redis.values.window import (
    Ask,
    Part,
    Window,
    cell,
    failed,
    following,
    no_such_window,
    one,
    section_of,
)

TOP_MEMBERS = 10_000
"""The longest top-k that is listed: its list comes in one piece."""

DUMPED_BYTES = 1024 * 1024
"""Memory of the largest value of an unknown type that is serialised: its length is all that can be told of it."""

VECTORS = 5
NUMBERS = 20_000
"""How many vectors are shown, and how many numbers they may have together: each comes whole."""
_NUMBERS_SHOWN = 8
_INDEX_DIGITS = 20
"""An array's indexes have 64 bits and no sign."""

QUANTILES = ("0", "0.25", "0.5", "0.75", "0.9", "0.95", "0.99", "0.999", "1")

Reader = Callable[[Ask, KeyFacts, Window], Awaitable[Part]]


def read_figures(command: str, title: str, count: str) -> Reader:
    """Return a reader of a sketch that says nothing of its elements but how many they are (its field `count`)."""

    async def read(ask: Ask, facts: KeyFacts, window: Window) -> Part:
        about = await one(ask, command, facts.key)
        return Part(total=as_int(as_map(about).get(count)), sections=(section_of(title, about),))

    return read


async def read_top(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return the members of a top-k with their counts."""
    about = await one(ask, "TOPK.INFO", facts.key)
    size, start = as_int(as_map(about).get("k")), window.offset()
    sections = (section_of("top-k", about),) if window.start is None else ()
    if size is None or size > TOP_MEMBERS:
        return Part(total=size, sections=sections, note=f"more than {TOP_MEMBERS:,} members: not listed")
    found = list(pairs(await one(ask, "TOPK.LIST", facts.key, "WITHCOUNT")))
    shown = found[start : start + window.rows]
    items = tuple(window.item(b"", as_bytes(member), as_float(count)) for member, count in shown)
    return Part(items, following(start, len(items), window.rows, len(found)), len(found), sections=sections)


async def read_digest(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return the figures of a t-digest, and some quantiles where asking for them changes nothing."""
    about, command = await ask([("TDIGEST.INFO", facts.key), ("COMMAND", "INFO", "tdigest.quantile")])
    if isinstance(about, CacheError):
        raise about
    sections = [section_of("t-digest", about)]
    if _reads_only(command):
        (found,) = await ask([("TDIGEST.QUANTILE", facts.key, *QUANTILES)])
        if isinstance(found, CacheError):
            sections.append(section_of("quantiles", found))
        else:
            rows = zip(QUANTILES, (cell(value) for value in as_list(found)), strict=False)
            sections.append(ValueSection("quantiles", ("quantile", "value"), tuple(rows)))
    return Part(total=as_int(as_map(about).get("Observations")), sections=tuple(sections))


def _reads_only(reply: object) -> bool:
    """Tell from COMMAND INFO of one command whether the server promises that it writes nothing."""
    entry = as_list(next(iter(as_list(reply)), None))
    flags = {as_bytes(flag).lower() for flag in as_list(entry[2])} if len(entry) > 2 else set()
    return b"readonly" in flags and b"write" not in flags


async def read_vectors(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return the names in a vector set in their order, or some of them at random where the server cannot list them."""
    key = facts.key
    size, about, command = await ask([("VCARD", key), ("VINFO", key), ("COMMAND", "INFO", "vrange")])
    total = as_int(size)
    listed = await _listed(ask, facts, window) if isinstance(command, CacheError) or _reads_only(command) else None
    names = as_list(await one(ask, "VRANDMEMBER", key, window.rows)) if listed is None else listed
    found = [as_bytes(name) for name in names]
    items = tuple(window.item(b"", name) for name in found[: window.rows])
    sections = (
        (section_of("vector set", about), *await _vectors(ask, key, found, about)) if window.start is None else ()
    )
    if listed is not None:
        return Part(items, found[window.rows] if len(found) > window.rows else None, total, sections=sections)
    chosen = total is None or total > len(items)
    note = f"{len(items):,} members at random: this server cannot list them in order" if chosen else ""
    return Part(items, None, total, sections=sections, note=note)


async def _listed(ask: Ask, facts: KeyFacts, window: Window) -> list[object] | None:
    """Return names in their order, one more than the window takes; None where VRANGE is unknown or denied."""
    first = b"-" if window.start is None else b"[" + window.start
    (reply,) = await ask([("VRANGE", facts.key, first, b"+", window.rows + 1)])
    if not isinstance(reply, CacheError):
        return as_list(reply)
    if reply.code in ("unsupported", "denied"):
        return None
    raise reply


async def _vectors(ask: Ask, key: bytes, names: list[bytes], about: object) -> tuple[ValueSection, ...]:
    """Return the beginnings of a few vectors."""
    dimension = as_int(as_map(about).get("vector-dim")) if not isinstance(about, CacheError) else None
    shown = names[: max(1, min(VECTORS, NUMBERS // max(1, dimension or 1)))]
    replies = await ask([("VEMB", key, name) for name in shown]) if shown else []
    refused = next((reply for reply in replies if isinstance(reply, CacheError)), None)
    if refused is not None:
        return (failed("vectors", refused),)
    rows = tuple((text.printable(name, 60), _beginning(reply)) for name, reply in zip(shown, replies, strict=True))
    return (ValueSection("vectors", ("member", "vector"), rows),) if rows else ()


def _beginning(reply: object) -> str:
    """Return the first numbers of a vector.

    >>> _beginning([b"0.18208661675453186", 2.0, b"x"]), _beginning([b"0"] * 300), _beginning(None)
    ('0.1821, 2, x', '0, 0, 0, 0, 0, 0, 0, 0, … of 300', '-')
    """
    numbers = as_list(reply)
    words = []
    for number in numbers[:_NUMBERS_SHOWN]:
        value = as_float(number)
        words.append(as_text(number, 20) if value is None else f"{value:.4g}")
    if len(numbers) > _NUMBERS_SHOWN:
        words.append(f"… of {len(numbers):,}")
    return ", ".join(words) or text.UNKNOWN


async def read_array(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return the elements of an array that are set, by index; `descending` begins at the last."""
    about = await one(ask, "ARINFO", facts.key)
    fields = as_map(about)
    last = max(0, (as_int(fields.get("len")) or 1) - 1)
    sections = (section_of("array", about),) if window.start is None else ()
    first, end = (last, 0) if window.order == "descending" else (0, last)
    if window.start is not None:
        if not window.start.isdigit() or len(window.start) > _INDEX_DIGITS:
            raise no_such_window()
        first = int(window.start)
    reply = await one(ask, "ARSCAN", facts.key, first, end, "LIMIT", window.rows + 1)
    found = [(as_bytes(index), as_bytes(element)) for index, element in pairs(reply)]
    items = tuple(window.item(index, element) for index, element in found[: window.rows])
    next_ = found[window.rows][0] if len(found) > window.rows else None
    return Part(items, next_, as_int(fields.get("count")), sections=sections)


async def read_unknown(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return nothing of a type that we cannot read but how long a small value is when serialised."""
    note = f"{facts.type}: facts only"
    if window.start is not None or facts.size_bytes is None or facts.size_bytes >= DUMPED_BYTES:
        return Part(note=note)
    (dumped,) = await ask([("DUMP", facts.key)])
    if dumped is None:
        return Part(note="gone")
    if isinstance(dumped, CacheError):
        return Part(sections=(failed("serialised", dumped),), note=note)
    rows = (("length", text.size(len(as_bytes(dumped)))),)
    return Part(sections=(ValueSection("serialised", ("field", "value"), rows),), note=note)
