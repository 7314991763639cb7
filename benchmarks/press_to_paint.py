"""From a press to the first byte of the answer, in a 120x40 terminal on a quiet server."""

from __future__ import annotations

import asyncio
import random
import socket
import sys

from _figures import percentile, show
from _terminal import Terminal

from cachetui.demo import servers

KEYS = 10_000
PRESSES = 250
SEED = 11
P99_BUDGET_MS = 50.0
BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    presses = 0
    def compose(self):
        yield Static("Overview")
    def on_key(self):
        self.presses += 1
        self.query_one(Static).update(str(self.presses))
Bare().run()
"""


def fill(port: int) -> None:
    """Write the keys in one pipeline."""
    with socket.create_connection(("127.0.0.1", port), 5) as link:
        link.sendall(b"".join(b"SET user:%d:name v%d\r\n" % (number, number) for number in range(KEYS)))
        left = KEYS * len(b"+OK\r\n")
        while left > 0:
            left -= len(link.recv(1 << 16))


def measure(terminal: Terminal, presses: list[bytes], chance: random.Random) -> tuple[list[float], int]:
    """Return the times in milliseconds, and how many presses nothing answered."""
    times: list[float] = []
    for press in presses:
        # An irregular wait, so that presses do not fall into step with the frames.
        terminal.watch(chance.uniform(0.04, 0.1))
        took = terminal.press(press)
        if took is not None:
            times.append(took * 1000)
    return times, len(presses) - len(times)


def tell(what: str, times: list[float], unanswered: int, budget_ms: float | None = P99_BUDGET_MS) -> None:
    show(f"{what}, p50", percentile(times, 50), "ms")
    show(f"{what}, p99", percentile(times, 99), "ms", budget_ms)
    if unanswered:
        print(f"{what}: {unanswered} of {unanswered + len(times)} presses changed nothing on the screen")


async def main() -> None:
    server = await servers.start(servers.find_redis())
    chance = random.Random(SEED)
    with Terminal([sys.executable, "-c", BARE]) as bare:
        bare.wait_for(b"Overview")
        bare.watch(1.0)
        # What this machine can do at this moment: on a busy one nobody holds the budget.
        tell("a bare Textual app", *measure(bare, [b"j"] * PRESSES, chance), None)
    try:
        fill(server.port)
        with Terminal([sys.executable, "-m", "cachetui", server.url]) as terminal:
            terminal.wait_for(b"Overview")
            terminal.watch(2.0)
            views = [b"2", b"4", b"5", b"1"]
            for press in views:  # each view is made on its first use
                terminal.press(press)
                terminal.watch(1.0)
            tell("switching views", *measure(terminal, views * (PRESSES // 8), chance))
            terminal.press(b"2")
            terminal.watch(1.0)
            terminal.press(b"v")
            terminal.watch(1.5)
            tell("moving the cursor in Keys", *measure(terminal, [b"j", b"j", b"k"] * (PRESSES // 3), chance))
    finally:
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main())
