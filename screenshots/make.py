"""Makes the pictures beside this file from the real demo: `make screenshots`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from textual.pilot import Pilot

from cachetui.config import Settings, parse_target
from cachetui.demo.run import Demo
from cachetui.ui.app import CachetuiApp
from cachetui.ui.canvas import Canvas

HERE = Path(__file__).parent
WARM_S = 60.0
"""The demo fills its server and settles; the trends get something to show."""
PLAYED_S = 14.0
"""What goes wrong has gone wrong by then."""
WAIT_S = 40.0
FONTS = re.compile(r"@font-face\s*\{.*?\}", re.DOTALL)
"""Textual's pictures would fetch their font from the net."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: the presses that lead there, and a text that must be on the screen by then."""

    name: str
    presses: tuple[str, ...]
    shows: str
    size: tuple[int, int] = (120, 40)
    theme: str = "dark"
    history_s: float = 0.0
    scenario: str = ""
    """What goes wrong meanwhile (see `cachetui.demo.scenarios`)."""


REDIS = (
    Shot("overview", (), "page:", history_s=WARM_S),
    Shot("keys", ("2", "slash", *"user:10", "enter", "enter"), "hash"),
    Shot("slow", ("3",), "big:"),
    Shot("topology", ("4",), "primary"),
    Shot("clients", ("5",), "web-1"),
    Shot("findings", ("8",), "memory"),
    Shot("preview", ("2", "slash", *"page:product:", "enter", "space", "space", "space", "d"), "exact commands"),
    Shot("narrow", (), "hit rate", size=(80, 24), history_s=10),
    Shot("light", (), "page:", theme="light", history_s=30),
    Shot("memory", ("6", "b"), "95 % intervals"),
    Shot("evicted", ("6", "b", "b"), "allkeys-lru <"),
    Shot("stampede", (), "misses", history_s=34, scenario="stampede"),
    Shot("cold-start", (), "hit rate", history_s=34, scenario="cold-start"),
    Shot("expiry-cliff", (), "expired", history_s=34, scenario="expiry-cliff"),
    Shot("hot-key", ("8",), "Commands jumped", history_s=34, scenario="hot-key"),
    Shot("pollution", ("8",), "New keys push out others", history_s=34, scenario="polluting-scan"),
    Shot("retry-storm", ("8",), "Clients give up and try again", history_s=34, scenario="retry-storm"),
)
CLUSTER = (Shot("cluster", ("4",), "slots", history_s=20),)
MEMCACHED = (
    Shot("memcached", (), "page:", history_s=30),
    Shot("slabs", ("2", "6"), "unread", history_s=10),
)


async def take(demo: Demo, shot: Shot) -> None:
    """Open the dashboard, press, wait for the text, save the picture."""
    app = CachetuiApp(parse_target(demo.url), Settings(theme=shot.theme))
    async with app.run_test(size=shot.size) as pilot:
        await until(pilot, lambda: "live" in shown(app), "live")
        await pilot.pause(shot.history_s)
        if shot.scenario:
            demo.play(shot.scenario)
            await pilot.pause(PLAYED_S)
        for press in shot.presses:
            await pilot.press(press)
            await pilot.pause(0.3)
        await until(pilot, lambda: shot.shows in shown(app), shot.shows)
        await pilot.pause(1.0)
        picture = FONTS.sub("", app.export_screenshot(title="cachetui"))
    if shot.scenario:
        demo.play(shot.scenario)  # and so ends it
    (HERE / f"{shot.name}.svg").write_text(picture)
    print(f"{shot.name}.svg")


def shown(app: CachetuiApp) -> str:
    """Return all that is on the screen."""
    from textual.widgets import Static

    canvases = [drawn for canvas in app.screen_stack[0].query(Canvas).results() for drawn in canvas.lines]
    words = [str(static.content) for static in app.screen.query(Static).results()]
    return "\n".join(["".join(part for part, _ in drawn.spans) for drawn in canvases] + words)


async def until(pilot: Pilot[None], what: Callable[[], bool], words: str) -> None:
    """Wait for `what`; without it there is no picture."""
    try:
        async with asyncio.timeout(WAIT_S):
            while not what():
                await pilot.pause(0.1)
    except TimeoutError:
        raise SystemExit(f"the screen never showed {words!r}") from None


async def main() -> None:
    for options, shots in (({}, REDIS), ({"cluster": True}, CLUSTER), ({"memcached": True}, MEMCACHED)):
        async with Demo(**options) as demo:
            for shot in shots:
                await take(demo, shot)


if __name__ == "__main__":
    asyncio.run(main())
