"""The dumps of several servers read at once, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from cachetui.config import Address
from cachetui.errors import CacheError, NotACache
from cachetui.source import faults
from cachetui.source.base import FactSink, KeySink
from cachetui.source.globs import compiled
from cachetui.source.memcached.backlog import Backlog, Rows
from cachetui.source.memcached.connection import LINE_BYTES, Connection, Login, connect
from cachetui.source.memcached.metadump import Begun, begin, hides, is_odd, name_of, opened, refusal
from cachetui.source.memcached.stats import whole

CHUNK_BYTES = 256 * 1024
SAMPLED, SAMPLED_AT_ONCE = 1000, 200
"""Names of each server from which it is told how keys are spread, and how many of each piece."""
WAIT_S = 60.0
"""How long somebody else's dump is waited for."""

# No more than these few signs: with a shorter set, or a word behind it, it takes twice as long.
_NAME = re.compile(rb"key=([^ ]+)")
_FACTS = re.compile(rb"key=([^ \n]+) exp=(-?\d{1,12}) [^\n]*?size=(\d{1,12})\r?\n")


class BrokeOff(Exception):
    """A dump that had begun came to no end; its cause is a CacheError."""


@dataclass(slots=True)
class Part:
    """One server's dump."""

    address: Address
    total: int | None = None
    """`curr_items` when it began."""
    walked: int = 0
    """Items told so far."""
    trouble: CacheError | None = None
    """Why there is none."""
    waits: CacheError | None = None
    ended: bool = False
    sample: list[bytes] = field(default_factory=list)
    """Some of its names."""


