"""Sentinels and replication in `cachetui topology`: every Sentinel's opinion, and what each server says of itself."""

from __future__ import annotations

from collections.abc import Iterator

from cachetui.model import Node, Opinion, SentinelGroup, Topology


def group_lines(seen: Topology) -> Iterator[str]:
    """Yield a line for each group and for each Sentinel's opinion of it."""
    for group in seen.groups:
        quorum = "-" if group.quorum is None else str(group.quorum)
        yield f"group {group.name}: primary {group.primary or '-'}, quorum {quorum} of {len(group.opinions)} Sentinels"
        for one in group.opinions:
            yield f"  {one.sentinel}: {_words(one, group)}"


def _words(one: Opinion, group: SentinelGroup) -> str:
    if one.problem:
        return one.problem
    told = ["agrees" if one.primary == group.primary else f"names {one.primary}", *one.flags]
    told += ["TILT"] if one.tilt else []
    told += [one.check] if one.usable is False else []
    return ", ".join(told)


def group_documents(seen: Topology) -> list[dict[str, object]]:
    """Return the groups for the JSON document."""
    return [_group(group) for group in seen.groups]


def _group(group: SentinelGroup) -> dict[str, object]:
    return {
        "name": group.name,
        "primary": group.primary or None,
        "quorum": group.quorum,
        "settings": dict(group.settings),
        "problems": list(group.problems),
        "opinions": [_opinion(one) for one in group.opinions],
        "members": [
            {
                "address": member.address,
                "role": member.role,
                "flags": list(member.flags),
                "saidBy": member.said_by,
                "priority": member.priority,
                "offset": member.offset,
                "linkUp": member.link_up,
            }
            for member in group.members
        ],
    }


def _opinion(one: Opinion) -> dict[str, object]:
    return {
        "sentinel": one.sentinel,
        "problem": one.problem or None,
        "primary": one.primary or None,
        "flags": list(one.flags),
        "tilt": one.tilt,
        "quorum": one.quorum,
        "sentinels": one.sentinels,
        "replicas": one.replicas,
        "epoch": one.epoch,
        "usable": one.usable,
        "check": one.check or None,
        "version": one.version,
    }


def replication_document(node: Node) -> dict[str, object] | None:
    """Return what a server says of its own part in a replication; None where it was not asked."""
    own = node.replication
    if own is None:
        return None
    return {
        "linkUp": own.link_up,
        "linkDownSeconds": own.link_down_s,
        "syncRunning": own.sync_running,
        "syncReadBytes": own.sync_read_bytes,
        "syncPercent": own.sync_percent,
        "priority": own.priority,
        "readOnly": own.read_only,
        "minReplicas": own.min_replicas,
        "goodReplicas": own.good_replicas,
        "backlogBytes": own.backlog_bytes,
        "backlogUsedBytes": own.backlog_used_bytes,
        "failover": own.failover or None,
    }
