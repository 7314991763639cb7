"""INFO's text to `Stats` and `Identity`. Malformed text gives unknowns, never an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cachetui.model import CommandStat, DbKeys, ErrorStat, Identity, Stats
from cachetui.source.redis.replies import as_bytes, as_float, as_int, as_text
from cachetui.text import printable

SECTIONS = (
    *("server", "clients", "memory", "persistence", "stats", "replication", "cpu"),
    *("commandstats", "errorstats", "keyspace", "cluster", "sentinel", "tls"),
)
"""What one poll reads where INFO takes several sections; unknown ones are ignored by the server."""

_EXTRA_TEXT = """
tracking_clients total_blocking_keys clients_in_timeout_table paused_reason paused_actions
paused_timeout_milliseconds allocator_frag_ratio allocator_frag_bytes allocator_rss_ratio mem_clients_slaves
mem_aof_buffer mem_not_counted_for_evict active_defrag_running loading_start_time loading_total_bytes
loading_loaded_bytes rdb_last_bgsave_status rdb_last_bgsave_time_sec aof_last_write_status
aof_last_bgrewrite_status aof_rewrite_in_progress current_fork_perc current_cow_size evicted_clients
expired_stale_perc expired_time_cap_reached_count current_eviction_exceeded_time total_eviction_exceeded_time
sync_partial_ok sync_partial_err acl_access_denied_auth acl_access_denied_cmd acl_access_denied_key
acl_access_denied_channel instantaneous_ops_per_sec instantaneous_input_kbps instantaneous_output_kbps
io_threads_active io_threaded_reads_processed io_threaded_writes_processed used_memory_scripts used_memory_lua
number_of_cached_scripts mem_fragmentation_bytes mem_allocator master_host master_port slave_read_only
slave_priority min_slaves_good_slaves repl_backlog_size repl_backlog_histlen repl_backlog_active
second_repl_offset process_id tcp_port io_threads_active os hz configured_hz
used_cpu_sys used_cpu_user used_cpu_sys_main_thread used_cpu_user_main_thread cluster_enabled sentinel_masters
sentinel_tilt sentinel_running_scripts tls_server_cert_expires_in_seconds tls_client_cert_expires_in_seconds
tls_ca_cert_expires_in_seconds total_active_defrag_time evicted_scripts unexpected_error_replies
pubsub_channels pubsub_patterns total_reads_processed
"""

EXTRA = frozenset(_EXTRA_TEXT.split())
"""Fields kept by name: those that matter in an incident and have no field of their own."""

_ROLES = {"master": "primary", "slave": "replica", "replica": "replica", "primary": "primary", "sentinel": "sentinel"}


@dataclass(frozen=True, slots=True)
class Info:
    """INFO's fields by name, its sections' names in lower case."""

    fields: Mapping[str, str] = field(default_factory=dict)
    sections: frozenset[str] = frozenset()

    def number(self, name: str) -> int | None:
        return as_int(self.fields.get(name))

    def decimal(self, name: str) -> float | None:
        return as_float(self.fields.get(name))

    def flag(self, name: str) -> bool | None:
        value = self.number(name)
        return None if value is None else value != 0

    def is_ok(self, name: str) -> bool | None:
        value = self.fields.get(name)
        return None if value is None else value == "ok"

    def age(self, name: str) -> int | None:
        """A number of seconds where the server writes -1 for "not at all"."""
        value = self.number(name)
        return None if value is None or value < 0 else value


def parse_info(reply: object) -> Info:
    r"""Return the fields of an INFO reply; lines that are none are passed over.

    >>> info = parse_info(b"# Server\r\nredis_version:7.0.15\r\nbroken\r\nos:a:b\r\n")
    >>> dict(info.fields), sorted(info.sections)
    ({'redis_version': '7.0.15', 'os': 'a:b'}, ['server'])
    """
    fields: dict[str, str] = {}
    sections: set[str] = set()
    for raw in as_bytes(reply).split(b"\n"):
        line = raw.strip(b"\r")
        if line.startswith(b"#"):
            sections.add(as_text(line[1:].strip()).lower())
            continue
        name, colon, value = line.partition(b":")
        if colon and name:
            fields[as_text(name, 200)] = printable(value)
    return Info(fields, frozenset(sections))


def parse_fields(value: str) -> dict[str, str]:
    """Return `a=1,b=2` as a dict.

    >>> parse_fields("keys=3,expires=0,x"), parse_fields("")
    ({'keys': '3', 'expires': '0'}, {})
    """
    parts = (part.partition("=") for part in value.split(","))
    return {name: content for name, equals, content in parts if equals}


def identity(info: Info, hello: Mapping[str, object], address: str, before: Identity | None = None) -> Identity:
    """Return who answers, from INFO and HELLO; what neither says stays as it was `before`."""
    fields = info.fields
    kind = as_text(hello.get("server")) or (before.kind if before else "redis")
    version: str | None = as_text(hello.get("version")) or (before.version if before else None)
    if "valkey_version" in fields or fields.get("server_name") == "valkey":
        kind, version = "valkey", fields.get("valkey_version", version)
    elif "keydb" in info.sections or "mvcc_depth" in fields:
        kind, version = "keydb", fields.get("redis_version", version)
    elif "redis_version" in fields:
        kind, version = ("redis" if kind == "valkey" else kind), fields["redis_version"]
    mode = fields.get("redis_mode") or fields.get("server_mode") or as_text(hello.get("mode"))
    mode = mode or (before.mode if before else "standalone")
    role = _ROLES.get(fields.get("role") or as_text(hello.get("role"))) or (before.role if before else None)
    run_id = fields.get("run_id") or (before.run_id if before else None)
    return Identity(kind or "redis", version, mode, "sentinel" if mode == "sentinel" else role, run_id, address)


def role_word(word: object) -> str | None:
    """Return `primary`, `replica` or `sentinel` for the server's own word."""
    return _ROLES.get(as_text(word))


