"""A password shows neither in what `ps` shows, nor in a recording, nor on a terminal that asks for it."""

from __future__ import annotations

import gzip
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.launch import Server
from tests.servers.program import Running
from tests.ui.terminal import Terminal


@pytest.fixture
def locked(new_server: Callable[..., Server]) -> Server:
    return new_server("redis7", "--requirepass", "hunter2secret")


@pytest.mark.parametrize("form", ["-a", "--pass=", "url"])
def test_the_command_line_of_the_process_is_cleaned(locked: Server, tmp_path: Path, form: str) -> None:
    target = [locked.address, "-a", "hunter2secret"]
    if form == "--pass=":
        target = [locked.address, "--pass=hunter2secret", "--no-auth-warning"]
    if form == "url":
        target = [f"redis://default:hunter2secret@{locked.address}"]
    with Running("record", *target, str(tmp_path / "r")) as running:
        while "recording" not in running.first_word():
            pass
        shown = Path(f"/proc/{running.process.pid}/cmdline").read_bytes()
        assert b"hunter2secret" not in shown and b"*************" in shown and b"record" in shown
        assert running.end(signal.SIGTERM) == 0


def test_a_recording_holds_no_password(locked: Server, tmp_path: Path) -> None:
    with locked.client(password="hunter2secret") as client:
        client.set("leak", "hunter2secret")
        client.config_set("slowlog-log-slower-than", 0)
        client.execute_command("ECHO", "hunter2secret")
    path = tmp_path / "r"
    with Running("record", f"redis://:hunter2secret@{locked.address}", str(path), "--values", "5") as running:
        assert "recording" in running.first_word()
        deadline = time.monotonic() + 15
        while path.stat().st_size < 2000 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert running.end(signal.SIGINT) == 0
    content = gzip.decompress(path.read_bytes())
    assert b'"Stats"' in content and b"hunter2secret" not in content
    assert path.stat().st_mode & 0o077 == 0


def test_the_terminal_that_is_asked_echoes_nothing(locked: Server) -> None:
    locked.client(password="hunter2secret").set("seen", "1")
    with Terminal("keys", locked.address, "--askpass") as terminal:
        terminal.wait_for("Password:")
        terminal.press("hunter2secret\n")
        terminal.wait_for("seen")
        assert terminal.end() == 0
        terminal.read(0.2)
        assert b"hunter2secret" not in terminal.output
