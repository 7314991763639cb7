"""The dashboard: wires the source, the feeds, the views and the command table together."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import threading
import traceback
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal
from textual.filter import LineFilter, NoColor
from textual.worker import Worker, WorkerState

from cachetui.config import Settings, Target, state_dir, user_config_path
from cachetui.errors import CacheError
from cachetui.text import printable
from cachetui.ui import chrome
from cachetui.ui.canvas import Canvas
from cachetui.ui.commands import BY_ID, COMMANDS, VIEWS, CommandRow
from cachetui.ui.filters import AsciiSigns
from cachetui.ui.line import line, width_of
from cachetui.ui.theme import pick_theme

if TYPE_CHECKING:
    from cachetui.demo.run import Demo
    from cachetui.source.base import Source
    from cachetui.ui.live import Live
    from cachetui.ui.panes.keys import KeysPane
    from cachetui.ui.panes.memory import MemoryPane
    from cachetui.ui.panes.pane import Pane
    from cachetui.ui.scene import Scene
    from cachetui.ui.views import View

_MOVES = {"down": 1, "up": -1}
_JUMPS = {"first": 0, "last": -1}
_FIRST = ("next-pane", "previous-pane", "leave")
"""Textual's screens and inputs have a Tab and a Ctrl+C of their own: these go before them."""
_FOCUS = ("next-pane", "previous-pane")
_LEAVING = ("quit", "leave")
LEAVE_S = 3.0
"""After a signal: time to stop a write at a safe place, to note it and to put the terminal back."""
GARBAGE = 10_000
"""New objects between two collections, once the screen is up."""


