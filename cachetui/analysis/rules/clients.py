"""Rules about connections: refused, running out, blocked, piling up, buffering, coming and going."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.growth import growth, over_same_span, window_growth
from cachetui.analysis.rules.rule import Problem, is_memcached
from cachetui.model import ClientInfo, Evidence, Stats

MANY_PERCENT, NEARLY_ALL_PERCENT = 80.0, 95.0
"""Percent of maxclients: time to look; and the next deploy is refused."""

BLOCKED_LEAST = 5
"""Blocked clients below which they are a queue's ordinary consumers."""

BLOCKED_MANY, BLOCKED_SHARE = 100, 0.5
"""Blocked clients, and their share of all, that only a stalled producer explains."""

BUFFER_BYTES = 10 * 1024**2
"""Output waiting for one client: it reads slower than it asks."""

BUFFERS_BYTES, BUFFERS_SHARE = 256 * 1024**2, 0.1
"""Output waiting for all clients, in bytes or as a share of maxmemory: it pushes data out."""

IDLE_S = 3600.0
"""Seconds without a command: the pool that owns the connection has forgotten it."""

IDLE_LEAST, IDLE_SHARE = 100, 0.5
"""Idle clients, and their share of all, that make a leak."""

CHURN_PER_S, CHURN_SHARE = 100.0, 0.1
"""New connections a second, and per command: there is no pool."""


def rejected(evidence: Evidence) -> Problem | None:
    refused = growth(evidence, "rejected_connections_total")
    stats = evidence.stats
    if stats is None or refused is None or refused.amount <= 0:
        return None
    return Problem(
        "low" if refused.since_start else "high",
        f"Connections refused: {text.count(refused.amount)} {refused.words}{_of_limit(stats)}",
        "Close idle clients or leaking pools first; then raise the limit (mind the process's file limit).",
        {"rejected_connections": int(refused.amount), **_client_facts(stats), **refused.facts()},
        _more_clients(stats),
    )


