"""Keys and values, always read in bounded pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ScanStep:
    """One step of an enumeration."""

    taken_at: float
    keys: tuple[bytes, ...]
    cursor: bytes | None
    """Where to go on; None at the end."""
    total: int | None = None
    """Keys in all (DBSIZE or `curr_items`) as far as is known."""
    note: str = ""
    """What is missing from the enumeration: servers that do not answer."""


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How far an enumeration is."""

    state: Literal["running", "paused", "ended", "cancelled", "failed"]
    seen: int = 0
    """Names received so far; repeated ones count each time."""
    total: int | None = None
    """Keys in all (DBSIZE, summed over the servers asked) as far as is known."""
    per_s: float = 0.0
    """Names received per second lately."""
    left_s: float | None = None
    """Seconds until the end at this pace; None while unknown."""
    note: str = ""
    """What is missing or went on: servers that do not answer, a beginning anew."""
    restarts: int = 0
    """How often it had to begin again."""
    share: float | None = None
    """How much of the tables was walked, 0 to 1; None where that cannot be told."""
    partial: bool = False
    """Some servers' keys are not among the names; `note` says which."""


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What is known of one key without reading its value."""

    key: bytes
    exists: bool = True
    type: str | None = None
    """As the server says it: `string`, `hash`, `ReJSON-RL`, ...; `item` for Memcached."""
    ttl_s: float | None = None
    """Seconds left; None when unknown or without one: see `has_ttl`."""
    has_ttl: bool | None = None
    """False: stays for ever. None: unknown."""
    size_bytes: int | None = None
    """MEMORY USAGE (SAMPLES 5), or the item's size."""
    length: int | None = None
    """Bytes of a string, elements of anything else."""
    encoding: str | None = None
    idle_s: int | None = None
    frequency: int | None = None
    note: str = ""
    """Why something is missing ("denied", ...)."""


@dataclass(frozen=True, slots=True)
class KeyFactsList:
    """Facts of several keys, in the order asked."""

    taken_at: float
    facts: tuple[KeyFacts, ...]


@dataclass(frozen=True, slots=True)
class ValueItem:
    """One row of a value: a field, an element, a member, an entry."""

    label: bytes
    """Field, index, member, entry id; empty for a string."""
    data: bytes
    """The element; cut to the window (`total_bytes` says its full length where known)."""
    score: float | None = None
    """Sorted sets only."""
    ttl_s: float | None = None
    """Hash fields with their own TTL."""
    total_bytes: int | None = None
    fields: tuple[tuple[bytes, bytes], ...] = ()
    """The fields of a stream's entry, where all of them were read."""


@dataclass(frozen=True, slots=True)
class ValueSection:
    """More that is known of one value: the groups of a stream, the layout of a series, the count of a sketch."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Cells that have passed `text.printable`."""


@dataclass(frozen=True, slots=True)
class Value:
    """A bounded window on one value."""

    taken_at: float
    facts: KeyFacts
    items: tuple[ValueItem, ...] = ()
    total: int | None = None
    """Elements (or bytes of a string) in all; `items` may be fewer: then say "first n of total"."""
    columns: tuple[str, ...] = ("value",)
    """Heads for label, data, score as this type names them: ("field", "value"), ("member", "score"), ..."""
    note: str = ""
    """Why there is less than expected: "gone", "type changed", "unknown type: facts only", ..."""
    flags: int | None = None
    """Memcached client flags."""
    start: bytes | None = None
    """The window asked for (see `Source.value`); None: the first."""
    next: bytes | None = None
    """`start` of the window after this one; None: this is the last."""
    sections: tuple[ValueSection, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    """A time series: Unix seconds and values, oldest first."""
    version: bytes | None = None
    """Memcached's CAS number: a write may depend on it."""
