"""The dashboard over a recording that stands still, and what it shows, as text."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.color import Color
from textual.pilot import Pilot

from cachetui.config import Settings, Target
from cachetui.feeds.record import read_recording
from cachetui.model import ScanStep, Stats
from cachetui.source.base import Kind, Polled
from cachetui.source.replay import ReplaySource
from cachetui.ui.app import CachetuiApp
from cachetui.ui.live import Live

WAIT_S = 15.0


class Held(ReplaySource):
    """A recording that says nothing before `go` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.go = asyncio.Event()

    async def poll(self, kind: Kind) -> Polled:
        await self.go.wait()
        return await super().poll(kind)

    async def scan(
        self, cursor: bytes | None = None, *, match: bytes | None = None, type_: str | None = None, count: int = 500
    ) -> ScanStep:
        await self.go.wait()
        return await super().scan(cursor, match=match, type_=type_, count=count)


class Stage:
    """A running app and its pilot."""

    def __init__(self, app: CachetuiApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def live(self) -> Live:
        assert self.app.live is not None
        return self.app.live

    async def until(self, what: Callable[[], object]) -> None:
        """Wait until `what` is true."""
        async with asyncio.timeout(WAIT_S):
            while not what():
                await self.pilot.pause(0.02)

    async def press(self, *presses: str) -> None:
        await self.pilot.press(*presses)
        await self.pilot.pause()

    async def view(self, press: str) -> None:
        """Go to a view and wait until all that it shows has come."""
        await self.press(press)
        await self.until(lambda: self.app.view.kinds() <= self.live.feeds.latest.keys())
        if self.app.view.looks_at_keys:
            browse = self.live.browser.state
            await self.until(lambda: browse.scanned_at is not None and not browse.scanning)
        await self.pilot.pause()


@asynccontextmanager
async def replayed(
    path: Path, *, size: tuple[int, int], at_s: float, settings: Settings | None = None
) -> AsyncIterator[Stage]:
    """Show the recording, paused `at_s` seconds after its start and with all that was known by then."""
    source = Held(path)
    app = CachetuiApp(Target(kind="replay", addresses=(), path=str(path)), settings or Settings(), source=source)
    async with app.run_test(size=size) as pilot:
        stage = Stage(app, pilot)
        await stage.until(lambda: app.live is not None)
        await source.open()
        source.pause()
        source.seek_s(at_s)
        for entry in read_recording(path)[1]:
            if isinstance(entry.item, Stats) and entry.at <= source.now():
                stage.live.feeds.history.append(entry.item)
        source.go.set()
        await stage.view("1")
        yield stage


_RULE = re.compile(r"-(r\d+) \{ fill: (#\w{6})(;font-weight: bold)?")
_TEXT = re.compile(r'<text class="[^"]*-(r\d+)" x="([\d.]+)"[^>]*-line-(\d+)\)">([^<]*)</text>')
_CELL = 12.2
"""Width of a cell in Rich's pictures."""
_LETTERS = {"foreground": ".", "muted": "m", "accent": "a", "ok": "o", "warn": "w", "bad": "b", "unknown": "u"}


def drawn(app: CachetuiApp) -> str:
    """Return the screen as text, and below it the style of each cell: a letter for the colour, a capital for bold."""
    svg = app.export_screenshot(title="")
    colors = {Color.parse(app.theme_variables[name]).hex.lower(): letter for name, letter in _LETTERS.items()}
    styles = {}
    for name, fill, bold in _RULE.findall(svg):
        letter = colors.get(fill, "?")
        styles[name] = letter.upper().replace(".", ":") if bold else letter
    width, height = app.size
    words, letters = ([[" "] * width for _ in range(height)] for _ in range(2))
    for name, x, row, text in _TEXT.findall(svg):
        column = round(float(x) / _CELL)
        for at, char in enumerate(html.unescape(text.rstrip("\n")).replace("\xa0", " ")):
            words[int(row)][column + at] = char
            letters[int(row)][column + at] = styles[name] if char != " " else " "
    return "\n".join("".join(row).rstrip() for row in (*words, ["-"] * width, *letters)) + "\n"
