"""What runs for a while: record and replay, the demo, the dashboard; and how each of them ends."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from cachetui.model import Stats
from cachetui.source.recording import read_recording
from tests.servers.launch import Server, free_port
from tests.servers.program import Running, run, wait_until_gone
from tests.ui.terminal import Terminal


def test_record_keeps_snapshots_and_keys(redis7: Server, tmp_path: Path) -> None:
    redis7.command("SET", "user:1", "x")
    path = tmp_path / "run.rec"
    done = run("record", redis7.url, str(path), "--duration", "1.5", "--interval", "0.2", "--values", "1")
    assert done.code == 0 and done.raw == b""
    header, entries = read_recording(path)
    items = [entry.item for entry in entries]
    assert header.target == f"{redis7.url}/0"
    assert sum(isinstance(item, Stats) for item in items) >= 3
    assert {type(item).__name__ for item in items} >= {
        "SlowLog",
        "ClientList",
        "Topology",
        "ScanStep",
        "KeyFactsList",
        "Value",
    }
    again = run("record", redis7.url, str(path))
    assert again.code == 2 and "exists already" in again.line()
    assert run("record", redis7.url, str(path), "--force", "--duration", "0.2", "--keys", "0").code == 0


def test_record_of_nothing_leaves_no_file(tmp_path: Path) -> None:
    done = run("record", f"redis://127.0.0.1:{free_port()}", str(tmp_path / "r"))
    assert done.code == 3 and "refused the connection" in done.line()
    assert not (tmp_path / "r").exists()


def test_replay_shows_the_recording(redis7: Server, tmp_path: Path) -> None:
    redis7.command("SET", "user:1", "x")
    path = tmp_path / "run.rec"
    assert run("record", redis7.url, str(path), "--duration", "1").code == 0
    with Terminal("replay", str(path)) as terminal:
        terminal.wait_for(str(redis7.port))
        terminal.press("q")
        assert terminal.end() == 0


def test_replay_of_something_else_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello")
    done = run("replay", str(tmp_path / "x"))
    assert done.code == 2 and "not a" in done.line()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_demo_ends_with_everything_it_started(number: signal.Signals) -> None:
    with Running("demo", "--no-ui") as running:
        url = running.first_line()
        assert url.startswith("redis://127.0.0.1:")
        assert "live workload" in running.first_word()
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
        assert children
        assert run("analyze", url, "--json").json()["server"]["kind"] == "valkey"
        assert running.end(number) == 0
    for child in children:
        wait_until_gone(int(child))
    assert run("analyze", url).code == 3


def test_the_demo_ends_after_its_duration() -> None:
    done = run("demo", "--no-ui", "--memcached", "--duration", "1", "--rate", "100")
    assert done.code == 0 and done.out.startswith("memcached://127.0.0.1:") and "memcached" in done.line()


def test_a_killed_demo_leaves_nothing() -> None:
    with Running("demo", "--no-ui") as running:
        url = running.first_line()
        running.end(signal.SIGKILL)
    deadline = time.monotonic() + 15
    while run("topology", url).code == 0:
        assert time.monotonic() < deadline


def test_the_dashboard_opens_and_quits(redis7: Server) -> None:
    with Terminal("-h", "127.0.0.1", "-p", str(redis7.port), "--slow-link") as terminal:
        terminal.wait_for("primary")
        terminal.press("q")
        assert terminal.end() == 0


def test_ctrl_c_ends_a_command_quietly(redis7: Server) -> None:
    with Running("analyze", redis7.url, "--sample", "60") as running:
        assert "sampling" in running.first_word()
        assert running.end(signal.SIGINT) == 130
        assert running.process.stderr is not None and running.process.stderr.read() == b""
