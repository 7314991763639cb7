"""A real server is recorded; its replay is the same to everybody who looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cachetui.config import Target
from cachetui.errors import BadUsage, CacheError, Denied, Refused, TimedOut, Unsupported
from cachetui.feeds.record import Recorder
from cachetui.model import Identity, KeyFactsList, SlowLog, Stats, Trouble
from cachetui.source.base import KINDS, Polled, Source
from cachetui.source.connect import make_source
from cachetui.source.replay import ReplaySource
from tests.servers.launch import Server
from tests.servers.test_feeds_redis import Watcher, target, watching

T = 1_700_000_000.0
WHO = Identity("redis", "7.0.15", run_id="a", address="h:1", role="primary")


class Clock:
    """Seconds as the test says."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


async def recorded(server: Server, path: Path) -> list[Polled]:
    """Record a server under a small load; return what was seen."""
    async with watching(target(server)) as w:
        with Recorder(path, w.feeds.source.name) as recorder:
            w.feeds.attach(recorder)
            with server.client() as client:
                for n in range(300):
                    client.set(f"user:{n}", "x" * n)
                    client.get(f"user:{n * 2}")
                    if n % 60 == 0:
                        await w.next()
            client_keys = await w.feeds.source.scan(count=1000)
            recorder.write(client_keys)
            recorder.write(await w.feeds.source.facts([b"user:1", b"user:2"]))
            recorder.write(await w.feeds.source.value(b"user:7"))
            await w.until(lambda: set(w.feeds.latest) == set(KINDS))
            await w.next(count=2)
        return [event.snapshot for event in w.events if event.snapshot is not None]


def synthetic(path: Path, entries: list[Stats | SlowLog | Trouble]) -> Path:
    with Recorder(path, "redis://h:1") as recorder:
        for entry in entries:
            if isinstance(entry, Trouble):
                recorder.write(entry, kind="stats", at=entry.since)
            else:
                recorder.write(entry)
    return path


def every_second(count: int) -> list[Stats | SlowLog | Trouble]:
    return [Stats(T + at, WHO, uptime_s=at, hits_total=at * 7, clients=at) for at in range(count)]


@asynccontextmanager
async def replaying(path: Path, **options: object) -> AsyncIterator[tuple[ReplaySource, Clock]]:
    clock = Clock()
    source = ReplaySource(path, clock=clock, **options)  # type: ignore[arg-type]
    try:
        await source.open()
        yield source, clock
    finally:
        await source.close()


async def test_a_replay_gives_the_snapshots_that_were_seen(redis7: Server, tmp_path: Path) -> None:
    seen = await recorded(redis7, tmp_path / "r")
    async with replaying(tmp_path / "r") as (source, _):
        assert isinstance(source, Source)
        assert source.name.endswith("(recording)") and source.identity is not None
        assert source.identity.version and source.duration_s > 0
        for kind in KINDS:
            mine = [snapshot for snapshot in seen if snapshot.__class__ is (await at_end(source, kind)).__class__]
            for snapshot in mine:
                source.pause()
                source.seek_s(snapshot.taken_at - source.now() + source.position_s + 1e-6)
                assert await source.poll(kind) == snapshot
                assert source.now() - snapshot.taken_at < 0.01, "its age is judged by the recorded clock"


async def at_end(source: ReplaySource, kind: str) -> Polled:
    source.seek_s(source.duration_s)
    return await source.poll(kind)  # type: ignore[arg-type]


