"""The one protocol every driver speaks. A pane, a feed or an action never knows which driver it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from cachetui.errors import CacheError
from cachetui.model import Check as Check  # noqa: PLC0414  # given on to drivers
from cachetui.model import (
    ClientList,
    Identity,
    KeyFactsList,
    ScanProgress,
    ScanStep,
    SettingsByNode,
    SlowLog,
    Stats,
    Topology,
    Value,
)
from cachetui.model.ages import ClassAges
from cachetui.model.burst import Access, Burst, Call, Limits, Measured, Room, Seen
from cachetui.model.hot import HotKeyReport
from cachetui.model.memory import MemoryReport

Kind = Literal["stats", "slowlog", "clients", "topology"]
KINDS: tuple[Kind, ...] = ("stats", "slowlog", "clients", "topology")
"""What can be polled."""

Polled = Stats | SlowLog | ClientList | Topology

Command = tuple[bytes, ...]
"""One command, its name first. For Memcached the words of a text protocol line."""

Capability = Literal[
    "scan",
    "value",
    "slowlog",
    "clients",
    "delete",
    "ttl",
    "edit",
    "policy",
    "maxmemory",
    "kill",
    "settings",
    "rewrite",
    "failover",
    "cluster",
]

VALUE_ROWS = 100
"""Elements read of a collection unless told otherwise."""

VALUE_BYTES = 64 * 1024
"""Bytes read of one string or element unless told otherwise."""


class KeySink(Protocol):
    """Where the names of an enumeration go. Called in the enumeration's own thread; must be quick."""

    def add(self, keys: Sequence[bytes]) -> None:
        """Take in names as they come: in no order, some of them again."""
        ...

    def clear(self) -> None:
        """Forget all: the enumeration begins again."""
        ...


@runtime_checkable
class FactSink(KeySink, Protocol):
    """A sink that wants facts beside the names: it is given them instead of bare names."""

    @property
    def wanted(self) -> Collection[str]:
        """Which: `type`, `ttl`, `size`."""
        ...

    def add_facts(
        self,
        keys: Sequence[bytes],
        types: Sequence[str | None],
        ttls_ms: Sequence[int | None],
        sizes_bytes: Sequence[int | None],
    ) -> None:
        """Take in names with what is known of each: all of one length, None unknown, a TTL of -1 none.

        Keys that went meanwhile are left out. Called in the enumeration's own thread.
        """
        ...


