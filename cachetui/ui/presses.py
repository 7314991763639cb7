"""What the presses do that change nothing on a server; those that do are in `acting`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cachetui.text import from_printable, printable
from cachetui.ui.commands import BY_ID, COMMANDS
from cachetui.ui.panes.keys import KeysPane
from cachetui.ui.panes.pane import TablePane
from cachetui.ui.screens.dialog import Help, Prompt
from cachetui.ui.screens.palette import Palette

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live

Answer = Callable[["CachetuiApp", "Live"], Awaitable[None]]

INTERVALS_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


async def _open(app: CachetuiApp, live: Live) -> None:
    """From the Overview, Enter leads to the view of the pane."""
    if app.view_id == "overview" and (view_id := app.pane.heading.lower()) in BY_ID:
        await app.go(view_id)


async def _back(app: CachetuiApp, live: Live) -> None:
    if app.view.zoomed:
        app.view.zoom()
    elif app.view_id != "overview":
        await app.go("overview")


async def _open_key(app: CachetuiApp, live: Live) -> None:
    hint = "the exact name; write odd bytes as they are shown: \\x1b, \\n"
    name = await app.push_screen_wait(Prompt("open key", hint=hint))
    if name is not None:
        await app.go("keys")
        await live.browser.open(from_printable(name))


async def _filter(app: CachetuiApp, live: Live) -> None:
    pane = app.pane
    if not isinstance(pane, TablePane):
        app.say("this pane has no list to filter")
        return
    before = pane.table.needle
    prompt = Prompt("filter", initial=before, hint="Enter keeps it, Esc takes it back", live=pane.find)
    if await app.push_screen_wait(prompt) is None:
        pane.find(before)


async def _palette(app: CachetuiApp, live: Live) -> None:
    chosen = await app.push_screen_wait(Palette([(row, app.why_not(row)) for row in COMMANDS]))
    if chosen is not None:
        await app.action_command(chosen)


async def _help(app: CachetuiApp, live: Live) -> None:
    await app.push_screen_wait(Help([(row, app.why_not(row)) for row in COMMANDS]))


async def _copy(app: CachetuiApp, live: Live) -> None:
    copied = app.pane.copied()
    if copied:
        app.copy_to_clipboard(copied)
        app.say(f"copied {printable(copied, 60)}")


async def _freeze(app: CachetuiApp, live: Live) -> None:
    live.freeze(not live.frozen)
    app.soon()


async def _refresh(app: CachetuiApp, live: Live) -> None:
    live.refresh()


async def _arm(app: CachetuiApp, live: Live) -> None:
    live.arm()
    app.say("writes are allowed for five minutes", severity="warning")
    app.soon()


async def _zoom(app: CachetuiApp, live: Live) -> None:
    app.view.zoom()


def _step(by: int) -> Answer:
    async def step(app: CachetuiApp, live: Live) -> None:
        app.view.step(by)

    return step


def _interval(by: int) -> Answer:
    async def change(app: CachetuiApp, live: Live) -> None:
        nearest = min(INTERVALS_S, key=lambda interval_s: abs(interval_s - live.interval_s))
        at = INTERVALS_S.index(nearest) + by
        wanted = INTERVALS_S[max(0, min(len(INTERVALS_S) - 1, at))]
        live.set_interval(wanted)
        app.say(f"every {wanted:g} s")

    return change


def _replay(what: str) -> Answer:
    async def replay(app: CachetuiApp, live: Live) -> None:
        live.replay(what)
        app.soon()

    return replay


ANSWERS: dict[str, Answer] = {
    "open": _open,
    "back": _back,
    "copy": _copy,
    "freeze": _freeze,
    "refresh": _refresh,
    "arm": _arm,
    "zoom": _zoom,
    "next-pane": _step(1),
    "previous-pane": _step(-1),
    "faster": _interval(-1),
    "slower": _interval(1),
    "replay-pause": _replay("pause"),
    "replay-step": _replay("step"),
    "replay-faster": _replay("faster"),
    "replay-slower": _replay("slower"),
}
"""Done at once, in the order of the presses."""

DIALOGS: dict[str, Answer] = {"open-key": _open_key, "filter": _filter, "palette": _palette, "help": _help}
"""Ask something first: they wait in a worker, and presses go on."""


async def show_in_keys(app: CachetuiApp, live: Live, row_id: tuple[str, bytes]) -> None:
    """Open a prefix or key of the Overview in the Keys view."""
    await app.go("keys")
    pane = app.pane
    if isinstance(pane, KeysPane):
        pane.show(live.scene())
        pane.table.select(row_id)
        pane.command("right")
