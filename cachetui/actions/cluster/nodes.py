"""The nodes of a cluster, each spoken to on connections of its own: also those that are not in it yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from cachetui.config import Address, Target
from cachetui.errors import BadTarget, CacheError, ServerError, TimedOut
from cachetui.source.base import Command, Source
from cachetui.text import printable

MOST_S = 120.0
"""The longest a node may take for one MIGRATE."""

Word = bytes | str | int


def address_in(text: str) -> Address:
    """Return `host:port` as an address. Raises BadTarget.

    >>> str(address_in("[::1]:7000")), str(address_in("h:1"))
    ('[::1]:7000', 'h:1')
    """
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port[:8]) < 65536:
        raise BadTarget(f"not a node's address: {printable(text, 80)!r}", "write HOST:PORT")
    return Address(host.strip("[]"), int(port))


class Nodes:
    """Sources for single nodes, made when first asked: with the user, password and TLS of `target`.

    `make` is `source.connect.make_source`. Close them at the end.
    """

    def __init__(self, target: Target, make: Callable[[Target], Source]) -> None:
        self.target = target
        self._make = make
        self._sources: dict[tuple[str, bool], Source] = {}

    async def __aenter__(self) -> Nodes:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def like(self, target: Target) -> Nodes:
        """Return the same with the user, password and TLS of another target; its owner closes it."""
        return Nodes(target, self._make)

    @property
    def login(self) -> tuple[bytes, ...]:
        """What MIGRATE says to be let in by the other node: AUTH or AUTH2 and a secret; empty without a password."""
        who = self.target
        if who.password is None:
            return ()
        if who.user:
            return (b"AUTH2", who.user.encode(), str(who.password).encode())
        return (b"AUTH", str(who.password).encode())

    def at(self, address: str, *, patient: bool = False) -> Source:
        """Return the source of one node; `patient` ones wait long for an answer. Raises BadTarget."""
        known = self._sources.get((address, patient))
        if known is None:
            timeout_s = MOST_S if patient else self.target.timeout_s
            where = replace(
                self.target, kind="redis", addresses=(address_in(address),), db=0, timeout_s=timeout_s, service=None
            )
            known = self._sources[address, patient] = self._make(where)
        return known

    async def ask_all(self, address: str, commands: Sequence[Command]) -> list[object]:
        """Send one pipeline to a node; a CacheError stands for each that was refused. Raises CacheError."""
        source = self.at(address)
        identity = source.identity or await source.open()
        return await source.execute_on(identity.address, commands)

    async def ask(self, address: str, *words: Word) -> object:
        """Send one command to a node and return its reply. Raises CacheError, also for a refusal."""
        (reply,) = await self.ask_all(address, [command_of(words)])
        if isinstance(reply, CacheError):
            raise reply
        return reply

    async def ask_long(self, address: str, commands: Sequence[Command], limit_s: float) -> list[object]:
        """Send one pipeline that may take long; after `limit_s` seconds the connection is given up. Raises CacheError.

        A refusal is returned, not raised.
        """
        source = self.at(address, patient=True)
        try:
            async with asyncio.timeout(limit_s):
                identity = source.identity or await source.open()
                return await source.execute_on(identity.address, commands)
        except TimeoutError as error:
            raise TimedOut(f"{address} did not answer within {limit_s:.0f} s", "it is stopped or overloaded") from error

    async def close(self) -> None:
        """Close every connection."""
        sources, self._sources = list(self._sources.values()), {}
        for source in sources:
            await source.close()


def command_of(words: Sequence[Word]) -> Command:
    """Return words as a command."""
    return tuple(word if isinstance(word, bytes) else str(word).encode() for word in words)


def number_of(reply: object, what: str) -> int:
    """Return a reply that must be a number. Raises ServerError."""
    if isinstance(reply, CacheError):
        raise reply
    if isinstance(reply, int):
        return reply
    raise ServerError(f"{what}: the reply makes no sense", "a proxy may stand in between")
