"""Looking at keys: the facts of the visible ones, estimates of the visible prefixes, windows on the opened value."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from cachetui.errors import CacheError
from cachetui.model import KeyFacts
from cachetui.source.base import Source
from cachetui.ui.browse_state import SAMPLE_KEYS, Browse, Estimate

FACTS_KEPT = 5_000
FACTS_OLD_S = 5.0
FACTS_AT_ONCE = 200
ESTIMATES_OLD_S = 30.0
ESTIMATES_KEPT = 2_000
RECENT = 30
"""Opened keys that are remembered."""


class Looking:
    """Reads what somebody looks at into `state`."""

    def __init__(
        self, source: Source, state: Browse, on_change: Callable[[], None], on_gone: Callable[[], None]
    ) -> None:
        self.source, self.state = source, state
        self.on_change = on_change
        self._on_gone = on_gone
        """Called when keys were taken out of the index."""
        self._random = random.Random(0)

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
            self._on_gone()
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
