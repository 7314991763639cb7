"""Predicted hit rates of a memcached beside those of real ones started at these sizes, with the same requests.

One server is watched (`watch fetchers mutations`); others of half and twice its memory get the same requests at the
same time. Predicted is once from what was watched, and once from the ages that a dump tells.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import random
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from _figures import show

from cachetui.analysis.curve import from_idle, from_stream
from cachetui.config import Address, Target
from cachetui.keyspace.access import Observed, observe
from cachetui.model.burst import Limits
from cachetui.source.connect import open_source

MEMORY_MB = 16
SIZES = (0.5, 1.0, 2.0)
RATE, STEP = 8000, 100
FILLING, WARM_S, BURST_S, AFTER_S = 250_000, 10.0, 8.0, 8.0
MEAN_BUDGET, WORST_BUDGET = 2.0, 4.0
UNGUARDED = Limits(seconds=BURST_S, throughput_loss=1.0, latency_times=1e6)

Pattern = Callable[[], int]


def zipf(keys: int, exponent: float, seed: int) -> Pattern:
    """Return what draws ranks from 0 by Zipf's law."""
    rng = random.Random(seed)
    sums = list(itertools.accumulate(1 / (rank + 1) ** exponent for rank in range(keys)))
    return lambda: bisect.bisect(sums, rng.random() * sums[-1])


def scanning() -> Pattern:
    draw, rng, fresh = zipf(30_000, 0.9, 2), random.Random(3), itertools.count(10_000_000)
    return lambda: next(fresh) if rng.random() < 0.2 else draw()


def looping() -> Pattern:
    turn = itertools.cycle(range(30_000))
    return lambda: next(turn)


WORKLOADS: dict[str, tuple[Callable[[], Pattern], tuple[int, ...]]] = {
    "zipf 0.8": (lambda: zipf(40_000, 0.8, 1), (600,)),
    "zipf 1.0": (lambda: zipf(40_000, 1.0, 1), (600,)),
    "zipf 0.9, mixed sizes": (lambda: zipf(40_000, 0.9, 1), (120, 600, 1500)),
    "scanning": (scanning, (600,)),
    "looping": (looping, (600,)),
}


class Cache:
    """A memcached of its own, read through."""

    def __init__(self, memory_mb: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        argv = ["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", str(memory_mb), "-u", "nobody"]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.link = socket.create_connection(("127.0.0.1", self.port), 60)
                break
            except OSError:
                time.sleep(0.02)
        self.replies = self.link.makefile("rb")
        self.reads = self.hits = 0

    def close(self) -> None:
        self.link.close()
        self.process.kill()
        self.process.wait()

    def read_through(self, keys: list[int], sizes: tuple[int, ...]) -> None:
        """Fetch the items and store those that are missing."""
        self.link.sendall(b"".join(b"mg item:%d\r\n" % key for key in keys) + b"mn\r\n")
        missing = []
        for key in keys:
            if self.replies.readline() == b"EN\r\n":
                missing.append(key)
        self.replies.readline()
        self.reads += len(keys)
        self.hits += len(keys) - len(missing)
        # In one piece: a small packet behind another would wait for its answer.
        sets = [
            b"set item:%d 0 0 %d noreply\r\n%b\r\n" % (key, sizes[key % len(sizes)], b"x" * sizes[key % len(sizes)])
            for key in dict.fromkeys(missing)
        ]
        self.link.sendall(b"".join(sets) + b"mn\r\n")
        while self.replies.readline() != b"MN\r\n":
            pass  # no memory for one of them


class Driver:
    """Sends every cache the same requests."""

    def __init__(self, caches: list[Cache], pattern: Pattern, sizes: tuple[int, ...]) -> None:
        self.caches, self.pattern, self.sizes = caches, pattern, sizes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def step(self) -> None:
        keys = [self.pattern() for _ in range(STEP)]
        for cache in self.caches:
            cache.read_through(keys, self.sizes)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self.step()
            due = max(due + STEP / RATE, time.monotonic() - 0.1)
            time.sleep(max(0.0, due - time.monotonic()))

    def __enter__(self) -> Driver:
        for _ in range(FILLING // STEP):
            self.step()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


async def watched(port: int) -> Observed:
    source = await open_source(Target("memcached", (Address("127.0.0.1", port),)))
    try:
        return await observe(source, UNGUARDED)
    finally:
        await source.close()


def measured(name: str) -> tuple[list[float], list[float]]:
    """Run one workload; return how far each way of predicting was off, in points."""
    make, sizes = WORKLOADS[name]
    with ExitStack() as stack:
        caches = [Cache(round(MEMORY_MB * size)) for size in SIZES]
        for cache in caches:
            stack.callback(cache.close)
        with Driver(caches, make(), sizes):
            time.sleep(WARM_S)
            seen = asyncio.run(watched(caches[SIZES.index(1.0)].port))
            before = [(cache.reads, cache.hits) for cache in caches]
            time.sleep(AFTER_S)
            real = [
                (cache.hits - hits) / max(1, cache.reads - reads)
                for cache, (reads, hits) in zip(caches, before, strict=True)
            ]
    memory = [round(seen.accesses.memory_bytes * size) for size in SIZES]
    points = from_stream(seen.accesses, memory).points
    idle = from_idle(seen.idle, seen.room.memory_bytes, memory, hit_rate=real[1]) if seen.idle is not None else None
    off, off_idle = [], []
    for size, point, value, limit in zip(SIZES, points, real, memory, strict=True):
        aged = idle.at(limit) if idle is not None else None
        off.append(100 * abs(point.hit_rate - value))
        words = f"{name}, {size:g}x: watched {point.hit_rate:.1%} ({point.low:.1%}-{point.high:.1%}), real {value:.1%}"
        if aged is not None:
            off_idle.append(100 * abs(aged.hit_rate - value))
            words += f", by ages {aged.hit_rate:.1%}"
        print(words)
    print(f"  {seen.burst.line()}; {len(seen.accesses.sizes_bytes):,} keys sampled")
    return off, off_idle


def main() -> None:
    if shutil.which("memcached") is None:
        sys.exit("memcached is missing: there is nothing to measure")
    names = sys.argv[1:] or list(WORKLOADS)
    off, off_idle = [], []
    for name in names:
        one, other = measured(name)
        off += one
        off_idle += other
    show("watched events: points off, mean", statistics.fmean(off), "points", MEAN_BUDGET)
    show("watched events: points off, worst", max(off), "points", WORST_BUDGET)
    if off_idle:
        show("ages of a dump: points off, mean", statistics.fmean(off_idle), "points")
        show("ages of a dump: points off, worst", max(off_idle), "points")


if __name__ == "__main__":
    main()
