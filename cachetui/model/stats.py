"""One poll of a server's counters and gauges, the same shape for Redis, Valkey and Memcached."""

from __future__ import annotations

from dataclasses import dataclass

from cachetui.model.topology import NodeFigures


@dataclass(frozen=True, slots=True)
class Identity:
    """Which server answered."""

    kind: str
    """`redis`, `valkey`, `keydb` or `memcached`."""
    version: str | None = None
    """As the server says it, e.g. `7.0.15`; several Memcached servers may say `1.6.18, 1.6.40`."""
    mode: str = "standalone"
    """`standalone`, `cluster`, `sentinel` or (several Memcached servers) `fleet`."""
    role: str | None = None
    """`primary`, `replica`, `sentinel`, or None for Memcached and where it is denied."""
    run_id: str | None = None
    """Changes with every restart of the server process, where the server has one."""
    address: str = ""
    """`host:port` or the socket's path, without secrets."""


@dataclass(frozen=True, slots=True)
class DbKeys:
    """Keys of one numbered database."""

    db: int
    keys: int
    expires: int
    """Keys with a TTL."""
    avg_ttl_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CommandStat:
    """INFO commandstats of one command, since start or CONFIG RESETSTAT."""

    name: str
    """Lower case, with `|` before a subcommand."""
    calls: int
    usec: int
    """Server time spent in all calls, in microseconds."""
    rejected_calls: int | None = None
    failed_calls: int | None = None


@dataclass(frozen=True, slots=True)
class ErrorStat:
    """INFO errorstats of one error word."""

    word: str
    count: int


@dataclass(frozen=True, slots=True)
class SlabClass:
    """One Memcached slab class (`stats slabs` and `stats items`)."""

    class_id: int
    chunk_bytes: int
    total_pages: int
    total_chunks: int
    used_chunks: int
    free_chunks: int
    items: int | None = None
    mem_requested_bytes: int | None = None
    age_s: int | None = None
    """Age of the oldest item of the class."""
    evicted: int | None = None
    evicted_unfetched: int | None = None
    outofmemory: int | None = None
    server: str = ""
    """`host:port` of the server that has it."""
    hot: int | None = None
    """Items in HOT; so for WARM, COLD and TEMP. None where the LRU is one flat list or the server too old."""
    warm: int | None = None
    cold: int | None = None
    temp: int | None = None
    age_hot_s: int | None = None
    """Age of the oldest item in HOT; `age_s` is COLD's, from where items are evicted."""
    age_warm_s: int | None = None
    evicted_idle_s: int | None = None
    """How long nobody had asked for the item that was evicted last."""
    evicted_with_ttl: int | None = None
    """Evicted items that had a TTL of their own."""
    evicted_active: int | None = None
    """Evicted items that had been fetched lately."""
    reclaimed: int | None = None
    """Expired items whose place was used again."""
    expired_unfetched: int | None = None
    direct_reclaims: int | None = None
    """Writes that had to make room themselves, because nothing was free in time."""
    tail_repairs: int | None = None
    """Items that a lost reference kept at the end of the LRU."""
    moves_to_cold: int | None = None
    moves_to_warm: int | None = None
    hits: int | None = None
    sets: int | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """One poll of INFO (Redis, Valkey) or `stats` (Memcached, summed over the servers).

    Of a whole cluster it is summed over the primaries, and `nodes` holds each: counters go on
    where they were when a node joins, leaves or restarts, and processor time is the busiest node's.

    Counters (`*_total`) count since the server's start or CONFIG RESETSTAT; rates are
    differences of two snapshots (`cachetui.model.rates`), never fields.
    """

    taken_at: float
    server: Identity
    uptime_s: int | None = None
    latency_us: float | None = None
    """Round trip of this very poll's cheapest command as we measured it."""
    denied: tuple[str, ...] = ()
    """Commands that were refused or unknown, so that their fields are None."""

    # Lookups and writes
    hits_total: int | None = None
    misses_total: int | None = None
    commands_total: int | None = None
    gets_total: int | None = None
    """Memcached `cmd_get`."""
    sets_total: int | None = None
    """Memcached `cmd_set`."""
    expired_total: int | None = None
    evicted_total: int | None = None
    evicted_unfetched_total: int | None = None
    expired_unfetched_total: int | None = None
    reclaimed_total: int | None = None
    error_replies_total: int | None = None
    net_in_bytes_total: int | None = None
    net_out_bytes_total: int | None = None
    cpu_s_total: float | None = None
    """System plus user time of the server's process."""

    # Keys
    keys: int | None = None
    """Keys of the selected database (DBSIZE), or items of all Memcached servers."""
    databases: tuple[DbKeys, ...] = ()

    # Memory
    used_bytes: int | None = None
    rss_bytes: int | None = None
    peak_bytes: int | None = None
    dataset_bytes: int | None = None
    overhead_bytes: int | None = None
    maxmemory_bytes: int | None = None
    """0 means no limit (Redis); Memcached's `limit_maxbytes`."""
    policy: str | None = None
    """maxmemory-policy."""
    fragmentation_ratio: float | None = None
    fragmentation_bytes: int | None = None
    system_memory_bytes: int | None = None
    client_buffers_bytes: int | None = None
    """mem_clients_normal."""
    lazyfree_pending: int | None = None

    # Clients
    clients: int | None = None
    blocked_clients: int | None = None
    max_clients: int | None = None
    connections_total: int | None = None
    rejected_connections_total: int | None = None
    output_limit_disconnections_total: int | None = None
    query_limit_disconnections_total: int | None = None

    # Persistence
    loading: bool | None = None
    loading_percent: float | None = None
    loading_eta_s: float | None = None
    save_running: bool | None = None
    save_ok: bool | None = None
    """rdb_last_bgsave_status is ok."""
    last_save_at: float | None = None
    changes_since_save: int | None = None
    aof_enabled: bool | None = None
    aof_write_ok: bool | None = None
    fork_us: int | None = None
    """latest_fork_usec; 0 means no fork yet."""

    # Replication
    replicas: int | None = None
    """connected_slaves."""
    link_up: bool | None = None
    """On a replica: master_link_status is up."""
    link_down_s: int | None = None
    sync_running: bool | None = None
    replication_lag_s: int | None = None
    """On a replica: master_last_io_seconds_ago."""
    worst_lag_bytes: int | None = None
    """On a primary: the largest offset difference of an online replica."""
    sync_full_total: int | None = None

    # Details
    commands: tuple[CommandStat, ...] = ()
    errors: tuple[ErrorStat, ...] = ()
    slabs: tuple[SlabClass, ...] = ()
    listen_disabled_total: int | None = None
    conn_yields_total: int | None = None
    threads: int | None = None
    extra: dict[str, str] | None = None
    """Other INFO or `stats` fields by the server's own names, values passed through `text.printable`."""
    nodes: tuple[NodeFigures, ...] = ()
    """Every node of a cluster, where all were asked."""
