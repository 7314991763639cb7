"""Feeds over a real server that is killed, restarted, stopped, reset and recorded."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cachetui.config import Address, Secret, Target
from cachetui.feeds.hub import FeedEvent, Feeds
from cachetui.feeds.record import Recorder, read_recording
from cachetui.model import Identity, SlowLog, Stats, Trouble
from cachetui.source.base import KINDS, Source
from cachetui.source.connect import make_source
from tests.servers.launch import Server

LONG_S = 30.0


def target(server: Server, **more: object) -> Target:
    return Target("redis", (Address("127.0.0.1", server.port),), timeout_s=1.0, **more)  # type: ignore[arg-type]


class Watcher:
    """What the feeds told, and a way to wait for it."""

    def __init__(self, source: Source, interval_s: float = 0.2) -> None:
        self.events: list[FeedEvent] = []
        self._news = asyncio.Event()
        self.feeds = Feeds(source, interval_s=interval_s, on_event=self._tell)

    def _tell(self, event: FeedEvent) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, fulfilled: Callable[[], object]) -> None:
        async with asyncio.timeout(LONG_S):
            while not fulfilled():
                self._news.clear()
                await self._news.wait()

    async def next(self, kind: str = "stats", count: int = 1) -> None:
        """Wait for `count` further snapshots of a kind."""
        seen = len(self.events)
        await self.until(lambda: sum(e.kind == kind and e.snapshot is not None for e in self.events[seen:]) >= count)

    @property
    def marks(self) -> list[str]:
        return [mark.text for mark in self.feeds.history.marks]

    def rates(self) -> list[float]:
        series = (self.feeds.history.series(name, 120, 120) for name in ("commands", "hits", "net_in", "connections"))
        return [value for values in series for value in values if value is not None]


@asynccontextmanager
async def watching(where: Target, interval_s: float = 0.2) -> AsyncIterator[Watcher]:
    source = make_source(where)
    watcher = Watcher(source, interval_s)
    try:
        yield watcher
    finally:
        await watcher.feeds.close()
        await source.close()


async def test_all_kinds_arrive(redis7: Server) -> None:
    async with watching(target(redis7)) as w:
        w.feeds.want(KINDS)
        await w.until(lambda: set(w.feeds.latest) == set(KINDS))
        assert all(w.feeds.state(kind).status == "live" for kind in KINDS)
        evidence = w.feeds.evidence()
        assert evidence.stats and evidence.stats.server.version and evidence.trouble is None


async def test_a_killed_server_is_trouble_and_its_return_is_noticed(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    async with watching(target(server)) as w:
        with server.client() as client:
            for n in range(2000):
                client.get(f"k{n}")
        w.feeds.want(KINDS)
        await w.next(count=3)
        await asyncio.to_thread(server.kill)
        await w.until(lambda: w.feeds.trouble is not None)
        await w.until(lambda: all(w.feeds.state(kind).trouble for kind in KINDS))
        since = w.feeds.trouble.since if w.feeds.trouble else 0.0
        await w.until(lambda: w.feeds.state("stats").failures >= 4)
        trouble = w.feeds.trouble
        assert trouble and trouble.code == "unreachable" and trouble.since == since
        assert w.feeds.state("stats").breaker in ("open", "half-open")
        await asyncio.to_thread(server.restart)
        await w.until(lambda: w.feeds.trouble is None)
        await w.next(count=2)
        assert w.marks == ["restarted"]
        await w.until(w.rates)
        assert min(w.rates()) >= 0 and max(w.rates()) < 1e6
        await w.until(lambda: all(w.feeds.state(kind).status == "live" for kind in KINDS))


async def test_a_fleet_loses_a_server_and_gets_it_back(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached"), new_server("memcached")]
    where = Target("memcached", tuple(Address("127.0.0.1", server.port) for server in servers), timeout_s=1.0)
    async with watching(where) as w:
        w.feeds.want(["stats", "topology"])
        await w.next(count=3)
        await asyncio.to_thread(servers[0].kill)
        await w.until(lambda: w.marks)
        await asyncio.to_thread(servers[0].restart)
        await w.until(lambda: len(w.marks) == 2)
        assert set(w.marks) == {"a server restarted, went or came back"}
        assert w.feeds.trouble is None
        await asyncio.to_thread(servers[0].kill)
        await asyncio.to_thread(servers[1].kill)
        await w.until(lambda: w.feeds.trouble is not None)
        assert w.feeds.trouble and w.feeds.trouble.code == "unreachable"
        await asyncio.to_thread(servers[0].restart)
        await asyncio.to_thread(servers[1].restart)
        await w.until(lambda: w.feeds.trouble is None)
        assert min(w.rates(), default=0) >= 0


async def test_a_reset_of_the_counters_is_marked(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    async with watching(target(server)) as w:
        with server.client() as client:
            for n in range(500):
                client.get(f"k{n}")
        w.feeds.want(["stats"])
        await w.next(count=2)
        await asyncio.to_thread(server.command, "CONFIG", "RESETSTAT")
        await w.until(lambda: w.marks)
        assert w.marks == ["counters reset"]
        await w.until(w.rates)
        assert min(w.rates()) >= 0


async def test_a_stopped_server_times_out_and_goes_on(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    async with watching(target(server)) as w:
        w.feeds.want(["stats", "clients"])
        await w.next(count=2)
        server.pause()
        try:
            await w.until(lambda: w.feeds.trouble is not None)
            assert w.feeds.trouble and w.feeds.trouble.code == "timed-out"
            await w.until(lambda: w.feeds.state("clients").trouble is not None)
        finally:
            server.resume()
        await w.until(lambda: w.feeds.trouble is None)
        await w.until(lambda: w.feeds.state("clients").status == "live")
        assert "restarted" not in w.marks


async def test_what_is_denied_is_asked_once_and_the_rest_goes_on(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    server.command("ACL", "SETUSER", "half", "on", ">secret-word", "~*", "+@all", "-slowlog", "-client|list")
    async with watching(target(server, user="half", password=Secret("secret-word"))) as w:
        w.feeds.want(KINDS)
        await w.until(lambda: w.feeds.state("slowlog").status == "denied")
        await w.until(lambda: w.feeds.state("clients").status == "denied")
        sent = w.feeds.source.sent["slowlog"]
        await w.next(count=10)
        assert w.feeds.source.sent["slowlog"] == sent
        assert w.feeds.state("stats").status == "live"
        server.command("ACL", "SETUSER", "half", "+slowlog")
        server.command("CLIENT", "KILL", "USER", "half")
        await w.until(lambda: w.feeds.state("stats").status == "live")
        w.feeds.poke()
        await w.until(lambda: w.feeds.state("slowlog").status == "live")


async def test_a_recording_holds_what_was_seen_and_no_password(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = new_server("redis7", "--requirepass", "open-sesame", "--slowlog-log-slower-than", "0")
    where = target(server, password=Secret("open-sesame"))
    async with watching(where) as w:
        with (
            Recorder(tmp_path / "r", w.feeds.source.name, secrets=["open-sesame"]) as recorder,
            server.client(password="open-sesame") as client,
        ):
            w.feeds.attach(recorder)
            client.config_set("masterauth", "open-sesame")
            client.set("k", "x-open-sesame-y")
            await w.until(lambda: set(w.feeds.latest) == set(KINDS))
            await w.next(count=3)
            await w.next("slowlog")
            w.feeds.attach(None)
        seen = [event.snapshot for event in w.events if event.snapshot is not None]
    header, entries = read_recording(tmp_path / "r")
    read = [entry.item for entry in entries]
    assert header.target == w.feeds.source.name
    assert isinstance(read[0], Identity)
    assert [item for item in read if isinstance(item, Stats)] == [item for item in seen if isinstance(item, Stats)]
    logs = [item for item in read if isinstance(item, SlowLog)]
    assert any(entry.args[:1] == (b"SET",) for log in logs for entry in log.entries)
    assert b"open-sesame" not in repr(read).encode()


RECORDING_CHILD = """
import asyncio, sys
from cachetui.config import Address, Target
from cachetui.feeds.hub import Feeds
from cachetui.feeds.record import Recorder
from cachetui.source.connect import make_source

async def main(port, path):
    source = make_source(Target("redis", (Address("127.0.0.1", port),)))
    seen = 0
    def told(event):
        nonlocal seen
        seen += event.kind == "stats" and event.snapshot is not None
        if seen == 15:
            print("enough", flush=True)
    feeds = Feeds(source, interval_s=0.1, on_event=told)
    feeds.attach(Recorder(path, source.name))
    await asyncio.Event().wait()

asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
"""


def test_a_killed_recorder_leaves_a_readable_file(redis7: Server, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", RECORDING_CHILD, str(redis7.port), str(tmp_path / "r")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == b"enough\n"
        finally:
            child.send_signal(signal.SIGKILL)
    entries = list(read_recording(tmp_path / "r")[1])
    stats = [entry.item for entry in entries if isinstance(entry.item, Stats)]
    assert len(stats) >= 5
    assert not any(isinstance(entry.item, Trouble) for entry in entries)
    assert stats[0].server.kind == "redis"
