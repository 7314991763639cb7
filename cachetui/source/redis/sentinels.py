"""All Sentinels of a target: asked side by side, and listened to."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from redis.exceptions import RedisError

from cachetui.config import Address, Target
from cachetui.errors import CacheError
from cachetui.model import SentinelEvent, SentinelGroup
from cachetui.source import faults
from cachetui.source.redis.asking import Panel
from cachetui.source.redis.connection import Argument, Credentials, Link
from cachetui.source.redis.replies import as_list, as_text
from cachetui.source.redis.session import Arrival, Session
from cachetui.source.redis.topology import opinions
from cachetui.source.redis.topology.opinions import GroupView, View

MOST = 20
"""So many Sentinels are asked, however many are known."""
EVENTS = 200
SHOWN_EVENTS = 20
SAME_S = 15.0
"""Two Sentinels that tell the same within this time tell of one event."""
QUIET_S = 5.0
"""So long nothing need come from a Sentinel before it is asked whether it is still there."""
AGAIN_S, AGAIN_MOST_S = 0.2, 5.0

_NETWORK = (OSError, RedisError, EOFError, CacheError, faults.Garbage, faults.ReplyTooLong, faults.ClosedEarly)


def who_asks(target: Target) -> Credentials:
    """Return who we are to the Sentinels of a target: with a user, a password and TLS of their own."""
    if target.kind != "sentinel":
        return replace(Credentials.of(target), db=0)
    return Credentials(target.sentinel_user, target.sentinel_password, 0, target.tls_of_sentinels, target.timeout_s)


def address_in(text: str) -> Address:
    """Return `host:port` as an address."""
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]"), int(port) if port.isdigit() else 0)


class Sentinels:
    """The Sentinels that a target names, and those that these know.

    `switched(group, old, new)` is called in the loop when one of them tells that the primary changed.
    """

    def __init__(
        self,
        target: Target,
        sent: Counter[str],
        *,
        switched: Callable[[str, str, str], None],
        myself: str = "",
    ) -> None:
        self._given = {str(address): address for address in target.addresses}
        self._service = target.service if target.kind == "sentinel" else None
        self._who = who_asks(target)
        self._sent = sent
        self._switched = switched
        self._myself = myself
        self._found: dict[str, str] = {}
        """Ids of the Sentinels that others know, by address."""
        self._ids: dict[str, str] = {}
        self._sessions: dict[str, Session] = {}
        self._versions: dict[str, str | None] = {}
        self._panel = Panel(self._view)
        self._listeners: dict[str, asyncio.Task[None]] = {}
        self._listening = False
        self._events: deque[SentinelEvent] = deque(maxlen=EVENTS)

    @property
    def credentials(self) -> Credentials:
        """Who we are to them."""
        return self._who

    @property
    def addresses(self) -> tuple[str, ...]:
        """Those that are asked: first the given ones; one that is known by two addresses stands here once."""
        given = tuple(self._given)
        known = {self._ids[address] for address in given if address in self._ids}
        more = [address for address, name in self._found.items() if address not in self._given and name not in known]
        return (*given, *more)[:MOST]

    @property
    def events(self) -> tuple[SentinelEvent, ...]:
        """What they told of lately, the newest first."""
        return tuple(reversed(self._events))[:SHOWN_EVENTS]

    async def groups(self) -> tuple[SentinelGroup, ...]:
        """Ask all of them, and those that they name, and return what they say by now."""
        answers = await self._panel.round(self.addresses)
        views = [answer.found for answer in answers.values() if answer.found is not None]
        self._learn(views)
        if set(self.addresses) - answers.keys():
            answers = await self._panel.round(self.addresses)
        views = [answer.found for answer in answers.values() if answer.found is not None]
        self._learn(views)
        silent = {address: "has not answered yet" for address in self.addresses if address not in answers}
        for address, answer in answers.items():
            if answer.error is not None:
                silent[address] = f"cannot be asked: {answer.error.message}"
        views = [view for view in views if view.address in self.addresses]
        silent = {address: why for address, why in silent.items() if address in self.addresses}
        if self._listening:
            self.listen()
        return opinions.gathered(
            views, silent, given=tuple(self._given), myself=self._myself, only=as_text(self._service or "", 100)
        )

    def listen(self) -> None:
        """Subscribe to the events of every one of them, from now on and again when a connection breaks."""
        self._listening = True
        for address in self.addresses:
            if address not in self._listeners:
                self._listeners[address] = asyncio.create_task(self._listen(address), name=f"listen {address}")

    async def close(self) -> None:
        """Close every connection."""
        self._listening = False
        listeners, self._listeners = list(self._listeners.values()), {}
        for task in listeners:
            task.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
        await self._panel.close()
        for session in self._sessions.values():
            await session.close()

    # Asking

    def _learn(self, views: Sequence[View]) -> None:
        self._ids |= {view.address: view.sentinel_id for view in views if view.sentinel_id}
        self._found |= opinions.others_of(views)

    def _session(self, address: str) -> Session:
        if address not in self._sessions:
            where = self._given.get(address) or address_in(address)

            async def endpoint() -> Address:
                return where

            def arrived(arrival: Arrival) -> None:
                self._versions[address] = as_text(arrival.hello.get("version"), 40) or None

            session = self._sessions[address] = Session(where, endpoint, self._who, arrived)
            session.sent = self._sent  # what looking costs is told for all of them
        return self._sessions[address]

    async def _view(self, address: str) -> View:
        session = self._session(address)
        async with session.deadline():
            masters = await session.ask("lists", "SENTINEL", "MASTERS")
            entries = [entry for entry in as_list(masters) if opinions.group_names([entry])]
            if self._service:
                entries = [entry for entry in entries if opinions.group_names([entry]) == [as_text(self._service)]]
            entries = entries[: opinions.MANY_GROUPS]
            questions: list[Sequence[Argument]] = [("SENTINEL", "MYID"), ("INFO", "sentinel")]
            for entry in entries:
                questions += [("SENTINEL", word, opinions.raw_name(entry)) for word in opinions.ASKED]
            me, info, *answers = await session.ask_all("lists", questions)
        each = len(opinions.ASKED)
        groups: dict[str, GroupView] = {}
        for nth, entry in enumerate(entries):
            (name,) = opinions.group_names([entry])
            groups[name] = opinions.read_group(entry, answers[nth * each : (nth + 1) * each])
        known_as = "" if isinstance(me, CacheError) else as_text(me, 64)
        return View(address, known_as, self._versions.get(address), opinions.tilt_of(info), groups)

    # Listening

    async def _listen(self, address: str) -> None:
        """Read one Sentinel's events until cancelled; a broken connection is made again, ever later."""
        pause_s = AGAIN_S
        while True:
            # RESP2: a message comes as a reply like any other.
            link = Link(self._given.get(address) or address_in(address), replace(self._who, protocol=2), self._count)
            try:
                async with asyncio.timeout(self._who.timeout_s):
                    await link.open()
                    await link.exchange([["PSUBSCRIBE", "*"]])
                pause_s = AGAIN_S
                await self._read(link, address)
            except (*_NETWORK, TimeoutError):
                # That it does not answer is told by the round of questions.
                pause_s = min(AGAIN_MOST_S, pause_s * 2)
            finally:
                await link.close()
            await asyncio.sleep(pause_s * random.uniform(0.75, 1.25))

    async def _read(self, link: Link, address: str) -> None:
        asked = False
        while True:
            try:
                async with asyncio.timeout(self._who.timeout_s if asked else QUIET_S):
                    parts = as_list(await link.receive())
            except TimeoutError:
                if asked:
                    raise
                asked = True
                await link.post(["PING"])
                continue
            asked = False
            if len(parts) == 4 and parts[0] == b"pmessage":
                self._take_in(parts[2], parts[3], address)

    def _count(self, command: Sequence[Argument]) -> None:
        self._sent[as_text(command[0], 40).lower()] += 1

    def _take_in(self, channel: object, payload: object, address: str) -> None:
        event = opinions.read_event(channel, payload, address, time.time())
        moved = opinions.switched(channel, payload)
        if event.name in opinions.QUIET or (self._service and event.group not in ("", as_text(self._service, 100))):
            return
        for nth, known in enumerate(self._events):
            same = (known.name, known.words) == (event.name, event.words) and event.at - known.at < SAME_S
            if same and address not in known.sentinels:
                self._events[nth] = replace(known, sentinels=(*known.sentinels, address))
                break
        else:
            self._events.append(event)
        if moved is not None:
            self._switched(*moved)
