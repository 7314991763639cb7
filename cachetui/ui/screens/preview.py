"""The preview of a plan: nothing is sent before `y` here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from cachetui import text
from cachetui.actions.apply import Outcome, Progress
from cachetui.actions.plan import Plan
from cachetui.errors import CacheError
from cachetui.ui.screens.dialog import Dialog

Run = Callable[[Plan, Callable[[Progress], None], asyncio.Event], Awaitable[Outcome]]

COMMANDS_SHOWN = 12


class Preview(Dialog[Outcome | None]):
    """Shows what, how many, the exact commands, the risk and the way back; applies on `y`; Esc leaves or stops."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "apply", "apply"),
        Binding("escape,n,q", "leave", "leave"),
        Binding("j,down", "scroll_preview(1)", show=False),
        Binding("k,up", "scroll_preview(-1)", show=False),
    ]

    def __init__(self, plan: Plan, run: Run, *, refused: str = "") -> None:
        super().__init__()
        self._plan, self._run, self._refused = plan, run, refused
        self._cancel = asyncio.Event()
        self._outcome: Outcome | None = None
        self._state = "asking"

    def compose(self) -> ComposeResult:
        plan = self._plan
        with Vertical(classes="dialog preview"):
            yield Static(Content(plan.title), classes="dialog-title")
            with VerticalScroll(classes="preview-body"):
                facts = [
                    f"target   {plan.target}",
                    f"risk     {plan.risk}",
                    f"undo     {plan.undo}",
                    "",
                    *plan.what,
                    "",
                    "exact commands:",
                    *(f"  {command}" for command in plan.preview_commands(COMMANDS_SHOWN)),
                ]
                yield Static(Content("\n".join(facts)))
            if plan.typed and not self._refused:
                yield Input(placeholder=f"type {plan.typed} to allow it", select_on_focus=False)
            yield Static(Content(self._question()), classes="dialog-hint", id="answer")

    def on_mount(self) -> None:
        for field in self.query(Input):
            field.cursor_blink = False
            field.focus()

    def _question(self) -> str:
        if self._refused:
            return f"refused: {self._refused}   (Esc leaves)"
        if self._plan.typed:
            return f"type {self._plan.typed} and press Enter to apply, Esc leaves; nothing was sent yet"
        return "y applies, Esc leaves; nothing was sent yet"

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value == self._plan.typed:
            self._begin()
        else:
            self._say(f"that is not {self._plan.typed}: nothing was sent")

    def action_apply(self) -> None:
        if self._state == "asking" and not self._plan.typed and not self._refused:
            self._begin()

    def action_leave(self) -> None:
        if self._state == "running":
            self._cancel.set()
            self._say("stopping at the end of this batch")
        else:
            self.dismiss(self._outcome)

    def action_scroll_preview(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def _begin(self) -> None:
        if self._state == "asking":
            self._state = "running"
            self._say("working; Esc stops it")
            self.run_worker(self._work(), group="apply", exit_on_error=False)

    async def _work(self) -> None:
        try:
            self._outcome = await self._run(self._plan, self._progress, self._cancel)
        except CacheError as error:
            self._say(f"{error.line()}   (Esc leaves)", "bad")
        else:
            words = "; ".join((self._outcome.line(), *self._outcome.checks))
            self._say(f"{words}   (Esc leaves)", "" if self._outcome.exit_code == 0 else "bad")
        self._state = "ended"
        self.add_class("ended")

    def _progress(self, progress: Progress) -> None:
        words = f"{progress.done:,} done, {progress.failed:,} failed, {progress.left:,} left"
        self._say(f"{words}, {text.rate(progress.rate)}; Esc stops it")

    def _say(self, words: str, style: str = "") -> None:
        answer = self.query_one("#answer", Static)
        answer.set_class(style == "bad", "bad")
        answer.update(Content(words))