def near_limit(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or stats.clients is None or not stats.max_clients:
        return None
    percent = 100 * stats.clients / stats.max_clients
    if percent < MANY_PERCENT:
        return None
    return Problem(
        "high" if percent >= NEARLY_ALL_PERCENT else "medium",
        f"Nearly out of connections: {stats.clients} of {stats.max_clients} ({text.percent(percent)})",
        "Find who holds them (press 5): close idle clients or leaking pools, then raise the limit.",
        {**_client_facts(stats), "clients_percent": round(percent, 2)},
        _more_clients(stats),
    )


def blocked(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or stats.blocked_clients is None or stats.blocked_clients < BLOCKED_LEAST:
        return None
    share = stats.blocked_clients / stats.clients if stats.clients else None
    many = stats.blocked_clients >= BLOCKED_MANY and share is not None and share >= BLOCKED_SHARE
    of_all = f" of {stats.clients}" if stats.clients else ""
    return Problem(
        "medium" if many else "low",
        f"{stats.blocked_clients}{of_all} clients are blocked in BLPOP, XREAD, WAIT or the like",
        "Usual for a queue's consumers; if work waits elsewhere, look whether its producer has stopped.",
        {**_client_facts(stats), "blocked_clients": stats.blocked_clients},
    )


def output_buffers(evidence: Evidence) -> Problem | None:
    clients = evidence.clients
    if clients is None:
        return None
    waiting = [(client.output_bytes or 0, client) for client in clients.clients if not client.ours]
    total = sum(size for size, _ in waiting)
    if not waiting:
        return None
    worst_bytes, worst = max(waiting, key=lambda pair: pair[0])
    limit = evidence.stats.maxmemory_bytes if evidence.stats else None
    too_much = total >= BUFFERS_BYTES or bool(limit and total >= BUFFERS_SHARE * limit and total >= BUFFER_BYTES)
    if worst_bytes < BUFFER_BYTES and not too_much:
        return None
    return Problem(
        "high" if too_much else "medium",
        f"Output buffers hold {text.size(total)}, {text.size(worst_bytes)} for {_who(worst)}",
        "That client reads too slowly or asks for too much: kill it, or bound client-output-buffer-limit.",
        {
            "output_bytes": total,
            "worst_output_bytes": worst_bytes,
            "worst_client": worst.address,
            "worst_command": worst.command,
        },
        () if worst.client_id is None else (f"CLIENT KILL ID {worst.client_id}",),
    )


def cut_off(evidence: Evidence) -> Problem | None:
    counters = {"output": "output_limit_disconnections_total", "query": "query_limit_disconnections_total"}
    grown = {name: grew for name, counter in counters.items() if (grew := growth(evidence, counter)) and grew.amount}
    if not grown:
        return None
    name, worst = max(grown.items(), key=lambda pair: (not pair[1].since_start, pair[1].amount))
    return Problem(
        "low" if worst.since_start else "medium",
        f"Clients cut off over their {name} buffer limit: {text.count(worst.amount)} {worst.words}",
        "Slow subscribers or replicas and huge replies do that: read in pieces, or raise the limit knowingly.",
        {f"{name}_limit_disconnections": int(worst.amount), **worst.facts()},
    )


def idle(evidence: Evidence) -> Problem | None:
    clients = evidence.clients
    if clients is None:
        return None
    asleep = [client for client in clients.clients if _forgotten(client)]
    if len(asleep) < IDLE_LEAST or len(asleep) < IDLE_SHARE * len(clients.clients):
        return None
    limit = evidence.stats.max_clients if evidence.stats else None
    crowded = bool(limit and len(asleep) >= limit / 2)
    return Problem(
        "medium" if crowded else "low",
        f"{len(asleep)} of {len(clients.clients)} clients have been idle for over {text.duration(IDLE_S)}",
        "Close them in the application's pool, or let the server do it with timeout.",
        {"idle_clients": len(asleep), "clients": len(clients.clients), "idle_over_s": IDLE_S, "max_clients": limit},
        () if clients.server.kind == "memcached" else (f"CONFIG SET timeout {IDLE_S:.0f}",),
    )


def churn(evidence: Evidence) -> Problem | None:
    opened = window_growth(evidence, "connections_total")
    if opened is None or opened.per_s < CHURN_PER_S:
        return None
    commands = over_same_span(evidence, opened, "commands_total")
    if not commands or opened.amount < CHURN_SHARE * commands:
        return None
    return Problem(
        "medium",
        f"Connections come and go: {text.rate(opened.per_s)} new ones, {commands / opened.amount:.1f} commands on each",
        "Let the application keep its connections in a pool: opening one costs more than most commands.",
        {
            "connections_per_s": round(opened.per_s, 2),
            "commands_per_connection": round(commands / opened.amount, 2),
            **opened.facts(),
        },
    )


def _forgotten(client: ClientInfo) -> bool:
    """Tell whether a plain client sent nothing for long; replicas, subscribers and blocked ones wait rightly."""
    special = client.subscriptions or any(flag in client.flags for flag in "SMOPb")
    return not special and not client.ours and client.idle_s is not None and client.idle_s > IDLE_S


def _who(client: ClientInfo) -> str:
    return f"{client.name} ({client.address})" if client.name else client.address


def _of_limit(stats: Stats) -> str:
    if stats.clients is None or not stats.max_clients:
        return ""
    return f", {stats.clients} of {stats.max_clients} in use"


def _client_facts(stats: Stats) -> dict[str, object]:
    return {"clients": stats.clients, "max_clients": stats.max_clients}


def _more_clients(stats: Stats) -> tuple[str, ...]:
    if is_memcached(stats) or not stats.max_clients:
        return ()
    return (f"CONFIG SET maxclients {stats.max_clients * 2}",)
