"""Bytes as they are: text, hexadecimal, bits."""

from __future__ import annotations

from collections.abc import Iterator

from cachetui import text
from cachetui.keyspace.decode.described import LINES, Decoder, Described, Look, anything, as_text, bounded, text_lines

HEX_WIDTH = 16
BITS_WIDTH = 8
POSITIONS = 32
"""Set bits that are told by their position."""


def hex_lines(data: bytes) -> tuple[str, ...]:
    """Return `data` as offset, bytes and ASCII."""
    lines = []
    for at in range(0, min(len(data), LINES * HEX_WIDTH), HEX_WIDTH):
        row = data[at : at + HEX_WIDTH]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{at:06x}  {row.hex(' '):<{3 * HEX_WIDTH - 1}}  {shown}")
    if len(data) > LINES * HEX_WIDTH:
        lines.append(f"… cut after {text.size(LINES * HEX_WIDTH)}")
    return tuple(lines)


def plainest(data: bytes) -> Described:
    """Return `data` as text where it is text, else in hexadecimal."""
    words = as_text(data)
    return Described("binary", hex_lines(data)) if words is None else Described("text", text_lines(words))


def _hex(data: bytes, _: Look) -> Described:
    return Described("binary", hex_lines(data))


def _utf8(data: bytes, look: Look) -> Described | None:
    words = data.decode("utf-8", "surrogateescape") if look.asked else as_text(data)
    return None if words is None else Described("text", text_lines(words))


def _latin1(data: bytes, _: Look) -> Described:
    return Described("Latin-1 text", text_lines(data.decode("latin-1")))


def _bits(data: bytes, _: Look) -> Described:
    count = int.from_bytes(data, "big").bit_count()
    return Described("bits", (f"{count:,} of {8 * len(data):,} set", *_set_bits(data, count), *bounded(_rows(data))))


def _set_bits(data: bytes, count: int) -> list[str]:
    if not count:
        return []
    found = []
    for at, byte in enumerate(data):
        # As SETBIT counts: bit 0 is the first byte's highest.
        found += [str(8 * at + bit) for bit in range(8) if byte << bit & 0x80] if byte else []
        if len(found) >= POSITIONS:
            break
    return ["positions " + " ".join(found[:POSITIONS]) + (" …" if count > POSITIONS else "")]


def _rows(data: bytes) -> Iterator[str]:
    for at in range(0, len(data), BITS_WIDTH):
        yield f"{8 * at:>8}  " + " ".join(f"{byte:08b}" for byte in data[at : at + BITS_WIDTH])


TEXT = Decoder("text", lambda data: as_text(data) is not None, _utf8)
LATIN1 = Decoder("latin-1", anything, _latin1, by_itself=False)
BITS = Decoder("bits", anything, _bits, by_itself=False)
HEX = Decoder("hex", anything, _hex)
