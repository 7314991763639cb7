"""Settings for a new server: how its memory is shared out, what each setting is for, and why this value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cachetui.text import size

Kind = Literal["standalone", "redis-cluster", "sentinel"]
Persistence = Literal["none", "snapshot", "aof"]

MB = 1024**2
LEAST_BYTES = 64 * MB
"""With less memory there is nothing to share out."""
PROCESS_BYTES = 24 * MB
"""The server itself: code, tables, scripts, a slow log."""
FRAGMENTATION = 0.10
"""What the allocator holds beyond what is asked of it; 1.05 to 1.2 of the data is usual."""
COPIED = 0.25
"""Of the data so much is written, and so copied, while a forked child saves it: more where writes are many."""
CLIENTS = 0.05
"""For the buffers of the clients: Redis 7 and Valkey evict the greediest client at this share."""
BACKLOG_LEAST, BACKLOG_SHARE = 16 * MB, 0.01


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is wanted of the new server."""

    kind: Kind
    memory_bytes: int
    """All that the machine, or the container, has for this one server."""
    replicas: int = 0
    shards: int = 3
    sentinels: int = 3
    quorum: int | None = None
    policy: str = "allkeys-lru"
    persistence: Persistence | None = None
    """None: as the kind suggests."""
    port: int = 6379
    name: str = "mymaster"
    primary: tuple[str, int] = ("127.0.0.1", 6379)


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the file."""

    name: str
    value: str
    why: str
    """One sentence."""
    optional: bool = False
    """Written as a comment: to be decided by somebody who knows the place."""


@dataclass(frozen=True, slots=True)
class Part:
    """Lines that belong together."""

    title: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Shares:
    """Where the memory goes, in bytes."""

    data: int
    """maxmemory."""
    fragmentation: int
    copied: int
    clients: int
    backlog: int
    process: int = PROCESS_BYTES

    @property
    def total(self) -> int:
        return self.data + self.fragmentation + self.copied + self.clients + self.backlog + self.process


def persistence_of(wishes: Wishes) -> Persistence:
    """Return what is written to the disk: where there are replicas, something, or a restart would empty them too."""
    if wishes.persistence is not None:
        return wishes.persistence
    return "aof" if wishes.replicas or wishes.kind != "standalone" else "none"


def shares(wishes: Wishes) -> Shares:
    """Share out the memory of one server. Raises ValueError with a sentence when there is too little."""
    memory = wishes.memory_bytes
    if memory < LEAST_BYTES:
        raise ValueError(f"{size(memory)} are too little to share out: {size(LEAST_BYTES)} is the least")
    backlog = max(BACKLOG_LEAST, int(memory * BACKLOG_SHARE)) if wishes.replicas or wishes.kind != "standalone" else 0
    forks = persistence_of(wishes) != "none" or backlog > 0
    clients = int(memory * CLIENTS)
    rest = memory - PROCESS_BYTES - clients - backlog
    data = int(rest / (1 + FRAGMENTATION + (COPIED if forks else 0.0))) // MB * MB
    return Shares(data, int(data * FRAGMENTATION), int(data * COPIED) if forks else 0, clients, backlog)


def quorum_of(wishes: Wishes) -> int:
    """Return how many sentinels must agree that the primary is down. Raises ValueError with a sentence."""
    quorum = wishes.sentinels // 2 + 1 if wishes.quorum is None else wishes.quorum
    if not 1 <= quorum <= wishes.sentinels:
        raise ValueError(f"a quorum of {quorum} cannot be reached by {wishes.sentinels} sentinels")
    return quorum


def parts(wishes: Wishes) -> list[Part]:
    """Return the settings for this kind of server. Raises ValueError with a sentence."""
    if wishes.kind == "sentinel":
        return [Part("Sentinel", tuple(_sentinel(wishes)))]
    shared = shares(wishes)
    found = [
        Part("Network", tuple(_network(wishes))),
        Part("Memory", tuple(_memory(wishes, shared))),
        Part("Disk", tuple(_disk(wishes))),
        Part("Watching", tuple(_watching())),
    ]
    if wishes.replicas or wishes.kind == "redis-cluster":
        found.insert(3, Part("Replication", tuple(_replication(wishes, shared))))
    if wishes.kind == "redis-cluster":
        found.insert(4, Part("Cluster", tuple(_cluster(wishes))))
    return found


def _network(wishes: Wishes) -> Iterator[Setting]:
    yield Setting("port", str(wishes.port), "where clients connect; the cluster's nodes speak 10,000 above it")
    yield Setting("bind", "127.0.0.1", "add the address other machines reach this one by; never all of them by default")
    yield Setting("protected-mode", "yes", "without a password nobody from outside is served")
    yield Setting("requirepass", "choose-one", "clients log in with it; `user` lines (ACL) are better still", True)
    if wishes.replicas or wishes.kind == "redis-cluster":
        yield Setting("masterauth", "choose-one", "with it a replica logs in to its primary: the same on all", True)
    yield Setting("maxclients", "10000", "each idle client takes about 20 KB; more than this are turned away")
    yield Setting("timeout", "0", "idle clients stay: pools expect it; tcp-keepalive finds the dead ones")
    yield Setting("tcp-keepalive", "60", "a client that vanished is noticed after some two minutes")


def _memory(wishes: Wishes, shared: Shares) -> Iterator[Setting]:
    forks = f" + {size(shared.copied)} copied while a child saves" if shared.copied else ""
    backlog = f" + {size(shared.backlog)} replication backlog" if shared.backlog else ""
    yield Setting(
        "maxmemory",
        f"{shared.data // MB}mb",
        f"of {size(wishes.memory_bytes)}: the data, + {size(shared.fragmentation)} fragmentation{forks} + "
        f"{size(shared.clients)} clients{backlog} + {size(shared.process)} the server itself",
    )
    yield Setting("maxmemory-policy", wishes.policy, _POLICIES.get(wishes.policy, "what goes when the memory is full"))
    yield Setting("maxmemory-samples", "5", "keys looked at for each eviction: 10 is closer to true LRU and costs CPU")
    yield Setting("maxmemory-clients", "5%", "Redis 7, Valkey: the client with the biggest buffers goes first", True)
    for name in ("lazyfree-lazy-eviction", "lazyfree-lazy-expire", "lazyfree-lazy-server-del"):
        yield Setting(name, "yes", "big values are freed by another thread: nobody waits for it")
    yield Setting("lazyfree-lazy-user-del", "yes", "DEL frees like UNLINK")
    yield Setting("activedefrag", "yes", "gives fragmented memory back; needs a server built with jemalloc", True)


_POLICIES = {
    "noeviction": "writes are refused when the memory is full: for data that must not go, not for a cache",
    "allkeys-lru": "what nobody used for longest goes first: right for most caches",
    "allkeys-lfu": "what is used least often goes first: a scan over many keys does not push out the popular ones",
    "allkeys-random": "any key may go: right where all are used alike",
    "volatile-lru": "of the keys with a TTL, what nobody used for longest; keys without one stay and can fill it up",
    "volatile-lfu": "of the keys with a TTL, what is used least often; keys without one stay and can fill it up",
    "volatile-random": "any key with a TTL may go; keys without one stay and can fill it up",
    "volatile-ttl": "what expires soonest goes first; keys without a TTL stay and can fill it up",
}
POLICIES = tuple(_POLICIES)


def _disk(wishes: Wishes) -> Iterator[Setting]:
    kind = persistence_of(wishes)
    emptied = (
        "" if not wishes.replicas else "; a primary that restarts empty empties its replicas: let nobody restart it"
    )
    if kind == "none":
        yield Setting("save", '""', f"no snapshots: the cache starts empty{emptied}")
        yield Setting("appendonly", "no", "no log either: what is lost is read again from behind the cache")
        return
    if kind == "snapshot":
        yield Setting("save", "900 1 300 100 60 10000", "a snapshot after so many seconds with so many changes")
        yield Setting("appendonly", "no", "a crash loses what came since the last snapshot")
    else:
        yield Setting("save", '""', "no snapshots beside the log: they would fork twice")
        yield Setting("appendonly", "yes", "a restart keeps the data, and a primary never comes back empty")
        yield Setting("appendfsync", "everysec", "a crash loses a second at most; `always` is many times slower")
        yield Setting(
            "no-appendfsync-on-rewrite", "yes", "while the log is rewritten the disk does not hold up clients"
        )
        yield Setting("auto-aof-rewrite-percentage", "100", "the log is rewritten when it has doubled")
        yield Setting("auto-aof-rewrite-min-size", "256mb", "and not before it has this size: each rewrite forks")
    yield Setting("stop-writes-on-bgsave-error", "no", "a full disk must not stop a cache; watch for it instead")


def _replication(wishes: Wishes, shared: Shares) -> Iterator[Setting]:
    hard = max(256 * MB, shared.data // 4)
    yield Setting(
        "repl-backlog-size",
        f"{shared.backlog // MB}mb",
        "a replica that was away for less than this much of writes goes on where it was: no full copy",
    )
    yield Setting("repl-diskless-sync", "yes", "a full copy goes to the replica without a detour over the disk")
    yield Setting("replica-read-only", "yes", "what is written to a replica is lost")
    yield Setting("replica-lazy-flush", "yes", "before a full copy the old data is freed by another thread")
    yield Setting(
        "client-output-buffer-limit",
        f"replica {hard // MB}mb {hard // 4 // MB}mb 60",
        "a replica that falls behind further than this is cut off, and copies all again",
    )
    least = 1 if wishes.replicas > 1 else 0
    why = (
        "a primary that lost all its replicas takes no writes: they would be gone after a failover"
        if least
        else "with one replica a 1 would refuse writes whenever it is away; a cache rather goes on"
    )
    yield Setting("min-replicas-to-write", str(least), why)
    yield Setting("min-replicas-max-lag", "10", "seconds without a word after which a replica does not count there")


def _cluster(wishes: Wishes) -> Iterator[Setting]:
    yield Setting("cluster-enabled", "yes", "a node of a cluster; only database 0")
    yield Setting("cluster-config-file", f"nodes-{wishes.port}.conf", "the node's own notes: never edit, never share")
    yield Setting(
        "cluster-node-timeout",
        "5000",
        "milliseconds without an answer until a node counts as failing; a failover takes this and a second or two",
    )
    yield Setting("cluster-require-full-coverage", "no", "when some slots have no node the others are still served")
    yield Setting("cluster-replica-validity-factor", "10", "a replica away for more than this many timeouts stays one")
    yield Setting("cluster-migration-barrier", "1", "a primary lends a replica only when it keeps this many")
    yield Setting("cluster-allow-replica-migration", "yes", "a primary without a replica gets one from another", True)
    yield Setting("cluster-announce-ip", "192.0.2.1", "behind NAT or in a container: the address others see", True)


def _watching() -> Iterator[Setting]:
    yield Setting("slowlog-log-slower-than", "10000", "microseconds: what holds up everybody for 10 ms is worth a line")
    yield Setting("slowlog-max-len", "1024", "some hundred KB, and an incident's worth of lines")
    yield Setting("latency-monitor-threshold", "100", "milliseconds: forks, expiry and eviction that take longer")


def _sentinel(wishes: Wishes) -> Iterator[Setting]:
    quorum, name = quorum_of(wishes), wishes.name
    host, port = wishes.primary
    yield Setting("port", str(wishes.port), "where this Sentinel listens")
    yield Setting("bind", "127.0.0.1", "add the address the other Sentinels and the clients reach it by")
    yield Setting("protected-mode", "no", "Sentinels must reach each other; keep strangers out by bind and a firewall")
    yield Setting(
        f"sentinel monitor {name}",
        f"{host} {port} {quorum}",
        f"{quorum} of {wishes.sentinels} must agree that the primary is down; a failover needs the majority, "
        f"{wishes.sentinels // 2 + 1}, in any case",
    )
    yield Setting(
        f"sentinel down-after-milliseconds {name}",
        "5000",
        "so long without an answer, and this Sentinel calls the primary down",
    )
    yield Setting(f"sentinel failover-timeout {name}", "60000", "a failed attempt is repeated after twice this")
    yield Setting(
        f"sentinel parallel-syncs {name}", "1", "replicas that copy from the new primary at a time: the others serve"
    )
    yield Setting(f"sentinel auth-pass {name}", "choose-one", "the data servers' password", True)
    yield Setting("requirepass", "choose-one", "this Sentinel's own password: the same on all of them", True)
    yield Setting("sentinel announce-ip", "192.0.2.1", "behind NAT or in a container: the address others see", True)
