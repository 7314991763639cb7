"""What a plan is, and how it is stamped."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cachetui.actions.plan import commands
from cachetui.actions.plan.commands import Command
from cachetui.actions.plan.effects import Risk
from cachetui.actions.plan.tasks import Task, lines_of, units
from cachetui.errors import Refused, Unsupported
from cachetui.model import Check, Identity, Keep, Operation, Selection

VALID_S = 300.0
"""A plan older than this describes a server that may have changed: it is not applied any more."""
BATCH = 500
"""Commands in one pipeline of a bulk write: others' p99 stays under 1 ms (2,000 cost 3 ms)."""

Needs = Literal[
    "delete", "ttl", "edit", "policy", "maxmemory", "kill", "slowlog", "settings", "rewrite", "cluster", "failover"
]
"""The capability of a source that the plan asks for."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A write on many keys, each on its own, in batches."""

    selection: Selection
    operation: Operation
    verb: bytes = b"UNLINK"
    """How a key is deleted: UNLINK, DEL where that is not there, `delete` for Memcached."""
    keep: Keep | None = None
    """What is kept for the way back; None: no undo."""
    rate: float | None = None
    """At most so many keys a second."""
    p99_ms: float | None = None
    """Slow down when another client's round trip rises above this; None: half as long again as before, and 5 ms."""
    expected: int | None = None
    """How many keys there are, as far as is known."""


@dataclass(frozen=True, slots=True)
class Failover:
    """One primary is replaced by a replica of its: what is sent, and what is waited for."""

    kind: Literal["sentinel", "replication"]
    ask: str
    """The address that gets `command`: a Sentinel's, or the primary's."""
    command: Command
    old: str
    """The primary before."""
    new: str = ""
    """The primary after; empty: a Sentinel chooses it."""
    group: str = ""
    sentinels: tuple[str, ...] = ()
    """Those that are to name the new one."""
    followers: tuple[str, ...] = ()
    """Other replicas that then get `follow`."""
    follow: Command = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """One write that has been thought through and not been done."""

    id: str
    """The receipt: sorts by time, unique."""
    title: str
    target: str
    """`Source.name` of the only target it may be applied to."""
    kind: str
    """`Identity.kind` of that server."""
    created_at: float
    expires_at: float
    risk: Risk
    needs: Needs
    steps: Sequence[Command]
    """All commands in order; bulk ones are made while iterating."""
    what: tuple[str, ...]
    """The preview's lines: what, how much, and what happens at once; printable."""
    undo: str
    """How to undo it, or `no undo: ...`."""
    typed: str | None = None
    """What a person must type to confirm; None: a plain yes will do."""
    batch: int = 1
    """Commands in one pipeline; with 1, a refused command stops those after it."""
    expects: tuple[str, str] | None = None
    """A setting and the value it must read back afterwards."""
    deletes: bool = False
    """The keys must be gone afterwards."""
    watched: tuple[bytes, ...] = ()
    """With these or `checks` all commands are sent together or not at all; nobody may write these keys meanwhile."""
    checks: tuple[Check, ...] = ()
    """What must still be so when the commands are sent."""
    shows: tuple[Check, ...] = ()
    """What must be so afterwards, if nobody else writes: looked up once."""
    fresh: tuple[tuple[bytes, int], ...] = ()
    """Keys that must not exist yet, each with the number of its commands: in order, all steps."""
    sweep: Sweep | None = None
    """What to do with many keys. `steps` are the commands where the keys are listed, else examples of them."""
    back: tuple[tuple[str, str, str], ...] = ()
    """Settings that this changes and that can be set back: name, value before, value after. Never a secret."""
    nodes: tuple[str, ...] = ()
    """Addresses of the nodes (as `Source.settings` calls them) that get all `steps` each; none: the target itself."""
    reworded: bool = False
    """The server may show `expects` in words of its own: only the value before counts as not set."""
    undoes: str = ""
    """The receipt that this undoes."""
    expected: int | None = None
    """Of an undo of keys: how many were kept; `steps` are examples then."""
    tasks: tuple[Task, ...] = ()
    """What is done to a cluster, in this order, each on a node of its own; `steps` are all commands it takes."""
    failover: Failover | None = None
    """Who is to take over from whom; `steps` are all commands it takes."""

    @property
    def count(self) -> int:
        """Return how many keys, slots or commands it is about, as far as is known."""
        if self.tasks:
            return sum(map(units, self.tasks))
        if self.failover is not None:
            return 1 + len(self.failover.followers)
        if self.expected is not None:
            return self.expected
        if self.sweep is not None and self.sweep.selection.keys is None:
            return self.sweep.expected or 0
        return len(self.steps) * max(1, len(self.nodes))

    @property
    def restores(self) -> bool:
        """Tell whether keys come back from what was kept."""
        return bool(self.undoes) and self.expected is not None

    @property
    def copies(self) -> bool:
        """Tell whether values are copied before they are deleted."""
        return self.sweep is not None and self.sweep.keep is not None and self.sweep.operation.kind == "delete"

    def commands(self) -> Iterator[Command]:
        """Iterate over all commands, exactly as they will be sent."""
        return iter(self.steps)

    def preview_commands(self, limit: int = 20) -> list[str]:
        """Return the exact text of the first `limit` commands and a line that counts the rest."""
        if self.tasks:
            lines = [line for task in self.tasks for line in lines_of(task)]
            return [*lines[:limit], f"... and {len(lines) - limit:,} more"] if len(lines) > limit else lines
        if (change := self.failover) is not None:
            lines = [f"{change.ask}> {commands.render(change.command)}"]
            return [*lines, *(f"{address}> {commands.render(change.follow)}" for address in change.followers)]
        if self.nodes:
            each = [(address, step) for address in self.nodes for step in self.steps]
            lines = [f"{address}> {commands.render(step)}" for address, step in each[:limit]]
            return [*lines, f"... and {len(each) - limit:,} more"] if len(each) > limit else lines
        return commands.preview(self.steps, limit)

    def digest(self) -> str:
        """Return the SHA-256 of all commands (about a second for a million)."""
        return commands.digest(self.steps)


