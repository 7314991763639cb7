"""Snapshots to plain JSON values and back, by their types alone: what recordings are made of."""

from __future__ import annotations

import base64
import dataclasses
import types
import typing
from functools import cache

from cachetui import model

_KINDS = {t.__name__: t for t in typing.get_args(model.Snapshot)}


def to_plain(value: object) -> object:
    """Return a snapshot (or any of its parts) as JSON values; bytes become `{"b64": ...}`.

    Fields at their default are left out; `from_plain` puts them back.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: to_plain(item) for f in dataclasses.fields(value) if (item := getattr(value, f.name)) != f.default
        }
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): to_plain(item) for name, item in value.items()}
    return value


def snapshot_to_plain(snapshot: model.Snapshot) -> dict[str, object]:
    """Return `{"type": class name, "data": fields}`."""
    return {"type": type(snapshot).__name__, "data": to_plain(snapshot)}


def snapshot_from_plain(document: dict[str, typing.Any]) -> model.Snapshot:
    """Return the snapshot that `snapshot_to_plain` wrote.

    Unknown fields (of a newer version) are ignored. Raises ValueError on anything malformed.
    """
    try:
        cls = _KINDS[document["type"]]
        return typing.cast("model.Snapshot", from_plain(cls, document["data"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"not a snapshot: {type(error).__name__}: {error}") from error


def from_plain(wanted: typing.Any, value: typing.Any) -> object:
    """Return `value` (JSON) as `wanted`: a dataclass, a tuple, bytes or a plain type."""
    if dataclasses.is_dataclass(wanted):
        hints = _hints(typing.cast("type", wanted))
        if not isinstance(value, dict):
            raise ValueError(f"{wanted} is not an object")
        return typing.cast("type", wanted)(
            **{name: from_plain(hints[name], item) for name, item in value.items() if name in hints}
        )
    origin = typing.get_origin(wanted)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return from_plain(next(t for t in typing.get_args(wanted) if t is not type(None)), value)
    if origin is tuple:
        arguments = typing.get_args(wanted)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(from_plain(arguments[0], item) for item in value)
        return tuple(from_plain(t, item) for t, item in zip(arguments, value, strict=True))
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"an object expected, not {type(value).__name__}")
        return value
    if wanted is bytes:
        return base64.b64decode(value["b64"], validate=True)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(wanted, type) and not isinstance(value, wanted):
        raise ValueError(f"{wanted.__name__} expected, not {type(value).__name__}")
    return value


@cache
def _hints(cls: type) -> dict[str, typing.Any]:
    return typing.get_type_hints(cls)
