"""Each scenario does to a server what its words say, ends by itself, and leaves nothing that does not expire."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from cachetui.demo.scenarios import SCENARIOS, play, scenario
from cachetui.demo.shop import PAGE_PREFIX
from tests.servers.demo_process import until
from tests.servers.launch import Server


async def until_seen(name: str, server: Server, seen: Callable[[], object]) -> None:
    """Play a scenario until something is seen, end it, and see that its clients are gone."""
    playing = asyncio.create_task(play(name, server.port, lasting_s=60))
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(seen):
            assert not playing.done() or playing.result()
            await asyncio.sleep(0.05)
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    with server.client() as client:
        until(lambda: not [one for one in client.client_list() if one["name"].startswith("scenario-")], 10)


@pytest.fixture
def stats(redis7: Server) -> Callable[[str], int]:
    client = redis7.client()
    return lambda name: int(client.info("stats")[name])


async def test_a_stampede_misses_and_loads_many_times(redis7: Server, stats: Callable[[str], int]) -> None:
    stage = await play("stampede", redis7.port, lasting_s=1.0)
    assert stage.loads > 20 and stats("keyspace_misses") > 20 and not stage.ledger.errors


async def test_a_cold_start_takes_the_pages_away(redis7: Server) -> None:
    with redis7.client() as client:
        client.mset({f"{PAGE_PREFIX}product:{10_000 + number}": "x" for number in range(7)})
        client.set("session:1", "stays")
        await play("cold-start", redis7.port, lasting_s=30)
        assert client.keys("*") == [b"session:1"]


async def test_a_crawler_fills_the_cache(redis7: Server) -> None:
    with redis7.client() as client:
        await until_seen("polluting-scan", redis7, lambda: client.dbsize() > 300)
        assert all(client.ttl(name) > 0 for name in client.scan_iter("*", count=1000))


async def test_keys_of_a_cliff_expire_in_the_same_second(redis7: Server) -> None:
    with redis7.client() as client:
        await until_seen("expiry-cliff", redis7, lambda: client.dbsize() >= 6000)
        moments = Counter(client.expiretime(f"promo:{number}") for number in range(0, 6000, 60))
        assert len(moments) == 1


async def test_a_hot_key_is_hot(redis7: Server, stats: Callable[[str], int]) -> None:
    await until_seen("hot-key", redis7, lambda: stats("keyspace_hits") > 500)


async def test_a_retry_storm_brings_connections_and_slow_commands(redis7: Server, stats: Callable[[str], int]) -> None:
    with redis7.client() as client:
        before = stats("total_connections_received")

        def seen() -> bool:
            slow = any(b"EVAL" in entry["command"] for entry in client.slowlog_get(128))
            return slow and stats("total_connections_received") > before + 16

        await until_seen("retry-storm", redis7, seen)


async def test_the_table_is_whole_and_an_unknown_name_is_an_error() -> None:
    assert len({one.id for one in SCENARIOS}) == len(SCENARIOS) == 6
    assert all(one.title and one.words and scenario(one.id) is one for one in SCENARIOS)
    with pytest.raises(KeyError):
        await play("none", 1)
