"""The burst of MONITOR on real servers: it sees all, keeps the sample, ends itself, and says what it cost."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from cachetui.analysis.curve import from_idle, from_stream, lru_exact
from cachetui.errors import Denied, Unreachable
from cachetui.keyspace.access import Sample, observe
from cachetui.model.accesses import Use
from cachetui.model.burst import Limits
from cachetui.source.base import Streamed
from tests.contract.redis_targets import source_of
from tests.servers.launch import Server

QUICK = Limits(seconds=0.4, aside_s=0.1)


@contextmanager
def _load(server: Server, work: Callable[[object], None]) -> Iterator[None]:
    """Repeat `work` with a client, in a thread, while the body runs."""
    stop = threading.Event()

    def run() -> None:
        with server.client() as client:
            while not stop.is_set():
                work(client)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def _reads(client) -> None:  # type: ignore[no-untyped-def]
    with client.pipeline(transaction=False) as pipe:
        for number in range(50):
            pipe.get(b"key:%d" % (number % 25))
        pipe.set(b'odd"\n\xff', "x" * 100, ex=100)
        pipe.execute()


async def test_a_burst_sees_the_uses_and_keeps_no_value(redis_like: Server) -> None:
    async with source_of(redis_like) as source:
        assert isinstance(source, Streamed)
        sample = Sample()
        with _load(redis_like, _reads):
            burst = await source.burst(sample, QUICK)
        assert burst.ended_by == "time"
        assert burst.lines > 50
        assert burst.lookups > 0.9 * burst.lines
        assert burst.strange == 0
        assert {one.key for one in sample.seen} == {b"key:%d" % n for n in range(25)} | {b'odd"\n\xff'}
        odd = next(one for one in sample.seen if one.key.startswith(b"odd"))
        assert (odd.use, odd.ttl_s) == (Use.WRITE, 100.0)
        assert 100 <= odd.length <= 140
        assert burst.before.commands_per_s is not None
        assert burst.during.cpu_us is not None
        assert "ended by time" in burst.line()
        assert b"MONITOR" not in {one.key for one in sample.seen}


async def test_nothing_of_it_is_left_on_the_server(redis7: Server) -> None:
    async with source_of(redis7) as source:
        await source.burst(Sample(), QUICK)
        clients = redis7.command("CLIENT", "LIST")
        assert "cmd=monitor" not in str(clients)
        assert source.sent["monitor"] == 1


@pytest.mark.parametrize(
    ("limits", "ended_by"),
    [({"commands": 500}, "commands"), ({"stream_bytes": 20_000}, "bytes"), ({"seconds": 0.3}, "time")],
)
async def test_it_is_bounded_in_every_way(redis7: Server, limits: dict[str, float], ended_by: str) -> None:
    async with source_of(redis7) as source:
        with _load(redis7, _reads):
            burst = await source.burst(Sample(), dataclasses.replace(Limits(seconds=20.0, aside_s=0.2), **limits))
        assert burst.ended_by == ended_by
        assert burst.seconds < 15
        assert not burst.stopped_itself


async def test_a_full_sample_ends_it(redis7: Server) -> None:
    async with source_of(redis7) as source:
        with _load(redis7, _reads):
            burst = await source.burst(Sample(accesses=200), Limits(seconds=20.0, aside_s=0.2))
        assert burst.ended_by == "commands"


async def test_it_stops_when_the_server_stalls(redis7: Server) -> None:
    def stall(client) -> None:  # type: ignore[no-untyped-def]
        client.execute_command("DEBUG", "SLEEP", "0.05")

    async with source_of(redis7) as source:
        begun = threading.Event()

        def work(client) -> None:  # type: ignore[no-untyped-def]
            (stall if begun.is_set() else _reads)(client)

        with _load(redis7, work):
            burst = await source.burst(Sample(), Limits(seconds=20.0, aside_s=0.2), begun.set)
        assert burst.stopped_itself
        assert "round trip" in burst.ended_by or "behind" in burst.ended_by
        assert burst.seconds < 18


async def test_a_cancelled_burst_is_gone_at_once(redis7: Server) -> None:
    async with source_of(redis7) as source:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        running = asyncio.create_task(
            source.burst(
                Sample(), Limits(seconds=60.0, aside_s=0.1), lambda: loop.call_soon_threadsafe(begun.set) and None
            )
        )
        await begun.wait()
        running.cancel()
        before = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert time.monotonic() - before < 20
        assert "cmd=monitor" not in str(redis7.command("CLIENT", "LIST"))


async def test_without_the_permission_it_says_so(redis7: Server) -> None:
    redis7.command("ACL", "SETUSER", "plain", "on", ">x", "~*", "+@all", "-monitor")
    try:
        async with source_of(redis7, user="plain", password="x") as source:
            with pytest.raises(Denied, match="MONITOR"):
                await source.burst(Sample(), QUICK)
    finally:
        redis7.command("ACL", "DELUSER", "plain")


async def test_a_password_is_no_part_of_the_sample(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7", "--requirepass", "hidden-word")
    async with source_of(server, password="hidden-word") as source:
        sample = Sample()
        await source.burst(sample, QUICK)
        assert "hidden-word" not in repr(sample.seen)


async def test_a_server_that_dies_in_the_middle_is_an_error_in_words(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    async with source_of(server) as source:
        with pytest.raises(Unreachable):
            await source.burst(Sample(), Limits(seconds=30.0, aside_s=0.1), server.kill)


async def test_other_databases_are_told_apart(redis7: Server) -> None:
    redis7.command("SET", "same", "short")
    with redis7.client(db=3) as client:
        client.set("same", "long" * 300)
    async with source_of(redis7) as source:
        here, there, gone = await source.measured([(0, b"same"), (3, b"same"), (3, b"none")], lfu=False, ttl=True)
        assert here.size_bytes is not None
        assert there.size_bytes is not None
        assert there.size_bytes > here.size_bytes + 1000
        assert (gone.size_bytes, gone.use, gone.ttl_ms) == (None, None, -2)
        assert here.ttl_ms == -1
        assert not math.isnan(here.at_s)


async def test_the_room_is_told_by_the_server(redis_like: Server) -> None:
    redis_like.command("SET", "big", "x" * 500_000)
    async with source_of(redis_like) as source:
        room = await source.room()
        assert 500_000 <= room.key_bytes < 2_000_000
        assert room.keys == room.databases == 1
        assert 0 < room.fixed_bytes < room.memory_bytes
        assert room.rules.samples == 5
        assert (room.rules.lfu_log_factor, room.rules.lfu_decay_min) == (10, 1)


async def test_a_cache_is_watched_and_its_curve_drawn(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7", "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru")
    turn = iter(range(10**9))

    def read_through(client) -> None:  # type: ignore[no-untyped-def]
        keys = [b"item:%d" % (at * 7919 % (300 if at % 3 else 4000)) for at in (next(turn) for _ in range(50))]
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.get(key)
            found = pipe.execute()
        with client.pipeline(transaction=False) as pipe:
            for key, value in zip(keys, found, strict=True):
                if value is None:
                    pipe.set(key, "x" * 700)
            pipe.execute()

    with server.client() as client:
        for _ in range(120):
            read_through(client)
    async with source_of(server) as source:
        before = await source.room()
        with _load(server, read_through):
            observed = await observe(source, Limits(seconds=1.5, aside_s=0.1))
        after = await source.room()
    real = (after.hits - before.hits) / (after.lookups - before.lookups)
    accesses = observed.accesses
    assert accesses.complete
    assert accesses.memory_bytes == 3 * 2**20
    assert observed.hit_rate is not None
    for curve in (from_stream(accesses), lru_exact(accesses)):
        now = curve.at(accesses.memory_bytes)
        assert now is not None
        assert abs(now.hit_rate - real) < 0.08
        half = curve.at(accesses.memory_bytes / 2)
        assert half is not None
        assert half.hit_rate < now.hit_rate
    assert observed.idle is not None
    assert from_idle(observed.idle, accesses.memory_bytes, hit_rate=observed.hit_rate) is not None


async def test_under_lfu_frequencies_are_known(new_server: Callable[..., Server]) -> None:
    server = new_server("valkey9", "--maxmemory", "20mb", "--maxmemory-policy", "allkeys-lfu")
    with server.client() as client:
        for number in range(300):
            client.set(b"k%d" % number, "v" * 100)
        for _ in range(30):
            client.get("k7")
    async with source_of(server) as source:
        observed = await observe(source, QUICK)
    accesses = observed.accesses
    assert observed.idle is None
    assert accesses.complete
    assert len(accesses.frequencies) == 300
    assert max(accesses.frequencies) > 5
    assert all(math.isnan(idle) for idle in accesses.idle_s)


async def test_an_empty_and_idle_server_gives_no_error(redis7: Server) -> None:
    async with source_of(redis7) as source:
        observed = await observe(source, QUICK)
    assert observed.accesses.reads == 0
    assert from_stream(observed.accesses, [1_000_000]).points[0].high == 1.0
    assert observed.idle is None


async def test_a_quiet_memcached_tells_of_no_use(memcached: Server) -> None:
    from cachetui.config import Address, Target
    from cachetui.source.connect import open_source

    source = await open_source(Target("memcached", (Address("127.0.0.1", memcached.port),)))
    try:
        seen = await observe(source, QUICK)
        assert seen.accesses.reads == 0 and not seen.burst.stopped_itself
    finally:
        await source.close()
