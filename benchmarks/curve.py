"""Predicted hit rates beside those of real servers started at these sizes and policies, and what the sample costs.

One server is watched; others of a quarter, half and twice its memory, and with other policies, get the same
requests at the same time. What is predicted from the burst is compared with what they do after it.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import itertools
import json
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from bisect import bisect
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import hiredis
from _figures import show
from _store import Store, engines

from cachetui.analysis.curve import from_idle, from_stream, lru_exact
from cachetui.config import Address, Target
from cachetui.keyspace.access import Sample, observe
from cachetui.model.accesses import Accesses, Rules
from cachetui.model.burst import Burst, Limits
from cachetui.source.base import Streamed
from cachetui.source.connect import open_source
from cachetui.source.redis.monitored import BASIC, MonitorReader
from cachetui.source.redis.stream import CHUNK_BYTES

MEMORY = 10 * 1024 * 1024
SIZES = (0.25, 0.5, 1.0, 2.0)
POLICIES = ("allkeys-lfu", "allkeys-random")
RATE = 8000
"""Requests a second to each server."""
TICK_S = 0.005
FILLING, WARM_S, BURST_S, AFTER_S = 120_000, 8.0, 12.0, 8.0
UNGUARDED = Limits(seconds=BURST_S, throughput_loss=1.0, latency_times=1e6)
"""On a machine that others use too, any server stumbles; what the guard does is shown apart."""
MEAN_BUDGET, WORST_BUDGET, COST_BUDGET = 2.0, 4.0, 5.0

Pattern = Callable[[float], int]
"""The key that is used at a moment, in seconds since the start."""

BLOB = bytes(random.Random(7).choices(range(48, 123), k=8192)).replace(b"\\", b"/")


def zipf(keys: int, exponent: float, rng: random.Random) -> Callable[[], int]:
    """Return what draws ranks from 0 by Zipf's law."""
    sums = list(itertools.accumulate(1 / (rank + 1) ** exponent for rank in range(keys)))
    return lambda: bisect(sums, rng.random() * sums[-1])


def steady(exponent: float) -> Pattern:
    draw = zipf(60_000, exponent, random.Random(1))
    return lambda _: draw()


def looping() -> Pattern:
    turn = itertools.cycle(range(30_000))
    return lambda _: next(turn)


def scanning() -> Pattern:
    rng, fresh = random.Random(2), itertools.count(10_000_000)
    draw = zipf(40_000, 0.9, rng)
    return lambda _: next(fresh) if rng.random() < 0.3 else draw()


def shifting() -> Pattern:
    draw = zipf(40_000, 1.0, random.Random(3))
    return lambda now_s: draw() + int(now_s * 400)


def mixed() -> Pattern:
    rng = random.Random(4)
    parts = (steady(1.0), looping(), scanning(), shifting())
    return lambda now_s: (part := rng.choices((0, 1, 2, 3), (5, 2, 1, 2))[0]) * 100_000_000 + parts[part](now_s)


WORKLOADS: dict[str, Callable[[], Pattern]] = {
    "Zipf 0.8": lambda: steady(0.8),
    "Zipf 1.0": lambda: steady(1.0),
    "Zipf 1.2": lambda: steady(1.2),
    "looping": looping,
    "scanning": scanning,
    "shifting": shifting,
    "mixed": mixed,
}


def size_of(key: int) -> int:
    """Return how long the value of a key is: from 32 to 4,000 bytes, most of them short."""
    return int(32 * 125 ** (((key * 2654435761) & 0xFFFFFF) / 0xFFFFFF))


class Client:
    """Reads through one server's cache: what it misses is written."""

    def __init__(self, port: int) -> None:
        self._link = socket.create_connection(("127.0.0.1", port), 10)
        self._reader = hiredis.Reader()
        self.hits = self.reads = 0

    def send(self, commands: Sequence[bytes]) -> None:
        self._link.sendall(b"".join(commands))

    def replies(self, count: int) -> list[object]:
        found: list[object] = []
        while len(found) < count:
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._link.recv(1 << 18))
            else:
                found.append(reply)
        return found

    def take(self, names: Sequence[bytes], keys: Sequence[int]) -> None:
        """Read the replies to GETs, and write what was missing."""
        replies = self.replies(len(names))
        missing = {name: key for name, key, reply in zip(names, keys, replies, strict=True) if reply is None}
        self.hits += len(names) - sum(reply is None for reply in replies)
        self.reads += len(names)
        if missing:
            self.send([_set(name, size_of(key)) for name, key in missing.items()])
            self.replies(len(missing))


def _get(name: bytes) -> bytes:
    return b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(name), name)


def _set(name: bytes, size: int) -> bytes:
    return b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, size, BLOB[:size])


