"""The settings of every node of a target, and where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from cachetui.model.stats import Identity

HIDDEN = "***"
"""Stands for a secret that is set."""

OWN = frozenset(
    (
        *("port", "tls-port", "bind", "bind-source-addr", "unixsocket", "dir", "pidfile", "logfile"),
        *("replicaof", "slaveof", "cluster-config-file"),
        *("tcpport", "udpport", "inter", "domain_socket", "memory_file"),
    )
)
"""What belongs to one node alone, as does all that is announced: it differs by nature."""


def is_secret(name: str) -> bool:
    """Tell whether a setting holds a password.

    >>> [is_secret(name) for name in ("requirepass", "primaryauth", "tls-key-file-pass", "tls-auth-clients")]
    [True, True, True, False]
    """
    name = name.lower()
    return name.endswith(("pass", "auth")) or "password" in name or "secret" in name


def is_own(name: str) -> bool:
    """Tell whether a setting is each node's own, so that its differing means nothing."""
    return name in OWN or "announce" in name


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """One node and its settings."""

    address: str
    """`host:port` as the other nodes call it: what `Source.execute_on` takes."""
    role: str = "server"
    """`primary`, `replica` or `server`."""
    myself: bool = False
    """It is the server that was asked."""
    values: Mapping[str, str] = field(default_factory=dict)
    """By name, in the server's order, printable; a secret that is set is `***`."""
    used_bytes: int | None = None
    has_file: bool | None = None
    """Whether it was started with a configuration file; None: not told."""
    problem: str = ""
    """Why its settings are unknown."""


@dataclass(frozen=True, slots=True)
class SettingsByNode:
    """The settings of all nodes of a target, as far as they answer."""

    taken_at: float
    server: Identity
    nodes: tuple[NodeSettings, ...] = ()
    note: str = ""
    """What a reader must know: that other nodes could not be found, ..."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names, each once."""
        return tuple(dict.fromkeys(name for node in self.nodes for name in node.values))

    @property
    def here(self) -> NodeSettings | None:
        """The server that was asked; of several without such a one the first that answers."""
        return next(
            (node for node in self.nodes if node.myself), next((node for node in self.nodes if node.values), None)
        )

    @property
    def reach(self) -> tuple[NodeSettings, ...]:
        """The nodes a change is for: all of a cluster or fleet, else the server and its replicas."""
        if self.server.mode in ("cluster", "fleet"):
            return self.nodes
        return tuple(node for node in self.nodes if node.myself or node.role != "primary")

    @property
    def drift(self) -> tuple[str, ...]:
        """The names whose values are not the same on all nodes that have them."""
        return tuple(name for name in self.names if not is_own(name) and len(self.shares(name)) > 1)

    def values_of(self, name: str) -> dict[str, str]:
        """Return the setting's value by node's address, of those that show it."""
        return {node.address: node.values[name] for node in self.nodes if name in node.values}

    def shares(self, name: str) -> list[tuple[str, int]]:
        """Return each value of a setting with the number of nodes that have it, the most frequent first."""
        return Counter(self.values_of(name).values()).most_common()
