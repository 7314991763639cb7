"""Rules about other servers: the primary, the replicas, the cluster."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.growth import error_growth, growth
from cachetui.analysis.rules.rule import Judge, Priority, Problem
from cachetui.analysis.topology import is_whole_cluster
from cachetui.analysis.topology.words import LAG_BYTES, LAG_MUCH_BYTES
from cachetui.errors import MEANINGS
from cachetui.model import Evidence, Node

SILENT_S, LOST_S = 15.0, 60.0
"""Seconds since the primary was heard: it pings every 10 s; after 60 s (repl-timeout) the link is cut."""

ACK_S = 10.0
"""Seconds since a replica's last acknowledgement: it sends one every second."""

_LOST = frozenset({"down", "fail", "o_down", "s_down"})
"""Words in a node's state that mean it is gone; `fail?` is one node's suspicion."""

_UNSERVED = ("slot", "cluster_state")
"""Words of a cluster's problems that mean some keys cannot be reached."""

FULL_SYNCS = 2
"""Full resynchronisations in a window: one is a new replica, more are a loop."""


def link_down(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or stats.link_up is not False or stats.sync_running:
        return None
    down = f" for {text.duration(stats.link_down_s)}" if stats.link_down_s else ""
    return Problem(
        "high",
        f"Replication link to the primary is down{down}: this replica serves old data",
        "Look whether the primary runs, is reachable from this host, and takes masterauth's password.",
        {"link_down_s": stats.link_down_s, "primary": _primary(evidence)},
    )


def sync_running(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or not stats.sync_running:
        return None
    return Problem(
        "medium",
        "Full synchronisation is running: this replica is not up to date yet",
        "Wait for its end; if it begins again and again, raise repl-backlog-size and the replicas' output limit.",
        {"link_up": stats.link_up, "link_down_s": stats.link_down_s},
    )


def lag(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or stats.link_up is False:
        return None
    silent_s = stats.replication_lag_s
    if silent_s is not None and silent_s >= SILENT_S and stats.server.role == "replica":
        return Problem(
            "high" if silent_s >= LOST_S else "medium",
            f"Replica is behind: nothing heard of the primary for {text.duration(silent_s)}",
            "The primary is stalled or the network between is: look at both.",
            {"silent_s": silent_s, "primary": _primary(evidence)},
        )
    worst_bytes = stats.worst_lag_bytes or 0
    slowest = max(_replicas(evidence), key=lambda node: node.lag_s or 0, default=None)
    ack_s = (slowest.lag_s or 0) if slowest else 0
    if worst_bytes < LAG_BYTES and ack_s < ACK_S:
        return None
    told = [f"{text.size(worst_bytes)} behind"] if worst_bytes >= LAG_BYTES else []
    if slowest is not None and ack_s >= ACK_S:
        told.append(f"{slowest.address} silent for {text.duration(ack_s)}")
    return Problem(
        "high" if worst_bytes >= LAG_MUCH_BYTES or ack_s >= LOST_S else "medium",
        f"Replicas lag: {', '.join(told)}",
        "Reads there are old, and a failover would lose these writes: look at that host and the network.",
        {"lag_bytes": stats.worst_lag_bytes, "ack_s": ack_s, "replica": slowest.address if slowest else None},
    )


def full_resyncs(evidence: Evidence) -> Problem | None:
    synced = growth(evidence, "sync_full_total")
    if synced is None or synced.since_start or synced.amount < FULL_SYNCS:
        return None
    return Problem(
        "medium",
        f"Full resynchronisations: {synced.amount:.0f} {synced.words}, each a fork and a copy of everything",
        "Raise repl-backlog-size and client-output-buffer-limit for replicas; look at the network between.",
        {"full_syncs": int(synced.amount), **synced.facts()},
        ("CONFIG SET repl-backlog-size 256mb",),
    )


def refusals(word: str, priority: Priority, issue: str) -> Judge:
    """Return a rule on one error word: `priority` while it is being answered, low when only since start."""

    def judge(evidence: Evidence) -> Problem | None:
        refused = error_growth(evidence, word)
        if refused is None or refused.amount <= 0:
            return None
        meaning = MEANINGS[word]
        return Problem(
            "low" if refused.since_start else priority,
            f"{issue}: {text.count(refused.amount)} {word} replies {refused.words}",
            f"{meaning.cause[:1].upper()}{meaning.cause[1:]}: {meaning.action}.",
            {"word": word, "errors": int(refused.amount), "errors_per_s": round(refused.per_s, 3), **refused.facts()},
        )

    return judge


def topology(evidence: Evidence) -> Problem | None:
    seen, stats = evidence.topology, evidence.stats
    problems = [problem.rstrip(".") for problem in seen.problems if problem.strip(". ")] if seen else []
    if seen is None or not problems or is_whole_cluster(seen):
        return None  # a cluster's checks say more
    if seen.server.mode == "standalone" and stats is not None and (stats.link_up is False or stats.sync_running):
        return None  # link_down and sync_running say it with its figures
    lost = any(node.role in ("primary", "server") and _failed(node) for node in seen.nodes)
    unserved = seen.server.mode == "cluster" and any(w in problem for problem in problems for w in _UNSERVED)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Problem(
        "high" if lost or unserved else "medium",
        f"{problems[0]}{more}",
        "See the topology (press 4): bring the failed server back or promote its replica.",
        {"problems": problems, "nodes": len(seen.nodes), "mode": seen.server.mode},
    )


def _failed(node: Node) -> bool:
    return not _LOST.isdisjoint(node.state.replace(",", " ").split())


def _replicas(evidence: Evidence) -> list[Node]:
    """Return the replicas of the asked server; it is not a replica's business what others lag."""
    if evidence.topology is None:
        return []
    return [node for node in evidence.topology.nodes if node.role == "replica" and not node.myself]


def _primary(evidence: Evidence) -> str | None:
    nodes = evidence.topology.nodes if evidence.topology else ()
    return next((node.address for node in nodes if node.role == "primary" and not node.myself), None)
