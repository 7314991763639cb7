"""Impossible figures become unknown before any rule sees them: a hostile server crashes nothing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from operator import attrgetter
from typing import TypeVar

from cachetui.model import ClientList, CommandStat, DbKeys, ErrorStat, Evidence, SlabClass, SlowLog, Stats

LARGEST = 2**63
"""No counter, size or time of a real server is larger."""

_SIGNED = frozenset({"fragmentation_bytes"})
"""May truly be below zero (resident memory under used memory)."""

Row = TypeVar("Row")


def sane(evidence: Evidence) -> Evidence:
    """Return `evidence` with every impossible number (negative, not finite, absurdly large) unknown."""
    at = evidence.taken_at if possible(evidence.taken_at) else 0.0
    stats = None if evidence.stats is None else _stats(evidence.stats, at)
    window = tuple(_stats(s, at) for s in evidence.window if possible(s.taken_at))
    slowlog = None if evidence.slowlog is None else _slowlog(evidence.slowlog, at)
    clients = None if evidence.clients is None else _clients(evidence.clients)
    topology = evidence.topology
    if topology is not None:
        topology = dataclasses.replace(topology, nodes=tuple(map(_cleaned, topology.nodes)))
    trouble = evidence.trouble
    if trouble is not None and not possible(trouble.since):
        trouble = dataclasses.replace(trouble, since=at)
    return dataclasses.replace(
        evidence,
        taken_at=at,
        stats=stats,
        window=window,
        slowlog=slowlog,
        clients=clients,
        topology=topology,
        trouble=trouble,
    )


def possible(value: object) -> bool:
    """Tell whether `value` is a number that a real server could mean.

    >>> possible(0), possible(-1), possible(float("nan")), possible(10**30), possible("1"), possible(None)
    (True, False, False, False, False, False)
    """
    return isinstance(value, (int, float)) and 0 <= value <= LARGEST


def _numeric(cls: type) -> tuple[str, ...]:
    kinds = ("int", "float")
    return tuple(
        field.name for field in dataclasses.fields(cls) if str(field.type).replace(" ", "").split("|")[0] in kinds
    )


_STATS = tuple(name for name in _numeric(Stats) if name not in (*_SIGNED, "taken_at"))
_stats_figures = attrgetter(*_STATS)


def _stats(stats: Stats, at: float) -> Stats:
    """Return `stats` itself where all is possible, which is nearly always: this runs at every poll."""
    changes: dict[str, object] = {}
    figures = _stats_figures(stats)
    if not all(value is None or 0 <= value <= LARGEST for value in figures):
        changes = {
            name: None for name, value in zip(_STATS, figures, strict=True) if value is not None and not possible(value)
        }
    for name in _SIGNED:
        value = getattr(stats, name)
        if value is not None and not (math.isfinite(value) if isinstance(value, float) else abs(value) <= LARGEST):
            changes[name] = None
    for name in ("databases", "commands", "errors", "slabs"):
        rows: tuple[object, ...] = getattr(stats, name)
        kept = _rows(rows)
        if kept is not rows:
            changes[name] = kept
    if not possible(stats.taken_at):
        changes["taken_at"] = at
    return dataclasses.replace(stats, **changes) if changes else stats  # type: ignore[arg-type]


_COLUMNS: dict[type, tuple[Callable[[object], float | None], ...]] = {
    CommandStat: tuple(map(attrgetter, ("calls", "usec"))),
    **{cls: tuple(map(attrgetter, _numeric(cls))) for cls in (DbKeys, ErrorStat, SlabClass)},
}
"""Readers of the figures of a row that rules use."""


def _rows(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return the rows whose figures are all possible or unknown; `rows` itself where all are."""
    columns = _COLUMNS[type(rows[0])] if rows else ()
    for column in columns:
        figures = [value for value in map(column, rows) if value is not None]
        if figures and not (min(figures) >= 0 and max(figures) <= LARGEST):
            return tuple(
                row for row in rows if all(value is None or possible(value) for value in (c(row) for c in columns))
            )
    return rows


def _slowlog(slowlog: SlowLog, at: float) -> SlowLog:
    entries = tuple(
        entry
        for entry in slowlog.entries
        if possible(entry.at) and (entry.duration_us is None or possible(entry.duration_us))
    )
    taken_at = slowlog.taken_at if possible(slowlog.taken_at) else at
    return dataclasses.replace(slowlog, entries=entries, taken_at=taken_at)


_CLIENT = ("age_s", "idle_s", "memory_bytes", "output_bytes", "query_bytes")
_client_figures = attrgetter(*_CLIENT)


def _clients(clients: ClientList) -> ClientList:
    return dataclasses.replace(
        clients,
        clients=tuple(
            client
            for client in clients.clients
            if all(value is None or 0 <= value <= LARGEST for value in _client_figures(client))
        ),
    )


def _cleaned(row: Row) -> Row:
    """Return a dataclass, and those in its fields, with each impossible figure that may be unknown unknown."""
    changes: dict[str, object] = {}
    for field in dataclasses.fields(row):  # type: ignore[arg-type]
        value = getattr(row, field.name)
        if dataclasses.is_dataclass(value):
            cleaned = _cleaned(value)
            if cleaned is not value:
                changes[field.name] = cleaned
        elif field.default is None and isinstance(value, int | float) and not possible(value):
            changes[field.name] = None
    return dataclasses.replace(row, **changes) if changes else row  # type: ignore[type-var]
