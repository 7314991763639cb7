"""`stats` in all its forms, read and summed over the servers of a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cachetui.errors import NotACache
from cachetui.model import Identity, SlabClass, Stats
from cachetui.source.memcached.connection import Connection, reply_error
from cachetui.text import printable

REPLY_LINES = 400_000
"""Most lines of one `stats` reply: `stats conns` has four for each connection."""

Fields = dict[str, str]
"""Fields of one `stats` reply by the server's own names, both printable."""

COMMAND_FIELDS = (
    "cmd_get",
    "cmd_set",
    "cmd_flush",
    "cmd_touch",
    "delete_misses",
    "delete_hits",
    "incr_misses",
    "incr_hits",
    "decr_misses",
    "decr_hits",
)
"""What `commands_total` is the sum of: memcached counts no commands as such."""

EXTRA_FIELDS = (
    "accepting_conns",
    "auth_cmds",
    "auth_errors",
    "cas_badval",
    "cas_hits",
    "cas_misses",
    "cmd_flush",
    "cmd_meta",
    "cmd_touch",
    "crawler_reclaimed",
    "delete_hits",
    "delete_misses",
    "direct_reclaims",
    "decr_hits",
    "decr_misses",
    "evicted_active",
    "extstore_bytes_read",
    "extstore_bytes_used",
    "extstore_bytes_written",
    "extstore_io_queue",
    "extstore_limit_maxbytes",
    "extstore_objects_evicted",
    "extstore_objects_read",
    "extstore_objects_used",
    "extstore_objects_written",
    "extstore_page_evictions",
    "get_expired",
    "get_flushed",
    "hash_bytes",
    "hash_is_expanding",
    "hash_power_level",
    "idle_kicks",
    "incr_hits",
    "incr_misses",
    "log_watcher_skipped",
    "log_worker_dropped",
    "lru_crawler_running",
    "log_watchers",
    "lrutail_reflocked",
    "malloc_fails",
    "read_buf_oom",
    "response_obj_oom",
    "slab_global_page_pool",
    "slab_reassign_running",
    "slab_reassign_rescues",
    "slabs_moved",
    "store_no_memory",
    "store_too_large",
    "time_in_listen_disabled_us",
    "touch_hits",
    "touch_misses",
    "total_items",
)
"""Triage fields without a field of their own in `Stats`, summed over the servers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one server said in one poll."""

    address: str
    general: Fields
    items: Fields = field(default_factory=dict)
    slabs: Fields = field(default_factory=dict)
    latency_us: float | None = None

    def number(self, name: str) -> int | None:
        """Return a whole number of `stats`, or None when it is missing or no number."""
        return whole(self.general.get(name))

    @property
    def run_id(self) -> str:
        """Process id and start time: both change with a restart, and only then."""
        now, uptime = self.number("time"), self.number("uptime")
        started = now - uptime if now is not None and uptime is not None else None
        return f"{self.general.get('pid', '?')}@{started if started is not None else '?'}"


def whole(text: str | None) -> int | None:
    """Return `text` as a whole number, or None when it is none.

    >>> whole("12"), whole("0.5"), whole(None), whole("9" * 30)
    (12, None, None, None)
    """
    if text is None or len(text) > 20 or not text.isascii() or not text.removeprefix("-").isdigit():
        return None
    return int(text)


async def read_stats(connection: Connection) -> Fields:
    """Read `STAT name value` lines up to `END`. Raises CacheError on anything else."""
    found: Fields = {}
    for _ in range(REPLY_LINES):
        line = await connection.line()
        if line == b"END":
            return found
        if not line.startswith(b"STAT "):
            raise reply_error(line, "stats")
        name, _, value = line[5:].partition(b" ")
        found[printable(name, 120)] = printable(value, 500)
    raise NotACache(f"{connection.address} sends statistics without end: not memcached")


