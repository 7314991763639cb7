"""What is kept for the way back: one file for each receipt, written before anything is deleted.

The file is a line of JSON (`Head`) and then frames, each of one batch: length, CRC-32, how many
keys it adds, and the records compressed. A frame is whole or it is not there.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from cachetui.errors import CacheError
from cachetui.model import Operation, Selection
from cachetui.model.codec import from_plain, to_plain
from cachetui.text import printable, size

KEPT_S = 7 * 86400.0
"""After so long a receipt cannot be undone any more."""
KEPT_BYTES = 1024**3
"""All receipts together; the oldest go first."""
SUFFIX = ".undo"
HEAD_BYTES = 1024 * 1024
FRAME_BYTES = 1024**3
"""A frame that says it is longer is damaged."""

_FRAME = struct.Struct(">IIi")
_COUNT = struct.Struct("<I")
_NO_VALUE = -1
_BECAME, _AGAIN = itemgetter(4), itemgetter(5)

Kind = Literal["delete", "ttl", "write"]


class Kept(NamedTuple):
    """One key as it was, and what the write makes of it."""

    key: bytes
    value: bytes | None
    """The DUMP (Memcached: the bytes); None: there was none, only the expiry is kept, or it is `VOID`."""
    expires_at_ms: int = -1
    """Unix milliseconds; -1: no expiry."""
    flags: int = 0
    """Memcached's client flags."""
    became: bytes = b""
    """`ttl`: the new expiry in Unix milliseconds, `-1` for none. `write`: the CRC-64 of the DUMP
    afterwards; empty: the key is gone."""
    again: bool = False
    """An older copy of it is in the same file: this one counts."""


VOID = b"void"
"""`Kept.became` of a key that was copied and then not written: there is nothing to undo."""


def void(key: bytes) -> Kept:
    """Return what takes a copy back."""
    return Kept(key, None, became=VOID, again=True)


@dataclass(frozen=True, slots=True)
class Head:
    """What the receipt is about."""

    receipt: str
    target: str
    server: str
    """`Identity.kind`."""
    title: str
    created_at: float
    kind: Kind
    selection: Selection | None = None
    """The rule or tag, so that what was interrupted can go on; None for a list."""
    operation: Operation | None = None
    together: bool = False
    """`write`: its keys belong together, as the two names of a rename do: all go back, or none."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One receipt on the disk."""

    head: Head
    path: Path
    keys: int
    stored_bytes: int
    running: bool
    """Its write goes on."""
    damaged: bool = False
    """Its end is torn, or a part of it is not as it was written; what can be read is used."""
    lost: int = 0
    """Keys in parts that are not as they were written: known only of what was `inspected`."""


class SpoolFull(CacheError):
    """No more may be kept for this write."""

    code = "spool_full"


class Spool:
    """Takes in what a write is about to change. For one thread at a time."""

    def __init__(self, directory: Path, head: Head, max_bytes: int) -> None:
        """Begin a file. Raises CacheError when that cannot be done."""
        self.path = directory / f"{head.receipt}{SUFFIX}"
        self._max_bytes = max_bytes
        self.keys = 0
        line = json.dumps(to_plain(head), separators=(",", ":")).encode() + b"\n"
        with _explained(self.path):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            prune(directory)
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            _write(self._file, line)
        self.stored_bytes = len(line)

    def add(self, records: Sequence[Kept]) -> None:
        """Keep these records; they are with the system when this returns. Raises SpoolFull, CacheError."""
        packed = zlib.compress(_packed(records), 1)
        new = len(records) - sum(map(_AGAIN, records)) - list(map(_BECAME, records)).count(VOID)
        frame = _FRAME.pack(len(packed), zlib.crc32(packed), new) + packed
        if self.stored_bytes + len(frame) > self._max_bytes:
            raise SpoolFull(
                f"the copies for the undo have reached {size(self._max_bytes)}: no more was deleted",
                "undo what was done, or go on with --no-undo",
            )
        with _explained(self.path):
            try:
                _write(self._file, frame)
            except OSError:
                os.ftruncate(self._file, self.stored_bytes)
                os.lseek(self._file, self.stored_bytes, os.SEEK_SET)
                raise
        self.stored_bytes += len(frame)
        self.keys += new

    def close(self, *, empty: bool = False) -> None:
        """Bring all to the disk; without records, or where they are worth nothing (`empty`), the file goes."""
        with _explained(self.path):
            if self.keys == 0 or empty:
                self.path.unlink(missing_ok=True)
            os.fsync(self._file)
            os.close(self._file)


def opened(path: Path) -> Stored:
    """Return what is in the file of one receipt. Raises CacheError when it is none."""
    with _explained(path), path.open("rb") as file:
        head, frames, damaged = _scanned(file, path)
        return Stored(
            head,
            path,
            sum(count for _, _, _, count in frames),
            os.fstat(file.fileno()).st_size,
            running=_is_locked(file),
            damaged=damaged,
        )


def inspected(path: Path) -> Stored:
    """Return what is in the file like `opened`, after reading all of it: what is damaged is known. Raises CacheError.

    Memory is bounded by one frame; a full file of 256 MB takes some tenths of a second.
    """
    lost = 0
    with _explained(path), path.open("rb") as file:
        for at, length, checksum, count in _scanned(file, path)[1]:
            file.seek(at)
            if zlib.crc32(file.read(length)) != checksum:
                lost += max(0, count)
    found = opened(path)
    return replace(found, damaged=found.damaged or lost > 0, lost=lost)


