"""The dashboard under a pilot, connected to a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from textual.pilot import Pilot

from cachetui.config import Settings, parse_target
from cachetui.ui.app import CachetuiApp
from cachetui.ui.live import Live

WAIT_S = 10.0


class Screen:
    """A running app with the words a test needs."""

    def __init__(self, app: CachetuiApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def live(self) -> Live:
        """What is behind the screen."""
        assert self.app.live is not None
        return self.app.live

    def text(self, selector: str = "") -> str:
        """Return what a canvas (or all of them) shows."""
        from cachetui.ui.canvas import Canvas

        chosen = self.app.query(selector).results(Canvas) if selector else self.app.query(Canvas).results()
        return "\n".join("".join(part for part, _ in drawn.spans) for canvas in chosen for drawn in canvas.lines)

    def dialog(self) -> str:
        """Return the words of the modal screen on top."""
        from textual.widgets import Static

        return "\n".join(str(static.content) for static in self.app.screen.query(Static))

    def meter(self) -> str:
        """Return what the preview on top shows of a plan that runs."""
        from cachetui.ui.canvas import Canvas

        lines = self.app.screen.query_one("#meter", Canvas).lines
        return "\n".join("".join(part for part, _ in drawn.spans) for drawn in lines)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, what: Callable[[], object], words: str = "") -> None:
        """Wait until `what` is true."""
        async with asyncio.timeout(WAIT_S):
            while not what():
                await self.pilot.pause(0.02)

    async def shows(self, words: str, selector: str = "") -> None:
        """Wait until the screen shows `words`."""
        try:
            await self.until(lambda: words in self.text(selector))
        except TimeoutError:
            raise AssertionError(f"no {words!r} in:\n{self.text(selector)}") from None


Open = Callable[..., AbstractAsyncContextManager[Screen]]


@pytest.fixture
def dashboard() -> Open:
    """Open the dashboard on a URL: `async with dashboard(url, size=(120, 40)) as screen:`."""

    @asynccontextmanager
    async def opened(
        url: str, *, size: tuple[int, int] = (120, 40), settings: Settings | None = None
    ) -> AsyncIterator[Screen]:
        app = CachetuiApp(parse_target(url), settings or Settings())
        async with app.run_test(size=size, notifications=True) as pilot:
            screen = Screen(app, pilot)
            await screen.until(lambda: app.live is not None)
            yield screen

    return opened
