"""From a burst of commands to what the curve needs: a sample of the keys, how they were used, what they take.

The sample is by the keys' hashes, so that of each chosen key every use is seen (SHARDS: Waldspurger,
Park, Garthwaite, Ahmad, FAST 2015). Where more keys are used than we want to hold, the sample shrinks
while it is taken, and what no longer belongs to it is dropped.
"""

from __future__ import annotations

import math
import statistics
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cachetui.errors import Unsupported
from cachetui.model.accesses import HASHES, Accesses, IdleSample, Use, group_of, spatial_hash
from cachetui.model.burst import Burst, Limits, Measured, Room, Seen
from cachetui.source.base import Source, Streamed

KEYS = 16_000
"""Keys of a sample at most; with some thousands the error is a fraction of a point."""
ACCESSES = 600_000
"""Accesses of a sample at most: 40 MB."""
WALKED = 2_000_000
"""In more keys than these the sampled ones are not looked up before: it would take seconds of the server's time."""
IDLE_KEYS = 4000
LEAST = 200
"""Of fewer sampled keys the mean size says nothing."""
MOST_EXTRA = 0.2
"""Beyond its own bytes a key takes at most this share of them, and a few bytes: more is something else."""
FILL_S = 1.0
"""A write so soon after a read of the same key is taken for the answer to a miss."""