class Load:
    """The same requests to all servers, at a steady pace, in a thread."""

    def __init__(self, ports: Sequence[int], pattern: Pattern) -> None:
        self.clients = [Client(port) for port in ports]
        self._pattern = pattern
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Load:
        self._fill()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _send(self, now_s: float, count: int) -> None:
        keys = [self._pattern(now_s) for _ in range(count)]
        names = [b"item:%d" % key for key in keys]
        commands = [_get(name) for name in names]
        for client in self.clients:
            client.send(commands)
        for client in self.clients:
            client.take(names, keys)

    def _fill(self) -> None:
        for done in range(0, FILLING, 100):
            self._send(done / RATE, 100)

    def _run(self) -> None:
        began, sent = time.monotonic(), 0
        while not self._stop.is_set():
            due = int((time.monotonic() - began) * RATE) - sent
            while due >= 40:
                self._send((FILLING + sent) / RATE, 40)
                sent, due = sent + 40, due - 40
            self._stop.wait(TICK_S)

    def marks(self) -> list[tuple[int, int]]:
        return [(client.hits, client.reads) for client in self.clients]

    def rates(self, since: Sequence[tuple[int, int]]) -> list[float]:
        return [
            (client.hits - hits) / max(1, client.reads - reads)
            for client, (hits, reads) in zip(self.clients, since, strict=True)
        ]


def by_libcachesim(accesses: Accesses, sizes: Sequence[int]) -> list[float] | None:
    """Return what LRU comes to by libcachesim over the same sample; None where it is not installed."""
    if importlib.util.find_spec("libcachesim") is None:
        return None
    library = importlib.import_module("libcachesim")
    before = [key for key in range(len(accesses.idle_s)) if accesses.was_there(key)]
    before.sort(key=lambda key: -accesses.idle_s[key])
    found = []
    for size in sizes:
        cache, request = library.LRU(max(1, int((size - accesses.fixed_bytes) * accesses.rate))), library.Request()
        missed, warm = 0, accesses.reads // 4
        for key in before:
            request.obj_id, request.obj_size = key, accesses.sizes_bytes[key]
            cache.get(request)
        for key, lookups in zip(accesses.keys, accesses.lookups, strict=True):
            request.obj_id, request.obj_size = key, accesses.sizes_bytes[key]
            missed += not cache.get(request) and lookups > warm
        found.append(1 - missed / max(1.0, (accesses.reads - warm) * accesses.rate))
    return found


def predict(port: int) -> None:
    """Watch a server and print what is predicted: in a process of its own, so that the load is not disturbed."""

    async def watched() -> None:
        source = await open_source(Target("redis", (Address("127.0.0.1", port),)))
        try:
            found = await observe(source, UNGUARDED)
        finally:
            await source.close()
        print(json.dumps({"burst": found.burst.line()}), flush=True)
        accesses, began = found.accesses, time.process_time()
        sizes = [round(MEMORY * share) for share in SIZES]
        stream = from_stream(accesses, sizes)
        took = time.process_time() - began
        idle = from_idle(found.idle, MEMORY, sizes, hit_rate=found.hit_rate) if found.idle else None
        others = [from_stream(accesses, [MEMORY], Rules(policy)).points[0] for policy in POLICIES]
        told = {
            "stream": [(point.hit_rate, point.low, point.high) for point in (*stream.points, *others)],
            "exact": [point.hit_rate for point in lru_exact(accesses, sizes).points],
            "libcachesim": by_libcachesim(accesses, sizes),
            "idle": {point.bytes: point.hit_rate for point in idle.points} if idle else {},
            "note": stream.note,
            "seconds": took,
            "accesses": len(accesses.keys),
        }
        print(json.dumps(told), flush=True)

    asyncio.run(watched())


