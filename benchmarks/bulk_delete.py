"""Half of a million keys deleted by pattern, without and with a way back, beside redis-cli and xargs."""

from __future__ import annotations

import asyncio
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _bystander import Bystander
from _figures import percentile, show
from _store import PREFIX, Store, engines

from cachetui.actions.apply import Guard, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import plan_sweep
from cachetui.config import Address, Target
from cachetui.model import Estimate, Keep, Operation, Selection
from cachetui.source.connect import open_source

KEYS = 1_000_000
PATTERN = f"{PREFIX}:*[02468]"
ROUNDS = 3
TIMES, UNDO_TIMES = 3, 1.5
PACE_MS, PACE_RATE = 2.0, 50_000
FLAT_TIMES = 1.25
"""Four times the keys may take this much of the memory."""

Engine = tuple[str, str]


def delete(port: int, undo: bool, rate: float | None = None, p99_ms: float | None = None) -> tuple[float, int, float]:
    """Delete as the program does; return seconds, keys, and the process's largest memory in MB."""

    async def inside(journal: Path) -> tuple[float, int]:
        source = await open_source(Target("redis", (Address("127.0.0.1", port),)))
        try:
            identity = source.identity or await source.open()
            selection, keep = Selection(pattern=PATTERN.encode()), Keep() if undo else None
            plan = plan_sweep(
                identity,
                source.name,
                selection,
                Operation("delete"),
                Estimate(None),
                keep=keep,
                rate=rate,
                p99_ms=p99_ms,
            )
            began = time.perf_counter()
            outcome = await apply(plan, source, journal=Journal(journal), guard=Guard(read_only=False))
            assert outcome.state == "done", outcome.line()
            return time.perf_counter() - began, outcome.done
        finally:
            await source.close()

    with tempfile.TemporaryDirectory() as directory:
        took_s, done = asyncio.run(inside(Path(directory) / "journal.jsonl"))
    return took_s, done, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(port: int, *options: str) -> tuple[float, int, float]:
    """Run `delete` in a process of its own."""
    told = subprocess.run([sys.executable, __file__, str(port), *options], capture_output=True, text=True, check=True)
    took, done, memory = told.stdout.split()
    return float(took), int(done), float(memory)


def by_redis_cli(port: int) -> float:
    command = f"redis-cli -p {port} --scan --pattern '{PATTERN}' | xargs -n 1000 redis-cli -p {port} unlink"
    began = time.perf_counter()
    subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def refill(store: Store, keys: int) -> None:
    store.ask("FLUSHALL")
    store.ask(f"DEBUG POPULATE {keys} {PREFIX}")


def measure(title: str, program: str) -> None:
    best: dict[str, float] = {}
    memory: dict[int, float] = {}
    with Store(program, 0) as store:
        for _ in range(ROUNDS):  # in turn, so that a busy moment meets all of them
            refill(store, KEYS)
            best["cli"] = min(best.get("cli", 1e9), by_redis_cli(store.port))
            for what in ("no-undo", "undo"):
                refill(store, KEYS)
                took_s, done, memory[KEYS] = apart(store.port, what)
                assert done == KEYS // 2, done
                best[what] = min(best.get(what, 1e9), took_s)
        refill(store, KEYS // 4)
        memory[KEYS // 4] = apart(store.port, "undo")[2]
        refill(store, KEYS)
        with Bystander(store.port) as beside:
            apart(store.port, "undo", str(PACE_RATE), str(PACE_MS))
    show(f"{title}: redis-cli --scan | xargs redis-cli unlink", best["cli"], "s")
    show(f"{title}: ours, no undo, a third of that", best["no-undo"], "s", best["cli"] / TIMES)
    show(f"{title}: ours, with undo", best["undo"], "s", best["cli"] / UNDO_TIMES)
    show(f"{title}: memory, a quarter of the keys", memory[KEYS // 4], "MB")
    show(f"{title}: memory, all of them", memory[KEYS], "MB", memory[KEYS // 4] * FLAT_TIMES)
    show(f"{title}: another client's p99 at {PACE_RATE:,} keys/s", percentile(beside.waits_ms, 99), "ms", PACE_MS)


def main() -> None:
    if len(sys.argv) > 1:
        rate, p99_ms = (float(sys.argv[3]), float(sys.argv[4])) if len(sys.argv) > 3 else (None, None)
        print(*delete(int(sys.argv[1]), sys.argv[2] == "undo", rate, p99_ms))
        return
    if shutil.which("redis-cli") is None:
        sys.exit("redis-cli is missing: there is nothing to compare with")
    for title, program in engines().items():
        measure(title, program)


if __name__ == "__main__":
    main()
