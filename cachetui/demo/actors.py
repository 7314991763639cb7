"""What every actor of the demo shares: connections that come back, a pace, and errors that are only counted."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisClusterException, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from cachetui.demo.shop import Command

TROUBLES = (RedisError, RedisClusterException, OSError, TimeoutError)
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


def connect(port: int, name: str, *, connections: int = 1, wait_s: float = 0.0) -> Redis:
    """Return a client whose connections are called `name`. `wait_s`: how long a blocking command may block."""
    pool = BlockingConnectionPool(
        max_connections=connections,
        timeout=2,
        host="127.0.0.1",
        port=port,
        client_name=name,
        socket_timeout=2 + wait_s,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),
        driver_info=None,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return Redis.from_pool(pool)


Reach = Callable[..., AbstractAsyncContextManager[Any]]
"""Opens a client for a while: `reach(name, connections=1, wait_s=0.0)`, as `connect` takes them."""


def at_port(port: int) -> Reach:
    """Return what opens clients of the one server on a loopback port."""

    @asynccontextmanager
    async def reach(name: str, **options: Any) -> AsyncIterator[Redis]:
        client = connect(port, name, **options)
        try:
            yield client
        finally:
            await client.aclose()
            await client.connection_pool.disconnect()

    return reach


class Ledger:
    """How many errors of each kind the actors met, by the first word of the error."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()

    def note(self, error: Exception) -> None:
        word = str(error).split(" ", 1)[0] if isinstance(error, ResponseError) else ""
        if isinstance(error, OutOfMemoryError):
            word = "OOM"  # redis-py takes the words off that it knows
        self.errors[word if word.isupper() and word.isascii() else type(error).__name__] += 1

    def results(self, answers: Sequence[Any]) -> list[Any]:
        """Count the error replies among a pipeline's answers and return the answers with None in their place."""
        kept: list[Any] = []
        for answer in answers:
            if isinstance(answer, Exception):
                self.note(answer)
                kept.append(None)
            else:
                kept.append(answer)
        return kept


class Pace:
    """Turns a rate into whole numbers of things to do at each step, without losing fractions."""

    def __init__(self, per_s: float, step_s: float = 0.1) -> None:
        self.step_s = step_s
        self.per_step = per_s * step_s
        self._rest = 0.0
        self._next = time.monotonic()

    def due(self) -> int:
        """Return how many to do in this step."""
        self._rest += self.per_step
        whole = int(self._rest)
        self._rest -= whole
        return whole

    async def step(self) -> None:
        """Sleep until the next step; time lost is not made up for."""
        now = time.monotonic()
        self._next = max(self._next + self.step_s, now + self.step_s / 4)
        await asyncio.sleep(self._next - now)


async def repeat(step: Callable[[], Awaitable[None]], ledger: Ledger, rng: random.Random) -> None:
    """Run `step` again and again until cancelled; a failed step is counted and a growing, jittered pause follows."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            await step()
            pause_s = FIRST_PAUSE_S
        except TROUBLES as error:
            ledger.note(error)
            await asyncio.sleep(pause_s * rng.uniform(0.7, 1.3))
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)


async def send(client: Redis, commands: Sequence[Command], ledger: Ledger) -> list[Any]:
    """Send `commands` in one pipeline; error replies are counted and become None."""
    if not commands:
        return []
    async with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        return ledger.results(await pipe.execute(raise_on_error=False))


async def run_all(actors: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run `actors` until one of them fails or we are cancelled, and end them all."""
    tasks = [asyncio.create_task(actor) for actor in actors]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(*tasks)


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel `tasks` until they have ended.

    Once is not enough: up to Python 3.11 `asyncio.wait_for`, which redis-py sends with, loses a
    cancellation that arrives together with its result.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)
