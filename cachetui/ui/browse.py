"""The asking behind the Keys view: enumerates, keeps listings, and has its parts look at keys and measure them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from cachetui.errors import CacheError
from cachetui.keyspace.index import KeyIndex
from cachetui.keyspace.listing import Wanted, make_listing
from cachetui.model import ScanProgress
from cachetui.source.base import Enumeration, Source
from cachetui.ui.browse_looking import Looking
from cachetui.ui.browse_measuring import Measuring
from cachetui.ui.browse_state import SAMPLE_KEYS, Browse, Estimate, Scope

__all__ = ["SAMPLE_KEYS", "Browse", "Browser", "Estimate", "Scope"]

RESCAN_LEAST_S = 15.0
RESCAN_S_PER_KEY = 400e-6
"""A SCAN costs the server about 0.75 us a key: this keeps it under 0.2 % of a core."""
RESCAN_KEYS_MOST = 2_000_000
"""More keys than this are enumerated again only when asked: two indexes would stand side by side."""
SOONER_LEAST_S, SOONER_S_PER_KEY = 4.0, 200e-6
"""When the number of keys has moved away from what was enumerated: still under 0.4 % of a core."""
MOVED_SHARE = 0.1
TICK_S = 0.25
"""How often a running enumeration shows where it is."""
USE = ("idle", "frequency")
"""What a key's use is sorted by."""
SMALL_KEYS = 5_000
"""The listing of so few keys is made at once: it takes some milliseconds."""


