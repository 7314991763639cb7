"""Start the demo from any program, and be sure that it ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO

from cachetui.demo import RATE, SEED
from cachetui.demo.servers import DemoFailed
from cachetui.text import printable

START_S = 60.0
END_S = 6.0


class Demo:
    """A real server with a live load in one child process, as an async context manager.

    The child ends when the context does, and also when this process dies in whatever way.
    Entering waits until the server answers (the data arrives after that) and raises DemoFailed.
    Nothing here belongs to an event loop: it may be entered in one and left in another.
    """

    def __init__(
        self,
        *,
        memcached: bool = False,
        sentinel: bool = False,
        cluster: bool = False,
        duration_s: float | None = None,
        rate: int = RATE,
        seed: int = SEED,
    ) -> None:
        self.url = ""
        """`redis://127.0.0.1:PORT`, `memcached://127.0.0.1:PORT`, or that of a group, once entered."""
        self.description = ""
        """What is running, for people, once entered."""
        self.pid = 0
        """The child's process id, once entered."""
        self.server_pid = 0
        """The process id of the (first) server, once entered."""
        self.server_pids: tuple[int, ...] = ()
        """Those of all servers, once entered."""
        self._argv = [sys.executable, "-P", "-m", "cachetui.demo", "--rate", str(rate), "--seed", str(seed)]
        kinds = {"--memcached": memcached, "--sentinel": sentinel, "--cluster": cluster}
        self._argv += [name for name, wanted in kinds.items() if wanted]
        self._argv += ["--duration", str(duration_s)] if duration_s is not None else []
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self._directories: list[str] = []

    async def __aenter__(self) -> Demo:
        self._process = self._spawn()
        self.pid = self._process.pid
        try:
            async with asyncio.timeout(START_S):
                line = await asyncio.to_thread(self._first_line)
            self._read(line)
        except TimeoutError:
            await self._end()
            raise DemoFailed("the demo's server did not start in time", "try again on a less busy machine") from None
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def alive(self) -> bool:
        """Return whether the demo is still running."""
        return self._process is not None and self._process.poll() is None

    async def wait(self) -> None:
        """Return when the demo has ended: its time is over, or somebody ended it or its server."""
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)

    def play(self, name: str) -> None:
        """Switch a scenario on (see `scenarios`), or off when it is under way. Does nothing once the demo has ended."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it has just ended
                self._process.stdin.write(f"{name}\n".encode())
                self._process.stdin.flush()

    def _spawn(self) -> subprocess.Popen[bytes]:
        # Our own package, also when it is not installed; never modules that lie in the current directory.
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _end
        return subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # Ctrl+C in the terminal is for us; the child learns of our end from its input.
            start_new_session=True,
        )

    def _first_line(self) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout.readline()

    def _read(self, line: bytes) -> None:
        try:
            document = json.loads(line)
        except ValueError:
            raise DemoFailed(f"the demo ended before it was ready: {self._last_complaint()}") from None
        if "error" in document:
            raise DemoFailed(document["error"], document["hint"])
        self.url, self.description = document["url"], document["description"]
        self.server_pid, self.server_pids = document["pid"], tuple(document["pids"])
        self._directories = document["directories"]

    def _last_complaint(self) -> str:
        assert self._complaints is not None
        self._complaints.seek(0)
        lines = self._complaints.read(100_000).strip().splitlines()
        return printable(lines[-1], 200) if lines else "it said nothing"

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None and self._complaints is not None
        # The end of its input ends the child even if we are cancelled while waiting for it.
        process.stdin.close()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):  # killed below
                await asyncio.to_thread(process.wait, END_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()
            self._complaints.close()
            for directory in self._directories:
                shutil.rmtree(directory, ignore_errors=True)
