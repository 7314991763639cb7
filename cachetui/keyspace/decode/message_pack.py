"""MessagePack, read by its own bytes.

The usual library reserves memory for as many elements as a header claims; a nest of such
headers in a small value takes hundreds of megabytes. This reader takes only what is there.
"""

from __future__ import annotations

import struct

from cachetui.keyspace.decode.described import Decoder, Described, Look
from cachetui.keyspace.decode.figures import moment
from cachetui.keyspace.decode.tree import Attach, Branch, Node, Reader, Unreadable, document, in_hex, quoted

_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes of the length of bin, ext and str."""
_FIXED_EXT = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_WORDS = {0xC0: "null", 0xC2: "false", 0xC3: "true"}
_TIMESTAMP = -1


def _read(data: bytes, look: Look) -> Described | None:
    if not look.asked and not _begins(data):
        return None
    return document("MessagePack", data, look, _value)


def _begins(data: bytes) -> bool:
    """Return True for a map or an array: nothing else is worth a guess."""
    return len(data) > 1 and (0x80 <= data[0] <= 0x9F or 0xDC <= data[0] <= 0xDF)


def _value(reader: Reader, depth: int, attach: Attach) -> None:
    reader.count_node(depth)
    head = reader.number(1)
    if head <= 0x7F or head >= 0xE0:
        attach(str(head if head <= 0x7F else head - 0x100))
    elif head <= 0x8F:
        _map(reader, depth, attach, head & 0x0F)
    elif head <= 0x9F:
        _array(reader, depth, attach, head & 0x0F)
    elif head <= 0xBF:
        attach(quoted(reader.take(head & 0x1F)))
    elif head in (0xDC, 0xDD):
        _array(reader, depth, attach, reader.number(2 if head == 0xDC else 4))
    elif head in (0xDE, 0xDF):
        _map(reader, depth, attach, reader.number(2 if head == 0xDE else 4))
    else:
        attach(_leaf(reader, head))


def _leaf(reader: Reader, head: int) -> str:
    if head in _WORDS:
        return _WORDS[head]
    if head in _NUMBERS:
        form = _NUMBERS[head]
        return str(struct.unpack(form, reader.take(struct.calcsize(form)))[0])
    if head in _FIXED_EXT:
        return _ext(reader, _FIXED_EXT[head])
    if head not in _SIZED:
        raise Unreadable(f"byte {reader.at - 1:,} begins no value")
    count = reader.number(_SIZED[head])
    if head >= 0xD9:
        return quoted(reader.take(count))
    return f"bytes {in_hex(reader.take(count))}" if head <= 0xC6 else _ext(reader, count)


def _ext(reader: Reader, count: int) -> str:
    kind = reader.number(1, signed=True)
    data = reader.take(count)
    if kind == _TIMESTAMP and count in (4, 8, 12):
        number = int.from_bytes(data, "big")
        seconds = number if count == 4 else number & (1 << 34) - 1
        if count == 12:
            seconds = int.from_bytes(data[4:], "big", signed=True)
        return f"timestamp {moment(seconds) or seconds}"
    return f"extension {kind} {in_hex(data)}"


def _array(reader: Reader, depth: int, attach: Attach, count: int) -> None:
    branch = Branch(brackets="[]")
    attach(branch)
    for _ in range(count):
        _value(reader, depth + 1, branch.under(""))


def _map(reader: Reader, depth: int, attach: Attach, count: int) -> None:
    branch = Branch()
    attach(branch)
    for _ in range(count):
        labels: list[Node] = []
        at = reader.at
        _value(reader, depth + 1, labels.append)
        if isinstance(labels[0], Branch):
            raise Unreadable(f"a map or array as a name at byte {at:,}")
        _value(reader, depth + 1, branch.under(labels[0]))


MESSAGE_PACK = Decoder("msgpack", _begins, _read)
