"""What the running program writes to a real terminal: how much, and how it leaves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.servers.launch import Server
from tests.ui.terminal import Terminal

BUDGET_BYTES_PER_S = 2048
WINDOW_S = 12.0


def test_the_steady_overview_stays_under_its_budget() -> None:
    with Terminal("demo") as terminal:
        terminal.wait_for("leaderboard:")
        terminal.read(10)  # the demo fills its server first
        before, began = len(terminal.output), time.monotonic()
        terminal.read(WINDOW_S)
        spent = len(terminal.output) - before
        assert 0 < spent / (time.monotonic() - began) < BUDGET_BYTES_PER_S
        terminal.press("q")
        assert terminal.end() == 0


def test_a_killed_server_is_stale_and_its_return_is_live(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    with Terminal(server.url) as terminal:
        terminal.wait_for("live")
        server.kill()
        gone = terminal.wait_for("STALE")
        server.start()
        terminal.wait_for("live", since=gone)
        terminal.press("q")
        assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_restores_the_terminal(redis7: Server, number: signal.Signals) -> None:
    with Terminal(redis7.url) as terminal:
        terminal.wait_for("live")
        terminal.process.send_signal(number)
        terminal.end()
        for sequence in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l"):
            assert sequence in terminal.output


def test_a_lost_terminal_ends_it(redis7: Server) -> None:
    with Terminal(redis7.url) as terminal:
        terminal.wait_for("live")
        os.close(terminal.master)
        terminal.master = os.open(os.devnull, os.O_RDWR)
        assert terminal.process.wait(15) in (0, 128 + signal.SIGHUP)


def test_a_password_is_never_written(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7", "--requirepass", "very-secret-word")
    with Terminal(f"redis://:very-secret-word@{server.address}") as terminal:
        terminal.wait_for("live")
        for view in "234589":
            terminal.press(view)
            terminal.settle(0.2)
        terminal.press("q")
        assert terminal.end() == 0
    assert b"very-secret" not in terminal.output
