"""What the dashboard costs the server: share of one core at the 1 s interval, with 1,000 idle clients connected."""

from __future__ import annotations

import asyncio
import resource
import socket
import sys
import time
from contextlib import ExitStack

from _figures import show
from _terminal import Terminal

from cachetui.demo import servers

CLIENTS = 1000
SPAN_S = 12.0
SETTLE_S = 4.0
BUDGET_PERCENT = 0.5
VIEWS = (("Overview", b"1"), ("Clients", b"5"))


class Meter:
    """The server's own measure of its processor time, read over one connection."""

    def __init__(self, port: int) -> None:
        self._link = socket.create_connection(("127.0.0.1", port), 2)
        self._answers = self._link.makefile("rb")
        self.last_at, self.last_s = 0.0, 0.0

    def used_s(self) -> float:
        self._link.sendall(b"INFO cpu\r\n")
        body = self._answers.read(int(self._answers.readline()[1:]) + 2).decode()
        fields = dict(line.split(":", 1) for line in body.splitlines() if ":" in line)
        return float(fields["used_cpu_user"]) + float(fields["used_cpu_sys"])

    def start(self) -> None:
        self.last_at, self.last_s = time.perf_counter(), self.used_s()

    def percent(self) -> float:
        """Return the share of one core since `start`."""
        return 100 * (self.used_s() - self.last_s) / (time.perf_counter() - self.last_at)


def alone_percent(meter: Meter) -> float:
    meter.start()
    time.sleep(SPAN_S)
    return meter.percent()


def watched_percent(meter: Meter, url: str, press: bytes) -> float:
    with Terminal([sys.executable, "-m", "cachetui", url]) as terminal:
        terminal.wait_for(b"Overview")
        terminal.watch(1.0)
        terminal.press(press)
        terminal.watch(SETTLE_S)
        meter.start()
        terminal.watch(SPAN_S)
        return meter.percent()


async def main() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    server = await servers.start(servers.find_redis())
    try:
        with ExitStack() as stack:
            for _ in range(CLIENTS):
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 2))
            meter = Meter(server.port)
            for view, press in VIEWS:
                before = alone_percent(meter)
                with_us = watched_percent(meter, server.url, press)
                alone = (before + alone_percent(meter)) / 2
                show(f"server alone with {CLIENTS} idle clients", alone, "%")
                show(f"our cost to it, {view} at 1 s", with_us - alone, "%", BUDGET_PERCENT)
    finally:
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main())
