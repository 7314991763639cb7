"""What the nodes of a cluster say of themselves and of each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OpenSlot:
    """A slot that is on its way from one node to another, as one of the two says."""

    slot: int
    way: str
    """`migrating`: it goes to the other; `importing`: it comes from there."""
    other: str
    """The other node's address, or its id where nobody knows it."""
    known: bool = True
    """The other node is one of the cluster."""


@dataclass(frozen=True, slots=True)
class HotSlot:
    """One slot that its server counts the use of."""

    slot: int
    node: str
    keys: int | None = None
    cpu_us: int | None = None
    """Server time since it began to count; None where it does not count that."""
    net_in_bytes: int | None = None
    net_out_bytes: int | None = None
    cpu_per_s: float | None = None
    """Microseconds of server time a second, since the look before."""


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """The figures of one node of a cluster, as it told them last."""

    address: str
    role: str
    node_id: str = ""
    taken_at: float | None = None
    """When it told them; None: never yet."""
    trouble: str = ""
    """Why it told nothing newer; empty: it answers."""
    run_id: str | None = None
    uptime_s: int | None = None
    version: str | None = None
    latency_us: float | None = None
    keys: int | None = None
    used_bytes: int | None = None
    limit_bytes: int | None = None
    """0: no limit."""
    rss_bytes: int | None = None
    clients: int | None = None
    max_clients: int | None = None
    ops_per_s: float | None = None
    """As the server measures it."""
    net_in_per_s: float | None = None
    """Bytes a second, as the server measures it."""
    net_out_per_s: float | None = None
    hits_total: int | None = None
    misses_total: int | None = None
    evicted_total: int | None = None
    commands_total: int | None = None
    hits_per_s: float | None = None
    """Since the look before."""
    misses_per_s: float | None = None
    evicted_per_s: float | None = None
    cpu_percent: float | None = None
    """Of one core, since the look before."""

    @property
    def hit_percent(self) -> float | None:
        """Hits in percent of the lookups since the look before, or since start where nothing was looked up."""
        for hits, misses in ((self.hits_per_s, self.misses_per_s), (self.hits_total, self.misses_total)):
            if hits is not None and misses is not None and hits + misses > 0:
                return 100.0 * hits / (hits + misses)
        return None

    @property
    def full_percent(self) -> float | None:
        """Memory in percent of the limit; None without a limit."""
        if self.used_bytes is None or not self.limit_bytes:
            return None
        return 100.0 * self.used_bytes / self.limit_bytes


@dataclass(frozen=True, slots=True)
class Membership:
    """One node's place in a cluster: by itself where it answers, else by the others."""

    flags: tuple[str, ...] = ()
    """As it calls them, without `myself`: `master`, `fail?`, `nofailover`, ..."""
    epoch: int | None = None
    """Of its slots; who has the higher one is believed."""
    hostname: str = ""
    """As announced."""
    open_slots: tuple[OpenSlot, ...] = ()
    state: str = ""
    """`ok` or `fail`: whether it serves keys, by its own judgement. Empty: unknown."""
    differs: tuple[str, ...] = ()
    """How its view differs from that of most, in words."""
    doubted_by: tuple[str, ...] = ()
    """Addresses of nodes that hold it for failed, or think that it may be."""
    not_connected_to: tuple[str, ...] = ()
    """Nodes to which its link is down."""
    link_up: bool | None = None
    """A replica's link to its primary."""
    link_down_s: int | None = None
    sync_running: bool | None = None
    settings: tuple[tuple[str, str], ...] = ()
    """Some that ought to be the same on every node."""
    told: bool = False
    """It was asked itself and has answered by now; else this is what others say."""
