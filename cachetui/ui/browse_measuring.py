"""Measuring all: type, TTL and size of every listed key, by a scan of its own where the source has a fast one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from cachetui.errors import CacheError
from cachetui.keyspace.measures import Measures
from cachetui.keyspace.measuring import MeasureSink
from cachetui.model import ScanProgress
from cachetui.source.base import Enumeration, Source
from cachetui.source.enumeration import SteppedEnumeration
from cachetui.ui.browse_state import Browse

TICK_S = 0.25
"""How often a running pass shows where it is."""
MEASURED_AT_ONCE = 500
"""Keys asked about in one call, where they are asked about by name."""
FEW_KEYS = 5_000
"""So few are asked about by name at once: that tells of their use too."""
PART = 0.05
"""Fewer of the keys than this are asked about by name: a scan would walk past all the others."""


class Measuring:
    """Fills `state.measures`, one pass at a time; panes read how far it is in `state.measuring`."""

    def __init__(
        self, source: Source, state: Browse, on_change: Callable[[], None], on_end: Callable[[], None]
    ) -> None:
        self.source, self.state = source, state
        self.on_change, self._on_end = on_change, on_end
        self._task: asyncio.Task[None] | None = None
        self._enumeration: Enumeration | None = None
        self._going = asyncio.Event()

    @property
    def runs(self) -> bool:
        return self._task is not None and not self._task.done()

    def begin(self, *, use: bool) -> None:
        """Measure every key of the index; with `use` also how it is used, which no scan tells."""
        self.stop()
        self._going.set()
        self._task = asyncio.create_task(self._measure(use=use))

    def stop(self) -> None:
        """End it where it is; what was read stays."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.state.measuring = None

    def hold(self) -> bool:
        """Pause, or go on. Returns whether it is paused now."""
        if self._going.is_set():
            self._going.clear()
        else:
            self._going.set()
        if self._enumeration is not None:
            self._steer(self._enumeration)
        return not self._going.is_set()

    def _steer(self, enumeration: Enumeration) -> None:
        if self._going.is_set():
            enumeration.resume()
        else:
            enumeration.pause()

    async def _measure(self, *, use: bool) -> None:
        state = self.state
        measures = Measures(len(state.index))
        state.measures, state.measured_note = measures, ""
        state.measuring = ScanProgress("running", 0, len(measures))
        self.on_change()
        try:
            enumeration, sink = await self._scan(measures, use=use)
            if enumeration is not None and sink is not None:
                await self._by_scan(enumeration, sink)
            else:
                await self._by_name(measures)
        except CacheError as error:
            state.trouble = error
        finally:
            if state.measures is measures:
                state.measuring = None
                state.facts_version += 1
                state.listings.clear()
                self._on_end()
                self.on_change()

    async def _scan(self, measures: Measures, *, use: bool) -> tuple[Enumeration | None, MeasureSink | None]:
        """Return a pass that tells the facts of all keys; None where asking by name is better or the only way."""
        state = self.state
        few = len(measures) <= max(FEW_KEYS, PART * (state.total or 0))
        if use or few or state.stopped:
            return None, None
        sink = await asyncio.to_thread(MeasureSink, state.index, measures)
        enumeration = self.source.enumeration(sink, match=state.scope.match, type_=state.scope.type_)
        return (None, None) if isinstance(enumeration, SteppedEnumeration) else (enumeration, sink)

    async def _by_scan(self, enumeration: Enumeration, sink: MeasureSink) -> None:
        """Go through all keys at the pace that the servers bear."""
        self._enumeration = enumeration
        ticker = asyncio.create_task(self._tick(enumeration))
        whole = False
        try:
            await enumeration.run()
            whole = enumeration.progress.state == "ended" and not enumeration.progress.partial
        finally:
            self._enumeration = None
            ticker.cancel()
            enumeration.cancel()
            self.state.measured_note = enumeration.progress.note
            await asyncio.to_thread(sink.finish, whole=whole)

    async def _tick(self, enumeration: Enumeration) -> None:
        while True:
            self._steer(enumeration)
            self._tell(enumeration.progress)
            await asyncio.sleep(TICK_S)

    def _tell(self, progress: ScanProgress) -> None:
        self.state.measuring = progress
        self.state.facts_version += 1
        self.on_change()

    async def _by_name(self, measures: Measures) -> None:
        """Ask about one batch after the other, using at most half of the time and of one connection."""
        index, total = self.state.index, len(measures)
        shown, spent, done = 0.0, 0.001, 0
        while done < total:
            if not self._going.is_set():
                self._tell(ScanProgress("paused", done, total))
                await self._going.wait()
            asked = time.monotonic()
            answer = await self.source.facts(index.keys(done, done + MEASURED_AT_ONCE))
            for at, facts in enumerate(answer.facts):
                measures.put(done + at, facts)
            done = min(done + MEASURED_AT_ONCE, total)
            now = time.monotonic()
            spent += 2 * (now - asked)
            if now - shown > TICK_S:
                shown = now
                self._tell(ScanProgress("running", done, total, done / spent, (total - done) * spent / done))
            await asyncio.sleep(now - asked)
