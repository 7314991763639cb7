"""The clients pane: who is connected, what they do, what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cachetui import text
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


class ClientsPane(TablePane):
    """CLIENT LIST or `stats conns`; our own connections are marked."""

    heading = "Clients"
    kinds: ClassVar[tuple[Kind, ...]] = ("clients",)
    detail_rows = 4

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.table = Table(_COLUMNS)

    def title(self, scene: Scene) -> str:
        clients = scene.evidence.clients
        return super().title(scene) + (f" · {len(clients.clients)}" if clients is not None else "")

    def empty_words(self, scene: Scene) -> str:
        state = scene.states.get("clients")
        if state is not None and state.trouble is not None:
            return trouble_words(state.trouble)
        return "waiting"

    def rows(self, scene: Scene) -> Sequence[Row]:
        clients = scene.evidence.clients
        return [] if clients is None else [_row(client) for client in clients.clients]

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


def _row_id(client: ClientInfo) -> object:
    return client.address if client.client_id is None else client.client_id


def _row(client: ClientInfo) -> Row:
    name = client.name + ("  (cachetui)" if client.ours and client.name != "cachetui" else "")
    dim = "muted" if client.ours else ""
    cells = (
        (client.address, dim),
        (name, dim),
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
