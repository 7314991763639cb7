"""The real program as a process of its own, without a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LIMIT_S = 40.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What a finished program left behind."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def json(self) -> Any:
        return json.loads(self.raw)

    def line(self) -> str:
        """Return the one line of stderr; fail when there is none or more, or a traceback."""
        (line,) = self.err.splitlines()
        assert line.startswith("cachetui: "), line
        return line


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "cachetui", *args]


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **(env or {})}


def run(*args: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ended:
    """Run `cachetui ARGS` to its end, without a terminal of its own."""
    done = subprocess.run(
        command(*args),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
        env=environment(env),
        cwd=cwd or ROOT,
        start_new_session=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return Ended(done.returncode, done.stdout, done.stderr.decode())


class Running:
    """A program that is still running, as a context manager; `end` stops it with a signal."""

    def __init__(self, *args: str, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command(*args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(env),
            cwd=ROOT,
            start_new_session=True,
        )

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def first_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def first_word(self) -> str:
        """Wait for the first line of narration."""
        assert self.process.stderr is not None
        return self.process.stderr.readline().decode().strip()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(LIMIT_S)


def wait_until_gone(pid: int, limit_s: float = 15.0) -> None:
    """Wait until no process has this pid."""
    deadline = time.monotonic() + limit_s
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)
