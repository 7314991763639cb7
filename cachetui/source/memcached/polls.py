"""Snapshots of connections and of the fleet, from what the servers said."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from cachetui import text
from cachetui.errors import CacheError
from cachetui.model import ClientInfo, Identity, KeySpread, Node, Topology
from cachetui.source.memcached.rings import Fit, Ring
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
    named: Sequence[tuple[str, Answer | CacheError]],
    *,
    identity: Identity,
    settings: Mapping[str, str] | None,
    ring: Ring | None = None,
    fit: Fit | None = None,
) -> Topology:
    """Return every server with its share of the keys, and what is wrong with any of them.

    `ring` is the rule by which keys are spread, `fit` how well it explains where they were seen.
    """
    answers = [answer for _, answer in named if isinstance(answer, Answer)]
    keys = sum(answer.number("curr_items") or 0 for answer in answers)
    several = len(named) > 1
    nodes = tuple(
        _node(name, answer, _share_words(answer, keys, ring, at) if several else "")
        if isinstance(answer, Answer)
        else _down(name, answer)
        for at, (name, answer) in enumerate(named)
    )
    return Topology(
        time.time(),
        identity,
        nodes=nodes,
        summary=_summary(len(answers), len(named), identity),
        problems=tuple(_problems(named, answers)),
        spread=_key_spread(fit) if several else None,
        facts=(*_facts(answers, settings), *(_spread(ring, fit) if several else ())),
    )


def _share_words(answer: Answer, all_keys: int, ring: Ring | None, at: int) -> str:
    keys = answer.number("curr_items")
    words = []
    if all_keys and keys is not None:
        words.append(f"{text.percent(100 * keys / all_keys)} of the keys")
    if ring is not None:
        words.append(f"{text.percent(100 * ring.shares[at])} of the ring")
    return ", ".join(words)


def _spread(ring: Ring | None, fit: Fit | None) -> list[tuple[str, str]]:
    if fit is None or ring is None:
        return [("keys are spread by", "not known before keys are listed (press 2)")]
    if not fit.explains:
        return [("keys are spread by", f"no usual rule; new ones go by {ring.name}")]
    return [
        ("keys are spread by", f"{ring.name} ({ring.words})"),
        ("share of each server", ", ".join(text.percent(100 * share) for share in ring.shares)),
        ("on another server", f"{fit.misplaced} of {fit.sampled} names looked at"),
    ]


def _key_spread(fit: Fit | None) -> KeySpread | None:
    if fit is None:
        return None
    return KeySpread(fit.ring.name if fit.explains else "", fit.sampled, fit.misplaced)


def _summary(answering: int, servers: int, identity: Identity) -> str:
    what = f"memcached {identity.version or '(version unknown)'}"
    if servers == 1:
        return f"one server, {what}"
    if answering == servers:
        return f"{servers} servers, all answer, {what}"
    return f"{answering} of {servers} servers answer, {what}"


def _node(name: str, answer: Answer, share: str) -> Node:
    return Node(
        address=name,
        role="server",
        state="online" if answer.number("accepting_conns") != 0 else "refusing connections",
        version=answer.general.get("version"),
        keys=answer.number("curr_items"),
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
        ("eviction", stats.policy or text.UNKNOWN),
    ]
    if stats.slabs:
        facts.insert(3, ("slab classes", str(len({slab.class_id for slab in stats.slabs}))))
    for name in ("item_size_max", "slab_automove", "lru_crawler", "dump_enabled", "flush_enabled", "idle_timeout"):
        if settings is not None and name in settings:
            facts.append((name, settings[name]))
    return facts
