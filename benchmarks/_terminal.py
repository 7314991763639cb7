"""A program in a pseudo-terminal of a given size, watched byte by byte."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import tempfile
import termios
import time
from collections.abc import Sequence
from types import TracebackType

_ASKS_SYNC = b"\x1b[?2026$p"
_HAS_SYNC = b"\x1b[?2026;2$y"


class Terminal:
    """Runs `argv` in a truecolor terminal that knows synchronized output; a context manager that ends it by pid."""

    def __init__(self, argv: Sequence[str], *, columns: int = 120, rows: int = 40) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="bench-")
        # The user's own configuration stays out of the figures.
        environ = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CACHETUI_URL")}
        environ |= {f"XDG_{kind}_HOME": self._home.name for kind in ("CONFIG", "STATE", "CACHE")}
        environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": str(columns), "LINES": str(rows)}
        self.received = 0
        """Bytes that the program has written so far."""
        self._seen = b""
        self._started = time.perf_counter()
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            # The child waits for its size: fork returns before the parent has set it.
            os.read(0, 1)
            os.execvpe(argv[0], list(argv), environ)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.write(self._fd, b"\n")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def read(self, timeout_s: float) -> bytes:
        """Return what arrives next, or nothing when nothing does in time. Raises EOFError when the program ended."""
        if not select.select([self._fd], [], [], max(0.0, timeout_s))[0]:
            return b""
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:
            data = b""
        if not data:
            raise EOFError(f"the program ended; its last words: {self._seen[-1500:].decode(errors='replace')}")
        if _ASKS_SYNC in self._seen[-len(_ASKS_SYNC) :] + data and _ASKS_SYNC not in self._seen:
            os.write(self._fd, _HAS_SYNC)
        self.received += len(data)
        self._seen = (self._seen + data)[-65536:]
        return data

    def wait_for(self, mark: bytes, timeout_s: float = 20.0) -> float:
        """Return the seconds from the start until `mark` was on the wire. Raises TimeoutError."""
        deadline = time.perf_counter() + timeout_s
        while mark not in self._seen:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{mark!r} was not painted in {timeout_s} s")
            self.read(deadline - time.perf_counter())
        return time.perf_counter() - self._started

    def watch(self, seconds: float) -> int:
        """Return how many bytes arrive in `seconds`."""
        before, deadline = self.received, time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            self.read(left)
        return self.received - before

    def write(self, keys: bytes) -> None:
        """Type `keys`."""
        os.write(self._fd, keys)

    def press(self, keys: bytes, timeout_s: float = 2.0) -> float | None:
        """Type `keys` and return the seconds until the first byte of an answer; None when none came."""
        while self.read(0):
            continue
        at = time.perf_counter()
        self.write(keys)
        return time.perf_counter() - at if self.read(timeout_s) else None

    def close(self) -> None:
        """End the program: politely, then firmly."""
        for number, patience_s in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
            os.kill(self._pid, number)
            if self._gone(patience_s):
                break
        os.close(self._fd)
        self._home.cleanup()

    def _gone(self, patience_s: float) -> bool:
        deadline = time.perf_counter() + patience_s
        while time.perf_counter() < deadline:
            if os.waitpid(self._pid, os.WNOHANG)[0]:
                return True
            try:
                # A full terminal would keep the program from its end.
                self.read(0.02)
            except EOFError:
                time.sleep(0.01)
        return False
