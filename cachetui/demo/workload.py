"""The shop's live load on a Redis-like server: bounded, believable, and hard to stop by accident."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Coroutine
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from cachetui.demo.actors import FIRST_PAUSE_S, TROUBLES, Ledger, Pace, Reach, repeat, run_all, send
from cachetui.demo.servers import MAXMEMORY_BYTES
from cachetui.demo.shop import PAGE_PREFIX, Command, Shop, session_name
from cachetui.demo.stock import keep_stock
from cachetui.patterns.aio import CacheAside, CircuitBreaker

FULL_SHARE = 0.97
FULL_BYTES = int(MAXMEMORY_BYTES * FULL_SHARE)
"""How far the fill goes: the live load does the rest and brings the evictions."""
PAGE_TTL_S = 60.0
MISSING_TTL_S = 15.0
BATCH = 400
QUEUES = ("queue:emails", "queue:thumbnails")
ORDERS = "orders"
GROUPS = ("billing", "shipping")
NO_KEYS = ("EVAL", "KEYS")
"""Reports that belong to no slot."""
SPIN = "local n = 0 for i = 1, tonumber(ARGV[1]) do n = n + i % 7 end return n"

SHARE_OF_LOOKUPS = 0.3
"""The part of the rate that goes through cache-aside; the rest are pipelined commands."""


class Workload:
    """All actors of the shop against what `reach` opens clients of, at about `rate` commands a second.

    Lookups that miss bring more, as each is a lease, a load and a fill: with a cold cache up to three times as many.
    In a cluster, where `clustered`, no command has keys of several slots.
    """

    def __init__(self, reach: Reach, *, rate: int, seed: int, ledger: Ledger, clustered: bool = False) -> None:
        self._client = reach
        self._clustered = clustered
        self.rate = rate
        self.seed = seed
        self.shop = Shop(seed, datetime.now(UTC))
        self.ledger = ledger
        self.breaker = CircuitBreaker(failures=8, reset_s=1.0)
        self._sessions: deque[str] = deque(maxlen=3000)

    async def run(self) -> None:
        """Fill the server, then load it until cancelled."""
        await self._fill()
        actors = [self._web("web-1"), self._web("web-2"), self._worker(), self._cron()]
        actors += [self._consumer(), self._producer(), self._subscriber()]
        actors.append(keep_stock(self._client, self._rng("stock"), self.ledger))
        await run_all(actors)

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self.seed}:{name}")

    # ----- the fill

    async def _fill(self) -> None:
        rng = self._rng("fragments")
        commands = self.shop.bulk()
        async with self._client("import") as client:
            groups: list[Command] = [("XGROUP", "CREATE", ORDERS, group, 0, "MKSTREAM") for group in GROUPS]
            await self._try(send(client, groups, self.ledger))
            while batch := list(islice(commands, BATCH)):
                await self._try(send(client, batch, self.ledger))
                await asyncio.sleep(0.005)
            await self._try(self._fill_up(client, rng, steps=200))

    async def _try(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do a part of the fill; what fails is counted and left to the live load to heal."""
        try:
            await work
        except TROUBLES as error:
            self.ledger.note(error)
            await asyncio.sleep(FIRST_PAUSE_S)

    async def _fill_up(self, client: Redis, rng: random.Random, steps: int) -> None:
        """Cache fragments until the memory is nearly full: at most `steps` batches."""
        for _ in range(steps):
            used, limit = await self._memory(client)
            if used > min(FULL_BYTES, FULL_SHARE * (limit or FULL_BYTES)):
                return
            await send(client, [self.shop.fragment(rng) for _ in range(BATCH)], self.ledger)

    async def _memory(self, client: Any) -> tuple[int, int]:
        """Return the bytes that are used, and the limit: of all primaries in a cluster."""
        if not self._clustered:
            memory = await client.info("memory")
            return memory["used_memory"], memory["maxmemory"]
        found = (await client.info("memory", target_nodes="primaries")).values()
        return sum(memory["used_memory"] for memory in found), sum(memory["maxmemory"] for memory in found)

    # ----- the live load

    async def _load_page(self, name: str) -> bytes | None:
        await asyncio.sleep(0.004)  # the database takes its time
        return self.shop.page(name)

    async def _web(self, name: str) -> None:
        rng = self._rng(name)
        pace = Pace(1)
        lookups, views = Pace(self.rate * SHARE_OF_LOOKUPS / 2), Pace(self.rate * (1 - SHARE_OF_LOOKUPS) / 2 / 10)
        async with self._client(name, connections=4) as client:
            pages = CacheAside(
                client,
                self._load_page,
                PAGE_TTL_S,
                prefix=PAGE_PREFIX,
                jitter=0.3,
                negative_ttl_s=MISSING_TTL_S,
                breaker=self.breaker,
                rng=rng,
            )

            async def step() -> None:
                await pace.step()
                names = self.shop.popular_pages(rng, lookups.due())
                at_once = asyncio.Semaphore(4)

                async def read(page: str) -> None:
                    async with at_once:
                        await pages.get(page)

                await asyncio.gather(*map(read, names))
                await self._visit(client, rng, views.due())

            await repeat(step, self.ledger, rng)

    async def _visit(self, client: Redis, rng: random.Random, visits: int) -> None:
        """Do what `visits` page views bring with them: about ten commands each."""
        commands: list[Command] = []
        users = self.shop.popular_users(rng, visits)
        for user, page in zip(users, self.shop.popular_pages(rng, visits), strict=True):
            commands += self._view(rng, user, page)
        commands += [self.shop.fragment(rng) for _ in range(visits // 4)]
        profiles: list[Command] = [("HGETALL", f"user:{user}") for user in users]
        answers = (await send(client, commands + profiles, self.ledger))[len(commands) :]
        gone = [user for user, profile in zip(users, answers, strict=True) if profile is not None and not profile]
        await send(client, [self.shop.user(user) for user in gone], self.ledger)

    def _view(self, rng: random.Random, user: int, page: str) -> list[Command]:
        shop = self.shop
        if rng.random() < 0.25 or not self._sessions:
            session = session_name(rng)
            self._sessions.append(session)
        else:
            session = self._sessions[-1 - int(rng.random() ** 3 * len(self._sessions))]
        address = f"203.0.113.{rng.randrange(256)}"
        commands: list[Command] = [
            *shop.session(rng, session, page, rng.choice((20, 60, 180, 600))),
            ("INCR", f"counter:views:{page}"),
            ("INCR", f"ratelimit:{address}"),
            ("EXPIRE", f"ratelimit:{address}", 20),
            ("PFADD", f"visitors:{shop.today}", f"v{user}"),
            ("SETBIT", f"active:{shop.today}", user, 1),
        ]
        if rng.random() < 0.5:
            commands.append(("ZINCRBY", "leaderboard:weekly", rng.randrange(1, 20), f"user:{user}"))
        if rng.random() < 0.1:
            commands.append(("SADD", f"tag:{rng.choice(('new', 'sale', 'gift'))}", page))
        return commands

    async def _producer(self) -> None:
        """The checkout: orders, jobs for the workers, news for the subscribers, data for the slow reports."""
        rng = self._rng("producer")
        pace = Pace(1, step_s=0.5)
        async with self._client("checkout") as client:

            async def step() -> None:
                await pace.step()
                commands: list[Command] = []
                for _ in range(rng.randrange(2, 6)):
                    user, cents = rng.randrange(8000), rng.randrange(500, 50_000)
                    commands.append(("XADD", ORDERS, "MAXLEN", "~", 5000, "*", "user", user, "cents", cents))
                    commands.append(("RPUSH", "big:events", f'{{"event":"order","user":{user}}}'))
                # Now and then a newsletter: the queue grows and is worked off.
                jobs = 60 if rng.random() < 0.04 else rng.randrange(0, 3)
                queue = QUEUES[rng.random() < 0.2]
                commands += [("RPUSH", queue, f'{{"job":{rng.getrandbits(32)}}}') for _ in range(jobs)]
                commands.append(("LTRIM", "big:events", -10_000, -1))
                await send(client, commands, self.ledger)
                await client.publish("news:orders", "new")

            await repeat(step, self.ledger, rng)

    async def _worker(self) -> None:
        """Waits for jobs in BLPOP, so that there is always a blocked client."""
        rng = self._rng("worker-1")
        async with self._client("worker-1", wait_s=5) as client:

            async def step() -> None:
                queues = QUEUES[:1] if self._clustered else QUEUES
                job = await client.blpop(list(queues), timeout=5)
                if job is not None:
                    await asyncio.sleep(rng.uniform(0.02, 0.12))

            await repeat(step, self.ledger, rng)

    async def _consumer(self) -> None:
        """Reads the orders for two groups; shipping forgets to acknowledge one in five."""
        rng = self._rng("consumer")
        async with self._client("worker-2", wait_s=2) as client:

            async def step() -> None:
                for group in GROUPS:
                    try:
                        answer = await client.xreadgroup(group, f"{group}-1", {ORDERS: ">"}, count=20, block=500)
                    except ResponseError as error:
                        if not str(error).startswith("NOGROUP"):
                            raise
                        await client.xgroup_create(ORDERS, group, id="0", mkstream=True)
                        continue
                    ids = _entry_ids(answer)
                    done = [entry for entry in ids if group == "billing" or rng.random() < 0.8]
                    if done:
                        await client.xack(ORDERS, group, *done)

            await repeat(step, self.ledger, rng)

    async def _subscriber(self) -> None:
        rng = self._rng("subscriber")

        async def step() -> None:
            async with self._client("notifier", wait_s=5) as client, client.pubsub() as news:
                await news.subscribe("news:orders")
                await news.psubscribe("cache.*")
                while True:
                    await news.get_message(ignore_subscribe_messages=True, timeout=5)

        await repeat(step, self.ledger, rng)

    async def _cron(self) -> None:
        """Reports that are too slow, exports that never expire, and the job that puts back what is missing."""
        rng = self._rng("cron")
        turns = 0
        async with self._client("cron", wait_s=3) as client:

            async def step() -> None:
                nonlocal turns
                await asyncio.sleep(rng.uniform(0.6, 1.4))
                turns += 1
                await send(client, [self.shop.export(rng)], self.ledger)
                report = rng.choices(*_reports(rng))[0]
                if not (self._clustered and report[0] in NO_KEYS):
                    await send(client, [report], self.ledger)
                if turns % 3 == 0:
                    await self._restock(client, rng)

            await repeat(step, self.ledger, rng)

    async def _restock(self, client: Redis, rng: random.Random) -> None:
        families = self.shop.families()
        present = await send(client, [("EXISTS", family.probe) for family in families], self.ledger)
        missing = [family for family, found in zip(families, present, strict=True) if found == 0]
        for family in rng.sample(missing, min(3, len(missing))):
            await send(client, list(family.commands()), self.ledger)
        await self._fill_up(client, rng, steps=2)


def _reports(rng: random.Random) -> tuple[list[Command], list[int]]:
    """Return the slow commands and how often each is chosen."""
    return (
        [
            ("SORT", "big:scores", "LIMIT", 0, 10, "DESC"),
            ("SORT", "big:followers", "ALPHA", "LIMIT", 0, 10),
            ("SMEMBERS", "big:followers"),
            ("LRANGE", "big:events", 0, -1),
            ("HGETALL", "catalog:all"),
            ("EVAL", SPIN, 0, rng.randrange(300_000, 2_000_000)),
            ("KEYS", "session:00*"),
        ],
        [5, 2, 3, 3, 2, 4, 1],
    )


def _entry_ids(answer: Any) -> list[bytes]:
    """Return the ids in an XREADGROUP answer of either protocol version."""
    streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer or ()]
    found: list[bytes] = []
    for entries in streams:
        # Some clients wrap the entries once more.
        rows = entries[0] if entries and entries[0] and isinstance(entries[0][0], list | tuple) else entries
        found += [row[0] for row in rows]
    return found
