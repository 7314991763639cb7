"""All keys of a target: one server, or all shards of a cluster side by side."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count as count_up
from typing import Literal, TypeVar

from cachetui.config import Address
from cachetui.errors import CacheError, Loading, Unreachable
from cachetui.model import Node, ScanProgress
from cachetui.source.base import KeySink
from cachetui.source.redis.connection import Credentials
from cachetui.source.redis.scanner.node import BeganAgain, NodeScan
from cachetui.source.redis.scanner.walk import Question, SinkFailed
from cachetui.text import printable

Result = TypeVar("Result")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")

RESTARTS = 5
PAUSE_S = 0.3
"""Before the first new beginning; doubles with each further one, so that a failover is waited for."""
SERVERS_AT_ONCE = 16
RATE_SPAN_S = 1.0
"""The speed is that of about the last second."""


Slots = tuple[tuple[int, int], ...]
"""Ranges of slots, first and last, in order."""


@dataclass(frozen=True, slots=True)
class Place:
    """One shard, or the only server: who can be asked for its keys, the best first."""

    addresses: tuple[Address, ...]
    slots: Slots | None = None
    """None outside a cluster: there is one plain table."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the keys are."""

    places: Sequence[Place]
    readonly: bool = False
    note: str = ""


def cluster_places(nodes: Sequence[Node], here: Address, *, replicas: bool) -> Places:
    """Return a place for each shard: its primary; its replicas first where they are wanted."""
    places = []
    for primary in nodes:
        if primary.role != "primary" or not primary.slots:
            continue
        asked = [node for node in nodes if replicas and node.primary == primary.address and node.state == "online"]
        addresses = tuple(here if node.myself else _address(node.address, here) for node in [*asked, primary])
        places.append(Place(addresses, _ranges(primary.slots)))
    if not places:
        return Places([Place((here,), ())], note="no shard serves any slot: the keys of this node only")
    return Places(places, readonly=replicas)


def replica_places(nodes: Sequence[Node], here: Address) -> Places:
    """Return a replica of the server `here` where there is one, else that server."""
    replicas = [_address(node.address, here) for node in nodes if node.role == "replica" and node.state == "online"]
    return Places([Place((*replicas, here))])


def _ranges(slots: str) -> Slots:
    found = [(int(first), int(last or first)) for first, last in _RANGE.findall(slots)]
    return tuple(sorted(found))


def _address(words: str, here: Address) -> Address:
    """Return where a node listens; one that says no host is where we are."""
    host, _, port = words.rpartition(":")
    host = host.strip("[]")
    return Address(here.host if host in ("", "?") else host, int(port) if port.isdigit() else here.port)


