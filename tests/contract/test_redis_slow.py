"""The slow log between two polls, large requests and replies, and what a server says of its latency."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cachetui.config import parse_target
from cachetui.feeds.slow_log import SlowLogKeeper
from cachetui.model import SlowLog
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers.launch import Server


@pytest.fixture
async def source(redis_like: Server) -> AsyncIterator[Source]:
    with redis_like.client() as client:
        client.config_set("slowlog-log-slower-than", 0)
        client.config_set("slowlog-max-len", 2000)
        client.execute_command("SLOWLOG RESET")
    opened = await open_source(parse_target(redis_like.url))
    yield opened
    await opened.close()
    redis_like.command("CONFIG", "SET", "slowlog-log-slower-than", "10000")


async def polled(source: Source) -> SlowLog:
    found = await source.poll("slowlog")
    assert isinstance(found, SlowLog)
    return found


def numbers(log: SlowLog) -> list[bytes]:
    return [entry.args[1] for entry in log.entries if entry.args[0] == b"ECHO"]


async def test_what_comes_between_two_polls_is_read_however_much_it_is(source: Source, redis_like: Server) -> None:
    keeper = SlowLogKeeper()
    keeper.keep(await polled(source))
    with redis_like.client() as client:
        pipe = client.pipeline(transaction=False)
        for number in range(1500):
            pipe.execute_command("ECHO", number)
        pipe.execute()
    kept = keeper.keep(await polled(source))
    assert numbers(kept) == [b"%d" % number for number in reversed(range(1500))]
    assert kept.missed == 0


async def test_what_the_ring_has_forgotten_is_kept_and_what_nobody_saw_is_counted(
    source: Source, redis_like: Server
) -> None:
    keeper = SlowLogKeeper()
    redis_like.command("CONFIG", "SET", "slowlog-max-len", "50")
    redis_like.command("ECHO", "before")
    keeper.keep(await polled(source))
    with redis_like.client() as client:
        pipe = client.pipeline(transaction=False)
        for number in range(300):
            pipe.execute_command("ECHO", number)
        pipe.execute()
    kept = keeper.keep(await polled(source))
    assert b"before" in numbers(kept)
    assert kept.kept > 0
    assert 200 < kept.missed < 320


async def test_large_requests_and_replies_have_their_size(valkey9: Server) -> None:
    with valkey9.client() as client:
        for name in ("request", "reply"):
            client.config_set(f"commandlog-{name}-larger-than", 10_000)
        client.execute_command("COMMANDLOG RESET large-request")
        client.execute_command("COMMANDLOG RESET large-reply")
        client.set("big", "x" * 20_000)
        client.get("big")
    source = await open_source(parse_target(valkey9.url))
    try:
        large = {entry.log: entry for entry in (await polled(source)).entries if entry.log}
        assert set(large) == {"large-request", "large-reply"}
        assert all((entry.size_bytes or 0) > 20_000 and entry.duration_us is None for entry in large.values())
        assert large["large-reply"].args[0].upper() == b"GET"
    finally:
        await source.close()
        for name in ("request", "reply"):
            valkey9.command("CONFIG", "SET", f"commandlog-{name}-larger-than", "1048576")


async def test_events_and_histograms(redis7: Server) -> None:
    redis7.command("CONFIG", "SET", "latency-monitor-threshold", "1")
    redis7.command("DEBUG", "SLEEP", "0.01")
    source = await open_source(parse_target(redis7.url))
    try:
        latency = (await polled(source)).latency
        assert latency is not None and latency.threshold_ms == 1
        event = next(event for event in latency.events if event.name == "command")
        assert event.worst_ms >= event.latest_ms >= 1
        debug = next(one for one in latency.histograms if one.command == "debug")
        assert sum(debug.within) == debug.calls >= 1
        assert debug.upto_us[-1] > 10_000
        assert "command" in latency.doctor
    finally:
        await source.close()
        redis7.command("CONFIG", "SET", "latency-monitor-threshold", "0")
        redis7.command("LATENCY", "RESET")


async def test_without_latency_commands_the_slow_log_is_there(redis7: Server) -> None:
    redis7.command("ACL", "SETUSER", "eve", "on", ">pw", "~*", "+@all", "-latency", "-config")
    source = await open_source(parse_target(f"redis://eve:pw@{redis7.address}"))
    try:
        log = await polled(source)
        assert log.total is not None and log.threshold_us is None
        assert log.latency is not None and log.latency.events == () and log.latency.threshold_ms is None
    finally:
        await source.close()
        redis7.command("ACL", "DELUSER", "eve")
