"""A list of 1,000,000 rows on a slow link, a press held down for five seconds: press to painted, bytes a second.

A page is several KB: so many pages a second as presses come do not fit into the budget of bytes.
Pages are drawn as the link takes them, and only the bytes have a budget there.
"""

from __future__ import annotations

import argparse
import sys
import time

from _figures import percentile, show
from _store import PREFIX, Store, engines
from _terminal import Terminal

KEYS = 1_000_000
HELD_S = 5.0
REPEATS_PER_S = 30.0
"""How often a keyboard repeats a press that is held down."""
FRAME_BUDGET_MS = 50.0
BYTES_BUDGET_KB_S = 25.0
PRESSES = {"j": (b"j", FRAME_BUDGET_MS), "page down": (b"\x1b[6~", None)}
"""What is held down, and the budget of a frame."""
LISTED_S = 60.0


def listed(terminal: Terminal) -> None:
    """Go to the flat list, and wait until it holds all keys."""
    terminal.wait_for(b"Overview")
    terminal.watch(2.0)
    terminal.press(b"2")
    terminal.watch(1.0)
    terminal.press(b"v")
    terminal.wait_for(PREFIX.encode() + b":10", LISTED_S)
    while terminal.watch(2.0) > 1000:  # the scan goes on, and the listing follows it
        continue


def hold(terminal: Terminal, press: bytes) -> tuple[list[float], float]:
    """Press again and again for five seconds; return milliseconds until the screen moved on, and KB a second."""
    while terminal.read(0):
        continue
    frames: list[float] = []
    before, began = terminal.received, time.perf_counter()
    pressed = began
    waiting: list[float] = []
    while (now := time.perf_counter()) < began + HELD_S:
        if now >= pressed:
            terminal.write(press)
            waiting.append(now)
            pressed += 1 / REPEATS_PER_S
        if terminal.read(min(pressed, began + HELD_S) - time.perf_counter()) and waiting:
            # What is painted answers all presses before it: the oldest waited longest.
            frames.append((time.perf_counter() - waiting[0]) * 1000)
            waiting.clear()
    return frames, (terminal.received - before) / HELD_S / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=KEYS)
    keys = parser.parse_args().keys
    with Store(next(iter(engines().values())), keys) as store:
        argv = [sys.executable, "-m", "cachetui", "--slow-link", f"redis://127.0.0.1:{store.port}"]
        with Terminal(argv) as terminal:
            listed(terminal)
            for name, (press, budget_ms) in PRESSES.items():
                frames, kilobytes = hold(terminal, press)
                print(f"{name}: {len(frames)} frames for {round(HELD_S * REPEATS_PER_S)} presses")
                show(f"{name} held down, press to painted, p50", percentile(frames, 50), "ms")
                show(f"{name} held down, press to painted, p99", percentile(frames, 99), "ms", budget_ms)
                show(f"{name} held down, terminal output", kilobytes, "KB/s", BYTES_BUDGET_KB_S)
                terminal.watch(1.0)


if __name__ == "__main__":
    main()
