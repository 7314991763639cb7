"""Rules about sudden changes, provoked on a real server; steady traffic is none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import redis

from cachetui.analysis.rules import hits, surges
from cachetui.model import Finding
from tests.servers.launch import Server
from tests.servers.provoked import Watch, watching

SURGES = {"stampede", "hit-rate-drop", "retry-storm", "pollution", "traffic-jump"}
SPAN_S = 0.4
PACE = threading.Event()
"""Never set: a load has a pace."""
Traffic = Callable[[redis.Redis], None]


@pytest.fixture(autouse=True)
def _short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surges, "RECENT_S", SPAN_S / 2)
    monkeypatch.setattr(surges, "BEFORE_S", SPAN_S / 2)
    monkeypatch.setattr(hits, "LEAST_WINDOW_S", 60.0)  # else its own rule speaks of the same fall


def usual(client: redis.Redis) -> None:
    """Nine hits, one miss, and two writes of new keys; ten times."""
    with client.pipeline(transaction=False) as pipe:
        for at in range(10):
            for key in range(9):
                pipe.get(f"k:{key}")
            pipe.get(f"missing:{at}")
            for _ in range(2):
                pipe.set(f"new:{time.monotonic_ns()}:{len(pipe.command_stack)}", "x", ex=600)
        pipe.execute()


def going_on(client: redis.Redis, traffic: Traffic) -> None:
    """Send the same again and again, at an even pace, for the length of a span."""
    until = time.monotonic() + SPAN_S
    while time.monotonic() < until:
        traffic(client)
        PACE.wait(0.01)


async def surge(watch: Watch, server: Server, before: Traffic, after: Traffic) -> dict[str, Finding]:
    with server.client() as client:
        client.mset({f"k:{key}": "x" for key in range(9)})
        client.mset({f"old:{key}": "x" for key in range(500)})
        going_on(client, before)
        await watch.look()
        going_on(client, before)
        await watch.look()
        going_on(client, after)
        return {name: one for name, one in (await watch.found()).items() if name in SURGES}


async def named(watch: Watch, server: Server, rule: str, after: Traffic) -> dict[str, Finding]:
    """Let it surge until the rule speaks: on a busy machine a load may not keep its pace at once."""
    found: dict[str, Finding] = {}
    for _ in range(6):
        watch.window.clear()
        found = await surge(watch, server, usual, after)
        if rule in found:
            break
    return found


async def test_steady_traffic_is_no_surge(redis_like: Server) -> None:
    async with watching(redis_like) as watch:
        assert await surge(watch, redis_like, usual, usual) == {}


async def test_many_readers_of_one_key(redis_like: Server) -> None:
    def all_at_once(client: redis.Redis) -> None:
        usual(client)
        client.unlink("page")
        with client.pipeline(transaction=False) as pipe:
            for _ in range(60):
                pipe.get("page")
            for _ in range(60):
                pipe.set("page", "x", ex=60)
            pipe.execute()

    async with watching(redis_like) as watch:
        found = (await named(watch, redis_like, "stampede", all_at_once))["stampede"]
        assert found.evidence["written_again_per_s"] > 2 * found.evidence["written_again_per_s_before"]  # type: ignore[operator]


async def test_a_purge(redis_like: Server) -> None:
    def purged(client: redis.Redis) -> None:
        client.unlink(*(f"old:{key}" for key in range(500)))
        client.unlink(*(f"k:{key}" for key in range(5)))
        usual(client)

    async with watching(redis_like) as watch:
        found = await named(watch, redis_like, "hit-rate-drop", purged)
        assert "stampede" not in found
        drop = found["hit-rate-drop"]
        before, now = drop.evidence["hit_rate_before_percent"], drop.evidence["hit_rate_percent"]
        assert now < 60 and before > 85  # type: ignore[operator]


async def test_useless_keys_push_out_others(redis7: Server) -> None:
    def crawler(client: redis.Redis) -> None:
        usual(client)
        with client.pipeline(transaction=False) as pipe:
            for _ in range(100):
                pipe.set(f"crawled:{time.monotonic_ns()}:{len(pipe.command_stack)}", "x" * 1000)
            pipe.execute()

    with redis7.client() as client:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", used + 600_000)
        try:
            async with watching(redis7) as watch:
                found = await named(watch, redis7, "pollution", crawler)
                assert found["pollution"].evidence["evicted_per_s"] > 50  # type: ignore[operator]
        finally:
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")


async def test_a_hot_key(redis_like: Server) -> None:
    def hot(client: redis.Redis) -> None:
        usual(client)
        with client.pipeline(transaction=False) as pipe:
            for _ in range(3000):
                pipe.get("k:1")
            pipe.execute()

    async with watching(redis_like) as watch:
        found = (await named(watch, redis_like, "traffic-jump", hot))["traffic-jump"]
        assert "mostly GET" in found.issue and found.evidence["command"] == "get"


async def test_clients_that_give_up_and_come_back(redis7: Server) -> None:
    def impatient(client: redis.Redis) -> None:
        usual(client)
        for _ in range(3):
            with redis7.client() as other:
                other.eval("local n = 0 for i = 1, 1000000 do n = n + i % 7 end return n", 0)

    with redis7.client() as client:
        client.config_set("slowlog-log-slower-than", 1000)
        try:
            async with watching(redis7) as watch:
                found = await named(watch, redis7, "retry-storm", impatient)
                assert found["retry-storm"].evidence["slow_commands"] >= 5  # type: ignore[operator]
        finally:
            client.config_set("slowlog-log-slower-than", 10_000)
