"""The caching patterns beside the bare client: a hit, an open circuit, a stampede, write-behind.

With cashews, aiocache or dogpile.cache installed (give their site-packages in BESIDE), the same hits through them.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis
import redis.asyncio
from _figures import show
from _store import Store, engines

from cachetui.patterns import CacheAside, CircuitBreaker, Flusher, Update, WriteBehind, aio

CALLS, ROUNDS = 100, 200
BUDGET_HIT, BUDGET_OPEN_US, BUDGET_UPDATES = 1.3, 10.0, 20_000
CALLERS = 1000
UPDATES = 100_000
VALUE = b"x" * 500


def best_us(call: Callable[[], object], calls: int = CALLS) -> float:
    """Return the microseconds of one call, in one round."""
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls * 1e6


async def best_us_async(call: Callable[[], Awaitable[object]], calls: int = CALLS) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        await call()
    return (time.perf_counter() - began) / calls * 1e6


def show_hits(face: str, bare: list[float], ours: list[float]) -> None:
    """Print medians; the ratio is that of each round, whose two halves share the machine's mood."""
    show(f"{face}: GET by redis-py", statistics.median(bare), "us")
    show(f"{face}: a cached hit", statistics.median(ours), "us")
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, bare, strict=True))
    show(f"{face}: a cached hit to a bare GET", ratio, "x", BUDGET_HIT)


def hits(port: int) -> None:
    client = redis.Redis(port=port)
    cache = CacheAside(client, lambda _: VALUE, 600, breaker=CircuitBreaker())
    cache.get("hit")
    rounds = [(best_us(lambda: client.get("hit")), best_us(lambda: cache.get("hit"))) for _ in range(ROUNDS)]
    show_hits("threads", *map(list, zip(*rounds, strict=True)))


async def hits_async(port: int) -> None:
    async def load(_key: str) -> bytes:
        return VALUE

    client = redis.asyncio.Redis(port=port)
    cache = aio.CacheAside(client, load, 600, breaker=CircuitBreaker())
    await cache.get("hit")
    bare, ours = [], []
    for _ in range(ROUNDS):
        bare.append(await best_us_async(lambda: client.get("hit")))
        ours.append(await best_us_async(lambda: cache.get("hit")))
    show_hits("asyncio", bare, ours)
    await client.aclose()


def opened() -> CircuitBreaker:
    breaker = CircuitBreaker(failures=1, reset_s=3600)
    breaker.failed()
    return breaker


def open_circuit() -> None:
    cache = CacheAside(redis.Redis(port=1), lambda _: VALUE, 600, breaker=opened())
    show(
        "threads: a get with the circuit open",
        min(best_us(lambda: cache.get("a")) for _ in range(ROUNDS)),
        "us",
        BUDGET_OPEN_US,
    )


async def open_circuit_async() -> None:
    async def load(_key: str) -> bytes:
        return VALUE

    cache = aio.CacheAside(redis.asyncio.Redis(port=1), load, 600, breaker=opened())
    rounds = [await best_us_async(lambda: cache.get("a")) for _ in range(ROUNDS)]
    show("asyncio: a get with the circuit open", min(rounds), "us", BUDGET_OPEN_US)


