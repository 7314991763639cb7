"""The preview of a plan: nothing is sent before `y` here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from cachetui import text
from cachetui.actions.apply import Outcome, Pacer, Progress
from cachetui.actions.plan import Plan
from cachetui.errors import CacheError
from cachetui.ui.screens.dialog import Dialog

Run = Callable[[Plan, Callable[[Progress], None], asyncio.Event, Pacer], Awaitable[Outcome]]

COMMANDS_SHOWN = 12
BAR = 24
LEAST_RATE = 10.0
"""Keys a second that a sweep is never slowed below by a press."""


class Preview(Dialog[Outcome | None]):
    """Shows what, how many, the exact commands, the risk and the way back; applies on `y`; Esc leaves or stops.

    `typed` is what must be typed to confirm, even where the plan itself asks for nothing.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "apply", "apply"),
        Binding("escape,n,q", "leave", "leave"),
        Binding("space", "pause", "pause"),
        Binding("u", "undo", "undo"),
        Binding("plus,equals_sign", "rate(2.0)", "faster"),
        Binding("minus", "rate(0.5)", "slower"),
        Binding("j,down", "scroll_preview(1)", show=False),
        Binding("k,up", "scroll_preview(-1)", show=False),
    ]

    def __init__(self, plan: Plan, run: Run, *, refused: str = "", typed: str | None = None) -> None:
        super().__init__()
        self._plan, self._run, self._refused = plan, run, refused
        self._typed = plan.typed or typed
        self._cancel = asyncio.Event()
        self._pacer = Pacer() if plan.sweep is None else Pacer.of(plan.sweep)
        self._paced = plan.sweep is not None or plan.restores
        self._progressed: Progress | None = None
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
                if (plan.sweep is not None and plan.sweep.selection.keys is None) or plan.restores:
                    facts.append("  ... and so for every other key")
                yield Static(Content("\n".join(facts)))
            if self._typed and not self._refused:
                yield Input(placeholder=f"type {self._typed} to allow it", select_on_focus=False)
            yield Static(Content(self._question()), classes="dialog-hint", id="answer")

    def on_mount(self) -> None:
        for field in self.query(Input):
            field.cursor_blink = False
            field.focus()

    def _question(self) -> str:
        if self._refused:
            return f"refused: {self._refused}   (Esc leaves)"
        if self._typed:
            return f"type {self._typed} and press Enter to apply, Esc leaves; nothing was sent yet"
        return "y applies, Esc leaves; nothing was sent yet"

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value == self._typed:
            self._begin()
        else:
            self._say(f"that is not {self._typed}: nothing was sent")

    def action_apply(self) -> None:
        if self._state == "asking" and not self._typed and not self._refused:
            self._begin()

    def action_leave(self) -> None:
        if self._state == "running":
            self._cancel.set()
            self._say("stopping at the end of this batch")
        else:
            self.dismiss(self._outcome)

    def action_undo(self) -> None:
        """Take back what has just been done: by its own preview."""
        if self._state == "ended" and self._outcome is not None:
            self.dismiss(self._outcome)
            self.app.call_later(self.app.run_action, "command('undo')")

    def action_pause(self) -> None:
        if self._state != "running" or not self._paced:
            return
        if self._pacer.paused:
            self._pacer.resume()
        else:
            self._pacer.pause()
        self._show()

    def action_rate(self, times: float) -> None:
        """Go faster or slower; the first press begins from the present speed."""
        if self._state != "running" or not self._paced:
            return
        now = self._pacer.rate or (self._progressed.rate if self._progressed is not None else 0.0)
        if now:
            self._pacer.rate = max(LEAST_RATE, now * times)
            self._show()

    def action_scroll_preview(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def on_key(self, event: events.Key) -> None:
        if event.key == "0" and self._state == "running" and self._paced:
            self._pacer.rate = None
            self._show()

    def _begin(self) -> None:
        if self._state == "asking":
            self._state = "running"
            for field in self.query(Input):
                field.display = False
            self.set_focus(None)
            self._say("working; Esc stops it")
            self.run_worker(self._work(), group="apply", exit_on_error=False)

    async def _work(self) -> None:
        try:
            self._outcome = await self._run(self._plan, self._progress, self._cancel, self._pacer)
        except CacheError as error:
            self._say(f"{error.line()}   (Esc leaves)", "bad")
        else:
            words = "; ".join((self._outcome.line(), *self._outcome.checks))
            back = "\nu undoes it" if self._outcome.kept or (self._plan.back and self._outcome.done) else ""
            self._say(f"{words}   (Esc leaves){back}", "" if self._outcome.exit_code == 0 else "bad")
        self._state = "ended"
        self.add_class("ended")

    def _progress(self, progress: Progress) -> None:
        self._progressed = progress
        self._show()

    def _show(self) -> None:
        if self._state == "running" and self._progressed is not None and not self._cancel.is_set():
            self._say("\n".join(running_lines(self._progressed, self._pacer, paced=self._paced)))

    def _say(self, words: str, style: str = "") -> None:
        answer = self.query_one("#answer", Static)
        answer.set_class(style == "bad", "bad")
        answer.update(Content(words))


def running_lines(progress: Progress, pacer: Pacer, *, paced: bool) -> list[str]:
    """Return three lines on a plan under way: how far, how fast and at what cost, and what can be pressed."""
    settled = progress.done + progress.failed + progress.missing + progress.skipped
    total = settled + progress.left
    share = settled / total if total else 0.0
    filled = round(share * BAR)
    first = f"[{'=' * filled}{' ' * (BAR - filled)}] {share:4.0%}  {settled:,} of {total:,}"
    left = text.duration(progress.left_s) if progress.left and progress.left_s is not None else text.UNKNOWN
    second = [f"{text.rate(progress.rate)}", f"{left} to go"]
    others = ((progress.missing, "gone already"), (progress.skipped, "left alone"), (progress.failed, "failed"))
    second += [f"{number:,} {words}" for number, words in others if number]
    if progress.p99_us is not None:
        second.append(f"others wait {progress.p99_us / 1000:.1f} ms")
    if progress.kept_bytes:
        second.append(f"{text.size(progress.kept_bytes)} kept")
    limit = "as fast as the server bears" if pacer.rate is None else f"at most {text.rate(pacer.rate)}"
    state = "PAUSED: Space goes on" if pacer.paused else progress.note or limit
    keys = "Space pauses, + - 0 rate, Esc stops" if paced else "Esc stops"
    return [first, ", ".join(second), f"{state}   ({keys})"]
