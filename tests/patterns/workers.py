"""Start the processes of `worker.py`, hear them, pause and kill them."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Worker:
    """One process; its lines are read as they come."""

    def __init__(self, role: str, *args: object) -> None:
        argv = [sys.executable, "-m", "tests.patterns.worker", role, *map(str, args)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        self.lines: queue.Queue[str] = queue.Queue()
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.decode().strip())

    def hear(self, start: str = "") -> str:
        """Wait for a line that begins so."""
        while True:
            line = self.lines.get(timeout=30)
            self.said.append(line)
            if line.startswith(start):
                return line

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)  # all its threads

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self) -> None:
        """kill -9, and read what it had said."""
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        while not self.lines.empty():
            self.said.append(self.lines.get())
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


Start = Callable[..., Worker]
