"""One memcached server of a target: its connection for short questions, and its rest after a failure."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakSet

from cachetui.config import Address
from cachetui.errors import CacheError, ServerError, Unreachable
from cachetui.source import faults
from cachetui.source.memcached.connection import Connection, Login, connect

T = TypeVar("T")

REST_S = 1.0
"""Rest after the first failure; it doubles with each further one."""
REST_MAX_S = 8.0


class Server:
    """Asks one server, one question after the other.

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
        self._asking = asyncio.Lock()
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
        if self.rests and not patient and self._trouble is not None and time.monotonic() < self._rested_at:
            raise type(self._trouble)(self._trouble.message, self._trouble.hint, self._trouble.detail)
        try:
            async with asyncio.timeout(self.timeout_s), self._asking:
                answer = await self._exchange(data, read, sent)
        except TimeoutError:
            error = faults.timed_out(self.address, self.timeout_s)
            self._failed(error)
            raise error from None
        except CacheError as error:
            if isinstance(error, Unreachable):
                self._failed(error)
            raise
        self._failures, self._trouble = 0, None
        return answer

    async def _exchange(self, data: bytes, read: Callable[[Connection], Awaitable[T]], sent: dict[str, int]) -> T:
        try:
            if self._connection is not None and self._connection.stale:
                self.drop()
            if self._connection is None:
                self._connection = await self.dial()
            self._sent.update(sent)
            await self._connection.send(data)
            answer = await read(self._connection)
            if self._connection.surplus:
                raise ServerError(
                    f"{self.address} sent more than was asked for: connection dropped",
                    "a proxy or a broken server is in between",
                    word="PROTOCOL",
                )
        except BaseException:
            self.drop()
            raise
        return answer

    def count(self, name: str) -> None:
        """Count a command that is sent on a connection of its own."""
        self._sent[name] += 1

    async def dial(self, *, receive_bytes: int | None = None) -> Connection:
        """Return a new connection. The caller puts the deadline around it and closes it."""
        self._sent["version"] += 1
        connection = await connect(self.address, self.login, receive_bytes=receive_bytes)
        self._dialed.add(connection)
        return connection

    def close(self) -> None:
        """Close every connection to this server. Never raises."""
        for connection in list(self._dialed):
            connection.close()
        self._connection = None

    def drop(self) -> None:
        """Close the connection for short questions; the next one connects anew."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _failed(self, error: CacheError) -> None:
        self._rested_at = time.monotonic() + min(REST_MAX_S, REST_S * 2**self._failures)
        self._failures = min(self._failures + 1, 8)
        self._trouble = error
