"""From a press to the first byte of the answer while keys are enumerated at full speed, at 120x40."""

from __future__ import annotations

import argparse
import random
import sys

from _figures import percentile, show
from _store import Store, engines
from _terminal import Terminal

KEYS = 1_000_000
PRESSES = [b"j", b"k", b"z", b"z", b"1", b"2"]
ROUNDS = 40
SEED = 7
P99_BUDGET_MS = 50.0


def begin_again(terminal: Terminal) -> None:
    """Wait until nothing runs, and have all keys enumerated once more."""
    while terminal.watch(1.2) > 3000:
        continue
    terminal.press(b"K")
    terminal.watch(0.4)
    terminal.press(b"\r")
    terminal.wait_anew(b"scanning", 10.0)


def measure(terminal: Terminal, chance: random.Random) -> tuple[list[float], int]:
    """Return milliseconds of the presses answered while a scan ran, and how many scans that took."""
    times: list[float] = []
    scans = 0
    while len(times) < ROUNDS * len(PRESSES):
        begin_again(terminal)
        scans += 1
        for press in PRESSES * 3:  # shorter than a scan
            terminal.watch(chance.uniform(0.02, 0.06))
            took = terminal.press(press, 0.5)
            if took is not None:
                times.append(took * 1000)
    return times, scans


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
        times, scans = measure(terminal, chance)
    print(f"{len(times)} presses in {scans} scans of {keys:,} keys")
    show("press to paint while scanning, p50", percentile(times, 50), "ms")
    show("press to paint while scanning, p99", percentile(times, 99), "ms", P99_BUDGET_MS)


if __name__ == "__main__":
    main()
