"""From a burst of commands to what the curve needs: a sample of the keys, how they were used, what they take.

The sample is by the keys' hashes, so that of each chosen key every use is seen (SHARDS: Waldspurger,
Park, Garthwaite, Ahmad, FAST 2015). Where more keys are used than we want to hold, the sample shrinks
while it is taken, and what no longer belongs to it is dropped.
"""

from __future__ import annotations

import asyncio
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
ACCESSES = 300_000
"""Accesses of a sample at most: some 40 MB."""
LEAST_KEYS = 2000
"""A sample with too many accesses gives up keys, but not below this."""
WALKED = 2_000_000
"""In more keys than these the sampled ones are not looked up before: it would take seconds of the server's time."""
IDLE_KEYS = 4000
LEAST = 200
"""Of fewer sampled keys the mean size says nothing."""
EXPIRY_BYTES = 40
"""What a key's time to live takes in a table of its own."""
UNSEEN_BYTES = 1024 * 1024
OUR_BYTES = 170 * 1024
"""Our own connections' buffers on the server: without us keys have that room."""
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
        return len(self.seen) >= self._most and len(self.hashes) <= LEAST_KEYS

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
                if identity not in self.hashes:
                    return
        self.seen.append(seen)
        if len(self.seen) >= self._most and len(self.hashes) > LEAST_KEYS:
            self._shrink()

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
    accesses: int = ACCESSES,
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
    rate = min(1.0, keys / max(1, room.keys))
    sample = Sample(rate=rate, keys=2 * keys, accesses=accesses)
    walks = room.keys <= WALKED and room.databases <= 1
    tell("watching commands")
    burst, before = await _watched(source, sample, limits or Limits(), rate if walks else None, room)
    tell("asking for sizes")
    identities = list(sample.hashes)
    # The question for a TTL counts as a hit or a miss: it is left out where no key has one.
    told = await source.measured(identities, lfu=_is_lfu(room), ttl=room.expiring > 0)
    after = dict(zip(identities, told, strict=False))
    return Observed(
        assembled(sample, burst, room, before, after),
        burst,
        room,
        _idle_sample(before, room, burst),
        time.monotonic() - began,
    )


@dataclass(frozen=True, slots=True)
class Before:
    """What is known of the sampled keys that were in memory when the burst began."""

    keys: dict[bytes, Measured]
    complete: bool
    """These are all of them."""


async def _watched(
    source: Streamed, sample: Sample, limits: Limits, rate: float | None, room: Room
) -> tuple[Burst, Before]:
    """Run the burst; as soon as it sees all commands look up the keys in memory, if `rate` says of which share."""
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        loop.call_soon_threadsafe(begun.set)

    running = asyncio.create_task(source.burst(sample, limits, tell))
    waiting = asyncio.create_task(begun.wait())
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        before = Before({}, False)
        if rate is not None and begun.is_set():
            before = await _before(source, rate, room)
        return await running, before
    finally:
        waiting.cancel()
        if not running.done():
            running.cancel()
            await asyncio.wait({running})


def _is_lfu(room: Room) -> bool:
    return room.rules.policy.endswith("lfu")


async def _before(source: Streamed, rate: float, room: Room) -> Before:
    """Return what is known of the sampled keys in memory, and whether these are all of them."""
    assert isinstance(source, Source)
    residents = Residents(rate)
    await source.enumeration(residents).run()
    names = list(residents.names)
    found = await source.measured([(0, name) for name in names], lfu=_is_lfu(room), ttl=False)
    there = {
        name: known
        for name, known in zip(names, found, strict=False)
        if known.size_bytes is not None and known.use is not None
    }
    # Some may go in between; where most are unknown, the server does not tell.
    return Before(there, not residents.cut and len(found) == len(names) and len(there) > 0.5 * len(names))


def assembled(
    sample: Sample, burst: Burst, room: Room, before: Before, after: dict[tuple[int, bytes], Measured]
) -> Accesses:
    """Put together what was seen in the burst with what the server says of the keys meanwhile and after it."""
    index: dict[tuple[int, bytes], int] = {}
    if before.complete:
        for name in before.keys:
            if spatial_hash(name) < sample.threshold:
                index[(0, name)] = len(index)
    for identity in sample.hashes:
        index.setdefault(identity, len(index))
    seen = sample.seen
    began = seen[0].at_s if seen else 0.0
    stories = _stories(seen, index)
    uses, columns = _columns(seen, index)
    timed = [later is not None and (later.ttl_ms or -1) > 0 for later in after.values()]
    extra, fixed = _besides(room, before, sum(timed) / max(1, len(timed)))
    known = [before.keys.get(name) or after.get((db, name)) for db, name in index]
    sizes = _sizes(known, [story.length for story in stories], room, extra)
    early = [before.keys.get(name) if before.complete else None for _, name in index]
    told = zip(known, (after.get(identity) for identity in index), stories, strict=True)
    exists = [story.written or _is_there(found) or _is_there(later) for found, later, story in told]
    # A key that never exists is no hit, however often it is read.
    held = [
        _held(found, story, began) if real else None for found, story, real in zip(early, stories, exists, strict=True)
    ]
    lfu = _is_lfu(room)
    return Accesses(
        sample.rate,
        array("d", (one.at_s for one in seen)),
        columns,
        uses,
        array("d", (one.ttl_s for one in seen)),
        array("q", (one.lookups for one in seen)),
        burst.lookups,
        sizes,
        bytes(group_of(spatial_hash(name)) for _, name in index),
        array("d", (math.nan if idle is None or lfu else idle for idle in held)),
        array("q", (_frequency(found, idle) if lfu else -1 for found, idle in zip(early, held, strict=True))),
        array("d", (_expiry(after.get(identity), story) for identity, story in zip(index, stories, strict=True))),
        bytes(exists),
        before.complete,
        max((found.at_s for found in before.keys.values() if not math.isnan(found.at_s)), default=-math.inf),
        fixed,
        room.memory_bytes,
        room.rules,
    )


