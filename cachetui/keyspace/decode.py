"""Values as safe lines of text. Nothing is ever loaded: what could run code is only named."""

from __future__ import annotations

import codecs
import json
import re
import zlib
from dataclasses import dataclass

from cachetui import text
from cachetui.model import Value, ValueItem

UNPACKED_BYTES = 64 * 1024
"""Compressed data is unpacked so far and no further."""
LINES = 2_000
"""Most lines of one value."""
JSON_DEPTH = 64
"""Deeper nesting is shown as it came."""
HEX_WIDTH = 16

_INTEGER = re.compile(rb"-?\d{1,40}")
_PHP = re.compile(rb'(?:a:\d+:\{|O:\d+:"|C:\d+:"|s:\d+:"|i:-?\d+;|d:[-\d.eE]+;|b:[01];|N;)')
_OLD_PICKLE = re.compile(rb"(?:\(dp\d*\n|\(lp\d*\n|\(tp\d*\n|\(i[\w.]+\n|c[\w.]+\n[\w.]+\n|ccopy_reg\n)")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


@dataclass(frozen=True, slots=True)
class Described:
    """What some bytes are."""

    kind: str
    """`JSON`, `integer`, `text`, `gzip of JSON`, `pickle (not loaded)`, `binary`, ..."""
    lines: tuple[str, ...]
    """Safe on any terminal, of any width."""


def describe(data: bytes) -> Described:
    r"""Return what `data` is and how to show it. Never raises, never loads or runs anything.

    >>> describe(b'{"a": [1, 2]}')
    Described(kind='JSON', lines=('{', '  "a": [', '    1,', '    2', '  ]', '}'))
    >>> describe(b"42").kind, describe(b"a\x1b").lines, describe(b"\x00\xff").kind
    ('integer', ('a\\x1b',), 'binary')
    """
    unpacked = _unpacked(data)
    if unpacked is None:
        return _plain(data)
    name, inside, whole = unpacked
    described = _plain(inside)
    lines = described.lines
    if not whole:
        lines = (*lines, f"… cut after {text.size(len(inside))} unpacked")
    return Described(f"{name} of {described.kind}", lines)


def _plain(data: bytes) -> Described:
    if not data:
        return Described("empty", ())
    for kind, found in (
        ("Java object (not loaded)", data.startswith(b"\xac\xed\x00\x05")),
        ("pickle (not loaded)", _is_pickle(data)),
    ):
        if found:
            return Described(kind, _hex(data))
    if data.startswith(b"HYLL") and len(data) >= 16:
        return Described("HyperLogLog", (*_hyperloglog(data), *_hex(data)))
    if _INTEGER.fullmatch(data):
        return Described("integer", (data.decode("ascii"),))
    words = _text(data)
    if words is None:
        return Described("binary", _hex(data))
    if _PHP.match(data):
        return Described("PHP serialized (not loaded)", _lines(words))
    pretty = _json(words)
    if pretty is not None:
        return Described("JSON", pretty)
    return Described("text", _lines(words))


