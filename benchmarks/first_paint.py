"""First paint of the dashboard against a bare Textual app: runs take turns, medians are compared.

Both are timed from the start of their process until the word "Overview" is on the wire.
"""

from __future__ import annotations

import asyncio
import sys
from statistics import median

from _figures import show
from _terminal import Terminal

from cachetui.demo import servers

RUNS = 12
BUDGET_RATIO = 1.3
BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    def compose(self):
        yield Static("Overview")
Bare().run()
"""


def first_paint_s(argv: list[str]) -> float:
    with Terminal(argv) as terminal:
        return terminal.wait_for(b"Overview")


async def main() -> None:
    server = await servers.start(servers.find_redis())
    try:
        programs = {"bare": ["-c", BARE], "ours": ["-m", "cachetui", server.url]}
        times: dict[str, list[float]] = {name: [] for name in programs}
        for turn in range(RUNS + 1):
            for name, argv in programs.items():
                took = first_paint_s([sys.executable, *argv])
                if turn:  # the first turn warms the disk's cache
                    times[name].append(took)
    finally:
        await server.stop()
    bare, ours = median(times["bare"]), median(times["ours"])
    show("first paint, a bare Textual app (median)", bare * 1000, "ms")
    show("first paint, the dashboard (median)", ours * 1000, "ms")
    show("first paint, the dashboard over the bare app", ours / bare, "x", BUDGET_RATIO)


if __name__ == "__main__":
    asyncio.run(main())
