"""Data for stdout: JSON documents, lines and aligned columns."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from cachetui.errors import CacheError
from cachetui.text import cells, clean_utf8, fit

SCHEMA = 1


def write_line(text: str = "") -> None:
    """Write one line of text that is printable already."""
    sys.stdout.buffer.write(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace") + b"\n")


def write_lines(lines: Iterable[str]) -> None:
    for line in lines:
        write_line(line)


def write_document(document: object) -> None:
    """Write one indented JSON document in ASCII: it survives every locale."""
    write_line(json.dumps(document, indent=2))


def compact(document: object) -> str:
    """Return a JSON value as one line."""
    return json.dumps(document, separators=(",", ":"))


def document(operation: str, target: str, taken_at: float | None = None, status: str = "success") -> dict[str, object]:
    """Return the head that all documents share."""
    head: dict[str, object] = {"schema": SCHEMA, "operation": operation, "status": status, "target": target}
    if taken_at is not None:
        head["takenAt"] = iso(taken_at)
    return head


def error_document(operation: str, error: CacheError) -> None:
    """Write what went wrong as a document; the line on stderr comes as well."""
    what = {"code": error.code, "message": error.message, "hint": error.hint}
    write_document({"schema": SCHEMA, "operation": operation, "status": "error", "error": what})


def named(name: str, data: bytes) -> dict[str, str]:
    """Return bytes as `{name: text}` where they are clean UTF-8, else as `{nameBase64: ...}`.

    >>> named("key", b"user:1"), named("key", b"\\xff")
    ({'key': 'user:1'}, {'keyBase64': '/w=='})
    """
    text = clean_utf8(data)
    return {name: text} if text is not None else {f"{name}Base64": base64.b64encode(data).decode()}


def iso(seconds: float | None) -> str | None:
    """Return Unix seconds as UTC, None for what is no moment.

    >>> iso(0), iso(None)
    ('1970-01-01T00:00:00Z', None)
    """
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None


def columns(rows: Sequence[Sequence[str]], aligns: str) -> list[str]:
    """Return rows as lines with aligned columns; `aligns` has `l` or `r` for each. The last is never padded.

    >>> columns([("a", "1", "x"), ("bb", "22", "y")], "lrl")
    ['a    1  x', 'bb  22  y']
    """
    if not rows:
        return []
    widths = [max(cells(row[at]) for row in rows) for at in range(len(aligns))]
    lines = []
    for row in rows:
        parts = [
            fit(cell, width, "right" if align == "r" else "left")
            for cell, width, align in zip(row, widths, aligns, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return lines
