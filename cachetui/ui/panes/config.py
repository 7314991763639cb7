"""The config pane: every setting, and where the nodes differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from cachetui import text
from cachetui.model import SettingsByNode
from cachetui.model.settings import is_own
from cachetui.ui.line import Line, line
from cachetui.ui.panes.pane import TablePane, trouble_words
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row, Table

_ALONE = (Column("setting", 30), Column("value"))
_SEVERAL = (Column("setting", 30), Column("value"), Column("nodes", 11))
NODES_NAMED = 3
"""Of more silent nodes only the number is said above the list."""


class ConfigPane(TablePane):
    """Settings by name, those that differ between nodes first."""

    heading = "Config"
    detail_rows = 7
    instead: ClassVar[Mapping[str, str]] = {"open": "setting", "edit": "setting"}

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.table = Table(_ALONE)
        self._shown: SettingsByNode | None = None
        self._rows: list[Row] = []

    def title(self, scene: Scene) -> str:
        found = scene.settings_by_node
        if found is None:
            return super().title(scene)
        words = [self.heading, f"{len(found.names)} settings"]
        if len(found.nodes) > 1:
            number = len(found.drift)
            words += [f"{len(found.nodes)} nodes", f"! {number} differ" if number else "no drift"]
        if scene.settings_trouble is not None:
            words.append(f"stale since {text.clock(found.taken_at, scene.now)}")
        return " · ".join(words)

    def notes(self, scene: Scene) -> list[Line]:
        found = scene.settings_by_node
        words = []
        if scene.settings_trouble is not None and found is not None:
            words.append(trouble_words(scene.settings_trouble))
        if found is not None:
            silent = [node for node in found.nodes if node.problem]
            words += [f"{node.address} ({node.role}): {node.problem}" for node in silent[:NODES_NAMED]]
            if len(silent) > NODES_NAMED:
                words.append(f"and {len(silent) - NODES_NAMED} more nodes do not answer")
            if found.note:
                words.append(found.note)
        width = self.content_size.width
        return [line((text.fit(f"! {word}", width), "warn")) for word in words]

    def empty_words(self, scene: Scene) -> str:
        if scene.settings_trouble is not None:
            return trouble_words(scene.settings_trouble)
        return "waiting" if scene.settings_by_node is None else self.empty

    def rows(self, scene: Scene) -> Sequence[Row]:
        found = scene.settings_by_node
        if found is None:
            return []
        if found is not self._shown:
            self._shown, self._rows = found, _rows(found)
            self.table.columns = _SEVERAL if len(found.nodes) > 1 else _ALONE
        return self._rows

    def detail(self, scene: Scene, width: int) -> list[Line]:
        found, name = scene.settings_by_node, self.selected()
        if found is None or name is None:
            return []
        lines = []
        for node in found.nodes[: self.detail_rows - 3]:
            value = node.values.get(name, text.UNKNOWN) or "(empty)"
            who = f"{node.address} {node.role} "
            lines.append(line((who, "muted"), text.fit(value, max(8, width - len(who))).rstrip()))
        if len(found.nodes) > len(lines):
            shares = ", ".join(f"{value or '(empty)'} on {number}" for value, number in found.shares(name))
            lines.append(line((text.fit(f"of {len(found.nodes)} nodes: {shares}", width).rstrip(), "muted")))
        return [*lines, line(("Enter or e sets it, on every node; the plan is shown first", "muted"))]

    def selected(self) -> str | None:
        """Return the name under the cursor."""
        row = self.table.current
        return None if row is None else str(row.row_id)


def _rows(found: SettingsByNode) -> list[Row]:
    drift = frozenset(found.drift)
    return [
        _row(found, name, name in drift) for name in sorted(found.names, key=lambda name: (name not in drift, name))
    ]


def _row(found: SettingsByNode, name: str, differs: bool) -> Row:
    here = found.here
    own = is_own(name)
    if differs:
        value = ", ".join(f"{value or '(empty)'} ({number})" for value, number in found.shares(name))
    else:
        shares = found.shares(name)
        value = (here.values[name] if here is not None and name in here.values else shares[0][0]) or "(empty)"
    sign = ("! differ", "warn") if differs else ("each's own" if own else "", "muted")
    style = "warn" if differs else "muted" if value == "(empty)" else ""
    cells = ((name, "warn" if differs else ""), (value, style), sign)
    return Row(name, cells, (name, value, not differs), find=f"{name} {value} {sign[0]}")