async def test_keys_and_values_come_from_what_was_recorded(redis7: Server, tmp_path: Path) -> None:
    await recorded(redis7, tmp_path / "r")
    async with replaying(tmp_path / "r") as (source, _):
        assert source.why_not("scan") is None and source.why_not("value") is None
        keys: list[bytes] = []
        step = await source.scan(count=100)
        while step.cursor is not None:
            keys += step.keys
            step = await source.scan(step.cursor, count=100)
        keys += step.keys
        assert sorted(keys) == sorted(b"user:%d" % n for n in range(300))
        matched = await source.scan(match=b"user:1[0-4]", count=1000)
        assert sorted(matched.keys) == [b"user:1%d" % n for n in range(5)]
        assert set((await source.scan(type_="string", count=1000)).keys) == {b"user:1", b"user:2", b"user:7"}
        facts = await source.facts([b"user:1", b"user:200"])
        assert isinstance(facts, KeyFactsList) and facts.facts[0].type == "string"
        assert facts.facts[1].note == "not recorded" and facts.facts[1].type is None
        value = await source.value(b"user:7")
        assert value.items[0].data == b"x" * 7
        with pytest.raises(Unsupported, match="no value of that key"):
            await source.value(b"user:8")


async def test_nothing_can_be_changed(tmp_path: Path) -> None:
    async with replaying(synthetic(tmp_path / "r", every_second(3))) as (source, _):
        for capability in ("delete", "ttl", "policy", "maxmemory", "kill"):
            assert source.why_not(capability) == "a recording cannot be changed"  # type: ignore[arg-type]
        assert source.why_not("scan") == "this recording holds no keys"
        assert source.why_not("slowlog") == "this recording holds no slow log"
        with pytest.raises(Refused, match="cannot be changed"):
            await source.execute([(b"DEL", b"x")])
        with pytest.raises(Unsupported):
            await source.scan()
        with pytest.raises(Unsupported):
            await source.value(b"x")
        with pytest.raises(Unsupported):
            await source.config("*")
        with pytest.raises(Unsupported, match="no client list"):
            await source.poll("clients")
        assert await source.flags(["DEL"]) == {"DEL": None} and await source.policies() == ()
        assert not source.sent


async def test_the_clock_pauses_steps_seeks_and_runs_at_any_speed(tmp_path: Path) -> None:
    async def clients(source: ReplaySource) -> int | None:
        polled = await source.poll("stats")
        assert isinstance(polled, Stats)
        return polled.clients

    async with replaying(synthetic(tmp_path / "r", every_second(100))) as (source, clock):
        assert (source.duration_s, source.position_s, source.speed, source.paused) == (99, 0, 1, False)
        assert await clients(source) == 0
        clock.s = 5
        assert await clients(source) == 5
        source.pause()
        clock.s = 50
        assert source.paused and source.position_s == 5
        assert await clients(source) == 5, "a poll does not wait for ever"
        source.step()
        assert await clients(source) == 6 and source.paused
        source.set_speed(10)
        assert source.paused and source.speed == 10
        source.resume()
        clock.s = 52
        assert await clients(source) == 26
        source.seek_s(3.5)
        assert await clients(source) == 3 and not source.paused
        source.seek_s(-5)
        assert source.position_s == 0
        source.seek_s(1e9)
        assert await clients(source) == 99
        assert source.ended and source.note == "end of the recording"
        assert await clients(source) == 99
        source.step()
        assert source.position_s == 99
        source.resume()
        assert source.position_s == 0 and not source.ended and source.note == ""
        for wrong in (0, -1, 1000, float("nan")):
            with pytest.raises(BadUsage, match="out of range"):
                source.set_speed(wrong)


async def test_a_poll_waits_for_the_next_snapshot(tmp_path: Path) -> None:
    path = synthetic(tmp_path / "r", [Stats(T + at / 10, WHO, clients=at) for at in range(50)])
    source = ReplaySource(path)
    first = await source.poll("stats")
    second = await source.poll("stats")
    assert isinstance(first, Stats) and isinstance(second, Stats)
    assert second.taken_at > first.taken_at
    source.pause()
    third = await source.poll("stats")
    assert await source.poll("stats") is third, "the same object: nobody redraws"
    waiting = asyncio.create_task(source.poll("stats"))
    await asyncio.sleep(0)
    source.step()
    stepped = await waiting
    assert isinstance(stepped, Stats) and stepped.taken_at > third.taken_at
    await source.close()


