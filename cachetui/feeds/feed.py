"""One polling task: its pace, its backoff, its circuit breaker, and what it remembers of refusals."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from cachetui.errors import TimedOut
from cachetui.model import Trouble
from cachetui.model.trouble import LINK_CODES, REFUSAL_CODES, trouble_of
from cachetui.source.base import Kind, Polled, Source

GUARD_S = 10.0
"""Our own deadline for a poll, should a driver's fail: a driver has a few calls of 1 to 3 s each."""

MAX_BACKOFF_S = 10.0
"""A dead server is asked this often while somebody looks: it is seen soon after it is back."""

OPEN_AFTER = 3
"""Failures in a row that open the circuit breaker."""

MANY_CLIENTS = 1000

Status = Literal["off", "starting", "live", "trouble", "denied", "paused"]
Breaker = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True)
class FeedState:
    """How one feed is doing."""

    kind: Kind
    status: Status
    """`off`: nobody looks. `starting`: no answer yet. `denied`: refused, not asked again. `paused`: frozen."""
    breaker: Breaker
    """`open`: failing, waiting for the next try; `half-open`: that try is under way."""
    interval_s: float
    trouble: Trouble | None = None
    """Why it fails or was denied."""
    failures: int = 0
    """In a row."""
    missed: int = 0
    """Ticks that passed while a poll was still under way; none is made up for."""
    retry_in_s: float | None = None
    """Until the next try while failing; None otherwise, and while the stats feed probes the server for all."""


def interval_of(kind: Kind, base_s: float, clients: int | None = None) -> float:
    """Return the seconds between two polls of `kind` when stats are polled every `base_s`.

    >>> [interval_of(kind, 1.0) for kind in ("stats", "slowlog", "clients", "topology")]
    [1.0, 2.0, 2.0, 2.0]
    >>> interval_of("clients", 1.0, clients=5000), interval_of("topology", 0.2)
    (5.0, 1.0)
    """
    if kind == "stats":
        return base_s
    if kind == "clients" and clients is not None and clients > MANY_CLIENTS:
        return 5 * base_s
    return max(1.0, 2 * base_s) if kind == "topology" else 2 * base_s


def next_tick(started: float, now: float, epoch: float, interval_s: float) -> float:
    """Return the next point of the grid `epoch + n * interval_s`, past ones skipped, not right after `started`.

    >>> next_tick(10.0, 10.1, 0.0, 1.0), next_tick(10.0, 13.2, 0.0, 1.0), next_tick(9.9, 9.95, 0.0, 1.0)
    (11.0, 14.0, 11.0)
    """
    tick = epoch + (math.floor((now - epoch) / interval_s) + 1) * interval_s
    return tick + interval_s if tick - started < interval_s / 2 else tick


def backoff_s(failures: int, interval_s: float, jitter: float) -> float:
    """Return the pause after so many failures in a row; `jitter` is between 0 and 1.

    >>> [backoff_s(n, 1.0, 1.0) for n in (1, 2, 3, 4, 5, 3600)], backoff_s(1, 60.0, 1.0)
    ([1.0, 2.0, 4.0, 8.0, 10.0, 10.0], 10.0)
    """
    pause = min(MAX_BACKOFF_S, max(interval_s, 0.1) * 2.0 ** min(failures - 1, 20))
    return float(pause * (0.75 + 0.25 * jitter))


