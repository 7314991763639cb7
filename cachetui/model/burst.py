"""A short, bounded look at every command of a server: its limits, what it saw, what it cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from cachetui.model.accesses import Rules, Use

BUSY = 0.7
"""A server that uses less of one core than this has time to spare: it is not what slows its clients down."""


class Seen(NamedTuple):
    """One access to a key of the sample."""

    at_s: float
    """The server's clock."""
    db: int
    key: bytes
    use: Use
    length: int
    """Bytes of text that stood behind the key: what a value takes, roughly."""
    ttl_s: float
    """The time to live it set; infinity: none; NaN: the command says nothing of it."""
    lookups: int
    """Lookups of all keys so far."""


class Access(NamedTuple):
    """One key that a command names."""

    db: int
    key: bytes
    writes: bool


class Call(NamedTuple):
    """One command of one client."""

    command: str
    """As it is shown: `GET`; of Memcached what became of it: `fetch`, `miss`, `store`."""
    client: str
    """`host:port`, printable; `lua` for what a script runs."""
    writes: bool | None
    """None: it names no key."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a burst ends at the latest, whatever else happens."""

    seconds: float = 10.0
    aside_s: float = 0.75
    """So long the server is watched without MONITOR before, and again after it."""
    stream_bytes: int = 512 * 1024 * 1024
    commands: int = 2_000_000
    throughput_loss: float = 0.25
    """Stop when two looks in a row find so much less throughput than before."""
    latency_times: float = 4.0
    """Stop when two looks in a row find the round trip so many times slower."""
    behind_s: float = 1.0
    """Stop when we read what is older than this."""
    buffer_bytes: int = 32 * 1024 * 1024
    """Stop when clients' buffers grew by so much: on a full server they push keys out."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How the server fares over a short time."""

    commands_per_s: float | None = None
    ping_us: float | None = None
    cpu_us: float | None = None
    """The server's processor time for each command."""

    @property
    def busy(self) -> float | None:
        """Which share of one core the server used; None: unknown."""
        if self.cpu_us is None or self.commands_per_s is None:
            return None
        return self.cpu_us * self.commands_per_s / 1e6


@dataclass(frozen=True, slots=True)
class Burst:
    """What a burst saw, why it ended and what it cost."""

    seconds: float
    lines: int
    lookups: int
    """Lookups of all keys, sampled or not."""
    stream_bytes: int
    ended_by: str
    """`time`, `commands`, `bytes`, `cancelled`, or in words what suffered."""
    before: Figures
    during: Figures
    after: Figures
    skipped: int = 0
    """Commands that the server carried out meanwhile and that we did not read; about, as some never show."""
    strange: int = 0
    """Lines that make no sense."""

    @property
    def stopped_itself(self) -> bool:
        """The server suffered, or we could not keep up."""
        return self.ended_by not in ("time", "commands", "bytes", "cancelled")

    @property
    def loss(self) -> float | None:
        """Which share of its throughput the server lost meanwhile; None: unknown. Its load may have changed too."""
        rates = [rate for rate in (self.before.commands_per_s, self.after.commands_per_s) if rate]
        if not rates or self.during.commands_per_s is None:
            return None
        return max(0.0, 1 - self.during.commands_per_s / (sum(rates) / len(rates)))

    def loss_over(self, period_s: float) -> float | None:
        """Return the loss as a share of a longer time in which this is the only burst."""
        return None if self.loss is None else self.loss * min(1.0, self.seconds / max(period_s, 1e-9))

    def line(self) -> str:
        """Return it in one line of words."""
        words = f"{self.lines:,} commands in {self.seconds:.1f} s, ended by {self.ended_by}"
        if self.skipped:
            words += f", about {self.skipped:,} not read"
        busy, cost = self.during.busy, self.loss
        if busy is not None and busy < BUSY and not self.stopped_itself:
            words += f"; the server had time to spare ({busy:.0%} of a core used)"
        elif cost is not None:
            words += f"; throughput {-cost:+.0%} meanwhile"
        if self.before.cpu_us and self.during.cpu_us:
            words += f", {self.during.cpu_us / self.before.cpu_us:.1f} times the processor time for each command"
        return words


@dataclass(frozen=True, slots=True)
class Measured:
    """What a server says of one key; None: not there, or denied."""

    size_bytes: int | None
    use: int | None
    """Its idle time in seconds, or its frequency under an LFU policy."""
    ttl_ms: int | None = None
    """-1 none; None where it was not asked for."""
    at_s: float = math.nan
    """When this was, by the server's clock."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a server's memory is taken by, and how it evicts, at one moment."""

    memory_bytes: int
    """maxmemory, or what is used where there is no limit."""
    fixed_bytes: int
    """What holds no keys: the server itself, clients' buffers, scripts, the backlog."""
    key_bytes: int
    """What all keys together take, with their share of the tables."""
    keys: int
    """In all databases."""
    expiring: int
    """Of them so many have a time to live."""
    databases: int
    """That hold any."""
    lookups: int
    """Hits and misses since the start."""
    hits: int
    at_s: float
    """When this was, by a clock that only runs forward."""
    rules: Rules = field(default_factory=Rules)
    tables: bool = True
    """Keys take room in tables besides what is told of each; not so where these lie outside of the limit."""
