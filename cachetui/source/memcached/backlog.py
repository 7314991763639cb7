"""Rows that wait for a reader who is behind: a few in memory, the rest in a file that nobody else sees."""

from __future__ import annotations

import marshal
import struct
import tempfile
from collections import deque
from typing import BinaryIO, NamedTuple

from cachetui.errors import ServerError

IN_MEMORY = 100_000
"""Rows; about 10 MB."""

_LENGTH = struct.Struct(">Q")


class Rows(NamedTuple):
    """Items of a dump; `ttls_ms` and `sizes_bytes` are empty where nobody asked for them."""

    names: list[bytes]
    ttls_ms: list[int]
    sizes_bytes: list[int]


class Backlog:
    """First in, first out. Not for concurrent use."""

    def __init__(self) -> None:
        self._first: deque[Rows] = deque()
        self._rows = 0
        self._file: BinaryIO | None = None
        self._read_at = self._written_to = 0

    def __bool__(self) -> bool:
        return bool(self._first) or self._read_at < self._written_to

    def put(self, rows: Rows) -> None:
        """Add rows at the end. Raises ServerError when the disk is full."""
        if self._read_at == self._written_to and self._rows < IN_MEMORY:
            self._first.append(rows)
            self._rows += len(rows.names)
            return
        data = marshal.dumps(tuple(rows))
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="cachetui-")  # noqa: SIM115 - closed with the backlog
            self._file.seek(self._written_to)
            self._file.write(_LENGTH.pack(len(data)) + data)
        except OSError as error:
            raise ServerError(
                f"no room on the disk for the names that wait: {error.strerror or 'it cannot be written'}",
                "make room in the directory for temporary files (TMPDIR)",
                word="SCAN",
            ) from error
        self._written_to += _LENGTH.size + len(data)

    def take(self) -> Rows:
        """Return the oldest rows. There must be some."""
        if self._first:
            rows = self._first.popleft()
            self._rows -= len(rows.names)
            return rows
        assert self._file is not None
        self._file.seek(self._read_at)
        (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
        rows = Rows(*marshal.loads(self._file.read(length)))
        self._read_at += _LENGTH.size + length
        if self._read_at == self._written_to:
            self._file.truncate(0)
            self._read_at = self._written_to = 0
        return rows

    def close(self) -> None:
        """Forget everything."""
        self._first.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
        self._rows = self._read_at = self._written_to = 0
