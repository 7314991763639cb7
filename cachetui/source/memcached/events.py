"""What `watch` says, read in bulk: which items were fetched, stored, evicted and deleted, and by which client."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from urllib.parse import unquote_to_bytes

from cachetui.model.accesses import Use, spatial_hash
from cachetui.model.burst import Access, Call, Seen
from cachetui.source.base import CallSink, UseSink
from cachetui.source.memcached.connection import LINE_BYTES
from cachetui.text import printable

_LINE = re.compile(
    rb"ts=(\d{1,12}\.\d{1,9}) gid=\d+ type=(\w+) key=(\S+)"
    rb"(?: status=(\w+))?(?: cmd=(\w+))?(?: ttl=(-?\d+))?[^\n]*?(?: cfd=(\d+))?(?: size=(\d+))?\r?\n"
)
_SKIPPED = re.compile(rb"skipped=(\d{1,12})")
_CHANGES = frozenset((b"append", b"prepend", b"incr", b"decr"))
_NAMES = {b"eviction": "evict", b"deleted": "delete", b"item_deleted": "delete"}
_CLIENTS = 20_000

SERVER = "the server itself"
"""Who evicts."""

Fetch = tuple[bytes, bytes, bytes]
"""When, key and whether it was found."""


class EventReader:
    """Reads events out of the bytes as they come; lines may be cut anywhere.

    Up to 1.6.18 at least, memcached tells of a look-up before every store: such a fetch, right before a store of
    the same item by the same connection, is none. A client's own miss before that is told apart.
    """

    def __init__(self, sink: UseSink | CallSink, clients: Mapping[bytes, str], ours: Collection[str] = ()) -> None:
        """`clients` are the addresses by file descriptor, `ours` our own, which may grow: our look-ups are left out."""
        self._ours = ours
        self._own: frozenset[str] = frozenset()
        self._calls_to = sink if isinstance(sink, CallSink) else None
        self._uses_to = None if isinstance(sink, CallSink) else sink
        self._clients = dict(clients)
        self._waiting: dict[bytes, Fetch] = {}
        """By connection its last fetch, until it is clear whether it was one."""
        self._rest = b""
        self._accesses: Counter[Access] = Counter()
        self._calls: Counter[Call] = Counter()
        self.lines = self.lookups = self.skipped = self.strange = 0
        self.first_s = self.last_s = math.nan
        """The server's clock."""

    def feed(self, data: bytes) -> None:
        """Take in what has come."""
        data = self._rest + data
        cut = data.rfind(b"\n") + 1
        lines, self._rest = data[:cut], data[cut:]
        if len(self._rest) > LINE_BYTES:
            self._rest, self.strange = b"", self.strange + 1
        found = _LINE.findall(lines)
        others = lines.count(b"\n") - len(found)
        if others:
            others -= self._read_others(lines)
        self.strange += others
        self.lines += len(found)
        self._own = frozenset(self._ours)
        for at, kind, key, status, command, ttl, handle, size in found:
            if self._clients.get(handle) in self._own:
                continue
            if kind == b"item_get":
                self._settle(handle)
                self._waiting[handle] = (at, key, status)
            elif kind == b"item_store":
                self._settle(handle, but=key)
                self._store((at, key, status), command, ttl, handle, size)
            else:
                self._settle(handle, but=key)
                self._gone((at, key, status), kind, handle)
        if found:
            self.first_s = float(found[0][0]) if math.isnan(self.first_s) else self.first_s
            self.last_s = float(found[-1][0])
        self._hand_on()

    def end(self) -> None:
        """No more will come."""
        for handle in list(self._waiting):
            self._settle(handle)
        self._hand_on()

    def _read_others(self, lines: bytes) -> int:
        """Read what is about no item; return how many lines made sense."""
        known = 0
        for line in lines.split(b"\n")[:-1]:
            if (lost := _SKIPPED.search(line)) is not None and b" key=" not in line:
                self.skipped += int(lost[1])
            elif b"type=conn_" in line:
                fields = dict(word.partition(b"=")[::2] for word in line.strip().split(b" "))
                host, port = printable(fields.get(b"rip", b""), 60), printable(fields.get(b"rport", b""), 6)
                if len(self._clients) < _CLIENTS:
                    self._clients[fields.get(b"cfd", b"")] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            elif line.strip() not in (b"", b"OK"):
                continue
            known += 1
        return known

    def _settle(self, handle: bytes, but: bytes = b"") -> None:
        """Count the fetch of a connection that waits; not if it was of the item `but`."""
        waiting = self._waiting.pop(handle, None)
        if waiting is not None and waiting[1] != but:
            self.lookups += 1
            self._use(waiting, Use.READ, "fetch" if waiting[2] == b"found" else "miss", handle)

    def _store(self, told: Fetch, command: bytes, ttl: bytes, handle: bytes, size: bytes) -> None:
        status = told[2]
        if status != b"stored":
            self._use(told, None, printable(status, 20).replace("_", " ") or "store", handle)
            return
        use = Use.UPDATE if command in _CHANGES else Use.WRITE
        ttl_s = math.inf if int(ttl or 0) <= 0 else float(int(ttl))
        self._use(told, use, "store", handle, size=int(size or 0), ttl_s=ttl_s)

    def _gone(self, told: Fetch, kind: bytes, handle: bytes) -> None:
        name = _NAMES.get(kind) or printable(kind, 20)
        self._use(told, Use.DELETE if name == "delete" else None, name, handle)

    def _use(
        self, told: Fetch, use: Use | None, name: str, handle: bytes, *, size: int = 0, ttl_s: float = math.nan
    ) -> None:
        """Count one event; `use` None: it is no use of its item."""
        at, key, _ = told
        name_bytes = unquote_to_bytes(key) if b"%" in key else key
        if self._calls_to is not None:
            client = SERVER if name == "evict" else self._clients.get(handle) or f"fd {printable(handle, 12)}"
            writes = None if use is None else use > Use.LOOK
            self._calls[Call(name, client, writes)] += 1
            if writes is not None:
                self._accesses[Access(0, name_bytes, writes)] += 1
        elif self._uses_to is not None and use is not None and spatial_hash(name_bytes) < self._uses_to.threshold:
            self._uses_to.take(Seen(float(at), 0, name_bytes, use, size, ttl_s, self.lookups))

    def _hand_on(self) -> None:
        if self._calls_to is not None and self._calls:
            self._calls_to.take_calls(self._accesses, self._calls)
            self._accesses, self._calls = Counter(), Counter()