def newest_first(path: Path, lost: Callable[[int], None] | None = None) -> Iterator[list[Kept]]:
    """Yield the records frame by frame, the newest frame and record first.

    Raises CacheError when the file cannot be read. A damaged frame is passed over: `lost` is
    told how many keys it held.
    """
    with _explained(path), path.open("rb") as file:
        _, frames, _ = _scanned(file, path)
        for at, length, checksum, count in reversed(frames):
            file.seek(at)
            packed = file.read(length)
            if zlib.crc32(packed) == checksum:
                yield list(reversed(_records(zlib.decompress(packed))))
            elif lost is not None:
                lost(max(0, count))


def standing(path: Path, lost: Callable[[int], None] | None = None) -> Iterator[list[Kept]]:
    """Yield, frame by frame and the newest first, what there is to undo: of two copies of a key the newer one.

    `lost` is told of damaged frames (see `newest_first`).
    """
    newer: set[bytes] = set()
    for frame in newest_first(path, lost):
        chosen = []
        for record in frame:
            superseded = record.key in newer
            (newer.add if record.again else newer.discard)(record.key)
            if not superseded and record.became != VOID:
                chosen.append(record)
        if chosen:
            yield chosen


def stored(directory: Path) -> list[Stored]:
    """Return all receipts, the newest first. Files of somebody else are passed over."""
    found = []
    for path in sorted(directory.glob(f"*{SUFFIX}"), reverse=True):
        try:
            found.append(opened(path))
        except CacheError:
            continue  # not ours, or gone by now
    return found


def prune(directory: Path, *, max_bytes: int = KEPT_BYTES, max_age_s: float = KEPT_S) -> None:
    """Remove what is too old, and the oldest of what is too much; never what is being written. Raises OSError."""
    now, held = time.time(), 0
    for path in sorted(directory.glob(f"*{SUFFIX}"), reverse=True):
        try:
            with path.open("rb") as file:
                about = os.fstat(file.fileno())
                held += about.st_size
                if (now - about.st_mtime > max_age_s or held > max_bytes) and not _is_locked(file):
                    path.unlink()
        except FileNotFoundError:
            continue  # somebody else has removed it


def _is_locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def _scanned(file: BinaryIO, path: Path) -> tuple[Head, list[tuple[int, int, int, int]], bool]:
    """Return the head, place, length, checksum and count of each frame, and whether the end is torn."""
    try:
        head = from_plain(Head, json.loads(file.readline(HEAD_BYTES)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CacheError(f"not a file of ours: {printable(str(path))}", "remove it, or leave it alone") from error
    assert isinstance(head, Head)
    end = os.fstat(file.fileno()).st_size
    frames: list[tuple[int, int, int, int]] = []
    at = file.tell()
    while at < end:
        file.seek(at)
        start = file.read(_FRAME.size)
        if len(start) < _FRAME.size:
            return head, frames, True
        length, checksum, count = _FRAME.unpack(start)
        at += _FRAME.size + length
        if length > FRAME_BYTES or at > end:
            return head, frames, True
        frames.append((at - length, length, checksum, count))
    return head, frames, False


def _packed(records: Sequence[Kept]) -> bytes:
    """Return the records column by column: so they are quickly packed, and pack well."""
    keys, values, expiries, flags, became, again = zip(*records, strict=True)
    held = [_NO_VALUE if value is None else len(value) for value in values]
    columns = chain(map(len, keys), held, expiries, flags, map(len, became), again)
    head = _COUNT.pack(len(records)) + struct.pack(_columns(len(records)), *columns)
    return b"".join((head, *keys, *filter(None, values), *became))


def _records(data: bytes) -> list[Kept]:
    (count,) = _COUNT.unpack_from(data)
    columns = struct.unpack_from(_columns(count), data, _COUNT.size)
    key_lengths, held, expiries, flags, became_lengths, again = (
        columns[start : start + count] for start in range(0, 6 * count, count)
    )
    at = _COUNT.size + struct.calcsize(_columns(count))
    keys, at = _parted(data, at, key_lengths)
    values, at = _parted(data, at, held)
    became, _ = _parted(data, at, became_lengths)
    there = (None if long == _NO_VALUE else value for long, value in zip(held, values, strict=True))
    return list(map(Kept, keys, there, expiries, flags, became, again))


def _columns(count: int) -> str:
    return f"<{count}I{count}q{count}q{count}I{count}H{count}?"


def _parted(data: bytes, at: int, lengths: Sequence[int]) -> tuple[list[bytes], int]:
    """Return what stands in `data` from `at` on, part after part, and where it ends; below 0 is no part."""
    parts = []
    for long in lengths:
        parts.append(data[at : at + max(0, long)])
        at += max(0, long)
    return parts, at


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"the copies for the undo cannot be kept or read: {printable(str(path))}: {error.strerror or error}",
            "make room or the directory writable, or point XDG_STATE_HOME at another; nothing goes without a copy",
        ) from error
