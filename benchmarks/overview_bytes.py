"""Bytes a second that the Overview sends to a 120x40 truecolor terminal: busy, idle, and frozen."""

from __future__ import annotations

import asyncio
import sys

from _figures import show
from _terminal import Terminal

from cachetui.demo import servers
from cachetui.demo.run import Demo

SETTLE_S = 8.0
WATCH_S = 30.0
BUSY_BUDGET = 2048.0


def bytes_per_s(url: str, press: bytes = b"") -> float:
    """Return the average once the screen has settled, after `press` if there is one."""
    with Terminal([sys.executable, "-m", "cachetui", url]) as terminal:
        terminal.wait_for(b"Overview")
        terminal.watch(SETTLE_S)
        if press:
            terminal.press(press)
            terminal.watch(SETTLE_S)
        return terminal.watch(WATCH_S) / WATCH_S


async def main() -> None:
    async with Demo() as demo:
        show("steady Overview on the live demo", bytes_per_s(demo.url), "B/s", BUSY_BUDGET)
        show("frozen Overview on the live demo", bytes_per_s(demo.url, b"f"), "B/s", 0.0)
    server = await servers.start(servers.find_redis())
    try:
        # Nobody but us asks this server anything. Its age in minutes may step once in this time.
        show("steady Overview on an idle server", bytes_per_s(server.url), "B/s", 0.0)
    finally:
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main())