def measure(title: str, program: str, name: str, pattern: Pattern) -> tuple[list[float], float]:
    """Return the errors of the predicted hit rates in points, and the throughput lost in percent."""
    limits = [("allkeys-lru", share) for share in SIZES] + [(policy, 1.0) for policy in POLICIES]
    with ExitStack() as stack:
        stores = [
            stack.enter_context(
                Store(program, 0, "--maxmemory", str(round(MEMORY * share)), "--maxmemory-policy", policy)
            )
            for policy, share in limits
        ]
        load = stack.enter_context(Load([store.port for store in stores], pattern))
        time.sleep(WARM_S)
        before, watched_at = load.marks(), time.monotonic()
        watching = subprocess.Popen(
            [sys.executable, __file__, str(stores[SIZES.index(1.0)].port)], stdout=subprocess.PIPE, text=True
        )
        assert watching.stdout is not None
        burst = json.loads(watching.stdout.readline())["burst"]
        meanwhile, marks, began = load.rates(before), load.marks(), time.monotonic()
        expected = (began - watched_at) * RATE
        lost = max(0.0, 1 - (marks[0][1] - before[0][1]) / expected)
        told = json.loads(watching.stdout.readline())
        watching.wait()
        time.sleep(max(0.0, AFTER_S - (time.monotonic() - began)))
        real = load.rates(marks)
    print(
        f"{title}, {name}: {burst}; {told['note']}; {told['accesses']:,} accesses, {told['seconds']:.1f} s for 4 sizes"
    )
    errors = []
    for at, ((policy, share), (predicted, low, high)) in enumerate(zip(limits, told["stream"], strict=True)):
        errors.append(abs(predicted - real[at]) * 100)
        words = f"  {policy:<15} x{share:<5} real {real[at]:6.1%} (in the burst {meanwhile[at]:6.1%})"
        words += f"  predicted {predicted:6.1%} ({low:.1%} to {high:.1%})"
        if at < len(SIZES):
            idle = told["idle"].get(str(round(MEMORY * share)))
            words += f"  exact LRU {told['exact'][at]:6.1%}  by idle times {'-' if idle is None else f'{idle:6.1%}'}"
            if told["libcachesim"]:
                words += f"  LRU by libcachesim {told['libcachesim'][at]:6.1%}"
        print(words, "" if low <= real[at] <= high else " outside", flush=True)
    return errors, 100 * lost


def parsing() -> float:
    """Return how many lines of MONITOR are read in a second of one core."""
    rng = random.Random(5)
    lines = [
        b'+1700000000.%06d [0 127.0.0.1:50000] "%b" "item:%d"%b\r\n'
        % (at, b"SET" if at % 4 == 0 else b"GET", rng.randrange(50_000), b' "%b"' % BLOB[:500] if at % 4 == 0 else b"")
        for at in range(100_000)
    ]
    data, best = b"".join(lines), 0.0
    for _ in range(3):
        reader, began = MonitorReader(BASIC, Sample(rate=0.05)), time.process_time()
        for at in range(0, len(data), CHUNK_BYTES):
            reader.feed(data[at : at + CHUNK_BYTES])
        best = max(best, reader.lines / (time.process_time() - began))
    return best


async def watched_full(port: int) -> Burst:
    """Watch a server that has no time to spare; what ends the burst is its own guard."""
    source = await open_source(Target("redis", (Address("127.0.0.1", port),)))
    try:
        assert isinstance(source, Streamed)
        return await source.burst(Sample(rate=0.05), Limits(seconds=5.0))
    finally:
        await source.close()


def full_server(program: str, depth: int) -> None:
    """Print what a burst does to a server under all the load that redis-benchmark makes."""
    argv = ["redis-benchmark", "-t", "get", "-n", "1000000000", "-r", "50000", "-c", "20", "-P", str(depth), "-q"]
    with Store(program, 10_000) as store:
        load = subprocess.Popen([*argv, "-p", str(store.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1.0)
            burst = asyncio.run(watched_full(store.port))
        finally:
            load.kill()
            load.wait()
    rate = burst.lines / burst.seconds
    print(f"a full server, pipelines of {depth}: {burst.line()}; {rate:,.0f} commands/s read")
    lost = burst.loss_over(60.0)
    if lost is not None:
        show(f"a full server, pipelines of {depth}, one burst a minute: lost", 100 * lost, "%", COST_BUDGET)


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1].isdigit():
        predict(int(sys.argv[1]))
        return
    chosen = sys.argv[1:] or list(WORKLOADS)
    (title, program), *further = engines().items()
    show("100,000 lines of MONITOR read and sampled", 100_000 / parsing(), "s", 1.0)
    if shutil.which("redis-benchmark") is not None and len(chosen) == len(WORKLOADS):
        for depth in (1, 16):
            full_server(program, depth)
    sized, others, costs = list[float](), list[float](), list[float]()
    runs = [(title, program, name) for name in chosen]
    if len(chosen) == len(WORKLOADS):
        runs += [(other, path, "mixed") for other, path in further]
    for title, program, name in runs:
        errors, cost = measure(title, program, name, WORKLOADS[name]())
        sized += errors[: len(SIZES)]
        others += errors[len(SIZES) :]
        costs.append(cost)
    show("predicted hit rate at other sizes, mean error", sum(sized) / len(sized), "pts", MEAN_BUDGET)
    show("predicted hit rate at other sizes, worst error", max(sized), "pts", WORST_BUDGET)
    show("predicted hit rate of other policies, mean error", sum(others) / len(others), "pts")
    show("predicted hit rate of other policies, worst error", max(others), "pts")
    show("requests not served in time while watched, mean", sum(costs) / len(costs), "%", COST_BUDGET)


if __name__ == "__main__":
    main()
