"""Incidents to rehearse: each can be switched on while the demo's load runs, and is seen on the screen.

`SCENARIOS` is the table; `play` starts one from any program against the demo's server. Each is bounded in rate and in
time, uses connections of its own, named `scenario-...`, and leaves only keys that expire.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cachetui.demo import SEED
from cachetui.demo.actors import TROUBLES, Ledger, Pace, Reach, at_port, end, repeat, run_all, send
from cachetui.demo.shop import PAGE_PREFIX, Command, Shop
from cachetui.demo.workload import SPIN

LASTING_S = 30.0
"""How long a scenario goes on, unless told otherwise."""
READERS = 100
SLOW_DATABASE_S = 0.25
HOT_TTL_S = 2
CLIFF_KEYS = 6000
CLIFF_EVERY_S = 10


@dataclass(slots=True)
class Stage:
    """Where a scenario is played."""

    reach: Reach
    """Opens its clients."""
    shop: Shop
    rng: random.Random = field(default_factory=random.Random)
    ledger: Ledger = field(default_factory=Ledger)
    loads: int = 0
    """How often the database was asked."""

    async def row(self, page: str) -> bytes:
        """Ask the database, which is slow."""
        self.loads += 1
        await asyncio.sleep(SLOW_DATABASE_S)
        return self.shop.page(page) or b""


Play = Callable[[Stage], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One incident."""

    id: str
    title: str
    """For a menu: what happens, in three to six words."""
    words: str
    """What is done, and where it is seen."""
    start: Play
    """Plays it until its time is over or it is cancelled."""


async def stampede(stage: Stage) -> None:
    """Let many readers without any protection miss one page again and again."""
    page = stage.shop.pages[0]
    key = f"{PAGE_PREFIX}{page}"

    async with stage.reach("scenario-stampede", connections=16) as client:

        async def read() -> None:
            # What blog posts show: look, load, store. No lock, no single flight, no jitter.
            if await client.get(key) is None:
                await client.set(key, await stage.row(page), ex=HOT_TTL_S)
            await asyncio.sleep(stage.rng.uniform(0.05, 0.15))

        await client.unlink(key)
        await run_all([repeat(read, stage.ledger, stage.rng) for _ in range(READERS)])


async def cold_start(stage: Stage) -> None:
    """Take all cached pages away at once, as a restart without a snapshot does."""
    async with stage.reach("scenario-cold-start") as client:
        names = [f"{PAGE_PREFIX}{page}" for page in stage.shop.pages]
        for at in range(0, len(names), 500):
            gone: list[Command] = [("UNLINK", name) for name in names[at : at + 500]]
            await send(client, gone, stage.ledger)


async def polluting_scan(stage: Stage) -> None:
    """Let a crawler cache one thing after the other that nobody asks for again, until the useful is evicted."""
    async with stage.reach("scenario-crawler") as client:
        await _at_rate(stage, client, 1500, lambda: stage.shop.fragment(stage.rng))


async def expiry_cliff(stage: Stage) -> None:
    """Store thousands of keys that expire in the same second, and read them."""
    cliff_at = 0

    def fill() -> list[Command]:
        return [("SET", f"promo:{number}", "x" * 200, "EXAT", cliff_at) for number in range(CLIFF_KEYS)]

    async with stage.reach("scenario-cliff") as client:
        reads = Pace(1500)

        async def step() -> None:
            nonlocal cliff_at
            await reads.step()
            names = [stage.rng.randrange(CLIFF_KEYS) for _ in range(reads.due())]
            await send(client, [("GET", f"promo:{number}") for number in names], stage.ledger)
            # The job that fills them runs some time after they are gone: until then all reads miss.
            if time.time() > cliff_at + CLIFF_EVERY_S / 3:
                cliff_at = int(time.time()) + CLIFF_EVERY_S
                for some in _in_steps(fill()):
                    await send(client, some, stage.ledger)

        await repeat(step, stage.ledger, stage.rng)


