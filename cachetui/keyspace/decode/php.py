"""PHP: `serialize()` and sessions read as text, igbinary named. No class is ever made."""

from __future__ import annotations

import re

from cachetui.keyspace.decode.described import Decoder, Described, Look
from cachetui.keyspace.decode.plain import hex_lines
from cachetui.keyspace.decode.tree import Attach, Branch, Reader, Unreadable, document, in_hex, quoted
from cachetui.text import printable

_START = re.compile(rb'(?:a:\d+:\{|[OCE]:\d+:"|s:\d+:"|i:-?\d+;|d:[-\w.+]+;|b:[01];|N;)')
_SESSION = re.compile(rb'[A-Za-z_][\w.\-]{0,127}\|(?:a:\d+:\{|[OCE]:\d+:"|s:\d+:"|i:-?\d+;|d:[-\w.+]+;|b:[01];|N;)')
_INTEGER = re.compile(rb"-?\d{1,20}")
_FLOAT = re.compile(rb"-?(?:\d[\d.eE+-]*|\.\d+|INF|NAN)|NAN")
_NAME = 256
_NUMBER = 64
KIND = "PHP serialized (not loaded)"


def _read(data: bytes, look: Look) -> Described | None:
    if _SESSION.match(data):
        return document("PHP session (not loaded)", data, look, _session)
    return document(KIND, data, look, _value)


def _session(reader: Reader, depth: int, attach: Attach) -> None:
    branch = Branch()
    attach(branch)
    while not reader.ended:
        label = printable(reader.until(b"|", _NAME))
        _value(reader, depth + 1, branch.under(label))


def _value(reader: Reader, depth: int, attach: Attach) -> None:
    reader.count_node(depth)
    at = reader.at
    kind = reader.take(2)
    if kind == b"N;":
        attach("null")
    elif kind in (b"b:", b"i:", b"d:", b"r:", b"R:"):
        attach(_scalar(kind, reader.until(b";", _NUMBER), at))
    elif kind == b"s:":
        attach(quoted(_string(reader)))
        _expect(reader, b";")
    elif kind == b"E:":
        attach(f"case {quoted(_string(reader))}")
        _expect(reader, b";")
    elif kind == b"a:":
        _members(reader, depth, attach, Branch(brackets="[]"))
    elif kind == b"O:":
        name = _string(reader)
        _expect(reader, b":")
        _members(reader, depth, attach, Branch(printable(name, _NAME)))
    elif kind == b"C:":
        name = _string(reader)
        _expect(reader, b":")
        count = _count(reader)
        _expect(reader, b"{")
        attach(f"{printable(name, _NAME)} {in_hex(reader.take(count))}")
        _expect(reader, b"}")
    else:
        raise Unreadable(f"byte {at:,} begins no PHP value")


def _scalar(kind: bytes, word: bytes, at: int) -> str:
    if kind == b"b:" and word in (b"0", b"1"):
        return "true" if word == b"1" else "false"
    if kind == b"d:" and _FLOAT.fullmatch(word):
        return word.decode("ascii")
    if kind in (b"i:", b"r:", b"R:") and _INTEGER.fullmatch(word):
        return word.decode("ascii") if kind == b"i:" else f"the same as value {word.decode('ascii')}"
    raise Unreadable(f"no number at byte {at:,}")


def _count(reader: Reader) -> int:
    at = reader.at
    word = reader.until(b":", _NUMBER)
    if not word.isdigit():
        raise Unreadable(f"no length at byte {at:,}")
    return int(word)


def _string(reader: Reader) -> bytes:
    count = _count(reader)
    _expect(reader, b'"')
    found = reader.take(count)
    _expect(reader, b'"')
    return found


def _expect(reader: Reader, mark: bytes) -> None:
    if reader.take(1) != mark:
        raise Unreadable(f"no {mark.decode('ascii')} at byte {reader.at - 1:,}")


def _members(reader: Reader, depth: int, attach: Attach, branch: Branch) -> None:
    count = _count(reader)
    _expect(reader, b"{")
    attach(branch)
    for _ in range(count):
        label = _label(reader)
        _value(reader, depth + 1, branch.under(label))
    _expect(reader, b"}")


def _label(reader: Reader) -> str:
    """Return the name of a member: `private` and `protected` are written between NUL bytes."""
    at = reader.at
    kind = reader.take(2)
    if kind == b"i:":
        return _scalar(kind, reader.until(b";", _NUMBER), at)
    if kind != b"s:":
        raise Unreadable(f"byte {at:,} begins no name")
    name = _string(reader)
    _expect(reader, b";")
    scope, _, inner = name[1:].partition(b"\x00")
    if name[:1] != b"\x00" or not inner:
        return quoted(name)
    return (
        f"{quoted(inner)} (protected)" if scope == b"*" else f"{quoted(inner)} (private of {printable(scope, _NAME)})"
    )


def _igbinary(data: bytes, _: Look) -> Described | None:
    if data[:4] not in _IGBINARY:
        return None
    return Described("igbinary (not loaded)", (f"PHP's igbinary, format {data[3]}", *hex_lines(data)))


_IGBINARY = (b"\x00\x00\x00\x01", b"\x00\x00\x00\x02")
_IGBINARY_LENGTH = 5

PHP = Decoder("php", lambda data: bool(_START.match(data) or _SESSION.match(data)), _read)
IGBINARY = Decoder("igbinary", lambda data: len(data) >= _IGBINARY_LENGTH and data[:4] in _IGBINARY, _igbinary)
