"""The connections to one server: few of them, opened when needed, with a memory for what was refused.

A lane is one connection and its queue, so that a slow poll of one kind does not hold up another.
An epoch is the time between two losses of a connection: permissions and features are asked
again in each.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from redis.exceptions import RedisError

from cachetui.config import Address
from cachetui.errors import Busy, CacheError, Unreachable
from cachetui.source import faults, probe
from cachetui.source.redis.busy import explained
from cachetui.source.redis.connection import Argument, Credentials, Link, RefusedReply, command_name
from cachetui.source.redis.features import Features, read_features
from cachetui.source.redis.replies import as_bytes, as_int, as_list, as_text

LaneName = Literal["stats", "lists", "keys"]

Exchange = Callable[[Sequence[Sequence[Argument]]], Awaitable[list[object]]]
"""Sends one pipeline; a CacheError stands in the place of a refused command."""

_NETWORK = (OSError, RedisError, EOFError, faults.Garbage, faults.ReplyTooLong, faults.ClosedEarly)
_TLS_SHARE = 0.7
"""Part of the deadline for a TLS handshake; the rest finds out whether TLS is spoken at all."""

_ENDS_BUSY = frozenset(("SCRIPT KILL", "FUNCTION KILL", "FUNCTION STATS", "SHUTDOWN"))
"""What a busy server takes, in any database."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a new connection told of the server at its other end."""

    address: Address
    hello: dict[str, object]
    """Empty where HELLO is missing or denied."""
    info: bytes | None
    """INFO server; None where it is denied."""
    role: object | None
    """The first word of ROLE, or HELLO's; None where both are denied."""


