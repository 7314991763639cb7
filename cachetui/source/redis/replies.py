"""The shapes of replies: RESP2's flat lists and RESP3's maps made the same, and nothing trusted."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cachetui.text import printable


def as_bytes(value: object) -> bytes:
    """Return a scalar reply as bytes; None is empty."""
    if isinstance(value, bytes):
        return value
    if value is None:
        return b""
    return str(value).encode("utf-8", "surrogateescape")


def as_text(value: object, limit: int | None = None) -> str:
    """Return a scalar reply as printable text."""
    return printable(as_bytes(value), limit)


def as_int(value: object) -> int | None:
    """Return a reply or field as an integer, None when it is none.

    >>> as_int(b"12"), as_int("-1"), as_int(b"x"), as_int(None), as_int(b"9" * 5000)
    (12, -1, None, None, None)
    """
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes | str) and len(value) <= 24:
        try:
            return int(value)
        except ValueError:
            return None
    return None


def as_float(value: object) -> float | None:
    """Return a reply or field as a finite float, None when it is none.

    >>> as_float(b"1.5"), as_float("nan"), as_float(b"12%")
    (1.5, None, None)
    """
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, bytes | str) and len(value) <= 40:
        try:
            number = float(value)
        except ValueError:
            return None
        return number if math.isfinite(number) else None
    return None


def as_score(value: object) -> float | None:
    """Return a sorted set's score: infinities are true ones."""
    if isinstance(value, bytes) and value.lstrip(b"+-").lower() in (b"inf", b"infinity"):
        return float(value)
    return float(value) if isinstance(value, float) else as_float(value)


def as_list(value: object) -> list[object]:
    """Return a reply as a list: a map becomes name, value, name, value."""
    if isinstance(value, list):
        return value
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    if isinstance(value, dict):
        return [item for pair in value.items() for item in pair]
    return []


def pairs(value: object) -> Iterator[tuple[object, object]]:
    """Yield name and value from a map, a flat list, or a list of two-element lists."""
    if isinstance(value, dict):
        yield from value.items()
        return
    items = as_list(value)
    if items and all(isinstance(item, list) and len(item) == 2 for item in items):
        for item in items:
            name, content = as_list(item)
            yield name, content
        return
    yield from zip(items[::2], items[1::2], strict=False)


def as_map(value: object) -> dict[str, object]:
    """Return a map or flat list as a dict with printable names."""
    return {as_text(name): content for name, content in pairs(value)}