async def hot_key(stage: Stage) -> None:
    """Ask for one key thousands of times a second, from several clients."""
    key = f"{PAGE_PREFIX}{stage.shop.pages[1]}"

    async def hammer(name: str) -> None:
        async with stage.reach(name) as client:
            await client.set(key, stage.shop.page(stage.shop.pages[1]) or b"", ex=60)
            await _at_rate(stage, client, 1500, lambda: ("GET", key))

    await run_all([hammer(f"scenario-hot-{number}") for number in range(3)])


async def retry_storm(stage: Stage) -> None:
    """Let impatient clients give up on a slow command and send it again, each time over a new connection."""

    async def impatient(number: int) -> None:
        async def attempt() -> None:
            async with stage.reach(f"scenario-retry-{number}") as client:
                try:
                    async with asyncio.timeout(0.02):
                        # The server works on, though nobody waits for the answer any more.
                        await client.eval(SPIN, 1, f"retry:{number}", 1_500_000)
                except TROUBLES as error:
                    stage.ledger.note(error)
            await asyncio.sleep(stage.rng.uniform(0.2, 0.4))

        await repeat(attempt, stage.ledger, stage.rng)

    await run_all([impatient(number) for number in range(8)])


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "stampede",
        "a stampede on one page",
        f"{READERS} readers miss the same page every {HOT_TTL_S} s and all ask a slow database: misses jump together, "
        "one key is written a hundred times in a moment (Activity, Overview)",
        stampede,
    ),
    Scenario(
        "cold-start",
        "a cold start of the cache",
        "all cached pages are gone at once: the hit rate falls and climbs back (Overview, Findings)",
        cold_start,
    ),
    Scenario(
        "polluting-scan",
        "a crawler that pollutes the cache",
        "1,500 values a second that nobody reads again: evictions rise, the hit rate sinks (Memory, Findings)",
        polluting_scan,
    ),
    Scenario(
        "expiry-cliff",
        "an expiry cliff",
        f"{CLIFF_KEYS:,} keys expire in the same second, every {CLIFF_EVERY_S} s or so: expirations and misses come in "
        "waves (Overview, Findings)",
        expiry_cliff,
    ),
    Scenario(
        "hot-key",
        "a hot key",
        "4,500 reads a second of one key from three clients (Activity, Clients)",
        hot_key,
    ),
    Scenario(
        "retry-storm",
        "a storm of retries",
        "eight clients give up after 20 ms on a command that takes longer and send it again over new connections: "
        "slow log, latency and connections rise (Slow, Clients)",
        retry_storm,
    ),
)


def scenario(name: str) -> Scenario:
    """Return the scenario with this id. Raises KeyError."""
    return {one.id: one for one in SCENARIOS}[name]


async def play(name: str, where: int | Reach, *, lasting_s: float = LASTING_S, seed: int = SEED) -> Stage:
    """Play one scenario against the demo's server on a loopback port, or what a `Reach` opens clients of.

    Cancelling ends it. Returns what it met. Raises KeyError for a scenario that does not exist.
    """
    chosen = scenario(name)
    reach = at_port(where) if isinstance(where, int) else where
    stage = Stage(reach, Shop(seed, datetime.now(UTC)))
    playing = asyncio.create_task(chosen.start(stage))
    try:
        await asyncio.wait({playing}, timeout=lasting_s)
        if playing.done():
            playing.result()
    finally:
        await end(playing)
    return stage


async def _at_rate(stage: Stage, client: Any, per_s: float, command: Callable[[], Command]) -> None:
    """Send a command at a rate, until cancelled."""
    pace = Pace(per_s)

    async def step() -> None:
        await pace.step()
        await send(client, [command() for _ in range(pace.due())], stage.ledger)

    await repeat(step, stage.ledger, stage.rng)


def _in_steps(commands: Sequence[Command], step: int = 500) -> list[Sequence[Command]]:
    return [commands[at : at + step] for at in range(0, len(commands), step)]
