"""A burst of `watch` that is bounded in every way, sampled or counted as it comes, and ends itself when it hurts."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field

from cachetui.config import Address
from cachetui.errors import Unsupported
from cachetui.model.burst import BUSY, Burst, Figures, Limits
from cachetui.source import faults
from cachetui.source.base import CallSink, UseSink
from cachetui.source.memcached.connection import Connection, Login, connect, reply_error
from cachetui.source.memcached.events import EventReader
from cachetui.source.memcached.stats import COMMAND_FIELDS, Fields, read_stats, whole
from cachetui.source.memcached.watch import addresses

CHUNK_BYTES = 256 * 1024
TICK_S = 0.1
LOOK_S = 0.25
"""Between two looks at how the server fares."""
PINGS = 4
SLOWER_US = 2000.0
"""A round trip that grows by less never stops a burst."""
USES = (b"fetchers mutations deletions connevents", b"fetchers mutations connevents", b"fetchers mutations")
CALLS = (b"fetchers mutations evictions deletions connevents", b"fetchers mutations evictions connevents")
CALLS_OLD = b"fetchers mutations evictions"
"""Topics are tried in turn: one name that the server does not know spoils the line."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """The server's counters at one moment."""

    at_s: float
    commands: int
    cpu_s: float
    pings_us: tuple[float, ...]


