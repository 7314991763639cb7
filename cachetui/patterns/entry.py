r"""How a value lies in the cache: as it is where that is possible, framed where something has to be known of it.

A frame is `\0ct1`, one byte of flags, the moment until which the value is fresh (Unix ms, 0: as long as it lives),
what loading it cost (ms), and the value. Everything else is the value itself, which other programs can read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cachetui.patterns.errors import Unreadable

PREFIX = b"\x00ct"
"""All that is not plainly a value begins so."""
MAGIC = PREFIX + b"1"
_HEAD = struct.Struct(">4sBQI")
_ABSENT, _PACKED = 1, 2
_COST_MOST_MS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A value as it is kept."""

    body: bytes | None
    """The serialised value; None: the source has none (negative caching)."""
    packed: bool = False
    """The body is compressed."""
    fresh_until_ms: int = 0
    """Unix milliseconds; 0: fresh as long as the server keeps it."""
    cost_ms: int = 0
    """What the load took, for early refresh."""

    def encode(self) -> bytes:
        r"""Return the bytes to store.

        >>> Entry(b"plain").encode(), Entry(b"\x00ct").encode() == b"\x00ct", Entry.decode(Entry(None).encode()).body
        (b'plain', False, None)
        """
        body = self.body
        if body is not None and not (self.packed or self.fresh_until_ms) and not body.startswith(PREFIX):
            return body
        flags = (_ABSENT if body is None else 0) | (_PACKED if self.packed else 0)
        return _HEAD.pack(MAGIC, flags, self.fresh_until_ms, min(self.cost_ms, _COST_MOST_MS)) + (body or b"")

    @staticmethod
    def decode(data: bytes) -> Entry:
        """Return what lies in the cache. Raises Unreadable."""
        if not data.startswith(PREFIX):
            return Entry(data)
        if not data.startswith(MAGIC) or len(data) < _HEAD.size:
            raise Unreadable("a frame of another format")
        _, flags, fresh_until_ms, cost_ms = _HEAD.unpack_from(data)
        body = None if flags & _ABSENT else data[_HEAD.size :]
        return Entry(body, bool(flags & _PACKED), fresh_until_ms, cost_ms)
