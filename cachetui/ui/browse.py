"""What the Keys view knows: the enumeration, the facts of visible keys, the opened value.

`Browser` does the asking (in the app's workers); panes only read its `Browse`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cachetui.errors import CacheError
from cachetui.keyspace.scan import steps
from cachetui.keyspace.tree import PrefixTree
from cachetui.model import KeyFacts, Value
from cachetui.source.base import Source

FACTS_KEPT = 5_000
FACTS_OLD_S = 5.0
STEP_PAUSE_S = 0.01
"""Between two SCAN steps, so that a full enumeration never crowds the server."""
RESCAN_LEAST_S = 15.0
RESCAN_S_PER_KEY = 400e-6
"""A SCAN costs the server about 0.75 us a key: this keeps it under 0.2 % of a core."""
SOONER_LEAST_S, SOONER_S_PER_KEY = 4.0, 200e-6
"""When the number of keys has moved away from what was enumerated: still under 0.4 % of a core."""
MOVED_SHARE = 0.1


@dataclass(slots=True)
class Browse:
    """The state of the Keys view; changed by `Browser` alone."""

    tree: PrefixTree
    version: int = 0
    """Grows when the tree changed."""
    scanning: bool = False
    scanned: int = 0
    total: int | None = None
    scanned_at: float | None = None
    """When the shown enumeration ended; None: it has not."""
    trouble: CacheError | None = None
    facts: dict[bytes, tuple[float, KeyFacts]] = field(default_factory=dict)
    facts_version: int = 0
    opened: bytes | None = None
    value: Value | None = None
    value_trouble: CacheError | None = None


class Browser:
    """Enumerates keys in small steps, and reads facts and values when asked."""

    def __init__(self, source: Source, separator: str, on_change: Callable[[], None]) -> None:
        self.source = source
        self.separator = separator
        self.on_change = on_change
        self.state = Browse(PrefixTree(separator))
        self.wanted = asyncio.Event()
        self._again = asyncio.Event()

    async def run(self) -> None:
        """Enumerate whenever somebody looks, again after a pause that keeps the cost low. Never ends."""
        while True:
            await self.wanted.wait()
            await self._scan()
            pause = max(RESCAN_LEAST_S, self.state.scanned * RESCAN_S_PER_KEY)
            if self.state.trouble is not None:
                pause = 2.0
            self._again.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._again.wait()
            except TimeoutError:
                continue

    def counted(self, keys: int) -> None:
        """Take in how many keys there are now: an enumeration that is far from it is made anew sooner."""
        state = self.state
        if state.scanned_at is None or abs(keys - state.scanned) <= MOVED_SHARE * max(keys, state.scanned):
            return
        least = max(SOONER_LEAST_S, max(keys, state.scanned) * SOONER_S_PER_KEY)
        if self.source.now() - state.scanned_at > least:
            self._again.set()

    def again(self) -> None:
        """Enumerate anew at once (after a deletion, or when asked)."""
        self._again.set()

    async def _scan(self) -> None:
        state = self.state
        first = state.scanned_at is None
        tree = state.tree if first else PrefixTree(self.separator)
        if first:
            tree.clear()
        state.scanning, scanned = True, 0
        try:
            async for step in steps(self.source, on_restart=tree.clear):
                tree.add(step.keys)
                scanned += len(step.keys)
                if step.total is not None:
                    state.total = step.total
                if first:
                    state.scanned = scanned
                    state.version += 1
                    self.on_change()
                await asyncio.sleep(STEP_PAUSE_S)
                await self.wanted.wait()
            state.tree, state.scanned, state.trouble = tree, scanned, None
            state.scanned_at = self.source.now()
        except CacheError as error:
            state.trouble = error
        finally:
            state.scanning = False
            state.version += 1
        self.on_change()

    async def read_facts(self, keys: Sequence[bytes]) -> None:
        """Read the facts of `keys` that are not known or old, in one go."""
        state, now = self.state, self.source.now()
        wanted = [key for key in keys if key not in state.facts or now - state.facts[key][0] > FACTS_OLD_S]
        if not wanted:
            return
        try:
            answer = await self.source.facts(wanted[:200])
        except CacheError as error:
            state.trouble = error
            self.on_change()
            return
        if len(state.facts) > FACTS_KEPT:
            state.facts.clear()
        for facts in answer.facts:
            state.facts[facts.key] = (now, facts)
        gone = [facts.key for facts in answer.facts if not facts.exists]
        if gone:
            state.tree.discard(gone)
            state.version += 1
        state.facts_version += 1
        self.on_change()

    async def open(self, key: bytes) -> None:
        """Read the window on one value."""
        state = self.state
        state.opened, state.value_trouble = key, None
        if state.value is not None and state.value.facts.key != key:
            state.value = None
        try:
            value = await self.source.value(key)
        except CacheError as error:
            if state.opened == key:
                state.value, state.value_trouble = None, error
        else:
            if state.opened == key:
                state.value = value
        self.on_change()

    def close_value(self) -> None:
        self.state.opened = self.state.value = self.state.value_trouble = None