@dataclass(slots=True)
class Burster:
    """One burst on one server. `run` is for a thread; `stop` may be called from any."""

    address: Address
    login: Login
    sink: UseSink | CallSink
    limits: Limits
    begun: Callable[[], None]
    ours: MutableSequence[str]
    """Our ends of all connections to the server: those of the burst are added."""
    sent: Counter[str] = field(default_factory=Counter)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _suffering: int = 0
    _before: Figures = field(default_factory=Figures)

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> Burst:
        """Watch to the end. Raises CacheError."""
        return asyncio.run(self._run())

    async def _run(self) -> Burst:
        gauge = await self._dial()
        try:
            stream = await self._dial()
            try:
                return await self._measure(gauge, stream)
            finally:
                stream.close()
        finally:
            gauge.close()

    async def _dial(self) -> Connection:
        try:
            async with asyncio.timeout(self.login.timeout_s):
                self.sent["version"] += 1
                connection = await connect(self.address, self.login, chunk_bytes=CHUNK_BYTES)
        except TimeoutError:
            raise faults.timed_out(self.address, self.login.timeout_s) from None
        self.ours.append(connection.peer)
        return connection

    async def _measure(self, gauge: Connection, stream: Connection) -> Burst:
        first, began = await self._aside(gauge)
        self._before = before = _figures([first, began])
        clients = await self._clients(gauge)
        await self._watch(stream)
        reader = EventReader(self.sink, clients, self.ours)
        self.begun()
        marks, ended_by, taken = await self._read(gauge, stream, reader, began)
        reader.end()
        stream.close()
        start, last = await self._aside(gauge)
        return Burst(
            marks[-1].at_s - began.at_s,
            reader.lines,
            reader.lookups,
            taken,
            ended_by,
            before,
            _figures(marks),
            _figures([start, last]),
            reader.skipped,
            reader.strange,
        )

    async def _watch(self, stream: Connection) -> None:
        topics = (*CALLS, CALLS_OLD) if isinstance(self.sink, CallSink) else USES
        reply = b""
        for topic in topics:
            self.sent["watch"] += 1
            await stream.send(b"watch %b\r\n" % topic)
            async with asyncio.timeout(self.login.timeout_s):
                reply = await stream.line()
            if reply == b"OK":
                return
        if reply.startswith(b"ERROR"):
            raise Unsupported("this memcached has no live events (watch)", "they come with 1.4.26 and later")
        raise reply_error(reply, "watch")

    async def _clients(self, gauge: Connection) -> dict[bytes, str]:
        """Return who is connected, by file descriptor."""
        return addresses(await self._stats(gauge, b"stats conns"))

    async def _stats(self, gauge: Connection, question: bytes) -> Fields:
        self.sent[question.decode()] += 1
        try:
            async with asyncio.timeout(self.login.timeout_s):
                await gauge.send(question + b"\r\n")
                return await read_stats(gauge)
        except TimeoutError:
            raise faults.timed_out(self.address, self.login.timeout_s) from None

    async def _mark(self, gauge: Connection) -> _Mark:
        pings = []
        for _ in range(PINGS):
            began = time.perf_counter()
            await gauge.send(b"version\r\n")
            async with asyncio.timeout(self.login.timeout_s):
                await gauge.line()
            pings.append((time.perf_counter() - began) * 1e6)
        self.sent["version"] += PINGS
        fields = await self._stats(gauge, b"stats")
        cpu_s = _seconds(fields, "rusage_user") + _seconds(fields, "rusage_system")
        commands = sum(whole(fields.get(name)) or 0 for name in COMMAND_FIELDS)
        return _Mark(time.monotonic(), commands, cpu_s, tuple(pings))

    async def _aside(self, gauge: Connection) -> tuple[_Mark, _Mark]:
        """Look at the server for a while without watching."""
        first = last = await self._mark(gauge)
        while last.at_s - first.at_s < self.limits.aside_s and not self._stopped.is_set():
            await asyncio.sleep(min(LOOK_S, self.limits.aside_s) / 2)
            last = await self._mark(gauge)
        return first, last

    async def _read(
        self, gauge: Connection, stream: Connection, reader: EventReader, began: _Mark
    ) -> tuple[list[_Mark], str, int]:
        """Read until something ends it; return the marks, what ended it, and the bytes."""
        limits, marks, taken = self.limits, [began], 0
        until, look_at = began.at_s + limits.seconds, began.at_s + LOOK_S
        ended_by = ""
        while not ended_by:
            now = time.monotonic()
            if now >= look_at:
                marks.append(await self._mark(gauge))
                look_at = time.monotonic() + LOOK_S
                ended_by = self._suffers(marks[-2:]) or ""
            elif now >= until:
                ended_by = "time"
            elif self._stopped.is_set():
                ended_by = "cancelled"
            else:
                data = await self._chunk(stream, min(TICK_S, until - now, look_at - now))
                taken += len(data)
                reader.feed(data)
                if reader.lines >= limits.commands or self.sink.full:
                    ended_by = "commands"
                elif taken >= limits.stream_bytes:
                    ended_by = "bytes"
        marks.append(await self._mark(gauge))
        return marks, ended_by, taken

    async def _chunk(self, stream: Connection, patience_s: float) -> bytes:
        try:
            async with asyncio.timeout(max(0.001, patience_s)):
                return await stream.chunk()
        except TimeoutError:
            return b""

    def _suffers(self, marks: Sequence[_Mark]) -> str | None:
        """Return in words what suffers twice in a row."""
        now, before, limits = _figures(marks), self._before, self.limits
        why = None
        if before.commands_per_s and now.commands_per_s is not None and before.commands_per_s > 1000:
            lost = 1 - now.commands_per_s / before.commands_per_s
            if lost > limits.throughput_loss and (now.busy or 0.0) > BUSY:
                why = f"throughput fell by {lost:.0%}"
        if before.ping_us and now.ping_us and now.ping_us > before.ping_us * limits.latency_times + SLOWER_US:
            why = f"the round trip rose from {before.ping_us / 1000:.1f} to {now.ping_us / 1000:.1f} ms"
        self._suffering = self._suffering + 1 if why is not None else 0
        return why if self._suffering >= 2 else None


def _figures(marks: Sequence[_Mark]) -> Figures:
    first, last = marks[0], marks[-1]
    pings = sorted(ping for mark in marks for ping in mark.pings_us)
    seconds, commands = last.at_s - first.at_s, last.commands - first.commands
    ping_us = pings[len(pings) // 2] if pings else None
    if seconds <= 0 or commands < 0:
        return Figures(None, ping_us)
    return Figures(commands / seconds, ping_us, (last.cpu_s - first.cpu_s) * 1e6 / commands if commands else None)


def _seconds(fields: Mapping[str, str], name: str) -> float:
    try:
        return float(fields.get(name, "0")[:24])
    except ValueError:
        return 0.0


async def burst(burster: Burster) -> Burst:
    """Run a burst in a thread. When cancelled it ends within a moment. Raises CacheError."""
    running = asyncio.create_task(asyncio.to_thread(burster.run))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        burster.stop()
        await asyncio.wait({running})
        raise
    except TimeoutError:
        raise faults.timed_out(burster.address, burster.login.timeout_s) from None