def stamped(
    identity: Identity,
    target: str,
    title: str,
    steps: Sequence[Command],
    what: Iterable[str],
    *,
    needs: Needs,
    risk: Risk,
    undo: str,
    typed: str | None = None,
    batch: int = 1,
    expects: tuple[str, str] | None = None,
    deletes: bool = False,
    watched: tuple[bytes, ...] = (),
    checks: tuple[Check, ...] = (),
    shows: tuple[Check, ...] = (),
    fresh: tuple[tuple[bytes, int], ...] = (),
    sweep: Sweep | None = None,
    undoes: str = "",
    expected: int | None = None,
    back: tuple[tuple[str, str, str], ...] = (),
    nodes: tuple[str, ...] = (),
    reworded: bool = False,
    tasks: tuple[Task, ...] = (),
    failover: Failover | None = None,
    now: float | None = None,
) -> Plan:
    """Stamp a plan: its receipt sorts by time, its life is short."""
    if identity.mode == "sentinel":
        raise Unsupported("a Sentinel holds no data", "connect to the primary it watches")
    now = time.time() if now is None else now
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return Plan(
        id=f"{stamp}-{int(now * 1000) % 1000:03d}-{secrets.token_hex(4)}",
        title=title,
        target=target,
        kind=identity.kind,
        created_at=now,
        expires_at=now + VALID_S,
        risk=risk,
        needs=needs,
        steps=steps,
        what=tuple(what),
        undo=undo,
        typed=typed,
        batch=batch,
        expects=expects,
        deletes=deletes,
        watched=watched,
        checks=checks,
        shows=shows,
        fresh=fresh,
        sweep=sweep,
        undoes=undoes,
        expected=expected,
        back=back,
        nodes=nodes,
        reworded=reworded,
        tasks=tasks,
        failover=failover,
    )


def refuse_replica(identity: Identity) -> None:
    """Raise Refused when the server is a replica: a write there is refused or lost at the next sync."""
    if identity.role == "replica":
        raise Refused("this server is a replica and takes no writes", "connect to its primary (see the topology)")


def typed_name(target: str) -> str:
    """Return the target without its scheme: whoever types it has read which server it is."""
    return target.rpartition("://")[2]
