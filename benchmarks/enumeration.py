"""Every key of a large server: its name, then its type, TTL and size too, beside what redis-cli needs for it."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from _bystander import Bystander
from _figures import percentile, show
from _proxy import Proxy
from _store import Store, engines

from cachetui.config import Address, Target
from cachetui.source.connect import open_source

KEYS = 1_000_000
FAR_S = 0.040
ROUNDS = 3
CLI_TIMES, FLOOR_TIMES = 4, 1.2
FAR_KEYS_PER_S = 300_000
NEAR_P99_MS, FAR_P99_MS = 1.0, 5.0
BIGKEYS_TIMES, MEMKEYS_TIMES = 3, 2


class Counted:
    """A sink that only counts."""

    def __init__(self) -> None:
        self.names = 0

    def add(self, keys: Sequence[bytes]) -> None:
        self.names += len(keys)

    def clear(self) -> None:
        self.names = 0


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def enumerate_all(port: int) -> None:
    """Take in all names as the program does."""

    async def inside() -> None:
        source = await open_source(Target("redis", (Address("127.0.0.1", port),)))
        try:
            await source.enumeration(sink := Counted()).run()
        finally:
            await source.close()
        assert sink.names >= KEYS, f"{sink.names} of {KEYS} names"

    asyncio.run(inside())


def read_cursors(port: int) -> None:
    """Do the least that any client must: one cursor, replies received and counted, only the cursor read."""
    with socket.create_connection(("127.0.0.1", port), 10) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        cursor, buffer = b"0", memoryview(bytearray(1 << 20))
        while True:
            link.sendall(b"*4\r\n$4\r\nSCAN\r\n$%d\r\n%b\r\n$5\r\nCOUNT\r\n$4\r\n1000\r\n" % (len(cursor), cursor))
            taken = link.recv_into(buffer)
            while bytes(buffer[:64]).count(b"\n") < 4 and taken < 64:
                taken += link.recv_into(buffer[taken:])
            _, _, cursor, number, _ = bytes(buffer[:64]).split(b"\r\n", 4)
            # Two lines for each name, four for the head.
            lines = 4 + 2 * int(number[1:]) - bytes(buffer[:taken]).count(b"\n")
            while lines:
                taken = link.recv_into(buffer)
                lines -= bytes(buffer[:taken]).count(b"\n")
            if cursor == b"0":
                return


def run(*argv: str) -> None:
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)


def names(title: str, store: Store) -> None:
    port = str(store.port)
    best: dict[str, float] = {}
    for _ in range(ROUNDS):  # in turn, so that a busy moment meets all of them
        for what, work in (
            ("cli", lambda: run("redis-cli", "-p", port, "--scan")),
            ("floor", lambda: read_cursors(store.port)),
            ("ours", lambda: enumerate_all(store.port)),
        ):
            best[what] = min(best.get(what, 1e9), timed(work))
    show(f"{title}: redis-cli --scan, {KEYS:,} keys", best["cli"], "s")
    show(f"{title}: one cursor, replies not parsed", best["floor"], "s")
    show(f"{title}: our enumeration, a quarter of redis-cli's", best["ours"], "s", best["cli"] / CLI_TIMES)
    show(f"{title}: our enumeration, beside the least", best["ours"], "s", best["floor"] * FLOOR_TIMES)


def far(title: str, store: Store) -> None:
    with Proxy(store.port, FAR_S) as proxy:
        took_s = min(timed(lambda: enumerate_all(proxy.port)) for _ in range(2))
        show(
            f"{title}: at {FAR_S * 1000:.0f} ms round trip ({KEYS / took_s:,.0f} keys/s)",
            took_s,
            "s",
            KEYS / FAR_KEYS_PER_S,
        )
        others(f"{title}: another client's p99, we at 40 ms", store, proxy.port, FAR_P99_MS)


def others(what: str, store: Store, port: int, budget_ms: float) -> None:
    """Show how long another client waits while all keys are enumerated, and while they are not."""
    with Bystander(store.port) as alone:
        time.sleep(2)
    with Bystander(store.port) as beside:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            enumerate_all(port)
    show(f"{what}, without us", percentile(alone.waits_ms, 99), "ms")
    show(what, percentile(beside.waits_ms, 99), "ms", budget_ms)


def facts(title: str, store: Store) -> None:
    ours = (sys.executable, "-m", "cachetui", "keys", "-p", str(store.port), "--with")
    for words, option, times in (
        ("type,ttl", "--bigkeys", BIGKEYS_TIMES),
        ("type,ttl,size", "--memkeys", MEMKEYS_TIMES),
    ):
        cli_s = timed(lambda option=option: run("redis-cli", "-p", str(store.port), option))  # type: ignore[misc]
        ours_s = min(timed(lambda words=words: run(*ours, words)) for _ in range(2))  # type: ignore[misc]
        show(f"{title}: redis-cli {option}", cli_s, "s")
        show(f"{title}: cachetui keys --with {words}", ours_s, "s", cli_s / times)


def main() -> None:
    if shutil.which("redis-cli") is None:
        sys.exit("redis-cli is missing: there is nothing to compare with")
    for title, program in engines().items():
        with Store(program, KEYS) as store:
            names(title, store)
            others(f"{title}: another client's p99", store, store.port, NEAR_P99_MS)
            far(title, store)
            facts(title, store)


if __name__ == "__main__":
    main()