def _total(info: Info, *names: str) -> float | None:
    values = [info.decimal(name) for name in names]
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def parse_databases(info: Info) -> tuple[DbKeys, ...]:
    """Return the keyspace section, by database number."""
    found = []
    for name, value in info.fields.items():
        number = as_int(name[2:]) if name.startswith("db") else None
        if number is None:
            continue
        parts = parse_fields(value)
        keys = as_int(parts.get("keys"))
        if keys is not None:
            found.append(DbKeys(number, keys, as_int(parts.get("expires")) or 0, as_int(parts.get("avg_ttl"))))
    return tuple(sorted(found, key=lambda entry: entry.db))


def parse_commands(info: Info) -> tuple[CommandStat, ...]:
    """Return commandstats, those that took most of the server's time first."""
    found = []
    for name, value in info.fields.items():
        if not name.startswith("cmdstat_"):
            continue
        parts = parse_fields(value)
        calls, usec = as_int(parts.get("calls")), as_int(parts.get("usec"))
        if calls is not None and usec is not None:
            rejected, failed = as_int(parts.get("rejected_calls")), as_int(parts.get("failed_calls"))
            found.append(CommandStat(name.removeprefix("cmdstat_").lower(), calls, usec, rejected, failed))
    return tuple(sorted(found, key=lambda stat: (-stat.usec, stat.name)))


def parse_errors(info: Info) -> tuple[ErrorStat, ...]:
    """Return errorstats, the most frequent first."""
    found = []
    for name, value in info.fields.items():
        if name.startswith("errorstat_"):
            count = as_int(parse_fields(value).get("count"))
            if count is not None:
                found.append(ErrorStat(name.removeprefix("errorstat_"), count))
    return tuple(sorted(found, key=lambda stat: (-stat.count, stat.word)))


def parse_replicas(info: Info) -> list[dict[str, str]]:
    """Return the fields of the slaveN lines, in their order."""
    found = [
        (number, parse_fields(value))
        for name, value in info.fields.items()
        if name.startswith("slave") and (number := as_int(name[5:])) is not None and "=" in value
    ]
    return [parts for _, parts in sorted(found, key=lambda entry: entry[0])]


def worst_lag_bytes(info: Info) -> int | None:
    """Return by how many bytes the slowest online replica is behind; None without one."""
    end = info.number("master_repl_offset")
    lags = [
        max(0, end - offset)
        for parts in parse_replicas(info)
        if end is not None and parts.get("state") == "online" and (offset := as_int(parts.get("offset"))) is not None
    ]
    return max(lags, default=None)


