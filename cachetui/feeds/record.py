"""Write the stream of snapshots to a file: gzip-compressed JSON lines that survive a kill, without secrets."""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cachetui.errors import BadUsage
from cachetui.feeds.redact import redacted, scrubbed
from cachetui.model import Identity, SlowLog, Snapshot, Trouble
from cachetui.model.codec import snapshot_to_plain, to_plain
from cachetui.source.recording import FORMAT, KIND_OF, VERSION, Entry, Header, read_recording
from cachetui.text import printable, size

__all__ = ["Entry", "Header", "Recorder", "read_recording"]

FLUSH_S = 1.0
_END_BYTES = 512
"""Room kept for the closing note and gzip's trailer."""


class Recorder:
    """An open recording. Each second what was written so far is readable, whatever happens then.

    `write` never raises for the disk's sake: when it is full, or `max_bytes` are reached,
    recording ends and `stopped` says why. Safe to call from several threads.
    """

    def __init__(
        self,
        path: str | Path,
        target_name: str,
        *,
        secrets: Sequence[str] = (),
        overwrite: bool = False,
        max_bytes: int | None = None,
    ) -> None:
        """Create the file (mode 0600) and write its header. `secrets` never reach the file.

        Raises `BadUsage` when it exists (unless `overwrite`) or cannot be made.
        """
        self.path = Path(path)
        self.stopped = ""
        """Why recording ended before `close`; empty while it goes on."""
        self.bytes_written = 0
        self.entries_written = 0
        known = {form for secret in secrets if secret for form in (str(secret), printable(secret))}
        self._secrets = tuple(sorted(known, key=len, reverse=True))
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._pack = zlib.compressobj(6, zlib.DEFLATED, 31)
        self._flushed_at = time.monotonic()
        self._unflushed = 0
        self._file = _created(self.path, overwrite)
        header = {"format": FORMAT, "version": VERSION, "target": target_name, "startedAt": time.time()}
        self._put({**header, "target": scrubbed(target_name, self._secrets)})
        self._flush(zlib.Z_SYNC_FLUSH)

    @property
    def closed(self) -> bool:
        """True after `close`, and after recording ended by itself."""
        return self._file < 0

    def write(self, item: Snapshot | Trouble | Identity, *, kind: str = "stats", at: float | None = None) -> bool:
        """Append one snapshot, trouble (of the feed `kind`) or identity; False when recording has ended.

        `at` is the time of a trouble or identity, the present unless told; a snapshot has its own.
        """
        with self._lock:
            if self.closed:
                return False
            self._append(self._document(item, kind, time.time() if at is None else at))
            return not self.closed

    def flush(self) -> None:
        """Make all that was written readable now, should no further `write` come soon."""
        with self._lock:
            if not self.closed and self._unflushed:
                self._flush(zlib.Z_SYNC_FLUSH)

    def close(self) -> None:
        """Complete the file; may be called twice."""
        with self._lock:
            self._finish()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _document(self, item: Snapshot | Trouble | Identity, kind: str, at: float) -> dict[str, Any]:
        if isinstance(item, Trouble):
            return {"at": at, "kind": kind, "trouble": scrubbed(to_plain(item), self._secrets)}
        if isinstance(item, Identity):
            return {"at": at, "identity": scrubbed(to_plain(item), self._secrets)}
        if isinstance(item, SlowLog):
            item = redacted(item)
        plain = snapshot_to_plain(item)
        plain["data"] = scrubbed(plain["data"], self._secrets)
        return {"at": item.taken_at, "kind": KIND_OF[type(item)], "snapshot": plain}

    def _append(self, document: dict[str, Any]) -> None:
        line = _encoded(document)
        if self._max_bytes is not None and not self._fits(line, self._max_bytes):
            self._end(f"reached its limit of {size(self._max_bytes)}", note=True)
            return
        self._put(document, line)
        self.entries_written += 1
        if time.monotonic() - self._flushed_at >= FLUSH_S:
            self._flush(zlib.Z_SYNC_FLUSH)

    def _fits(self, line: bytes, max_bytes: int) -> bool:
        room = max_bytes - self.bytes_written - _END_BYTES
        if self._unflushed + len(line) < room:  # it will hardly grow by being compressed
            return True
        trial = self._pack.copy()
        return len(trial.compress(line)) + len(trial.flush(zlib.Z_SYNC_FLUSH)) <= room

    def _put(self, document: dict[str, Any], line: bytes | None = None) -> None:
        if line is None:
            line = _encoded(document)
        self._unflushed += len(line)
        self._send(self._pack.compress(line))

    def _flush(self, mode: int) -> None:
        self._send(self._pack.flush(mode))
        self._flushed_at, self._unflushed = time.monotonic(), 0

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self.closed:
            try:
                written = os.write(self._file, view)
            except OSError as error:
                self._end(f"cannot write: {error.strerror}", note=False)
                return
            view = view[written:]
            self.bytes_written += written

    def _end(self, why: str, *, note: bool) -> None:
        self.stopped = why
        if note:
            self._put({"at": time.time(), "note": f"stopped: {why}"})
            self._finish()
        else:
            self._shut()

    def _finish(self) -> None:
        if not self.closed:
            self._flush(zlib.Z_FINISH)
            self._shut()

    def _shut(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), default=lambda value: printable(str(value))).encode() + b"\n"


def _created(path: Path, overwrite: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC | os.O_NOFOLLOW if overwrite else os.O_EXCL)
    shown = printable(str(path), 200)
    try:
        if path.exists() and not path.is_file():
            raise BadUsage(f"{shown} is not a file", "choose another name")
        file = os.open(path, flags, 0o600)
        if overwrite:
            os.fchmod(file, 0o600)
    except FileExistsError as error:
        raise BadUsage(f"{shown} exists already", "choose another name, or ask for it to be overwritten") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadUsage(f"cannot create {shown}: {reason}", "choose a folder that you may write to") from error
    return file