@dataclass
class Lane:
    """One connection with its queue."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    link: Link | None = None
    epoch: int = -1


class Session:
    """All connections to one server.

    `endpoint` says where it is now (a Sentinel group may answer differently each time);
    `arrived` is told of each new connection; the CacheError it raises refuses the server.
    """

    def __init__(
        self,
        address: Address,
        endpoint: Callable[[], Awaitable[Address]],
        credentials: Credentials,
        arrived: Callable[[Arrival], None],
    ) -> None:
        self._endpoint, self._credentials, self._arrived = endpoint, credentials, arrived
        self._lanes: dict[LaneName, Lane] = {"stats": Lane(), "lists": Lane(), "keys": Lane()}
        self.sent: Counter[str] = Counter()
        self.denied: dict[str, CacheError] = {}
        self.features: Features | None = None
        self.epoch = 0
        self.address = address
        self.protocol = 2
        """What the last connection speaks: RESP2 or RESP3."""
        self._busy_since: float | None = None
        self._switched = False
        self._interrupted = 0
        """How often everything that waited was ended."""
        self._waiting: set[asyncio.Timeout] = set()
        self._connecting = asyncio.Lock()

    @property
    def client_ids(self) -> frozenset[int]:
        """The server's numbers of our open connections."""
        links = [lane.link for lane in self._lanes.values()]
        return frozenset(link.client_id for link in links if link is not None and link.client_id is not None)

    async def close(self) -> None:
        """Close every connection."""
        for lane in self._lanes.values():
            await self._drop(lane)

    @asynccontextmanager
    async def deadline(self, *, to_the_end: bool = False) -> AsyncIterator[None]:
        """Bound everything inside by the deadline of one call; `interrupt` ends it early, but not `to_the_end`."""
        limit = self._credentials.timeout_s
        interrupted = self._interrupted
        try:
            async with asyncio.timeout(limit) as bound:
                if not to_the_end:
                    self._waiting.add(bound)
                try:
                    yield
                finally:
                    self._waiting.discard(bound)
        except TimeoutError as error:
            if self._interrupted != interrupted and not to_the_end:
                raise Unreachable(f"{self.address} is no longer the primary", "ask again", {"moved": True}) from error
            raise faults.timed_out(self.address, limit) from error

    def interrupt(self) -> None:
        """Connect anew before the next use, and end what waits for an answer now: another server has taken over.

        What may be a write under way is left to its own end.
        """
        self.renew()
        self._interrupted += 1
        waiting, self._waiting = self._waiting, set()
        for bound in waiting:
            if not bound.expired():
                bound.reschedule(0)

    async def ask(self, lane: LaneName, *command: Argument) -> object:
        """Return the reply of one command; a refusal is raised."""
        (reply,) = await self.ask_all(lane, [command])
        if isinstance(reply, CacheError):
            raise reply
        return reply

    async def ask_all(self, lane: LaneName, commands: Sequence[Sequence[Argument]]) -> list[object]:
        """Return the replies of one pipeline, a CacheError in the place of each that was refused.

        What was refused before in this epoch is not sent again. Raises Busy when a script
        blocks the server, and what `faults` makes of a broken connection.
        """
        names = [command_name(command) for command in commands]
        async with self._ready(self._lanes[lane]) as link:
            if link.database_due and not _ENDS_BUSY.issuperset(names):
                await self._select(link)
            due = [at for at, name in enumerate(names) if name not in self.denied]
            answers = await self._exchange(link, [commands[at] for at in due]) if due else []
            replies: list[object] = [self.denied.get(name) for name in names]
            for at, answer in zip(due, answers, strict=True):
                replies[at] = self.understood(answer, names[at])
            await self._raise_busy(link, replies)
        return replies

    @asynccontextmanager
    async def alone(self, lane: LaneName) -> AsyncIterator[Exchange]:
        """Yield what sends pipelines on one connection that nobody else uses meanwhile; it answers like `ask_all`.

        Everything is sent, also what was refused before. The connection is closed when the body
        fails or is cancelled, so that no transaction is left open on it.
        """
        async with self._ready(self._lanes[lane]) as link:
            if link.database_due:
                await self._select(link)

            async def exchange(commands: Sequence[Sequence[Argument]]) -> list[object]:
                answers = await self._exchange(link, commands)
                return [
                    self.understood(answer, command_name(command))
                    for answer, command in zip(answers, commands, strict=True)
                ]

            try:
                yield exchange
            except BaseException:
                await link.close()
                raise

    @property
    def credentials(self) -> Credentials:
        """Who we are."""
        return self._credentials

    @property
    def touches_nothing(self) -> bool:
        """CLIENT NO-TOUCH is there, and not denied."""
        known = self.features is not None and self.features.knows("client|no-touch", unsure=False)
        return known and "CLIENT NO-TOUCH" not in self.denied

    @property
    def timeout_s(self) -> float:
        """The deadline of one call."""
        return self._credentials.timeout_s

    async def _select(self, link: Link) -> None:
        """Select the database, which a script was in the way of when we connected."""
        try:
            await link.select()
        except Busy as error:
            raise await self.explained(error, partial(self._exchange, link)) from None
        except _NETWORK as error:
            await link.close()
            self._lose(link)
            raise faults.from_exception(error, link.address, self._credentials.timeout_s) from error

    def understood(self, answer: object, name: str) -> object:
        """Return the CacheError for a refusal of the command `name`, and remember one that will stay; else `answer`."""
        if not isinstance(answer, RefusedReply):
            return answer
        error = faults.reply_error(str(answer), name)
        if faults.concerns_command(error):
            self.denied[name] = error
        return error

    async def _raise_busy(self, link: Link, replies: Sequence[object]) -> None:
        busy = next((reply for reply in replies if isinstance(reply, Busy)), None)
        if busy is not None:
            raise await self.explained(busy, partial(self._exchange, link))
        if replies:
            self._busy_since = None

    async def explained(self, busy: Busy, exchange: Exchange) -> Busy:
        """Return `busy` with what blocks the server, and since when we have seen it: `seen_ms`."""
        busy, now = await explained(busy, exchange), time.monotonic()
        self._busy_since = self._busy_since or now
        busy.detail["seen_ms"] = round((now - self._busy_since) * 1000)
        return busy

    async def _exchange(self, link: Link, commands: Sequence[Sequence[Argument]]) -> list[object]:
        """Like `Link.exchange`, with errors in our own words; a link that failed is closed."""
        try:
            return await link.exchange(commands)
        except asyncio.CancelledError:
            await link.close()
            raise
        except _NETWORK as error:
            await link.close()
            self._lose(link)
            raise faults.from_exception(error, link.address, self._credentials.timeout_s) from error

    def _lose(self, link: Link) -> None:
        """Begin a new epoch, once for all connections that one restart took away."""
        for lane in self._lanes.values():
            if lane.link is link and lane.epoch == self.epoch:
                self._begin_epoch()

    def _begin_epoch(self) -> None:
        self.epoch += 1
        self.denied.clear()
        self.features = None

    @asynccontextmanager
    async def _ready(self, lane: Lane) -> AsyncIterator[Link]:
        async with lane.lock:
            if lane.link is not None and not lane.link.usable:
                if not lane.link.closed and lane.epoch == self.epoch:
                    self._begin_epoch()
                await self._drop(lane)
            elif lane.link is not None and lane.epoch != self.epoch:
                await self._drop(lane)
            if lane.link is None:
                # One after the other: what the first connection is refused, the next does not ask again.
                async with self._connecting:
                    await self._connect(lane)
            assert lane.link is not None
            if self.features is None:
                await self._look_around(lane.link)
            yield lane.link

    async def _drop(self, lane: Lane) -> None:
        if lane.link is not None:
            link, lane.link = lane.link, None
            await link.close()

    async def _connect(self, lane: Lane) -> None:
        address = await self._endpoint()
        self.address = address
        who = self._credentials
        link = Link(address, who, self._count)
        try:
            async with asyncio.timeout(who.timeout_s * _TLS_SHARE if who.tls else None):
                await link.open()
        except (*_NETWORK, CacheError) as error:
            raise await probe.diagnosed(error, address, who.tls, who.timeout_s) from error
        lane.link, lane.epoch = link, self.epoch
        try:
            await self._introduce(lane, link)
        except BaseException:
            await self._drop(lane)
            raise

    def _count(self, command: Sequence[Argument]) -> None:
        self.sent[as_text(command[0], 40).lower()] += 1

    async def _introduce(self, lane: Lane, link: Link) -> None:
        """Learn who answers on a new connection; ask not to be counted as a user of keys."""
        if self.features is None:
            await self._look_around(link)
        commands: list[Sequence[Argument]] = []
        self.protocol = as_int(link.hello.get("proto")) or 2
        if lane is self._lanes["keys"] and self.touches_nothing:
            commands.append(["CLIENT", "NO-TOUCH", "on"])
        commands += [["ROLE"], ["INFO", "server"]]
        due = [command for command in commands if command_name(command) not in self.denied]
        told: dict[object, object] = {}
        for command, answer in zip(due, await self._exchange(link, due) if due else [], strict=True):
            reply = self.understood(answer, command_name(command))
            told[command[0]] = None if isinstance(reply, CacheError) else reply
        info = as_bytes(told["INFO"]) if told.get("INFO") is not None else None
        role = next(iter(as_list(told.get("ROLE"))), link.hello.get("role"))
        self._arrived(Arrival(link.address, link.hello, info, role))
        if self._switched:
            # Another server answers at the same place: what the old one refused means nothing.
            self._switched = False
            self._begin_epoch()
            lane.epoch = self.epoch

    def renew(self) -> None:
        """Begin a new epoch: every connection is made anew before its next use."""
        self._begin_epoch()

    def switched(self) -> None:
        """Note that another server, or a new run of it, has been recognised: a new epoch begins."""
        self._switched = True

    async def _look_around(self, link: Link) -> None:
        """Ask which commands exist, once in an epoch. A busy server is asked again later."""
        if "COMMAND INFO" in self.denied:
            self.features = Features()
            return
        (answer,) = await self._exchange(link, [["COMMAND", "INFO", *Features.ASKED]])
        reply = self.understood(answer, "COMMAND INFO")
        if isinstance(reply, Busy):
            return
        self.features = Features() if isinstance(reply, CacheError) else read_features(reply)
