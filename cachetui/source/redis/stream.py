"""A burst of MONITOR that is bounded in every way, sampled as it comes, and ends itself when it hurts.

MONITOR makes the server copy every command to us: under a load that fills the server it takes up to
half of its throughput. So the burst looks at the server's throughput, its time for each command and
the round trip before and while it runs, on a connection of its own, and stops when they suffer.
"""

from __future__ import annotations

import asyncio
import math
import select
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import hiredis

from cachetui.config import Address
from cachetui.errors import CacheError, Unsupported
from cachetui.model.burst import BUSY, Burst, Figures, Limits
from cachetui.source import faults
from cachetui.source.base import CallSink, UseSink
from cachetui.source.redis.connection import Credentials
from cachetui.source.redis.info import parse_info
from cachetui.source.redis.monitored import BASIC, Command, MonitorReader, read_commands
from cachetui.source.redis.replies import as_float, as_int
from cachetui.source.redis.wire import TICK_S, Stopped, Wire, explained, packed
from cachetui.text import printable

CHUNK_BYTES = 512 * 1024
LOOK_S = 0.25
"""Between two looks at how the server fares."""
PINGS = 8
"""Round trips for each look: the median counts."""
SLOWER_US = 2000.0
"""A round trip that grows by less never stops a burst."""


async def burst(
    address: Address,
    who: Credentials,
    sink: UseSink | CallSink,
    limits: Limits,
    *,
    begun: Callable[[], None] | None = None,
    sent: Counter[str],
) -> Burst:
    """Run MONITOR on one server. When cancelled it ends within a moment. Raises CacheError.

    `sent` counts the commands that we ourselves send it: they are no part of its load.
    """
    stop = threading.Event()
    runner = _Runner(address, who, sink, limits, stopped=stop.is_set, begun=begun or (lambda: None), sent=sent)
    sent.update({"command": 1, "monitor": 1})
    running = asyncio.create_task(asyncio.to_thread(runner.run))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({running})
        raise


class _StreamWire(Wire):
    """A connection whose bytes are read as they are."""

    def start(self, timeout_s: float) -> bytes:
        """Send MONITOR and return what came behind its answer. Raises CacheError when it is refused."""
        self.send(packed(("MONITOR",)))
        answer, until = b"", time.monotonic() + timeout_s
        while b"\n" not in answer:
            if time.monotonic() > until:
                raise TimeoutError
            answer += self.chunk(TICK_S)
        line, _, rest = answer.partition(b"\n")
        if not line.startswith(b"+"):
            raise faults.reply_error(printable(line[1:].strip(), 200), "MONITOR")
        return rest

    def chunk(self, patience_s: float) -> bytes:
        """Return what has come; nothing when nothing does in time."""
        link = self._socket
        assert link is not None
        pending = link.pending() if isinstance(link, ssl.SSLSocket) else 0
        if not pending:
            waiting = select.poll()
            waiting.register(link, select.POLLIN)
            if not waiting.poll(max(0.0, patience_s) * 1000):
                return b""
        try:
            data = link.recv(CHUNK_BYTES)
        except TimeoutError:
            return b""
        if not data:
            raise ConnectionResetError("closed by the server")
        return data


@dataclass(slots=True)
class _Mark:
    """The server's counters at one moment."""

    at_s: float
    commands: int | None
    cpu_s: float | None
    buffers: int | None
    ours: int
    """Of the commands so many came from us, on other connections."""


class _Gauge:
    """How the server fares, asked on a connection of its own."""

    def __init__(self, wire: Wire, sent: Counter[str]) -> None:
        self._wire, self._sent = wire, sent
        self._pings: list[float] = []

    def mark(self) -> _Mark:
        """Read the counters, and time a few round trips."""
        for _ in range(PINGS):
            began = time.perf_counter()
            self._wire.ask([("PING",)])
            self._pings.append((time.perf_counter() - began) * 1e6)
        replies = self._wire.ask([("INFO", "stats"), ("INFO", "cpu"), ("INFO", "memory")])
        at_s = time.monotonic()
        fields: dict[str, str] = {}
        for reply in replies:
            if isinstance(reply, bytes):
                fields |= parse_info(reply).fields
        user, system = as_float(fields.get("used_cpu_user")), as_float(fields.get("used_cpu_sys"))
        return _Mark(
            at_s,
            as_int(fields.get("total_commands_processed")),
            None if user is None or system is None else user + system,
            as_int(fields.get("mem_clients_normal")),
            self._sent.total(),
        )

    def pings_us(self) -> list[float]:
        """Return the round trips since the last call."""
        taken, self._pings = self._pings, []
        return taken


