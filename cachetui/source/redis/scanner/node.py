"""All keys of one server, across lost connections; in the parts that its table allows."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import hiredis
from redis.crc import key_slot

from cachetui.config import Address
from cachetui.errors import Busy, CacheError, Denied, Loading, NotACache, TlsFailed
from cachetui.source import faults
from cachetui.source.base import FactSink, KeySink
from cachetui.source.redis.connection import Credentials
from cachetui.source.redis.scanner.cursors import NotDivisible, Part, WholePart, slot_parts, table_parts
from cachetui.source.redis.scanner.facts import Facts
from cachetui.source.redis.scanner.pace import Pace
from cachetui.source.redis.scanner.walk import Question, Signals, Tally, Walk, step_of
from cachetui.source.redis.wire import Stopped, Wire, explained

PARTS_LEAST_KEYS = 20_000
"""A smaller table is walked by one cursor."""
STEPS_A_PART = 4
"""A part is at least so many steps long."""
TRIES = 6
RETRY_S, RETRY_MOST_S = 0.2, 3.2
"""Before the first new connection; doubles with each further one without a key in between."""
SHORT = 0.95
"""Fewer names than this share of the keys were not all."""
PROBE_KEYS = 20

BROKEN = (OSError, faults.Garbage, faults.ReplyTooLong, faults.ClosedEarly, CacheError)


class BeganAgain(Exception):
    """Another server, another run of it or another role answers: the cursors are worthless."""


class NodeScan:
    """One server's keys. `run` is for a thread; the rest may be read or called from any.

    `slots` are the ranges that a cluster's server serves, in order; None outside a cluster.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        who: Credentials,
        question: Question,
        sink: KeySink,
        *,
        slots: Sequence[tuple[int, int]] | None = None,
        patient: bool = False,
    ) -> None:
        self.addresses, self._who, self._question, self._sink = list(addresses), who, question, sink
        self._slots, self._patient = slots, patient
        self.tally, self.signals = Tally(), Signals()
        self.signals.going.set()
        self._parts: list[Part] = []
        self._edges: dict[int, set[bytes]] = {}
        self._run: tuple[object, ...] = ()
        self._facts = Facts(sink.wanted) if isinstance(sink, FactSink) and sink.wanted else None
        self._pace = Pace(facts=self._facts is not None)
        self._indivisible = False

    @property
    def share(self) -> float:
        """How much of the keys is done, 0 to 1; as the tables tell, else by what was asked for."""
        parts = list(self._parts)
        if not parts:
            return 0.0
        shares = [part.share for part in parts]
        known = [share for share in shares if share is not None]
        if len(known) == len(parts):
            return sum(known) / len(parts)
        return min(0.99, self.tally.asked / self.tally.total) if self.tally.total else 0.0

    @property
    def address(self) -> Address:
        """The server that is asked; where it does not answer at all, the next one of the shard."""
        return self.addresses[0]

    def run(self) -> None:
        """Enumerate to the end. Raises CacheError, SinkFailed, or BeganAgain when the cursors became worthless."""
        tries, before = 0, 0.0
        while not self._finished():
            wire = Wire(self.address, self._who, self.signals.cancelled.is_set)
            try:
                self._go(wire)
            except Stopped:
                return
            except BROKEN as error:
                told = explained(error, self.address, self._who.timeout_s)
                progress = self.share + self.tally.seen
                tries, before = (tries + 1 if progress <= before else 1), progress
                self._consider(error, told, tries)
            finally:
                self.tally.sent += wire.sent
                wire.close()
            if tries and self.signals.cancelled.wait(min(RETRY_MOST_S, RETRY_S * 2 ** (tries - 1))):
                return

    def _finished(self) -> bool:
        return bool(self._parts) and all(part.done for part in self._parts)

    def _go(self, wire: Wire) -> None:
        """Connect and walk to the end of all parts."""
        wire.open()
        self._begin(wire)
        walk = Walk(wire, self._question, self._pace, self._sink, self._facts)
        try:
            walk.run(self._parts, self.tally, self.signals, self._edges)
        except NotDivisible:
            self._walk_whole()
            return
        if self._is_short(wire):
            self._walk_whole()

    def _consider(self, error: BaseException, told: CacheError, tries: int) -> None:
        """Raise what cannot be mended by trying again."""
        if isinstance(error, faults.ReplyTooLong) and self._pace.take_less():
            return
        lasting = isinstance(told, NotACache | TlsFailed | Denied)
        refused = isinstance(error, CacheError) and not isinstance(error, Loading | Busy)
        if not self._parts and len(self.addresses) > 1 and not refused:
            self.addresses.pop(0)
            return
        if lasting or refused or tries > TRIES or not (self._parts or self._patient):
            raise told from error

    # Beginning

    def _begin(self, wire: Wire) -> None:
        """Learn who answers and how many keys there are; on a new connection to the same run just go on."""
        began = perf_counter()
        size, server, replication = wire.ask([("DBSIZE",), ("INFO", "server"), ("INFO", "replication")])
        self._pace.learn_latency(perf_counter() - began)
        if isinstance(size, hiredis.ReplyError):
            told = faults.reply_error(str(size), "DBSIZE")
            if isinstance(told, Loading | Busy):
                raise told
        run = (_field(server, b"run_id"), _field(replication, b"role"))
        if self._question.readonly:
            wire.ask([("READONLY",)])
        if self._parts:
            if run[0] is None or run != self._run:
                raise BeganAgain
            return
        self._run = run
        self.tally.total = size if isinstance(size, int) else None
        self._plan(wire)

    def _plan(self, wire: Wire) -> None:
        """Cut the keys into parts, if that is worth it and the server's tables are known to allow it."""
        total = self.tally.total or 0
        number = 1
        while number < self._pace.lanes and number * self._pace.count * STEPS_A_PART < total:
            number *= 2
        self._parts = []
        if total >= PARTS_LEAST_KEYS and number > 1 and not self._indivisible:
            if self._slots is None:
                self._parts = list(table_parts(number))
            elif self._slots:
                self._parts = self._cluster_parts(wire, number)
        if not self._parts:
            self._pace.use_one_cursor()
            self._parts = [WholePart()]

    def _cluster_parts(self, wire: Wire, number: int) -> list[Part]:
        """Ask for some names from two slots on: do they come slot by slot, or from one table?"""
        assert self._slots is not None
        owned = [slot for first, last in self._slots for slot in range(first, last + 1)]
        low, high = owned[len(owned) // 4], owned[len(owned) * 3 // 4]
        replies = wire.ask([("SCAN", slot, "COUNT", PROBE_KEYS) for slot in (low, high)])
        lows, highs = ({key_slot(key) for key in step_of(reply)[1]} for reply in replies)
        if lows and highs and low <= min(lows) and max(lows) < high <= min(highs):
            return list(slot_parts(number, self._slots))
        if len(lows) >= PROBE_KEYS // 2 and max(lows) - min(lows) > (high - low):
            return list(table_parts(number))
        return []

    # Afterwards

    def _is_short(self, wire: Wire) -> bool:
        """Tell whether fewer names came than there are keys, where several cursors were used."""
        if self._pace.whole or self._question.chooses:
            return False
        try:
            (size,) = wire.ask([("DBSIZE",)])
        except BROKEN:
            return False  # what came stands
        least = min(size if isinstance(size, int) else 0, self.tally.total or 0)
        return self.tally.seen < SHORT * least

    def _walk_whole(self) -> None:
        """Begin once more with one cursor: the parts did not hold all."""
        self._indivisible = True
        self._pace.use_one_cursor()
        self._parts = [WholePart()]
        self._edges.clear()
        self.tally.seen = self.tally.asked = 0
        self.tally.note = "fewer names came than there are keys: read once more with one cursor"


def _field(info: object, name: bytes) -> bytes | None:
    if not isinstance(info, bytes):
        return None
    for line in info.splitlines():
        head, colon, tail = line.partition(b":")
        if colon and head == name:
            return tail.strip()
    return None
