"""The demo's process as a test's child, and looking for what it may have left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def until(condition: Callable[[], object], timeout_s: float) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Return whether that process has ended; one that nobody has reaped yet has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(") ")[2].startswith("Z")


class Child:
    """`python -m cachetui.demo` with pipes; its server is killed with it if a test fails half-way."""

    def __init__(self, *options: str, environ: dict[str, str] | None = None, command: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            command or [sys.executable, "-m", "cachetui.demo", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environ or {})},
            start_new_session=True,
        )
        self.first = b""

    def __enter__(self) -> Child:
        return self.ready()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def ready(self) -> Child:
        """Wait for the first line."""
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline()
        return self

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.first)
        return facts

    @property
    def port(self) -> int:
        return int(self.facts["url"].rpartition(":")[2])

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[dict[str, Any], str]:
        """Send a signal and return the last line's document and everything on stderr."""
        os.killpg(self.process.pid, number)
        out, err = self.process.communicate(timeout=10)
        return json.loads(out.splitlines()[-1]), err.decode()
