"""Stable keys from arguments: the same in every process, on every machine, in every version of Python."""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from string import Formatter
from typing import Any
from uuid import UUID

DIGEST_BYTES = 16


def canonical(value: Any) -> bytes:
    """Return a value as bytes that only an equal value of the same type has. Raises TypeError for unknown types.

    Every part carries its type and its length, so no two values share their bytes: 1, "1", True and 1.0 differ, and
    so do ("a", "bc") and ("ab", "c"). A list equals a tuple; dicts and sets are put in order.

    >>> canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1}), canonical(1) == canonical(True)
    (True, False)
    """
    return _plain(value) or _whole(value)


def _plain(value: Any) -> bytes | None:
    if value is None or isinstance(value, bool):
        return _part(b"c", str(value).encode())
    if isinstance(value, Enum):
        return _part(b"e", _part(b"s", _named(type(value))) + canonical(value.value))
    if isinstance(value, int):
        return _part(b"i", str(value).encode())
    if isinstance(value, float):
        return _part(b"f", struct.pack(">d", value))
    if isinstance(value, str):
        return _part(b"s", value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes | bytearray | memoryview):
        return _part(b"b", bytes(value))
    if isinstance(value, UUID):
        return _part(b"u", value.bytes)
    if isinstance(value, Decimal):
        return _part(b"d", str(value).encode())
    if isinstance(value, datetime):
        return _part(b"t", value.isoformat().encode())
    if isinstance(value, date):
        return _part(b"y", value.isoformat().encode())
    return None


def _whole(value: Any) -> bytes:
    if isinstance(value, list | tuple):
        return _part(b"l", b"".join(map(canonical, value)))
    if isinstance(value, set | frozenset):
        return _part(b"x", b"".join(sorted(map(canonical, value))))
    if isinstance(value, Mapping):
        return _part(b"m", b"".join(sorted(canonical(name) + canonical(of) for name, of in value.items())))
    raise TypeError(f"no stable key can be made of {type(value).__qualname__}: give key= a name or a function")


def _part(sign: bytes, data: bytes) -> bytes:
    return sign + str(len(data)).encode() + b":" + data


def _named(kind: type) -> bytes:
    return f"{kind.__module__}.{kind.__qualname__}".encode()


def digest(value: Any) -> str:
    """Return 32 hexadecimal digits of a value's canonical bytes."""
    return blake2b(canonical(value), digest_size=DIGEST_BYTES).hexdigest()


Key = str | Callable[..., str] | None


def key_maker(function: Callable[..., Any], key: Key) -> Callable[..., str]:
    """Return the function that makes a key of a call's arguments.

    `key` is a template with the names of the arguments (`"user:{id}"`), a function of the same arguments, or None:
    then the key is the function's name and a digest of all its arguments, however they were given.
    """
    if callable(key):
        return key
    signature = inspect.signature(function)

    def bound(*args: Any, **named: Any) -> dict[str, Any]:
        given = signature.bind(*args, **named)
        given.apply_defaults()
        return given.arguments

    if key is not None:
        template = key
        wanted = {name for _, name, _, _ in Formatter().parse(template) if name is not None}

        def filled(*args: Any, **named: Any) -> str:
            given = bound(*args, **named)
            return template.format(**{name: _text(given[name]) for name in wanted})

        return filled
    name = f"{function.__module__}.{function.__qualname__}".replace("<locals>.", "")

    def digested(*args: Any, **named: Any) -> str:
        return f"{name}:{digest(bound(*args, **named))}"

    return digested


def _text(value: Any) -> str:
    """Return an argument as part of a readable key: plain text and numbers as they are, all else as a digest."""
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value.value if isinstance(value, Enum) else value)
    return digest(value)
