"""Going through the parts of one server's keys on one connection, several steps in flight."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import compress

import hiredis

from cachetui.errors import ServerError
from cachetui.source import faults
from cachetui.source.base import FactSink, KeySink
from cachetui.source.redis.connection import Argument
from cachetui.source.redis.scanner.cursors import Part, WholePart
from cachetui.source.redis.scanner.facts import COMMANDS, Facts, hand_over
from cachetui.source.redis.scanner.pace import COUNT_LEAST, Pace
from cachetui.source.redis.wire import Stopped, Wire, packed

SPLIT_STEPS = 4
"""A part that is so many steps long at least can be cut in two."""


class SinkFailed(Exception):
    """The sink raised what this was raised from: no fault of the server."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of each server."""

    match: bytes | None = None
    type_: str | None = None
    readonly: bool = False
    """It is a replica of a cluster: say that reading will do."""

    @property
    def chooses(self) -> bool:
        """Tell whether not all keys are wanted."""
        return self.match is not None or self.type_ is not None

    def command(self, cursor: bytes, count: int) -> bytes:
        words: list[Argument] = ["SCAN", cursor, "COUNT", count]
        if self.match is not None:
            words += ["MATCH", self.match]
        if self.type_ is not None:
            words += ["TYPE", self.type_]
        return packed(words)


@dataclass(slots=True)
class Tally:
    """What happened with one server so far; read from any thread."""

    seen: int = 0
    asked: int = 0
    """Keys asked for: the counts of all steps."""
    sent: int = 0
    """Commands other than those that ask for facts."""
    facts_sent: Counter[str] = field(default_factory=Counter)
    """Commands that ask for facts, by lower-case name."""
    total: int | None = None
    note: str = ""


