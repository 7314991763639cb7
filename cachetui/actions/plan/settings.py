"""Plans that change the server: policy, maxmemory, its file, its clients and its slow log."""

from __future__ import annotations

from collections.abc import Sequence

from cachetui.actions.plan.base import Needs, Plan, stamped, typed_name
from cachetui.actions.plan.commands import Command
from cachetui.actions.plan.effects import Effect, maxmemory_effect, memlimit_effect, policy_effect
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.model import ClientInfo, Identity, Stats
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
    rewrite: bool = False,
    now: float | None = None,
) -> Plan:
    """Plan a change of `maxmemory-policy`; `allowed` is what this server offers (empty: unknown)."""
    if identity.kind == "memcached":
        raise Unsupported(
            "Memcached has no eviction policy to set while it runs", "start it with -M to refuse writes instead"
        )
    policy = policy.strip().lower()
    if allowed and policy not in allowed:
        raise BadUsage(f"no such policy here: {printable(policy, 40)}", f"this server allows {', '.join(allowed)}")
    return _setting(
        identity,
        target,
        ("maxmemory-policy", policy),
        stats.policy,
        policy_effect(stats, policy),
        title=f"Set the eviction policy to {printable(policy, 40)}",
        needs="policy",
        rewrite=rewrite,
        now=now,
    )


def plan_maxmemory(
    identity: Identity,
    target: str,
    stats: Stats,
    new_bytes: int,
    *,
    rewrite: bool = False,
    now: float | None = None,
) -> Plan:
    """Plan a change of the memory limit to `new_bytes` (Redis: 0 for no limit; Memcached: whole megabytes)."""
    if new_bytes < 0:
        raise BadUsage("maxmemory cannot be negative", "0 means no limit")
    if identity.kind == "memcached":
        return _memlimit(identity, target, stats, new_bytes, now)
    old = None if stats.maxmemory_bytes is None else str(stats.maxmemory_bytes)
    return _setting(
        identity,
        target,
        ("maxmemory", str(new_bytes)),
        old,
        maxmemory_effect(stats, new_bytes),
        title=f"Set maxmemory to {size(new_bytes) if new_bytes else 'no limit'}",
        needs="maxmemory",
        rewrite=rewrite,
        now=now,
    )


def plan_rewrite(identity: Identity, target: str, *, now: float | None = None) -> Plan:
    """Plan CONFIG REWRITE: every setting changed at runtime becomes permanent."""
    _redis_only(identity, "CONFIG REWRITE")
    return stamped(
        identity,
        target,
        "Write the running configuration to the server's file",
        ((b"CONFIG", b"REWRITE"),),
        (_REWRITE_LINE, "at once: nothing changes in the running server", "fails where the server has no file"),
        needs="policy",
        risk="medium",
        undo="no undo: the old file is overwritten",
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


def _setting(
    identity: Identity,
    target: str,
    setting: tuple[str, str],
    old: str | None,
    effect: Effect,
    *,
    title: str,
    needs: Needs,
    rewrite: bool,
    now: float | None,
) -> Plan:
    """Plan one CONFIG SET, and CONFIG REWRITE after it when asked."""
    name, value = setting
    steps: list[Command] = [(b"CONFIG", b"SET", name.encode(), value.encode())]
    what = [f"set {name} of {target} from {old or 'unknown'} to {value}", *effect.lines]
    if identity.role == "replica":
        what.append("this is a replica: it evicts nothing by itself unless replica-ignore-maxmemory is no")
    if identity.mode == "cluster":
        what.append("this sets one node of the cluster: the others keep their setting")
    if rewrite:
        steps.append((b"CONFIG", b"REWRITE"))
        what.append(_REWRITE_LINE)
    else:
        what.append("it holds until the server restarts")
    undo = f"CONFIG SET {name} {old}" if old else f"no undo: the old {name} is unknown"
    if old and rewrite:
        undo += ", then CONFIG REWRITE"
    if effect.hurts_at_once:
        undo += "; what was evicted or refused until then stays lost"
    return stamped(
        identity,
        target,
        title,
        tuple(steps),
        what,
        needs=needs,
        risk="medium" if rewrite and effect.risk == "low" else effect.risk,
        undo=undo,
        typed=typed_name(target) if effect.hurts_at_once else None,
        expects=(name, value),
        back=((name, old, value),) if old else (),
        now=now,
    )


def _memlimit(identity: Identity, target: str, stats: Stats, new_bytes: int, now: float | None) -> Plan:
    if identity.mode == "fleet":
        raise Unsupported("the limit is each server's own", "connect to one Memcached server and set it there")
    if new_bytes < MEMCACHED_LEAST_BYTES:
        raise BadUsage("Memcached takes no limit under 8MB", "0 does not mean unlimited there")
    megabytes = new_bytes // 1024**2
    effect = memlimit_effect(stats, megabytes * 1024**2)
    old = None if stats.maxmemory_bytes is None else stats.maxmemory_bytes // 1024**2
    return stamped(
        identity,
        target,
        f"Set the memory limit to {megabytes}MB",
        ((b"cache_memlimit", b"%d" % megabytes),),
        (
            f"set the memory limit of {target} from {size(stats.maxmemory_bytes)} to {megabytes}MB (whole megabytes)",
            *effect.lines,
            "it holds until the server restarts",
        ),
        needs="maxmemory",
        risk=effect.risk,
        undo=f"cache_memlimit {old}; what was evicted stays lost" if old else "no undo: the old limit is unknown",
        typed=typed_name(target),
        expects=("maxbytes", str(megabytes * 1024**2)),
        back=(("maxbytes", str(old * 1024**2), str(megabytes * 1024**2)),) if old else (),
        now=now,
    )


def _redis_only(identity: Identity, what: str) -> None:
    if identity.kind == "memcached":
        raise Unsupported(f"Memcached has no {what}", "this works on Redis and Valkey only")
