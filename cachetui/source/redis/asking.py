"""Several servers asked side by side: one that is slow or dead holds nobody up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetui.errors import CacheError, TimedOut

Found = TypeVar("Found")

PATIENCE_S = 0.5
"""So long the others wait for a server that has answered so far."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[Found]):
    """What one server said last, or why it says nothing."""

    found: Found | None
    error: CacheError | None
    at: float
    """When that came, by `time.monotonic`."""


class Panel(Generic[Found]):
    """Asks each address by `ask`, never twice at once. What is late is there for the next round.

    `ask` has a deadline of its own and raises only CacheError.
    """

    def __init__(self, ask: Callable[[str], Awaitable[Found]], *, patience_s: float = PATIENCE_S) -> None:
        self._ask = ask
        self._patience_s = patience_s
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._answers: dict[str, Answer[Found]] = {}
        self._slow: set[str] = set()

    async def round(self, addresses: Collection[str]) -> dict[str, Answer[Found]]:
        """Ask all of `addresses` and return what is known of each by then; an address without any answer is missing."""
        for address in addresses:
            if address not in self._tasks:
                self._tasks[address] = asyncio.create_task(self._one(address), name=f"ask {address}")
        awaited = [
            self._tasks[address] for address in addresses if address in self._tasks and address not in self._slow
        ]
        if awaited:
            done, late = await asyncio.wait(awaited, timeout=self._patience_s)
            for task in done:
                task.result()  # a defect must be seen
            self._slow |= {address for address in addresses if self._tasks.get(address) in late}
        return {address: self._answers[address] for address in addresses if address in self._answers}

    async def close(self) -> None:
        """Stop asking."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, address: str) -> None:
        try:
            answer = Answer(await self._ask(address), None, time.monotonic())
            self._slow.discard(address)
        except CacheError as error:
            answer = Answer(None, error, time.monotonic())
            if isinstance(error, TimedOut):
                self._slow.add(address)
        finally:
            self._tasks.pop(address, None)
        self._answers[address] = answer
