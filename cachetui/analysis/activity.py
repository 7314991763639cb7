"""Who does what now: commands by rate and time, and clients by what they have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from cachetui.model import ClientInfo, CommandStat, Evidence, Stats
from cachetui.model.rates import same_run

SPAN_S = 10.0
"""Rates are those of about so long."""

Number = TypeVar("Number", int, float)
By = Literal["name", "library", "host", "user", "command"]


@dataclass(frozen=True, slots=True)
class CommandRate:
    """One command within the span."""

    name: str
    """Lower case, with `|` before a subcommand."""
    calls_per_s: float
    busy_percent: float
    """Of one core's time."""
    usec_per_call: float | None
    failed_per_s: float | None
    rejected_per_s: float | None


@dataclass(frozen=True, slots=True)
class Activity:
    """All commands that were called, the most server time first."""

    span_s: float
    commands: tuple[CommandRate, ...]
    errors: tuple[tuple[str, float], ...]
    """Error words with their rate a second, the most first."""


def activity(evidence: Evidence) -> Activity | None:
    """Return what was done in the last seconds; None while only one snapshot is known, or none with commands."""
    now = evidence.stats
    if now is None or not now.commands:
        return None
    earlier = _earlier(evidence, now)
    if earlier is None:
        return None
    span_s = now.taken_at - earlier.taken_at
    before = {command.name: command for command in earlier.commands}
    rates = [rate for command in now.commands if (rate := _rate(command, before.get(command.name), span_s))]
    seen = {error.word: error.count for error in earlier.errors}
    errors = [(error.word, (error.count - seen.get(error.word, 0)) / span_s) for error in now.errors]
    risen = sorted(((word, rate) for word, rate in errors if rate > 0), key=lambda pair: -pair[1])
    return Activity(span_s, tuple(sorted(rates, key=lambda r: (-r.busy_percent, -r.calls_per_s, r.name))), tuple(risen))


def _earlier(evidence: Evidence, now: Stats) -> Stats | None:
    """Return the snapshot about `SPAN_S` ago, or the oldest since then."""
    usable = [one for one in evidence.window if one.commands and same_run(one, now)]
    old = [one for one in usable if now.taken_at - one.taken_at >= SPAN_S]
    return old[-1] if old else usable[0] if usable else None


def _rate(now: CommandStat, before: CommandStat | None, span_s: float) -> CommandRate | None:
    calls = now.calls - (before.calls if before else 0)
    usec = now.usec - (before.usec if before else 0)
    if calls < 0 or usec < 0:  # the statistics were reset
        return None
    failed = _grown(now.failed_calls, before.failed_calls if before else None)
    rejected = _grown(now.rejected_calls, before.rejected_calls if before else None)
    if not (calls or failed or rejected):
        return None
    return CommandRate(
        now.name,
        calls / span_s,
        usec / span_s / 1e4,
        usec / calls if calls else None,
        None if failed is None else failed / span_s,
        None if rejected is None else rejected / span_s,
    )


def _grown(now: int | None, before: int | None) -> int | None:
    return None if now is None else max(0, now - (before or 0))


@dataclass(frozen=True, slots=True)
class ClientGroup:
    """Clients that have something in common; sums, None where no client's figure is known."""

    name: str
    """Printable; `(none)` where it is empty."""
    clients: int
    memory_bytes: int | None
    output_bytes: int | None
    commands_per_s: float | None
    in_bytes_per_s: float | None
    out_bytes_per_s: float | None
    idle_s: int | None
    """The shortest."""
    ours: bool
    """All of them are our own."""


def client_groups(clients: Iterable[ClientInfo], by: By) -> tuple[ClientGroup, ...]:
    """Return the clients by name, library, host, user or last command: the busiest first, then the largest."""
    members: dict[str, list[ClientInfo]] = {}
    for client in clients:
        members.setdefault(_common(client, by) or "(none)", []).append(client)
    groups = [_group(name, some) for name, some in members.items()]
    return tuple(sorted(groups, key=lambda g: (-(g.commands_per_s or 0), -g.clients, -(g.memory_bytes or 0), g.name)))


def _common(client: ClientInfo, by: By) -> str:
    if by == "host":
        return client.address.rpartition(":")[0] or client.address
    return {"name": client.name, "library": client.library, "user": client.user, "command": client.command}[by]


def _group(name: str, clients: list[ClientInfo]) -> ClientGroup:
    idle = [client.idle_s for client in clients if client.idle_s is not None]
    return ClientGroup(
        name,
        len(clients),
        _sum(client.memory_bytes for client in clients),
        _sum(client.output_bytes for client in clients),
        _sum(client.commands_per_s for client in clients),
        _sum(client.in_bytes_per_s for client in clients),
        _sum(client.out_bytes_per_s for client in clients),
        min(idle, default=None),
        all(client.ours for client in clients),
    )


def _sum(values: Iterable[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
