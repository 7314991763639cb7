"""An enumeration made of a source's own `scan` steps: for drivers without a faster way."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from cachetui.errors import NotACache, ServerError, TlsFailed, Unreachable
from cachetui.model import ScanProgress
from cachetui.source.base import KeySink, Source

RESTARTS = 5
"""How often one enumeration begins again before it gives up."""
PAUSE_S = 0.2
"""Before the first new beginning; doubles with each further one, so that a restarting server is waited for."""
STEP = 1000


class SteppedEnumeration:
    """One pass over all keys, step by step in the caller's loop (see `cachetui.source.base.Enumeration`)."""

    def __init__(self, source: Source, sink: KeySink, *, match: bytes | None = None, type_: str | None = None) -> None:
        self._source, self._sink, self._match, self._type = source, sink, match, type_
        self._going = asyncio.Event()
        self._going.set()
        self._cancelled = False
        self._began = 0.0
        self.progress = ScanProgress("running")

    def pause(self) -> None:
        self._going.clear()
        self.progress = replace(self.progress, state="paused")

    def resume(self) -> None:
        self.progress = replace(self.progress, state="running")
        self._going.set()

    def cancel(self) -> None:
        self._cancelled = True
        self._going.set()

    async def run(self) -> None:
        """Enumerate to the end; a cursor that became worthless begins again."""
        self._began = time.monotonic()
        cursor: bytes | None = None
        while not self._cancelled:
            await self._going.wait()
            try:
                step = await self._source.scan(cursor, match=self._match, type_=self._type, count=STEP)
            except (Unreachable, ServerError) as error:
                restarts = self.progress.restarts + 1
                if cursor is None or restarts > RESTARTS or isinstance(error, NotACache | TlsFailed):
                    self.progress = replace(self.progress, state="failed")
                    raise
                await asyncio.sleep(PAUSE_S * 2 ** (restarts - 1))
                self._sink.clear()
                cursor = None
                self.progress = replace(self.progress, seen=0, restarts=restarts, note="began again")
                continue
            except BaseException:
                self.progress = replace(self.progress, state="failed")
                raise
            self._sink.add(step.keys)
            self._count(len(step.keys), step.total, step.note)
            cursor = step.cursor
            if cursor is None:
                self.progress = replace(self.progress, state="ended", left_s=0.0)
                return
            await asyncio.sleep(0)
        self.progress = replace(self.progress, state="cancelled")

    def _count(self, more: int, total: int | None, note: str) -> None:
        before = self.progress
        seen, total = before.seen + more, before.total if total is None else total
        per_s = seen / max(0.001, time.monotonic() - self._began)
        left_s = None if total is None or not per_s else max(0, total - seen) / per_s
        self.progress = replace(before, seen=seen, total=total, per_s=per_s, left_s=left_s, note=note or before.note)
