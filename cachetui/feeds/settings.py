"""The settings of every node, read again every few seconds while somebody looks at them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from cachetui.model import SettingsByNode, Trouble
from cachetui.model.trouble import trouble_of
from cachetui.source.base import Source

EVERY_S = 5.0


class SettingsFeed:
    """Reads `source.settings()` while it is wanted. `on_change` is called in the loop and must be cheap."""

    def __init__(self, source: Source, on_change: Callable[[], None], *, every_s: float = EVERY_S) -> None:
        self.source = source
        self.latest: SettingsByNode | None = None
        """The newest answer, however old it is."""
        self.trouble: Trouble | None = None
        """Why there is no newer one."""
        self._on_change, self._every_s = on_change, every_s
        self._task: asyncio.Task[None] | None = None
        self._due = asyncio.Event()
        self._wanted = False

    def want(self, on: bool) -> None:
        """Begin or end reading; needs a running loop. A reading under way comes to its end: cancelling costs a link."""
        self._wanted = on
        if on and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run(), name="settings")
        elif not on:
            self._due.set()

    def poke(self) -> None:
        """Read again now, if anybody looks."""
        self._due.set()

    async def close(self) -> None:
        """End reading."""
        self._wanted = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while self._wanted:
            self._due.clear()
            try:
                self.latest = await self.source.settings()
                self.trouble = None
            except Exception as error:  # a defect of ours is told too, and asked again
                self.trouble = trouble_of(error, self.source.now())
            self._on_change()
            if self._wanted:
                with contextlib.suppress(TimeoutError):  # nobody asked in between: it is time again
                    await asyncio.wait_for(self._due.wait(), self._every_s)
