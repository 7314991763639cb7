"""The clients pane: who is connected, what they do, what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cachetui import text
from cachetui.analysis.activity import By, ClientGroup, client_groups
from cachetui.model import ClientInfo
from cachetui.source.base import Kind
from cachetui.ui.line import Line, line
from cachetui.ui.panes.pane import TablePane, trouble_words
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row, Table

_COLUMNS = (
    Column("address", 21),
    Column("name", 0),
    Column("age", 7, "right"),
    Column("idle", 7, "right"),
    Column("memory", 8, "right"),
    Column("output", 8, "right", wide_only=90),
    Column("db", 3, "right", wide_only=90),
    Column("command", 16),
    Column("flags", 6, wide_only=110),
    Column("user", 12, wide_only=110),
    Column("library", 20, wide_only=140),
)
_BY_NODE = (*_COLUMNS[:2], Column("node", 21, wide_only=100), *_COLUMNS[2:])
"""For the clients of a whole cluster."""


_GROUPS = (
    Column("who", 0),
    Column("clients", 7, "right"),
    Column("memory", 8, "right"),
    Column("output", 8, "right", wide_only=90),
    Column("commands/s", 10, "right"),
    Column("in/s", 9, "right"),
    Column("out/s", 9, "right"),
    Column("idle", 7, "right"),
)
_NEXT: dict[str, By | None] = {
    "": "name",
    "name": "library",
    "library": "host",
    "host": "user",
    "user": "command",
    "command": None,
}


class ClientsPane(TablePane):
    """CLIENT LIST or `stats conns`, one by one or (`b`) grouped; our own connections are marked."""

    heading = "Clients"
    kinds: ClassVar[tuple[Kind, ...]] = ("clients",)
    detail_rows = 4

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.table = Table(_COLUMNS)
        self.by: By | None = None

    def title(self, scene: Scene) -> str:
        clients = scene.evidence.clients
        words = super().title(scene) + (f" · {len(clients.clients)}" if clients is not None else "")
        return words + (f" · by {self.by}" if self.by else "")

    def empty_words(self, scene: Scene) -> str:
        state = scene.states.get("clients")
        if state is not None and state.trouble is not None:
            return trouble_words(state.trouble)
        return "waiting"

    def rows(self, scene: Scene) -> Sequence[Row]:
        clients = scene.evidence.clients
        several = clients is not None and any(client.node for client in clients.clients)
        self.table.columns = _GROUPS if self.by else _BY_NODE if several else _COLUMNS
        if clients is None:
            return []
        if self.by:
            return [_group_row(group) for group in client_groups(clients.clients, self.by)]
        return [_row(client, by_node=several) for client in clients.clients]

    def notes(self, scene: Scene) -> list[Line]:
        clients = scene.evidence.clients
        words = clients.note if clients is not None else ""
        return [line((text.fit(words, self.content_size.width), "muted"))] if words else []

    def command(self, command_id: str) -> bool:
        if command_id == "group":
            self.by = _NEXT[self.by or ""]
            self.table.sort_column = None
            if self.scene is not None:
                self.show(self.scene)
            return True
        return super().command(command_id)

    def selected(self) -> ClientInfo | None:
        """Return the client under the cursor."""
        row = self.table.current
        if row is None or self.scene is None or self.scene.evidence.clients is None:
            return None
        return next((c for c in self.scene.evidence.clients.clients if _row_id(c) == row.row_id), None)

    def detail(self, scene: Scene, width: int) -> list[Line]:
        client = self.selected()
        if client is None:
            return []
        figures = [
            ("in", text.size(client.net_in_bytes_total)),
            ("out", text.size(client.net_out_bytes_total)),
            ("commands", text.count(client.commands_total)),
            ("now", f"{text.rate(client.commands_per_s)}"),
            ("query buffer", text.size(client.query_bytes)),
            ("output buffer", text.size(client.output_bytes)),
            ("subscriptions", text.count(client.subscriptions)),
        ]
        return [
            line(
                ("client ", "muted"),
                f"{text.UNKNOWN if client.client_id is None else client.client_id}  {client.address}  {client.name}",
            ),
            line(*((f"{name} {figure}   ", "" if figure != text.UNKNOWN else "muted") for name, figure in figures)),
            line(("one of our own connections" if client.ours else "", "muted")),
        ]


def _group_row(group: ClientGroup) -> Row:
    dim = "muted" if group.ours else ""
    cells = (
        (group.name, dim),
        (str(group.clients), dim),
        (text.size(group.memory_bytes), dim),
        (text.size(group.output_bytes), dim),
        (text.rate(group.commands_per_s), dim),
        (_bytes_rate(group.in_bytes_per_s), dim),
        (_bytes_rate(group.out_bytes_per_s), dim),
        (text.duration(group.idle_s), dim),
    )
    order = (group.name, group.clients, group.memory_bytes, group.output_bytes, group.commands_per_s)
    return Row(("group", group.name), cells, (*order, group.in_bytes_per_s, group.out_bytes_per_s, group.idle_s))


def _bytes_rate(per_s: float | None) -> str:
    return text.UNKNOWN if per_s is None else f"{text.size(per_s)}/s"


def _row_id(client: ClientInfo) -> object:
    number = client.address if client.client_id is None else client.client_id
    return (client.node, number) if client.node else number


def _row(client: ClientInfo, *, by_node: bool) -> Row:
    name = client.name + ("  (cachetui)" if client.ours and client.name != "cachetui" else "")
    dim = "muted" if client.ours else ""
    node = [(client.node, dim)] if by_node else []
    cells = (
        (client.address, dim),
        (name, dim),
        *node,
        (text.duration(client.age_s), dim),
        (text.duration(client.idle_s), dim),
        (text.size(client.memory_bytes), dim),
        (text.size(client.output_bytes), dim),
        (text.UNKNOWN if client.db is None else str(client.db), dim),
        (client.command, dim),
        (client.flags, dim),
        (client.user, dim),
        (client.library, dim),
    )
    order = (
        client.address,
        client.name,
        *([client.node] if by_node else []),
        client.age_s,
        client.idle_s,
        client.memory_bytes,
        client.output_bytes,
        client.db,
        client.command,
        client.flags,
        client.user,
        client.library,
    )
    return Row(_row_id(client), cells, order)
