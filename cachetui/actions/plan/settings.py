"""Plans that change the server: policy, maxmemory, its file, its clients and its slow log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cachetui.actions.plan.base import Needs, Plan, stamped, typed_name
from cachetui.actions.plan.commands import Command
from cachetui.actions.plan.effects import Effect, maxmemory_effect, memlimit_effect, policy_effect
from cachetui.actions.plan.reach import Reach
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.model import ClientInfo, Identity, NodeSettings, Stats
from cachetui.text import duration, printable, size

MEMCACHED_LEAST_BYTES = 8 * 1024**2
_REWRITE_LINE = "every setting changed at runtime, by anybody, becomes permanent in the server's configuration file"
_LINKS = {
    "S": "this is the link to a replica: it will resynchronise",
    "M": "this is the link to the primary: replication breaks until it reconnects",
    "P": "it is subscribed: messages are lost until it subscribes again",
}
"""Flags of CLIENT LIST that make a kill hurt others."""


def plan_policy(
    identity: Identity,
    target: str,
    stats: Stats,
    policy: str,
    allowed: Sequence[str],
    *,
    nodes: Sequence[NodeSettings] = (),
    rewrite: bool = False,
    now: float | None = None,
) -> Plan:
    """Plan a change of `maxmemory-policy`; `allowed` is what this server offers (empty: unknown).

    `nodes` are those it goes to, with their `maxmemory*`; none: the server that is asked.
    """
    if identity.kind == "memcached":
        raise Unsupported(
            "Memcached has no eviction policy to set while it runs", "start it with -M to refuse writes instead"
        )
    policy = policy.strip().lower()
    if allowed and policy not in allowed:
        raise BadUsage(f"no such policy here: {printable(policy, 40)}", f"this server allows {', '.join(allowed)}")
    reach = Reach(tuple(nodes))
    differing = len(reach.befores("maxmemory-policy")) > 1
    effect = policy_effect(replace(stats, policy=None) if differing else stats, policy)
    elsewhere = reach.effects_elsewhere(stats, lambda there: policy_effect(there, policy))
    return setting_plan(
        identity,
        target,
        ("maxmemory-policy", policy),
        stats.policy,
        effect.also(elsewhere),
        title=f"Set the eviction policy to {printable(policy, 40)}",
        needs="policy",
        reach=reach,
        rewrite=rewrite,
        now=now,
    )


def plan_maxmemory(
    identity: Identity,
    target: str,
    stats: Stats,
    new_bytes: int,
    *,
    nodes: Sequence[NodeSettings] = (),
    rewrite: bool = False,
    now: float | None = None,
) -> Plan:
    """Plan a change of the memory limit to `new_bytes` (Redis: 0 for no limit; Memcached: whole megabytes).

    `nodes` are those it goes to, each with a limit of its own; none: the server that is asked.
    """
    if new_bytes < 0:
        raise BadUsage("maxmemory cannot be negative", "0 means no limit")
    reach = Reach(tuple(nodes))
    if identity.kind == "memcached":
        return _memlimit(identity, target, stats, new_bytes, reach=reach, now=now)
    old = None if stats.maxmemory_bytes is None else str(stats.maxmemory_bytes)
    elsewhere = reach.effects_elsewhere(stats, lambda there: maxmemory_effect(there, new_bytes))
    return setting_plan(
        identity,
        target,
        ("maxmemory", str(new_bytes)),
        old,
        maxmemory_effect(stats, new_bytes).also(elsewhere),
        title=f"Set maxmemory to {size(new_bytes) if new_bytes else 'no limit'}",
        needs="maxmemory",
        reach=reach,
        rewrite=rewrite,
        now=now,
    )


def plan_rewrite(
    identity: Identity, target: str, *, nodes: Sequence[NodeSettings] = (), now: float | None = None
) -> Plan:
    """Plan CONFIG REWRITE: every setting changed at runtime becomes permanent.

    Raises Refused where no node was started with a configuration file.
    """
    _redis_only(identity, "CONFIG REWRITE")
    reach = Reach(tuple(nodes))
    if nodes and all(node.has_file is False for node in nodes):
        who = "this server was" if len(nodes) == 1 else f"none of the {len(nodes)} nodes was"
        raise Refused(
            f"CONFIG REWRITE has nothing to write to: {who} started with a configuration file",
            "put the settings where the server is started, or start it with a file",
        )
    return stamped(
        identity,
        target,
        "Write the running configuration to the server's file",
        ((b"CONFIG", b"REWRITE"),),
        (
            _REWRITE_LINE,
            *reach.lines(),
            "at once: nothing changes in the running server",
            *(reach.rewrite_lines() or ["fails where the server has no file"]),
        ),
        needs="rewrite",
        risk="medium",
        undo="no undo: the old file is overwritten",
        nodes=reach.addresses,
        now=now,
    )


def plan_slowlog_reset(identity: Identity, target: str, *, now: float | None = None) -> Plan:
    """Plan SLOWLOG RESET."""
    _redis_only(identity, "SLOWLOG RESET")
    return stamped(
        identity,
        target,
        "Clear the slow log",
        ((b"SLOWLOG", b"RESET"),),
        (f"clear the slow log of {target}", "at once: every entry is gone, for everybody who looks"),
        needs="slowlog",
        risk="low",
        undo="no undo: the entries are not kept",
        now=now,
    )


def plan_kill(identity: Identity, target: str, client: ClientInfo, *, now: float | None = None) -> Plan:
    """Plan the end of one connection. Refuses our own.

    The address goes into the command beside the id: ids begin anew when the server restarts.
    """
    _redis_only(identity, "CLIENT KILL")
    if client.ours:
        raise Refused("that is one of cachetui's own connections", "quit instead")
    if client.client_id is None:
        raise Unsupported("the server gave this connection no id", "it cannot be killed by id")
    command: Command = (b"CLIENT", b"KILL", b"ID", b"%d" % client.client_id)
    if client.address:
        command = (*command, b"ADDR", client.address.encode())
    who = " ".join(filter(None, (f"client {client.client_id}", client.address, client.name, client.user)))
    what = [f"close the connection of {who}", f"last command {client.command or '-'}, idle {duration(client.idle_s)}"]
    link = next((words for flag, words in _LINKS.items() if flag in client.flags), None)
    if link:
        what.append(f"warning: {link}")
    what.append("at once: its running command gets no answer; most clients connect again by themselves")
    return stamped(
        identity,
        target,
        f"Kill {who}",
        (command,),
        what,
        needs="kill",
        risk="high" if link else "medium",
        undo="no undo: the client must connect again by itself",
        now=now,
    )


def setting_plan(
    identity: Identity,
    target: str,
    setting: tuple[str, str],
    old: str | None,
    effect: Effect,
    *,
    title: str,
    needs: Needs,
    reach: Reach,
    rewrite: bool,
    reworded: bool = False,
    typed: bool = False,
    now: float | None,
) -> Plan:
    """Plan one CONFIG SET on all nodes of `reach`, and CONFIG REWRITE after it when asked."""
    name, value = setting
    addresses = reach.addresses
    old = reach.before(name, old)
    steps: list[Command] = [(b"CONFIG", b"SET", name.encode(), value.encode())]
    was = "different values" if len(reach.befores(name)) > 1 else "unknown" if old is None else old or "empty"
    shown = printable(value, 200) or "empty"
    what = [f"set {name} of {target} from {was} to {shown}", *reach.lines(name), *effect.lines]
    if identity.role == "replica" and name.startswith("maxmemory"):
        what.append("this is a replica: it evicts nothing by itself unless replica-ignore-maxmemory is no")
    if identity.mode == "cluster" and not addresses:
        what.append("this sets one node of the cluster: the others keep their setting")
    if len(addresses) > 1:
        what.append("where one fails the others keep the new value: it is named, and nothing is taken back by itself")
    if rewrite:
        steps.append((b"CONFIG", b"REWRITE"))
        what += [_REWRITE_LINE, *reach.rewrite_lines()]
    else:
        what.append("it holds until the server restarts")
    undo = reach.way_back(name, old, rewrite=rewrite)
    if effect.hurts_at_once:
        undo += "; what was evicted or refused until then stays lost"
    return stamped(
        identity,
        target,
        title + (f" on {len(addresses)} nodes" if len(addresses) > 1 else ""),
        tuple(steps),
        what,
        needs=needs,
        risk="medium" if rewrite and effect.risk == "low" else effect.risk,
        undo=undo,
        typed=typed_name(target) if effect.hurts_at_once or typed else None,
        expects=(name, value),
        back=() if old is None else ((name, old, value),),
        nodes=addresses,
        reworded=reworded,
        now=now,
    )


def _memlimit(
    identity: Identity, target: str, stats: Stats, new_bytes: int, *, reach: Reach, now: float | None
) -> Plan:
    addresses = reach.addresses
    if identity.mode == "fleet" and not addresses:
        raise Unsupported("the limit is each server's own", "connect to one Memcached server and set it there")
    if new_bytes < MEMCACHED_LEAST_BYTES:
        raise BadUsage("Memcached takes no limit under 8MB", "0 does not mean unlimited there")
    megabytes = new_bytes // 1024**2
    whole = megabytes * 1024**2
    if identity.mode == "fleet":  # its figures are sums
        effect = Effect(("each server gets this limit, not all of them together",), "medium")
    else:
        effect = memlimit_effect(stats, whole)
    effect = effect.also(reach.effects_elsewhere(stats, lambda there: memlimit_effect(there, whole)))
    old = reach.before("maxbytes", None if stats.maxmemory_bytes is None else str(stats.maxmemory_bytes))
    known = old is not None and old.isdigit()
    before = size(int(old)) if known and old else "different limits" if addresses else "unknown"
    undo = f"cache_memlimit {int(old) // 1024**2}; what was evicted stays lost" if known and old else ""
    return stamped(
        identity,
        target,
        f"Set the memory limit to {megabytes}MB" + (f" on {len(addresses)} servers" if len(addresses) > 1 else ""),
        ((b"cache_memlimit", b"%d" % megabytes),),
        (
            f"set the memory limit of {target} from {before} to {megabytes}MB (whole megabytes)",
            *reach.lines("maxbytes"),
            *effect.lines,
            "it holds until the server restarts",
        ),
        needs="maxmemory",
        risk=effect.risk,
        undo=undo or "no undo: the old limit is unknown, or not the same everywhere",
        typed=typed_name(target),
        expects=("maxbytes", str(whole)),
        back=(("maxbytes", old, str(whole)),) if known and old else (),
        nodes=addresses,
        now=now,
    )


def _redis_only(identity: Identity, what: str) -> None:
    if identity.kind == "memcached":
        raise Unsupported(f"Memcached has no {what}", "this works on Redis and Valkey only")
