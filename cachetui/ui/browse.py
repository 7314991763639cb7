"""What the Keys view knows: the enumeration, its index and listings, facts of visible keys, the opened value.

`Browser` does the asking (in the app's workers); panes only read its `Browse`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cachetui.errors import CacheError
from cachetui.keyspace.decode import DecoderChoices
from cachetui.keyspace.index import KeyIndex
from cachetui.keyspace.listing import Listing, Wanted, make_listing
from cachetui.keyspace.measures import Measures
from cachetui.model import KeyFacts, ScanProgress, Value
from cachetui.source.base import Enumeration, Source

FACTS_KEPT = 5_000
FACTS_OLD_S = 5.0
FACTS_AT_ONCE = 200
ESTIMATES_OLD_S = 30.0
ESTIMATES_KEPT = 2_000
SAMPLE_KEYS = 12
"""Keys looked at to estimate the size and the TTLs beneath one visible prefix."""
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
MEASURED_AT_ONCE = 500
SMALL_KEYS = 5_000
"""The listing of so few keys is made at once: it takes some milliseconds."""
RECENT = 30
"""Opened keys that are remembered."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a sample says of the keys beneath a prefix."""

    at: float
    key_bytes: float | None
    """Mean memory of a key; None where the server does not tell."""
    ttl_share: float | None
    """Share of the keys with a TTL, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What the server itself is asked to leave out of the enumeration."""

    match: bytes | None = None
    type_: str | None = None


