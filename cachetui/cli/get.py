"""`cachetui get`: one value, decoded for a person, as a document, or its very bytes."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from cachetui.cli.call import Call, opened
from cachetui.cli.output import document, named, write_document, write_lines
from cachetui.config import Target
from cachetui.errors import BadUsage, CacheError, Unsupported
from cachetui.keyspace.decode import DECODER_NAMES, Described, describe, heads, lines_of
from cachetui.model import Value, ValueItem
from cachetui.source.base import VALUE_BYTES, VALUE_ROWS, Source
from cachetui.text import from_printable, printable, size

RAW_STEP_BYTES = 1024 * 1024
"""Of a string that is printed raw, so much at once."""
RAW_ELEMENT_BYTES = 64 * 1024 * 1024
"""Of one element that is printed raw; what is longer is cut, and said so."""
STEP_ROWS = 1_000
"""Elements of one step where all of them are read."""
FIELD_ROWS = 1_000_000
"""Elements looked at for `--field`."""
WIDE = 100_000
"""Columns where no terminal is: nothing is cut."""
PART_WAY = 4

_SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix", "memcached")
_PLAIN = ("text", "JSON", "integer", "UUID", "empty", "binary")


class Gone(CacheError):
    """There is no such key or field."""

    code, exit_code = "gone", 1


def get(call: Call) -> int:
    """Print one value. A key that is not there: exit code 1."""
    options = call.options
    *where, word = call.words or [""]
    if not call.words or (not where and _is_target(word)):
        raise BadUsage("a KEY is needed", "cachetui get [TARGET] KEY")
    if options.decoder is not None and options.decoder not in DECODER_NAMES:
        raise BadUsage(f"there is no decoder {printable(options.decoder, 40)}", f"one of {', '.join(DECODER_NAMES)}")
    if options.raw and options.decoder is not None:
        raise BadUsage("--raw prints the bytes undecoded", "leave out --decoder, or --raw")
    target, _ = call.target(where)
    return asyncio.run(_print(call, target, from_printable(word)))


def _is_target(word: str) -> bool:
    scheme, mark, _ = word.partition("://")
    return bool(mark) and scheme.partition("+")[0].lower() in _SCHEMES


async def _print(call: Call, target: Target, key: bytes) -> int:
    options = call.options
    async with opened(target) as source:
        if why := source.why_not("value"):
            raise Unsupported(f"{source.name}: {why}")
        if options.field is not None:
            return await _field(call, source, key, from_printable(options.field))
        if options.raw:
            return await _raw(call, source, key)
        value = await _part(call, source, key)
        if options.json:
            write_document(_document(source.name, value, options.decoder, options.folded))
        else:
            _show(call, value)
    return 0


@dataclass
class _Reading:
    """Reads one value window by window."""

    call: Call
    source: Source
    key: bytes
    max_bytes: int = VALUE_BYTES
    begun: bool = False
    ended: bool = False
    start: bytes | None = None

    async def window(self, rows: int) -> Value:
        """Return the next window of at most `rows` elements. Raises Gone when there is no such key."""
        options = self.call.options
        if not self.begun and options.start is not None:
            self.start = from_printable(options.start)
        value = await self.source.value(
            self.key, rows=rows, max_bytes=self.max_bytes, start=self.start, order=options.order
        )
        if not self.begun and (not value.facts.exists or value.note == "gone"):
            where = f"there is no key {printable(self.key, 100)} at {self.source.name}"
            raise Gone(where, "cachetui keys lists those there are")
        self.begun = True
        # A window that gives its own start again would never end.
        self.ended = value.next is None or value.next == self.start
        self.start = value.next
        return value

    async def all(self, rows: int) -> AsyncIterator[Value]:
        """Yield every window."""
        while not self.ended:
            yield await self.window(rows)


async def _part(call: Call, source: Source, key: bytes) -> Value:
    """Return as many elements as were asked for as one value."""
    reading = _Reading(call, source, key)
    left: int = call.options.rows
    whole = await reading.window(min(left, STEP_ROWS))
    left -= len(whole.items)
    while not (reading.ended or _is_one(whole)) and left > 0:
        value = await reading.window(min(left, STEP_ROWS))
        whole = replace(whole, items=(*whole.items, *value.items), next=value.next, note=value.note)
        left -= max(1, len(value.items))
    return whole


def _is_one(value: Value) -> bool:
    """Return True for a string or an item: one element without a name."""
    return value.columns == ("value",) and len(value.items) == 1 and not value.items[0].label


# For a person


def _show(call: Call, value: Value) -> None:
    options = call.options
    if _is_one(value):
        _show_one(call, value.items[0], value)
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    shown = replace(value, total=None)  # what is missing is said on stderr
    write_lines(lines_of(shown, width=width, decoder=options.decoder, folded=options.folded, ascii_only=options.ascii))
    if value.next is not None or _short(value):
        more = "" if value.next is None else f"; go on with --start '{printable(value.next)}'"
        total = "" if value.total is None else f" of {value.total:,}"
        call.tell(f"{len(value.items):,}{total} elements{more}, or ask for more with --rows")


def _short(value: Value) -> bool:
    return value.start is None and value.total is not None and value.total > len(value.items) > 0


def _show_one(call: Call, item: ValueItem, value: Value) -> None:
    described = _described(item, value, call.options.decoder, call.options.folded)
    lines = described.lines
    if lines and lines[-1].startswith("… cut after "):
        # What was left out is no data.
        call.tell(f"{lines[-1].removeprefix('… ')}; --raw prints all of it")
        lines = lines[:-1]
    write_lines(lines)
    if described.kind not in _PLAIN:
        call.tell(f"{described.kind}, {size(_length(item, value))}")
    if _is_cut(item, value):
        call.tell(f"cut: {size(len(item.data))} of {size(_length(item, value))}; --raw prints all of it")


def _described(item: ValueItem, value: Value, decoder: str | None, folded: bool) -> Described:
    return describe(item.data, decoder, folded=folded, whole=not _is_cut(item, value))


def _length(item: ValueItem, value: Value) -> int:
    total = item.total_bytes if item.total_bytes is not None else value.total if _is_one(value) else None
    return len(item.data) if total is None else total


def _is_cut(item: ValueItem, value: Value) -> bool:
    return _length(item, value) > len(item.data)


# As a document


def _document(name: str, value: Value, decoder: str | None, folded: bool) -> dict[str, object]:
    facts = value.facts
    found = document("get", name, value.taken_at)
    found |= {**named("key", facts.key), "type": facts.type, "ttlSeconds": facts.ttl_s, "hasTtl": facts.has_ttl}
    found |= {"sizeBytes": facts.size_bytes, "encoding": facts.encoding, "length": _total(value), "note": value.note}
    if value.flags is not None:
        found["flags"] = value.flags
    found["next"] = None if value.next is None else printable(value.next)
    if _is_one(value):
        item = value.items[0]
        described = _described(item, value, decoder, folded)
        found |= {"cut": _is_cut(item, value), **named("value", item.data)}
        found |= {"kind": described.kind, "lines": list(described.lines)}
    else:
        found["cut"] = value.next is not None or _short(value)
        found["items"] = [_item(item, value, decoder, folded) for item in value.items]
    found["sections"] = [
        {"title": section.title, "columns": list(section.columns), "rows": [list(row) for row in section.rows]}
        for section in value.sections
    ]
    found["points"] = [list(point) for point in value.points]
    return found


def _total(value: Value) -> int | None:
    return value.total if value.total is not None else value.facts.length


def _item(item: ValueItem, value: Value, decoder: str | None, folded: bool) -> dict[str, object]:
    """Return one element by the names that its type has for its parts."""
    label, data, score = heads(value)
    row: dict[str, object] = dict(named(label, item.label)) if label else {}
    row |= named(data or "value", item.data)
    if item.score is not None:
        row[score or "score"] = item.score if abs(item.score) != float("inf") else str(item.score)
    if item.ttl_s is not None:
        row["ttlSeconds"] = item.ttl_s
    if _is_cut(item, value):
        row["totalBytes"] = _length(item, value)
    if decoder is not None:
        row["lines"] = list(_described(item, value, decoder, folded).lines)
    return row


# One element, and the bytes themselves


async def _field(call: Call, source: Source, key: bytes, wanted: bytes) -> int:
    """Print the first element of this name; of a set or sorted set, this member."""
    seen = 0
    most = RAW_ELEMENT_BYTES if call.options.raw else VALUE_BYTES
    async for value in _Reading(call, source, key, most).all(STEP_ROWS):
        if _is_one(value):
            raise BadUsage("--field is for hashes, lists, sets, sorted sets and streams", "this is one value")
        by_label = heads(value)[0] != ""
        for item in value.items:
            if (item.label if by_label else item.data) == wanted:
                return _print_item(call, source.name, item, value)
        seen += len(value.items)
        if seen >= FIELD_ROWS and value.next is not None:
            call.tell(f"not among the first {seen:,} elements; go on with --start '{printable(value.next)}'")
            return PART_WAY
    raise Gone(
        f"{printable(key, 100)} has no {printable(wanted, 100)}", "cachetui get without --field lists what it has"
    )


def _print_item(call: Call, name: str, item: ValueItem, value: Value) -> int:
    if call.options.json:
        only = replace(value, items=(item,), next=None)
        found = _document(name, only, call.options.decoder, call.options.folded)
        write_document({**found, "cut": _is_cut(item, value)})
        return 0
    if not call.options.raw:
        _show_one(call, item, value)
        return 0
    sys.stdout.buffer.write(item.data)
    return _said_if_cut(call, item, value)


def _said_if_cut(call: Call, item: ValueItem, value: Value) -> int:
    if not _is_cut(item, value):
        return 0
    call.tell(f"cut: {size(len(item.data))} of {size(_length(item, value))} were printed")
    return PART_WAY


async def _raw(call: Call, source: Source, key: bytes) -> int:
    """Print all bytes: a string's as they are, elements with a newline after each part, as redis-cli does."""
    out = sys.stdout.buffer
    facts = (await source.facts([key], size=False)).facts[0]
    one = facts.type == "string"
    done = total = 0
    code = 0
    most = RAW_STEP_BYTES if one else RAW_ELEMENT_BYTES
    async for value in _Reading(call, source, key, most).all(VALUE_ROWS if one else STEP_ROWS):
        if value.note and not value.items and (done or not value.sections):
            call.tell(value.note if not done else f"stopped after {done:,}: {value.note}")
            return PART_WAY
        if _is_one(value):
            out.write(value.items[0].data)
            done += len(value.items[0].data)
            total = _length(value.items[0], value)
            continue
        for item in value.items:
            out.write(b"".join(part + b"\n" for part in _parts(item, value)))
            code = max(code, _said_if_cut(call, item, value))
        done += len(value.items)
    if done < total and call.options.start is None:
        call.tell(f"stopped after {size(done)} of {size(total)}")
        return PART_WAY
    return code


def _parts(item: ValueItem, value: Value) -> list[bytes]:
    label, _, _ = heads(value)
    parts = [item.label] if label and label != "index" else []
    parts.append(item.data)
    if item.score is not None:
        parts.append(f"{item.score:.17g}".encode("ascii"))
    return parts
