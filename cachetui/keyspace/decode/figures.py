"""Numbers, moments and identifiers."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cachetui.keyspace.decode.described import Decoder, Described, Look, bounded
from cachetui.keyspace.decode.plain import hex_lines

if TYPE_CHECKING:
    from uuid import UUID as Uuid

_INTEGER = re.compile(rb"-?\d{1,40}")
_NUMBER = re.compile(rb"-?\d{1,20}(?:\.\d{1,20})?")
_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_EARLIEST_S, _LATEST_S = 946_684_800, 4_102_444_800
"""2000 to 2100: what is outside is hardly a time."""
_SINCE_S = 1_000_000_000
"""A number below (September 2001) is a counter unless the user says it is a time."""
_UNITS = ((1, "seconds"), (1_000, "milliseconds"), (1_000_000, "microseconds"), (1_000_000_000, "nanoseconds"))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC = "specified in RFC 4122"
"""What Python calls the variant that has versions."""
_GREGORIAN_100NS = 0x01B2_1DD2_1381_4000
"""From the calendar's reform, where UUIDs begin to count, to 1970."""


def moment(seconds: float) -> str | None:
    """Return Unix seconds as a date and time in UTC; None for what the calendar does not hold.

    >>> moment(0), moment(1e20)
    ('1970-01-01 00:00:00 UTC', None)
    """
    try:
        at = _EPOCH + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return None
    digits = f".{at.microsecond:06d}".rstrip("0") if at.microsecond else ""
    return f"{at:%Y-%m-%d %H:%M:%S}{digits} UTC"


def as_time(number: float, earliest_s: float = _SINCE_S) -> str | None:
    """Return what moment a number is, by its size in seconds, milli-, micro- or nanoseconds.

    >>> as_time(1_500_000_000_250), as_time(42)
    ('2017-07-14 02:40:00.25 UTC (Unix milliseconds)', None)
    """
    for factor, unit in _UNITS:
        if earliest_s * factor <= number <= _LATEST_S * factor:
            return f"{moment(number / factor)} (Unix {unit})"
    return None


def _integer(data: bytes, _: Look) -> Described | None:
    if not _INTEGER.fullmatch(data):
        return None
    time = as_time(int(data))
    return Described("integer", (data.decode("ascii"), *((f"as a time: {time}",) if time else ())))


def _timestamp(data: bytes, _: Look) -> Described | None:
    found = []
    if _NUMBER.fullmatch(data):
        found.append(("", float(data)))
    elif len(data) in (4, 8):
        found += [(f"{order}-endian ", float(int.from_bytes(data, order))) for order in ("little", "big")]
    lines = []
    for order, number in found:
        time = as_time(number, _EARLIEST_S)
        if time:
            lines.append(f"{order}{time}")
    return Described("timestamp", (*lines, *hex_lines(data))) if lines else None


def _fixed(code: str, order: str, kind: str) -> Callable[[bytes, Look], Described | None]:
    """Return a reader of an array of fixed-width numbers; `code` is struct's."""
    width = struct.calcsize(f"={code}")

    def read(data: bytes, _: Look) -> Described | None:
        if not data or len(data) % width:
            return None
        signed = struct.iter_unpack(order + code, data)
        if code in "fd":
            return Described(kind, bounded((f"{number:.9g}" for (number,) in signed), "numbers"))
        unsigned = struct.iter_unpack(order + code.upper(), data)
        rows = (_both(one, two) for (one,), (two,) in zip(signed, unsigned, strict=True))
        return Described(kind, bounded(rows, "numbers"))

    return read


def _both(signed: int, unsigned: int) -> str:
    time = as_time(unsigned)
    return (
        f"{unsigned}" + (f" (signed {signed})" if signed != unsigned else "") + (f", as a time: {time}" if time else "")
    )


def _multiple(width: int) -> Callable[[bytes], bool]:
    return lambda data: len(data) > 0 and len(data) % width == 0


def _uuid(data: bytes, look: Look) -> Described | None:
    import uuid

    if _UUID.fullmatch(data):
        found = uuid.UUID(data.decode("ascii"))
        if found.version is None and not look.asked:
            return None
        return Described("UUID", (data.decode("ascii"), *_of_version(found)))
    if len(data) != 16:
        return None
    found = uuid.UUID(bytes=data)
    if not look.asked and found.version not in range(1, 9):
        return None
    return Described("UUID (16 bytes)", (str(found), *_of_version(found), *hex_lines(data)))


def _of_version(found: Uuid) -> tuple[str, ...]:
    version = found.int >> 76 & 0xF
    if found.variant != _RFC:
        return ("of no known version",)
    ticks = {1: found.time, 6: found.int >> 80 << 12 | found.int >> 64 & 0xFFF}.get(version)
    seconds = (found.int >> 80) / 1000 if version == 7 else None
    if ticks is not None:
        seconds = (ticks - _GREGORIAN_100NS) / 1e7
    made = moment(seconds) if seconds is not None else None
    return (f"version {version}" + (f", made at {made}" if made else ""),)


INTEGER = Decoder("integer", lambda data: _INTEGER.fullmatch(data) is not None, _integer)
UUID = Decoder("uuid", lambda data: len(data) in (16, 36), _uuid)
TIMESTAMP = Decoder(
    "timestamp", lambda data: len(data) in (4, 8) or _NUMBER.fullmatch(data) is not None, _timestamp, by_itself=False
)
FIXED = tuple(
    Decoder(f"{word}{bits}-{end}", _multiple(bits // 8), _fixed(code, order, f"{word}{bits} {name}"), by_itself=False)
    for word, bits, code in (("int", 32, "i"), ("int", 64, "q"), ("float", 32, "f"), ("float", 64, "d"))
    for end, order, name in (("le", "<", "little-endian"), ("be", ">", "big-endian"))
)
