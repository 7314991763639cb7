"""A million items of one memcached: listed, and half of them deleted by a pattern, beside a plain socket."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from _figures import show

from cachetui.actions.apply import Guard, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import plan_sweep
from cachetui.config import Address, Target
from cachetui.model import Estimate, Operation, Selection
from cachetui.source.connect import open_source

ITEMS = 1_000_000
PREFIX = b"user:profile:"
PATTERN = b"user:profile:*[02468]"
ROUNDS = 3
LISTED_SHARE, DELETE_TIMES = 0.8, 1.3
FLAT_TIMES = 1.25
"""Four times the items may take this much of the memory."""
COST_PERCENT = 0.5
"""Of one core of the server, for all views at an interval of one second."""
COST_S, SETTLE_S = 20, 10


class Memcached:
    """A running memcached with `items` items while it is entered."""

    def __enter__(self) -> Memcached:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        argv = ["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "1024", "-c", "2048"]
        self.process = subprocess.Popen([*argv, "-u", "nobody"], stdin=subprocess.DEVNULL)
        while not self._listens():
            time.sleep(0.02)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()

    def _listens(self) -> bool:
        try:
            return self.ask(b"version").startswith(b"VERSION")
        except OSError:
            return False

    def link(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 60)

    def ask(self, line: bytes) -> bytes:
        """Return the first line of the reply."""
        with self.link() as link, link.makefile("rb") as replies:
            link.sendall(line + b"\r\n")
            return replies.readline()

    def fill(self, items: int) -> None:
        """Empty it and store `items` small items."""
        self.ask(b"flush_all")
        with self.link() as link, link.makefile("rb") as replies:
            for start in range(0, items, 5000):
                keys = range(start, min(items, start + 5000))
                link.sendall(b"".join(b"set %b%010d 0 0 10 noreply\r\n0123456789\r\n" % (PREFIX, key) for key in keys))
            link.sendall(b"mn\r\n")
            assert replies.readline() == b"MN\r\n"

    def cpu_s(self) -> float:
        """Return the CPU time that the process has used so far, by its own measure."""
        with self.link() as link, link.makefile("rb") as replies:
            link.sendall(b"stats\r\n")
            fields = dict(line.split(b" ", 2)[1:] for line in iter(lambda: replies.readline().strip(), b"END"))
        return float(fields[b"rusage_user"]) + float(fields[b"rusage_system"])


class Counted:
    """A sink that only counts."""

    def __init__(self) -> None:
        self.names = 0

    def add(self, keys: Sequence[bytes]) -> None:
        self.names += len(keys)

    def clear(self) -> None:
        self.names = 0


def read_dump(server: Memcached) -> None:
    """Read the same dump and look at nothing but its end."""
    with server.link() as link:
        link.sendall(b"lru_crawler metadump hash\r\n")
        tail = b""
        while not tail.endswith(b"END\r\n"):
            tail = (tail + link.recv(1 << 18))[-8:]


def delete_plainly(server: Memcached) -> int:
    """Read the dump, match the names, send quiet deletes, count what is answered: the least any client must do."""
    import re
    from urllib.parse import unquote_to_bytes

    fits = re.compile(rb"user:profile:.*[02468]").fullmatch
    found: list[bytes] = []
    with server.link() as link:
        link.sendall(b"lru_crawler metadump hash\r\n")
        rest = b""
        while True:
            *lines, rest = (rest + link.recv(1 << 18)).split(b"\n")
            names = [unquote_to_bytes(line[4 : line.index(b" ")]) for line in lines if line.startswith(b"key=")]
            found += [name for name in names if fits(name)]
            if lines and lines[-1] == b"END\r":
                break
    misses = 0
    with server.link() as link, link.makefile("rb") as replies:
        for start in range(0, len(found), 1000):
            link.sendall(b"".join(b"md %b q\r\n" % name for name in found[start : start + 1000]) + b"mn\r\n")
            while replies.readline() != b"MN\r\n":
                misses += 1
    return len(found) - misses


def enumerate_all(port: int, items: int) -> None:
    """Take in all names as the program does."""

    async def inside() -> None:
        source = await open_source(Target("memcached", (Address("127.0.0.1", port),)))
        try:
            await source.enumeration(sink := Counted()).run()
        finally:
            await source.close()
        assert sink.names == items, f"{sink.names} of {items} names"

    asyncio.run(inside())


def delete(port: int) -> tuple[float, int]:
    """Delete as the program does; return seconds and items."""

    async def inside(journal: Path) -> tuple[float, int]:
        source = await open_source(Target("memcached", (Address("127.0.0.1", port),)))
        try:
            identity = source.identity or await source.open()
            plan = plan_sweep(
                identity, source.name, Selection(pattern=PATTERN), Operation("delete"), Estimate(None), keep=None
            )
            began = time.perf_counter()
            outcome = await apply(plan, source, journal=Journal(journal), guard=Guard(read_only=False))
            assert outcome.state == "done", outcome.line()
            return time.perf_counter() - began, outcome.done
        finally:
            await source.close()

    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(inside(Path(directory) / "journal.jsonl"))


def apart(*words: str) -> list[str]:
    """Run one part in a process of its own; return what it prints and its largest memory in MB."""
    told = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
    return told.stdout.split()


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def listing(server: Memcached) -> None:
    server.fill(ITEMS)
    best: dict[str, float] = {}
    for _ in range(ROUNDS):  # in turn, so that a busy moment meets both of them
        best["floor"] = min(best.get("floor", 1e9), timed(lambda: read_dump(server)))
        ours_s, server_s = time.process_time(), server.cpu_s()
        best["ours"] = min(best.get("ours", 1e9), timed(lambda: enumerate_all(server.port, ITEMS)))
        best["cpu"] = min(best.get("cpu", 1e9), time.process_time() - ours_s)
        best["server"] = min(best.get("server", 1e9), server.cpu_s() - server_s)
    # On a busy machine the two share a processor: then only this comparison tells anything.
    show(f"{ITEMS:,} items: our processor time, beside the server's", best["cpu"], "s", best["server"])
    show(f"{ITEMS:,} items: a plain socket reads the dump", best["floor"], "s")
    show(f"{ITEMS:,} items: our listing", best["ours"], "s", best["floor"] / LISTED_SHARE)


def deleting(server: Memcached) -> None:
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        server.fill(ITEMS)
        began = time.perf_counter()
        assert delete_plainly(server) == ITEMS // 2
        best["floor"] = min(best.get("floor", 1e9), time.perf_counter() - began)
        server.fill(ITEMS)
        took_s, done, memory = apart("delete", str(server.port))
        assert int(done) == ITEMS // 2, done
        best["ours"] = min(best.get("ours", 1e9), float(took_s))
    server.fill(ITEMS // 4)
    quarter = float(apart("delete", str(server.port))[2])
    show(f"{ITEMS // 2:,} deleted by pattern: a plain socket", best["floor"], "s")
    show(f"{ITEMS // 2:,} deleted by pattern: ours", best["ours"], "s", best["floor"] * DELETE_TIMES)
    show("memory, a quarter of the items", quarter, "MB")
    show("memory, all of them", float(memory), "MB", quarter * FLAT_TIMES)


def cost(server: Memcached) -> None:
    """Poll everything once a second, as all views together do, and see what the server pays."""

    async def poll() -> None:
        source = await open_source(Target("memcached", (Address("127.0.0.1", server.port),)))
        try:
            for _ in range(COST_S):
                for kind in ("stats", "topology", "clients", "slowlog"):
                    await source.poll(kind)
                await asyncio.sleep(1)
        finally:
            await source.close()

    server.fill(ITEMS // 4)
    links = [server.link() for _ in range(1000)]
    time.sleep(SETTLE_S)  # until its own threads have sorted what came in
    idle = server.cpu_s()
    time.sleep(COST_S)
    idle = server.cpu_s() - idle
    before = server.cpu_s()
    asyncio.run(poll())
    spent = server.cpu_s() - before - idle
    for link in links:
        link.close()
    show("all views, 1,000 clients: share of the server's core", 100 * max(0.0, spent) / COST_S, "%", COST_PERCENT)


def main() -> None:
    if len(sys.argv) > 1:
        took_s, done = delete(int(sys.argv[2]))
        # Not getrusage: what a parent used counts there too.
        status = Path("/proc/self/status").read_text()
        print(took_s, done, int(status.partition("VmHWM:")[2].split()[0]) / 1024)
        return
    if shutil.which("memcached") is None:
        sys.exit("memcached is missing: there is nothing to measure")
    with Memcached() as server:
        listing(server)
        deleting(server)
        cost(server)


if __name__ == "__main__":
    main()
