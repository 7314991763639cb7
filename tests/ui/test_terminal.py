"""The real program in a real terminal: silent when nothing happens, clean and complete when it ends, plain if asked."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.launch import Server
from tests.servers.program import wait_until_gone
from tests.ui.terminal import Terminal

SETTLED_S = 6.0
WATCHED_S = 14
RECORDING = Path(__file__).parents[1] / "replies" / "demo.rec"
STYLE = re.compile(rb"\x1b\[([\d;]*)m")
PLAIN = {b"", b"0", b"1", b"2", b"7", b"39", b"49"}
"""Reset, bold, dim, reverse, and the terminal's own two colours."""
RESTORED = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?1003l")
"""The first screen, the cursor, and the mouse as it was."""


def restored(terminal: Terminal) -> bool:
    """Whether the last word on each mode was to restore it."""
    output = bytes(terminal.output)
    return all(output.rfind(off) > output.rfind(off[:-1] + (b"l" if off.endswith(b"h") else b"h")) for off in RESTORED)


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes that this one started, and theirs."""
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        yield child
        yield from descendants(child)


def visit_all(terminal: Terminal, views: str = "2345891") -> None:
    for view in views:
        terminal.press(view)
        terminal.settle(0.1)


@pytest.mark.parametrize("kind", ["redis7", "memcached"])
def test_nothing_is_sent_while_nothing_changes(new_server: Callable[..., Server], kind: str) -> None:
    """What only our own polls move redraws nothing. (A trend steps every 10 s; a busy machine does change latency.)"""
    server = new_server(kind)
    target = server.url if kind == "redis7" else f"memcached://{server.address}"
    with Terminal(target) as terminal:
        terminal.wait_for("live")
        terminal.read(SETTLED_S)
        written = [len(terminal.read(1.0)) for _ in range(WATCHED_S)]
        assert written.count(0) > WATCHED_S // 2, f"{written}, at last {bytes(terminal.output[-300:])!r}"
        terminal.press("q")
        assert terminal.end() == 0 and restored(terminal)


@pytest.mark.parametrize("how", ["q", "ctrl-q", "ctrl-c", "SIGTERM", "SIGHUP", "hang up"])
def test_however_the_demo_ends_nothing_of_it_stays(how: str) -> None:
    with Terminal("demo") as terminal:
        terminal.wait_for("hit rate")
        started = list(descendants(terminal.process.pid))
        assert len(started) >= 2, "a supervisor and a server"
        if how == "hang up":
            terminal.hang_up()
        elif how.startswith("SIG"):
            terminal.process.send_signal(signal.Signals[how])
        else:
            terminal.press({"q": "q", "ctrl-q": "\x11", "ctrl-c": "\x03"}[how])
        terminal.end()
        for pid in started:
            wait_until_gone(pid)
        assert how == "hang up" or restored(terminal)


def test_ctrl_c_leaves_a_dialog_and_sends_nothing(redis7: Server) -> None:
    redis7.command("SET", "user:1", "x")
    with Terminal(redis7.url) as terminal:
        terminal.wait_for("user:")
        terminal.press("2vd")
        terminal.wait_for("UNLINK")
        terminal.press("\x03")
        assert terminal.end() == 0 and restored(terminal)
    assert redis7.command("EXISTS", "user:1") == 1


def test_only_ascii_is_drawn_if_asked(redis7: Server) -> None:
    redis7.command("HSET", "user:" + 200 * "long", "field", "value")
    with Terminal(redis7.url, "--ascii") as terminal:
        terminal.wait_for("user:")
        visit_all(terminal)
        for press in ("2", "v", "\r", "d", "\x1b", "?", "\x1b", ":", "\x1b", "/"):
            terminal.press(press)
            terminal.settle(0.15)
        terminal.press("\x03")
        assert terminal.end() == 0
    assert bytes(terminal.output).isascii()


@pytest.mark.parametrize("arguments", [("--no-color",), ()], ids=["option", "NO_COLOR"])
def test_no_colour_is_sent_if_asked(redis7: Server, arguments: tuple[str, ...]) -> None:
    redis7.command("SET", "user:1", "x")
    with Terminal(redis7.url, *arguments, env={} if arguments else {"NO_COLOR": "1"}) as terminal:
        terminal.wait_for("user:")
        visit_all(terminal)
        terminal.press("?")
        terminal.settle(0.2)
        terminal.press("\x03")
        assert terminal.end() == 0
    sent = {code for codes in STYLE.findall(bytes(terminal.output)) for code in codes.split(b";")}
    assert sent <= PLAIN
    assert b"7" in sent, "the cursor's row is not to be seen"


@pytest.mark.parametrize(
    ("columns", "rows", "env", "arguments"),
    [
        (120, 40, {"TERM": "dumb", "COLORTERM": ""}, ()),
        (120, 40, {"TERM": ""}, ()),
        (80, 24, {"TERM": "linux", "COLORTERM": ""}, ("--slow-link", "--theme", "terminal")),
        (10, 20, {}, ()),
        (3, 2, {}, ()),
    ],
    ids=["dumb", "none", "linux", "10x20", "3x2"],
)
def test_poor_and_tiny_terminals(
    redis7: Server, columns: int, rows: int, env: dict[str, str], arguments: tuple[str, ...]
) -> None:
    redis7.command("SET", "user:1", "x")
    with Terminal(redis7.url, *arguments, columns=columns, rows=rows, env=env) as terminal:
        terminal.settle(0.5)
        visit_all(terminal)
        terminal.resize(120, 40)
        terminal.wait_for("primary")
        terminal.resize(columns, rows)
        visit_all(terminal, "21")
        terminal.press("q")
        assert terminal.end() == 0 and restored(terminal)
    assert "Traceback" not in terminal.text() and "internal error" not in terminal.text()


def test_a_recording_is_replayed_paused_and_stepped() -> None:
    with Terminal("replay", str(RECORDING)) as terminal:
        terminal.wait_for("hit rate")
        terminal.wait_for("fragment:")
        terminal.press("P")
        at = terminal.wait_for("paused")
        for _ in range(2):
            terminal.press(".")
            at = terminal.wait_for("paused", since=at)
        terminal.settle(1.5)
        stood = len(terminal.output)
        terminal.press("d")
        terminal.settle(0.3)
        terminal.press("P")
        terminal.wait_for("1x", since=stood)
        terminal.press("q")
        assert terminal.end() == 0 and restored(terminal)


def test_a_password_from_the_environment_is_never_shown(new_server: Callable[..., Server]) -> None:
    secret = "s3cret-of-the-cache"
    server = new_server("redis7", "--requirepass", secret)
    for env in (
        {"REDISCLI_AUTH": secret, "CACHETUI_URL": server.url},
        {"REDIS_URL": f"redis://:{secret}@{server.address}"},
    ):
        with Terminal(env=env) as terminal:
            terminal.wait_for("live")
            visit_all(terminal)
            terminal.press("q")
            assert terminal.end() == 0
        assert secret.encode() not in terminal.output
    with Terminal(f"redis://:wrong-{secret}@{server.address}", "--read-only") as terminal:
        terminal.wait_for("password")
        terminal.press("q")
        terminal.end()
    assert secret.encode() not in terminal.output
    assert os.environ.get("REDISCLI_AUTH") is None