class Enumeration(Protocol):
    """One pass over all keys of a target, at the pace its servers bear. Runs once."""

    @property
    def progress(self) -> ScanProgress:
        """How far it is; may be read from any thread at any time."""
        ...

    async def run(self) -> None:
        """Enumerate to the end. Raises CacheError; when the task is cancelled the enumeration stops too."""
        ...

    def pause(self) -> None:
        """Send nothing more until `resume`; the place is kept."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...

    def cancel(self) -> None:
        """Stop within a step; `run` returns, and the state is `cancelled`."""
        ...


@runtime_checkable
class Source(Protocol):
    """One target: a server, a fleet of Memcached servers, or a recording.

    Every method raises only `CacheError` (or is cancelled). Each call has a deadline of its
    own (`Target.timeout_s`) and never repeats a command by itself. After an error of the
    connection the next call connects anew: there is no "reconnect" to call. A command that
    was denied or is unknown is remembered in `denied` and not sent again until the next
    connection; what depends on it comes back as None, or raises the remembered error where
    nothing is left to return.
    """

    @property
    def name(self) -> str:
        """The target for display: without secrets, printable."""
        ...

    @property
    def identity(self) -> Identity | None:
        """None before the first successful `open` or poll; follows changes of role."""
        ...

    @property
    def sent(self) -> Counter[str]:
        """Commands sent so far by lower-case name: what our looking costs the server."""
        ...

    @property
    def denied(self) -> Mapping[str, CacheError]:
        """Refused or unknown commands by upper-case name (`CONFIG GET`, `SLOWLOG`, `INFO`)."""
        ...

    async def open(self) -> Identity:
        """Connect, authenticate, find out what the server is. May be called again."""
        ...

    async def close(self) -> None:
        """Close every connection. Never raises; may be called twice."""
        ...

    def now(self) -> float:
        """Return the source's clock, in Unix seconds: `time.time()`, or for a recording where its replay stands.

        The age of a snapshot is `now() - taken_at`, for every source alike.
        """
        ...

    async def poll(self, kind: Kind) -> Polled:
        """Return a new snapshot of `kind`: Stats, SlowLog, ClientList or Topology."""
        ...

    async def scan(
        self, cursor: bytes | None = None, *, match: bytes | None = None, type_: str | None = None, count: int = 500
    ) -> ScanStep:
        """Return the next step of an enumeration; `cursor` None begins, `ScanStep.cursor` None ends.

        `count` is a hint, at most 1,000. Keys may repeat, as SCAN's do. A cursor that a
        restart made worthless raises `Unreachable` or `ServerError`: begin again.
        """
        ...

    def enumeration(
        self, sink: KeySink, *, match: bytes | None = None, type_: str | None = None, replicas: bool = False
    ) -> Enumeration:
        """Return a pass over all keys that gives their names to `sink`; nothing is sent before its `run`.

        `match` and `type_` are judged by the server. `replicas` asks replicas instead of
        primaries where there are any. Keys may repeat; none that stays is missed.
        """
        ...

    async def facts(self, keys: Sequence[bytes], *, size: bool = True) -> KeyFactsList:
        """Return type, TTL and (with `size`) memory and length of `keys` in one round trip or two."""
        ...

    async def value(
        self,
        key: bytes,
        *,
        rows: int = VALUE_ROWS,
        max_bytes: int = VALUE_BYTES,
        start: bytes | None = None,
        order: str = "",
    ) -> Value:
        """Return a window on the value without touching its LRU: at most `rows` elements, `max_bytes` of each.

        `start` is the `next` of the window before (None: the first). `order` is one of the
        type's other orders: `descending` (sorted set, list), `oldest` (stream), `geo` (sorted
        set as places), `bits` (string as bit positions); one that does not fit is ignored.
        """
        ...

    async def policies(self) -> tuple[str, ...]:
        """Return the eviction policies this server allows, as it names them."""
        ...

    async def config(self, pattern: str) -> dict[str, str]:
        """Return CONFIG GET (or `stats settings`) fields that match the glob, printable."""
        ...

    async def settings(self, pattern: str = "*") -> SettingsByNode:
        """Return the settings that match the glob on every node of the target.

        These are the nodes of a cluster or fleet, or a server with its primary and its replicas.
        A node that does not answer has a `problem` instead; raised is only what the target itself fails with.
        """
        ...

    async def flags(self, names: Sequence[str]) -> dict[str, frozenset[str] | None]:
        """Return each command's server-side flags (`write`, `admin`, `dangerous`, ...); None: unknown command.

        Memcached has no such table: the driver answers from its own.
        """
        ...

    async def execute(self, commands: Sequence[Command]) -> list[object]:
        """Send `commands` in one pipeline and return their replies, a `CacheError` in the place of a refused one.

        The only way to change anything; only `actions.apply` calls it. Several calls may be under
        way at once; a driver has a few connections for them, and further ones wait their turn
        before their deadline begins. Raises only when the connection failed: then it is unknown
        which were carried out, but `sent: False` in the error's detail says that none was even
        sent. Where several servers are spoken to, a failed one's error stands in the places of
        its commands, and only when none answered it is raised. `Busy` is raised when a script
        blocked the server and nothing at all was carried out.
        """
        ...

    async def execute_on(self, address: str, commands: Sequence[Command]) -> list[object]:
        """Like `execute`, on the one node that `settings` calls by this address; only `actions.apply` calls it.

        Raises Unreachable when there is no such node or it does not answer.
        """
        ...

    async def transact(
        self, watched: Sequence[bytes], checks: Sequence[Check], commands: Sequence[Command]
    ) -> list[object]:
        """Send `commands` all together, and only if every check still holds and nobody writes in between.

        Raises `Changed` when a check failed or a watched key was written meanwhile: then
        nothing was done. Else like `execute`; only `actions.apply` calls it.
        """
        ...

    async def latency_us(self) -> float | None:
        """Return one round trip now, in microseconds, that does not wait behind our own bulk work.

        Of several servers the worst. None where it cannot be measured: denied, or a recording.
        """
        ...

    def node(self, address: str) -> Source:
        """Return a source of its own for one server of this target, with the same credentials; nothing is sent.

        `address` is what the topology calls it. Raises BadTarget for what is no address, Unsupported
        where there are no servers to choose from.
        """
        ...

    def why_not(self, capability: Capability) -> str | None:
        """Return None when `capability` can be used here, else a sentence that says why not."""
        ...


@runtime_checkable
class Followed(Protocol):
    """A source whose server may be replaced by another one, and that is told of it by somebody else."""

    @property
    def apart(self) -> Collection[Kind]:
        """What can be polled even while the server itself does not answer."""
        ...

    def watch(self, moved: Callable[[str], None]) -> None:
        """Listen from now on; `moved` is called in the loop with what happened when another server took over.

        Without words it repeats what it said before. By then the next poll asks that one. Needs a running loop.
        """
        ...


@runtime_checkable
class Aged(Protocol):
    """A source that tells how old the items of its slab classes are."""

    async def ages(self) -> tuple[ClassAges, ...]:
        """Return the ages of every server's classes: all items are listed for it."""
        ...


