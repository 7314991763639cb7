"""The hottest keys by a press: found, told apart, opened; and the look ends when it is not wanted any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from cachetui.model.burst import Limits
from cachetui.ui import foresight, hottest
from cachetui.ui.screens.dialog import Choice, Prompt
from cachetui.ui.screens.preview import Preview
from tests.contract.memcached_targets import Plain
from tests.servers.launch import Server
from tests.ui.conftest import Open, Screen

QUICK = Limits(seconds=0.5, aside_s=0.1, throughput_loss=1.0, latency_times=1e6)
LONG = Limits(seconds=60.0, aside_s=0.1, throughput_loss=1.0, latency_times=1e6)


@contextmanager
def using(server: Server) -> Iterator[None]:
    """Read one key more than others, at a rate that leaves the screen some time."""
    stop = threading.Event()

    def run() -> None:
        with server.client(client_name="shop") as client:
            while not stop.wait(0.01):
                with client.pipeline(transaction=False) as pipe:
                    for number in range(10):
                        pipe.get("hot:one\x1b")
                        pipe.get(f"cold:{number}")
                    pipe.hset("basket:7", "a", "1")
                    pipe.execute()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


async def activity(screen: Screen) -> None:
    await screen.press("7")
    await screen.until(lambda: screen.app.view_id == "activity")
    await screen.until(lambda: screen.live.feeds.latest.get("stats") is not None)


async def found(screen: Screen) -> None:
    await screen.until(lambda: screen.live.hot.tables and not screen.live.hot.busy)


async def test_a_press_finds_the_hottest_and_enter_opens_it(
    redis7: Server, dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hottest, "LISTEN", QUICK)
    redis7.command("SET", "hot:one\x1b", "its value")
    with using(redis7):
        async with dashboard(redis7.url) as screen:
            await activity(screen)
            await screen.press("N")
            await found(screen)
            await screen.until(lambda: "hot:one\\x1b" in screen.text("#activity-pane"))
            assert "ended by time" in screen.text("#activity-pane")
            seen = []
            for _ in range(4):
                await screen.press("b")
                seen.append(screen.text("#activity-pane"))
            assert "cold:*" in seen[0]
            assert "HSET" in seen[1]
            assert "shop 127.0.0.1" in seen[2]
            assert "calls/s" in seen[3]
            await screen.press("b", "enter")
            await screen.until(lambda: screen.app.view_id == "keys")
            await screen.shows("its value")
            await screen.press("7", "escape")
            assert "calls/s" in screen.text("#activity-pane")


async def test_it_ends_by_the_press_and_when_the_view_is_left(
    redis7: Server, dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hottest, "LISTEN", LONG)
    with using(redis7):
        async with dashboard(redis7.url) as screen:
            await activity(screen)
            for ends in ("N", "1"):
                await screen.press("N")
                await screen.until(lambda: screen.live.hot.tables and screen.live.hot.busy)
                await screen.press(ends)
                await screen.until(lambda: not screen.live.hot.busy)
                assert any("stopped before its end" in words for words, _ in screen.live.hot.notes)
                assert screen.live.hot.tables
                await screen.until(lambda: b"cmd=monitor" not in bytes(redis7.command("CLIENT", "LIST")))  # type: ignore[arg-type]
                await activity(screen)


async def test_without_monitor_the_frequencies_tell(
    new_server: Callable[..., Server], dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hottest, "LISTEN", QUICK)
    server = new_server("redis7", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lfu")
    server.command("ACL", "SETUSER", "plain", "on", ">x", "~*", "+@all", "-monitor")
    with server.client() as client:
        for number in range(50):
            client.set(f"cold:{number}", "x")
        with client.pipeline(transaction=False) as pipe:
            for _ in range(5000):
                pipe.get("cold:7")
            pipe.execute()
    async with dashboard(f"redis://plain:x@{server.address}") as screen:
        await activity(screen)
        await screen.press("N")
        await found(screen)
        await screen.until(lambda: "about uses" in screen.text("#activity-pane"))
        rows = screen.live.hot.tables["key"].rows
        assert rows[0].key == b"cold:7"
        assert rows[0].count > rows[1].count
        assert "MONITOR" in screen.text("#activity-pane")
        assert "LFU counters of 50 keys" in screen.text("#activity-pane")


async def test_where_nothing_tells_that_is_said(
    redis7: Server, dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hottest, "LISTEN", QUICK)
    redis7.command("ACL", "SETUSER", "plain", "on", ">x", "~*", "+@all", "-monitor")
    try:
        async with dashboard(f"redis://plain:x@{redis7.address}") as screen:
            await activity(screen)
            await screen.press("N")
            await screen.until(lambda: "no server tells which keys are hot" in screen.text("#activity-pane"))
            assert screen.live.hot.tables == {}
    finally:
        redis7.command("ACL", "DELUSER", "plain")


async def test_a_fleet_of_memcached_names_its_servers(
    new_server: Callable[..., Server], dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hottest, "LISTEN", QUICK)
    servers = [new_server("memcached") for _ in range(2)]
    stop = threading.Event()

    def run() -> None:
        with Plain(servers[0]) as first, Plain(servers[1]) as second:
            while not stop.wait(0.005):
                first.lines(b"get here:1")
                second.lines(b"get there:1")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        async with dashboard(f"memcached://{servers[0].address},{servers[1].address}") as screen:
            await activity(screen)
            await screen.press("N")
            await found(screen)
            await screen.until(lambda: "here:1" in screen.text("#activity-pane"))
            words = screen.text("#activity-pane")
            assert all(server.address in words for server in servers)
            assert list(screen.live.hot.tables) == ["key", "prefix", "command", "client", "server"]
    finally:
        stop.set()
        thread.join(10)


async def test_a_new_size_of_a_memcached_is_foreseen(
    new_server: Callable[..., Server], dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "WATCH", QUICK)
    monkeypatch.setattr(foresight, "LEAST_LOOKUPS", 50)
    server = new_server("memcached", "-m", "64")
    stop = threading.Event()

    def run() -> None:
        with Plain(server) as plain:
            turn = 0
            while not stop.wait(0.002):
                turn += 1
                key = b"item:%d" % (turn**2 % 300)
                if not plain.lines(b"get " + key):
                    plain.say(b"set %b 0 100 500\r\n%b" % (key, b"x" * 500))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        async with dashboard(f"memcached://{server.address}") as screen:
            await screen.press("m")
            await screen.until(lambda: isinstance(screen.app.screen, Choice))
            await screen.pilot.pause()
            await screen.press("down", "enter")
            await screen.until(lambda: isinstance(screen.app.screen, Prompt))
            assert screen.live.observed is not None
            await screen.press(*"32mb", "enter")
            await screen.until(lambda: isinstance(screen.app.screen, Preview))
            await screen.pilot.pause()
            assert "predicted hit rate: now" in screen.dialog()
            await screen.press("escape")
    finally:
        stop.set()
        thread.join(10)
