"""Slots on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.pace import Pacer
from cachetui.actions.plan.tasks import Gather, Move
from cachetui.actions.tally import Tally


class Mover:
    def __init__(
        self,
        nodes: Nodes,
        tally: Tally,
        *,
        pacer: Pacer,
        tell: Callable[[str], None],
        note: Callable[[], None],
        cancel: asyncio.Event | None,
    ) -> None:
        self._nodes, self._tally = nodes, tally

    async def move(self, task: Move) -> None:
        raise NotImplementedError

    async def gather(self, task: Gather) -> None:
        raise NotImplementedError
