"""A recording as a source: the snapshots come back at the pace they were taken, or any other."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cachetui.errors import BadUsage, CacheError, Refused, Unsupported
from cachetui.model import Identity, KeyFacts, KeyFactsList, ScanStep, SettingsByNode, Trouble, Value
from cachetui.model.trouble import error_of
from cachetui.source import globs
from cachetui.source.base import (
    VALUE_BYTES,
    VALUE_ROWS,
    Capability,
    Check,
    Command,
    Enumeration,
    KeySink,
    Kind,
    Polled,
    Source,
)
from cachetui.source.enumeration import SteppedEnumeration
from cachetui.source.recording import Header, Line, decode, read_lines
from cachetui.text import duration, printable

MIN_SPEED = 0.1
MAX_SPEED = 100.0

WAIT_S = 0.5
"""The longest a poll waits for the next snapshot before it returns the present one again."""

MAX_HELD_BYTES = 256 * 1024 * 1024
"""Compressed bytes of a recording kept in memory; what goes beyond is left out, and `note` says so."""

RETRY_S = 0.5
"""After a recorded trouble the recording is asked again this soon: it costs no server anything."""

_UNCHANGEABLE = "a recording cannot be changed"
_NAMES: dict[Kind, str] = {
    "stats": "statistics",
    "slowlog": "slow log",
    "clients": "client list",
    "topology": "topology",
}


@dataclass(slots=True)
class Track:
    """All entries of one kind, by time."""

    times: list[float] = field(default_factory=list)
    packed: list[bytes] = field(default_factory=list)
    shown: tuple[int, Polled | Trouble] | None = None
    """The entry decoded last: asked for again, the very same object comes back."""

    def index_at(self, at: float) -> int:
        """Return the entry that is current at a time, -1 before the first."""
        return bisect_right(self.times, at) - 1


@dataclass(slots=True)
class Recorded:
    """A whole recording in memory, its snapshots still compressed."""

    header: Header
    tracks: dict[str, Track] = field(default_factory=dict)
    identities: list[tuple[float, Identity]] = field(default_factory=list)
    keys: dict[bytes, KeyFacts | None] = field(default_factory=dict)
    values: dict[bytes, Value] = field(default_factory=dict)
    keys_total: int = 0
    """How many keys the server had, of which `keys` may be a part."""
    started_at: float = 0.0
    ended_at: float = 0.0
    note: str = ""


def load(path: str | Path) -> Recorded:
    """Read a recording into memory. Raises `BadUsage` when it is none, is malformed or is empty."""
    header, lines = read_lines(path)
    recorded = Recorded(header)
    held = 0
    times: list[float] = []
    for line in lines:
        plain = json.dumps(line.document).encode()
        packed = zlib.compress(plain, 1) if line.kind in _NAMES else plain
        held += len(packed)
        if held > MAX_HELD_BYTES:
            recorded.note = "the recording is too long: its end is left out"
            break
        if line.kind in _NAMES:
            track = recorded.tracks.setdefault(line.kind, Track())
            at = bisect_right(track.times, line.at)
            track.times.insert(at, line.at)
            track.packed.insert(at, packed)
            times.append(line.at)
        else:
            _merge(recorded, line)
    if not times:
        raise BadUsage(f"the recording {printable(str(path), 200)} holds no snapshots", "it ended before the first one")
    recorded.started_at, recorded.ended_at = min(times), max(times)
    return recorded


def _merge(recorded: Recorded, line: Line) -> None:
    entry = decode(line)
    match entry.item if entry else None:
        case Identity() as identity:
            recorded.identities.append((line.at, identity))
        case ScanStep() as step:
            recorded.keys_total = max(recorded.keys_total, step.total or 0)
            for key in step.keys:
                recorded.keys.setdefault(key, None)
        case KeyFactsList() as facts:
            recorded.keys.update({known.key: known for known in facts.facts})
        case Value() as value:
            recorded.values[value.facts.key] = value
            recorded.keys[value.facts.key] = value.facts
        case str() as note:
            recorded.note = note


class ReplaySource:
    """The `Source` protocol over a recording. Its clock is the recorded time; nothing can be changed."""

    def __init__(self, path: str | Path, *, speed: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Read nothing yet: `open` does. `clock` gives the seconds that pass outside."""
        self.path = Path(path)
        self.name = printable(self.path.name, 200)
        self.identity: Identity | None = None
        self.sent: Counter[str] = Counter()
        self.denied: Mapping[str, CacheError] = {}
        self._clock = clock
        self._speed = _bounded(speed)
        self._position_s = 0.0
        self._since: float | None = None
        """When the clock was last set going; None while paused."""
        self._recorded: Recorded | None = None
        self._opening = asyncio.Lock()
        self._moved = asyncio.Event()
        self._given: dict[Kind, int] = {}

    # The clock

    @property
    def speed(self) -> float:
        """Recorded seconds per second."""
        return self._speed

    @property
    def paused(self) -> bool:
        """True while the clock stands."""
        return self._recorded is not None and self._since is None

    @property
    def duration_s(self) -> float:
        """Length of the recording; 0 before it is open."""
        return self._recorded.ended_at - self._recorded.started_at if self._recorded else 0.0

    @property
    def position_s(self) -> float:
        """How far the replay has come, from 0 to `duration_s`."""
        passed = 0.0 if self._since is None else (self._clock() - self._since) * self._speed
        return min(self.duration_s, self._position_s + passed)

    @property
    def ended(self) -> bool:
        """True at the end: the last snapshots stay."""
        return self._recorded is not None and self.position_s >= self.duration_s

    @property
    def note(self) -> str:
        """What a viewer must know: that this is the end, and why."""
        told = self._recorded.note if self._recorded else ""
        if not self.ended:
            return ""
        return f"end of the recording ({told})" if told else "end of the recording"

    def now(self) -> float:
        """Return the recorded time at which the replay stands."""
        return self._recorded.started_at + self.position_s if self._recorded else time.time()

    def pause(self) -> None:
        """Stop the clock."""
        self._set(self.position_s, running=False)

    def resume(self) -> None:
        """Let the clock go on; from the end, begin again."""
        self._set(0.0 if self.ended else self.position_s, running=True)

    def step(self) -> None:
        """Go to the next recorded statistics (or anything, without them) and pause there."""
        if self._recorded is None:
            return
        track = self._recorded.tracks.get("stats") or next(iter(self._recorded.tracks.values()))
        at = bisect_right(track.times, self.now() + 1e-6)
        target = track.times[at] if at < len(track.times) else self._recorded.ended_at
        self._set(target - self._recorded.started_at, running=False)

    def set_speed(self, speed: float) -> None:
        """Set the recorded seconds per second, from 0.1 to 100."""
        position, running = self.position_s, not self.paused
        self._speed = _bounded(speed)
        self._set(position, running=running)

    def seek_s(self, position_s: float) -> None:
        """Go to a position in seconds from the start."""
        self._set(min(self.duration_s, max(0.0, position_s)), running=not self.paused)

    def _set(self, position_s: float, *, running: bool) -> None:
        if self._recorded is None:
            return
        self._position_s = position_s
        self._since = self._clock() if running else None
        self._moved.set()
        self._moved = asyncio.Event()

    # The protocol

    async def open(self) -> Identity:
        """Read the recording and start its clock. Raises `BadUsage` when it cannot be replayed."""
        recorded = await self._opened()
        if self.identity is None:
            self.identity = self._identity_at(recorded, self.now())
        return self.identity

    async def close(self) -> None:
        """Forget the recording; a poll opens it again from its start."""
        self._recorded, self._since, self._position_s = None, None, 0.0
        self._given.clear()
        self._moved.set()

    async def poll(self, kind: Kind) -> Polled:
        """Return the snapshot of `kind` that is current, once the next one is due or after half a second.

        At the end the last one comes back again. A recorded trouble is raised as it was.
        """
        recorded = await self._opened()
        track = recorded.tracks.get(kind)
        if track is None:
            raise Unsupported(f"this recording holds no {_NAMES[kind]}", "it was not recorded")
        index = await self._current(kind, track)
        if index < 0:
            ahead = track.times[0] - recorded.started_at
            raise CacheError(
                f"nothing of the {_NAMES[kind]} was recorded yet at this point",
                f"the first one is at {duration(ahead)}",
                {"retry_s": RETRY_S},
            )
        item = self._decoded(kind, track, index)
        if isinstance(item, Trouble):
            error = error_of(item)
            error.detail["retry_s"] = RETRY_S
            raise error
        self.identity = item.server
        return item

    async def scan(
        self, cursor: bytes | None = None, *, match: bytes | None = None, type_: str | None = None, count: int = 500
    ) -> ScanStep:
        """Return the recorded keys in steps. Raises `Unsupported` when there are none."""
        recorded = await self._opened()
        self._demand("scan")
        fits = globs.compiled(match).fullmatch if match is not None else None
        keys = list(recorded.keys)
        begin = int(cursor) if cursor is not None and cursor.isdigit() else 0
        end = begin + max(1, min(count, 1000))
        step = tuple(
            key
            for key in keys[begin:end]
            if (fits is None or fits(key)) and (type_ is None or _type(recorded.keys[key]) == type_)
        )
        return ScanStep(self.now(), step, b"%d" % end if end < len(keys) else None, max(len(keys), recorded.keys_total))

    def enumeration(
        self, sink: KeySink, *, match: bytes | None = None, type_: str | None = None, replicas: bool = False
    ) -> Enumeration:
        """Return a pass over the recorded keys."""
        return SteppedEnumeration(self, sink, match=match, type_=type_)

    async def facts(self, keys: Sequence[bytes], *, size: bool = True) -> KeyFactsList:
        """Return what was recorded of `keys`; of others only that nothing is known."""
        recorded = await self._opened()
        known = (recorded.keys.get(key) or KeyFacts(key, note="not recorded") for key in keys)
        return KeyFactsList(self.now(), tuple(known))

    async def value(
        self,
        key: bytes,
        *,
        rows: int = VALUE_ROWS,
        max_bytes: int = VALUE_BYTES,
        start: bytes | None = None,
        order: str = "",
    ) -> Value:
        """Return the recorded value of `key`, as much of it as was recorded. Raises `Unsupported` without one."""
        recorded = await self._opened()
        self._demand("value")
        if key not in recorded.values:
            raise Unsupported("this recording holds no value of that key", "nobody opened it while recording")
        return recorded.values[key]

    async def policies(self) -> tuple[str, ...]:
        """Return nothing: no policy can be set here."""
        return ()

    async def config(self, pattern: str) -> dict[str, str]:
        """Raise `Unsupported`: configurations are not recorded."""
        raise Unsupported("this recording holds no configuration", "connect to the server itself")

    async def settings(self, pattern: str = "*") -> SettingsByNode:
        """Raise `Unsupported`: configurations are not recorded."""
        raise Unsupported("this recording holds no configuration", "connect to the server itself")

    async def flags(self, names: Sequence[str]) -> dict[str, frozenset[str] | None]:
        """Return None for each command: a recording runs none."""
        return dict.fromkeys(names)

    async def execute(self, commands: Sequence[Command]) -> list[object]:
        """Refuse."""
        raise Refused(_UNCHANGEABLE, "connect to the server itself")

    async def execute_on(self, address: str, commands: Sequence[Command]) -> list[object]:
        """Refuse."""
        raise Refused(_UNCHANGEABLE, "connect to the server itself")

    async def transact(
        self, watched: Sequence[bytes], checks: Sequence[Check], commands: Sequence[Command]
    ) -> list[object]:
        """Refuse."""
        raise Refused(_UNCHANGEABLE, "connect to the server itself")

    async def latency_us(self) -> float | None:
        """Return None: no server is there."""
        return None

    def node(self, address: str) -> Source:
        """Refuse: what was recorded is all there is."""
        raise Unsupported("a recording holds no single nodes", "connect to the cluster itself")

    def why_not(self, capability: Capability) -> str | None:
        """Return why this recording has none of it, or that it cannot be changed."""
        if capability not in ("scan", "value", "slowlog", "clients"):
            return _UNCHANGEABLE
        if self._recorded is None:
            return "the recording is not open yet"
        held = {
            "scan": self._recorded.keys,
            "value": self._recorded.values,
            "slowlog": self._recorded.tracks.get("slowlog"),
            "clients": self._recorded.tracks.get("clients"),
        }
        words = {"scan": "keys", "value": "values", "slowlog": _NAMES["slowlog"], "clients": _NAMES["clients"]}
        return None if held[capability] else f"this recording holds no {words[capability]}"

    # Inside

    async def _opened(self) -> Recorded:
        async with self._opening:
            if self._recorded is None:
                self._recorded = await asyncio.to_thread(load, self.path)
                self.name = f"{self._recorded.header.target} (recording)"
                self._position_s, self._since = 0.0, self._clock()
            return self._recorded

    def _demand(self, capability: Capability) -> None:
        reason = self.why_not(capability)
        if reason is not None:
            raise Unsupported(reason, "it was not recorded")

    async def _current(self, kind: Kind, track: Track) -> int:
        """Wait until there is something new of `kind`, at most `WAIT_S`; return which entry is current."""
        loop = asyncio.get_running_loop()
        until = loop.time() + WAIT_S
        while True:
            index = track.index_at(self.now())
            left = until - loop.time()
            if index not in (-1, self._given.get(kind)) or self.ended or left <= 0:
                break
            await self._pass(min(left, self._due_in_s(track, index + 1)))
        self._given[kind] = index
        return index

    def _due_in_s(self, track: Track, index: int) -> float:
        if self.paused or index >= len(track.times):
            return WAIT_S
        return max(0.001, (track.times[index] - self.now()) / self._speed)

    async def _pass(self, seconds: float) -> None:
        """Wait, but not longer than until somebody moves the clock."""
        await asyncio.wait([waiting := asyncio.ensure_future(self._moved.wait())], timeout=seconds)
        waiting.cancel()

    @staticmethod
    def _decoded(kind: str, track: Track, index: int) -> Polled | Trouble:
        if track.shown is None or track.shown[0] != index:
            document = json.loads(zlib.decompress(track.packed[index]))
            entry = decode(Line(track.times[index], kind, document))
            if entry is None or not isinstance(entry.item, Polled | Trouble):
                raise CacheError("the recording holds something that this version cannot show", "use a newer cachetui")
            track.shown = (index, entry.item)
        return track.shown[1]

    def _identity_at(self, recorded: Recorded, at: float) -> Identity:
        before = [identity for noted, identity in recorded.identities if noted <= at]
        if before:
            return before[-1]
        for kind, track in recorded.tracks.items():
            for index in range(len(track.times)):
                item = self._decoded(kind, track, index)
                if not isinstance(item, Trouble):
                    return item.server
        return recorded.identities[0][1] if recorded.identities else Identity("unknown")


def _type(facts: KeyFacts | None) -> str | None:
    return facts.type if facts else None


def _bounded(speed: float) -> float:
    if not MIN_SPEED <= speed <= MAX_SPEED:
        raise BadUsage(f"speed {speed:g} is out of range", f"from {MIN_SPEED:g} to {MAX_SPEED:g}")
    return float(speed)
