"""How fast a write on many keys may go: by the person's rate, and by what other clients of the server feel."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Protocol

from cachetui.actions.plan import Sweep
from cachetui.errors import CacheError

BATCH, LEAST_BATCH, MOST_BATCH = 500, 20, 1000
"""Keys in a batch at the beginning, and where it may go. Several are in flight, and others wait for all of them."""
TICKS_S = 0.1
"""With a rate the batches are so small that they come about so often."""
PROBE_S = 0.05
PROBES, SLOWEST = 20, 2
"""Of so many probes the slowest is shown; so many slow ones are needed to slow down: one may be our own hiccup."""
ABOVE, ABOVE_US = 1.5, 5_000.0
"""Without a limit of their own, other clients may wait so many times as long as before, and so much longer."""
MARGIN = 0.5
"""With a limit it is this share of it that is aimed at: what is above it is only seen when somebody has felt it."""
GROWTH, CAREFUL_GROWTH = 1.1, 1.05
"""After each probe that was quick the batches grow so much; with a limit more slowly."""
REST_S = 1.0
"""The longest rest between two batches for the server's sake."""


class Probed(Protocol):
    """What can be asked how long a round trip takes."""

    async def latency_us(self) -> float | None: ...


class Pacer:
    """Lets batches through. `pause`, `resume` and `rate` are for whoever watches."""

    def __init__(self, rate: float | None = None, p99_ms: float | None = None) -> None:
        self.rate = rate
        """Keys a second at most; None: as fast as the server bears."""
        self.p99_us: float | None = None
        """The slowest of the latest probes: another client's round trip; None while unknown."""
        self._limit_us = None if p99_ms is None else p99_ms * 1000 * MARGIN
        self._growth = GROWTH if p99_ms is None else CAREFUL_GROWTH
        self._going = asyncio.Event()
        self._going.set()
        self._free_at = 0.0
        self._latest: deque[float] = deque(maxlen=PROBES)
        self._batch = float(BATCH)
        self._rest_s = 0.0

    @classmethod
    def of(cls, sweep: Sweep) -> Pacer:
        """Return the pace that the plan names."""
        return cls(sweep.rate, sweep.p99_ms)

    @property
    def batch(self) -> int:
        """Keys in the next batch."""
        most = self._batch if self.rate is None else min(self._batch, self.rate * TICKS_S)
        return max(1, int(most))

    @property
    def paused(self) -> bool:
        """Tell whether nothing is let through."""
        return not self._going.is_set()

    def pause(self) -> None:
        """Let nothing more through; what is in flight ends."""
        self._going.clear()

    def resume(self) -> None:
        """Go on."""
        self._going.set()

    async def leave(self, keys: int) -> None:
        """Wait until a batch of so many keys may leave."""
        await self._going.wait()
        now = time.monotonic()
        starts = max(now, self._free_at)
        self._free_at = starts + max(self._rest_s, keys / self.rate if self.rate else 0.0)
        if starts > now:
            await asyncio.sleep(starts - now)
            await self._going.wait()

    async def watch(self, source: Probed) -> None:
        """Probe the server until cancelled, and go slower when others wait too long."""
        while True:
            try:
                taken_us = await source.latency_us()
            except CacheError:
                taken_us = None  # the batches meet the same trouble, and tell it
            if taken_us is not None:
                self._learn(taken_us)
            await asyncio.sleep(PROBE_S)

    def _learn(self, taken_us: float) -> None:
        if self._limit_us is None:
            self._limit_us = ABOVE * taken_us + ABOVE_US  # the first probe leaves before the first batch
        self._latest.append(taken_us)
        self.p99_us = max(self._latest)
        felt_us = sorted(self._latest)[-SLOWEST] if len(self._latest) >= SLOWEST else 0.0
        if felt_us > self._limit_us:
            self._slow_down()
        else:
            if felt_us < self._limit_us / 2:
                self._batch = min(float(MOST_BATCH), self._batch * self._growth)
            self._rest_s = 0.0 if self._rest_s < 0.002 else self._rest_s / 1.5

    def _slow_down(self) -> None:
        self._latest.clear()
        if self._batch > LEAST_BATCH:
            self._batch = max(float(LEAST_BATCH), self._batch / 2)
        else:
            self._rest_s = min(REST_S, max(0.005, self._rest_s * 2))