def to_stats(
    info: Info,
    server: Identity,
    *,
    taken_at: float,
    latency_us: float | None,
    db: int,
    keys: int | None,
    denied: tuple[str, ...],
) -> Stats:
    """Return one snapshot; `keys` is DBSIZE for when INFO has no keyspace."""
    databases = parse_databases(info)
    if "keyspace" in info.sections:
        keys = next((entry.keys for entry in databases if entry.db == db), 0)
    return Stats(
        taken_at=taken_at,
        server=server,
        uptime_s=info.number("uptime_in_seconds"),
        latency_us=latency_us,
        denied=denied,
        keys=keys,
        databases=databases,
        commands=parse_commands(info),
        errors=parse_errors(info),
        threads=info.number("io_threads_active"),
        extra={name: value for name, value in info.fields.items() if name in EXTRA} if info.fields else None,
        **_traffic(info),  # type: ignore[arg-type]
        **_memory(info),  # type: ignore[arg-type]
        **_persistence(info),  # type: ignore[arg-type]
        **_replication(info),  # type: ignore[arg-type]
    )


def _traffic(info: Info) -> dict[str, object]:
    return {
        "hits_total": info.number("keyspace_hits"),
        "misses_total": info.number("keyspace_misses"),
        "commands_total": info.number("total_commands_processed"),
        "expired_total": info.number("expired_keys"),
        "evicted_total": info.number("evicted_keys"),
        "error_replies_total": info.number("total_error_replies"),
        "net_in_bytes_total": info.number("total_net_input_bytes"),
        "net_out_bytes_total": info.number("total_net_output_bytes"),
        "cpu_s_total": _total(info, "used_cpu_sys", "used_cpu_user"),
        "clients": info.number("connected_clients"),
        "blocked_clients": info.number("blocked_clients"),
        "max_clients": info.number("maxclients"),
        "connections_total": info.number("total_connections_received"),
        "rejected_connections_total": info.number("rejected_connections"),
        "output_limit_disconnections_total": info.number("client_output_buffer_limit_disconnections"),
        "query_limit_disconnections_total": info.number("client_query_buffer_limit_disconnections"),
    }


def _memory(info: Info) -> dict[str, object]:
    return {
        "used_bytes": info.number("used_memory"),
        "rss_bytes": info.number("used_memory_rss"),
        "peak_bytes": info.number("used_memory_peak"),
        "dataset_bytes": info.number("used_memory_dataset"),
        "overhead_bytes": info.number("used_memory_overhead"),
        "maxmemory_bytes": info.number("maxmemory"),
        "policy": info.fields.get("maxmemory_policy"),
        "fragmentation_ratio": info.decimal("mem_fragmentation_ratio"),
        "fragmentation_bytes": info.number("mem_fragmentation_bytes"),
        "system_memory_bytes": info.number("total_system_memory"),
        "client_buffers_bytes": info.number("mem_clients_normal"),
        "lazyfree_pending": info.number("lazyfree_pending_objects"),
    }


def _persistence(info: Info) -> dict[str, object]:
    loading = info.flag("loading")
    return {
        "loading": loading,
        "loading_percent": info.decimal("loading_loaded_perc") if loading else None,
        "loading_eta_s": info.decimal("loading_eta_seconds") if loading else None,
        "save_running": info.flag("rdb_bgsave_in_progress"),
        "save_ok": info.is_ok("rdb_last_bgsave_status"),
        "last_save_at": info.decimal("rdb_last_save_time"),
        "changes_since_save": info.number("rdb_changes_since_last_save"),
        "aof_enabled": info.flag("aof_enabled"),
        "aof_write_ok": info.is_ok("aof_last_write_status"),
        "fork_us": info.number("latest_fork_usec"),
    }


def _replication(info: Info) -> dict[str, object]:
    link = info.fields.get("master_link_status")
    return {
        "replicas": info.number("connected_slaves"),
        "link_up": None if link is None else link == "up",
        "link_down_s": info.age("master_link_down_since_seconds"),
        "sync_running": info.flag("master_sync_in_progress"),
        "replication_lag_s": info.age("master_last_io_seconds_ago"),
        "worst_lag_bytes": worst_lag_bytes(info),
        "sync_full_total": info.number("sync_full"),
    }