@dataclass(slots=True)
class Browse:
    """The state of the Keys view; changed by `Browser` alone."""

    index: KeyIndex
    scanning: bool = False
    progress: ScanProgress | None = None
    """Of the enumeration that runs or ran last."""
    scanned: int = 0
    total: int | None = None
    scanned_at: float | None = None
    """When the shown enumeration ended; None: it has not."""
    stopped: bool = False
    """The enumeration was cancelled: the index holds a part."""
    scope: Scope = field(default_factory=Scope)
    trouble: CacheError | None = None
    listings: dict[str, Listing] = field(default_factory=dict)
    """By the pane that wants them."""
    facts: dict[bytes, tuple[float, KeyFacts]] = field(default_factory=dict)
    facts_version: int = 0
    estimates: dict[bytes, Estimate] = field(default_factory=dict)
    measures: Measures | None = None
    """What "measure all" learnt of the keys of this index."""
    measuring: tuple[int, int, float] | None = None
    """Measured keys, all keys and keys per second, while it runs."""
    opened: bytes | None = None
    value: Value | None = None
    value_trouble: CacheError | None = None
    order: str = ""
    """The order in which the opened value is read (see `Source.value`)."""
    before: list[bytes | None] = field(default_factory=list)
    """Starts of the windows before the one that is shown."""
    decoders: DecoderChoices = field(default_factory=DecoderChoices)
    """What somebody chose to see values as."""
    recent: list[bytes] = field(default_factory=list)
    """Opened keys, the latest first."""


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
        self._measuring: asyncio.Task[None] | None = None
        self._random = random.Random(0)

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
        state = self.state
        pause: float | None = max(RESCAN_LEAST_S, state.scanned * RESCAN_S_PER_KEY)
        if state.trouble is not None:
            pause = 2.0
        elif state.stopped or state.scanned > RESCAN_KEYS_MOST or state.measures is not None:
            pause = None  # again only when asked
        self._again.clear()
        try:
            async with asyncio.timeout(pause):
                await self._again.wait()
        except TimeoutError:
            return

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
        """Pause the running enumeration, or let it go on. Returns whether it is paused now."""
        self._held = not self._held and self._enumeration is not None
        self._steer()
        return self._held

    def stop(self) -> None:
        """End the running enumeration where it is."""
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
            state.index, state.measures = index, None
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

    # Facts

    async def read_facts(self, keys: Sequence[bytes], prefixes: Sequence[bytes] = ()) -> None:
        """Read the facts of `keys` that are not known or old, and estimate the prefixes from samples."""
        state, now = self.state, self.source.now()
        wanted = [key for key in keys if key not in state.facts or now - state.facts[key][0] > FACTS_OLD_S]
        try:
            if wanted:
                self._learn((await self.source.facts(wanted[:FACTS_AT_ONCE])).facts, now)
            await self._estimate(prefixes, now)
        except CacheError as error:
            state.trouble = error
        self.on_change()

    def _learn(self, facts: Sequence[KeyFacts], now: float) -> None:
        state = self.state
        if len(state.facts) > FACTS_KEPT:
            state.facts.clear()
        for one in facts:
            state.facts[one.key] = (now, one)
        gone = [one.key for one in facts if not one.exists]
        if gone and state.measures is None:  # what was measured is kept by rank
            state.index.discard(gone)
            self._listing_due.set()
        state.facts_version += 1

    async def _estimate(self, prefixes: Sequence[bytes], now: float) -> None:
        """Look at a few keys of each prefix that is not known or old, together."""
        state = self.state
        if len(state.estimates) > ESTIMATES_KEPT:
            state.estimates.clear()
        due = [
            prefix
            for prefix in prefixes
            if (known := state.estimates.get(prefix)) is None or now - known.at > ESTIMATES_OLD_S
        ]
        samples = [(prefix, state.index.sample(prefix, SAMPLE_KEYS, self._random)) for prefix in due]
        while samples:
            asked: list[tuple[bytes, list[bytes]]] = []
            keys: list[bytes] = []
            while samples and len(keys) + len(samples[-1][1]) <= FACTS_AT_ONCE:
                asked.append(samples.pop())
                keys += asked[-1][1]
            facts = (await self.source.facts(keys)).facts if keys else ()
            at = 0
            for prefix, sample in asked:
                state.estimates[prefix] = _estimated(facts[at : at + len(sample)], now)
                at += len(sample)
            state.facts_version += 1
            self.on_change()

    # Measuring all

    def measure(self) -> bool:
        """Begin to measure every key, or stop doing so. Returns whether it runs now."""
        if self._measuring is not None and not self._measuring.done():
            self.stop_measuring()
            return False
        self._measuring = asyncio.create_task(self._measure())
        return True

    def stop_measuring(self) -> None:
        if self._measuring is not None:
            self._measuring.cancel()
            self._measuring = None
        self.state.measuring = None

    async def _measure(self) -> None:
        """Read the facts of all keys, using at most half of the time and of one connection."""
        state, index = self.state, self.state.index
        measures = Measures(len(index))
        state.measures = measures
        began = shown = time.monotonic()
        try:
            for first in range(0, len(index), MEASURED_AT_ONCE):
                asked = time.monotonic()
                answer = await self.source.facts(index.keys(first, first + MEASURED_AT_ONCE))
                for at, facts in enumerate(answer.facts):
                    measures.put(first + at, facts)
                now = time.monotonic()
                done = min(first + MEASURED_AT_ONCE, len(index))
                state.measuring = (done, len(index), done / max(0.001, now - began))
                if now - shown > TICK_S:
                    shown = now
                    state.facts_version += 1
                    self.on_change()
                await asyncio.sleep(now - asked)
        except CacheError as error:
            state.trouble = error
        finally:
            if state.measures is measures:
                state.measuring = None
                state.facts_version += 1
                self._listing_due.set()
                state.listings.clear()
                self.on_change()

    # One value

    async def open(self, key: bytes) -> None:
        """Read the first window on one value."""
        state = self.state
        if state.opened != key:
            state.order = ""
        if state.value is not None and state.value.facts.key != key:
            state.value = None
        state.before.clear()
        state.recent = [key, *(other for other in state.recent if other != key)][:RECENT]
        await self._read(key, None)

    async def turn(self, by: int) -> bool:
        """Go to the next window on the opened value (1) or back (-1). Returns False when there is none."""
        state = self.state
        if state.opened is None or state.value is None:
            return False
        if by > 0:
            if state.value.next is None:
                return False
            state.before.append(state.value.start)
            await self._read(state.opened, state.value.next)
            return True
        if not state.before:
            return False
        await self._read(state.opened, state.before.pop())
        return True

    async def reorder(self, order: str) -> None:
        """Read the opened value in another order, from its beginning."""
        self.state.order = order
        if self.state.opened is not None:
            self.state.before.clear()
            await self._read(self.state.opened, None)

    async def _read(self, key: bytes, start: bytes | None) -> None:
        state = self.state
        state.opened, state.value_trouble = key, None
        try:
            value = await self.source.value(key, start=start, order=state.order)
        except CacheError as error:
            if state.opened == key:
                state.value, state.value_trouble = None, error
        else:
            if state.opened == key:
                state.value = value
                self._learn([value.facts], self.source.now())
        self.on_change()

    def close_value(self) -> None:
        self.state.opened = self.state.value = self.state.value_trouble = None
        self.state.before.clear()


def _estimated(facts: Sequence[KeyFacts], now: float) -> Estimate:
    there = [one for one in facts if one.exists]
    sizes = [one.size_bytes for one in there if one.size_bytes is not None]
    known = [one.has_ttl for one in there if one.has_ttl is not None]
    return Estimate(now, sum(sizes) / len(sizes) if sizes else None, sum(known) / len(known) if known else None)


def _settle(index: KeyIndex) -> None:
    """Make the counts exact, in slices: the screen goes on in between."""
    for _ in index.settle():
        time.sleep(0)
