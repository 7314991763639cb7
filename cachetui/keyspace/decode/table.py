"""The table of decoders: which there are, which fits, and what some bytes are."""

from __future__ import annotations

import struct

from cachetui.keyspace.decode import packed
from cachetui.keyspace.decode.described import DATA_BYTES, Decoder, Described, Look
from cachetui.keyspace.decode.figures import FIXED, INTEGER, TIMESTAMP, UUID
from cachetui.keyspace.decode.java import JAVA
from cachetui.keyspace.decode.json_text import JSON
from cachetui.keyspace.decode.message_pack import MESSAGE_PACK
from cachetui.keyspace.decode.php import IGBINARY, PHP
from cachetui.keyspace.decode.pickled import PICKLE
from cachetui.keyspace.decode.plain import BITS, HEX, LATIN1, TEXT, hex_lines, plainest
from cachetui.keyspace.decode.protobuf import PROTOBUF
from cachetui.keyspace.decode.sketch import HYPERLOGLOG
from cachetui.text import printable

_WRONG = (ValueError, ArithmeticError, LookupError, RecursionError, struct.error)
"""How a decoder may end on bytes that are not its own."""


def describe(data: bytes, decoder: str | None = None, *, folded: bool = False, whole: bool = True) -> Described:
    r"""Return what `data` is and how to show it. Never raises, never loads or runs anything.

    `decoder` is one of DECODER_NAMES (None: the one that fits best); when it does not fit, the
    first line says so. `folded` shows one line a member of a document; `whole` is False when
    `data` is only the beginning of the value.

    >>> describe(b'{"a": [1, 2]}')
    Described(kind='JSON', lines=('{', '  "a": [', '    1,', '    2', '  ]', '}'))
    >>> describe(b'{"a": [1, 2]}', folded=True).lines
    ('{', '  "a": […2]', '}')
    >>> describe(b"42").kind, describe(b"a\x1b").lines, describe(b"\x00\xff").kind
    ('integer', ('a\\x1b',), 'binary')
    >>> describe(b"hello", "gzip").lines
    ('this is not gzip: incorrect header check', 'hello')
    """
    if not data:
        return Described("empty", ())
    look = Look(folded=folded, whole=whole and len(data) <= DATA_BYTES, asked=decoder is not None)
    data = data[:DATA_BYTES]
    return _by_itself(data, look) if decoder is None else _named(data, decoder, look)


def guesses(data: bytes, *, whole: bool = True) -> list[str]:
    """Return the names of the decoders that can read `data`, best first; the last is `hex`. None for no bytes.

    >>> guesses(b'{"a": 1}')[:3]
    ['json', 'text', 'latin-1']
    """
    data, whole = data[:DATA_BYTES], whole and len(data) <= DATA_BYTES
    found = []
    for decoder in TABLE:
        # Those that could be anything are guessed as strictly as when nobody asks.
        look = Look(whole=whole, asked=not decoder.by_itself)
        if data and decoder.fits(data) and _tried(decoder, data, look)[0] is not None:
            found.append(decoder.name)
    return found


def _named(data: bytes, name: str, look: Look) -> Described:
    decoder = _BY_NAME.get(name)
    if decoder is None:
        return _instead(data, f"there is no decoder {printable(name, 40)}")
    described, why = _tried(decoder, data, look)
    return described or _instead(data, f"this is not {name}" + (f": {why}" if why else ""))


def _instead(data: bytes, why: str) -> Described:
    described = plainest(data)
    return Described(described.kind, (why, *described.lines))


def _by_itself(data: bytes, look: Look) -> Described:
    if not data:
        return Described("empty", ())
    for decoder in TABLE:
        if decoder.by_itself and decoder.fits(data):
            described, _ = _tried(decoder, data, look)
            if described is not None:
                return described
    return Described("binary", hex_lines(data))


def _tried(decoder: Decoder, data: bytes, look: Look) -> tuple[Described | None, str]:
    """Return what `decoder` makes of `data`, or None and why not."""
    try:
        return decoder.read(data, look), ""
    except _WRONG as error:
        return None, printable(str(error), 120)


_PACKED = packed.decoders(_by_itself)

TABLE: tuple[Decoder, ...] = (
    # By a mark of their own,
    _PACKED["gzip"],
    _PACKED["zlib"],
    _PACKED["zstd"],
    _PACKED["lz4"],
    JAVA,
    PICKLE,
    HYPERLOGLOG,
    IGBINARY,
    # by their form,
    INTEGER,
    UUID,
    PHP,
    JSON,
    TEXT,
    MESSAGE_PACK,
    # by guessing,
    _PACKED["brotli"],
    PROTOBUF,
    # and only when asked.
    LATIN1,
    TIMESTAMP,
    *FIXED,
    _PACKED["deflate"],
    _PACKED["lz4-block"],
    BITS,
    HEX,
)
"""Every decoder, the likelier first."""

DECODER_NAMES: tuple[str, ...] = tuple(decoder.name for decoder in TABLE)
"""For a chooser, always in this order."""

_BY_NAME = {decoder.name: decoder for decoder in TABLE}
