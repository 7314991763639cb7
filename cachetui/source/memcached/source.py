"""Memcached, one server or several, behind the one protocol."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from weakref import WeakSet

from cachetui.config import Target
from cachetui.errors import BadTarget, CacheError, Unreachable, Unsupported
from cachetui.model import (
    ClientList,
    Identity,
    KeyFacts,
    KeyFactsList,
    ScanStep,
    SettingsByNode,
    SlowLog,
    Stats,
    Topology,
    Value,
)
from cachetui.model.ages import ClassAges
from cachetui.model.burst import Burst, Limits, Measured, Room
from cachetui.source.base import (
    VALUE_BYTES,
    VALUE_ROWS,
    CallSink,
    Capability,
    Check,
    Command,
    Enumeration,
    KeySink,
    Kind,
    Polled,
    UseSink,
)
from cachetui.source.globs import compiled
from cachetui.source.memcached.commands import Wire, deletes, flags_of, wired
from cachetui.source.memcached.connection import Connection, Login, reply_error
from cachetui.source.memcached.enumeration import STEP, Enumerations
from cachetui.source.memcached.fleet import Fleet, merged
from cachetui.source.memcached.keys import check, is_plain, refusal
from cachetui.source.memcached.polls import connections_of, identity_of, topology_of
from cachetui.source.memcached.server import Server
from cachetui.source.memcached.stats import Answer, Fields, combined, read_stats
from cachetui.source.memcached.watch import KEPT, Watch
from cachetui.text import printable

SETTINGS_EVERY_S = 30.0
DUMP = "LRU_CRAWLER METADUMP"
WATCH = "WATCH"

NO_SLOW_LOG = "memcached has no slow log: live events of the last seconds"

WHY_NOT: dict[Capability, str] = {
    "policy": "memcached has no eviction policy to set: `lru mode flat|segmented`, `lru tune` and -M at start are all",
    "rewrite": "memcached has no configuration file to write: its options are given when it starts",
    "failover": "memcached servers do not replicate: there is nothing to fail over to",
    "cluster": "memcached servers know nothing of each other: its clients spread the keys",
    "kill": "memcached cannot close another client's connection: `idle_timeout` at start closes idle ones",
}


class MemcachedSource:
    """One target of one or several memcached servers. See `cachetui.source.base.Source`.

    Figures are sums over the servers that answer; one of several that does not is a node that
    is down, and is tried again after a rest that grows from 1 to 8 seconds.
    """

    def __init__(self, target: Target) -> None:
        if not target.addresses:
            raise BadTarget("no memcached server given", "write memcached://host:11211")
        self.name = target.name
        self._target = target
        self.identity: Identity | None = None
        self.sent: Counter[str] = Counter()
        self.denied: dict[str, CacheError] = {}
        login = Login(target.timeout_s, target.user, target.password, target.tls)
        several = len(target.addresses) > 1
        servers = [Server(address, login, self.sent, rests=several) for address in target.addresses]
        self._fleet = Fleet(servers, target.hashing)
        self._watches = {server: Watch(server, named=several) for server in servers}
        self._scans = Enumerations(self._fleet)
        self._passes: WeakSet[Enumeration] = WeakSet()
        self._settings: Fields | None = None
        self._settings_at = 0.0
        self._run_id: str | None = None

    async def open(self) -> Identity:
        """Connect to every server. Raises when none of them lets us in."""
        self.denied.clear()
        await self._answers(patient=True)
        assert self.identity is not None
        return self.identity

    async def close(self) -> None:
        """Close every connection. Never raises."""
        self._scans.close()
        for one in list(self._passes):
            one.cancel()
        for watch in self._watches.values():
            watch.close()
        for server in self._fleet.servers:
            server.close()

    def now(self) -> float:
        """Return the time of this machine."""
        return time.time()

    async def poll(self, kind: Kind) -> Polled:
        """Return a new snapshot of `kind`."""
        self._scans.forget_idle()
        if kind == "stats":
            return await self._poll_stats()
        if kind == "slowlog":
            return await self._poll_events()
        if kind == "clients":
            return await self._poll_clients()
        return await self._poll_topology()

    async def _answers(self, *, full: bool = False, patient: bool = False) -> list[Answer | CacheError]:
        """Ask every server for its statistics and learn from them who they are."""
        answers = await self._fleet.each(lambda server: self._answer(server, full=full, patient=patient))
        good = [answer for answer in answers if isinstance(answer, Answer)]
        address = ",".join(server.name for server in self._fleet.servers)
        self.identity = identity_of(good, address=address, several=self._fleet.several)
        if self.identity.run_id != self._run_id:
            # Another process may allow what this one refused, and be set up differently.
            self._run_id, self._settings = self.identity.run_id, None
            self.denied.clear()
        return answers

    async def _answer(self, server: Server, *, full: bool, patient: bool) -> Answer:
        async def read(connection: Connection) -> Answer:
            begun = time.perf_counter()
            line = await connection.line()
            if not line.startswith(b"VERSION "):
                raise reply_error(line, "version")
            latency_us = (time.perf_counter() - begun) * 1e6
            if not full:
                await connection.send(b"stats\r\n")
                return Answer(server.name, await read_stats(connection), latency_us=latency_us)
            await connection.send(b"stats\r\nstats items\r\nstats slabs\r\n")
            general, items, slabs = [await read_stats(connection) for _ in range(3)]
            return Answer(server.name, general, items, slabs, latency_us)

        names = ("version", "stats", "stats items", "stats slabs") if full else ("version", "stats")
        return await server.ask(b"version\r\n", read, sent=dict.fromkeys(names, 1), patient=patient)

    async def _poll_stats(self) -> Stats:
        answers = await self._answers(full=True)
        good = [answer for answer in answers if isinstance(answer, Answer)]
        settings = await self._known_settings()
        assert self.identity is not None
        return combined(
            good, taken_at=time.time(), identity=self.identity, settings=settings, denied=tuple(sorted(self.denied))
        )

    async def _known_settings(self) -> Fields | None:
        """Return `stats settings` of a server that answers, at most half a minute old; None when there is none."""
        if self._settings is None or time.monotonic() - self._settings_at > SETTINGS_EVERY_S:
            try:
                found = await self._fleet.each(self._ask_settings)
            except CacheError:
                return self._settings  # the poll goes on without: it has its own figures
            self._settings = next(fields for fields in found if not isinstance(fields, CacheError))
            self._settings_at = time.monotonic()
        return self._settings

    async def _ask_settings(self, server: Server) -> Fields:
        return await server.ask(b"stats settings\r\n", read_stats, sent={"stats settings": 1}, patient=False)

    async def _poll_events(self) -> SlowLog:
        self._raise_denied(WATCH)
        try:
            found = await self._fleet.each(lambda server: self._watches[server].look())
        except Unsupported as error:
            self.denied[WATCH] = error
            raise
        entries = [entry for events in found if not isinstance(events, CacheError) for entry in events]
        entries.sort(key=lambda entry: entry.at, reverse=True)
        watches = self._watches.values()
        note = NO_SLOW_LOG + ("; sampled, there are too many" if any(watch.sampled for watch in watches) else "")
        lacks = sorted({watch.lacks for watch in watches if watch.lacks})
        note = "; ".join([note, *(f"this version does not tell of {words}" for words in lacks)])
        note = "; ".join([note, *(error.message for error in found if isinstance(error, CacheError))])
        skipped = sum(watch.skipped for watch in watches)
        return SlowLog(time.time(), self._known_identity(), tuple(entries[:KEPT]), note=note, skipped=skipped)

    async def _poll_clients(self) -> ClientList:
        async def ask(server: Server) -> Fields:
            return await server.ask(b"stats conns\r\n", read_stats, sent={"stats conns": 1}, patient=False)

        found = await self._fleet.each(ask)
        clients = [
            client
            for server, fields in zip(self._fleet.servers, found, strict=True)
            if not isinstance(fields, CacheError)
            for client in connections_of(
                fields, server=server.name if self._fleet.several else "", ours=server.local_names
            )
        ]
        silent = [error.message for error in found if isinstance(error, CacheError)]
        return ClientList(
            time.time(), self._known_identity(), tuple(clients), total=len(clients), note="; ".join(silent)
        )

    async def _poll_topology(self) -> Topology:
        answers = await self._answers(full=not self._fleet.several)
        settings = await self._known_settings()
        names = [server.name for server in self._fleet.servers]
        named = list(zip(names, answers, strict=True))
        ring = self._fleet.ring if self._fleet.fit is not None else None
        return topology_of(named, identity=self._known_identity(), settings=settings, ring=ring, fit=self._fleet.fit)

    def _known_identity(self) -> Identity:
        address = ",".join(server.name for server in self._fleet.servers)
        return self.identity or Identity(
            "memcached", mode="fleet" if self._fleet.several else "standalone", address=address
        )

    async def scan(
        self, cursor: bytes | None = None, *, match: bytes | None = None, type_: str | None = None, count: int = 500
    ) -> ScanStep:
        """Return the next names of the servers' dumps, one server after the other."""
        self._raise_denied(DUMP)
        if cursor is None:
            answers = [answer for answer in await self._answers(patient=True) if isinstance(answer, Answer)]
            total = sum(answer.number("curr_items") or 0 for answer in answers)
            if type_ not in (None, "item"):
                return ScanStep(time.time(), (), None, total, "every memcached value is an item")
            cursor = self._scans.begin(total)
        try:
            return await self._scans.step(cursor, match=match, count=min(count, STEP))
        except Unsupported as error:
            self.denied[DUMP] = error
            raise

    def enumeration(
        self, sink: KeySink, *, match: bytes | None = None, type_: str | None = None, replicas: bool = False
    ) -> Enumeration:
        """Return a pass over the items of every server, by their dumps."""
        from cachetui.source.memcached.listing import MemcachedEnumeration

        known = self.denied.get(DUMP)
        made = MemcachedEnumeration(
            self._fleet.servers,
            sink,
            match=match,
            type_=type_,
            known=known,
            learn=self._learn,
            places=self._fleet.learn_places,
        )
        self._passes.add(made)
        return made

    def _learn(self, sent: Counter[str], odd: set[bytes], refused: CacheError | None) -> None:
        self.sent.update(sent)
        self._scans.remember_odd(odd)
        if refused is not None:
            self.denied[DUMP] = refused

    async def facts(self, keys: Sequence[bytes], *, size: bool = True) -> KeyFactsList:
        """Return expiry, size, idle time of `keys` without bumping or counting. A name that is refused has a note."""
        sendable = [key for key in dict.fromkeys(keys) if self._sendable(key)]
        found = await self._fleet.facts(sendable) if sendable else {}
        facts = tuple(
            found[key] if key in found else KeyFacts(key, exists=False, note=refusal(key).message) for key in keys
        )
        return KeyFactsList(time.time(), facts)

    async def value(
        self,
        key: bytes,
        *,
        rows: int = VALUE_ROWS,
        max_bytes: int = VALUE_BYTES,
        start: bytes | None = None,
        order: str = "",
    ) -> Value:
        """Return `max_bytes` of an item from the byte `start` on. `rows` and `order` mean nothing: it is one string."""
        check(key, self._scans.odd_keys)
        return await self._fleet.value(key, max(1, max_bytes), start)

    def _sendable(self, key: bytes) -> bool:
        return is_plain(key) or key in self._scans.odd_keys

    async def policies(self) -> tuple[str, ...]:
        """Return none: see `why_not("policy")`."""
        return ()

    async def config(self, pattern: str) -> dict[str, str]:
        """Return `stats settings` fields that match the glob; where servers differ, each one's, by ` | `."""
        fits = compiled(pattern.encode()).fullmatch
        found = await self._fleet.each(self._ask_settings)
        differing: dict[str, list[str]] = {}
        for fields in found:
            if isinstance(fields, CacheError):
                continue
            for name, value in fields.items():
                values = differing.setdefault(name, [])
                if value not in values:
                    values.append(value)
        return {name: " | ".join(values) for name, values in differing.items() if fits(name.encode())}

    async def settings(self, pattern: str = "*") -> SettingsByNode:
        """Return every server's `stats settings` that match the glob."""
        from cachetui.source.memcached.settings import read_settings

        return await read_settings(self._fleet, self.identity or await self.open(), pattern)

    async def flags(self, names: Sequence[str]) -> dict[str, frozenset[str] | None]:
        """Return what each command does, from our own table."""
        return {name: flags_of(name) for name in names}

    async def execute(self, commands: Sequence[Command]) -> list[object]:
        """Send commands: those on a key to every server that holds it, the others to all servers.

        A command that is not one of memcached's, or whose words cannot be sent safely, is
        refused here. In a fleet a server's failure stands in the places of its commands.
        """
        if commands and (found := deletes(commands)) is not None:
            replies = await self._fleet.delete(*found)
            self._raise_when_none_answers(replies)
            return replies
        wires = [wired(command, self._scans.odd_keys) for command in commands]
        if not self._fleet.several:
            return await self._execute_alone(wires)
        ready = {at: wire for at, wire in enumerate(wires) if isinstance(wire, Wire)}
        places = await self._places(ready)
        by_server: dict[Server, list[int]] = {}
        for at, servers in places.items():
            for server in servers:
                by_server.setdefault(server, []).append(at)
        answers = await asyncio.gather(
            *(self._fleet.run(server, [ready[at] for at in indices]) for server, indices in by_server.items())
        )
        told: dict[int, list[object]] = {}
        for indices, answered in zip(by_server.values(), answers, strict=True):
            for at, reply in zip(indices, answered, strict=True):
                told.setdefault(at, []).append(reply)
        if told:
            self._raise_when_none_answers([reply for some in told.values() for reply in some])
        return [merged(told[at]) if isinstance(wire, Wire) else wire for at, wire in enumerate(wires)]

    async def _execute_alone(self, wires: Sequence[Wire | CacheError]) -> list[object]:
        ready = [wire for wire in wires if isinstance(wire, Wire)]
        replies = iter(await self._fleet.run(self._fleet.servers[0], ready) if ready else ())
        return [next(replies) if isinstance(wire, Wire) else wire for wire in wires]

    async def _places(self, wires: dict[int, Wire]) -> dict[int, list[Server]]:
        """Return where each command goes.

        What makes an item goes to its home; what is about one version of it to its home if it is
        there, else to the first server that has it; the rest to all that hold it.
        """
        everywhere = list(self._fleet.servers)
        held = [wire.key for wire in wires.values() if wire.key is not None and not wire.makes]
        holders = await self._fleet.holders(list(dict.fromkeys(held))) if held else {}
        places: dict[int, list[Server]] = {}
        for at, wire in wires.items():
            if wire.key is None:
                places[at] = everywhere
                continue
            having = [self._fleet.home(wire.key)] if wire.makes else holders[wire.key]
            if wire.versioned and len(having) > 1:
                home = self._fleet.home(wire.key)
                having = [home if home in having else having[0]]
            places[at] = having
        return places

    def _raise_when_none_answers(self, replies: list[object]) -> None:
        if not isinstance(replies[0], Unreachable):
            return
        errors = [reply for reply in replies if isinstance(reply, Unreachable)]
        if errors and len(errors) == len(replies):
            raise self._fleet.none_answers(errors)

    async def execute_on(self, address: str, commands: Sequence[Command]) -> list[object]:
        """Send commands that concern no key to one server."""
        from cachetui.source.memcached.settings import execute_on

        return await execute_on(self._fleet, address, commands)

    async def transact(
        self, watched: Sequence[bytes], checks: Sequence[Check], commands: Sequence[Command]
    ) -> list[object]:
        """Send the commands if the items are still at the versions that `checks` name."""
        from cachetui.source.memcached.transaction import transact

        return await transact(self, checks, commands)

    async def latency_us(self) -> float | None:
        """Return one round trip of `version`, of several servers the worst that answers."""
        answers = await self._fleet.each(lambda server: server.latency_us())
        return max(answer for answer in answers if not isinstance(answer, CacheError))

    async def burst(self, sink: UseSink | CallSink, limits: Limits, begun: Callable[[], None] | None = None) -> Burst:
        """Watch all events of one server for a moment. Raises Unsupported for a fleet: look at one server of it."""
        from cachetui.source.memcached.stream import Burster, burst

        server = self._only()
        self._raise_denied(WATCH)
        burster = Burster(server.address, server.login, sink, limits, begun or (lambda: None), server.own_peers)
        try:
            return await burst(burster)
        except Unsupported as error:
            self.denied[WATCH] = error
            raise
        finally:
            self.sent.update(burster.sent)

    def _only(self) -> Server:
        if self._fleet.several:
            raise Unsupported("several servers are watched one by one", "look at one alone: ] or 4 and Enter")
        return self._fleet.servers[0]

    async def measured(self, keys: Sequence[tuple[int, bytes]], *, lfu: bool, ttl: bool) -> list[Measured]:
        """Return the chunk that each item takes, its idle time and its TTL, as far as some seconds suffice."""
        from cachetui.source.memcached.measuring import measured

        return await measured(self._only(), [key for _, key in keys])

    async def room(self) -> Room:
        """Return what takes the memory of one server."""
        from cachetui.source.memcached.measuring import read_room

        return await read_room(self._only())

    async def ages(self) -> tuple[ClassAges, ...]:
        """Return how long items were not used, by server and slab class; a server that does not answer is left out."""
        from cachetui.source.memcached.ages import read_ages

        self._raise_denied(DUMP)
        found = await self._fleet.each(lambda server: read_ages(server, named=True))
        return tuple(one for ages in found if not isinstance(ages, CacheError) for one in ages)

    def node(self, address: str) -> MemcachedSource:
        """Return a source for one server of the fleet. Raises BadTarget when there is no such server."""
        found = next((place for place in self._target.addresses if str(place) == address), None)
        if found is None:
            raise BadTarget(f"no server {printable(address, 80)} belongs to this target", "the topology lists them")
        return MemcachedSource(replace(self._target, addresses=(found,)))

    def why_not(self, capability: Capability) -> str | None:
        """Return why `capability` cannot be used here, or None."""
        remembered = {"scan": DUMP, "slowlog": WATCH}.get(capability, "")
        if remembered in self.denied:
            return self.denied[remembered].message
        return WHY_NOT.get(capability)

    def _raise_denied(self, name: str) -> None:
        if (error := self.denied.get(name)) is not None:
            raise type(error)(error.message, error.hint, error.detail)
