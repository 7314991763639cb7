"""The nodes that a change of settings goes to: what each has now, what it will do there, and the way back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from cachetui.actions.plan.commands import render
from cachetui.actions.plan.effects import Effect
from cachetui.model import NodeSettings, Stats

_SEVERAL = {"primary": "primaries", "replica": "replicas", "server": "servers"}


@dataclass(frozen=True, slots=True)
class Reach:
    """The nodes a change goes to, none for the server that is asked alone."""

    nodes: tuple[NodeSettings, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """What the plan goes to by address; nothing when that is the asked server alone."""
        if len(self.nodes) == 1 and self.nodes[0].myself:
            return ()
        return tuple(node.address for node in self.nodes)

    def lines(self, name: str = "") -> list[str]:
        """Name every node, with what it shows of the setting now."""
        if not self.addresses:
            return []
        roles = Counter(node.role for node in self.nodes)
        kinds = ", ".join(
            f"{number} {role if number == 1 else _SEVERAL.get(role, role)}" for role, number in roles.items()
        )
        several = len(self.nodes) > 1
        lines = [f"goes to {kinds}" + (", one after the other:" if several else ":")]
        for node in self.nodes:
            now = f": {node.values[name] or 'empty'} now" if name in node.values else ""
            if node.problem:
                now = f": does not answer now, will be tried; {node.problem}"
            lines.append(f"- {node.address} ({node.role}){now}")
        if len(self.befores(name)) > 1:
            lines.append(f"drift: {name} is not the same on all of them now; afterwards it is")
        return lines

    def befores(self, name: str) -> dict[str, list[str]]:
        """Return the addresses by the value that they show now."""
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            if name in node.values:
                found.setdefault(node.values[name], []).append(node.address)
        return found

    def before(self, name: str, known: str | None) -> str | None:
        """Return the one value of all nodes, else None; `known` where no node shows any."""
        values = list(self.befores(name))
        return known if not values else values[0] if len(values) == 1 else None

    def effects_elsewhere(self, stats: Stats, effect_of: Callable[[Stats], Effect]) -> list[str]:
        """Say what happens at once on the other nodes that evict; `stats` is of the asked server."""
        lines = []
        for node in self.nodes:
            if node.myself or node.problem or node.role == "replica":
                continue
            effect = effect_of(_stats_of(node, stats))
            if effect.hurts_at_once:
                lines += [f"{node.address}: {line}" for line in effect.lines if line.startswith(("at once", "lower"))]
        return lines

    def rewrite_lines(self) -> list[str]:
        """Say where CONFIG REWRITE will be refused."""
        without = [node.address for node in self.nodes if node.has_file is False]
        if not without:
            return []
        return [f"CONFIG REWRITE will be refused by {', '.join(without)}: started without a configuration file"]

    def way_back(self, name: str, old: str | None, *, rewrite: bool) -> str:
        """Return how to set it back by hand, or why there is no one way."""
        befores = self.befores(name)
        if old is None:
            if len(befores) < 2:
                return f"no undo: the old {name} is unknown"
            parts = (f"{value or 'empty'} on {', '.join(where)}" for value, where in befores.items())
            return f"no undo in one: {name} was {'; '.join(parts)}"
        undo = render((b"CONFIG", b"SET", name.encode(), old.encode()))
        if rewrite:
            undo += ", then CONFIG REWRITE"
        number = len(self.addresses)
        return undo + (f", on each of the {number} nodes" if number > 1 else "")


def _stats_of(node: NodeSettings, stats: Stats) -> Stats:
    limit = node.values.get("maxmemory", node.values.get("maxbytes", ""))
    return replace(
        stats,
        used_bytes=node.used_bytes,
        maxmemory_bytes=int(limit) if limit.isdigit() else None,
        policy=node.values.get("maxmemory-policy"),
        keys=None,
        databases=(),
    )