def _is_pickle(data: bytes) -> bool:
    return (data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")) or bool(_OLD_PICKLE.match(data))


def _unpacked(data: bytes) -> tuple[str, bytes, bool] | None:
    """Return the name of the packing, the first bytes inside, and whether that is all; None when not packed."""
    if data[:3] == b"\x1f\x8b\x08":
        name, window = "gzip", 31
    elif len(data) > 2 and data[0] & 0x0F == 8 and data[0] >> 4 <= 7 and (data[0] << 8 | data[1]) % 31 == 0:
        name, window = "zlib", 15
    else:
        return None
    unpacker = zlib.decompressobj(window)
    try:
        inside = unpacker.decompress(data, UNPACKED_BYTES)
    except zlib.error:
        return None
    if not inside and not unpacker.eof:
        return None
    return name, inside, unpacker.eof


def _hyperloglog(data: bytes) -> tuple[str, ...]:
    encoding = {0: "dense", 1: "sparse"}.get(data[4], "unknown encoding")
    cached = int.from_bytes(data[8:16], "little")
    count = "count not cached" if cached >> 63 else f"cached count {cached:,}"
    return (f"{encoding}, {count}",)


def _text(data: bytes) -> str | None:
    """Return `data` as text, or None when it looks binary. A character cut off at the end is forgiven."""
    if b"\x00" in data:
        return None
    try:
        words = codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return None
    odd = sum(1 for char in words[:4096] if not char.isprintable() and char not in "\n\r\t\x1b")
    return words if words and odd * 10 <= min(len(words), 4096) else None


def _lines(words: str) -> tuple[str, ...]:
    parts = words.split("\n", LINES)
    lines = [text.printable(part) for part in parts[:LINES]]
    if len(parts) > LINES:
        lines.append(f"… cut after {LINES:,} lines")
    return tuple(lines)


def _hex(data: bytes) -> tuple[str, ...]:
    lines = []
    for at in range(0, min(len(data), LINES * HEX_WIDTH), HEX_WIDTH):
        row = data[at : at + HEX_WIDTH]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{at:06x}  {row.hex(' '):<{3 * HEX_WIDTH - 1}}  {shown}")
    if len(data) > LINES * HEX_WIDTH:
        lines.append(f"… cut after {text.size(LINES * HEX_WIDTH)}")
    return tuple(lines)


def _json(words: str) -> tuple[str, ...] | None:
    """Return an object or array laid out, its own tokens untouched; None when it is none, or nested too deep."""
    if words.lstrip()[:1] not in ("{", "["):
        return None
    depth = deepest = 0
    for token in _TOKEN.finditer(words):
        char = token[0]
        depth += (char in "{[") - (char in "}]")
        deepest = max(deepest, depth)
    if deepest > JSON_DEPTH:
        return None
    try:
        json.loads(words, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return _laid_out(words)


def _laid_out(words: str) -> tuple[str, ...]:
    lines: list[str] = []
    line, depth, before = "", 0, ""
    for found in _TOKEN.finditer(words):
        token = found[0]
        if token in ("}", "]"):
            depth -= 1
            if before in ("{", "["):
                line += token
            else:
                lines.append(line)
                line = "  " * depth + token
        else:
            if before in ("{", "[", ","):
                lines.append(line)
                line = "  " * depth
            line += ": " if token == ":" else _shown(token)
            depth += token in ("{", "[")
        before = token
        if len(lines) >= LINES:
            return (*lines, f"… cut after {LINES:,} lines")
    return (*lines, line)


def _shown(token: str) -> str:
    """Escape what is not printable; JSON's own escapes stay as they are, for these are the same escapes."""
    if token.isprintable():
        return token
    return "".join(char if char.isprintable() else text.printable(char) for char in token)


def preview(value: Value, *, width: int, rows: int) -> list[str]:
    """Return at most `rows` lines of at most `width` columns, safe on any terminal."""
    if width <= 0 or rows <= 0:
        return []
    if not value.items:
        return [_cut(text.printable(value.note or "empty"), width)]
    if len(value.items) == 1 and not value.items[0].label and value.columns == ("value",):
        return _one(value.items[0], value, width, rows)
    return _many(value, width, rows)


def _one(item: ValueItem, value: Value, width: int, rows: int) -> list[str]:
    described = describe(item.data)
    total = item.total_bytes if item.total_bytes is not None else value.total
    head = f"{described.kind}, {text.size(total if total is not None else len(item.data))}"
    if total is not None and total > len(item.data):
        head += f", first {text.size(len(item.data))}"
    if value.flags:
        head += f", flags {value.flags}"
    lines = [_cut(head, width)]
    for line in described.lines:
        lines += _wrapped(line, width, rows)
        if len(lines) > rows:
            return [*lines[: rows - 1], _cut("…", width)] if rows > 1 else lines[:1]
    return lines


def _many(value: Value, width: int, rows: int) -> list[str]:
    """Lay out elements: label (where this type has one), score (where there is one), data."""
    shown = value.items[: max(1, rows - 2)]
    scored = any(item.score is not None for item in shown)
    heads = list(value.columns)
    score_head = heads.pop() if scored and len(heads) > 1 else ""
    label_head = heads.pop(0) if len(heads) > 1 else ""
    table = [(label_head, score_head, heads[0] if heads else "")]
    for item in shown:
        score = "" if item.score is None else f"{item.score:.15g}"
        table.append((text.printable(item.label, 256), score, _short(item, width)))
    room = min(max(8, width // 3), max(text.cells(label) for label, _, _ in table))
    lines = []
    for label, score, data in table:
        named = f"{text.fit(label, room)}  " if label_head else ""
        figure = f"{text.fit(score, 12, 'right')}  " if scored else ""
        lines.append(_cut(f"{named}{figure}{data}", width))
    total = value.total if value.total is not None else len(value.items)
    if total > len(shown):
        lines.append(_cut(f"… first {len(shown):,} of {total:,}", width))
    return lines[:rows]


def _short(item: ValueItem, width: int) -> str:
    words = text.printable(item.data, width + 1)
    if item.ttl_s is not None:
        words = f"[TTL {text.duration(item.ttl_s)}] {words}"
    return words


def _cut(line: str, width: int) -> str:
    return line if text.cells(line) <= width else text.fit(line, width)


def _wrapped(line: str, width: int, rows: int) -> list[str]:
    """Return the first `rows` parts of `line`, and one more if it goes on."""
    if text.cells(line) <= width:
        return [line]
    parts: list[str] = []
    at = 0
    while at < len(line) and len(parts) <= rows:
        end = at + width
        while text.cells(line[at:end]) > width and end > at + 1:
            end -= 1
        parts.append(_cut(line[at:end], width))
        at = end
    return parts
