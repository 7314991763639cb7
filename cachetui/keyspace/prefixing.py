"""Keys at random for the figures by prefix: many names, the facts of some, the first bytes of a few; or all, summed.

A hash table keeps keys in an order that has nothing to do with their names, and the sample is by hash as well: each
key is as likely as any other (RANDOMKEY is not: it prefers keys in sparse places). Only reads, bounded in time, and
none of them counts as a use of a key.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from cachetui.errors import CacheError, Denied, Unsupported
from cachetui.keyspace.decode import guesses
from cachetui.keyspace.distinct import EXACT, Distinct
from cachetui.keyspace.estimate import AT_ONCE, LIMIT_S, learn_policy, walk
from cachetui.model import KeyFacts, ScanProgress
from cachetui.model.conventions import may_say, recognise
from cachetui.model.prefixes import KeySample, PrefixSum, prefix_of
from cachetui.source.base import Source
from cachetui.text import count, duration

SAMPLE = 2000
"""Keys whose facts are read, unless told otherwise."""
NAMES = 20_000
EVENLY = 0.6
"""This part of the facts is of keys chosen from all alike; the others go to prefixes of which little is known."""
LEAST = 20
"""Keys of a prefix that are looked at, if it has so many."""
HEAD_BYTES, HEADS, HEAD_PREFIXES = 2048, 5, 12
"""So much of so many values is read, of each of the largest prefixes."""
SAID = 25
"""Names of each convention whose facts are read."""
SHOWN_S = 0.4
BIGGEST = 20
PREFIXES = 20_000
"""Prefixes that are summed apart; what comes later belongs to the rest."""
FACTS = 50_000
"""Keys whose facts are kept beside the sums."""

Tell = Callable[[ScanProgress], None]


async def sample_keys(
    source: Source,
    *,
    sample: int = SAMPLE,
    limit_s: float = LIMIT_S,
    separators: str = ":",
    depth: int = 2,
    progress: Tell | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[KeySample]:
    """Yield better and better samples of all keys; the last one is whole. Memcached tells all of them.

    `progress` is told how far the names are. Raises the source's errors, Unsupported where keys cannot be listed.
    """
    identity = source.identity or await source.open()
    if identity.kind == "memcached":
        yield await sum_keys(source, separators=separators, depth=depth, progress=progress)
        return
    await learn_policy(source)
    rng = rng or random.Random()
    found = await _names(source, limit_s, progress, rng, max(NAMES, 2 * sample))
    names = list(found.names)
    rng.shuffle(names)
    evenly = names[: max(1, round(EVENLY * sample))]
    shown_at = time.monotonic()
    facts: list[KeyFacts] = []
    for at in range(0, len(evenly), AT_ONCE):
        facts += await _facts(source, evenly[at : at + AT_ONCE])
        if time.monotonic() - shown_at > SHOWN_S:
            shown_at = time.monotonic()
            yield replace(found, facts=tuple(facts))
    found = replace(found, facts=tuple(facts))
    chosen = _chosen(names[len(evenly) :], facts, sample - len(evenly), lambda key: prefix_of(key, separators, depth))
    more: list[KeyFacts] = []
    for at in range(0, len(chosen), AT_ONCE):
        more += await _facts(source, chosen[at : at + AT_ONCE])
        if time.monotonic() - shown_at > SHOWN_S:
            shown_at = time.monotonic()
            yield replace(found, more=tuple(more))
    found = replace(found, more=tuple(more))
    yield await _with_heads(source, found, lambda key: prefix_of(key, separators, depth))


async def sum_keys(source: Source, *, separators: str = ":", depth: int = 2, progress: Tell | None = None) -> KeySample:
    """Return the sums over all keys: each is asked for type, size and TTL, paced. Raises as `sample_keys` does."""
    identity = source.identity or await source.open()
    _may_list(source)
    sums = _Sums(lambda key: prefix_of(key, separators, depth))
    enumeration = source.enumeration(sums)
    await walk(enumeration, None, progress)
    found = sums.sample(source.now(), enumeration.progress)
    if identity.kind == "memcached":
        return found  # its values are read by name only, and the names are in no order
    return await _with_heads(source, found, lambda key: prefix_of(key, separators, depth))


def _may_list(source: Source) -> None:
    if why := source.why_not("scan"):
        raise Unsupported(f"the keys of {source.name} cannot be listed: {why}")


async def _names(source: Source, limit_s: float, progress: Tell | None, rng: random.Random, size: int) -> KeySample:
    _may_list(source)
    names = _Names(size, rng)
    enumeration = source.enumeration(names)
    await walk(enumeration, limit_s, progress)
    done = enumeration.progress
    counted, error = await asyncio.to_thread(names.count)
    note = done.note if done.partial else ""
    if done.state == "ended":
        said = tuple(await _facts(source, names.said()))
        return KeySample(source.now(), counted, error, tuple(names.sample()), conventions=said, note=note)
    total = done.total if done.total is not None else counted
    words = f"{count(counted)} of {count(total)} names were looked through in {duration(limit_s)}"
    words += ": servers with more keys may count for less" if source.identity and _is_many(source) else ""
    said = tuple(await _facts(source, names.said()))
    words = "; ".join(filter(None, (note, words)))
    return KeySample(source.now(), total, 0, tuple(names.sample()), conventions=said, note=words)


class _Names(Distinct):
    """A sample of names, and some of those that say something by convention."""

    def __init__(self, size: int, rng: random.Random) -> None:
        self._said: dict[str, set[bytes]] = {}
        super().__init__(size, rng)

    def clear(self) -> None:
        self._said = {}
        super().clear()

    def add(self, keys: Sequence[bytes]) -> None:
        super().add(keys)
        for key in keys:
            if may_say(key) and (said := recognise(key)) is not None:
                found = self._said.setdefault(said.kind, set())
                if len(found) < SAID:
                    found.add(key)

    def said(self) -> list[bytes]:
        """Return the names, by kind."""
        return [key for found in self._said.values() for key in sorted(found)]


def _is_many(source: Source) -> bool:
    return source.identity is not None and source.identity.mode in ("cluster", "fleet")


async def _facts(source: Source, keys: Sequence[bytes]) -> list[KeyFacts]:
    return [known for known in (await source.facts(keys)).facts if known.exists]


def _chosen(
    names: Sequence[bytes], facts: Sequence[KeyFacts], room: int, prefix: Callable[[bytes], bytes]
) -> list[bytes]:
    """Return more names: first of prefixes of which few keys were seen, then of those that make most of the error."""
    sizes: dict[bytes, list[int]] = {}
    for known in facts:
        sizes.setdefault(prefix(known.key), []).append(known.size_bytes or 0)
    waiting: dict[bytes, list[bytes]] = {}
    for name in names:
        waiting.setdefault(prefix(name), []).append(name)
    chosen: list[bytes] = []
    for one, some in sorted(waiting.items(), key=lambda item: -len(item[1])):
        lacking = min(LEAST - len(sizes.get(one, ())), room - len(chosen))
        if lacking > 0:
            chosen += some[:lacking]
            del some[:lacking]
    weights = {one: len(some) * _spread(sizes.get(one, ())) for one, some in waiting.items()}
    whole, left = sum(weights.values()), room - len(chosen)
    for one, some in waiting.items():
        share = weights[one] / whole if whole else 1 / len(waiting)
        chosen += some[: max(0, int(left * share))]
    return chosen


def _spread(sizes: Sequence[int]) -> float:
    """Return how much sizes differ; of too few to tell, how large they are."""
    if len(sizes) < 2:
        return float(sum(sizes))
    mean = sum(sizes) / len(sizes)
    return math.sqrt(sum((size - mean) ** 2 for size in sizes) / (len(sizes) - 1))


async def _with_heads(source: Source, found: KeySample, prefix: Callable[[bytes], bytes]) -> KeySample:
    """Read the first bytes of some strings of the largest prefixes."""
    weight: Counter[bytes] = Counter()
    strings: dict[bytes, list[bytes]] = {}
    for known in (*found.facts, *found.more):
        one = prefix(known.key)
        weight[one] += known.size_bytes or 0
        if known.type == "string":
            strings.setdefault(one, []).append(known.key)
    heads, formats = [], {}
    for one, _ in weight.most_common(HEAD_PREFIXES):
        for key in strings.get(one, ())[:HEADS]:
            try:
                value = await source.value(key, rows=1, max_bytes=HEAD_BYTES)
            except (Denied, Unsupported):
                return found
            except CacheError:
                continue  # this one may have gone, or changed its type
            if value.items:
                data = value.items[0].data
                whole = value.items[0].total_bytes in (None, len(data))
                heads.append((key, data))
                formats[key] = (guesses(data, whole=whole) or ["empty"])[0]
    return replace(found, heads=tuple(heads), formats=formats)


class _Sums:
    """A sink that adds up type, size and TTL by prefix, and keeps the largest keys."""

    wanted: Collection[str] = frozenset({"type", "ttl", "size"})

    def __init__(self, prefix: Callable[[bytes], bytes]) -> None:
        self._prefix = prefix
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._seen: set[int] = set()
            self._sums: dict[bytes, PrefixSum] = {}
            self._largest: list[tuple[int, bytes, str | None, int | None]] = []
            self._some = Distinct(FACTS, random.Random(1))
            self._facts: dict[bytes, tuple[str | None, int | None, int | None]] = {}

    def add(self, keys: Sequence[bytes]) -> None:
        """Names without facts say nothing here."""

    def add_facts(
        self,
        keys: Sequence[bytes],
        types: Sequence[str | None],
        ttls_ms: Sequence[int | None],
        sizes_bytes: Sequence[int | None],
    ) -> None:
        self._some.add(keys)
        with self._lock:
            for key, type_, ttl_ms, size in zip(keys, types, ttls_ms, sizes_bytes, strict=True):
                if len(self._seen) < EXACT:
                    number = hash(key)
                    if number in self._seen:
                        continue
                    self._seen.add(number)
                self._count(key, type_, ttl_ms, size)

    def _count(self, key: bytes, type_: str | None, ttl_ms: int | None, size: int | None) -> None:
        one = self._prefix(key)
        if one not in self._sums and len(self._sums) >= PREFIXES:
            one = b""
        found = self._sums.setdefault(one, PrefixSum())
        found.keys += 1
        if size is not None:
            found.sized += 1
            found.bytes += size
            found.largest = max(found.largest, size)
            entry = (size, key, type_, ttl_ms)
            if len(self._largest) < BIGGEST:
                heapq.heappush(self._largest, entry)
            elif size > self._largest[0][0]:
                heapq.heapreplace(self._largest, entry)
        if ttl_ms is not None:
            found.timed += 1
            found.without_ttl += ttl_ms < 0
        if len(self._facts) < 4 * FACTS:
            self._facts[key] = (type_, ttl_ms, size)

    def sample(self, taken_at: float, progress: ScanProgress) -> KeySample:
        """Return the sums, and some keys at random with their facts."""
        chosen = [key for key in self._some.sample() if key in self._facts]
        facts = tuple(_known(key, *self._facts[key]) for key in chosen)
        biggest = tuple(_known(key, type_, ttl, size) for size, key, type_, ttl in sorted(self._largest, reverse=True))
        total = sum(found.keys for found in self._sums.values())
        sums: Mapping[bytes, PrefixSum] = self._sums
        note = progress.note if progress.partial else ""
        return KeySample(taken_at, total, 0, tuple(chosen), facts, sums=sums, biggest=biggest, note=note)


def _known(key: bytes, type_: str | None, ttl_ms: int | None, size: int | None) -> KeyFacts:
    timed = ttl_ms is not None and ttl_ms >= 0
    return KeyFacts(
        key,
        type=type_,
        ttl_s=(ttl_ms or 0) / 1000 if timed else None,
        has_ttl=None if ttl_ms is None else timed,
        size_bytes=size,
    )
