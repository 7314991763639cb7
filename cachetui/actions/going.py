"""Which writes go on right now: a locked file for each, which the system unlocks however its process ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cachetui.actions.guard import APPLIED
from cachetui.errors import Refused
from cachetui.text import printable

STALE_S = 3600.0
"""A file that nobody has locked is removed after so long: its process was killed."""


@contextmanager
def going(journal: Path, receipt: str) -> Iterator[None]:
    """Show others that this write goes on. Raises Refused where that cannot be done, or it goes on already."""
    path = _directory(journal) / receipt
    try:
        file = _made(path)
    except OSError as error:
        raise Refused(
            f"the journal cannot be kept: {printable(str(path.parent))}: {error.strerror or error}: nothing was sent",
            "make the directory writable, or point XDG_STATE_HOME at another",
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):  # it is only a mark: unlocked it means nothing
            path.unlink(missing_ok=True)
        os.close(file)


def goes_on(journal: Path, receipt: str) -> bool:
    """Tell whether a process is at work on this write."""
    return "/" not in receipt and _is_locked(_directory(journal) / receipt)


def _directory(journal: Path) -> Path:
    return journal.parent / "running"


def _made(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep_up(path.parent)
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise Refused(*APPLIED) from error


def _is_locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):  # there is none, or it is no name for one
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _sweep_up(directory: Path) -> None:
    long_ago = time.time() - STALE_S
    for path in directory.iterdir():
        with suppress(FileNotFoundError):  # it has just ended
            if path.stat().st_mtime < long_ago and not _is_locked(path):
                path.unlink()
