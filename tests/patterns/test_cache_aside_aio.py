"""Attempts to break each guarantee that `CacheAside` states, on real servers."""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from cachetui.patterns.aio import CacheAside
from cachetui.patterns.entry import Entry
from tests.servers.launch import Server


class Database:
    """A source of truth that counts its calls and can be held, changed and broken."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes | None] = {}
        self.calls: Counter[str] = Counter()
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.change = asyncio.Condition()

    async def load(self, key: str) -> bytes | None:
        self.calls[key] += 1
        row = self.rows.get(key, b"row " + key.encode())
        async with self.change:
            self.change.notify_all()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return row

    async def asked(self, key: str, times: int = 1) -> None:
        """Wait until `key` has been asked for that often."""
        async with self.change, asyncio.timeout(10):
            await self.change.wait_for(lambda: self.calls[key] >= times)


@pytest.fixture
async def client(valkey9: Server) -> AsyncIterator[Redis]:
    async with _client(valkey9) as client:
        yield client


def _client(server: Server, **options: Any) -> Redis:
    return Redis(port=server.port, retry=Retry(NoBackoff(), 0), **options)


async def test_a_value_is_loaded_once_and_then_comes_from_the_cache(client: Redis) -> None:
    database = Database()
    cache = CacheAside(client, database.load, 60, prefix="p:")
    assert [await cache.get("a") for _ in range(3)] == [b"row a"] * 3
    assert database.calls == {"a": 1} and await client.get("p:a") == b"row a"
    assert (cache.counts.misses, cache.counts.hits, cache.counts.loads) == (1, 2, 1)


async def test_a_thousand_concurrent_gets_of_one_missing_key_are_one_load(client: Redis) -> None:
    database = Database()
    cache = CacheAside(client, database.load, 60)
    assert set(await asyncio.gather(*(cache.get("a") for _ in range(1000)))) == {b"row a"}
    assert database.calls == {"a": 1}


async def test_staggered_gets_of_missing_keys_load_each_key_once(client: Redis) -> None:
    database = Database()
    cache = CacheAside(client, database.load, 60)
    rng = random.Random(1)

    async def late(key: str) -> None:
        for _ in range(rng.randrange(40)):
            await asyncio.sleep(0)
        assert await cache.get(key) == b"row " + key.encode()

    await asyncio.gather(*(late(f"k{number % 20}") for number in range(1000)))
    assert set(database.calls.values()) == {1} and len(database.calls) == 20


async def test_a_cancelled_caller_does_not_disturb_the_others(client: Redis) -> None:
    database = Database()
    database.gate.clear()
    cache = CacheAside(client, database.load, 60)
    callers = [asyncio.create_task(cache.get("a")) for _ in range(10)]
    await database.asked("a")
    callers[0].cancel()
    callers[5].cancel()
    database.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result).__name__ for result in results].count("CancelledError") == 2
    assert results.count(b"row a") == 8 and database.calls == {"a": 1}


async def test_the_loaders_error_reaches_everyone_and_is_not_kept(client: Redis) -> None:
    database = Database()
    database.error = LookupError("no such table")
    database.gate.clear()
    cache = CacheAside(client, database.load, 60, negative_ttl_s=60)
    callers = [asyncio.create_task(cache.get("a")) for _ in range(50)]
    await database.asked("a")
    database.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert all(result is database.error for result in results) and database.calls == {"a": 1}
    assert not await client.exists("a")
    database.error = None
    assert await cache.get("a") == b"row a"


async def test_lives_are_spread_within_the_jitter(client: Redis) -> None:
    cache = CacheAside(client, Database().load, 100, jitter=0.2, rng=random.Random(3))
    for number in range(300):
        await cache.get(f"k{number}")
    lives = [await client.pttl(f"k{number}") for number in range(300)]
    # Some time has passed since they were stored, never more than the test's own length.
    assert min(lives) > 100_000 * 0.8 - 20_000 and max(lives) <= 100_000 * 1.2
    assert max(lives) - min(lives) > 30_000, "values stored together must not expire together"


async def test_without_jitter_the_life_is_exact(client: Redis) -> None:
    cache = CacheAside(client, Database().load, 100, jitter=0)
    await cache.get("a")
    assert 90_000 < await client.pttl("a") <= 100_000


async def test_an_absence_is_kept_only_when_asked_for(client: Redis) -> None:
    database = Database()
    database.rows["a"] = None
    plain = CacheAside(client, database.load, 60)
    assert [await plain.get("a") for _ in range(2)] == [None, None] and database.calls["a"] == 2
    assert not await client.exists("a")
    negative = CacheAside(client, database.load, 60, negative_ttl_s=5, jitter=0)
    assert [await negative.get("a") for _ in range(3)] == [None] * 3 and database.calls["a"] == 3
    assert await client.pttl("a") <= 5000


async def test_a_value_that_looks_like_an_absence_is_not_mistaken_for_one(client: Redis) -> None:
    database = Database()
    database.rows |= {"a": Entry(None).encode(), "empty": b""}
    cache = CacheAside(client, database.load, 60, negative_ttl_s=60)
    assert [await cache.get("a") for _ in range(2)] == [Entry(None).encode(), Entry(None).encode()]
    assert [await cache.get("empty") for _ in range(2)] == [b"", b""] and database.calls["empty"] == 1


async def test_a_cache_that_is_down_is_bypassed_or_raised_and_comes_back(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    database = Database()
    async with _client(server) as client:
        bypass = CacheAside(client, database.load, 60)
        strict = CacheAside(client, database.load, 60, on_error="raise")
        await bypass.get("a")
        server.kill()
        assert await bypass.get("a") == b"row a" and database.calls["a"] == 2
        with pytest.raises(RedisConnectionError):
            await strict.get("a")
        assert database.calls["a"] == 2, "no load behind the caller's back"
        for cache in (bypass, strict):
            with pytest.raises(RedisConnectionError):
                await cache.invalidate("a")
        server.start()
        assert await strict.get("a") == b"row a"
        assert await client.get("a") == b"row a"


async def test_a_stalled_cache_delays_a_get_by_its_timeout_only(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    async with _client(server, socket_timeout=30) as client:
        cache = CacheAside(client, Database().load, 60, timeout_s=0.2)
        await cache.get("a")
        server.pause()
        async with asyncio.timeout(5):
            assert await cache.get("a") == b"row a"
            with pytest.raises(TimeoutError):
                await cache.invalidate("a")
        server.resume()


async def test_a_full_cache_and_a_value_of_another_type_do_not_fail_a_get(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7", "--maxmemory", "1", "--maxmemory-policy", "noeviction")
    async with _client(server) as client:
        cache = CacheAside(client, Database().load, 60)
        assert await cache.get("a") == b"row a" and cache.counts.cache_errors == 1
        strict = CacheAside(client, Database().load, 60, on_error="raise")
        with pytest.raises(ResponseError, match="maxmemory"):
            await strict.get("a")
        await client.config_set("maxmemory", 0)
        await client.lpush("list", "x")
        assert await cache.get("list") == b"row list"


async def test_a_load_from_before_an_invalidation_is_not_stored(client: Redis) -> None:
    database = Database()
    database.rows["a"] = b"old"
    database.gate.clear()
    cache = CacheAside(client, database.load, 60)
    early = asyncio.create_task(cache.get("a"))
    await database.asked("a")
    database.rows["a"] = b"new"
    await cache.invalidate("a")
    late = asyncio.create_task(cache.get("a"))
    await database.asked("a", 2)
    database.gate.set()
    assert await early == b"old" and await late == b"new"
    assert await client.get("a") == b"new"


@pytest.mark.parametrize("seed", range(5))
async def test_after_an_invalidation_nobody_reads_the_old_value(client: Redis, seed: int) -> None:
    database = Database()
    database.rows["a"] = b"0"
    cache = CacheAside(client, database.load, 60)
    rng = random.Random(seed)
    oldest = 0
    reading = True

    async def read() -> None:
        while reading:
            least = oldest
            value = await cache.get("a")
            assert value is not None and int(value) >= least
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)

    readers = [asyncio.create_task(read()) for _ in range(8)]
    for version in range(1, 200):
        database.rows["a"] = str(version).encode()
        await cache.invalidate("a")
        oldest = version
        for _ in range(rng.randrange(30)):
            await asyncio.sleep(0)
    reading = False
    await asyncio.gather(*readers)
    assert await cache.get("a") == b"199"


async def test_invalidate_tells_how_many_keys_were_there(client: Redis) -> None:
    cache = CacheAside(client, Database().load, 60, prefix="p:")
    await cache.get("a")
    await cache.get("b")
    assert await cache.invalidate("a", "b", "c") == 2
    assert await cache.invalidate() == 0


@pytest.mark.parametrize(
    "options",
    [{"ttl_s": 0}, {"jitter": 1}, {"jitter": -0.1}, {"negative_ttl_s": 0}, {"timeout_s": 0}, {"on_error": "ignore"}],
)
async def test_nonsense_is_refused(client: Redis, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        CacheAside(client, Database().load, **{"ttl_s": 60, **options})


def test_the_library_loads_without_the_dashboard() -> None:
    code = "import sys, cachetui.patterns; print([m for m in sys.modules if m.split('.')[0] in ('textual', 'rich')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
