"""The real program in a real pseudo-terminal: send presses, read the raw bytes it writes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from types import TracebackType

WAIT_S = 15.0
_CONTROL = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|\x1b[=>78cM]")


class Terminal:
    """`with Terminal("redis://...") as t: t.wait_for("live"); t.press("2")`."""

    def __init__(
        self, *arguments: str, columns: int = 120, rows: int = 40, env: Mapping[str, str] | None = None
    ) -> None:
        self.arguments = arguments
        self.columns, self.rows = columns, rows
        # A size in the environment would go before that of the terminal.
        around = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.env = {**around, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
        self.output = bytearray()

    def __enter__(self) -> Terminal:
        self.master, slave = pty.openpty()
        self.resize(self.columns, self.rows)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cachetui", *self.arguments],
            stdin=slave, stdout=slave, stderr=slave, env=self.env, start_new_session=True, close_fds=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - a test has one thread here
        )  # fmt: skip
        os.close(slave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal, as a window does."""
        self.columns, self.rows = columns, rows
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def read(self, seconds: float) -> bytes:
        """Read for at most `seconds`; return what came."""
        start = len(self.output)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self.master], [], [], left)
            if not ready:
                break
            try:
                chunk = os.read(self.master, 65536)
            except OSError:  # the program closed its end
                break
            if not chunk:
                break
            self.output += chunk
        return bytes(self.output[start:])

    def read_some(self, seconds: float) -> bytes:
        """Return what comes next, or nothing when nothing does in that time."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        return self.read(0.02) if ready else b""

    def hang_up(self) -> None:
        """Close the window: the program loses its terminal."""
        os.close(self.master)
        self.master = os.open(os.devnull, os.O_RDWR)

    def wait_for(self, words: str, seconds: float = WAIT_S, *, since: int = 0) -> int:
        """Read until the text written since `since` contains `words`; return where the output stands."""
        deadline = time.monotonic() + seconds
        while words not in self.text(since):
            if time.monotonic() > deadline or (self.process.poll() is not None and not self.read(0.05)):
                raise AssertionError(f"no {words!r} on the screen; it ends in:\n{self.text()[-3000:]}")
            self.read(0.05)
        return len(self.output)

    def text(self, since: int = 0) -> str:
        """Return the output without the terminal's control sequences."""
        return _CONTROL.sub(b"", bytes(self.output[since:])).decode("utf-8", "replace")

    def settle(self, quiet_s: float = 0.3, seconds: float = WAIT_S) -> None:
        """Read until nothing came for `quiet_s`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.read(quiet_s):
            continue

    def end(self, seconds: float = WAIT_S) -> int:
        """Wait for the program's end; return its exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it does not end"
            self.read(0.05)
        self.read(0.05)
        return self.process.returncode