def _figures(first: _Mark, last: _Mark, pings_us: Sequence[float]) -> Figures:
    seconds = last.at_s - first.at_s
    ping = sorted(pings_us)[len(pings_us) // 2] if pings_us else None
    if first.commands is None or last.commands is None or seconds <= 0:
        return Figures(None, ping)
    # Our own questions are not the load.
    ours = last.ours - first.ours + len(pings_us) + 3 * len(pings_us) // PINGS
    commands = max(0, last.commands - first.commands - ours)
    cpu = None
    if first.cpu_s is not None and last.cpu_s is not None and commands:
        cpu = (last.cpu_s - first.cpu_s) * 1e6 / commands
    return Figures(commands / seconds, ping, cpu)


class _Runner:
    """One burst, in a thread of its own."""

    def __init__(
        self,
        address: Address,
        who: Credentials,
        sink: UseSink | CallSink,
        limits: Limits,
        *,
        stopped: Callable[[], bool],
        begun: Callable[[], None],
        sent: Counter[str],
    ) -> None:
        self._address, self._who, self._sink, self._limits, self._stopped = address, who, sink, limits, stopped
        self._begun, self._sent = begun, sent
        self._bytes = 0
        self._suffering = 0
        self._before = Figures()

    def run(self) -> Burst:
        gauge_wire = Wire(self._address, self._who, self._stopped)
        stream = _StreamWire(self._address, self._who, self._stopped)
        try:
            gauge_wire.open()
            stream.open()
            return self._measure(_Gauge(gauge_wire, self._sent), gauge_wire, stream)
        except Exception as error:
            raise in_words(error, self._address, self._who) from error
        finally:
            stream.close()
            gauge_wire.close()

    def _measure(self, gauge: _Gauge, wire: Wire, stream: _StreamWire) -> Burst:
        (table,) = wire.ask([("COMMAND",)])
        reader = self._reader(read_commands(table) or BASIC, wire)
        first, began = self._watched(gauge)
        self._before = before = _figures(first, began, gauge.pings_us())
        reader.feed(stream.start(self._who.timeout_s))
        self._begun()
        ended_by, pings = self._read(stream, reader, gauge, began)
        ended = gauge.mark()
        pings += gauge.pings_us()
        stream.close()
        during = _figures(began, ended, pings)
        start, last = self._watched(gauge)
        after = _figures(start, last, gauge.pings_us())
        processed = round(during.commands_per_s * (ended.at_s - began.at_s)) if during.commands_per_s else 0
        skipped = max(0, processed - reader.lines)
        return Burst(
            ended.at_s - began.at_s,
            reader.lines,
            reader.lookups,
            self._bytes,
            ended_by,
            before,
            during,
            after,
            # A few came before MONITOR was on, or while we counted.
            skipped if skipped > 0.01 * processed + 1000 else 0,
            reader.strange,
        )

    def _reader(self, commands: Mapping[bytes, Command], wire: Wire) -> MonitorReader:
        if not isinstance(self._sink, CallSink):
            return MonitorReader(commands, self._sink)
        from cachetui.source.redis.calls import CallReader

        return CallReader(commands, self._sink, ours=[wire.own_end] if wire.own_end else [])

    def _watched(self, gauge: _Gauge) -> tuple[_Mark, _Mark]:
        """Look at the server for a while without MONITOR."""
        first = last = gauge.mark()
        while last.at_s - first.at_s < self._limits.aside_s and not self._stopped():
            select.select([], [], [], min(LOOK_S, self._limits.aside_s) / 2)
            last = gauge.mark()
        return first, last

    def _read(self, stream: _StreamWire, reader: MonitorReader, gauge: _Gauge, began: _Mark) -> tuple[str, list[float]]:
        """Read until something ends it; return what, and the round trips."""
        limits, pings = self._limits, list[float]()
        until, previous = began.at_s + limits.seconds, began
        look_at = began.at_s + LOOK_S
        while True:
            now = time.monotonic()
            if now >= until:
                return "time", pings
            if self._stopped():
                return "cancelled", pings
            data = stream.chunk(min(until, look_at) - now)
            reader.feed(data)
            self._bytes += len(data)
            if reader.lines >= limits.commands or self._sink.full:
                return "commands", pings
            if self._bytes >= limits.stream_bytes:
                return "bytes", pings
            if time.monotonic() >= look_at:
                mark = gauge.mark()
                lately = gauge.pings_us()
                pings += lately
                if (why := self._suffers(began, mark, _figures(previous, mark, lately), reader)) is not None:
                    return why, pings
                previous, look_at = mark, time.monotonic() + LOOK_S

    def _suffers(self, began: _Mark, mark: _Mark, lately: Figures, reader: MonitorReader) -> str | None:
        """Return in words what suffers twice in a row, or is worse than that."""
        limits, now, before = self._limits, lately, self._before
        behind = (mark.at_s - began.at_s) - (reader.last_s - reader.first_s)
        if not math.isnan(behind) and behind > limits.behind_s + LOOK_S * 2 and reader.lines > 1000:
            return f"we were {behind:.1f} s behind"
        if began.buffers is not None and mark.buffers is not None:
            grown = mark.buffers - began.buffers
            if grown > limits.buffer_bytes:
                return f"clients' buffers grew by {grown / 2**20:.0f} MB"
        why = None
        if before.commands_per_s and now.commands_per_s is not None:
            lost = 1 - now.commands_per_s / before.commands_per_s
            if lost > limits.throughput_loss and before.commands_per_s > 1000 and (now.busy or 0.0) > BUSY:
                why = f"throughput fell by {lost:.0%}"
        if before.ping_us and now.ping_us and now.ping_us > before.ping_us * limits.latency_times + SLOWER_US:
            why = f"the round trip rose from {before.ping_us / 1000:.1f} to {now.ping_us / 1000:.1f} ms"
        self._suffering = self._suffering + 1 if why is not None else 0
        return why if self._suffering >= 2 else None


def in_words(error: Exception, address: Address, who: Credentials) -> Exception:
    """Return what a wire raised in our own words; a defect as it is."""
    if isinstance(error, Stopped):
        return Unsupported("cancelled", "")
    known = (CacheError, OSError, EOFError, faults.Garbage, faults.ReplyTooLong, faults.ClosedEarly)
    if isinstance(error, (*known, hiredis.HiredisError)):
        return explained(error, address, who.timeout_s)
    return error
