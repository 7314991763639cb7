"""The slow log, Valkey's logs of large requests and replies, and LATENCY, read in one pipeline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from cachetui.errors import CacheError
from cachetui.model import Identity, SlowEntry, SlowLog
from cachetui.model.latency import Latency, LatencyEvent, LatencyHistogram
from cachetui.source.redis.connection import Argument
from cachetui.source.redis.lists import parse_slowlog
from cachetui.source.redis.replies import as_int, as_list, as_map, as_text
from cachetui.source.redis.session import Session

ENTRIES, MOST_ENTRIES = 128, 5000
"""Asked for at each poll; and at most, when more than that has come since the last one."""
LARGE_ENTRIES = 32
LARGE = ("large-request", "large-reply")
HISTOGRAMS = 24
DOCTOR_CHARS = 4000
COSTLY_S = 60.0
"""Between two looks at what costs the server more."""


class SlowReader:
    """Reads one server's logs again and again, and misses no entry between two reads that the server still holds."""

    def __init__(self) -> None:
        self._server = ""
        self._last_id: int | None = None
        self._latency, self._looked_at = Latency(), -COSTLY_S

    async def read(self, session: Session, server: Identity) -> SlowLog:
        """Return what the server holds, the newest first. Raises CacheError where the slow log itself is refused."""
        if self._server != (server.run_id or ""):
            self._server, self._last_id, self._looked_at = server.run_id or "", None, -COSTLY_S
        large = LARGE if session.features is not None and session.features.knows("commandlog", unsure=False) else ()
        questions: list[Sequence[Argument]] = [
            ("SLOWLOG", "GET", ENTRIES),
            ("SLOWLOG", "LEN"),
            ("CONFIG", "GET", "slowlog-log-slower-than"),
            ("CONFIG", "GET", "latency-monitor-threshold"),
            ("LATENCY", "LATEST"),
            *(("COMMANDLOG", "GET", LARGE_ENTRIES, kind) for kind in large),
        ]
        replies = await session.ask_all("lists", questions)
        entries, total = replies[0], as_int(replies[1])
        if isinstance(entries, CacheError):
            raise entries
        slow = await self._all(session, parse_slowlog(entries), total)
        for kind, reply in zip(large, replies[len(replies) - len(large) :], strict=True):
            slow += tuple(
                replace(entry, log=kind, size_bytes=entry.duration_us, duration_us=None)
                for entry in parse_slowlog(reply)
            )
        threshold_us, threshold_ms = (as_int(next(iter(as_map(reply).values()), None)) for reply in replies[2:4])
        if time.monotonic() - self._looked_at >= COSTLY_S:
            self._looked_at = time.monotonic()
            self._latency = await _costly(session)
        latency = replace(self._latency, events=_events(replies[4]), threshold_ms=threshold_ms)
        ordered = tuple(sorted(slow, key=lambda entry: (-entry.at, -entry.entry_id))) if large else slow
        return SlowLog(time.time(), server, ordered, total, threshold_us, latency=latency)

    async def _all(self, session: Session, found: tuple[SlowEntry, ...], total: int | None) -> tuple[SlowEntry, ...]:
        """Return `found`, or more of it where entries came since the last read that it does not reach back to."""
        last, self._last_id = self._last_id, found[0].entry_id if found else self._last_id
        if last is None or not found or found[-1].entry_id <= last + 1 or (total or 0) <= len(found):
            return found
        wanted = min(MOST_ENTRIES, found[0].entry_id - last + ENTRIES)  # more may have come since
        (reply,) = await session.ask_all("lists", [("SLOWLOG", "GET", wanted)])
        return found if isinstance(reply, CacheError) else parse_slowlog(reply)


async def _costly(session: Session) -> Latency:
    """Return what a server needs some hundred microseconds for."""
    questions: list[Sequence[Argument]] = [("LATENCY", "DOCTOR")]
    if session.features is not None and session.features.knows("latency|histogram", unsure=False):
        questions.append(("LATENCY", "HISTOGRAM"))
    words, *histograms = await session.ask_all("lists", questions)
    doctor = "" if isinstance(words, CacheError) else as_text(words, DOCTOR_CHARS)
    return Latency(histograms=_histograms(histograms[0] if histograms else None), doctor=doctor)


def _events(reply: object) -> tuple[LatencyEvent, ...]:
    events = []
    for item in as_list(reply):
        parts = as_list(item)
        at, latest, worst = (as_int(part) for part in parts[1:4]) if len(parts) >= 4 else (None, None, None)
        if at is not None and latest is not None and worst is not None:
            events.append(LatencyEvent(as_text(parts[0], 60), float(at), latest, worst))
    return tuple(sorted(events, key=lambda event: -event.at))


def _histograms(reply: object) -> tuple[LatencyHistogram, ...]:
    found = []
    for name, about in as_map(reply).items():
        fields = as_map(about)
        calls, steps = as_int(fields.get("calls")), as_map(fields.get("histogram_usec"))
        bounds = sorted((bound, count) for key, value in steps.items() if (bound := as_int(key)) is not None
                        and (count := as_int(value)) is not None)  # fmt: skip
        if calls and bounds:
            counts = [count for _, count in bounds]
            within = tuple(count - before for count, before in zip(counts, [0, *counts], strict=False))
            found.append(LatencyHistogram(name, calls, tuple(bound for bound, _ in bounds), within))
    return tuple(sorted(found, key=_spent, reverse=True)[:HISTOGRAMS])


def _spent(histogram: LatencyHistogram) -> int:
    """Return about how many microseconds all calls took."""
    return sum(bound * count for bound, count in zip(histogram.upto_us, histogram.within, strict=True))
