"""What the rules read, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, field

from cachetui.model.entries import ClientList, SlowLog, Topology
from cachetui.model.prefixes import PrefixPicture
from cachetui.model.stats import Stats


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the last poll failed: the plain data of a `CacheError`."""

    code: str
    """`CacheError.code`: unreachable, timed-out, auth, denied, busy, loading, ..."""
    message: str
    hint: str
    since: float
    """When it began."""
    detail: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known at one moment; anything may be missing."""

    taken_at: float
    target: str
    stats: Stats | None = None
    window: tuple[Stats, ...] = ()
    """Earlier snapshots of the same run of the server, oldest first, at most ten minutes back, thinned out."""
    slowlog: SlowLog | None = None
    clients: ClientList | None = None
    topology: Topology | None = None
    trouble: Trouble | None = None
    prefixes: PrefixPicture | None = None
    """What a sample of the keys tells, where one was taken."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem with its proof and its remedy."""

    id: str
    """Stable: `memory-high`, `link-down`, ..."""
    category: str
    """availability, memory, performance, hit-rate, clients, persistence, replication, topology, configuration."""
    priority: str
    """`high`, `medium` or `low`."""
    issue: str
    """What is wrong, with its figures, in one sentence."""
    action: str
    """What to do, in one sentence."""
    evidence: dict[str, object] = field(default_factory=dict)
    """The figures behind it: plain JSON values with units in their names."""
    commands: tuple[str, ...] = ()
    """Server commands that mend it, for reading: nothing runs them unseen."""


PRIORITIES = ("high", "medium", "low")
"""Worst first."""
