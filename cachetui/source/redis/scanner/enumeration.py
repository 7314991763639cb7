"""All keys of a target: one server, or all shards of a cluster side by side."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cachetui.config import Address
from cachetui.errors import CacheError, Unreachable
from cachetui.model import Node, ScanProgress
from cachetui.source.base import KeySink
from cachetui.source.redis.connection import Credentials
from cachetui.source.redis.scanner.node import BeganAgain, NodeScan, Question
from cachetui.text import printable

Result = TypeVar("Result")

RESTARTS = 5
PAUSE_S = 0.3
"""Before the first new beginning; doubles with each further one, so that a failover is waited for."""
SERVERS_AT_ONCE = 16
RATE_SPAN_S = 1.0
"""The speed is that of about the last second."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the keys are."""

    addresses: Sequence[Address]
    divided: bool
    """Their tables are plain ones: several cursors can be in flight."""
    readonly: bool = False
    note: str = ""


def cluster_places(nodes: Sequence[Node], here: Address, *, replicas: bool) -> Places:
    """Return one server for each shard: its primary, or a replica that answers where one is wanted and there."""
    chosen: dict[str, Node] = {}
    shards = [node for node in nodes if node.role == "primary" and node.slots]
    for primary in shards:
        candidates = [node for node in nodes if node.primary == primary.address and node.state == "online"]
        chosen[primary.address] = candidates[0] if replicas and candidates else primary
    addresses = [here if node.myself else _address(node.address, here) for node in chosen.values()]
    if not addresses:
        return Places([here], divided=False, note="no shard serves any slot: the keys of this node only")
    return Places(addresses, divided=False, readonly=replicas)


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
        count: Callable[[int], None],
    ) -> None:
        self._places, self._who, self._question, self._sink = places, who, question, sink
        self._explain, self._count = explain, count
        self._nodes: list[NodeScan] = []
        self._state = "running"
        self._cancelled = False
        self._held = False
        self._restarts = 0
        self._note = ""
        self._counted = 0
        self._marks: list[tuple[float, int]] = [(time.monotonic(), 0)]

    @property
    def progress(self) -> ScanProgress:
        nodes = list(self._nodes)
        seen = sum(node.seen for node in nodes)
        totals = [node.total for node in nodes]
        total = None if not totals or None in totals else sum(total for total in totals if total is not None)
        share = sum(node.share * (node.total or 1) for node in nodes) / max(1, sum(node.total or 1 for node in nodes))
        per_s = self._rate(seen)
        left_s = None
        if share > 0 and per_s > 0 and seen:
            left_s = seen / per_s * (1 - share) / share
        notes = dict.fromkeys(note for note in (self._note, *(node.note for node in nodes)) if note)
        state = "paused" if self._held and self._state == "running" else self._state
        return ScanProgress(
            state,  # type: ignore[arg-type]
            seen,
            total,
            per_s if state != "paused" else 0.0,
            left_s if state == "running" else None,
            "; ".join(notes),
            self._restarts,
            min(1.0, share) if nodes else None,
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
        for node in self._nodes:
            node.going.clear()

    def resume(self) -> None:
        self._held = False
        for node in self._nodes:
            node.going.set()

    def cancel(self) -> None:
        self._cancelled = True
        for node in self._nodes:
            node.cancelled.set()

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
        except BaseException as error:
            self._state = "failed"
            self.cancel()
            if isinstance(error, CacheError):
                raise self._explain(error) from error
            raise
        finally:
            self._count_sent()

    async def _pass(self) -> bool:
        """Go through all servers once; False when it must begin again."""
        places = await self._places()
        question = Question(self._question.match, self._question.type_, places.readonly)
        self._marks = [(time.monotonic(), 0)]
        self._counted = 0
        self._nodes = [
            NodeScan(address, self._who, question, self._sink, divided=places.divided) for address in places.addresses
        ]
        if places.note:
            self._note = places.note
        if self._cancelled:
            self.cancel()
        elif self._held:
            self.pause()
        gate = asyncio.Semaphore(SERVERS_AT_ONCE)
        tasks = [asyncio.create_task(self._one(node, gate)) for node in self._nodes]
        counting = asyncio.create_task(self._keep_counting())
        try:
            ends = await asyncio.gather(*tasks)
        finally:
            counting.cancel()
            for node in self._nodes:
                node.cancelled.set()
        if any(isinstance(end, BeganAgain) for end in ends):
            return False
        self._judge([end for end in ends if isinstance(end, CacheError)])
        return True

    def _judge(self, failed: Sequence[CacheError]) -> None:
        """A shard that does not answer is said; when none answers that is the error."""
        if not failed:
            return
        if len(failed) == len(self._nodes):
            raise failed[0]
        whole = len(self._nodes)
        self._note = f"{whole - len(failed)} of {whole} shards: {printable(failed[0].message, 120)}"

    async def _one(self, node: NodeScan, gate: asyncio.Semaphore) -> BaseException | None:
        """Run one server's scan in a thread; return how it ended badly, None when well."""
        async with gate:
            try:
                await _in_thread(node.run)
                if not node.cancelled.is_set() and await _in_thread(node.walk_again_if_short):
                    await _in_thread(node.run)
            except BeganAgain as error:
                for other in self._nodes:
                    other.cancelled.set()
                return error
            except CacheError as error:
                return error
            except asyncio.CancelledError:
                node.cancelled.set()
                raise
        return None

    async def _keep_counting(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            self._count_sent()

    def _count_sent(self) -> None:
        """Tell what was sent, so that the cost on the screen is true."""
        sent = sum(node.sent for node in self._nodes)
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
