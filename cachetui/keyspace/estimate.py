"""How many keys a selection has and what they are like: counted, or estimated from a sample with the error of that.

Only reads, bounded in time, memory and commands, and none of them counts as a use of a key.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from cachetui.errors import BadUsage, Denied, Unsupported
from cachetui.keyspace.distinct import Distinct
from cachetui.model import Estimate, KeyFacts, ScanProgress, Selection
from cachetui.source.base import Enumeration, Source
from cachetui.source.globs import compiled
from cachetui.text import duration, printable

LIMIT_S = 10.0
SAMPLE = 200
JUDGED = 1000
"""Keys looked at where a condition is judged by them, and the most that are looked at."""
AT_ONCE = 100
"""Keys asked about in one pipeline: a few commands for each."""
NAMES_KEPT = 100
"""Names and sizes in the estimate."""
SHOWN_S = 0.2
SURE = 1.96
"""Standard deviations of 95 %."""
READ_S = 10
"""A key that was used within so many seconds counts as read once in them."""
WALK_ERROR = 0.01
"""How wrong a share of the tables walked may be."""


@dataclass(frozen=True, slots=True)
class Number:
    """A count of names before any condition was judged by a sample."""

    keys: int
    error: int
    note: str = ""


async def estimate(
    source: Source,
    selection: Selection,
    *,
    limit_s: float = LIMIT_S,
    sample: int = SAMPLE,
    progress: Callable[[ScanProgress], None] | None = None,
    rng: random.Random | None = None,
) -> Estimate:
    """Return what is known of the keys of `selection` after at most about `limit_s` seconds of looking for them.

    `sample` keys are looked at, more where a condition can be judged by them only. `progress`
    is told how far an enumeration is. Raises BadUsage for a tag that is no set or an expression
    that is none, Unsupported for idle times that the server does not keep, and the source's errors.
    """
    rng = rng or random.Random()
    identity = source.identity or await source.open()
    if identity.kind != "memcached":
        await learn_policy(source)
    if selection.keys is not None:
        return await _listed(source, selection, tuple(dict.fromkeys(selection.keys)), rng)
    if selection.tag is not None:
        return await _tagged(source, selection, selection.tag)
    return await _ruled(source, selection, limit_s, sample, progress=progress, rng=rng)


async def learn_policy(source: Source) -> None:
    """Let the source see the eviction policy: by it, it knows whether there are idle times to ask for."""
    try:
        await source.poll("stats")
    except (Denied, Unsupported):
        return  # then idle times stay unknown


async def _listed(source: Source, selection: Selection, keys: tuple[bytes, ...], rng: random.Random) -> Estimate:
    chosen = keys if len(keys) <= JUDGED else tuple(rng.sample(keys, JUDGED))
    facts = await _looked_at(source, chosen)
    found = _judged(selection, Number(len(keys), 0), facts, conditions=_all_conditions(selection))
    return replace(found, sample=found.sample or keys[:NAMES_KEPT])


async def _tagged(source: Source, selection: Selection, tag: bytes) -> Estimate:
    (facts,) = (await source.facts([tag])).facts
    name = printable(tag, 80)
    if not facts.exists:
        return Estimate(0, note=f"there is no set {name}")
    if facts.type != "set":
        raise BadUsage(f"{name} is a {facts.type or 'key of an unknown type'}, not a set", "a tag is a set of names")
    members = await _members(source, tag)
    if facts.length is None:
        return replace(_judged(selection, None, await _looked_at(source, members), conditions=True), note=facts.note)
    others = facts.length - (tag in members)
    members = [member for member in members if member != tag][:JUDGED]
    found = _judged(
        selection, Number(others, 0), await _looked_at(source, members), conditions=_all_conditions(selection)
    )
    # The set itself goes at the end.
    return replace(found, keys=None if found.keys is None else found.keys + 1)


async def _members(source: Source, tag: bytes) -> list[bytes]:
    """Return some of the members, in the order of their hashes: all of them where they are few."""
    found: dict[bytes, None] = {}
    start = None
    while len(found) <= JUDGED:
        window = await source.value(tag, rows=JUDGED + 1, start=start)
        whole = (item.data for item in window.items if item.total_bytes in (None, len(item.data)))
        found |= dict.fromkeys(whole)
        start = window.next
        if start is None:
            break
    return list(found)


async def _ruled(
    source: Source,
    selection: Selection,
    limit_s: float,
    sample: int,
    *,
    progress: Callable[[ScanProgress], None] | None,
    rng: random.Random,
) -> Estimate:
    memcached = source.identity is not None and source.identity.kind == "memcached"
    # Memcached matches nothing itself: asked for all names, it is known how many of them have come.
    here = memcached and selection.ttl is None
    judged = selection.idle_s is not None
    found = _Found(selection, Distinct(JUDGED if judged else min(sample, JUDGED), rng), with_glob=here)
    enumeration = source.enumeration(found, match=None if here else selection.pattern, type_=selection.type_)
    await walk(enumeration, limit_s, progress)
    number = await asyncio.to_thread(found.number, enumeration.progress, by_names=here)
    facts = await _looked_at(source, found.names.sample())
    if number is None:
        note = f"not all keys could be looked through in {duration(limit_s)}: {found.names.received:,} fit by then"
        return replace(_judged(selection, None, facts, conditions=judged), note=note, total=enumeration.progress.total)
    total = enumeration.progress.total
    if total is not None and number.keys > total and number.error:
        number = replace(number, keys=total)
    return replace(_judged(selection, number, facts, conditions=judged), total=total)


async def walk(
    enumeration: Enumeration, limit_s: float | None, progress: Callable[[ScanProgress], None] | None
) -> None:
    """Run an enumeration to its end, or until the time is over."""
    running = asyncio.create_task(enumeration.run())
    until = time.monotonic() + (math.inf if limit_s is None else limit_s)
    try:
        while not running.done():
            left_s = until - time.monotonic()
            if left_s <= 0:
                enumeration.cancel()
                break
            await asyncio.wait({running}, timeout=min(SHOWN_S, left_s))
            if progress is not None:
                progress(enumeration.progress)
        await running
    finally:
        if not running.done():
            enumeration.cancel()
            running.cancel()


class _Found:
    """A sink that counts the names that fit."""

    def __init__(self, selection: Selection, names: Distinct, *, with_glob: bool) -> None:
        self.names = names
        self._ttl = selection.ttl
        self._fits: list[Callable[[bytes], object]] = []
        if with_glob and selection.pattern is not None:
            self._fits.append(compiled(selection.pattern).fullmatch)
        if selection.regex:
            try:
                self._fits.append(re.compile(selection.regex).search)
            except (re.error, OverflowError) as error:
                raise BadUsage(f"not a regular expression: {printable(str(error), 80)}") from error

    @property
    def wanted(self) -> Collection[str]:
        return () if self._ttl is None else ("ttl",)

    def add(self, keys: Sequence[bytes]) -> None:
        for fits in self._fits:
            keys = [key for key in keys if fits(key)]
        if keys:
            self.names.add(keys)

    def add_facts(
        self,
        keys: Sequence[bytes],
        types: Sequence[str | None],
        ttls_ms: Sequence[int | None],
        sizes_bytes: Sequence[int | None],
    ) -> None:
        wanted = self._ttl
        if wanted is not None:
            keys = [key for key, ttl in zip(keys, ttls_ms, strict=True) if ttl is not None and (ttl >= 0) is wanted]
        self.add(keys)

    def clear(self) -> None:
        self.names.clear()

    def number(self, progress: ScanProgress, *, by_names: bool) -> Number | None:
        """Return how many there are, as far as was walked; None when it is unknown how far that was."""
        counted = self.names.count()
        keys, error = float(counted[0]), float(counted[1])
        share = 1.0 if progress.state == "ended" else progress.share
        if share is None and by_names and progress.total:
            share = min(1.0, progress.seen / progress.total)
        if not share:
            return None
        if share < 1:
            spread = SURE * math.sqrt(max(keys, 1.0) * (1 - share)) / share if keys else 3 * (1 - share) / share
            keys, error = keys / share, error / share + spread + WALK_ERROR * keys / share
        note = progress.note if progress.partial or progress.restarts else ""
        return Number(round(keys), math.ceil(error), note)


async def _looked_at(source: Source, keys: Sequence[bytes]) -> list[KeyFacts]:
    found: list[KeyFacts] = []
    for at in range(0, len(keys), AT_ONCE):
        found += (await source.facts(keys[at : at + AT_ONCE])).facts
    return found


def _all_conditions(selection: Selection) -> bool:
    return selection.type_ is not None or selection.ttl is not None or selection.idle_s is not None


def _judged(selection: Selection, number: Number | None, facts: Sequence[KeyFacts], *, conditions: bool) -> Estimate:
    """Return what the facts tell of all; with `conditions` only those that fit them count."""
    there = [known for known in facts if known.exists]
    if selection.idle_s is not None and there and all(known.idle_s is None for known in there):
        raise Unsupported(
            "the server does not tell how long a key was not used", "an LFU policy keeps no idle times, or it is denied"
        )
    fitting = [known for known in there if not conditions or _fits(selection, known)]
    found = _described(fitting, gone=len(facts) - len(there))
    if number is None:
        return found
    keys, error = (number.keys, number.error) if not conditions else _share_of(number, len(fitting), len(facts))
    known_idle = [known.idle_s for known in fitting if known.idle_s is not None]
    recent = sum(idle <= READ_S for idle in known_idle)
    reads = keys * recent / (len(known_idle) + found.gone) / READ_S if known_idle else None
    return replace(found, keys=keys, error=error, reads_per_s=reads, note=number.note)


def _share_of(number: Number, fitting: int, looked: int) -> tuple[int, int]:
    """Return how many of `number` fit, and the error of that, when `fitting` of `looked` at random do."""
    if looked >= number.keys and not number.error:
        return fitting, 0
    if not looked:
        return 0, number.keys + number.error
    share = fitting / looked
    cautious = (fitting + 2) / (looked + 4)  # so that none of a few is not taken for none at all
    left = math.sqrt(max(0.0, (number.keys - looked) / max(1, number.keys - 1)))
    by_sample = number.keys * SURE * math.sqrt(cautious * (1 - cautious) / (looked + 4)) * left
    return round(number.keys * share), math.ceil(math.hypot(by_sample, share * number.error))


def _fits(selection: Selection, known: KeyFacts) -> bool:
    if selection.type_ is not None and known.type != selection.type_:
        return False
    if selection.ttl is not None and known.has_ttl is not selection.ttl:
        return False
    return selection.idle_s is None or (known.idle_s is not None and known.idle_s >= selection.idle_s)


def _described(facts: Sequence[KeyFacts], *, gone: int) -> Estimate:
    sizes = sorted((known.size_bytes for known in facts if known.size_bytes is not None), reverse=True)
    types = Counter(printable(known.type, 20) for known in facts if known.type is not None)
    with_ttl = [known.has_ttl for known in facts if known.has_ttl is not None]
    return Estimate(
        None,
        sample=tuple(known.key for known in facts[:NAMES_KEPT]),
        looked=len(facts) + gone,
        # What is gone takes no memory.
        bytes_each=sum(sizes) / len(sizes) * len(facts) / (len(facts) + gone) if sizes else None,
        largest_bytes=sizes[0] if sizes else None,
        heaviest_bytes=tuple(sizes[:NAMES_KEPT]),
        types=tuple(types.most_common()),
        without_ttl=with_ttl.count(False) if with_ttl else None,
        gone=gone,
    )
