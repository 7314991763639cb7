"""Which keys a bulk write concerns, what is to become of them, and what is known of them beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Selection:
    """Keys by a list, by a tag's set, or by a rule. Every condition must hold."""

    keys: tuple[bytes, ...] | None = None
    """Exactly these; None: not by a list."""
    tag: bytes | None = None
    """The members of the set with this name, and at the end the set itself."""
    pattern: bytes | None = None
    """A glob as SCAN's MATCH takes it, judged by the server."""
    regex: bytes = b""
    """A regular expression that is found in the name."""
    type_: str | None = None
    ttl: bool | None = None
    """True: only keys with a TTL. False: only those without."""
    idle_s: float | None = None
    """Only keys not used for so long."""

    @property
    def ruled(self) -> bool:
        """Tell whether the keys are found by looking through all of them."""
        return self.keys is None and self.tag is None

    @property
    def whole(self) -> bool:
        """Tell whether nothing narrows it down: an empty pattern, `*`, or none at all."""
        named = (self.pattern or b"").strip(b" \t\r\n*")
        return self.ruled and not (named or self.regex or self.type_ or self.ttl is not None or self.idle_s)


@dataclass(frozen=True, slots=True)
class Operation:
    """What becomes of each key."""

    kind: Literal["delete", "expire", "persist"]
    ttl_s: float | None = None
    """`expire`: seconds from the moment of writing."""
    jitter_s: float = 0.0
    """`expire`: each key gets up to so many seconds more, at random."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What is kept for the way back."""

    max_bytes: int = 256 * 1024**2
    """Of one write, compressed, on this machine's disk."""
    max_key_bytes: int = 1024**2
    """A bigger key is left alone: to copy it would hold up the server."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of a selection. None means unknown."""

    keys: int | None
    """How many; None where nothing could be counted."""
    error: int = 0
    """Half the width of the 95 % interval of `keys`; 0: counted."""
    total: int | None = None
    """Keys in the database."""
    sample: tuple[bytes, ...] = ()
    """Some names."""
    looked: int = 0
    """Of so many keys the facts below are known."""
    bytes_each: float | None = None
    """Mean memory of a key."""
    largest_bytes: int | None = None
    heaviest_bytes: tuple[int, ...] = ()
    """Memory of the biggest keys looked at, the biggest first: a hundred at most."""
    types: tuple[tuple[str, int], ...] = ()
    """Of those looked at, the most frequent first; printable."""
    without_ttl: int | None = None
    """Of those looked at."""
    gone: int = 0
    """Of those looked at: named, but not there."""
    reads_per_s: float | None = None
    """Keys of the selection read in a second, each counted once: what will miss when they are gone."""
    note: str = ""
    """What is missing, printable."""

    @property
    def bytes_total(self) -> float | None:
        """Return the memory of all of them, as far as the sample tells."""
        return None if self.keys is None or self.bytes_each is None else self.keys * self.bytes_each
