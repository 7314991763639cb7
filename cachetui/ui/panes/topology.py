"""The topology pane: who is who, how far behind, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cachetui import text
from cachetui.model import Node, Topology
from cachetui.source.base import Kind
from cachetui.ui.line import Line, Span, line
from cachetui.ui.panes import topology_cluster, topology_replication, topology_sentinel
from cachetui.ui.panes.pane import TablePane, trouble_words
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row, Table

_REDIS = (
    Column("address", 22),
    Column("role", 8),
    Column("state", 12),
    Column("lag", 9, "right"),
    Column("slots", 0, wide_only=90),
    Column("note", 0, wide_only=70),
)
_FLEET = (
    Column("address", 22),
    Column("state", 7),
    Column("items", 7, "right"),
    Column("used", 8, "right"),
    Column("of", 8, "right"),
    Column("hit rate", 8, "right"),
    Column("clients", 7, "right"),
    Column("note", 0, wide_only=90),
)
LAG_WARN_BYTES = 1024**2
DETAIL_ROWS = 3
"""Lines on the selected node of a cluster."""
_GOOD_STATES = ("online", "connected", "up", "myself", "ok")


class TopologyPane(TablePane):
    """One server with its replicas or primary; a cluster node's or a Sentinel's view; a Memcached fleet."""

    heading = "Topology"
    kinds: ClassVar[tuple[Kind, ...]] = ("topology",)

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.table = Table(_REDIS)

    def notes(self, scene: Scene) -> list[Line]:
        topology, width = scene.evidence.topology, self.content_size.width
        if topology is None:
            return []
        if topology_cluster.concerns(topology):
            height, plain = self.content_size.height, scene.settings.ascii
            return topology_cluster.head(topology, scene.findings, width, height, ascii_only=plain)
        lines = [line((text.fit(topology.summary, width), "title"))]
        lines += [line((text.fit("! " + problem, width), "bad")) for problem in topology.problems[:4]]
        return lines

    def empty_words(self, scene: Scene) -> str:
        state = scene.states.get("topology")
        if state is not None and state.trouble is not None:
            return trouble_words(state.trouble)
        return "waiting"

    def rows(self, scene: Scene) -> Sequence[Row]:
        topology = scene.evidence.topology
        if topology is None:
            return []
        fleet = topology.server.kind == "memcached"
        if topology_cluster.concerns(topology):
            self.table.columns = topology_cluster.COLUMNS
            return topology_cluster.rows(topology)
        if topology_replication.concerns(topology):
            self.table.columns = topology_replication.COLUMNS
            return topology_replication.rows(topology)
        self.table.columns = _FLEET if fleet else _REDIS
        return [_server_row(node) if fleet else _node_row(node) for node in topology.nodes]

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        topology = scene.evidence.topology
        if topology is not None and topology_replication.concerns(topology):
            return self._replicated(scene, topology, width, height)
        if topology is not None and topology_cluster.concerns(topology):
            return self._sharded(scene, topology, width, height)
        facts = topology.facts if topology is not None else ()
        below = min(len(facts) + 1, height // 2) if facts else 0
        drawn = super().draw(scene, width, height - below)
        head = min(len(drawn), len(self.notes(scene)) + 1 + max(1, len(self.table.rows)))
        del drawn[head:]
        if below:
            drawn.append(line())
            drawn += [line((text.fit(name, 26), "muted"), value) for name, value in facts[: below - 1]]
        return drawn

    def selected(self) -> Node | None:
        """Return the node under the cursor."""
        row, topology = self.table.current, self.scene.evidence.topology if self.scene is not None else None
        if row is None or topology is None:
            return None
        return next((node for node in topology.nodes if row.row_id in (node.node_id or node.address,)), None)

    def _sharded(self, scene: Scene, topology: Topology, width: int, height: int) -> list[Line]:
        """Draw the shards, then the selected node and the hottest slots where there is room."""
        head = len(self.notes(scene)) + bool(self.table.needle) + 1 + max(1, len(self.table.rows))
        node = self.selected()
        about = topology_cluster.detail(node, width) if node is not None and height - head >= DETAIL_ROWS + 1 else []
        hot = topology_cluster.below(topology, width, height - head - len(about) - 3) if about else []
        below = [*([line()] if about else []), *about, *([line()] if hot else []), *hot]
        drawn = super().draw(scene, width, height - len(below))
        return [*drawn[:head], *below][:height]

    def _replicated(self, scene: Scene, topology: Topology, width: int, height: int) -> list[Line]:
        """Draw who follows whom, then what the Sentinels say, then the facts that there is room for."""
        head = len(self.notes(scene)) + bool(self.table.needle) + 1 + max(1, len(self.table.rows))
        said = topology_sentinel.section(topology, scene.now, width, min(height - min(head, height // 2) - 1, height))
        room = height - min(head, height - len(said) - 1) - len(said) - 2
        facts = topology_replication.fact_lines(topology, width, max(0, room))
        below = [*([line()] if said else []), *said, *([line()] if facts else []), *facts]
        drawn = super().draw(scene, width, height - len(below))
        return [*drawn[:head], *below][:height]


def _state(node: Node) -> Span:
    good = node.state.split(",")[0] in _GOOD_STATES
    return (node.state, "ok") if good else (f"! {node.state}", "bad")


def _address(node: Node) -> Span:
    return (node.address + (" (this)" if node.myself else ""), "")


def _node_row(node: Node) -> Row:
    lag = text.size(node.lag_bytes) if node.lag_bytes is not None else text.duration(node.lag_s)
    lag_style = "warn" if (node.lag_bytes or 0) > LAG_WARN_BYTES else ""
    cells = (_address(node), (node.role, ""), _state(node), (lag, lag_style), (node.slots, ""), (node.note, "muted"))
    return Row(node.node_id or node.address, cells, (node.address, node.role, node.state, node.lag_bytes, node.slots))


def _server_row(node: Node) -> Row:
    hits, misses = node.hits_total, node.misses_total
    hit_rate = 100 * hits / (hits + misses) if hits is not None and misses is not None and hits + misses else None
    figures = (text.count(node.keys), text.size(node.used_bytes), text.size(node.limit_bytes), text.percent(hit_rate))
    cells = (
        _address(node),
        _state(node),
        *((figure, "") for figure in (*figures, text.count(node.clients))),
        (node.note, "muted"),
    )
    order = (node.address, node.state, node.keys, node.used_bytes, node.limit_bytes, hit_rate, node.clients)
    return Row(node.address, cells, order)
