"""Lists a server keeps: its slow log, its clients, its place among other servers; and our journal."""

from __future__ import annotations

from dataclasses import dataclass

from cachetui.model.latency import Latency
from cachetui.model.replication import Replication, SentinelEvent, SentinelGroup
from cachetui.model.stats import Identity
from cachetui.model.topology import HotSlot, Membership, NodeFigures


@dataclass(frozen=True, slots=True)
class SlowEntry:
    """One SLOWLOG entry, or one line of Memcached's `watch`."""

    entry_id: int
    at: float
    """Unix seconds, the server's clock."""
    duration_us: int | None
    args: tuple[bytes, ...]
    """As the server kept them: long ones are cut by the server."""
    client: str = ""
    """`host:port`, printable."""
    client_name: str = ""
    event: str = ""
    """Memcached: fetch, store, evict, ...; empty for a slow log entry."""
    log: str = ""
    """`large-request` or `large-reply` of Valkey's command log; empty: the slow log."""
    size_bytes: int | None = None
    """Of a large request or reply."""
    node: str = ""
    """The node of a cluster that has it; empty where one server was asked."""


@dataclass(frozen=True, slots=True)
class SlowLog:
    """The newest entries first."""

    taken_at: float
    server: Identity
    entries: tuple[SlowEntry, ...] = ()
    total: int | None = None
    """SLOWLOG LEN: how many the server holds."""
    threshold_us: int | None = None
    """slowlog-log-slower-than; None where CONFIG is denied, -1 when switched off."""
    note: str = ""
    """What a reader must know: "memcached has no slow log: live events", ..."""
    skipped: int = 0
    """Events lost because they came too fast (Memcached `watch`)."""
    latency: Latency | None = None
    """What the server says of its own latency."""
    kept: int = 0
    """Entries that the server no longer holds."""
    missed: int = 0
    """Entries that came and went between two polls, of those that are kept."""


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """One line of CLIENT LIST or one connection of `stats conns`."""

    client_id: int | None
    address: str
    name: str = ""
    age_s: int | None = None
    idle_s: int | None = None
    db: int | None = None
    user: str = ""
    command: str = ""
    """The last command (Redis) or state (Memcached)."""
    flags: str = ""
    memory_bytes: int | None = None
    """tot-mem."""
    output_bytes: int | None = None
    """omem plus obl."""
    query_bytes: int | None = None
    subscriptions: int | None = None
    net_in_bytes_total: int | None = None
    net_out_bytes_total: int | None = None
    commands_total: int | None = None
    library: str = ""
    ours: bool = False
    """It is one of cachetui's own connections."""
    node: str = ""
    """The node of a cluster that it is connected to; empty where one server was asked."""
    commands_per_s: float | None = None
    """Since the list before, as are the next two."""
    in_bytes_per_s: float | None = None
    out_bytes_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class ClientList:
    """All connections, in the server's order."""

    taken_at: float
    server: Identity
    clients: tuple[ClientInfo, ...] = ()
    total: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One server as the asked one sees it: itself, its primary, its replicas, its cluster, its fleet."""

    address: str
    role: str
    """`primary`, `replica`, `sentinel` or `server` (Memcached)."""
    state: str = "online"
    """In the server's words (`online`, `wait_bgsave`, `fail?`, `down`, ...); `down` when it does not answer."""
    myself: bool = False
    node_id: str = ""
    primary: str = ""
    """Address of its primary."""
    offset: int | None = None
    lag_bytes: int | None = None
    lag_s: int | None = None
    slots: str = ""
    """Ranges: `0-5460,5462`."""
    version: str | None = None
    keys: int | None = None
    used_bytes: int | None = None
    limit_bytes: int | None = None
    hits_total: int | None = None
    misses_total: int | None = None
    clients: int | None = None
    note: str = ""
    replication: Replication | None = None
    """What it says of itself, where it was asked."""
    figures: NodeFigures | None = None
    """A cluster's node: where all nodes were asked."""
    member: Membership | None = None
    """The same."""


@dataclass(frozen=True, slots=True)
class KeySpread:
    """How the keys of several Memcached servers lie, by the rule that explains it best."""

    rule: str
    """`rendezvous`, `ketama`, ...; empty: none explains it."""
    sampled: int
    misplaced: int
    """Of the sampled names those on another server than the rule says."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Who is who, seen from the server that was asked."""

    taken_at: float
    server: Identity
    nodes: tuple[Node, ...] = ()
    summary: str = ""
    """One line: "primary with 2 replicas", "cluster node, 16384 of 16384 slots served", ..."""
    problems: tuple[str, ...] = ()
    """What is wrong, one sentence each."""
    facts: tuple[tuple[str, str], ...] = ()
    """Further name and value pairs worth showing (backlog, quorum, epoch, ...), printable."""
    spread: KeySpread | None = None
    """Of several Memcached servers, once keys were listed."""
    groups: tuple[SentinelGroup, ...] = ()
    """What the Sentinels say, where there are any."""
    events: tuple[SentinelEvent, ...] = ()
    """What they told of lately, the newest first."""
    hot_slots: tuple[HotSlot, ...] = ()
    """The slots that cost most, where servers count that, the hottest first."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One write, as it was planned and as it ended."""

    at: float
    receipt: str
    """The plan's id: what `cachetui undo` takes."""
    user: str
    """OS user, and the SSH client's address where there is one."""
    target: str
    """Without secrets."""
    title: str
    commands: tuple[str, ...]
    """The exact commands, escaped; a long list ends in a count and a digest."""
    outcome: str
    """`done`, `failed`, `stopped`, `refused`; `started` and `running` never ended: under way, or we were killed."""
    done: int = 0
    failed: int = 0
    left: int = 0
    error: str = ""
    undo: str = ""
    """How it can be undone, or why not."""
    missing: int = 0
    """Keys or clients that were gone already."""
    skipped: int = 0
    """Left alone on purpose."""
    undoes: str = ""
    """The receipt that this undid."""
    back: tuple[tuple[str, str, str], ...] = ()
    """Settings that can be set back: name, value before, value after (as the server shows it)."""
    left_alone: tuple[str, ...] = ()
    """What was left alone and why, with some of the names, escaped."""
    nodes: tuple[str, ...] = ()
    """The nodes that these settings were set on; none: the server itself."""
    unknown: int = 0
    """Sent when the connection broke: carried out or not, nobody knows."""
    moves: tuple[tuple[str, str, str], ...] = ()
    """Slots of a cluster that were moved: which (`0-99,105`), and the ids of the nodes where from and where to."""
