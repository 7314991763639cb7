"""How a sample of the keys was used for a while: what hit rates at other sizes and policies are worked out from."""

from __future__ import annotations

import math
import zlib
from array import array
from dataclasses import dataclass, field
from enum import IntEnum

HASHES = 1 << 32
"""`spatial_hash` is below this."""
GROUPS = 16
"""Sub-samples by hash: how much they differ tells how sure an estimate is."""

_ODD, _MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1


class Use(IntEnum):
    """What one access did to its key."""

    READ = 0
    """Counts as a hit or a miss, and as a use."""
    LOOK = 1
    """Counts as a hit or a miss, but is no use: EXISTS, TTL."""
    WRITE = 2
    """Puts a whole new value: SET."""
    FILL = 3
    """A write that only follows a read which missed; where the read hits, it would not have come."""
    UPDATE = 4
    """Changes a part, and makes the key where it is missing: HSET, INCR."""
    DELETE = 5
    EXPIRE = 6
    """Sets or takes away the time to live."""


def spatial_hash(key: bytes) -> int:
    """Return 32 bits that decide whether a key belongs to the sample: the same in every process.

    >>> spatial_hash(b"user:1") == spatial_hash(b"user:1"), spatial_hash(b"user:2") < HASHES
    (True, True)
    """
    return (zlib.crc32(key) * _ODD & _MASK) >> 32


def group_of(hash_: int) -> int:
    """Return the sub-sample of a hash; by its low bits, as the high ones decide about the sample."""
    return hash_ & (GROUPS - 1)


@dataclass(frozen=True, slots=True)
class Rules:
    """How a server chooses what to evict."""

    policy: str = "allkeys-lru"
    """As the server names it."""
    samples: int = 5
    """maxmemory-samples."""
    lfu_log_factor: int = 10
    lfu_decay_min: int = 1
    """lfu-decay-time: after so many minutes without a use a frequency falls by one; 0: never."""


@dataclass(frozen=True, slots=True)
class IdleSample:
    """Keys chosen at random from all in memory."""

    idle_s: tuple[int, ...]
    sizes_bytes: tuple[int, ...]
    keys: int
    """How many there are in all."""
    reads_per_s: float
    """Lookups a second, hits and misses together, of all clients."""
    key_bytes: int
    """What all keys together take."""


@dataclass(frozen=True, slots=True)
class Accesses:
    """The sampled accesses in the order they came, and what is known of each sampled key.

    `times_s`, `keys`, `uses`, `ttls_s` and `lookups` have one element for each access; `sizes_bytes`,
    `groups`, `idle_s`, `frequencies`, `expires_s` and `fillable` one for each key.
    """

    rate: float
    """Which share of all keys is in the sample."""
    times_s: array[float]
    """Unix seconds by the server's clock."""
    keys: array[int]
    """Which key: an index."""
    uses: bytes
    """A `Use` each."""
    ttls_s: array[float]
    """The time to live that the access set; infinity: none; NaN: it set none."""
    lookups: array[int]
    """Lookups of all keys, sampled or not, up to and with this access."""
    reads: int
    """Lookups of all keys in the whole stream."""
    sizes_bytes: array[int]
    groups: bytes
    """`group_of` each key."""
    idle_s: array[float]
    """How long each key was idle when the stream began; NaN: it was not in memory, or that is unknown."""
    frequencies: array[int]
    """Its frequency counter then (LFU); -1 unknown."""
    expires_s: array[float]
    """When it was to expire then, in Unix seconds; infinity: never, or not known."""
    fillable: bytes
    """1 where a read that misses is followed by a write; 0 for keys that never exist."""
    complete: bool = False
    """Every sampled key that was in memory when the stream began is known, with idle time or frequency."""
    settled_s: float = -math.inf
    """When all of these had been looked up: the first use of a key before this may have come before its look-up."""
    fixed_bytes: int = 0
    """Of the memory so much holds no keys: the server itself, clients' buffers, the backlog."""
    memory_bytes: int = 0
    """maxmemory, or what is used where there is no limit."""
    rules: Rules = field(default_factory=Rules)
    """The server's own."""

    @property
    def seconds(self) -> float:
        """How long the stream is."""
        return self.times_s[-1] - self.times_s[0] if len(self.times_s) > 1 else 0.0

    def was_there(self, key: int) -> bool:
        """Tell whether a key was in memory when the stream began, as far as is known."""
        return not math.isnan(self.idle_s[key]) or self.frequencies[key] >= 0
