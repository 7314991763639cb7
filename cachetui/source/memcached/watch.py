"""Live events of one server (`watch`): what memcached has instead of a slow log."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from urllib.parse import unquote_to_bytes

from cachetui.errors import CacheError, Unsupported
from cachetui.model import SlowEntry
from cachetui.source import faults
from cachetui.source.memcached.connection import LINE_BYTES, Connection, reply_error
from cachetui.source.memcached.server import Server
from cachetui.source.memcached.stats import Fields, read_stats
from cachetui.text import printable

KEPT = 500
"""Newest events kept for each server."""
POLL_BYTES = 128 * 1024
"""Read at most this much for each look; a server that says more is sampled in bursts."""
QUIET_S = 0.01
"""After this long without a byte there is nothing more to read now."""
UNWATCHED_S = 5.0
"""Nobody has looked for so long: watching costs the server, so it ends."""

TOPICS = (
    b"fetchers mutations evictions deletions connevents",
    b"fetchers mutations evictions connevents",
    b"fetchers mutations evictions",
)
"""Tried in turn: one name unknown to the server (deletions before 1.6.20, connevents before 1.6.10) spoils the line."""
PEERS = 4096
"""Connections of which is remembered who is at the other end."""

_EVENTS = {
    b"item_store": "store",
    b"eviction": "evict",
    b"deleted": "delete",
    b"item_deleted": "delete",
    b"extwrite": "extstore",
    b"conn_new": "connect",
    b"conn_close": "close",
}

_ids = itertools.count(1)


class Watch:
    """A one-way connection that is open only while somebody looks."""

    def __init__(self, server: Server, *, named: bool = False) -> None:
        """`named`: the server's address stands in each event."""
        self._server = server
        self._node = server.name if named else ""
        self.lacks = ""
        """What this server does not tell of; empty: nothing is missing."""
        self._events: deque[SlowEntry] = deque(maxlen=KEPT)
        self._connection: Connection | None = None
        self._rest = b""
        self._peers: dict[bytes, str] = {}
        self._end: asyncio.TimerHandle | None = None
        self._looking = asyncio.Lock()
        self.skipped = 0
        self.sampled = False

    @property
    def open(self) -> bool:
        """The server is sending events to us."""
        return self._connection is not None

    async def look(self) -> tuple[SlowEntry, ...]:
        """Return the newest events, newest first. Raises CacheError when the server cannot be watched."""
        if self._end is not None:
            self._end.cancel()
        try:
            async with asyncio.timeout(self._server.timeout_s), self._looking:
                if self._connection is None:
                    self._connection = await self._begin()
                if await self._read(self._connection):
                    # More than we take: begin anew, so that the next look is at fresh events, not at a backlog.
                    self.sampled = True
                    self.close()
                    self._connection = await self._begin()
        except TimeoutError:
            self.close()
            raise faults.timed_out(self._server.address, self._server.timeout_s) from None
        except BaseException:
            self.close()
            raise
        self._end = asyncio.get_running_loop().call_later(UNWATCHED_S, self.close)
        return tuple(reversed(self._events))

    def close(self) -> None:
        """Stop watching; what was seen is kept. Never raises."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._rest = b""

    async def _begin(self) -> Connection:
        connection = await self._server.dial(receive_bytes=POLL_BYTES)
        try:
            if not self._peers:
                await self._meet(connection)
            reply = b""
            for topics in TOPICS:
                self._server.count("watch")
                await connection.send(b"watch %b\r\n" % topics)
                reply = await connection.line()
                if reply == b"OK":
                    missing = TOPICS[0].removeprefix(topics) if topics != TOPICS[1] else b"deletions"
                    self.lacks = missing.strip().replace(b" ", b" and ").decode()
                    return connection
            raise self._refused(reply)
        except BaseException:
            connection.close()
            raise

    async def _meet(self, connection: Connection) -> None:
        """Learn who is connected already: events tell of those who come later only."""
        self._server.count("stats conns")
        await connection.send(b"stats conns\r\n")
        for name, address in addresses(await read_stats(connection)).items():
            if len(self._peers) < PEERS:
                self._peers[name] = address

    def _refused(self, reply: bytes) -> CacheError:
        if reply.startswith(b"ERROR"):
            return Unsupported("this memcached has no live events (watch)", "they come with 1.4.26 and later")
        return reply_error(reply, "watch")

    async def _read(self, connection: Connection) -> bool:
        """Take in what has arrived; tell whether there may be more than we take."""
        taken = 0
        while taken < POLL_BYTES:
            try:
                async with asyncio.timeout(QUIET_S):
                    chunk = await connection.chunk()
            except TimeoutError:
                return False
            taken += len(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            if len(self._rest) > LINE_BYTES:
                self._rest = b""
            for line in lines:
                self._keep(line)
        return True

    def _keep(self, line: bytes) -> None:
        fields = dict(word.partition(b"=")[::2] for word in line.strip(b"\r").split(b" "))
        lost = fields.get(b"skipped", b"")
        if lost.isdigit():
            self.skipped += int(lost[:12])
            return
        kind, handle = fields.get(b"type", b""), fields.get(b"cfd", b"")
        try:
            at = float(fields[b"ts"])
            words = self._connection_words(fields) if kind.startswith(b"conn_") else unquote_to_bytes(fields[b"key"])
        except (KeyError, ValueError):
            return  # "OK", or a kind of line that is about nothing
        ours = self._peers.get(handle) in self._server.own_peers
        client = self._peers.get(handle) or (f"fd {printable(handle, 12)}" if handle else "")
        if kind == b"conn_close":
            self._peers.pop(handle, None)
        if ours and kind.startswith(b"conn_"):
            return
        event = event_name(fields)
        if kind == b"item_store" and self._events:
            # A store looks its item up first, and memcached tells of that as of a fetch.
            last = self._events[-1]
            if last.event in ("fetch", "miss") and (last.args, last.client) == ((words,), client):
                self._events.pop()
        self._events.append(SlowEntry(next(_ids), at, None, (words,), client=client, event=event, node=self._node))

    def _connection_words(self, fields: dict[bytes, bytes]) -> bytes:
        """Return what there is to say of a connection that came or went, and remember whose it is."""
        host = printable(fields.get(b"rip", b""), 60)
        if host and len(self._peers) < PEERS:
            port = printable(fields.get(b"rport", b""), 6)
            self._peers[fields[b"cfd"]] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return fields.get(b"reason") or fields.get(b"transport", b"")


def addresses(connections: Fields) -> dict[bytes, str]:
    """Return the other end of each connection in `stats conns`, by its file descriptor.

    >>> addresses({"24:addr": "tcp:127.0.0.1:5000", "24:state": "conn_read", "25:addr": "tcp6:[::1]:5"})
    {b'24': '127.0.0.1:5000', b'25': '[::1]:5'}
    """
    found = {}
    for name, value in connections.items():
        handle, _, what = name.partition(":")
        if what == "addr":
            found[handle.encode()] = value.partition(":")[2] if value.startswith("tcp") else value
    return found


def event_name(fields: dict[bytes, bytes]) -> str:
    """Return the event in one word or two: fetch, miss, store, not stored, evict, delete, ...

    >>> event_name({b"type": b"item_get", b"status": b"not_found"}), event_name({b"type": b"eviction"})
    ('miss', 'evict')
    """
    kind, status = fields.get(b"type", b""), fields.get(b"status", b"")
    if kind == b"item_get":
        return "fetch" if status == b"found" else "miss"
    if kind == b"item_store" and status != b"stored":
        return printable(status, 20).replace("_", " ")
    return _EVENTS.get(kind) or printable(kind, 20)
