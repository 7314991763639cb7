"""A sample of all keys, and what it tells of each prefix: figures with their 95 % interval."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cachetui.model.keys import KeyFacts

BIG_BYTES = 100 * 1024
"""A key from here on is big: it is slow to send, to expire and to move."""

_NUMBERED = re.compile(
    rb"\{?(?:\d+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{12,}|\d[\d._-]*)\}?",
    re.IGNORECASE,
)
_SIGNS = b":|/.#-_"
"""What separates the parts of a name where any separator will do."""


def prefix_of(key: bytes, separators: str = ":", depth: int = 2) -> bytes:
    """Return the prefix of a key as a glob, at most `depth` parts long. Parts that are numbers or ids count as `*`.

    >>> prefix_of(b"page:product:10000"), prefix_of(b"page:product:10000", depth=1), prefix_of(b"counter")
    (b'page:product:*', b'page:*', b'*')
    >>> prefix_of(b"user:17:cart:x", depth=3), prefix_of(b"a/b:c", "/", 1), prefix_of(b"{user:17}:cart")
    (b'user:*:cart:*', b'a/*', b'{user:*')
    """
    signs = _SIGNS if separators == "any" else separators.encode()
    parts: list[bytes] = []
    at = 0
    while len(parts) < depth:
        ends = [end for sign in signs if (end := key.find(sign, at)) >= 0]
        if not ends:
            break
        end = min(ends)
        part, sign = key[at:end], key[end : end + 1]
        parts.append((b"*" if part and _NUMBERED.fullmatch(part) else part) + sign)
        at = end + 1
    while parts and parts[-1][:-1] == b"*":
        parts.pop()
    return b"".join(parts) + b"*"


class Share(NamedTuple):
    """A part of a whole, 0 to 1, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(slots=True)
class PrefixSum:
    """What all keys of a prefix come to."""

    keys: int = 0
    sized: int = 0
    """How many of them had a known size."""
    bytes: int = 0
    largest: int = 0
    timed: int = 0
    """How many of them had a known time to live, or none."""
    without_ttl: int = 0


@dataclass(frozen=True, slots=True)
class KeySample:
    """Keys chosen so that each is as likely as any other; or the sums over all of them."""

    taken_at: float
    total: int
    """Keys in all."""
    total_error: int = 0
    names: tuple[bytes, ...] = ()
    """Many of them, by name only."""
    facts: tuple[KeyFacts, ...] = ()
    """Fewer of them, of which type, size, TTL and use were read. Those that were gone by then are not among them."""
    more: tuple[KeyFacts, ...] = ()
    """Of keys chosen at random within prefixes of which there were few: they tell of sizes only."""
    heads: tuple[tuple[bytes, bytes], ...] = ()
    """Of some strings the key and the first bytes of the value."""
    formats: Mapping[bytes, str] = field(default_factory=dict)
    """By key what these values are: `json`, `pickle`, ..."""
    sums: Mapping[bytes, PrefixSum] | None = None
    """By prefix, where all keys were measured."""
    biggest: tuple[KeyFacts, ...] = ()
    """The largest of all keys, where all were measured."""
    conventions: tuple[KeyFacts, ...] = ()
    """Of all keys some whose names say something by convention (see `model.conventions`)."""
    note: str = ""
    """What is missing."""


class Cliff(NamedTuple):
    """Many keys that expire at nearly the same moment."""

    begins_s: float
    """From now."""
    ends_s: float
    keys: int
    """About so many of all keys."""
    share: float
    """Of all keys that expire."""
    prefix: bytes
    """To which most of them belong."""


@dataclass(frozen=True, slots=True)
class Expiries:
    """When keys expire."""

    edges_s: tuple[float, ...]
    """Where the buckets end, but for the last, which has no end."""
    keys: tuple[int, ...]
    """About so many in each."""
    cliffs: tuple[Cliff, ...]


@dataclass(frozen=True, slots=True)
class Hint:
    """Something that could be kept better."""

    kind: str
    """`pickle`, `flat-json`, `long-text`, `no-prefix`, `odd-names` or `long-names`."""
    prefix: bytes
    """Empty: the names of all keys."""
    words: str
    """Printable, one line."""


@dataclass(frozen=True, slots=True)
class PrefixRow:
    """One prefix."""

    prefix: bytes
    """A glob; empty: all the small ones together."""
    keys: float
    keys_error: float
    """Half of the interval's width."""
    bytes: float | None
    share: Share | None
    """Of the memory of all keys."""
    mean_bytes: float | None
    largest_bytes: int | None
    """Of those looked at."""
    without_ttl: Share | None
    idle_s: float | None
    """Median."""
    frequency: float | None
    """Median of the LFU counters."""
    looked: int
    """Keys looked at."""
    formats: tuple[tuple[str, int], ...] = ()
    """What its values are, and of how many of those read."""


@dataclass(frozen=True, slots=True)
class PrefixPicture:
    """What all keys are like, by prefix."""

    taken_at: float
    total: int
    looked: int
    exact: bool
    rows: tuple[PrefixRow, ...]
    """The largest first."""
    bytes: float | None
    """Of all keys together."""
    bytes_error: float | None
    without_ttl: Share | None
    expiries: Expiries | None
    big: tuple[KeyFacts, ...]
    """The largest of the keys looked at."""
    hints: tuple[Hint, ...]
    """What could be kept better."""
    conventions: tuple[KeyFacts, ...] = ()
    """Of all keys some whose names say something by convention."""
    note: str = ""