class Browser:
    """Enumerates keys, keeps listings up to date, reads facts and values when asked."""

    def __init__(self, source: Source, separators: str, on_change: Callable[[], None]) -> None:
        self.source = source
        self.separators = separators
        self.on_change = on_change
        self.state = Browse(KeyIndex(separators))
        self.wanted = asyncio.Event()
        self._again = asyncio.Event()
        self._enumeration: Enumeration | None = None
        self._held = False
        self._wants: dict[str, Wanted] = {}
        self._listing_due = asyncio.Event()
        self.looking = Looking(source, self.state, on_change, self._listing_due.set)
        self.measuring = Measuring(source, self.state, on_change, self._listing_due.set)

    # Enumerating

    async def run(self) -> None:
        """Enumerate whenever somebody looks, again after a pause that keeps the cost low. Never ends."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_listings())
            while True:
                await self.wanted.wait()
                await self._scan()
                await self._rest()

    async def _rest(self) -> None:
        self._again.clear()
        while True:
            try:
                async with asyncio.timeout(self._pause_s()):
                    await self._again.wait()
                return
            except TimeoutError:
                if self._pause_s() is not None:
                    return  # else keys were measured meanwhile

    def _pause_s(self) -> float | None:
        """Return how long to wait before the keys are enumerated again; None: until asked."""
        state = self.state
        if state.measures is not None:
            return None
        if state.trouble is not None:
            return 2.0
        if state.stopped or state.scanned > RESCAN_KEYS_MOST:
            return None
        return max(RESCAN_LEAST_S, state.scanned * RESCAN_S_PER_KEY)

    def counted(self, keys: int) -> None:
        """Take in how many keys there are now: an enumeration that is far from it is made anew sooner."""
        state = self.state
        if state.scanned_at is None or state.measures is not None or state.scope != Scope():
            return
        if abs(keys - state.scanned) <= MOVED_SHARE * max(keys, state.scanned):
            return
        most = max(keys, state.scanned)
        if most <= RESCAN_KEYS_MOST and self.source.now() - state.scanned_at > max(
            SOONER_LEAST_S, most * SOONER_S_PER_KEY
        ):
            self._again.set()

    def again(self) -> None:
        """Enumerate anew at once (after a deletion, or when asked)."""
        if self._enumeration is not None and self.state.scanned_at is None:
            return  # the first one is on its way
        self._again.set()

    def restart(self, *, scope: Scope | None = None, separators: str | None = None) -> None:
        """Forget what was enumerated and begin anew, of this scope or with these separators."""
        state = self.state
        if scope is not None:
            state.scope = scope
        self.separators = separators or self.separators
        state.index = KeyIndex(self.separators)
        state.measures, state.scanned_at, state.stopped = None, None, False
        state.listings.clear()
        state.estimates.clear()
        self.stop_measuring()
        if self._enumeration is not None:
            self._enumeration.cancel()
        self._again.set()
        self.on_change()

    def hold(self) -> bool:
        """Pause what runs, enumeration or measuring, or let it go on. Returns whether it is paused now."""
        if self.measuring.runs:
            return self.measuring.hold()
        self._held = not self._held and self._enumeration is not None
        self._steer()
        return self._held

    def stop(self) -> None:
        """End what runs where it is."""
        self.measuring.stop()
        if self._enumeration is not None:
            self._enumeration.cancel()

    def _steer(self) -> None:
        if self._enumeration is None:
            return
        if self._held or not self.wanted.is_set():
            self._enumeration.pause()
        else:
            self._enumeration.resume()

    async def _scan(self) -> None:
        state = self.state
        first = state.scanned_at is None
        index = state.index if first else KeyIndex(self.separators)
        if first:
            index.clear()
        state.scanning, state.stopped, self._held = True, False, False
        scope = state.scope
        enumeration: Enumeration | None = None
        ticker: asyncio.Task[None] | None = None
        try:
            if self.source.identity is None:
                await self.source.open()
            enumeration = self.source.enumeration(index, match=scope.match, type_=scope.type_)
            self._enumeration = enumeration
            ticker = asyncio.create_task(self._tick(enumeration, index, shown=first))
            await enumeration.run()
            await asyncio.to_thread(_settle, index)
            self._take(index, enumeration.progress)
        except CacheError as error:
            state.trouble = error
        finally:
            self._enumeration = None
            if ticker is not None:
                ticker.cancel()
            if enumeration is not None:
                enumeration.cancel()
            state.scanning = False
        self._listing_due.set()
        self.on_change()

    def _take(self, index: KeyIndex, progress: ScanProgress) -> None:
        """Show a finished enumeration; a cancelled one only if there is nothing better."""
        state = self.state
        state.progress = progress
        if index is not state.index:
            if progress.state == "cancelled":
                return
            if state.scanned_at is None:
                return  # begun anew meanwhile: this one is of another scope
            self.measuring.stop()
            state.index, state.measures, state.measured_note = index, None, ""
        elif state.scanned_at is None and progress.state == "cancelled" and not index.total:
            return
        state.scanned, state.trouble = index.total + index.left_out, None
        if progress.total is not None:
            state.total = progress.total
        state.stopped = progress.state == "cancelled"
        state.scanned_at = self.source.now()

    async def _tick(self, enumeration: Enumeration, index: KeyIndex, *, shown: bool) -> None:
        told = 0
        while True:
            self._steer()
            progress = enumeration.progress
            if progress.total is not None and progress.total != told:
                told = progress.total
                index.expect(told)
            if shown and index is self.state.index:
                self.state.progress, self.state.scanned = progress, index.total
                self.state.total = progress.total
                self._listing_due.set()
                self.on_change()
            await asyncio.sleep(TICK_S)

    # Listing

    def want(self, pane_id: str, wanted: Wanted) -> None:
        """Keep a listing for this pane."""
        if self._wants.get(pane_id) != wanted:
            self._wants[pane_id] = wanted
            state = self.state
            if state.index.total > SMALL_KEYS:
                self._listing_due.set()
                return
            state.listings[pane_id] = make_listing(state.index, wanted, state.measures, lambda: False)
            self.on_change()

    def listing_due(self) -> None:
        """Look whether the listings are still right."""
        self._listing_due.set()

    async def _keep_listings(self) -> None:
        """Make listings in a thread whenever the index or a wish changed, for at most a third of the time."""
        while True:
            await self._listing_due.wait()
            self._listing_due.clear()
            began = time.monotonic()
            for pane_id in list(self._wants):
                await self._make_listing(pane_id)
            await asyncio.sleep(min(2.0, 2 * (time.monotonic() - began)))

    async def _make_listing(self, pane_id: str) -> None:
        state = self.state
        wanted, index, measures = self._wants[pane_id], state.index, state.measures
        present = state.listings.get(pane_id)
        if present is not None and (present.wanted, present.index, present.version) == (wanted, index, index.version):
            return

        def cancelled() -> bool:
            return self._wants.get(pane_id) != wanted or self.state.index is not index

        try:
            listing = await asyncio.to_thread(make_listing, index, wanted, measures, cancelled)
        finally:
            if cancelled():
                self._listing_due.set()
        if not cancelled():
            state.listings[pane_id] = listing
            self.on_change()

    # Looking and measuring

    async def read_facts(self, keys: Sequence[bytes], prefixes: Sequence[bytes] = ()) -> None:
        """Read the facts of `keys` that are not known or old, and estimate the prefixes from samples."""
        await self.looking.read_facts(keys, prefixes)

    def measure(self) -> bool:
        """Begin to measure every key, or stop doing so. Returns whether it runs now.

        Idle time or frequency is read only where a list is sorted by it: that takes longer.
        """
        if self.measuring.runs:
            self.measuring.stop()
            return False
        if self._enumeration is not None and self.state.scanned_at is not None:
            self._enumeration.cancel()  # the keys that are shown are to be measured, not those of a later pass
        self.measuring.begin(use=any(wanted.flat and wanted.sorting in USE for wanted in self._wants.values()))
        return True

    def stop_measuring(self) -> None:
        self.measuring.stop()

    async def open(self, key: bytes) -> None:
        """Read the first window on one value."""
        await self.looking.open(key)

    async def turn(self, by: int) -> bool:
        """Go to the next window on the opened value (1) or back (-1). Returns False when there is none."""
        return await self.looking.turn(by)

    async def reorder(self, order: str) -> None:
        """Read the opened value in another order, from its beginning."""
        await self.looking.reorder(order)

    def close_value(self) -> None:
        self.looking.close_value()


def _settle(index: KeyIndex) -> None:
    """Make the counts exact, in slices: the screen goes on in between."""
    for _ in index.settle():
        time.sleep(0)
