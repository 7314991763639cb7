"""Rules about how a cache is used, provoked on real servers; a quiet one says nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from cachetui.analysis.rules import findings, practice
from cachetui.feeds.slow_log import SlowLogKeeper
from cachetui.model import Evidence, Finding, SlowLog
from tests.servers.launch import SERVERS, Server
from tests.servers.provoked import Watch, watching

PRACTICE = {
    *("no-pipelining", "script-cache", "freeing-lags", "slowlog-blind", "slowlog-short", "large-values"),
    *("no-headroom", "expiry-wave"),
}

NewServer = Callable[..., Server]


def by_id(evidence: Evidence) -> dict[str, Finding]:
    return {finding.id: finding for finding in findings(evidence)}


@pytest.mark.parametrize("kind", sorted(SERVERS))
async def test_a_quiet_server_is_silent(new_server: NewServer, kind: str) -> None:
    async with watching(new_server(kind)) as watch:
        await watch.look()
        assert not PRACTICE & set(await watch.found())


async def test_commands_one_by_one_and_in_pipelines(redis7: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(practice, "PIPELINE_SPAN_S", 0.2)
    monkeypatch.setattr(practice, "BUSY_PER_S", 300.0)
    async with watching(redis7) as watch:
        with redis7.client() as client:

            def single() -> None:
                until = time.monotonic() + 0.5
                while time.monotonic() < until:
                    client.get("k")

            def many() -> None:
                until = time.monotonic() + 0.5
                while time.monotonic() < until:
                    pipe = client.pipeline(transaction=False)
                    for _ in range(50):
                        pipe.get("k")
                    pipe.execute()

            await watch.look()
            await asyncio.to_thread(single)
            found = (await watch.found())["no-pipelining"]
            assert found.evidence["commands_per_read"] < 1.2  # type: ignore[operator]
            watch.window.clear()
            await watch.look()
            await asyncio.to_thread(many)
            assert "no-pipelining" not in await watch.found()


async def test_values_in_the_text_of_scripts(redis7: Server) -> None:
    with redis7.client() as client:
        pipe = client.pipeline(transaction=False)
        for number in range(1100):
            pipe.eval(f"return {number}", 0)
        pipe.execute()
    async with watching(redis7) as watch:
        found = (await watch.found())["script-cache"]
        assert found.commands == ("SCRIPT FLUSH ASYNC",)
        redis7.command("SCRIPT", "FLUSH")
        assert "script-cache" not in await watch.found()


async def test_what_waits_to_be_freed(redis7: Server) -> None:
    async with watching(redis7) as watch:
        evidence = await watch.look()
        assert evidence.stats is not None and evidence.stats.lazyfree_pending == 0
        waiting = replace(evidence, stats=replace(evidence.stats, lazyfree_pending=20_000))
    assert "20.0k" in by_id(waiting)["freeing-lags"].issue


@pytest.mark.parametrize("threshold", ["-1", "2000000"])
async def test_a_slow_log_that_sees_nothing(new_server: NewServer, threshold: str) -> None:
    async with watching(new_server("redis7", "--slowlog-log-slower-than", threshold)) as watch:
        found = (await watch.found())["slowlog-blind"]
        assert found.evidence["slowlog_log_slower_than_us"] == int(threshold)


async def test_a_slow_log_that_is_too_short(new_server: NewServer) -> None:
    server = new_server("redis7", "--slowlog-log-slower-than", "0", "--slowlog-max-len", "5")
    keeper = SlowLogKeeper()

    async def kept(watch: Watch) -> Evidence:
        evidence = await watch.look(["stats", "slowlog"])
        assert isinstance(evidence.slowlog, SlowLog)
        return replace(evidence, slowlog=keeper.keep(evidence.slowlog))

    async with watching(server) as watch:
        assert "slowlog-short" not in by_id(await kept(watch))
        for number in range(30):
            server.command("ECHO", str(number))
        assert "slowlog-max-len" in by_id(await kept(watch))["slowlog-short"].commands[0]


async def test_large_requests(new_server: NewServer) -> None:
    server = new_server("valkey9", "--commandlog-request-larger-than", "100000")
    async with watching(server) as watch:
        assert "large-values" not in await watch.found()
        server.command("SET", "big", "x" * 200_000)
        found = (await watch.found())["large-values"]
        assert (found.priority, found.evidence["large"]) == ("low", 1)
        assert "SET big" in found.issue
        for _ in range(20):
            server.command("SET", "big", "x" * 200_000)
        assert (await watch.found())["large-values"].priority == "medium"


async def test_a_limit_that_leaves_no_room_for_a_fork(new_server: NewServer) -> None:
    server = new_server("redis7", "--appendonly", "yes")
    async with watching(server) as watch:
        stats = (await watch.look()).stats
        assert stats is not None and stats.system_memory_bytes is not None
        server.command("CONFIG", "SET", "maxmemory", str(int(stats.system_memory_bytes * 0.9)))
        found = (await watch.found())["no-headroom"]
        assert found.priority == "low"
        assert found.commands[0].startswith("CONFIG SET maxmemory ")
        server.command("CONFIG", "SET", "maxmemory", "100mb")
        assert "no-headroom" not in await watch.found()


async def test_many_keys_that_expire_together(redis7: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WAVE_S", "BEFORE_S"):
        monkeypatch.setattr(practice, name, 0.3)
    keys = [f"k{number}" for number in range(2000)]
    async with watching(redis7) as watch:
        with redis7.client() as client:
            client.mset(dict.fromkeys(keys, "v"))
            await watch.look()

            def read() -> None:
                until = time.monotonic() + 0.35
                while time.monotonic() < until:
                    client.mget(keys)

            await asyncio.to_thread(read)
            assert "expiry-wave" not in await watch.found()
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.pexpire(key, 1)
            pipe.execute()
            await asyncio.to_thread(read)
            found = (await watch.found())["expiry-wave"]
    assert found.evidence["hit_rate_percent_before"] == 100.0