@dataclass(slots=True)
class Signals:
    """What others want of a walk; set from any thread."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    going: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class Flight:
    """A step that is under way, or the questions about the names that one brought."""

    part: Part
    count: int
    sent_at: float
    alone: bool = False
    """Nothing else was under way when it was sent."""
    want: int = 1
    got: list[object] = field(default_factory=list)
    keys: list[bytes] | None = None
    """The names that are asked about."""
    asked: tuple[str, ...] = ()
    cursor: bytes = b""
    """Where the part goes on when these facts have come."""


class Walk:
    """One connection's walk over parts to their end. Nothing that came is lost when it breaks."""

    def __init__(self, wire: Wire, question: Question, pace: Pace, sink: KeySink, facts: Facts | None) -> None:
        self._wire, self._question, self._pace, self._sink, self._facts = wire, question, pace, sink, facts
        # Asked once: to look whether something has all of a protocol takes its time.
        self._fact_sink = sink if isinstance(sink, FactSink) else None
        self._waiting: deque[Part] = deque()
        self._flying: deque[Flight] = deque()
        self._arrived: list[list[bytes]] = []
        # A far server was asked for its latency just now, and each time costs.
        self._probe_at = time.perf_counter() + pace.probe_s if pace.far else 0.0
        self._burst_at = 0.0
        self._measuring = False
        """The next step goes alone."""

    def run(self, parts: list[Part], tally: Tally, signals: Signals, edges: dict[int, set[bytes]]) -> None:
        """Go to the end of all parts, cutting them further where that helps.

        `edges` remembers the names where parts meet.
        Raises Stopped, NotDivisible, SinkFailed, CacheError and what a wire raises.
        """
        self._tally, self._signals, self._edges = tally, signals, edges
        self._parts = parts
        self._waiting.extend(part for part in parts if not part.done)
        try:
            while self._waiting or self._flying:
                self._look_up()
                self._send()
                self._hand_over()
                if signals.cancelled.is_set():
                    raise Stopped
                self._receive()
        finally:
            self._hand_over()

    # Sending

    def _look_up(self) -> None:
        """With nothing in flight: wait while paused, and see how the server is."""
        if self._flying:
            return
        if not self._signals.going.is_set():
            self._hand_over()
            while not self._signals.going.wait(0.1):
                if self._signals.cancelled.is_set():
                    raise Stopped
        if time.perf_counter() >= self._probe_at:
            self._probe()

    def _probe(self) -> None:
        self._hand_over()
        if self._pace.rest_s and self._signals.cancelled.wait(self._pace.rest_s):
            raise Stopped
        began = time.perf_counter()
        (size,) = self._wire.ask([("DBSIZE",)])
        now = time.perf_counter()
        self._pace.learn_latency(now - began)
        if isinstance(size, int) and self._tally.total is not None:
            self._tally.total = size
        self._probe_at = now + self._pace.probe_s
        self._measuring = not self._pace.far

    def _send(self) -> None:
        pace, now = self._pace, time.perf_counter()
        room = pace.lanes - len(self._flying)
        if room <= 0 or self._held(now):
            return
        if pace.gap_s and self._waiting:
            early_s = self._burst_at + pace.gap_s - now
            if early_s > 0:
                self._hand_over()
                time.sleep(max(0.0, self._burst_at + pace.gap_s - time.perf_counter()))
            now = self._burst_at = time.perf_counter()
        room = min(room, pace.burst)
        while len(self._waiting) < room and self._split():
            continue
        if not self._waiting:
            return
        if alone := self._measuring and not self._flying:
            room, self._measuring = 1, False
        due: list[bytes] = []
        while self._waiting and len(due) < room:
            part = self._waiting.popleft()
            count = self._count_of(part)
            due.append(self._question.command(part.cursor, count))
            self._flying.append(Flight(part, count, now, alone))
            self._tally.asked += count
        self._tally.sent += len(due)
        self._wire.send(b"".join(due))

    def _count_of(self, part: Part) -> int:
        """Return how many keys to ask for: not many more than the part still holds."""
        count = self._pace.count
        share, total = part.share, self._tally.total
        if isinstance(part, WholePart) or share is None or total is None:
            return count
        return min(count, max(COUNT_LEAST, round(1.05 * (1 - share) * total * part.weight)))

    def _split(self) -> bool:
        """Cut the part with the most keys left, which others could help with; return whether that was worth it."""
        total = self._tally.total or 0
        lefts = [((1 - (part.share or 0.0)) * part.weight, at) for at, part in enumerate(self._parts) if not part.done]
        left, at = max(lefts, default=(0.0, 0))
        other = self._parts[at].split() if left * total > SPLIT_STEPS * self._pace.count else None
        if other is None:
            return False
        self._parts.append(other)
        self._waiting.append(other)
        return True

    def _held(self, now: float) -> bool:
        """Tell whether what is in flight has to come back before anything more is sent."""
        alone = bool(self._flying) and self._flying[-1].alone
        return alone or now >= self._probe_at or not self._signals.going.is_set()

    # Receiving

    def _receive(self) -> None:
        if not self._flying:
            return
        room = bool(self._waiting) and len(self._flying) < self._pace.lanes
        replies = self._wire.come() if room and not self._held(time.perf_counter()) else self._wire.receive()
        now, at = time.perf_counter(), 0
        while at < len(replies):
            if not self._flying:
                raise faults.Garbage(b"")  # an answer that nobody asked for
            flight = self._flying[0]
            until = at + flight.want - len(flight.got)
            flight.got += replies[at:until]
            at = until
            if len(flight.got) == flight.want:
                self._flying.popleft()
                self._land(flight, now)

    def _land(self, flight: Flight, now: float) -> None:
        if flight.keys is not None:
            self._land_facts(flight, flight.keys)
            return
        if flight.alone:
            self._pace.learn_step(now - flight.sent_at, flight.count)
        cursor, keys = step_of(flight.got[0])
        if self._facts is not None and self._facts.asked and keys:
            self._ask_about(flight.part, cursor, keys)
            return
        begun, part = flight.part.begun, flight.part
        self._move_on(part, cursor)
        if not begun or part.done:
            keys = self._once(part, keys, first=not begun)
        self._arrived.append(keys)

    def _move_on(self, part: Part, cursor: bytes) -> None:
        try:
            part.advance(cursor)
        except ValueError as error:
            raise ServerError("SCAN: the cursor makes no sense", "a proxy may not support it") from error
        if not part.done:
            self._waiting.appendleft(part)

    def _once(self, part: Part, keys: list[bytes], *, first: bool) -> list[bytes]:
        """Return the names that did not come with the neighbour: a last step reaches into the part after it."""
        edges = self._edges
        for edge in ([part.start] if first else []) + ([part.end] if part.done else []):
            known = edges.setdefault(edge, set())
            keys = [key for key in keys if key not in known] if known else keys
            known.update(keys)
        return keys

    def _ask_about(self, part: Part, cursor: bytes, keys: list[bytes]) -> None:
        """Ask for facts; the part goes on only when they have come, so that none is lost with the connection."""
        assert self._facts is not None
        asked = tuple(self._facts.asked)
        self._flying.append(
            Flight(part, 0, time.perf_counter(), want=len(asked) * len(keys), keys=keys, asked=asked, cursor=cursor)
        )
        for name in asked:
            self._tally.facts_sent[COMMANDS[name].lower()] += len(keys)
        self._wire.send(self._facts.questions(keys))

    def _land_facts(self, flight: Flight, keys: list[bytes]) -> None:
        assert self._facts is not None
        columns = self._facts.columns(flight.asked, flight.got)
        if self._facts.refused:
            self._tally.note = "; ".join(self._facts.refused.values())
        begun, part = flight.part.begun, flight.part
        self._move_on(part, flight.cursor)
        if not begun or part.done:
            once = set(self._once(part, keys, first=not begun))
            chosen = [key in once for key in keys]
            keys = list(compress(keys, chosen))
            columns = {name: list(compress(column, chosen)) for name, column in columns.items()}
        self._deliver_facts(keys, columns)

    # Handing over

    def _deliver_facts(self, keys: list[bytes], columns: dict[str, list[object]]) -> None:
        assert self._fact_sink is not None
        try:
            self._tally.seen += hand_over(self._fact_sink, keys, columns)
        except Exception as error:
            raise SinkFailed from error

    def _hand_over(self) -> None:
        """Give away the names that came, while the server is at work on the next steps."""
        while self._arrived:
            keys = self._arrived.pop()
            self._tally.seen += len(keys)
            if keys:
                try:
                    if self._fact_sink is not None:
                        hand_over(self._fact_sink, keys, {})
                    else:
                        self._sink.add(keys)
                except Exception as error:
                    raise SinkFailed from error


def step_of(reply: object) -> tuple[bytes, list[bytes]]:
    """Return the cursor and the names of one answer to SCAN."""
    if isinstance(reply, hiredis.ReplyError):
        raise faults.reply_error(str(reply), "SCAN")
    if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], list):
        raise ServerError("SCAN: the reply makes no sense", "a proxy may not support it")
    cursor, keys = reply
    if not isinstance(cursor, bytes) or not set(map(type, keys)) <= {bytes}:
        raise ServerError("SCAN: the reply makes no sense", "a proxy may not support it")
    return cursor, keys
