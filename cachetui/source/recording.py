"""The recording format and its reader: gzip-compressed JSON lines, bounded and tolerant of a torn end.

The first line is a header, each other line one entry:

    {"format": "cachetui-recording", "version": 1, "target": "redis://...", "startedAt": 1700000000.0}
    {"at": 1700000000.1, "kind": "stats", "snapshot": {"type": "Stats", "data": {...}}}
    {"at": 1700000003.1, "kind": "stats", "trouble": {"code": "timed-out", ...}}
    {"at": 1700000004.1, "identity": {"kind": "redis", ...}}
    {"at": 1700000009.1, "note": "stopped: ..."}
"""

from __future__ import annotations

import json
import math
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from cachetui.errors import BadUsage, CacheError, Unreachable
from cachetui.model import (
    ClientList,
    Identity,
    KeyFactsList,
    ScanStep,
    SlowLog,
    Snapshot,
    Stats,
    Topology,
    Trouble,
    Value,
)
from cachetui.model.codec import from_plain, snapshot_from_plain
from cachetui.text import printable

FORMAT = "cachetui-recording"
VERSION = 1
MAX_LINE_BYTES = 32 * 1024 * 1024
"""The longest line read: a client list of 50,000 takes about half of it."""

_CHUNK_BYTES = 64 * 1024
_MAX_HEADER_BYTES = 64 * 1024
_HINT = "cachetui record TARGET FILE makes one"

KIND_OF: dict[type, str] = {
    Stats: "stats",
    SlowLog: "slowlog",
    ClientList: "clients",
    Topology: "topology",
    ScanStep: "scan",
    KeyFactsList: "facts",
    Value: "value",
}
"""What each snapshot is called in a recording."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a recording."""

    target: str
    """Name of the recorded target, printable and without secrets."""
    started_at: float
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was seen."""

    at: float
    kind: str
    """`stats`, `slowlog`, `clients`, `topology`, `scan`, `facts`, `value`; `identity` or `note`."""
    item: Snapshot | Trouble | Identity | str
    """A note is text: why the recording ends early."""


@dataclass(frozen=True, slots=True)
class Line:
    """One entry, not decoded yet."""

    at: float
    kind: str
    document: dict[str, Any]


def read_recording(path: str | Path) -> tuple[Header, Iterator[Entry]]:
    """Return the header of a recording and an iterator over its entries, in the order written.

    A torn or damaged end (the recorder was killed) just ends the iterator. Raises `BadUsage`
    when the file is missing, is not a recording, or is of a newer version; so does the iterator
    at a malformed or endless line.
    """
    header, lines = read_lines(path)
    return header, (entry for line in lines if (entry := decode(line)) is not None)


def read_lines(path: str | Path) -> tuple[Header, Iterator[Line]]:
    """Like `read_recording`, with entries that are not decoded yet."""
    raw = _raw_lines(Path(path))
    first = next(raw, b"")
    return _header(first, _shown(path)), _lines(raw, _shown(path))


def decode(line: Line) -> Entry | None:
    """Return the entry of a line, None when a newer cachetui wrote something unknown. Raises `BadUsage`."""
    document = line.document
    try:
        if "snapshot" in document:
            if document["snapshot"].get("type") not in {cls.__name__ for cls in KIND_OF}:
                return None
            snapshot = snapshot_from_plain(clean(document["snapshot"]))
            if KIND_OF[type(snapshot)] != line.kind:
                raise ValueError(f"a {type(snapshot).__name__} there")
            return Entry(line.at, line.kind, snapshot)
        if "trouble" in document:
            return Entry(line.at, line.kind, cast("Trouble", from_plain(Trouble, clean(document["trouble"]))))
        if "identity" in document:
            return Entry(line.at, "identity", cast("Identity", from_plain(Identity, clean(document["identity"]))))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadUsage(f"the recording holds a malformed {printable(line.kind, 20)} entry", _reason(error)) from error
    return Entry(line.at, "note", printable(str(document["note"]), 300)) if "note" in document else None


def clean(value: Any) -> Any:
    """Return JSON values with every unprintable text escaped: a file may have been made by anybody.

    Text that is clean already stays as it is, so that what was recorded comes back equal.
    """
    if isinstance(value, str):
        return value if value.isprintable() else printable(value)
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {clean(name): clean(item) for name, item in value.items()}
    return value


def _header(first: bytes, shown: str) -> Header:
    try:
        document = json.loads(first)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError("no such format")
        version, target, started = document["version"], document["target"], float(document["startedAt"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise BadUsage(f"{shown} is not a cachetui recording", _HINT) from error
    if not isinstance(version, int) or version > VERSION:
        raise BadUsage(
            f"{shown} was written by a newer cachetui (format version {printable(str(version), 20)})",
            f"this one reads up to version {VERSION}: upgrade it",
        )
    if not math.isfinite(started):
        raise BadUsage(f"{shown} is not a cachetui recording", _HINT)
    return Header(printable(str(target), 300) if not str(target).isprintable() else str(target), started, version)


def _lines(raw: Iterator[bytes], shown: str) -> Iterator[Line]:
    for number, data in enumerate(raw, start=2):
        try:
            document = json.loads(data)
            at = float(document["at"])
            if not math.isfinite(at):
                raise ValueError("not a time")
            kind = str(document.get("kind", ""))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise BadUsage(f"{shown}: line {number} of the recording is malformed", _reason(error)) from error
        yield Line(at, kind, document)


def _raw_lines(path: Path) -> Iterator[bytes]:
    """Yield complete lines, decompressed piece by piece; a torn or damaged end is left out."""
    with _opened(path) as file:
        unpack = zlib.decompressobj(31)
        parts: list[bytes] = []
        held, limit = 0, _MAX_HEADER_BYTES
        for piece in _pieces(file, unpack, _shown(path)):
            *complete, rest = piece.split(b"\n")
            for end in complete:
                yield b"".join((*parts, end))
                parts, held, limit = [], 0, MAX_LINE_BYTES
            parts.append(rest)
            held += len(rest)
            if held > limit:
                if limit == _MAX_HEADER_BYTES:
                    raise BadUsage(f"{_shown(path)} is not a cachetui recording", _HINT)
                raise BadUsage(
                    f"{_shown(path)}: a line of the recording is longer than {MAX_LINE_BYTES // 1024**2} MB",
                    "no cachetui wrote that: do not trust the file",
                )


def _pieces(file: IO[bytes], unpack: Any, shown: str) -> Iterator[bytes]:
    first = True
    while not unpack.eof:
        try:
            data = unpack.unconsumed_tail or file.read(_CHUNK_BYTES)
            if not data:
                return
            piece = unpack.decompress(data, _CHUNK_BYTES)
        except zlib.error as error:
            if first:
                raise BadUsage(f"{shown} is not a cachetui recording", _HINT) from error
            return
        except OSError as error:
            raise Unreachable(f"cannot read {shown}: {error.strerror}", "") from error
        if piece:
            first = False
            yield piece


def _opened(path: Path) -> IO[bytes]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadUsage(f"{_shown(path)} is not a file", _HINT)
        return path.open("rb")
    except FileNotFoundError as error:
        raise BadUsage(f"there is no recording {_shown(path)}", _HINT) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadUsage(f"cannot read {_shown(path)}: {reason}", "") from error


def _shown(path: str | Path) -> str:
    return printable(str(path), 200)


def _reason(error: Exception) -> str:
    if isinstance(error, CacheError):
        return error.message
    return printable(f"{type(error).__name__}: {error}", 160)