def combined(
    answers: Sequence[Answer],
    *,
    taken_at: float,
    identity: Identity,
    settings: Mapping[str, str] | None,
    denied: tuple[str, ...],
) -> Stats:
    """Return one snapshot: counters and gauges summed, uptime the youngest, latency the slowest server's."""

    def total(*names: str) -> int | None:
        numbers = [number for answer in answers for name in names if (number := answer.number(name)) is not None]
        return sum(numbers) if numbers else None

    uptimes = [uptime for answer in answers if (uptime := answer.number("uptime")) is not None]
    latencies = [answer.latency_us for answer in answers if answer.latency_us is not None]
    extra = {name: str(number) for name in EXTRA_FIELDS if (number := total(name)) is not None}
    return Stats(
        taken_at=taken_at,
        server=identity,
        uptime_s=min(uptimes, default=None),
        latency_us=max(latencies, default=None),
        denied=denied,
        hits_total=total("get_hits"),
        misses_total=total("get_misses"),
        commands_total=total(*COMMAND_FIELDS),
        gets_total=total("cmd_get"),
        sets_total=total("cmd_set"),
        evicted_total=total("evictions"),
        evicted_unfetched_total=total("evicted_unfetched"),
        expired_unfetched_total=total("expired_unfetched"),
        reclaimed_total=total("reclaimed"),
        net_in_bytes_total=total("bytes_read"),
        net_out_bytes_total=total("bytes_written"),
        cpu_s_total=_cpu_s(answers),
        keys=total("curr_items"),
        used_bytes=total("bytes"),
        maxmemory_bytes=total("limit_maxbytes"),
        policy=_policy(settings),
        clients=total("curr_connections"),
        max_clients=total("max_connections"),
        connections_total=total("total_connections"),
        rejected_connections_total=total("rejected_connections"),
        slabs=tuple(slab for answer in answers for slab in slab_classes(answer)),
        listen_disabled_total=total("listen_disabled_num"),
        conn_yields_total=total("conn_yields"),
        threads=total("threads"),
        extra=extra,
    )


def _cpu_s(answers: Sequence[Answer]) -> float | None:
    seconds: list[float] = []
    for answer in answers:
        for name in ("rusage_user", "rusage_system"):
            text = answer.general.get(name, "")
            if len(text) <= 20 and text.isascii() and text.replace(".", "", 1).isdigit():
                seconds.append(float(text))
    return sum(seconds) if seconds else None


def _policy(settings: Mapping[str, str] | None) -> str | None:
    if settings is None or "evictions" not in settings:
        return None
    if settings["evictions"] == "off":
        return "noeviction"
    segmented = settings.get("lru_segmented", settings.get("lru_maintainer_thread"))
    return "lru-flat" if segmented == "no" else "lru-segmented"


def slab_classes(answer: Answer) -> list[SlabClass]:
    """Return one server's slab classes from `stats slabs` and `stats items`, by class id."""
    slabs: dict[int, dict[str, int]] = {}
    items: dict[int, dict[str, int]] = {}
    for name, text in answer.slabs.items():
        class_id, _, what = name.partition(":")
        _keep(slabs, class_id, what, text)
    for name, text in answer.items.items():
        _, _, rest = name.partition(":")
        class_id, _, what = rest.partition(":")
        _keep(items, class_id, what, text)
    return [
        _slab_class(class_id, slabs[class_id], items.get(class_id, {}), answer.address) for class_id in sorted(slabs)
    ]


def _keep(classes: dict[int, dict[str, int]], class_id: str, what: str, text: str) -> None:
    identifier, number = whole(class_id), whole(text)
    if identifier is not None and what and number is not None:
        classes.setdefault(identifier, {})[what] = number


def _slab_class(class_id: int, slab: Mapping[str, int], item: Mapping[str, int], server: str) -> SlabClass:
    return SlabClass(
        class_id=class_id,
        chunk_bytes=slab.get("chunk_size", 0),
        total_pages=slab.get("total_pages", 0),
        total_chunks=slab.get("total_chunks", 0),
        used_chunks=slab.get("used_chunks", 0),
        free_chunks=slab.get("free_chunks", 0),
        items=item.get("number"),
        mem_requested_bytes=item.get("mem_requested", slab.get("mem_requested")),
        age_s=item.get("age"),
        evicted=item.get("evicted"),
        evicted_unfetched=item.get("evicted_unfetched"),
        outofmemory=item.get("outofmemory"),
        server=server,
        hot=item.get("number_hot"),
        warm=item.get("number_warm"),
        cold=item.get("number_cold"),
        temp=item.get("number_temp"),
        age_hot_s=item.get("age_hot"),
        age_warm_s=item.get("age_warm"),
        evicted_idle_s=item.get("evicted_time"),
        evicted_with_ttl=item.get("evicted_nonzero"),
        evicted_active=item.get("evicted_active"),
        reclaimed=item.get("reclaimed"),
        expired_unfetched=item.get("expired_unfetched"),
        direct_reclaims=item.get("direct_reclaims"),
        tail_repairs=item.get("tailrepairs"),
        moves_to_cold=item.get("moves_to_cold"),
        moves_to_warm=item.get("moves_to_warm"),
        hits=slab.get("get_hits"),
        sets=slab.get("cmd_set"),
    )