@dataclass(slots=True)
class Walk:
    """One pass over all servers. `run` is for a thread; the rest may be called from any."""

    parts: Sequence[Part]
    login: Login
    sink: KeySink
    match: bytes | None
    over: Callable[[Part], None]
    """Called when the dump of a server has ended or failed, and its crawler is free; perhaps more than once."""
    dialed: Callable[[Part, str], None]
    """Called with our end of each connection that is made."""
    seen: int = 0
    """Names handed over."""
    sent: Counter[str] = field(default_factory=Counter)
    odd: set[bytes] = field(default_factory=set)
    """Names that only travel base64-encoded."""
    broke: CacheError | None = None
    """A dump broke off in the middle: what was told may be gone."""
    cancelled: bool = False
    _held: bool = False
    _loop: asyncio.AbstractEventLoop | None = None
    _task: asyncio.Task[None] | None = None
    _going: asyncio.Event = field(default_factory=asyncio.Event)
    _backlog: Backlog = field(default_factory=Backlog)
    _wanted: Collection[str] = ()
    _fits: Callable[[bytes], object] | None = None

    def hold(self) -> None:
        """Hand nothing more over; the dumps are read on, so that the crawlers come free."""
        self._held = True

    def go_on(self) -> None:
        self._held = False
        self._call(self._going.set)

    def cancel(self) -> None:
        self.cancelled = True
        self._call(self._stop)

    def _call(self, what: Callable[[], None]) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(what)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # In the thread

    def run(self) -> None:
        """Read all dumps to their ends. What went wrong is in `parts` and `broke`; raises what the sink raises."""
        try:
            asyncio.run(self._run())
        except asyncio.CancelledError:
            self.cancelled = True
        finally:
            self._backlog.close()
            for part in self.parts:
                self.over(part)

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self.cancelled:
            return
        if isinstance(self.sink, FactSink):
            self._wanted = self.sink.wanted
        # `*` fits everything.
        self._fits = None if self.match in (None, b"*") else compiled(self.match or b"").fullmatch
        try:
            async with asyncio.TaskGroup() as group:
                for part in self.parts:
                    group.create_task(self._one(part))
        except BaseExceptionGroup as several:
            first = several.exceptions[0]
            if not isinstance(first, BrokeOff):
                raise first from None
            assert isinstance(first.__cause__, CacheError)
            self.broke = first.__cause__
            return
        while self._backlog:
            self._going.clear()
            self._deliver()
            if self._held:
                await self._going.wait()

    async def _one(self, part: Part) -> None:
        try:
            begun = await self._begin(part)
            if begun is None:
                return
            try:
                await self._read(part, begun)
            except (TimeoutError, CacheError) as error:
                raise BrokeOff from self._known(part, error)
            finally:
                begun.connection.close()
            part.ended = True
        finally:
            self.over(part)

    async def _begin(self, part: Part) -> Begun | None:
        def waits(trouble: CacheError | None) -> None:
            part.waits = trouble

        try:
            begun = await begin(
                lambda: self._dial(part),
                self._count,
                name=str(part.address),
                timeout_s=self.login.timeout_s,
                wait_s=WAIT_S,
                waiting=waits,
            )
        except (TimeoutError, CacheError) as error:
            part.trouble = self._known(part, error)
            return None
        part.total = whole(begun.general.get("curr_items"))
        return begun

    async def _dial(self, part: Part) -> Connection:
        self._count("version")
        connection = await connect(part.address, self.login, chunk_bytes=CHUNK_BYTES)
        self.dialed(part, connection.peer)
        return connection

    def _count(self, name: str) -> None:
        self.sent[name] += 1

    def _known(self, part: Part, error: BaseException) -> CacheError:
        return error if isinstance(error, CacheError) else faults.timed_out(part.address, self.login.timeout_s)

    async def _read(self, part: Part, begun: Begun) -> None:
        clock = whole(begun.general.get("time"))
        ahead_s = 0.0 if clock is None else clock - time.time()
        rest = begun.first
        while True:
            cut = rest.rfind(b"\n") + 1
            lines, rest = rest[:cut], rest[cut:]
            if lines and self._take(part, lines, ahead_s):
                return
            if len(rest) > LINE_BYTES:
                raise NotACache(f"{part.address} sends an endless line in its dump: not memcached")
            async with asyncio.timeout(self.login.timeout_s):
                rest += await begun.connection.chunk()

    def _take(self, part: Part, lines: bytes, ahead_s: float) -> bool:
        """Take in whole lines; tell whether they were the last."""
        last = lines.endswith((b"END\r\n", b"END\n"))
        rows, told = self._rows(part, lines, ahead_s)
        if told + last != lines.count(b"\n"):
            odd = next((line for line in lines.splitlines() if not line.startswith(b"key=")), lines[:200])
            raise refusal(odd)
        part.walked += told
        if rows.names:
            self._backlog.put(rows)
            self._deliver()
        return last

    def _rows(self, part: Part, lines: bytes, ahead_s: float) -> tuple[Rows, int]:
        """Return the items that fit, and how many were told."""
        if not self._wanted:
            names = self._named(part, _NAME.findall(lines))
            return Rows(names if self._fits is None else list(filter(self._fits, names)), [], []), len(names)
        found = _FACTS.findall(lines)
        if not found:
            return Rows([], [], []), 0
        said, expiries, sizes = zip(*found, strict=True)
        names, now_s = self._named(part, said), time.time() + ahead_s
        ttls = [max(0, round((int(at) - now_s) * 1000)) if at != b"-1" else -1 for at in expiries]
        rows = Rows(names, ttls, list(map(int, sizes)))
        if self._fits is not None:
            kept = [at for at, name in enumerate(names) if self._fits(name)]
            rows = Rows([names[at] for at in kept], [ttls[at] for at in kept], [rows.sizes_bytes[at] for at in kept])
        return rows, len(names)

    def _named(self, part: Part, said: Sequence[bytes]) -> list[bytes]:
        """Return names as they are, and remember those that no plain command can carry."""
        blob = opened(b"\n".join(said))
        names = blob.split(b"\n") if said else []
        if len(names) != len(said):
            raise refusal(blob[:200])
        if hides(blob):
            self.odd.update(name_of(name) for name in names if is_odd(name))
            names = list(map(name_of, names))
        if len(self.parts) > 1 and len(part.sample) < SAMPLED:
            part.sample += names[:SAMPLED_AT_ONCE]
        return names

    def _deliver(self) -> None:
        """Hand over what waits, as long as nobody holds it."""
        while self._backlog and not self._held and not self.cancelled:
            rows = self._backlog.take()
            self.seen += len(rows.names)
            number = len(rows.names)
            if self._wanted and isinstance(self.sink, FactSink):
                self.sink.add_facts(rows.names, ["item"] * number, rows.ttls_ms, rows.sizes_bytes)
            else:
                self.sink.add(rows.names)
