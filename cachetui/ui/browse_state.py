"""What the Keys view knows. `Browser` and its parts change it; panes only read it."""

from __future__ import annotations

from dataclasses import dataclass, field

from cachetui.errors import CacheError
from cachetui.keyspace.decode import DecoderChoices
from cachetui.keyspace.index import KeyIndex
from cachetui.keyspace.listing import Listing
from cachetui.keyspace.measures import Measures
from cachetui.model import KeyFacts, ScanProgress, Value

SAMPLE_KEYS = 12
"""Keys looked at to estimate the size and the TTLs beneath one visible prefix."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a sample says of the keys beneath a prefix."""

    at: float
    key_bytes: float | None
    """Mean memory of a key; None where the server does not tell."""
    ttl_share: float | None
    """Share of the keys with a TTL, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What the server itself is asked to leave out of the enumeration."""

    match: bytes | None = None
    type_: str | None = None


@dataclass(slots=True)
class Browse:
    """The state of the Keys view."""

    index: KeyIndex
    scanning: bool = False
    progress: ScanProgress | None = None
    """Of the enumeration that runs or ran last."""
    scanned: int = 0
    total: int | None = None
    scanned_at: float | None = None
    """When the shown enumeration ended; None: it has not."""
    stopped: bool = False
    """The enumeration was cancelled: the index holds a part."""
    scope: Scope = field(default_factory=Scope)
    trouble: CacheError | None = None
    listings: dict[str, Listing] = field(default_factory=dict)
    """By the pane that wants them."""
    facts: dict[bytes, tuple[float, KeyFacts]] = field(default_factory=dict)
    facts_version: int = 0
    estimates: dict[bytes, Estimate] = field(default_factory=dict)
    measures: Measures | None = None
    """What "measure all" learnt of the keys of this index."""
    measuring: ScanProgress | None = None
    """How far "measure all" is, while it runs."""
    measured_note: str = ""
    """What it could not learn."""
    opened: bytes | None = None
    value: Value | None = None
    value_trouble: CacheError | None = None
    order: str = ""
    """The order in which the opened value is read (see `Source.value`)."""
    before: list[bytes | None] = field(default_factory=list)
    """Starts of the windows before the one that is shown."""
    decoders: DecoderChoices = field(default_factory=DecoderChoices)
    """What somebody chose to see values as."""
    recent: list[bytes] = field(default_factory=list)
    """Opened keys, the latest first."""
