"""All keys of one server: SCANs in flight, at the pace that the server bears."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import hiredis

from cachetui.config import Address
from cachetui.errors import CacheError, Denied, Loading, NotACache, ServerError, TlsFailed
from cachetui.source import faults
from cachetui.source.base import KeySink
from cachetui.source.redis.connection import Credentials
from cachetui.source.redis.scanner.cursors import Part, parts
from cachetui.source.redis.scanner.wire import Stopped, Wire, explained, packed

COUNT, FAR_COUNT = 250, 100
"""Keys of one step: four of them in flight disturb others less than one step of 1,000; a far server gets bursts."""
NEAR, FAR_MOST = 4, 256
"""Steps in flight on a near server; at most on a far one."""
COUNT_LEAST = 10
FAR_S = 0.002
"""From this round trip on a server is far."""
KEYS_PER_S = 600_000
"""What steps in flight are chosen for on a far server."""
PARTS_LEAST_KEYS = 20_000
"""A smaller table is walked by one cursor."""
PATIENCE = 3.0
"""Steps that take so many times their usual time mean that the server has enough to do."""
PAUSE_MOST_S = 0.05
TRIES = 5
RETRY_S = 0.2
"""Before the first new connection; doubles with each further one."""
SHORT = 0.95
"""Fewer names than this share of the keys were not all."""


class BeganAgain(Exception):
    """Another server, or another run of it, answers: the cursors are worthless."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of each server."""

    match: bytes | None = None
    type_: str | None = None
    readonly: bool = False
    """It is a replica of a cluster: say that reading will do."""

    def command(self, cursor: int, count: int) -> bytes:
        words: list[bytes | str | int] = ["SCAN", cursor, "COUNT", count]
        if self.match is not None:
            words += ["MATCH", self.match]
        if self.type_ is not None:
            words += ["TYPE", self.type_]
        return packed(words)


