"""The shop's stock and prices, kept by the patterns whose keys a dashboard should know.

A write-behind queue (`behind:{stock:0}`), a tag (`tag:stock`), a version (`prices:version`) and short locks.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from cachetui.demo.actors import Ledger, Pace, Reach, repeat
from cachetui.patterns import Update
from cachetui.patterns.aio import CacheAside, Flusher, Versioned, WriteBehind

SALES = 12
"""Changes of the stock a second."""
SKUS = 400
FLUSH_EVERY = 8
"""Steps between two flushes: so long a backlog grows."""
BUMP_CHANCE = 0.005


async def keep_stock(reach: Reach, rng: random.Random, ledger: Ledger) -> None:
    """Sell and look at the stock until cancelled."""
    rows: dict[str, bytes] = {}

    async def write(updates: Sequence[Update]) -> None:
        await asyncio.sleep(0.02)  # the database takes its time
        rows.update({update.key: update.value for update in updates})

    async def load(key: str) -> bytes:
        await asyncio.sleep(0.004)
        return rows.get(key, b"100")

    async with reach("stock", connections=4) as client:
        queue = WriteBehind(client, "stock", prefix="stock:", max_backlog=5000)
        stock = CacheAside(client, queue.reading(load), 30, prefix="stock:", tags=["stock"])
        flusher = Flusher(client, "stock", write, prefix="stock:", lease_s=5)
        prices = Versioned(client, "prices", 60)
        priced = CacheAside(client, load, 60)
        pace, steps = Pace(SALES, step_s=0.25), 0

        async def step() -> None:
            nonlocal steps
            await pace.step()
            steps += 1
            for _ in range(pace.due()):
                sku = f"sku-{int(rng.paretovariate(1.1)) % SKUS:04}"
                left = int(await stock.get(sku) or b"100")
                await queue.put(sku, b"%d" % (left - 1 if left > 0 else 100))
                await priced.get(await prices.key(sku))
            if steps % FLUSH_EVERY == 0:
                await flusher.flush()
            if rng.random() < BUMP_CHANCE:
                await prices.bump()

        await repeat(step, ledger, rng)
