"""The audit journal: one JSON line before a write is sent and one when it has ended.

Lines are only ever appended, each in a single write that reaches the disk before the caller
goes on, so several processes may share the file and a crash tears at most the last line.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from cachetui import config
from cachetui.errors import CacheError
from cachetui.model import JournalEntry
from cachetui.model.codec import from_plain, to_plain
from cachetui.text import printable

ROTATE_BYTES = 10 * 1024**2


def default_path() -> Path:
    """Return where the user's journal is kept."""
    return config.state_dir() / "journal.jsonl"


def who() -> str:
    """Return the OS user, and the SSH client's address where there is one; printable."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # no entry for this uid
        name = f"uid {os.getuid()}"
    address = os.environ.get("SSH_CLIENT", "").partition(" ")[0]
    return _clean(f"{name} from {address}" if address else name)


class Journal:
    """The journal at `path`; the one before it, when it has grown, is `<stem>.1<suffix>` beside it."""

    def __init__(self, path: Path, rotate_bytes: int = ROTATE_BYTES) -> None:
        self.path = path
        self.older = path.with_name(f"{path.stem}.1{path.suffix}")
        self._rotate_bytes = rotate_bytes

    def append(self, entry: JournalEntry) -> None:
        """Add one entry, on disk when this returns. Raises CacheError when it cannot be written."""
        line = json.dumps(to_plain(_cleaned(entry)), separators=(",", ":")).encode() + b"\n"
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._rotate()
            self._write(line)
        except OSError as error:
            raise CacheError(
                f"the journal cannot be written: {printable(str(self.path))}: {error.strerror or error}",
                "make the directory writable, or point XDG_STATE_HOME at another",
            ) from error

    def read(self, limit: int | None = None) -> list[JournalEntry]:
        """Return the newest entries first, one for each receipt: as it ended, or `started` if it never did.

        Torn lines and lines of somebody else are passed over. Raises CacheError when the file
        exists and cannot be read.
        """
        seen: dict[str, JournalEntry] = {}
        for line in self._lines_backwards():
            if limit is not None and len(seen) >= limit:
                break
            entry = _parsed(line)
            if entry is not None:
                seen.setdefault(entry.receipt, entry)
        return list(seen.values())

    def has(self, receipt: str) -> bool:
        """Tell whether a write with this receipt was begun."""
        needle = json.dumps(receipt).encode()
        mentions = (_parsed(line) for line in self._lines_backwards() if needle in line)
        return any(entry is not None and entry.receipt == receipt for entry in mentions)

    def _lines_backwards(self) -> Iterator[bytes]:
        for path in (self.path, self.older):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CacheError(f"the journal cannot be read: {printable(str(path))}: {error.strerror}") from error
            yield from reversed(data.split(b"\n"))

    def _write(self, line: bytes) -> None:
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end = os.fstat(file).st_size
            if end and os.pread(file, 1, end - 1) != b"\n":
                line = b"\n" + line  # the last line was torn: do not let it swallow this one
            written = os.write(file, line)
            os.fsync(file)
        finally:
            os.close(file)
        if written != len(line):
            raise OSError(f"only {written} of {len(line)} bytes were written")

    def _rotate(self) -> None:
        """Move a full journal aside. The lock keeps two processes from moving it twice, which would lose one."""
        if self._size() < self._rotate_bytes:
            return
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            if self._size() >= self._rotate_bytes:
                self.path.replace(self.older)
        finally:
            os.close(directory)

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0


def _parsed(line: bytes) -> JournalEntry | None:
    """Return the entry of one line, or None for anything that is not one."""
    try:
        entry = from_plain(JournalEntry, json.loads(line))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return _cleaned(entry) if isinstance(entry, JournalEntry) else None


def _cleaned(entry: JournalEntry) -> JournalEntry:
    """Return the entry with every text safe to show: whoever wrote the file, a reader's terminal is safe."""
    texts: dict[str, Any] = {
        f.name: _clean(value) for f in fields(entry) if isinstance(value := getattr(entry, f.name), str)
    }
    return replace(
        entry,
        commands=tuple(map(_clean, entry.commands)),
        back=tuple((_clean(name), _clean(before), _clean(after)) for name, before, after in entry.back),
        nodes=tuple(map(_clean, entry.nodes)),
        moves=tuple((_clean(slots), _clean(source), _clean(target)) for slots, source, target in entry.moves),
        left_alone=tuple(map(_clean, entry.left_alone)),
        **texts,
    )


def _clean(text: str) -> str:
    return text if text.isprintable() else printable(text)
