"""Plans for any setting of a server: what is known to be dangerous or fixed is said, the server judges the value."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cachetui.actions.plan.base import Plan, stamped, typed_name
from cachetui.actions.plan.effects import Effect
from cachetui.actions.plan.memcached_settings import memcached_change
from cachetui.actions.plan.reach import Reach
from cachetui.actions.plan.settings import setting_plan
from cachetui.errors import BadUsage, Refused
from cachetui.model import Identity, NodeSettings, is_secret
from cachetui.text import parse_size, printable

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")

_DANGERS: dict[str, str] = {
    "dir": "the next save goes to another directory: wrong permissions there stop saving, and then writes",
    "dbfilename": "the next save goes to another file: the next start may load an old one, or none",
    "save": "this decides what a crash loses: an empty value switches snapshots off",
    "appendonly": "on: the whole data set is written at once, with a fork; off: the log ends here and is not replayed",
    "appendfsync": "no and everysec can lose what was written last when the machine fails",
    "bind": "clients on addresses that are left out can no longer connect, and we may be one of them",
    "port": "clients must find the new port by themselves, and so must we",
    "tls-port": "clients must find the new port by themselves, and so must we",
    "protected-mode": "without passwords, no lets everybody in who reaches the port",
    "maxclients": "below what is connected now nobody new gets in; open connections stay",
    "timeout": "idle clients are closed after so many seconds; pools without a check then fail",
    "min-replicas-to-write": "writes are refused while fewer replicas keep up",
    "min-slaves-to-write": "writes are refused while fewer replicas keep up",
    "replica-read-only": "what is written to a replica is lost at its next synchronisation",
    "slave-read-only": "what is written to a replica is lost at its next synchronisation",
    "replica-serve-stale-data": "no: a replica that lost its primary answers reads with errors",
    "stop-writes-on-bgsave-error": "no: saving may fail for days and nobody notices",
    "cluster-require-full-coverage": "yes: one slot that is not served stops all writes of the cluster",
    "cluster-node-timeout": "low values fail over at every hiccup, and must be the same on all nodes",
    "notify-keyspace-events": "each event is published: that costs the server's time on every matching write",
    "slowlog-log-slower-than": "0 logs every command; -1 none",
    "client-output-buffer-limit": "too low closes replicas and subscribers again and again",
    "maxmemory": "what happens at once is not looked at here: m does",
    "maxmemory-policy": "what happens at once is not looked at here: p does",
    "maxmemory-clients": "clients above the limit are disconnected at once",
    "activedefrag": "defragmenting takes the server's time while it runs",
    "lazyfree-lazy-eviction": "yes frees memory later than it evicts",
}
"""What a person should know before the server takes it."""
_TYPED = frozenset(
    ("dir", "dbfilename", "save", "appendonly", "bind", "port", "tls-port", "protected-mode", "maxclients")
)
"""Those that lose data or lock clients out: confirmed by name."""
_FIXED = frozenset(
    (
        *("databases", "cluster-enabled", "supervised", "pidfile", "logfile", "daemonize", "unixsocket"),
        *("unixsocketperm", "aclfile", "always-show-logo", "cluster-config-file", "cluster-port", "tcp-backlog"),
        *("disable-thp", "enable-protected-configs", "enable-debug-command", "enable-module-command"),
        *("rdbchecksum", "syslog-enabled", "syslog-ident", "syslog-facility", "io-threads-do-reads"),
        *("server_cpulist", "bio_cpulist", "aof_rewrite_cpulist", "bgsave_cpulist", "appendfilename", "appenddirname"),
    )
)
"""What servers fix when they start and then refuse."""
_SIZED = re.compile(r"\d+(?:[kmg]b)", re.IGNORECASE)


def plan_setting(
    identity: Identity,
    target: str,
    name: str,
    before: str | None,
    value: str,
    *,
    nodes: Sequence[NodeSettings] = (),
    rewrite: bool = False,
    now: float | None = None,
) -> Plan:
    """Plan CONFIG SET of any setting; only the server judges the value. Memcached: what has a command there.

    `before` is the value now (None: unknown). `nodes` are those it goes to, with their settings; none: the
    server that is asked. Raises Refused for a password: it would stand in the plan and in the journal.
    """
    name = name.strip().lower()
    if not _NAME.fullmatch(name):
        raise BadUsage(f"not a setting's name: {printable(name, 40)!r}", "one name, without wildcards")
    if is_secret(name):
        raise Refused(
            f"{name} is a secret: it would stand in the plan and in the journal",
            "set it with redis-cli (ACL SETUSER, or CONFIG SET from a file), on every node",
        )
    reach = Reach(tuple(nodes))
    if identity.kind == "memcached":
        return _memcached(identity, target, (name, value), before, reach=reach, now=now)
    lines = []
    if reach.before(name, before) == value:
        lines.append(f"it is {value or 'empty'} already: nothing changes")
    if name in _FIXED:
        lines.append("servers fix this when they start and refuse a change: it belongs into the file, then restart")
    if name in _DANGERS:
        lines.append(f"warning: {_DANGERS[name]}")
    if not lines:
        lines.append("at once: it holds for everybody from then on")
    return setting_plan(
        identity,
        target,
        (name, _as_shown(value)),
        before,
        Effect(tuple(lines), "high" if name in _TYPED else "medium"),
        title=f"Set {name} to {printable(value, 60) or 'nothing'}",
        needs="settings",
        reach=reach,
        rewrite=rewrite,
        reworded=True,
        typed=name in _TYPED,
        now=now,
    )


def _as_shown(value: str) -> str:
    """Return a size as the server will show it, in bytes; anything else as it is.

    >>> _as_shown("100mb"), _as_shown("yes"), _as_shown("100m")
    ('104857600', 'yes', '100m')
    """
    return str(parse_size(value)) if _SIZED.fullmatch(value) else value


def _memcached(
    identity: Identity,
    target: str,
    setting: tuple[str, str],
    before: str | None,
    *,
    reach: Reach,
    now: float | None,
) -> Plan:
    name, value = setting
    shown = next((node.values for node in reach.nodes if node.values), {})
    change = memcached_change(name, value, shown)
    old = reach.before(name, before)
    addresses = reach.addresses
    undo = f"set {name} back to {old}" if old is not None else f"no undo: {name} is unknown, or not the same everywhere"
    return stamped(
        identity,
        target,
        f"Set {name} to {change.shown}" + (f" on {len(addresses)} servers" if len(addresses) > 1 else ""),
        (change.command,),
        (
            f"set {name} of {target} from {old or 'unknown'} to {change.shown}",
            *reach.lines(name),
            *change.lines,
            "it holds until the server restarts",
        ),
        needs="settings",
        risk="high" if change.risky else "medium",
        undo=undo,
        typed=typed_name(target) if name == "maxbytes" else None,
        expects=(name, change.shown),
        back=() if old is None else ((name, old, change.shown),),
        nodes=addresses,
        reworded=True,
        now=now,
    )
