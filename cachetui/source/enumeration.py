"""An enumeration made of a source's own `scan` steps: for drivers without a faster way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from cachetui.errors import NotACache, ServerError, TlsFailed, Unreachable
from cachetui.model import KeyFacts, ScanProgress, ScanStep
from cachetui.source.base import FactSink, KeySink, Source

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
        self._resumed_at = 0.0
        """When it last began or went on, with `_counted` names since: pauses do not count as slowness."""
        self._counted = 0
        self.progress = ScanProgress("running")

    def pause(self) -> None:
        self._going.clear()
        if self.progress.state == "running":
            self.progress = replace(self.progress, state="paused", per_s=0.0, left_s=None)

    def resume(self) -> None:
        if self.progress.state == "paused":
            self._resumed_at, self._counted = 0.0, 0
            self.progress = replace(self.progress, state="running")
        self._going.set()

    def cancel(self) -> None:
        self._cancelled = True
        self._going.set()

    async def run(self) -> None:
        """Enumerate to the end; a cursor that became worthless begins again."""
        cursor: bytes | None = None
        while not self._cancelled:
            await self._going.wait()
            self._resumed_at = self._resumed_at or time.monotonic()
            try:
                step = await self._source.scan(cursor, match=self._match, type_=self._type, count=STEP)
                facts = await self._facts_of(step.keys)
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
            except BaseException as error:
                stopped = isinstance(error, asyncio.CancelledError)
                self.progress = replace(self.progress, state="cancelled" if stopped else "failed")
                raise
            self._hand_over(step.keys, facts)
            self._count(len(step.keys), step)
            cursor = step.cursor
            if cursor is None:
                self.progress = replace(self.progress, state="ended", left_s=0.0)
                return
            await asyncio.sleep(0)
        self.progress = replace(self.progress, state="cancelled")

    async def _facts_of(self, keys: Sequence[bytes]) -> Sequence[KeyFacts]:
        if not keys or not isinstance(self._sink, FactSink) or not self._sink.wanted:
            return ()
        known = await self._source.facts(keys, size="size" in self._sink.wanted)
        return [facts for facts in known.facts if facts.exists]

    def _hand_over(self, keys: Sequence[bytes], facts: Sequence[KeyFacts]) -> None:
        if not isinstance(self._sink, FactSink) or not self._sink.wanted:
            self._sink.add(keys)
        elif facts:
            self._sink.add_facts(
                [one.key for one in facts],
                [one.type for one in facts],
                [_ttl_ms(one) for one in facts],
                [one.size_bytes for one in facts],
            )

    def _count(self, more: int, step: ScanStep) -> None:
        before = self.progress
        seen, total = before.seen + more, before.total if step.total is None else step.total
        self._counted += more
        per_s = self._counted / max(0.001, time.monotonic() - self._resumed_at)
        left_s = max(0, total - seen) / per_s if total is not None and per_s else None
        if before.state == "paused":
            per_s, left_s = 0.0, None
        partial = before.partial or bool(step.note and self._type in (None, "item"))
        note = step.note or before.note
        self.progress = replace(before, seen=seen, total=total, per_s=per_s, left_s=left_s, note=note, partial=partial)


def _ttl_ms(facts: KeyFacts) -> int | None:
    if facts.ttl_s is not None:
        return round(facts.ttl_s * 1000)
    return -1 if facts.has_ttl is False else None
