"""From a press to the first byte of the answer while keys are enumerated at full speed, at 120x40."""

from __future__ import annotations

import argparse
import random
import sys
import time

from _figures import percentile, show
from _store import Store, engines
from _terminal import Terminal

KEYS = 1_000_000
PRESSES = [b"j", b"j", b"k", b"z", b"z", b"1", b"2"]
ROUNDS = 40
SEED = 7
P99_BUDGET_MS = 50.0
MEASURED_S = 60.0


def scan_calls(store: Store) -> int:
    """Return how many SCAN the server has answered."""
    for line in store.read("INFO commandstats").splitlines():
        if line.startswith(b"cmdstat_scan:calls="):
            return int(line.partition(b"=")[2].partition(b",")[0])
    return 0


def measure(terminal: Terminal, store: Store, chance: random.Random) -> tuple[list[float], int]:
    """Return milliseconds of the presses during which the scan went on, and how many nothing answered."""
    times: list[float] = []
    unanswered = 0
    deadline = time.monotonic() + MEASURED_S
    while len(times) < ROUNDS * len(PRESSES) and time.monotonic() < deadline:
        for press in PRESSES:
            terminal.watch(chance.uniform(0.02, 0.06))
            before = scan_calls(store)
            took = terminal.press(press, 1.0)
            if scan_calls(store) == before:
                terminal.press(b"r", 0.1)  # the scan has ended: once more
            elif took is None:
                unanswered += 1
            else:
                times.append(took * 1000)
    return times, unanswered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=KEYS)
    keys = parser.parse_args().keys
    chance = random.Random(SEED)
    with (
        Store(next(iter(engines().values())), keys) as store,
        Terminal([sys.executable, "-m", "cachetui", f"redis://127.0.0.1:{store.port}"]) as terminal,
    ):
        terminal.wait_for(b"Overview")
        terminal.watch(3.0)
        for press in (b"2", b"1", b"2"):  # each view is made on its first use
            terminal.press(press)
            terminal.watch(1.0)
        terminal.press(b"v")  # each row of the flat list is a key
        while terminal.watch(2.0) > 1000:
            continue
        times, unanswered = measure(terminal, store, chance)
    print(f"{len(times)} presses while {keys:,} keys were scanned; {unanswered} more changed nothing on the screen")
    show("press to paint while scanning, p50", percentile(times, 50), "ms")
    show("press to paint while scanning, p99", percentile(times, 99), "ms", P99_BUDGET_MS)


if __name__ == "__main__":
    main()
