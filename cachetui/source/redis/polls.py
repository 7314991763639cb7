"""What one Redis-like server says of itself: who it is, statistics, slow log, clients, topology."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from cachetui.config import Address, Target
from cachetui.errors import CacheError, Unreachable
from cachetui.model import ClientList, Identity, SlowLog, Stats, Topology
from cachetui.source.base import Kind, Polled
from cachetui.source.redis import info as info_text
from cachetui.source.redis import topology
from cachetui.source.redis.connection import CLIENT_NAME, Credentials
from cachetui.source.redis.discover import check_primary, endpoint_of
from cachetui.source.redis.info import Info, parse_info
from cachetui.source.redis.lists import parse_clients
from cachetui.source.redis.members import QUESTIONS, Members, merged
from cachetui.source.redis.replies import as_bytes, as_int, as_list, as_text
from cachetui.source.redis.sentinels import Sentinels
from cachetui.source.redis.session import Arrival, LaneName, Session
from cachetui.source.redis.slow import SlowReader

MOVES = 3
"""So often one poll begins again because another server took over."""
MANY_CLIENTS_BYTES = 150_000
"""CLIENT LIST of some 500 clients: from here on it is parsed in a thread."""


class PolledServer:
    """One server and what it says of itself; see `RedisSource`, which this is the first part of."""

    def __init__(self, target: Target, *, protocol: int = 3) -> None:
        self.name = target.name
        self.identity: Identity | None = None
        self._target = target
        self._session = Session(_first_address(target), self._find, Credentials.of(target, protocol), self._arrived)
        self._policy: str | None = None
        self._members: Members | None = None
        self._sentinels: Sentinels | None = None
        self._moved: Callable[[str], None] | None = None
        self._last_move = ("", "")
        self._slow = SlowReader()

    @property
    def sent(self) -> Counter[str]:
        """Commands sent so far by lower-case name."""
        return self._session.sent

    @property
    def denied(self) -> Mapping[str, CacheError]:
        """Refused or unknown commands of this connection by upper-case name."""
        return self._session.denied

    def now(self) -> float:
        """Return Unix seconds."""
        return time.time()

    async def _find(self) -> Address:
        return await endpoint_of(self._target, self._session.sent)

    # Connecting

    async def open(self) -> Identity:
        """Connect, authenticate, find out what the server is."""
        async with self._session.deadline():
            await self._session.ask_all("stats", [])
        assert self.identity is not None
        return self.identity

    async def close(self) -> None:
        """Close every connection."""
        if self._sentinels is not None:
            await self._sentinels.close()
        if self._members is not None:
            await self._members.close()
        await self._session.close()

    def watch(self, moved: Callable[[str], None]) -> None:
        """Listen to the target's Sentinels from now on; call `moved` with what happened when the primary changed.

        By then the next poll asks the new one. Needs a running loop; without Sentinels nothing happens.
        """
        self._moved = moved
        if self._target.kind == "sentinel":
            self._all_sentinels().listen()

    @property
    def apart(self) -> frozenset[Kind]:
        """What can be polled even while the server itself does not answer."""
        return frozenset({"topology"}) if self._target.kind == "sentinel" else frozenset()

    def _listen_before_writing(self) -> None:
        """Listen to the Sentinels from now on: an old primary takes writes for seconds before it is told."""
        if self._target.kind == "sentinel" and self._sentinels is None:
            self._all_sentinels().listen()

    def _all_sentinels(self) -> Sentinels:
        if self._sentinels is None:
            here = "" if self._target.kind == "sentinel" or self.identity is None else self.identity.address
            self._sentinels = Sentinels(self._target, self._session.sent, switched=self._switched, myself=here)
            if self._moved is not None:
                self._sentinels.listen()
        return self._sentinels

    def _switched(self, group: str, old: str, new: str) -> None:
        """A Sentinel told that another server is the primary now."""
        if self._target.kind != "sentinel" or group != as_text(self._target.service or "", 100):
            return
        again, self._last_move = self._last_move == (old, new), (old, new)
        here = self.identity
        arrived = here is not None and here.address == new and here.role == "primary"
        if arrived and again:
            return  # another Sentinel told it before
        if not arrived:
            self._session.interrupt()
        if self._moved is not None:
            self._moved("" if again else f"failover: {old} -> {new}")

    def _arrived(self, arrival: Arrival) -> None:
        """Take in who answers on a new connection."""
        if self._target.kind == "sentinel":
            check_primary(arrival.role, arrival.address)
        before = self.identity
        hello = arrival.hello | ({} if arrival.role is None else {"role": arrival.role})
        self.identity = info_text.identity(parse_info(arrival.info), hello, str(arrival.address), before)
        if before is not None and (before.run_id, before.address) != (self.identity.run_id, self.identity.address):
            self._session.switched()
            self._replaced()

    def _replaced(self) -> None:
        """Forget what was learnt of the server before this one."""

    def _recognise(self, info: Info) -> Identity:
        assert self.identity is not None
        self.identity = info_text.identity(info, {}, self.identity.address, self.identity)
        if self._target.kind == "sentinel" and self.identity.role == "replica":
            self._session.renew()  # it was failed over: ask the Sentinels again
        return self.identity

    async def poll(self, kind: Kind) -> Polled:
        """Return a new snapshot of `kind`."""
        pollers: dict[Kind, Callable[[], Awaitable[Polled]]] = {
            "stats": self._stats,
            "slowlog": self._slowlog,
            "clients": self._clients,
            "topology": self._topology,
        }
        for _ in range(MOVES):
            try:
                async with self._session.deadline():
                    return await pollers[kind]()
            except Unreachable as error:
                if "moved" not in error.detail and kind in self.apart:
                    return await self._without_primary(error)
                if "moved" not in error.detail:
                    raise
        raise Unreachable(f"the primary of {self.name} changes again and again", "asked again by itself")

    async def _server(self, lane: LaneName) -> Identity:
        """Return who answers, connecting first where there is no connection."""
        await self._session.ask_all(lane, [])
        assert self.identity is not None
        return self.identity

    async def _stats(self) -> Stats:
        server = await self._server("stats")
        latency_us = await self._latency_us()
        sections = info_text.SECTIONS if self._several_sections() else ("all",)
        taken_at, keys, info = time.time(), None, Info()
        (reply,) = await self._session.ask_all("stats", [("INFO", *sections)])
        if not isinstance(reply, CacheError):
            info = parse_info(reply)
            server = self._recognise(info)
        elif "INFO" not in self.denied:
            raise reply
        else:
            size, role = await self._session.ask_all("stats", [("DBSIZE",), ("ROLE",)])
            keys, server = as_int(size), self._role_from(role)
        self._policy = info.fields.get("maxmemory_policy", self._policy)
        return info_text.to_stats(
            info,
            server,
            taken_at=taken_at,
            latency_us=latency_us,
            db=self._target.db,
            keys=keys,
            denied=tuple(sorted(self.denied)),
        )

    def _several_sections(self) -> bool:
        features = self._session.features
        return features is not None and features.subcommands

    async def _latency_us(self) -> float | None:
        """Return the round trip of the cheapest command that is allowed."""
        for command in ("PING", "DBSIZE"):
            if command not in self.denied:
                began = time.perf_counter()
                await self._session.ask_all("stats", [(command,)])
                return (time.perf_counter() - began) * 1e6
        return None

    def _role_from(self, reply: object) -> Identity:
        assert self.identity is not None
        parts = as_list(reply)
        role = info_text.role_word(parts[0]) if parts else None
        if role is not None:
            self.identity = dataclasses.replace(self.identity, role=role)
        return self.identity

    async def _slowlog(self) -> SlowLog:
        server = await self._server("lists")
        return await self._slow.read(self._session, server)

    async def _clients(self) -> ClientList:
        server = await self._server("lists")
        text = as_bytes(await self._session.ask("lists", "CLIENT", "LIST"))
        taken_at, ours = time.time(), self._session.client_ids
        if len(text) > MANY_CLIENTS_BYTES:
            clients = await asyncio.to_thread(parse_clients, text, ours, CLIENT_NAME)
        else:
            clients = parse_clients(text, ours, CLIENT_NAME)
        return ClientList(taken_at, server, clients, len(clients))

    async def _topology(self) -> Topology:
        server = await self._server("lists")
        if server.mode == "sentinel":
            return await self._sentinel_topology(server)
        if server.mode == "cluster":
            nodes, about = await self._session.ask_all("lists", [("CLUSTER", "NODES"), ("CLUSTER", "INFO")])
            if not isinstance(nodes, CacheError):
                return topology.cluster(nodes, None if isinstance(about, CacheError) else about, server, time.time())
        replies = await self._session.ask_all("lists", QUESTIONS)
        if not isinstance(replies[0], CacheError):
            return await self._replication(merged(replies))
        role = await self._session.ask("lists", "ROLE")
        return topology.from_role(role, self._role_from(role), time.time())

    async def _replication(self, info: Info) -> Topology:
        """Return the whole replication, and what the Sentinels say of it where the target names any."""
        server = self._recognise(info)
        if self._members is None:
            self._members = Members(self._session.credentials, self._session.sent)
        if self._target.kind != "sentinel":
            return topology.replication(info, server, time.time(), await self._members.round(info, server.address))
        sentinels = self._all_sentinels()
        groups = await sentinels.groups()
        if any(2 * sum(one.primary != server.address for one in g.answered) > len(g.answered) for g in groups):
            self._session.renew()  # it was failed over, and nobody has told this server yet
        also = tuple(member.address for group in groups for member in group.members)
        others = await self._members.round(info, server.address, also)
        seen = topology.replication(info, server, time.time(), others)
        return topology.with_sentinels(seen, groups, sentinels.events)

    async def _without_primary(self, error: CacheError) -> Topology:
        """Return what the Sentinels say while the primary itself does not answer. Raises Unreachable with them all."""
        sentinels = self._all_sentinels()
        groups = await sentinels.groups()
        if not any(group.answered for group in groups):
            raise Unreachable("neither the primary nor any of its Sentinels answers", "are they started?")
        here = self.identity or Identity("redis", role="primary", address=groups[0].primary)
        return topology.of_groups(groups, sentinels.events, here, time.time(), error.message)

    async def _sentinel_topology(self, server: Identity) -> Topology:
        sentinels = self._all_sentinels()
        groups = await sentinels.groups()
        return topology.sentinel(groups, sentinels.events, server, time.time())


def _first_address(target: Target) -> Address:
    return target.addresses[0] if target.addresses else Address("", 0)
