"""The servers of one target: asked together, and searched for the ones that hold a key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from cachetui.errors import CacheError, Unreachable
from cachetui.model import KeyFacts, Value
from cachetui.source.memcached.commands import Wire, deleted
from cachetui.source.memcached.connection import Connection
from cachetui.source.memcached.keys import (
    debug_line,
    facts_reader,
    presence_reader,
    read_item,
    reply_or_error,
    value_line,
    value_reader,
)
from cachetui.source.memcached.rings import Fit, Ring, best_fit, rings
from cachetui.source.memcached.server import Server

T = TypeVar("T")


class Fleet:
    """One or several servers."""

    def __init__(self, servers: Sequence[Server], hashing: str = "") -> None:
        """`hashing` names the rule by which keys are spread; empty: it is found out."""
        self.servers = tuple(servers)
        self._hashing = hashing
        self._rings: tuple[Ring, ...] = ()
        self.ring: Ring | None = None
        """How keys are spread; None: one server has them all, or nothing had to be known yet."""
        self.fit: Fit | None = None
        """How well the best rule explains where keys were seen; None: none were."""

    @property
    def several(self) -> bool:
        return len(self.servers) > 1

    async def each(self, ask: Callable[[Server], Awaitable[T]]) -> list[T | CacheError]:
        """Ask every server at once; a failure stands in its server's place. Raises when all failed."""

        async def one(server: Server) -> T | CacheError:
            try:
                return await ask(server)
            except CacheError as error:
                return error

        answers = list(await asyncio.gather(*(one(server) for server in self.servers)))
        if all(isinstance(answer, CacheError) for answer in answers):
            raise self.none_answers([answer for answer in answers if isinstance(answer, CacheError)])
        return answers

    def none_answers(self, errors: Sequence[CacheError]) -> CacheError:
        """Return the one error for the failure of all."""
        first = errors[0]
        if not self.several or not isinstance(first, Unreachable):
            return first
        none_sent = all(error.detail.get("sent") is False for error in errors)
        said = f"none of the {len(self.servers)} servers answers: {first.message}"
        return type(first)(said, first.hint, {"sent": False} if none_sent else None)

    def home(self, key: bytes) -> Server:
        """Return where `key` belongs: by the rule that explains what was seen, else as pymemcache's HashClient does."""
        if not self.several:
            return self.servers[0]
        if self.ring is None:
            self.ring = self._candidates()[0]
        return self.servers[self.ring.home(key)]

    def known_rings(self) -> tuple[Ring, ...]:
        """Return the usual rules for these servers."""
        if not self._rings:
            self._rings = rings([server.address for server in self.servers])
        return self._rings

    def _candidates(self) -> Sequence[Ring]:
        """Return the rules that may hold: all, or the one that was named."""
        return [ring for ring in self.known_rings() if ring.name == self._hashing] or self.known_rings()

    def learn_places(self, seen: Mapping[int, Sequence[bytes]]) -> None:
        """Find out by which rule clients spread keys, from some names by server."""
        if not self.several or not any(seen.values()):
            return
        candidates = self._candidates()
        self.fit = best_fit(candidates, seen)
        if self.fit.explains or len(candidates) == 1:
            self.ring = self.fit.ring

    def at_home(self, keys: Iterable[bytes]) -> dict[Server, list[bytes]]:
        """Return the keys by the server where each ought to be."""
        places: dict[Server, list[bytes]] = {}
        for key in keys:
            places.setdefault(self.home(key), []).append(key)
        return places

    async def facts(self, keys: Sequence[bytes]) -> dict[bytes, KeyFacts]:
        """Return what the servers say of `keys`: first each key's home, then, for what is missing there, all others.

        Other clients spread keys by other rules, so a key may live anywhere.
        """
        found = await self._facts_at(self.at_home(keys))
        missing = [key for key in keys if not found[key].exists]
        if missing and self.several:
            elsewhere = {
                server: others
                for server in self.servers
                if (others := [key for key in missing if self.home(key) is not server])
            }
            for server, some in elsewhere.items():
                for key, facts in (await self._facts_at({server: some})).items():
                    if facts.exists:
                        found[key] = replace(facts, note=self._astray(key, server, facts.note))
        return found

    def _astray(self, key: bytes, server: Server, note: str) -> str:
        words = f"on {server.name}, belongs on {self.home(key).name}"
        return f"{note}; {words}" if note else words

    async def _facts_at(self, places: dict[Server, list[bytes]]) -> dict[bytes, KeyFacts]:
        async def at(server: Server, keys: list[bytes]) -> list[KeyFacts]:
            try:
                return await server.ask(
                    b"".join(map(debug_line, keys)), facts_reader(keys), sent={"me": len(keys)}, patient=False
                )
            except CacheError as error:
                if not self.several:
                    raise
                return [KeyFacts(key, exists=False, note=error.message) for key in keys]

        answers = await asyncio.gather(*(at(server, keys) for server, keys in places.items()))
        return {facts.key: facts for answer in answers for facts in answer}

    async def value(self, key: bytes, max_bytes: int, start: bytes | None = None) -> Value:
        """Return a window on the value from its home, or from whichever other server has it."""
        data = debug_line(key) + value_line(key)
        home = self.home(key)
        trouble: CacheError | None = None
        gone: Value | None = None
        for server in (home, *(other for other in self.servers if other is not home)):
            if server is not home and not (await self._facts_at({server: [key]}))[key].exists:
                continue
            try:
                reader = value_reader(key, max_bytes, start)
                value = await server.ask(data, reader, sent={"me": 1, "mg": 1}, patient=False)
            except Unreachable as error:
                trouble = trouble or error
                continue
            if value.facts.exists:
                if server is not home:
                    astray = replace(value.facts, note=self._astray(key, server, value.facts.note))
                    return replace(value, facts=astray)
                return value
            gone = gone or value
        if trouble is not None or gone is None:
            raise trouble or Unreachable(f"{home.name} does not answer")
        return gone

    async def holders(self, keys: Sequence[bytes]) -> dict[bytes, list[Server]]:
        """Return every server that has each key: after a change of the ring old copies stay behind.

        A server that does not answer counts as holding what belongs to it, so that its failure shows.
        """
        if not self.several:
            return {key: [self.servers[0]] for key in keys}
        data = b"".join(map(debug_line, keys))
        told = await asyncio.gather(*(self._present(server, data, len(keys)) for server in self.servers))
        whole = all(None not in there for there in told)
        found: dict[bytes, list[Server]] = {}
        for at, key in enumerate(keys):
            held = [server for server, there in zip(self.servers, told, strict=True) if there[at]]
            if not whole:
                home = self.home(key)
                lost = home not in held and told[self.servers.index(home)][at] is None
                held = [home, *held] if lost else held or [home]
            found[key] = held or [self.servers[0]]
        return found

    async def _present(self, server: Server, data: bytes, number: int) -> list[bool | None]:
        try:
            return await server.bulk(data, presence_reader(number), sent={"me": number}, patient=False)
        except CacheError:
            return [None] * number  # its failure shows when something is sent to it

    async def run(self, server: Server, wires: Sequence[Wire]) -> list[object]:
        """Send commands to one server and return their replies; the connection's failure in every place."""

        sent: dict[str, int] = {}
        for wire in wires:
            sent[wire.name] = sent.get(wire.name, 0) + 1
        try:
            return await server.bulk(b"".join(wire.data for wire in wires), _replies_reader(wires), sent=sent)
        except CacheError as error:
            if not self.several:
                raise
            return [error] * len(wires)

    async def delete(self, keys: Sequence[bytes], data: bytes) -> list[object]:
        """Send deletes of plain `keys`, as `data`, to every server and return the replies.

        Old copies stay behind where a ring changes, so each server is told of each key; one that
        does not answer is in the way of its own keys only.
        """
        if not self.several:
            return await self._delete_at(self.servers[0], keys, data)

        async def at(server: Server) -> list[object]:
            try:
                return await self._delete_at(server, keys, data, patient=False)
            except CacheError as error:
                return [error] * len(keys)

        answers = dict(zip(self.servers, await asyncio.gather(*map(at, self.servers)), strict=True))
        # Where a key belongs costs more to find out than to delete it: only a silent server makes it matter.
        silent = {server for server, told in answers.items() if any(isinstance(reply, CacheError) for reply in told)}
        if not silent:
            return [
                b"DELETED" if b"DELETED" in replies else replies[0] for replies in zip(*answers.values(), strict=True)
            ]
        merged_replies: list[object] = []
        for place, key in enumerate(keys):
            reply = answers[self.home(key)][place]
            if not isinstance(reply, CacheError) and any(told[place] == b"DELETED" for told in answers.values()):
                reply = b"DELETED"
            merged_replies.append(reply)
        return merged_replies

    async def _delete_at(
        self, server: Server, keys: Sequence[bytes], data: bytes, *, patient: bool = True
    ) -> list[object]:
        async def read(connection: Connection) -> list[object]:
            return deleted(await connection.lines(len(keys)))

        return await server.bulk(data, read, sent={"delete": len(keys)}, patient=patient)


def _replies_reader(wires: Sequence[Wire]) -> Callable[[Connection], Awaitable[list[object]]]:
    async def read(connection: Connection) -> list[object]:
        if not any(wire.shows for wire in wires):
            lines = await connection.lines(len(wires))
            return [_said(line, wire) for line, wire in zip(lines, wires, strict=True)]
        return [
            await read_item(connection, wire.key, wire.shows)
            if wire.shows and wire.key is not None
            else _said(await connection.line(), wire)
            for wire in wires
        ]

    return read


def _said(line: bytes, wire: Wire) -> object:
    said = wire.says.get(line) if wire.says else None
    return said or reply_or_error(line, wire.name)


def merged(replies: Sequence[object]) -> object:
    """Return the one reply for a command that went to several servers: the first error, else the best reply."""
    for reply in replies:
        if isinstance(reply, CacheError):
            return reply
    return next((reply for reply in replies if reply not in (b"NOT_FOUND", None)), replies[0])