def _is_there(found: Measured | None) -> bool:
    return found is not None and found.size_bytes is not None


@dataclass(slots=True)
class _Story:
    """What the stream tells of one key."""

    first_s: float = math.inf
    """When it was used first."""
    was_hit: bool = False
    """Its first use was a read that was not followed by a write: it was there."""
    uses: int = 0
    written: bool = False
    length: int = 0
    """The longest text that was written to it."""
    timed: bool = False
    """The stream gave it a time to live, or took it away."""


def _stories(seen: Sequence[Seen], index: dict[tuple[int, bytes], int]) -> list[_Story]:
    stories = [_Story() for _ in index]
    for one in seen:
        story = stories[index[(one.db, one.key)]]
        story.uses += 1
        if story.uses == 1:
            story.first_s, story.was_hit = one.at_s, one.use == Use.READ
        elif story.uses == 2 and one.use == Use.WRITE and one.at_s - story.first_s <= FILL_S:
            story.was_hit = False
        if one.use in (Use.WRITE, Use.UPDATE):
            story.written = True
        if one.use == Use.WRITE:
            story.length = max(story.length, one.length)
        story.timed = story.timed or not math.isnan(one.ttl_s)
    return stories


def _held(found: Measured | None, story: _Story, began_s: float) -> float | None:
    """Return how long a key had been idle when the stream began; None: it was not in memory."""
    if found is None or found.use is None:
        return 0.0 if story.was_hit else None
    if math.isnan(found.at_s) or story.first_s >= found.at_s:
        passed = 0.0 if math.isnan(found.at_s) else found.at_s - began_s
        return max(0.0, found.use - passed)
    # It was used before it was looked up: how long it had been idle by then nobody knows any more.
    return 0.0 if story.was_hit else None


def _frequency(found: Measured | None, idle: float | None) -> int:
    return found.use if idle is not None and found is not None and found.use is not None else -1


def _expiry(found: Measured | None, story: _Story) -> float:
    """Return when a key was to expire when the stream began, as far as it can be told from afterwards."""
    if found is None or found.ttl_ms is None or found.ttl_ms < 0 or story.timed:
        return math.inf
    return found.at_s + found.ttl_ms / 1000


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


def _besides(room: Room, before: Before, timed: float) -> tuple[float, int]:
    """Return what a key takes besides what MEMORY USAGE tells, and what no keys take.

    `timed` is the share of keys with a time to live. What then is still not accounted for is taken to be
    buffers and the like, up to `UNSEEN_BYTES`; more than that grows with the keys.
    """
    if not room.tables:
        return 0.0, room.fixed_bytes
    keys = max(4, room.keys)
    # A pointer for each place of the table, and there are powers of two of them.
    each = 8 * (1 << (keys - 1).bit_length()) / keys + timed * EXPIRY_BYTES
    sizes = [known.size_bytes for known in before.keys.values() if known.size_bytes is not None]
    if not before.complete or len(sizes) < LEAST:
        return each, room.fixed_bytes
    unseen = room.key_bytes - keys * (statistics.fmean(sizes) + each) - OUR_BYTES
    fixed = min(max(0.0, unseen), UNSEEN_BYTES)
    return each + max(0.0, unseen - fixed) / keys, room.fixed_bytes + round(fixed)


def _line(pairs: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Return slope and base of the sizes over the lengths."""
    if len(pairs) < 3 or len({length for length, _ in pairs}) < 2:
        return 1.0, statistics.fmean(size - length for length, size in pairs) if pairs else 64.0
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


def _idle_sample(before: Before, room: Room, burst: Burst) -> IdleSample | None:
    if _is_lfu(room) or not before.keys or burst.seconds <= 0:
        return None
    # Chosen by hash: the first of them are those the server walked to first, and as good as any.
    found = [(known.use or 0, known.size_bytes or 1) for known in list(before.keys.values())[:IDLE_KEYS]]
    idle, sizes = zip(*found, strict=True)
    return IdleSample(idle, sizes, room.keys, burst.lookups / burst.seconds, room.key_bytes)