class Sample:
    """A sink that holds the uses of the keys with the lowest hashes, at most so many keys."""

    def __init__(self, *, rate: float = 1.0, keys: int = KEYS, accesses: int = ACCESSES) -> None:
        self._threshold = max(1, min(HASHES, round(rate * HASHES)))
        self._most_keys, self._most = keys, accesses
        self.seen: list[Seen] = []
        self.hashes: dict[tuple[int, bytes], int] = {}
        """Of each key, by database and name."""

    @property
    def threshold(self) -> int:
        return self._threshold

    @property
    def full(self) -> bool:
        return len(self.seen) >= self._most

    @property
    def rate(self) -> float:
        """Which share of all keys is in the sample."""
        return self._threshold / HASHES

    def take(self, seen: Seen) -> None:
        identity = (seen.db, seen.key)
        if identity not in self.hashes:
            hashed = spatial_hash(seen.key)
            if hashed >= self._threshold:
                return
            self.hashes[identity] = hashed
            if len(self.hashes) > self._most_keys:
                self._shrink()
        self.seen.append(seen)

    def _shrink(self) -> None:
        """Keep three quarters of the keys: those with the lowest hashes."""
        ordered = sorted(self.hashes.values())
        self._threshold = ordered[len(ordered) * 3 // 4]
        self.hashes = {identity: hashed for identity, hashed in self.hashes.items() if hashed < self._threshold}
        self.seen = [seen for seen in self.seen if (seen.db, seen.key) in self.hashes]


class Residents:
    """A sink for an enumeration: the names whose hashes are below a threshold, at most so many."""

    def __init__(self, rate: float, most: int = 2 * KEYS) -> None:
        self._threshold, self._most = round(rate * HASHES), most
        self.names: dict[bytes, None] = {}
        self.cut = False
        """There were more than we hold."""

    def add(self, keys: Sequence[bytes]) -> None:
        found = [key for key in keys if spatial_hash(key) < self._threshold]
        if len(self.names) + len(found) > self._most:
            self.cut = True
        else:
            self.names.update(dict.fromkeys(found))

    def clear(self) -> None:
        self.names.clear()


@dataclass(frozen=True, slots=True)
class Observed:
    """What was sampled, and what that cost."""

    accesses: Accesses
    burst: Burst
    room: Room
    idle: IdleSample | None
    """A random sample of the keys in memory; None where idle times are not kept, or not looked up."""
    seconds: float
    """The whole of it took so long."""

    @property
    def hit_rate(self) -> float | None:
        """What the server had before the burst, since its start; None without lookups."""
        return self.room.hits / self.room.lookups if self.room.lookups else None


async def observe(
    source: Source,
    limits: Limits | None = None,
    *,
    keys: int = KEYS,
    progress: Callable[[str], None] | None = None,
) -> Observed:
    """Watch one server for a moment; of a cluster the node that `source` is connected to.

    `progress` is told in a word or two what is done now. Raises Unsupported where commands cannot be
    watched, and the source's errors.
    """
    tell = progress or (lambda _: None)
    began = time.monotonic()
    identity = source.identity or await source.open()
    if identity.mode == "cluster":
        source = source.node(identity.address)
        await source.open()
    if not isinstance(source, Streamed):
        raise Unsupported("the commands of this kind of server cannot be watched", "")
    tell("looking at its memory")
    room = await source.room()
    # All keys that are in memory and as many that are not may be used: begin with a fair share.
    rate = min(1.0, keys / max(1, room.keys)) if room.keys > keys else 1.0
    before: dict[bytes, Measured] = {}
    complete = False
    if room.keys <= WALKED and room.databases <= 1:
        tell("looking up the sampled keys")
        before, complete = await _before(source, rate, room)
    sample = Sample(rate=rate, keys=2 * keys)
    asked_at = time.time()
    tell("watching commands")
    burst = await source.burst(sample, limits or Limits())
    tell("asking for sizes")
    unknown = [identity for identity in sample.hashes if identity[1] not in before]
    later = dict(zip(unknown, await source.measured(unknown, lfu=_is_lfu(room)), strict=False))
    accesses = assembled(sample, burst, room, before, later, complete=complete, asked_at=asked_at)
    return Observed(accesses, burst, room, _idle_sample(before, room, burst), time.monotonic() - began)


def _is_lfu(room: Room) -> bool:
    return room.rules.policy.endswith("lfu")


async def _before(source: Source, rate: float, room: Room) -> tuple[dict[bytes, Measured], bool]:
    """Return what is known of the sampled keys in memory, and whether these are all of them."""
    assert isinstance(source, Streamed)
    residents = Residents(rate)
    await source.enumeration(residents).run()
    names = list(residents.names)
    found = await source.measured([(0, name) for name in names], lfu=_is_lfu(room))
    there = {
        name: known
        for name, known in zip(names, found, strict=False)
        if known.size_bytes is not None and known.use is not None
    }
    # Some may go in between; where nearly all are unknown, the server does not tell.
    return there, not residents.cut and len(found) == len(names) and len(there) > 0.8 * len(names)


def assembled(
    sample: Sample,
    burst: Burst,
    room: Room,
    before: dict[bytes, Measured],
    later: dict[tuple[int, bytes], Measured],
    *,
    complete: bool,
    asked_at: float,
) -> Accesses:
    """Put together what was seen in the burst with what the server says of the keys before and after it."""
    index: dict[tuple[int, bytes], int] = {}
    if complete:
        for name in before:
            if spatial_hash(name) < sample.threshold:
                index[(0, name)] = len(index)
    for identity in sample.hashes:
        index.setdefault(identity, len(index))
    lengths, filled = _written(sample.seen, index)
    known = [before.get(name) or later.get((db, name)) for db, name in index]
    extra = _extra(room, before if complete else {})
    sizes = _sizes(known, lengths, room, extra)
    early = [before.get(name) if complete else None for _, name in index]
    uses, columns = _columns(sample.seen, index)
    began = sample.seen[0].at_s if sample.seen else asked_at
    lfu = _is_lfu(room)
    there = [found is not None and found.size_bytes is not None for found in known]
    return Accesses(
        sample.rate,
        array("d", (seen.at_s for seen in sample.seen)),
        columns,
        uses,
        array("d", (seen.ttl_s for seen in sample.seen)),
        array("q", (seen.lookups for seen in sample.seen)),
        burst.lookups,
        sizes,
        bytes(group_of(spatial_hash(name)) for _, name in index),
        array("d", (math.nan if found is None or lfu or found.use is None else found.use for found in early)),
        array("q", (found.use if found is not None and lfu and found.use is not None else -1 for found in early)),
        array("d", (_expiry(found, began) for found in early)),
        bytes(there[at] or filled[at] for at in range(len(index))),
        complete,
        room.fixed_bytes,
        room.memory_bytes,
        room.rules,
    )


def _expiry(found: Measured | None, began_s: float) -> float:
    if found is None or found.ttl_ms is None or found.ttl_ms < 0:
        return math.inf
    return began_s + found.ttl_ms / 1000


def _written(seen: Sequence[Seen], index: dict[tuple[int, bytes], int]) -> tuple[list[int], bytearray]:
    """Return the longest text that was written to each key, and which were written at all."""
    lengths, filled = [0] * len(index), bytearray(len(index))
    for one in seen:
        if one.use in (Use.WRITE, Use.UPDATE):
            at = index[(one.db, one.key)]
            filled[at] = 1
            if one.use == Use.WRITE:
                lengths[at] = max(lengths[at], one.length)
    return lengths, filled


def _sizes(known: Sequence[Measured | None], lengths: Sequence[int], room: Room, extra: float) -> array[int]:
    """Return what each key takes: as the server says, else by the length of what was written, else the median.

    `extra` is what each takes besides.
    """
    told = [None if found is None else found.size_bytes for found in known]
    sure = [size for size in told if size is not None]
    usual = statistics.median(sure) if sure else room.key_bytes / max(1, room.keys)
    pairs = [(length, size) for length, size in zip(lengths, told, strict=True) if length and size is not None]
    slope, base = _line(pairs)
    return array(
        "q",
        (
            max(1, round((size if size is not None else slope * length + base if length and pairs else usual) + extra))
            for size, length in zip(told, lengths, strict=True)
        ),
    )


def _extra(room: Room, before: dict[bytes, Measured]) -> float:
    """Return what a key takes besides what MEMORY USAGE tells: its share of the tables, and of the one of expiries."""
    sizes = [known.size_bytes for known in before.values() if known.size_bytes is not None]
    keys = max(4, room.keys)
    if len(sizes) >= LEAST:
        mean = statistics.fmean(sizes)
        return min(max(room.key_bytes / keys - mean, 0.0), MOST_EXTRA * mean + 64)
    # A pointer for each place of the table, and there are powers of two of them.
    places = 1 << (keys - 1).bit_length()
    return 8 * places / keys


def _line(pairs: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Return slope and base of the sizes over the lengths."""
    if len(pairs) < 3 or len({length for length, _ in pairs}) < 2:
        return 1.0, 64.0
    slope, base = statistics.linear_regression([length for length, _ in pairs], [size for _, size in pairs])
    return max(0.0, slope), max(0.0, base)


def _columns(seen: Sequence[Seen], index: dict[tuple[int, bytes], int]) -> tuple[bytes, array[int]]:
    """Return uses and keys by index. A write right after a read of its key is a fill."""
    uses, columns = bytearray(), array("q")
    read_at: dict[int, float] = {}
    for one in seen:
        at, use = index[(one.db, one.key)], one.use
        if use == Use.READ:
            read_at[at] = one.at_s
        else:
            last = read_at.pop(at, -math.inf)
            if use == Use.WRITE and one.at_s - last <= FILL_S:
                use = Use.FILL
        uses.append(use)
        columns.append(at)
    return bytes(uses), columns


def _idle_sample(before: dict[bytes, Measured], room: Room, burst: Burst) -> IdleSample | None:
    if _is_lfu(room) or not before or burst.seconds <= 0:
        return None
    found = [(known.use or 0, known.size_bytes or 1) for known in list(before.values())[:IDLE_KEYS]]
    idle, sizes = zip(*found, strict=True)
    return IdleSample(idle, sizes, room.keys, burst.lookups / burst.seconds, room.key_bytes)
