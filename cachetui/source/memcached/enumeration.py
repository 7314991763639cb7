"""Enumerations in progress: a stream of dumps behind cursors that look like any other."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from cachetui.errors import CacheError, ServerError, Unreachable
from cachetui.model import ScanStep
from cachetui.source import faults
from cachetui.source.globs import compiled
from cachetui.source.memcached.dump import Dump
from cachetui.source.memcached.fleet import Fleet
from cachetui.source.memcached.keys import is_plain

KEPT = 4
"""Enumerations open at once; the one left alone the longest makes room."""
IDLE_S = 120.0
"""One that nobody has stepped for so long is forgotten, and the memory it holds freed."""
ODD_KEYS = 100_000
STEP = 1000


@dataclass(slots=True)
class _Walk:
    serial: int
    total: int | None
    server: int = 0
    step: int = 0
    dump: Dump | None = None
    begun: bool = False
    answered: int = 0
    last_used: float = 0.0
    errors: list[CacheError] = field(default_factory=list)

    def cursor(self) -> bytes:
        return b"%d:%d" % (self.serial, self.step)


class Enumerations:
    """Steps through the dumps of all servers, one server after the other."""

    def __init__(self, fleet: Fleet) -> None:
        self.odd_keys: set[bytes] = set()
        """Names a server has told us of that only travel base64-encoded."""
        self._fleet = fleet
        self._walks: dict[int, _Walk] = {}
        self._serials = itertools.count(1)

    def begin(self, total: int | None) -> bytes:
        """Return the first cursor of a new enumeration."""
        self.forget_idle()
        while len(self._walks) >= KEPT:
            self._end(min(self._walks.values(), key=lambda walk: walk.last_used))
        walk = _Walk(next(self._serials), total, last_used=time.monotonic())
        self._walks[walk.serial] = walk
        return walk.cursor()

    async def step(self, cursor: bytes, *, match: bytes | None, count: int) -> ScanStep:
        """Return the next names. Raises ServerError for a cursor that is not the next of its enumeration."""
        walk = self._walk(cursor)
        walk.last_used = time.monotonic()
        names: list[bytes] = []
        try:
            silent = len(walk.errors)
            while not names and walk.server < len(self._fleet.servers) and len(walk.errors) == silent:
                names = await self._names(walk, max(1, min(count, STEP)))
        except CacheError:
            self._end(walk)
            raise
        over = walk.server >= len(self._fleet.servers)
        if over:
            self._end(walk)
            if not walk.answered:
                raise self._fleet.none_answers(walk.errors)
        walk.step += 1
        self.remember_odd(name for name in names if not is_plain(name))
        if match is not None:
            fits = compiled(match).fullmatch
            names = [name for name in names if fits(name)]
        note = "; ".join(error.message for error in walk.errors)
        return ScanStep(time.time(), tuple(names), None if over else walk.cursor(), walk.total, note)

    async def _names(self, walk: _Walk, count: int) -> list[bytes]:
        """Return names of the present server; none when it is at its end or does not answer."""
        server = self._fleet.servers[walk.server]
        if walk.dump is None:
            walk.dump, walk.begun = Dump(server), False
        try:
            async with asyncio.timeout(server.timeout_s):
                names = await walk.dump.take(count)
        except (TimeoutError, Unreachable) as error:
            known = error if isinstance(error, CacheError) else faults.timed_out(server.address, server.timeout_s)
            if walk.begun or not self._fleet.several:
                raise known from None
            # The others go on without it: a dead server has no keys to miss, and the step says so.
            walk.errors.append(known)
            self._next(walk)
            return []
        walk.begun = True
        if not names:
            walk.answered += 1
            self._next(walk)
        return names

    def _walk(self, cursor: bytes) -> _Walk:
        serial, _, _ = cursor.partition(b":")
        walk = self._walks.get(int(serial)) if serial.isdigit() and len(serial) < 12 else None
        if walk is None or walk.cursor() != cursor:
            raise ServerError("the scan's cursor is not valid any more", "begin the scan again", word="CURSOR")
        return walk

    def _next(self, walk: _Walk) -> None:
        if walk.dump is not None:
            walk.dump.close()
        walk.dump, walk.begun = None, False
        walk.server += 1

    def _end(self, walk: _Walk) -> None:
        if walk.dump is not None:
            walk.dump.close()
        self._walks.pop(walk.serial, None)

    def forget_idle(self) -> None:
        """Drop enumerations that were left alone."""
        now = time.monotonic()
        for walk in list(self._walks.values()):
            if now - walk.last_used > IDLE_S:
                self._end(walk)

    def close(self) -> None:
        """Drop all enumerations. Never raises."""
        for walk in list(self._walks.values()):
            self._end(walk)

    def remember_odd(self, names: Iterable[bytes]) -> None:
        """Remember names that are not plain: the server has them."""
        if len(self.odd_keys) < ODD_KEYS:
            self.odd_keys.update(names)