class RedisEnumeration:
    """One pass over all keys (see `cachetui.source.base.Enumeration`); its threads do the work."""

    def __init__(
        self,
        places: Callable[[], Awaitable[Places]],
        who: Credentials,
        question: Question,
        sink: KeySink,
        *,
        explain: Callable[[CacheError], CacheError],
        count: Callable[[Counter[str]], None],
    ) -> None:
        self._places, self._who, self._question, self._sink = places, who, question, sink
        self._explain, self._count = explain, count
        self._nodes: list[NodeScan] = []
        self._state: Literal["running", "ended", "cancelled", "failed"] = "running"
        self._cancelled = False
        self._held = False
        self._restarts = 0
        self._note = ""
        self._partial = False
        self._counted: Counter[str] = Counter()
        self._marks: list[tuple[float, int]] = [(time.monotonic(), 0)]

    @property
    def progress(self) -> ScanProgress:
        nodes = list(self._nodes)
        seen = sum(node.tally.seen for node in nodes)
        totals = [node.tally.total for node in nodes]
        total = None if not totals or None in totals else sum(total for total in totals if total is not None)
        # Before a server has said how many keys it has, it counts as much as any other.
        weights = [1 if node.tally.total is None else node.tally.total for node in nodes]
        done = sum(node.share * weight for node, weight in zip(nodes, weights, strict=True))
        share = 1.0 if self._state == "ended" else min(1.0, done / max(1, sum(weights)))
        paused = self._held and self._state == "running"
        per_s = 0.0 if paused else self._rate(seen)
        left_s = seen / per_s * (1 - share) / share if share > 0 and per_s > 0 and seen else None
        notes = dict.fromkeys(note for note in (self._note, *(node.tally.note for node in nodes)) if note)
        return ScanProgress(
            "paused" if paused else self._state,
            seen,
            total,
            per_s,
            left_s if self._state == "running" else None,
            "; ".join(notes),
            self._restarts,
            share if nodes else None,
            self._partial,
        )

    def _rate(self, seen: int) -> float:
        now = time.monotonic()
        if self._state == "running" and now - self._marks[-1][0] > RATE_SPAN_S / 4:
            self._marks.append((now, seen))
            while len(self._marks) > 2 and now - self._marks[1][0] > RATE_SPAN_S:
                self._marks.pop(0)
        then, before = self._marks[0]
        return max(0, seen - before) / max(0.001, now - then) if now > then else 0.0

    def pause(self) -> None:
        self._held = True
        for node in list(self._nodes):
            node.signals.going.clear()

    def resume(self) -> None:
        self._held = False
        for node in list(self._nodes):
            node.signals.going.set()

    def cancel(self) -> None:
        self._cancelled = True
        self._stop()

    def _stop(self) -> None:
        for node in list(self._nodes):
            node.signals.cancelled.set()

    async def run(self) -> None:
        """Enumerate to the end. Raises CacheError."""
        try:
            while not await self._pass():
                self._restarts += 1
                if self._restarts > RESTARTS:
                    raise Unreachable("the server was replaced again and again while keys were listed", "try again")
                self._note = "the server was restarted or replaced: began again"
                self._sink.clear()
                await asyncio.sleep(PAUSE_S * 2 ** (self._restarts - 1))
            self._state = "cancelled" if self._cancelled else "ended"
        except asyncio.CancelledError:
            self._state = "cancelled"
            raise
        except CacheError as error:
            self._state = "failed"
            raise self._explain(error) from error
        except BaseException:
            self._state = "failed"
            raise
        finally:
            self._stop()
            self._count_sent()

    async def _pass(self) -> bool:
        """Go through all servers once; False when it must begin again."""
        known = await self._known_places()
        question = replace(self._question, readonly=known.readonly)
        self._marks = [(time.monotonic(), 0)]
        self._counted = Counter()
        self._nodes = [
            NodeScan(place.addresses, self._who, question, self._sink, slots=place.slots, patient=self._restarts > 0)
            for place in known.places
        ]
        self._note, self._partial = known.note or self._note, bool(known.note)
        if self._cancelled:
            self._stop()
        elif self._held:
            self.pause()
        gate = asyncio.Semaphore(SERVERS_AT_ONCE)
        counting = asyncio.create_task(self._keep_counting())
        try:
            ends = await asyncio.gather(*(self._one(node, gate) for node in self._nodes))
        finally:
            counting.cancel()
            self._stop()
            self._count_sent()
        return await self._judge(ends)

    async def _known_places(self) -> Places:
        """Ask where the keys are; after a restart or a failover patiently."""
        for attempt in count_up():
            try:
                return await self._places()
            except (Unreachable, Loading):
                if not self._restarts or attempt >= RESTARTS or self._cancelled:
                    raise
                await asyncio.sleep(PAUSE_S * 2**attempt)
        raise AssertionError("unreachable")

    async def _judge(self, ends: Sequence[BaseException | None]) -> bool:
        """Return False when it must begin again. A shard that is gone is said; when none answers that is the error."""
        others = [end for end in ends if end is not None and not isinstance(end, CacheError | BeganAgain)]
        if others:
            raise others[0]
        if any(isinstance(end, BeganAgain) for end in ends):
            return False
        failed = [end for end in ends if isinstance(end, CacheError)]
        if failed and not self._cancelled and self._restarts <= RESTARTS and await self._replaced(ends):
            return False
        if failed and len(failed) == len(ends):
            raise failed[0]
        if failed:
            whole, self._partial = len(ends), True
            self._note = f"{whole - len(failed)} of {whole} shards: {printable(failed[0].message, 120)}"
        return True

    async def _replaced(self, ends: Sequence[BaseException | None]) -> bool:
        """Tell whether another server has taken the place of one that was lost in the middle."""
        lost = [
            node.address
            for node, end in zip(self._nodes, ends, strict=True)
            if isinstance(end, Unreachable) and node.tally.seen
        ]
        if not lost:
            return False
        try:
            known = await self._places()
        except CacheError:
            return False  # what came first is the error to tell
        now = {address for place in known.places for address in place.addresses}
        return not now.issuperset(lost)

    async def _one(self, node: NodeScan, gate: asyncio.Semaphore) -> BaseException | None:
        """Run one server's scan in a thread; return how it ended badly, None when well."""
        async with gate:
            try:
                await _in_thread(node.run)
            except CacheError as error:
                return error
            except (BeganAgain, SinkFailed) as error:
                self._stop()
                return error.__cause__ if isinstance(error, SinkFailed) else error
        return None

    async def _keep_counting(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            self._count_sent()

    def _count_sent(self) -> None:
        """Tell what was sent, so that the cost on the screen is true."""
        sent = Counter(scan=sum(node.tally.sent for node in self._nodes))
        for node in self._nodes:
            sent.update(node.tally.facts_sent)
        self._count(sent - self._counted)
        self._counted = sent


async def _in_thread(work: Callable[[], Result]) -> Result:
    """Run `work` in a thread that does not hold up the program's end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def body() -> None:
        result, problem = None, None
        try:
            result = work()
        except BaseException as error:
            problem = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=body, name="scan", daemon=True).start()
    return await done
