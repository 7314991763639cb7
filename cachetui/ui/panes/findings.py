"""The findings pane: problems, worst first, each with its evidence and remedy."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import ClassVar

from cachetui import text
from cachetui.source.base import Kind
from cachetui.ui.line import Line, line
from cachetui.ui.panes.pane import TablePane
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row, Table

_SIGNS = {"high": ("!! high", "bad"), "medium": ("! medium", "warn"), "low": ("low", "muted")}
_RANK = {"high": 0, "medium": 1, "low": 2}


class FindingsPane(TablePane):
    """The ranked problems; the lower half explains the selected one."""

    heading = "Findings"
    kinds: ClassVar[tuple[Kind, ...]] = ("stats", "slowlog", "clients", "topology")
    detail_rows = 11

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.table = Table((Column("priority", 9), Column("about", 13), Column("issue")))

    def title(self, scene: Scene) -> str:
        return super().title(scene) + f" · {len(scene.findings)}"

    def empty_words(self, scene: Scene) -> str:
        return (
            "waiting for the first answer"
            if scene.evidence.stats is None
            else "nothing found: all is well as far as can be seen"
        )

    def rows(self, scene: Scene) -> Sequence[Row]:
        return [
            Row(
                f.id,
                (_SIGNS[f.priority], (f.category, "muted"), (f.issue, "")),
                (_RANK[f.priority], f.category, f.issue),
            )
            for f in scene.findings
        ]

    def detail(self, scene: Scene, width: int) -> list[Line]:
        row = self.table.current
        finding = next((f for f in scene.findings if row is not None and f.id == row.row_id), None)
        if finding is None:
            return []
        lines = [line(part) for part in textwrap.wrap(finding.issue, width)]
        lines += [line(("do  ", "muted"), part) for part in textwrap.wrap(finding.action, max(10, width - 4))]
        lines += [
            line(("run ", "muted"), text.fit(text.printable(command), width - 4).rstrip())
            for command in finding.commands
        ]
        evidence = text.printable(json.dumps(finding.evidence, default=str, ensure_ascii=False))
        lines += [line((part, "muted")) for part in textwrap.wrap(f"{finding.id}  {evidence}", width)]
        return lines