class NodeScan:
    """One server's keys. `run` is for a thread; the rest may be read or called from any."""

    def __init__(self, address: Address, who: Credentials, question: Question, sink: KeySink, *, divided: bool) -> None:
        self.address, self._who, self._question, self._sink = address, who, question, sink
        self._divided = divided
        self.cancelled = threading.Event()
        self.going = threading.Event()
        self.going.set()
        self.seen = 0
        self.sent = 0
        self.total: int | None = None
        self.note = ""
        self._parts: list[Part] = []
        self._run_id: bytes | None = None
        self._lanes, self._count = 1, COUNT
        self._round_trip_s = 0.0
        self._usual_s = 0.0
        self._pause_s = 0.0

    @property
    def share(self) -> float:
        """How much of the table is done, 0 to 1."""
        walked = self._parts
        return sum(part.share for part in walked) / len(walked) if walked else 0.0

    def run(self) -> None:
        """Enumerate to the end. Raises CacheError, or BeganAgain when the cursors became worthless."""
        tries = 0
        while True:
            wire = Wire(self.address, self._who, self.cancelled.is_set)
            try:
                wire.open()
                self._begin(wire)
                while any(not part.done for part in self._parts):
                    before = self.seen
                    self._walk(wire)
                    tries = 0 if self.seen > before else tries
                return
            except Stopped:
                return
            except (OSError, faults.Garbage, faults.ReplyTooLong, faults.ClosedEarly, CacheError) as error:
                tries += 1
                told = explained(error, self.address, self._who.timeout_s)
                if not self._parts or tries > TRIES or isinstance(told, NotACache | TlsFailed | Denied):
                    raise told from error
                if isinstance(error, CacheError) and not isinstance(error, Loading):
                    raise
            finally:
                wire.close()
            if self.cancelled.wait(RETRY_S * 2 ** (tries - 1)):
                return

    # Beginning

    def _begin(self, wire: Wire) -> None:
        """Learn who answers and how many keys there are; on a new connection to the same run just go on."""
        began = time.perf_counter()
        size, info = wire.ask([("DBSIZE",), ("INFO", "server")])
        self._round_trip_s = time.perf_counter() - began
        self.sent += 2
        run_id = _field(info, b"run_id")
        if self._parts:
            if run_id is None or run_id != self._run_id:
                raise BeganAgain
            return
        self._run_id = run_id
        if self._question.readonly:
            wire.ask([("READONLY",)])
        self.total = size if isinstance(size, int) else None
        self._plan()

    def _plan(self) -> None:
        far = self._round_trip_s > FAR_S
        self._count = FAR_COUNT if far else COUNT
        wanted = round(KEYS_PER_S * self._round_trip_s / FAR_COUNT) if far else NEAR
        self._lanes = max(NEAR, min(FAR_MOST, wanted))
        if not self._divided or (self.total or 0) < PARTS_LEAST_KEYS:
            # One cursor takes larger steps: there is nothing beside it.
            self._lanes, self._parts, self._count = 1, parts(1), 4 * COUNT
            return
        number = 1
        while number < 2 * self._lanes and number * self._count * 4 < (self.total or 0):
            number *= 2
        self._parts = parts(number)

    def _step(self, part: Part) -> int:
        """Return how many keys to ask for: not many more than the part still holds."""
        left = (1 - part.share) * (self.total or 0) / len(self._parts)
        return self._count if len(self._parts) == 1 else max(COUNT_LEAST, min(self._count, round(1.05 * left)))

    # Walking

    def _walk(self, wire: Wire) -> None:
        """Go through all parts that are not done, so many at once as are allowed."""
        waiting = deque(part for part in self._parts if not part.done)
        flying: deque[tuple[Part, float]] = deque()
        arrived: list[list[bytes]] = []
        self._usual_s = 0.0
        while waiting or flying or arrived:
            if not self.going.is_set() and not flying:
                self._rest()
            due = []
            while waiting and len(flying) < self._lanes and self.going.is_set():
                part = waiting.popleft()
                due.append(self._question.command(part.cursor, self._step(part)))
                flying.append((part, time.perf_counter()))
            if due:
                wire.send(b"".join(due))
                self.sent += len(due)
            # While the server works on the next steps.
            for keys in arrived:
                self.seen += len(keys)
                self._sink.add(keys)
            arrived.clear()
            if self.cancelled.is_set():
                raise Stopped
            if not flying:
                continue
            for reply in wire.receive():
                part, sent_at = flying.popleft()
                arrived.append(self._taken(part, reply))
                self._learn(time.perf_counter() - sent_at)
                if not part.done:
                    waiting.appendleft(part)
            if self._pause_s:
                self.cancelled.wait(self._pause_s)

    def _rest(self) -> None:
        """Wait until somebody lets it go on."""
        while not self.going.wait(0.1):
            if self.cancelled.is_set():
                raise Stopped

    def _taken(self, part: Part, reply: object) -> list[bytes]:
        """Move the part on; return the names that came."""
        if isinstance(reply, hiredis.ReplyError):
            raise faults.reply_error(str(reply), "SCAN")
        if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], list):
            raise ServerError("SCAN: the reply makes no sense", "a proxy may not support it")
        cursor: bytes = reply[0]
        keys: list[bytes] = reply[1]
        try:
            part.advance(int(cursor))
        except (TypeError, ValueError) as error:
            raise ServerError("SCAN: the cursor makes no sense", "a proxy may not support it") from error
        return keys

    def _learn(self, took_s: float) -> None:
        """Slow down while steps take much longer than they usually do."""
        usual = self._usual_s = self._usual_s or took_s
        # What is usual follows slowly upwards and at once downwards.
        self._usual_s = min(took_s, usual) if took_s < usual else usual + (took_s - usual) * 0.002
        if took_s > max(PATIENCE * self._usual_s, self._usual_s + 0.01):
            self._pause_s = min(PAUSE_MOST_S, 2 * self._pause_s + 0.001)
        elif self._pause_s:
            self._pause_s = self._pause_s / 2 if self._pause_s > 0.0005 else 0.0

    # Afterwards

    def walk_again_if_short(self) -> bool:
        """Begin once more with one cursor when fewer names came than there are keys. Returns whether it must run."""
        if not self._divided or len(self._parts) == 1 or self._question != Question(readonly=self._question.readonly):
            return False
        wire = Wire(self.address, self._who, self.cancelled.is_set)
        try:
            wire.open()
            (size,) = wire.ask([("DBSIZE",)])
        except (Stopped, OSError, CacheError, faults.ClosedEarly, faults.Garbage):
            return False  # what came stands; the next enumeration will see
        finally:
            wire.close()
        least = min(size if isinstance(size, int) else 0, self.total or 0)
        if self.seen >= SHORT * least:
            return False
        self._divided, self._parts, self.seen = False, [], 0
        self.note = "the table cannot be divided here: read once more with one cursor"
        return True


def _field(info: object, name: bytes) -> bytes | None:
    if not isinstance(info, bytes):
        return None
    for line in info.splitlines():
        head, colon, tail = line.partition(b":")
        if colon and head == name:
            return tail.strip()
    return None
