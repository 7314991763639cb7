"""From values to bytes and back: serialisers, compression, and a guard on the size. Nothing here runs what it reads."""

from __future__ import annotations

import importlib
import json
import warnings
import zlib
from typing import Any, Protocol

from cachetui.patterns.errors import LargeValue, Unreadable, Unsupported

WARN_OVER = 100 * 1024
READ_MOST = 64 * 1024 * 1024


class Serialiser(Protocol):
    """How a value becomes bytes. Neither method may run code that the bytes name: never pickle."""

    def dump(self, value: Any) -> bytes:
        """Return the value as bytes. Raises TypeError or ValueError for what cannot be kept."""

    def load(self, data: bytes) -> Any:
        """Return the value. Raises ValueError for bytes that are none."""


class Raw:
    """Bytes as they are."""

    def dump(self, value: Any) -> bytes:
        if not isinstance(value, bytes):
            raise TypeError(f"without a serialiser only bytes can be kept, not {type(value).__name__}")
        return value

    def load(self, data: bytes) -> bytes:
        return data


class Json:
    """JSON in UTF-8. Tuples come back as lists and all names as text."""

    def dump(self, value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

    def load(self, data: bytes) -> Any:
        return json.loads(data)


class MessagePack:
    """MessagePack, by the package `msgpack`. Tuples come back as lists."""

    def __init__(self) -> None:
        try:
            msgpack = importlib.import_module("msgpack")
        except ImportError:
            raise Unsupported("MessagePack needs the package msgpack: pip install msgpack") from None
        self._pack, self._unpack = msgpack.packb, msgpack.unpackb

    def dump(self, value: Any) -> bytes:
        packed: bytes = self._pack(value, use_bin_type=True)
        return packed

    def load(self, data: bytes) -> Any:
        return self._unpack(data, raw=False, strict_map_key=False)


class Codec:
    """A serialiser with compression above `compress_over` bytes and a guard on the size.

    - A value over `warn_over` bytes, as it travels, gives a `LargeValue` warning (Python shows it once).
    - A value over `max_bytes` is not kept: loading it every time may be the lesser evil.
    - Decompressing never takes more than `read_most` bytes.
    """

    def __init__(
        self,
        serialiser: Serialiser | None = None,
        *,
        compress_over: int | None = None,
        level: int = 3,
        warn_over: int | None = WARN_OVER,
        max_bytes: int | None = None,
        read_most: int = READ_MOST,
    ) -> None:
        self.serialiser = serialiser or Raw()
        self.compress_over, self.level = compress_over, level
        self.warn_over, self.max_bytes, self.read_most = warn_over, max_bytes, read_most
        self._is_raw = isinstance(self.serialiser, Raw)

    def pack(self, value: Any) -> tuple[bytes, bool] | None:
        """Return the bytes and whether they are compressed; None for a value that is too large to keep."""
        body, packed = self.serialiser.dump(value), False
        if self.compress_over is not None and len(body) > self.compress_over:
            smaller = zlib.compress(body, self.level)
            if len(smaller) < len(body):
                body, packed = smaller, True
        if self.max_bytes is not None and len(body) > self.max_bytes:
            return None
        if self.warn_over is not None and len(body) > self.warn_over:
            warnings.warn(f"a cached value of {len(body):,} bytes delays others", LargeValue, stacklevel=2)
        return body, packed

    def unpack(self, body: bytes, packed: bool = False) -> Any:
        """Return the value. Raises Unreadable."""
        if packed:
            body = self._inflated(body)
        if self._is_raw:
            return body
        try:
            return self.serialiser.load(body)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"not what {type(self.serialiser).__name__} writes: {type(error).__name__}") from error

    def kept(self, value: Any) -> Any:
        """Return the value as a later hit will give it, so that a miss and a hit give the same."""
        return value if self._is_raw else self.serialiser.load(self.serialiser.dump(value))

    def _inflated(self, body: bytes) -> bytes:
        inflater = zlib.decompressobj()
        try:
            whole = inflater.decompress(body, self.read_most)
        except zlib.error as error:
            raise Unreadable("damaged: it cannot be decompressed") from error
        if not inflater.eof:
            raise Unreadable(f"cut off, or more than {self.read_most:,} bytes")
        return whole
