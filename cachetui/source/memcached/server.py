"""One memcached server of a target: its connections for questions and for bulk work, its rest after a failure."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar
from weakref import WeakSet

from cachetui.config import Address
from cachetui.errors import CacheError, ServerError, Unreachable
from cachetui.source import faults
from cachetui.source.memcached.connection import Connection, Login, connect, reply_error

T = TypeVar("T")

BULK_LINES = 4
"""Long pipelines that are under way to one server at the same time; a fifth waits."""
OWN_PEERS = 64
REST_S = 1.0
"""Rest after the first failure; it doubles with each further one."""
REST_MAX_S = 8.0


class Server:
    """Asks one server, one question after the other; writes to it over a few connections at once.

    `dumping` is held by whoever has a metadump running: memcached 1.6.18 stalls whole worker
    threads when a second one is asked for while the first is still being read.
    """

    def __init__(self, address: Address, login: Login, sent: Counter[str], *, rests: bool = False) -> None:
        self.address = address
        self.login = login
        self.rests = rests
        """One of several: after a failure it is left alone for a while, so that the others do not wait for it."""
        self.dumping = asyncio.Lock()
        self.timeout_s = login.timeout_s
        self._sent = sent
        self._connection: Connection | None = None
        self._dialed: WeakSet[Connection] = WeakSet()
        self.own_peers: deque[str] = deque(maxlen=OWN_PEERS)
        """Our ends of the latest connections, closed ones too: what `watch` tells of them is no news."""
        self._asking = asyncio.Lock()
        self._gate = asyncio.Semaphore(BULK_LINES)
        self._spare: list[Connection] = []
        self._probe: Connection | None = None
        self._probing = asyncio.Lock()
        self._failures = 0
        self._rested_at = 0.0
        self._trouble: CacheError | None = None

    @property
    def name(self) -> str:
        return str(self.address)

    @property
    def local_names(self) -> frozenset[str]:
        """Our ends of all connections to this server, as `stats conns` names them."""
        return frozenset(link.local_name for link in self._dialed if link.local_name)

    async def ask(
        self,
        data: bytes,
        read: Callable[[Connection], Awaitable[T]],
        *,
        sent: dict[str, int],
        patient: bool = True,
    ) -> T:
        """Send `data`, return what `read` makes of the reply; all of it within the deadline.

        Any failure drops the connection, and so does anything beyond the reply. Nothing is
        sent twice. With `patient` False a server of several that has just failed is not tried
        again before it has rested: the remembered error is raised at once.
        """
        if not patient:
            self._raise_resting()
        async with self._judged(self._asking):
            if self._connection is None or self._connection.stale:
                self.drop()
                self._connection = await self.dial()
            try:
                return await self._exchange(self._connection, data, read, sent)
            except BaseException:
                self.drop()
                raise

    async def bulk(
        self,
        data: bytes,
        read: Callable[[Connection], Awaitable[T]],
        *,
        sent: dict[str, int],
        patient: bool = True,
    ) -> T:
        """Like `ask`, on a connection for bulk work. The deadline begins when one is free.

        A failure before anything was sent has `sent: False` in its detail.
        """
        begun = False
        async with self._gate:
            if not patient:
                self._raise_resting()
            try:
                async with self._judged():
                    connection = await self._spare_connection()
                    begun = True
                    answer = await self._exchange(connection, data, read, sent)
                    self._spare.append(connection)
                    return answer
            except Unreachable as error:
                if not begun:
                    error.detail["sent"] = False
                raise

    async def latency_us(self) -> float:
        """Return the round trip of `version` in microseconds, on a connection of its own."""
        self._raise_resting()
        async with self._judged(self._probing):
            if self._probe is None or self._probe.stale:
                _close(self._probe)
                self._probe = await self.dial()
            link, self._probe = self._probe, None
            began = time.perf_counter()
            await self._exchange(link, b"version\r\n", _read_version, {"version": 1})
            took_us = (time.perf_counter() - began) * 1e6
            self._probe = link
            return took_us

    async def _spare_connection(self) -> Connection:
        while self._spare:
            connection = self._spare.pop()
            if not connection.stale:
                return connection
            connection.close()
        return await self.dial()

    async def _exchange(
        self, connection: Connection, data: bytes, read: Callable[[Connection], Awaitable[T]], sent: dict[str, int]
    ) -> T:
        """Send and read; a connection on which that fails, or more comes, is closed."""
        try:
            self._sent.update(sent)
            await connection.send(data)
            answer = await read(connection)
            if connection.surplus:
                raise ServerError(
                    f"{self.address} sent more than was asked for: connection dropped",
                    "a proxy or a broken server is in between",
                    word="PROTOCOL",
                )
        except BaseException:
            connection.close()
            raise
        return answer

    @asynccontextmanager
    async def _judged(self, lock: asyncio.Lock | None = None) -> AsyncIterator[None]:
        """Bound what is inside, the wait for `lock` included, by the deadline; remember how it ended."""
        try:
            async with asyncio.timeout(self.timeout_s), lock or contextlib.nullcontext():
                yield
        except TimeoutError:
            error = faults.timed_out(self.address, self.timeout_s)
            self._failed(error)
            raise error from None
        except CacheError as error:
            if isinstance(error, Unreachable):
                self._failed(error)
            raise
        self._failures, self._trouble = 0, None

    def _raise_resting(self) -> None:
        if self.rests and self._trouble is not None and time.monotonic() < self._rested_at:
            raise type(self._trouble)(self._trouble.message, self._trouble.hint, dict(self._trouble.detail))

    def count(self, name: str) -> None:
        """Count a command that is sent on a connection of its own."""
        self._sent[name] += 1

    async def dial(self, *, receive_bytes: int | None = None) -> Connection:
        """Return a new connection. The caller puts the deadline around it and closes it."""
        self._sent["version"] += 1
        connection = await connect(self.address, self.login, receive_bytes=receive_bytes)
        self._dialed.add(connection)
        self.own_peers.append(connection.peer)
        return connection

    def close(self) -> None:
        """Close every connection to this server. Never raises."""
        for connection in list(self._dialed):
            connection.close()
        self._connection = self._probe = None
        self._spare.clear()

    def drop(self) -> None:
        """Close the connection for short questions; the next one connects anew."""
        _close(self._connection)
        self._connection = None

    def _failed(self, error: CacheError) -> None:
        self._rested_at = time.monotonic() + min(REST_MAX_S, REST_S * 2**self._failures)
        self._failures = min(self._failures + 1, 8)
        self._trouble = error


def _close(connection: Connection | None) -> None:
    if connection is not None:
        connection.close()


async def _read_version(connection: Connection) -> None:
    line = await connection.line()
    if not line.startswith(b"VERSION "):
        raise reply_error(line, "version")
