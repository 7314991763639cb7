"""Shares of prefixes from samples beside the truth, and what would be evicted next beside what a server evicts.

Many samples of real servers with mixed sizes: how often the truth lies outside the stated 95 % intervals. Then, for
each policy, the forecast for the next tenth of the keys' memory, and what goes when maxmemory is lowered by that.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

from _figures import show
from _store import Store, engines
from redis import Redis

from cachetui.analysis.eviction import Outlook, outlook
from cachetui.analysis.prefixes import picture
from cachetui.config import Address, Target
from cachetui.keyspace.prefixing import sample_keys, sum_keys
from cachetui.model.prefixes import KeySample, prefix_of
from cachetui.source.base import Source
from cachetui.source.connect import open_source

KEYS, DRAWS = 40_000, 40
OUTSIDE_BUDGET = 5.0
POLICIES = ("allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl")
ROUNDS, ROUND_S = 3, 1.2
KINDS: dict[str, tuple[int, int | None, float]] = {
    "page": (4, 600, 0.2),
    "session": (3, 3600, 0.8),
    "cart": (2, 9000, 0.4),
    "user": (1, None, 0.6),
}
"""How many of ten keys, after how many seconds they expire, and which part of them is used."""


def main() -> None:
    for name, program in engines().items():
        print(f"\n{name}")
        with Store(program, 0) as store, Redis(port=store.port) as client:
            fill(client)
            outside, told, spent_s = asyncio.run(covered(store.port))
        show(f"of {told} shares in {DRAWS} samples outside 95 %", 100 * outside / told, "%", OUTSIDE_BUDGET)
        show("one sample of 2,000 keys", spent_s, "s")
        for policy in POLICIES:
            with Store(program, 0, "--maxmemory-policy", policy) as store, Redis(port=store.port) as client:
                evict(client, store.port, policy)


def fill(client: Redis) -> None:
    rng = random.Random(2)
    with client.pipeline(transaction=False) as pipe:
        for at in range(KEYS):
            (kind,) = rng.choices(tuple(KINDS), [often for often, _, _ in KINDS.values()])
            expires = KINDS[kind][1]
            value = b"x" * min(50_000, round(rng.lognormvariate(5 + len(kind) / 4, 1.0)))
            pipe.set(f"{kind}:{at}", value, ex=None if expires is None else expires + rng.randrange(600))
        pipe.execute()


async def opened(port: int) -> Source:
    return await open_source(Target(kind="redis", addresses=(Address("127.0.0.1", port),)))


async def covered(port: int) -> tuple[int, int, float]:
    """Return how many shares lay outside their interval, of how many, and the seconds a sample took."""
    source = await opened(port)
    exact = {row.prefix: row.share.value for row in picture(await sum_keys(source)).rows if row.share is not None}
    outside = told = 0
    began = time.monotonic()
    for _ in range(DRAWS):
        *_, sample = [one async for one in sample_keys(source)]
        for row in picture(sample).rows:
            if row.share is not None:
                told += 1
                outside += not row.share.low <= exact[row.prefix] <= row.share.high
    await source.close()
    return outside, told, (time.monotonic() - began) / DRAWS


def evict(client: Redis, port: int, policy: str) -> None:
    """Use the keys, foretell, lower maxmemory, and show both side by side."""
    fill(client)
    rng = random.Random(3)
    used = [key for key in client.scan_iter(count=5000) if rng.random() < KINDS[key.decode().split(":")[0]][2]]
    for _ in range(ROUNDS):
        time.sleep(ROUND_S)  # idle times are whole seconds
        with client.pipeline(transaction=False) as pipe:
            for key in used:
                pipe.get(key)
            pipe.execute()
    foretold = asyncio.run(forecast(port, policy))
    sizes = {key: client.memory_usage(key) or 0 for key in client.scan_iter(count=5000)}
    limit = round(client.info("memory")["used_memory"] - foretold.freed_bytes)
    client.config_set("maxmemory", limit)
    while client.info("memory")["used_memory"] > limit:
        client.set("page:last", "x")  # each write evicts
    left = set(client.scan_iter(count=5000))
    gone: Counter[bytes] = Counter()
    for key in sizes.keys() - left:
        gone[prefix_of(key)] += sizes[key]
    print(f"{policy}, the next {foretold.freed_bytes / 2**20:.1f} MB: foretold (interval), real")
    for prefix, share in foretold.shares:
        real = gone[prefix] / max(1, gone.total())
        within = "within" if share.low <= real <= share.high else "outside"
        words = f"{100 * share.value:5.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"
        print(f"  {prefix.decode():<12} {words:<26} {100 * real:5.1f} %  {within}")


async def forecast(port: int, policy: str) -> Outlook:
    source = await opened(port)
    samples: list[KeySample] = [one async for one in sample_keys(source)]
    await source.close()
    return outlook(samples[-1].facts, samples[-1].total, policy)


if __name__ == "__main__":
    main()
