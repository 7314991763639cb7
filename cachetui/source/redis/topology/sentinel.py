"""What Sentinels say of their groups, to `Topology`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cachetui.model import Identity, Node, Opinion, SentinelEvent, SentinelGroup, Topology, Watched


def sentinel(
    groups: Sequence[SentinelGroup], events: tuple[SentinelEvent, ...], server: Identity, taken_at: float
) -> Topology:
    """Return all groups that the Sentinel we are connected to watches."""
    nodes = [Node(server.address, "sentinel", myself=True, version=server.version)]
    for group in groups:
        nodes += [_watched(member, group) for member in group.members]
        nodes += [_sentinel(one, group) for one in group.opinions if not one.myself]
    summary = f"Sentinel watching {len(groups)} group{'s' * (len(groups) != 1)}"
    problems = tuple(problem for group in groups for problem in group.problems)
    return Topology(
        taken_at, server, tuple(nodes), summary, problems, _facts(groups), groups=tuple(groups), events=events
    )


def of_groups(
    groups: Sequence[SentinelGroup],
    events: tuple[SentinelEvent, ...],
    server: Identity,
    taken_at: float,
    why: str = "",
) -> Topology:
    """Return the data servers as the Sentinels see them: for when the primary itself does not answer, and `why`."""
    nodes = tuple(_watched(member, group) for group in groups for member in group.members)
    problems = tuple(filter(None, (why, *(problem for group in groups for problem in group.problems))))
    summary = "; ".join(f"{_head(group)}, the primary does not answer" for group in groups)
    return Topology(taken_at, server, nodes, summary, problems, _facts(groups), groups=tuple(groups), events=events)


def with_sentinels(seen: Topology, groups: Sequence[SentinelGroup], events: tuple[SentinelEvent, ...]) -> Topology:
    """Return what the servers themselves say together with what their Sentinels say."""
    problems = [problem for group in groups for problem in group.problems]
    # A server that the Sentinels call down is told of once.
    told = [problem for problem in seen.problems if not any(_same_server(problem, other) for other in problems)]
    held = {member.address: member for group in groups for member in group.members}
    nodes = tuple(_with_flags(node, held.get(node.address)) for node in seen.nodes)
    shown = {node.address for node in nodes}
    nodes += tuple(
        replace(_watched(member, group), note="as the Sentinels see it")
        for group in groups
        for member in group.members
        if member.address not in shown and member.address != group.primary
    )
    heads = [_head(group) for group in groups]
    summary = "; ".join([*heads, seen.summary])
    return replace(
        seen,
        nodes=nodes,
        summary=summary,
        problems=(*problems, *told),
        facts=(*seen.facts, *_facts(groups)),
        groups=tuple(groups),
        events=events,
    )


def _same_server(problem: str, other: str) -> bool:
    address = next((word.rstrip(":,") for word in problem.split() if ":" in word.rstrip(":,")), "")
    return bool(address) and " is down" in problem and f" {address} is " in other


def _with_flags(node: Node, held: Watched | None) -> Node:
    if held is None or not held.flags:
        return node
    down = [flag for flag in held.flags if flag in ("s_down", "o_down")]
    return replace(node, state=",".join(held.flags)) if down and node.state in ("online", "unknown") else node


def _head(group: SentinelGroup) -> str:
    answered, of = group.answered, len(group.opinions)
    agreeing = sum(one.primary == group.primary for one in answered)
    if agreeing == of:
        return f"group {group.name}: {of} Sentinel{'s agree' if of != 1 else ''}"
    return f"group {group.name}: {agreeing} of {of} Sentinels agree"


def _facts(groups: Sequence[SentinelGroup]) -> tuple[tuple[str, str], ...]:
    facts: list[tuple[str, str]] = []
    for group in groups:
        known = max((one.sentinels or 0 for one in group.answered), default=0)
        if group.quorum is not None:
            facts.append((f"{group.name} quorum", f"{group.quorum} of {known} sentinels"))
        epochs = [one.epoch for one in group.answered if one.epoch is not None]
        if epochs:
            facts.append((f"{group.name} epoch", str(max(epochs))))
        facts += [(f"{group.name} {name}", value) for name, value in group.settings]
    return tuple(facts)


def _watched(member: Watched, group: SentinelGroup) -> Node:
    return Node(
        member.address,
        member.role,
        ",".join(member.flags) or ("link down" if member.link_up is False else "online"),
        primary="" if member.role == "primary" else group.primary,
        offset=member.offset,
        note=f"group {group.name}",
    )


def _sentinel(one: Opinion, group: SentinelGroup) -> Node:
    return Node(
        one.sentinel,
        "sentinel",
        "down" if one.problem else "tilt" if one.tilt else "online",
        primary=one.primary or group.primary,
        version=one.version,
        note=f"group {group.name}" + (f": {one.problem}" if one.problem else ""),
    )
