"""What servers say of replication, and Sentinels of the groups that they watch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Replication:
    """What one server says of its own part in a replication."""

    link_up: bool | None = None
    """A replica's link to its primary; None for a primary."""
    link_down_s: int | None = None
    sync_running: bool | None = None
    """A full copy is on its way to this replica."""
    sync_read_bytes: int | None = None
    sync_percent: float | None = None
    """Of the copy; None where the server streams it and nobody knows its length."""
    loading_percent: float | None = None
    """A replica reads what it was sent."""
    priority: int | None = None
    """Sentinel promotes the lowest first; 0: never."""
    read_only: bool | None = None
    min_replicas: int | None = None
    """A primary takes no writes with fewer good replicas; 0: it does not care."""
    min_replicas_lag_s: int | None = None
    good_replicas: int | None = None
    backlog_bytes: int | None = None
    """Size of the backlog, from which a replica that was away can go on without a full copy."""
    backlog_used_bytes: int | None = None
    backlog_first: int | None = None
    """The oldest offset that is still in it."""
    written_per_s: float | None = None
    """Bytes a second that go to the replicas, since the look before."""
    saved_keys: int | None = None
    """Keys that the copy for the replicas holds so far, and of how many."""
    saved_of_keys: int | None = None
    failover: str = ""
    """`master_failover_state` while a coordinated failover runs."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one Sentinel thinks of one group."""

    sentinel: str
    """Its address."""
    problem: str = ""
    """Why it could not be asked, or that it does not know the group; empty: it answered."""
    primary: str = ""
    """Whom it names."""
    flags: tuple[str, ...] = ()
    """What it holds of the primary, in its words: `s_down`, `o_down`, `disconnected`, `failover_in_progress`."""
    tilt: bool | None = None
    """It does not act now: its clock jumped."""
    quorum: int | None = None
    sentinels: int | None = None
    """How many it knows, itself included."""
    replicas: int | None = None
    epoch: int | None = None
    """Of the configuration; each failover raises it."""
    usable: bool | None = None
    """By CKQUORUM: a failover could be agreed on."""
    check: str = ""
    """CKQUORUM's words."""
    version: str | None = None
    myself: bool = False
    """It is the server that we are connected to."""
    given: bool = True
    """It stands in the target; else another Sentinel named it."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One data server as the Sentinels see it."""

    address: str
    role: str
    """`primary` or `replica`."""
    flags: tuple[str, ...] = ()
    """What any of them holds of it: `s_down`, `disconnected`, ..."""
    said_by: int = 0
    """How many of those that answered hold that."""
    priority: int | None = None
    offset: int | None = None
    link_up: bool | None = None
    """A replica's link to the primary."""
    run_id: str = ""
    """Of two replicas that are alike a Sentinel chooses the one whose id sorts first."""


@dataclass(frozen=True, slots=True)
class SentinelGroup:
    """One group: a primary, its replicas, and every Sentinel's opinion."""

    name: str
    primary: str = ""
    """The address that most of the answering Sentinels name."""
    quorum: int | None = None
    opinions: tuple[Opinion, ...] = ()
    members: tuple[Watched, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    """Those that decide on a failover; they stand per Sentinel, and these are most of them's."""
    problems: tuple[str, ...] = ()

    @property
    def answered(self) -> tuple[Opinion, ...]:
        """The opinions of those that could be asked."""
        return tuple(opinion for opinion in self.opinions if not opinion.problem)


@dataclass(frozen=True, slots=True)
class SentinelEvent:
    """Something that a Sentinel told of by itself."""

    at: float
    """When it arrived here."""
    name: str
    """As it calls it: `+switch-master`, `+sdown`, ..."""
    words: str
    """What happened, for people."""
    group: str = ""
    sentinels: tuple[str, ...] = ()
    """Who told of it."""