@runtime_checkable
class HotKeyed(Protocol):
    """A source whose server may itself know which keys cost most."""

    async def hot_keys(self, seconds: float, most: int) -> HotKeyReport:
        """Let the server look for so long, at most `most` keys by each measure. Raises Unsupported where it cannot."""
        ...


@runtime_checkable
class Accounted(Protocol):
    """A source whose server gives an account of its memory."""

    async def memory(self) -> MemoryReport:
        """Return where the memory of this server goes; of a cluster, of the node it is connected to."""
        ...


class UseSink(Protocol):
    """Where sampled uses of keys go; called in a thread of its own."""

    @property
    def threshold(self) -> int:
        """Keys are in the sample whose `spatial_hash` is below this. It may fall, and never rises."""
        ...

    @property
    def full(self) -> bool:
        """Nothing more is wanted."""
        ...

    def take(self, seen: Seen) -> None:
        """Take in one access to a key of the sample."""
        ...


@runtime_checkable
class CallSink(Protocol):
    """Where every command goes, not only those on sampled keys; called in a thread of its own."""

    @property
    def full(self) -> bool:
        """Nothing more is wanted."""
        ...

    def take_calls(self, accesses: Mapping[Access, int], calls: Mapping[Call, int]) -> None:
        """Take in what came: how often each key was named, and how often each client sent each command."""
        ...


@runtime_checkable
class Streamed(Protocol):
    """A source of one server whose commands can be watched for a short time."""

    async def burst(self, sink: UseSink | CallSink, limits: Limits, begun: Callable[[], None] | None = None) -> Burst:
        """Watch all commands for a moment and give the sampled uses of keys to `sink`; it ends itself (`Limits`).

        A `CallSink` is given all of them, counted. `begun` is called in the burst's thread when nothing is
        missed any more.
        """
        ...

    async def measured(self, keys: Sequence[tuple[int, bytes]], *, lfu: bool, ttl: bool) -> list[Measured]:
        """Return size, idle time (or frequency) and with `ttl` the TTL of keys given by database and name.

        Nothing but the question for the TTL counts as a use. Fewer come back where it would take too long.
        """
        ...

    async def room(self) -> Room:
        """Return what takes the memory, and the rules of eviction. Raises Unsupported where that is not told."""
        ...
