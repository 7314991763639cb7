"""Protocol Buffers by wire type: numbers of fields and what their bytes may mean, without the schema."""

from __future__ import annotations

import struct

from cachetui.keyspace.decode.described import Decoder, Described, Look
from cachetui.keyspace.decode.tree import Attach, Branch, Node, Reader, TooMany, Unreadable, document, in_hex, quoted

_FIELD = 1_000
"""Field numbers of a guess; the format allows many more."""
_LARGEST_FIELD = (1 << 29) - 1
_GUESS_BYTES = 4
_GUESS_FIELDS = 3
_NESTED = 12


def _read(data: bytes, look: Look) -> Described | None:
    if not look.asked and not _likely(data):
        return None
    return document("Protocol Buffers" if look.asked else "Protocol Buffers (a guess)", data, look, _message)


def _likely(data: bytes) -> bool:
    """Return True for a message with ascending, small field numbers and text, or several fields, in it."""
    if len(data) < _GUESS_BYTES:
        return False
    reader, last, fields, texts = Reader(data), 1, 0, 0
    while not reader.ended and fields < _FIELD:
        field, wire = _tag(reader)
        if not last <= field <= _FIELD:
            return False
        content = _bytes(reader, wire)
        last, fields, texts = field, fields + 1, texts + (wire == 2 and _is_words(content))
    return texts > 0 or fields >= _GUESS_FIELDS


def _message(reader: Reader, depth: int, attach: Attach) -> None:
    branch = Branch()
    attach(branch)
    while not reader.ended:
        reader.count_node(depth)
        field, wire = _tag(reader)
        content = _bytes(reader, wire)
        if wire != 2:
            shown = _varint(content) if wire == 0 else _fixed(content)
            branch.members.append((str(field), f"{_WIRE[wire]} {shown}"))
            continue
        branch.members.append((str(field), _delimited(content, reader, depth)))


_WIRE = {0: "varint", 1: "64-bit", 2: "bytes", 5: "32-bit"}


def _tag(reader: Reader) -> tuple[int, int]:
    at = reader.at
    tag = int.from_bytes(_varint_bytes(reader), "little")
    field, wire = tag >> 3, tag & 7
    if wire not in _WIRE or not 0 < field <= _LARGEST_FIELD:
        raise Unreadable(f"byte {at:,} begins no field")
    return field, wire


def _varint_bytes(reader: Reader) -> bytes:
    """Return a base-128 number as eight little-endian bytes."""
    number = 0
    for at in range(10):
        byte = reader.take(1)[0]
        number |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            return (number & (1 << 64) - 1).to_bytes(8, "little")
    raise Unreadable(f"a number without an end at byte {reader.at:,}")


def _bytes(reader: Reader, wire: int) -> bytes:
    if wire == 0:
        return _varint_bytes(reader)
    if wire == 2:
        return reader.take(int.from_bytes(_varint_bytes(reader), "little"))
    return reader.take(8 if wire == 1 else 4)


def _varint(content: bytes) -> str:
    number = int.from_bytes(content, "little")
    shown = str(number)
    if number >> 63:
        shown += f" (signed {number - (1 << 64)})"
    if number & 1:
        shown += f" (zigzag {-(number + 1 >> 1)})"
    return shown


def _fixed(content: bytes) -> str:
    number = int.from_bytes(content, "little")
    (real,) = struct.unpack("<d" if len(content) == 8 else "<f", content)
    return f"{number} (as a float {real:.9g})"


def _is_words(content: bytes) -> bool:
    try:
        words = content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return words != "" and all(char.isprintable() or char in "\n\r\t" for char in words)


def _delimited(content: bytes, outer: Reader, depth: int) -> Node:
    """Return text, else a message inside, else bytes: whichever fits first."""
    if not content or _is_words(content):
        return quoted(content)
    if depth < _NESTED:
        inner, found = Reader(content), list[Node]()
        inner.nodes = outer.nodes
        try:
            _message(inner, depth + 1, found.append)
        except TooMany:
            raise
        except Unreadable:
            return f"bytes {in_hex(content)}"
        outer.nodes = inner.nodes
        return found[0]
    return f"bytes {in_hex(content)}"


PROTOBUF = Decoder("protobuf", lambda data: len(data) >= _GUESS_BYTES, _read)
