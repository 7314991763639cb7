"""Snapshots of connections and of the fleet, from what the servers said."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from cachetui import text
from cachetui.errors import CacheError
from cachetui.model import ClientInfo, Identity, Node, Topology
from cachetui.source.memcached.stats import Answer, Fields, combined, whole


def identity_of(answers: Sequence[Answer], *, address: str, several: bool) -> Identity:
    """Return who answered. `run_id` changes when any of the servers restarts, goes or comes back."""
    versions = sorted({answer.general.get("version", "") for answer in answers} - {""})
    return Identity(
        kind="memcached",
        version=", ".join(versions) or None,
        mode="fleet" if several else "standalone",
        run_id=" ".join(f"{answer.address}/{answer.run_id}" if several else answer.run_id for answer in answers),
        address=address,
    )


def connections_of(fields: Fields, *, server: str, ours: Collection[str]) -> list[ClientInfo]:
    """Return the clients in a `stats conns` reply: `fd:field value`, the listening sockets left out.

    `server` is put into the name when it is not empty.
    """
    rows: dict[str, Fields] = {}
    for name, value in fields.items():
        handle, _, what = name.partition(":")
        rows.setdefault(handle, {})[what] = value
    return [
        ClientInfo(
            client_id=whole(handle),
            address=row.get("addr", "").removeprefix("tcp:").removeprefix("tcp6:"),
            name=server,
            idle_s=whole(row.get("secs_since_last_cmd")),
            command=row.get("state", "").removeprefix("conn_"),
            ours=row.get("addr", "") in ours,
        )
        for handle, row in rows.items()
        if row.get("state") != "conn_listening" and whole(handle) is not None
    ]


def topology_of(
    named: Sequence[tuple[str, Answer | CacheError]], *, identity: Identity, settings: Mapping[str, str] | None
) -> Topology:
    """Return every server with its share of the keys, and what is wrong with any of them."""
    answers = [answer for _, answer in named if isinstance(answer, Answer)]
    keys = sum(answer.number("curr_items") or 0 for answer in answers)
    nodes = tuple(
        _node(name, answer, keys if len(named) > 1 else 0) if isinstance(answer, Answer) else _down(name, answer)
        for name, answer in named
    )
    return Topology(
        time.time(),
        identity,
        nodes=nodes,
        summary=_summary(len(answers), len(named), identity),
        problems=tuple(_problems(named, answers)),
        facts=tuple(_facts(answers, settings)),
    )


def _summary(answering: int, servers: int, identity: Identity) -> str:
    what = f"memcached {identity.version or '(version unknown)'}"
    if servers == 1:
        return f"one server, {what}"
    if answering == servers:
        return f"{servers} servers, all answer, {what}"
    return f"{answering} of {servers} servers answer, {what}"


def _node(name: str, answer: Answer, all_keys: int) -> Node:
    keys = answer.number("curr_items")
    share = f"{text.percent(100 * keys / all_keys)} of the keys" if all_keys and keys is not None else ""
    return Node(
        address=name,
        role="server",
        state="online" if answer.number("accepting_conns") != 0 else "refusing connections",
        version=answer.general.get("version"),
        keys=keys,
        used_bytes=answer.number("bytes"),
        limit_bytes=answer.number("limit_maxbytes"),
        hits_total=answer.number("get_hits"),
        misses_total=answer.number("get_misses"),
        clients=answer.number("curr_connections"),
        note=share,
    )


def _down(name: str, error: CacheError) -> Node:
    return Node(address=name, role="server", state="down", note=error.message)


def _problems(named: Sequence[tuple[str, Answer | CacheError]], answers: Sequence[Answer]) -> list[str]:
    found = [f"{name} is down: {answer.message}" for name, answer in named if isinstance(answer, CacheError)]
    found += [
        f"{answer.address} takes no more connections: its limit (-c {answer.general.get('max_connections', '?')})"
        " is reached"
        for answer in answers
        if answer.number("accepting_conns") == 0
    ]
    versions = sorted({answer.general.get("version", "?") for answer in answers})
    if len(versions) > 1:
        found.append(f"the servers run different versions: {', '.join(versions)}")
    limits = {answer.number("limit_maxbytes") for answer in answers} - {None}
    if len(limits) > 1:
        sizes = ", ".join(text.size(limit) for limit in sorted(limit for limit in limits if limit is not None))
        found.append(
            f"the servers have different memory limits: {sizes}; clients that share keys evenly fill one first"
        )
    return found


def _facts(answers: Sequence[Answer], settings: Mapping[str, str] | None) -> list[tuple[str, str]]:
    stats = combined(answers, taken_at=0.0, identity=Identity("memcached"), settings=settings, denied=())
    facts = [
        ("items", text.count(stats.keys)),
        ("memory", f"{text.size(stats.used_bytes)} of {text.size(stats.maxmemory_bytes)}"),
        ("threads", text.count(stats.threads)),
        ("slab classes", str(len({slab.class_id for slab in stats.slabs}))),
        ("eviction", stats.policy or text.UNKNOWN),
    ]
    for name in ("item_size_max", "slab_automove", "lru_crawler", "dump_enabled", "flush_enabled", "idle_timeout"):
        if settings is not None and name in settings:
            facts.append((name, settings[name]))
    return facts
