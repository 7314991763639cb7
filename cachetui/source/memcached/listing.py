"""All items of one server or of several: their dumps, read side by side, handed out at the reader's pace."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from cachetui.errors import CacheError, NotACache, TlsFailed, Unreachable, Unsupported
from cachetui.model import ScanProgress
from cachetui.source.base import KeySink
from cachetui.source.memcached.server import Server
from cachetui.source.memcached.walk import Part, Walk

RESTARTS = 5
PAUSE_S = 0.2
"""Before the first new beginning; doubles with each further one, so that a restarting server is waited for."""
RATE_SPAN_S = 1.0
"""The speed is that of about the last second."""
COUNTED_S = 0.2
ONLY_ITEMS = "every memcached value is an item"


class MemcachedEnumeration:
    """One pass over all items (see `cachetui.source.base.Enumeration`); a thread does the work."""

    def __init__(
        self,
        servers: tuple[Server, ...],
        sink: KeySink,
        *,
        match: bytes | None,
        type_: str | None,
        known: CacheError | None,
        learn: Callable[[Counter[str], set[bytes], CacheError | None], None],
        places: Callable[[Mapping[int, Sequence[bytes]]], None],
    ) -> None:
        """`known` is why listing was refused before; `learn` is told commands, odd names and a new refusal.

        `places` is told some names of each server at the end.
        """
        self._servers, self._sink, self._match, self._type = servers, sink, match, type_
        self._known, self._learn, self._places = known, learn, places
        self._walk: Walk | None = None
        self._state: Literal["running", "ended", "cancelled", "failed"] = "running"
        self._held = self._cancelled = self._partial = False
        self._restarts = 0
        self._note = ""
        self._counted: Counter[str] = Counter()
        self._marks: list[tuple[float, int]] = [(time.monotonic(), 0)]

    @property
    def progress(self) -> ScanProgress:
        walk = self._walk
        parts = list(walk.parts) if walk is not None else []
        seen = walk.seen if walk is not None else 0
        totals = [part.total for part in parts if part.trouble is None]
        total = None if not totals or None in totals else sum(total for total in totals if total is not None)
        walked = sum(part.walked for part in parts)
        share = 1.0 if self._state == "ended" else None if not total else min(1.0, walked / total)
        paused = self._held and self._state == "running"
        per_s = 0.0 if paused else self._rate(walked)
        left_s = (total - walked) / per_s if total is not None and per_s and total > walked else None
        waits = [part.waits.message for part in parts if part.waits is not None]
        return ScanProgress(
            "paused" if paused else self._state,
            seen,
            total,
            per_s,
            0.0 if self._state == "ended" else left_s if self._state == "running" else None,
            "; ".join(note for note in (self._note, *(f"waiting: {words}" for words in waits)) if note),
            self._restarts,
            share,
            self._partial,
        )

    def _rate(self, walked: int) -> float:
        now = time.monotonic()
        if self._state == "running" and now - self._marks[-1][0] > RATE_SPAN_S / 4:
            self._marks.append((now, walked))
            while len(self._marks) > 2 and now - self._marks[1][0] > RATE_SPAN_S:
                self._marks.pop(0)
        then, before = self._marks[0]
        return max(0, walked - before) / max(0.001, now - then) if now > then else 0.0

    def pause(self) -> None:
        self._held = True
        if self._walk is not None:
            self._walk.hold()

    def resume(self) -> None:
        self._held = False
        if self._walk is not None:
            self._walk.go_on()

    def cancel(self) -> None:
        self._cancelled = True
        if self._walk is not None:
            self._walk.cancel()

    async def run(self) -> None:
        """Enumerate to the end. Raises CacheError."""
        try:
            if self._known is not None:
                raise type(self._known)(self._known.message, self._known.hint, self._known.detail)
            if self._type not in (None, "item"):
                self._note, self._state = ONLY_ITEMS, "ended"
                return
            while not await self._pass():
                self._sink.clear()
                await asyncio.sleep(PAUSE_S * 2 ** (self._restarts - 1))
            self._state = "cancelled" if self._cancelled else "ended"
        except asyncio.CancelledError:
            self._state = "cancelled"
            raise
        except BaseException:
            self._state = "failed"
            raise

    async def _pass(self) -> bool:
        """Read all dumps once; False when it must begin again."""
        loop = asyncio.get_running_loop()
        held: dict[int, Server] = {}
        parts = [Part(server.address) for server in self._servers]

        def place(part: Part) -> int:
            return next(at for at, known in enumerate(parts) if known is part)

        def over(part: Part) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(free, place(part))

        def dialed(part: Part, peer: str) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._servers[place(part)].own_peers.append, peer)

        def free(at: int) -> None:
            if (server := held.pop(at, None)) is not None:
                server.dumping.release()

        walk = Walk(parts, self._servers[0].login, self._sink, self._match, over, dialed)
        self._counted, self._marks = Counter(), [(time.monotonic(), 0)]
        counting = asyncio.create_task(self._keep_counting(walk))
        begun = False
        try:
            # Always in the same order, so that two passes never wait for each other.
            for at, server in enumerate(self._servers):
                await server.dumping.acquire()
                held[at] = server
            self._walk = walk
            if self._cancelled:
                walk.cancel()
            elif self._held:
                walk.hold()
            begun = True
            await _in_thread(walk.run)
        except BaseException:
            walk.cancel()
            raise
        finally:
            counting.cancel()
            if not begun:
                for at in list(held):
                    free(at)
            self._tell(walk)
        good = self._judge(walk)
        if good and not walk.cancelled:
            self._places({at: part.sample for at, part in enumerate(walk.parts)})
        return good

    def _judge(self, walk: Walk) -> bool:
        """Return False when it must begin again. A server that is gone is said; when none tells, that is the error."""
        if self._cancelled or walk.cancelled:
            return True
        if walk.broke is not None:
            if self._restarts >= RESTARTS or isinstance(walk.broke, NotACache | TlsFailed):
                raise walk.broke
            self._began_again()
            return False
        troubles = [part.trouble for part in walk.parts if part.trouble is not None]
        if not troubles:
            return True
        if len(troubles) == len(walk.parts):
            first = troubles[0]
            if isinstance(first, Unsupported):
                self._learn(Counter(), set(), first)
            lost = isinstance(first, Unreachable) and not isinstance(first, NotACache | TlsFailed)
            if lost and 0 < self._restarts < RESTARTS:
                self._began_again()
                return False
            if len(troubles) > 1 and isinstance(first, Unreachable):
                raise type(first)(f"none of the {len(troubles)} servers answers: {first.message}", first.hint)
            raise first
        self._partial = True
        missing = "; ".join(trouble.message for trouble in troubles)
        self._note = f"{len(walk.parts) - len(troubles)} of {len(walk.parts)} servers: {missing}"
        return True

    def _began_again(self) -> None:
        self._restarts += 1
        self._note = "a server was restarted or cut the list off: began again"

    async def _keep_counting(self, walk: Walk) -> None:
        while True:
            await asyncio.sleep(COUNTED_S)
            self._tell(walk)

    def _tell(self, walk: Walk) -> None:
        """Tell what was sent, so that the cost on the screen is true."""
        sent = Counter(walk.sent)
        self._learn(sent - self._counted, set(walk.odd), None)
        self._counted = sent


def _in_thread(work: Callable[[], None]) -> asyncio.Future[None]:
    """Run `work` in a thread that does not hold up the program's end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(None)

    def body() -> None:
        problem: BaseException | None = None
        try:
            work()
        except BaseException as error:
            problem = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, problem)

    threading.Thread(target=body, name="metadump", daemon=True).start()
    return done