def stampede(port: int) -> None:
    loads: list[str] = []

    def load(key: str) -> bytes:
        loads.append(key)
        time.sleep(0.05)
        return VALUE

    client = redis.Redis(port=port)
    caches = [CacheAside(client, load, 600) for _ in range(2)]
    ready = threading.Barrier(CALLERS)

    def get(number: int) -> None:
        ready.wait()
        caches[number % 2].get("stampede")

    threads = [threading.Thread(target=get, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    show(f"threads: loads of {CALLERS} misses at once, two caches as two processes", len(loads), "", 1)


async def stampede_async(port: int) -> None:
    loads: list[str] = []

    async def load(key: str) -> bytes:
        loads.append(key)
        await asyncio.sleep(0.05)
        return VALUE

    client = redis.asyncio.Redis(port=port)
    caches = [aio.CacheAside(client, load, 600) for _ in range(2)]
    await asyncio.gather(*(caches[number % 2].get("stampede async") for number in range(CALLERS)))
    show(f"asyncio: loads of {CALLERS} misses at once, two caches as two processes", len(loads), "", 1)
    await client.aclose()


def write_behind(port: int) -> None:
    rate = max(updates_a_second(port) for _ in range(3))
    show("write-behind: updates a second, queued and written", rate, "/s")
    show("write-behind: time of 20,000 updates", BUDGET_UPDATES / rate, "s", 1.0)


def updates_a_second(port: int) -> float:
    """Queue and flush at the same time, in one process: the slower of the two counts."""
    rows: dict[str, bytes] = {}

    def write(updates: list[Update]) -> None:
        rows.update({update.key: update.value for update in updates})

    queue = WriteBehind(redis.Redis(port=port), "bench", wait_s=60)
    flusher = Flusher(redis.Redis(port=port), "bench", write, batch=1000)
    rng = random.Random(1)
    updates = [(f"user:{rng.randrange(20_000)}", VALUE[:100]) for _ in range(UPDATES)]
    flusher.start()
    began = time.perf_counter()
    queue.put_many(updates)
    flusher.close(60)
    took_s = time.perf_counter() - began
    assert flusher.written == UPDATES and len(rows) == len(dict(updates))
    return UPDATES / took_s


# ----- beside others


async def beside(port: int) -> None:
    """Show hits through the libraries that are there."""
    if where := os.environ.get("BESIDE"):
        sys.path.append(where)
    for name, hit in (("cashews", _cashews), ("aiocache", _aiocache), ("dogpile.cache", _dogpile)):
        try:
            importlib.import_module(name)
        except ImportError:
            print(f"{name} is not installed: not measured")
            continue
        show(f"{name}: a cached hit", await hit(port), "us")


async def _cashews(port: int) -> float:
    from cashews import Cache  # type: ignore[import-not-found]

    cache = Cache()
    cache.setup(f"redis://127.0.0.1:{port}", client_side=False)

    @cache(ttl=600, key="cashews")
    async def value() -> bytes:
        return VALUE

    await value()
    return statistics.median([await best_us_async(value) for _ in range(ROUNDS)])


async def _aiocache(port: int) -> float:
    from aiocache import RedisCache, cached  # type: ignore[import-not-found]

    options: dict[str, Any] = {"endpoint": "127.0.0.1", "port": port}
    try:
        decorate = cached(ttl=600, cache=RedisCache, key="aiocache", **options)
    except TypeError:
        decorate = cached(
            cache=RedisCache(redis.asyncio.Redis(port=port)), ttl=600, key_builder=lambda *_, **__: "aiocache"
        )

    @decorate  # type: ignore[untyped-decorator]
    async def value() -> str:
        return VALUE.decode()

    await value()
    return statistics.median([await best_us_async(value) for _ in range(ROUNDS)])


async def _dogpile(port: int) -> float:
    from dogpile.cache import make_region  # type: ignore[import-not-found]

    options = {"host": "127.0.0.1", "port": port, "redis_expiration_time": 700}
    region = make_region().configure("dogpile.cache.redis", expiration_time=600, arguments=options)
    region.get_or_create("dogpile", lambda: VALUE)
    return statistics.median(best_us(lambda: region.get_or_create("dogpile", lambda: VALUE)) for _ in range(ROUNDS))


def main() -> None:
    program = next(iter(engines().values()))
    gc.freeze()
    with Store(program, 0) as store:
        hits(store.port)
        asyncio.run(hits_async(store.port))
        open_circuit()
        asyncio.run(open_circuit_async())
        stampede(store.port)
        asyncio.run(stampede_async(store.port))
        write_behind(store.port)
        asyncio.run(beside(store.port))


if __name__ == "__main__":
    main()
