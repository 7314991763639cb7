"""Compressed values, unpacked a little way and described by what is inside."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from cachetui import text
from cachetui.keyspace.decode.described import NESTED, Decoder, Described, Look, as_text
from cachetui.keyspace.decode.plain import hex_lines, plainest
from cachetui.text import printable

UNPACKED_BYTES = 64 * 1024
"""Compressed data is unpacked so far and no further."""
_WINDOW_BYTES = 32 * 1024 * 1024
"""Memory that a zstd frame may ask for."""
_BLOCK_BYTES = 4 * 1024 * 1024
"""Largest lz4 block: it can only be unpacked whole."""
_MEMBERS = 100
"""A gzip file may be several, one after the other."""
_EMPTY_FRAME_BYTES = range(9, 32)
"""A longer zstd frame holds something, a shorter one is cut off."""
_GUESS_BYTES = 16
"""A format without a mark is guessed only when at least so much clean text comes out."""


INSTALL = "pip install cachetui[codecs]"
"""What brings the packages of all formats that are not Python's own."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The beginning of what was compressed."""

    data: bytes
    whole: bool


class Missing(Exception):
    """The package that unpacks this format is not installed (or too old)."""


Unpack = Callable[[bytes], Unpacked]
"""Raises ValueError when the data is not of this format, Missing without its package."""
Inside = Callable[[bytes, Look], Described]


def _zlib(window: int) -> Unpack:
    def unpack(data: bytes) -> Unpacked:
        found, rest = b"", data
        for _ in range(_MEMBERS):
            unpacker = zlib.decompressobj(window)
            try:
                found += unpacker.decompress(rest, UNPACKED_BYTES - len(found))
            except zlib.error as error:
                if found:  # bytes after the end that are no further member
                    return Unpacked(found, True)
                raise ValueError(str(error).rpartition(": ")[2]) from error
            if not found and not unpacker.eof:
                raise ValueError(_NOTHING)
            rest = unpacker.unused_data
            if window != _GZIP or not unpacker.eof or not rest or len(found) >= UNPACKED_BYTES:
                return Unpacked(found, unpacker.eof and not (window == _GZIP and rest))
        return Unpacked(found, False)

    return unpack


_GZIP, _ZLIB, _DEFLATE = 31, 15, -15
_NOTHING = "nothing comes out: its first block is cut off"


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(str(error)) from error


def _zstd(data: bytes) -> Unpacked:
    zstandard = _module("zstandard")
    try:
        with zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).stream_reader(data) as stream:
            found = stream.read(UNPACKED_BYTES)
            if not found and len(data) not in _EMPTY_FRAME_BYTES:
                raise ValueError(_NOTHING)
            return Unpacked(found, len(found) < UNPACKED_BYTES or not stream.read(1))
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error


def _lz4(data: bytes) -> Unpacked:
    frame = _module("lz4.frame")
    unpacker = frame.LZ4FrameDecompressor()
    try:
        found = unpacker.decompress(data, UNPACKED_BYTES)
    except (RuntimeError, EOFError) as error:
        raise ValueError(str(error)) from error
    if not found and not unpacker.eof:
        raise ValueError(_NOTHING)
    return Unpacked(found, unpacker.eof)


def _lz4_block(data: bytes) -> Unpacked:
    block = _module("lz4.block")
    claimed = int.from_bytes(data[:4], "little")
    sizes = [UNPACKED_BYTES, _BLOCK_BYTES]
    # Python's and others' blocks begin with their size; plain ones do not.
    tries = [(data[4:], claimed)] if 0 < claimed <= _BLOCK_BYTES else []
    for body, most in (*tries, *((data, size) for size in sizes)):
        try:
            found = block.decompress(body, uncompressed_size=most)
        except (block.LZ4BlockError, ValueError, MemoryError):
            continue
        if found:
            return Unpacked(found[:UNPACKED_BYTES], len(found) <= UNPACKED_BYTES)
    raise ValueError("no lz4 block, or one that holds too much")


def _brotli(data: bytes) -> Unpacked:
    brotli = _module("brotli")
    unpacker = brotli.Decompressor()
    try:
        found = unpacker.process(data, output_buffer_limit=UNPACKED_BYTES)
    except TypeError as error:
        raise Missing("brotli before 1.2 cannot be bounded") from error
    except brotli.error as error:
        raise ValueError("no brotli stream") from error
    if not found and not unpacker.is_finished():
        raise ValueError(_NOTHING)
    return Unpacked(found[:UNPACKED_BYTES], unpacker.is_finished() and len(found) <= UNPACKED_BYTES)


def _is_zlib(data: bytes) -> bool:
    marked = len(data) > 2 and data[0] & 0x0F == 8 and data[0] >> 4 <= 7 and (data[0] << 8 | data[1]) % 31 == 0
    return marked and as_text(data[:256]) is None  # "x^" begins text as well


def _certain(data: bytes, found: Unpacked) -> bool:
    """Return True when a format without a mark came out as clean text, so much of it that it is no chance."""
    words = as_text(found.data)
    return found.whole and words is not None and len(words) >= _GUESS_BYTES and len(data) > 4 and as_text(data) is None


def decoders(inside: Inside) -> dict[str, Decoder]:
    """Return the decoders by name; `inside` describes what was packed."""

    def decoder(
        name: str, unpack: Unpack, fits: Callable[[bytes], bool], *, sure: bool = True, by_itself: bool = True
    ) -> Decoder:
        def read(data: bytes, look: Look) -> Described | None:
            try:
                found = unpack(data)
            except Missing:
                if not (sure or look.asked):
                    return None
                return Described(name, (f"to see what is inside: {INSTALL}", *hex_lines(data)))
            except ValueError as error:
                if look.whole or look.asked or not sure:
                    raise
                return Described(name, (f"cannot be unpacked: {printable(str(error), 120)}", *hex_lines(data)))
            if not (look.asked or sure or _certain(data, found)):
                return None
            return _described(name, found, look, inside)

        return Decoder(name, fits, read, by_itself)

    return {
        "gzip": decoder("gzip", _zlib(_GZIP), lambda data: data[:3] == b"\x1f\x8b\x08"),
        "zlib": decoder("zlib", _zlib(_ZLIB), _is_zlib),
        "zstd": decoder("zstd", _zstd, lambda data: data[:4] == b"\x28\xb5\x2f\xfd"),
        "lz4": decoder("lz4", _lz4, lambda data: data[:4] == b"\x04\x22\x4d\x18"),
        "brotli": decoder("brotli", _brotli, lambda data: data != b"", sure=False),
        "deflate": decoder("deflate", _zlib(_DEFLATE), lambda data: data != b"", by_itself=False),
        "lz4-block": decoder("lz4-block", _lz4_block, lambda data: len(data) > 1, by_itself=False),
    }


def _described(name: str, found: Unpacked, look: Look, inside: Inside) -> Described:
    deeper = look.inside(found.whole)
    described = inside(found.data, deeper) if deeper.depth < NESTED else plainest(found.data)
    lines = described.lines
    if not found.whole:
        lines = (*lines, f"… cut after {text.size(len(found.data))} unpacked")
    return Described(f"{name} of {described.kind}", lines)