async def test_recorded_trouble_is_raised_as_it_was(tmp_path: Path) -> None:
    entries = every_second(3)
    entries.append(Trouble("timed-out", "no answer", "wait", T + 3))
    entries.append(Trouble("denied", "not permitted", "ask", T + 4))
    entries.append(Stats(T + 5, WHO, clients=5))
    async with replaying(synthetic(tmp_path / "r", entries)) as (source, clock):
        clock.s = 3
        with pytest.raises(TimedOut, match="no answer"):
            await source.poll("stats")
        clock.s = 4
        with pytest.raises(Denied):
            await source.poll("stats")
        clock.s = 5
        assert isinstance(await source.poll("stats"), Stats)


async def test_what_was_recorded_later_is_not_shown_early(tmp_path: Path) -> None:
    entries = [*every_second(100), SlowLog(T + 80, WHO, total=1)]
    async with replaying(synthetic(tmp_path / "r", entries)) as (source, clock):
        with pytest.raises(CacheError, match="nothing of the slow log was recorded yet") as caught:
            await source.poll("slowlog")
        assert caught.value.hint == "the first one is at 1m20s"
        clock.s = 81
        assert await source.poll("slowlog") == entries[-1]


async def test_the_identity_follows_the_recording(tmp_path: Path) -> None:
    entries = every_second(5)
    entries.append(Stats(T + 5, replace(WHO, run_id="b", role="replica"), uptime_s=0, hits_total=0))
    async with replaying(synthetic(tmp_path / "r", entries)) as (source, clock):
        await source.poll("stats")
        assert source.identity == WHO
        clock.s = 5
        await source.poll("stats")
        assert source.identity and source.identity.role == "replica"


async def test_feeds_do_not_know_the_difference(new_server: Callable[..., Server], tmp_path: Path) -> None:
    server = new_server("redis7")
    path = tmp_path / "r"
    async with watching(target(server)) as w:
        with Recorder(path, "it") as recorder:
            w.feeds.attach(recorder)
            await w.next(count=5)
            await asyncio.to_thread(server.kill)
            await w.until(lambda: w.feeds.trouble is not None)
            await asyncio.to_thread(server.restart)
            await w.until(lambda: w.feeds.trouble is None)
            await w.next(count=5)
            w.feeds.attach(None)
    source = make_source(Target("replay", (), path=str(path)))
    replay = Watcher(source, interval_s=0.1)
    try:
        replay.feeds.want(KINDS)
        await replay.until(lambda: replay.feeds.trouble is not None)
        await replay.until(lambda: replay.feeds.trouble is None and replay.marks)
        assert replay.marks == ["restarted"]
        assert isinstance(source, ReplaySource)
        source.seek_s(0)
        await replay.until(lambda: replay.marks == [])
        evidence = replay.feeds.evidence()
        assert evidence.stats and 0 <= evidence.taken_at - evidence.stats.taken_at < 5
    finally:
        await replay.feeds.close()
        await source.close()


@pytest.mark.parametrize("content", [b"", b"not a recording", None])
async def test_what_cannot_be_replayed_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "r"
    if content is not None:
        path.write_bytes(content)
    source = ReplaySource(path)
    with pytest.raises(BadUsage):
        await source.open()
    with pytest.raises(BadUsage):
        await source.poll("stats")
    assert source.why_not("scan") is not None and source.duration_s == 0
    source.pause()
    source.step()
    source.seek_s(5)
    await source.close()


async def test_an_empty_recording_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="holds no snapshots"):
        await ReplaySource(synthetic(tmp_path / "r", [])).open()


async def test_a_recording_that_hit_its_limit_says_so_at_its_end(tmp_path: Path) -> None:
    with Recorder(tmp_path / "r", "t", max_bytes=4000) as recorder:
        at = 0
        while recorder.write(Stats(T + at, WHO, extra={"noise": str(hash(at) * 7919**9)})):
            at += 1
    async with replaying(tmp_path / "r") as (source, _):
        assert source.note == ""
        source.seek_s(source.duration_s)
        assert source.note == "end of the recording (stopped: reached its limit of 3.9KB)"