class Feed:
    """Polls one kind of data while it is active. Polls never overlap, and no failure ends it.

    `deliver(kind, snapshot, trouble)` is awaited after each poll, with one of both.
    """

    def __init__(
        self,
        kind: Kind,
        source: Source,
        *,
        interval_s: Callable[[], float],
        epoch: float,
        deliver: Callable[[Kind, Polled | None, Trouble | None], Awaitable[None]],
        guard_s: float = GUARD_S,
    ) -> None:
        self.kind: Kind = kind
        self.trouble: Trouble | None = None
        self.active = False
        self.held = False
        """The stats feed has lost the server and probes it for all: wait."""
        self._source = source
        self._interval_s = interval_s
        self._epoch = epoch
        self._deliver = deliver
        self._guard_s = guard_s
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._started = -math.inf
        self._failures = 0
        self._missed = 0
        self._probing = False
        self._answered = False
        self._task = asyncio.create_task(self._run(), name=f"feed {kind}")

    @property
    def denied(self) -> bool:
        """True while the feed remembers that its command is refused."""
        return self.trouble is not None and self.trouble.code in REFUSAL_CODES

    @property
    def lost(self) -> bool:
        """True while the server as a whole does not answer."""
        return self.trouble is not None and self.trouble.code in LINK_CODES

    def set_active(self, active: bool) -> None:
        """Begin or end polling; a poll under way is left to finish: cancelling it would drop the connection."""
        if active and not self.active:
            self._due = max(self._loop.time(), self._due)
            self._wake.set()
        self.active = active

    def hold(self, trouble: Trouble) -> bool:
        """Wait until `release`, with the trouble of the stats feed. False when it did so already."""
        known = self.held and self.trouble == trouble
        self.held = True
        self.trouble = trouble
        return not known

    def release(self) -> None:
        """The server answers again: poll at once, also what was refused (it may be another server now)."""
        if self.held or self.lost or self.denied:
            self.poke()

    def poke(self) -> None:
        """Poll now, and forget a refusal."""
        if self.held or self.denied:
            self.trouble = None
        self.held = False
        self._due = self._loop.time()
        self._wake.set()

    def reschedule(self) -> None:
        """Follow a changed interval at once."""
        now = self._loop.time()
        if self._failures == 0 and self._due > now:
            self._due = next_tick(self._started, now, self._epoch, self._interval_s())
        self._wake.set()

    def state(self) -> FeedState:
        """Return how the feed is doing."""
        waiting = self.active and self.trouble is not None and not self.denied and not self.held
        return FeedState(
            kind=self.kind,
            status=self._status(),
            breaker=self._breaker(),
            interval_s=self._interval_s(),
            trouble=self.trouble,
            failures=self._failures,
            missed=self._missed,
            retry_in_s=max(0.0, self._due - self._loop.time()) if waiting else None,
        )

    async def close(self) -> None:
        """End the task, a poll under way included."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _status(self) -> Status:
        if self.denied:
            return "denied"
        if not self.active:
            return "off"
        if self.trouble is not None:
            return "trouble"
        return "live" if self._answered else "starting"

    def _breaker(self) -> Breaker:
        if self.denied or self.trouble is None:
            return "closed"
        if self.held:
            return "open"
        if self._failures < OPEN_AFTER:
            return "closed"
        return "half-open" if self._probing else "open"

    def _delay_s(self) -> float | None:
        """Return the seconds until the next poll, None to wait for `_wake`."""
        if not self.active or self.held or self.denied:
            return None
        return self._due - self._loop.time()

    async def _run(self) -> None:
        while True:
            delay = self._delay_s()
            if delay is not None and delay <= 0:
                await self._once()
                continue
            self._wake.clear()
            with contextlib.suppress(TimeoutError):  # the tick has come
                async with asyncio.timeout(delay):
                    await self._wake.wait()

    async def _once(self) -> None:
        self._started = self._loop.time()
        self._due = math.inf  # a poke during the poll asks for another one
        self._probing = True
        snapshot: Polled | None = None
        problem: BaseException | None = None
        try:
            snapshot = await self._poll()
            self._succeeded()
            await self._deliver(self.kind, snapshot, None)
        except asyncio.CancelledError as error:
            if self._ending():
                raise
            problem = error  # the driver's own doing, not ours
        except Exception as error:
            problem = error
        finally:
            self._probing = False
        if problem is not None:
            self._failed(problem)
            await self._deliver(self.kind, None, self.trouble)

    def _ending(self) -> bool:
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    async def _poll(self) -> Polled:
        try:
            async with asyncio.timeout(self._guard_s) as guard:
                return await self._source.poll(self.kind)
        except TimeoutError as error:
            if not guard.expired():
                raise
            raise TimedOut(f"no answer within {self._guard_s:.0f} s", "asked again by itself") from error

    def _succeeded(self) -> None:
        self.trouble, self._failures, self._answered = None, 0, True
        now, interval_s = self._loop.time(), self._interval_s()
        tick = next_tick(self._started, now, self._epoch, interval_s)
        self._missed += max(0, round((tick - self._started) / interval_s) - 1)
        self._due = min(self._due, tick)

    def _failed(self, error: BaseException) -> None:
        found = trouble_of(error, self._source.now())
        before = self.trouble
        if before is not None and before.code == found.code:
            found = Trouble(found.code, found.message, found.hint, before.since, found.detail)
        self.trouble = found
        self._failures += 1
        pause = backoff_s(self._failures, self._interval_s(), random.random())
        wanted = found.detail.get("retry_s")
        if isinstance(wanted, (int, float)) and wanted > 0:
            pause = min(pause, float(wanted))
        self._due = min(self._due, self._loop.time() + pause)