class CachetuiApp(App[None]):
    """`source` is for tests and replays; otherwise it is made from `target` after the first paint.

    What is not needed for the first paint (views, feeds, drivers) is imported after it.
    """

    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(row.press, f"command('{row.id}')", row.title, show=False, id=row.id, priority=row.id in _FIRST)
        for row in COMMANDS
    ]

    def __init__(
        self,
        target: Target,
        settings: Settings | None = None,
        *,
        source: Source | None = None,
        demo: Demo | None = None,
    ) -> None:
        super().__init__(ansi_color=None)
        self.target = target
        self.demo = demo
        """Whose server this is, where it can play scenarios."""
        self.settings = settings or Settings()
        self.problems: list[str] = []
        """What is wrong with themes and keymap: told once, after the first paint."""
        self._source = source
        self.live: Live | None = None
        self.view_id = "overview"
        self._drawing = False
        self._handlers: dict[int, Any] = {}
        """What answered these signals before."""
        # Textual's own answer to NO_COLOR is shades of grey.
        self._colors_out: list[LineFilter] = [] if self.settings.color else [NoColor()]
        self._signs_out: list[LineFilter] = [AsciiSigns()] if self.settings.ascii else []
        self._set_up_looks()

    # Looks

    def _set_up_looks(self) -> None:
        # Without colours only those of the terminal theme still show the cursor and what is dim.
        wanted = self.settings.theme if self.settings.color else "terminal"
        theme, problems = pick_theme(wanted, user_config_path() / "themes")
        self.problems += problems
        self.register_theme(theme)
        self.theme = theme.name
        if self.settings.ascii:
            self.add_class("ascii")
        if self.settings.keymap:
            from cachetui.ui.keymap import resolve_keymap

            keymap, problems = resolve_keymap(COMMANDS, self.settings.keymap)
            self.problems += problems
            self.set_keymap(keymap)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return what every line passes on its way to the terminal."""
        return [*(self._colors_out or super().get_line_filters()), *self._signs_out]

    def compose(self) -> ComposeResult:
        with Horizontal(id="header"):
            yield Canvas(id="who")
            yield Canvas(id="state")
        yield Canvas(id="verdict")
        yield Canvas(id="views")
        yield Container(id="body")
        yield Canvas(id="footer")

    # Life

    def on_mount(self) -> None:
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGHUP):
                self._handlers[number] = signal.signal(number, lambda number, _: self._leave(number, loop))
            if not self.is_headless:
                threading.Thread(target=_await_hang_up, name="hang-up", daemon=True).start()
        # The first frame already says where we are going.
        self.query_one("#who", Canvas).paint([line((f" {self.target.name}", "title"))])
        self.query_one("#views", Canvas).paint([chrome.view_bar(self.view_id, self.size.width)])
        self.call_after_refresh(self._go_live)

    def _leave(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        """Leave, even if the terminal is gone: writing to it may block for ever once nobody reads.

        Called by the interpreter wherever the main thread is, not by the loop: that may be what is blocked.
        """
        last_resort = threading.Timer(LEAVE_S, os._exit, (128 + number,))
        last_resort.daemon = True
        last_resort.start()
        loop.call_soon_threadsafe(self.exit)

    async def _go_live(self) -> None:
        from cachetui.ui.live import Live
        from cachetui.ui.views import MAKERS

        if self._source is None:
            from cachetui.source.connect import make_source

            self._source = make_source(self.target)
        await self.query_one("#body", Container).mount(MAKERS[self.view_id]())
        self.live = Live(self._source, self.settings, self.soon)
        self.view.bring(self.view.front)
        self.run_worker(self.live.run(), group="live", exit_on_error=False)
        self.look()
        for problem in self.problems:
            self.say(problem, severity="warning")
        # What was imported stays: the collector need not walk it again while somebody presses keys.
        gc.freeze()
        gc.set_threshold(GARBAGE)
        self.soon()

    async def on_unmount(self) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())
        if self.live is not None:
            await self.live.close()
            if self.live.wide is not None:
                await self.live.wide.close()

    def _fatal_error(self) -> None:
        """Leave with one line; the details go to a file, without local variables (they may hold secrets)."""
        error = self._exception
        where = state_dir() / "crash.txt"
        line = f"cachetui: internal error: {type(error).__name__}"
        if error is not None:
            where.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            where.touch(mode=0o600)
            where.write_text("".join(traceback.format_exception(error)))
            line += f": the details are in {where}"
        self._exit_renderables.append(printable(line))
        self._close_messages_no_wait()

    # Drawing

    @property
    def view(self) -> View:
        """The view that is on the screen."""
        return cast("View", self.query_one(f"#{self.view_id}-view"))

    @property
    def pane(self) -> Pane:
        """The pane that answers presses."""
        return self.view.front

    def soon(self) -> None:
        """Draw once, however many events ask for it in one turn of the loop."""
        if not self._drawing:
            self._drawing = True
            self.call_later(self._draw)

    def _draw(self) -> None:
        self._drawing = False
        if self.live is None or not self.is_running:
            return
        scene = self.live.scene()
        width = self.size.width
        with self.batch_update():
            self._draw_header(scene, width)
            self.query_one("#verdict", Canvas).paint([chrome.verdict(scene, width)])
            self._draw_bars(scene, width)
            self.view.show(scene)

    def _draw_header(self, scene: Scene, width: int) -> None:
        who, state = chrome.header(scene, width)
        right = self.query_one("#state", Canvas)
        right.styles.width = width_of(state)
        right.paint([state])
        self.query_one("#who", Canvas).paint([who])

    def _draw_bars(self, scene: Scene, width: int) -> None:
        self.query_one("#views", Canvas).paint([chrome.view_bar(self.view_id, width)])
        kind = scene.identity.kind if scene.identity is not None else ""
        rows = [(row, self.why_not(row, scene)) for row in chrome.footer_rows(COMMANDS, self.view_id, kind)]
        self.query_one("#footer", Canvas).paint([chrome.footer(rows, width)])

    def on_resize(self, event: events.Resize) -> None:
        self.soon()

    def _is_here(self, row: CommandRow) -> bool:
        return not row.where or self.view_id in row.where

    def why_not(self, row: CommandRow, scene: Scene | None = None) -> str:
        """Return why a command does nothing now, or an empty string."""
        if not self._is_here(row):
            return f"works in {', '.join(BY_ID[view].title for view in row.where)}"
        if row.needs == "replay":
            return "" if self.live is not None and self.live.replaying else "only while replaying a recording"
        if self.live is None:
            return "" if row.risk == "none" else "not connected yet"
        if row.id == "arm" and not self.settings.armable:
            return "this profile is not read-only by default"
        if row.needs:
            reason = self.live.why_not(row.needs) or self.live.why_not_write(row.needs)
            if reason:
                return reason
        return self.live.read_only if row.risk != "none" else ""

    def tick_while_armed(self) -> None:
        """Show for how long writes are allowed, until they are not, even if no server answers."""
        if self.live is not None:
            self.soon()
            left_s = self.live.armed_s
            if left_s > 0:
                self.set_timer(left_s - 60 * (-(-left_s // 60) - 1) if left_s > 60 else 1.0, self.tick_while_armed)

    def look(self) -> None:
        """Poll what is on the screen, and nothing else."""
        if self.live is not None:
            for pane_id, wanted in self.view.listings().items():
                self.live.browser.want(pane_id, wanted)
            self.live.look(self.view.kinds(), keys=self.view.looks_at_keys, config=self.view.looks_at_config)

    def say(self, words: str, *, severity: str = "information") -> None:
        """Show a passing line; nothing in it is markup."""
        self.notify(words, severity=severity, markup=False, timeout=4)  # type: ignore[arg-type]

    # Commands

    async def action_command(self, command_id: str) -> None:
        """Answer a press, or a choice from the palette."""
        if self.live is not None:
            command_id = self.pane.instead.get(command_id, command_id)
        if command_id in _FOCUS and len(self.screen_stack) > 1:
            # Tab belongs to the dialog that is open.
            (self.screen.focus_next if command_id == "next-pane" else self.screen.focus_previous)()
            return
        row = BY_ID[command_id]
        reason = self.why_not(row)
        if self.live is None:
            if command_id in _LEAVING:
                self.exit()
            return
        if reason:
            self.say(f"{row.title}: {reason}", severity="warning")
            return
        if any(row is view for view in VIEWS):
            await self.go(command_id)
        elif command_id in _MOVES:
            self.pane.move(_MOVES[command_id])
        elif command_id in _JUMPS:
            self.pane.move_to(_JUMPS[command_id])
        elif command_id in ("page-down", "page-up"):
            self.pane.move(self.pane.page if command_id == "page-down" else -self.pane.page)
        elif row.risk != "none":
            self._act(command_id)
        elif not self.pane.command(command_id):
            await self._answer(command_id, self.live)

    async def _answer(self, command_id: str, live: Live) -> None:
        from cachetui.ui.presses import ANSWERS, DIALOGS

        if command_id in _LEAVING:
            self.exit()
        elif command_id in ANSWERS:
            await ANSWERS[command_id](self, live)
        elif command_id in DIALOGS:
            self.run_worker(DIALOGS[command_id](self, live), group="dialog", exit_on_error=False)

    async def go(self, view_id: str) -> None:
        """Show another view; it is made on its first use."""
        if view_id == self.view_id:
            return
        self.view.add_class("hidden")
        self.view_id = view_id
        if not self.query(f"#{view_id}-view"):
            from cachetui.ui.views import MAKERS

            await self.query_one("#body", Container).mount(MAKERS[view_id]())
        self.view.remove_class("hidden")
        self.view.bring(self.view.front)
        self.look()
        if view_id == "journal" and self.live is not None:
            self.read_journal()
        if self.live is not None:
            self.view.show(self.live.scene())  # the next press may come before the next frame
        self.soon()

    @work(group="journal", exclusive=True, exit_on_error=False)
    async def read_journal(self) -> None:
        assert self.live is not None
        try:
            await self.live.read_journal()
        except CacheError as error:
            self.say(error.line(), severity="error")

    @work(group="act", exclusive=True, exit_on_error=False)
    async def _act(self, command_id: str) -> None:
        from cachetui.ui.acting import act

        assert self.live is not None
        try:
            await act(self, self.live, command_id)
        except CacheError as error:
            self.say(error.line(), severity="error")

    # What the panes ask for

    def on_keys_pane_facts_wanted(self, message: KeysPane.FactsWanted) -> None:
        if self.live is not None:
            read: Callable[[], Awaitable[None]] = partial(self.live.browser.read_facts, message.keys, message.prefixes)
            self.run_worker(read, group="facts", exclusive=True, exit_on_error=False)

    def on_keys_pane_listing_wanted(self, message: KeysPane.ListingWanted) -> None:
        if self.live is not None:
            self.live.browser.want(message.pane_id, message.wanted)

    def on_keys_pane_window_wanted(self, message: KeysPane.WindowWanted) -> None:
        if self.live is not None:
            self.run_worker(self._turn(message.by), group="value", exit_on_error=False)

    async def _turn(self, by: int) -> None:
        if self.live is not None and not await self.live.browser.turn(by):
            self.say("this is the last window" if by > 0 else "this is the first window")

    def on_keys_pane_value_wanted(self, message: KeysPane.ValueWanted) -> None:
        if self.live is not None:
            self.run_worker(self.live.browser.open(message.key), group="value", exit_on_error=False)

    def on_keys_pane_value_closed(self, message: KeysPane.ValueClosed) -> None:
        if self.live is not None:
            self.live.browser.close_value()
            self.soon()

    def on_memory_pane_wanted(self, message: MemoryPane.Wanted) -> None:
        from cachetui.ui.foresight import look_at_memory

        if self.live is not None:
            asked = look_at_memory(self.live, message.section, again=message.again)
            self.run_worker(asked, group="memory", exit_on_error=False)

    def on_view_rearranged(self) -> None:
        self.look()
        self.soon()

    async def on_pane_opened(self, message: Pane.Opened) -> None:
        from cachetui.ui.presses import show_in_keys

        if self.live is not None:
            await show_in_keys(self, self.live, message.row_id)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            self.say(f"internal error: {type(event.worker.error).__name__}: please report it", severity="error")
            self.log(event.worker.error)


def _await_hang_up() -> None:
    """Tell ourselves when the terminal is gone: not every way of losing it sends a signal."""
    if os.isatty(0):
        gone = select.poll()
        gone.register(0, 0)
        gone.poll()
        os.kill(os.getpid(), signal.SIGHUP)
