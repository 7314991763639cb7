"""Keys and values, always read in bounded pieces."""

from __future__ import annotations

from dataclasses import dataclass


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
