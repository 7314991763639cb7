"""The preview of a plan: nothing is sent before `y` here. While it runs: how far it is, and at what cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from cachetui import text
from cachetui.actions.apply import Outcome, Pacer, Progress
from cachetui.actions.plan import Plan
from cachetui.actions.plan.tasks import moved, units
from cachetui.errors import CacheError
from cachetui.ui.canvas import Canvas
from cachetui.ui.screens.dialog import Dialog
from cachetui.ui.screens.meter import ROWS, Speed, meter, settled_of

Run = Callable[[Plan, Callable[[Progress], None], asyncio.Event, Pacer], Awaitable[Outcome]]

COMMANDS_SHOWN = 12
AROUND = 7
"""Rows of the dialog that are not its body: frame, title and answer with their margins."""
LEAST_BODY = 4
TALL = 30
"""From so many rows on the screen, some of what is behind the dialog stays visible."""
LEAST_RATE = 10.0
"""Keys a second that a press never goes below."""

State = Literal["asking", "expired", "running", "ended"]


@dataclass(frozen=True, slots=True)
class Left:
    """How a preview was left."""

    outcome: Outcome | None = None
    """None: nothing was sent."""
    wish: Literal["", "again", "undo"] = ""
    """What the person wants next: the plan made again, or what was done undone."""


class Preview(Dialog[Left]):
    """Shows what, how many, the exact commands, the risk and the way back; applies on `y`; Esc leaves or stops.

    `typed` must be typed to confirm where the plan itself asks for nothing; `refused` says why it cannot be applied.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "apply", "apply"),
        Binding("escape,n,q", "leave", "leave"),
        Binding("r", "wish('again')", "make it again"),
        Binding("u", "wish('undo')", "undo"),
        Binding("space", "pause", "pause"),
        Binding("plus,equals_sign", "faster", "faster"),
        Binding("minus", "slower", "slower"),
        Binding("j,down", "scroll_preview(1)", show=False),
        Binding("k,up", "scroll_preview(-1)", show=False),
    ]

    def __init__(self, plan: Plan, run: Run, *, refused: str = "", typed: str | None = None) -> None:
        super().__init__()
        self._plan, self._run, self._refused = plan, run, refused
        self._typed = plan.typed or typed
        self._cancel = asyncio.Event()
        self._pacer = Pacer() if plan.sweep is None else Pacer.of(plan.sweep)
        self._paced = plan.sweep is not None or plan.restores or any(map(units, plan.tasks))
        self._progressed: Progress | None = None
        self._speed = Speed()
        self._outcome: Outcome | None = None
        self._state: State = "asking"

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog preview"):
            yield Static(Content(self._plan.title), classes="dialog-title")
            with VerticalScroll(classes="preview-body"):
                yield Static(_content(_facts(self._plan)), id="facts")
            if self._typed and not self._refused:
                yield Input(placeholder=f"type {self._typed} to allow it", select_on_focus=False)
            yield Canvas(id="meter", classes="off")
            yield Static(Content(self._question()), classes="dialog-hint", id="answer")

    def on_mount(self) -> None:
        for field in self.query(Input):
            field.cursor_blink = False
            field.focus()
        self._fit()
        self.set_timer(max(0.0, self._plan.expires_at - time.time()), self._expire)

    def on_resize(self, event: events.Resize) -> None:
        self._fit()
        self.call_after_refresh(self._draw)

    def _fit(self) -> None:
        """Let the body be as tall as there is room: the answer below it is never cut."""
        height = self.app.size.height
        room = height if height < TALL else height * 9 // 10
        input_rows = sum(field.display for field in self.query(Input))
        meter_rows = ROWS + 1 if self._state in ("running", "ended") and self._paced else 0
        most = max(LEAST_BODY, room - AROUND - input_rows - meter_rows)
        for body in self.query(VerticalScroll):  # none where it was left before it was there
            body.styles.max_height = most

    def _question(self) -> str:
        if self._refused:
            return f"refused: {self._refused}   (Esc leaves)"
        if self._typed:
            return f"type {self._typed} and press Enter to apply, Esc leaves; nothing was sent yet"
        return "y applies, Esc leaves; nothing was sent yet"

    # Before

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self._state == "expired":
            self._expire()
        elif event.value == self._typed:
            self._begin()
        else:
            self._say(f"that is not {self._typed}: nothing was sent")

    def action_apply(self) -> None:
        if self._state == "asking" and not self._typed and not self._refused:
            self._begin()

    def _expire(self) -> None:
        if self._state in ("asking", "expired"):
            self._state = "expired"
            for field in self.query(Input):
                field.display = False
            self.set_focus(None)
            self._say("the plan has expired: the server may have changed; r makes it again, Esc leaves", "bad")

    def action_wish(self, wish: Literal["again", "undo"]) -> None:
        """Leave for what follows, where it can."""
        possible = self._state == "expired" if wish == "again" else self._state == "ended" and self._undoable()
        if possible:
            self.dismiss(Left(self._outcome, wish))

    def action_leave(self) -> None:
        if self._state == "running":
            self._cancel.set()
            self._say("stopping at the end of this batch")
        else:
            self.dismiss(Left(self._outcome))

    def action_scroll_preview(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    # While it runs

    def _begin(self) -> None:
        if self._state != "asking":
            return
        body = self.query_one(VerticalScroll)
        rows = body.size.height + sum(field.display for field in self.query(Input))
        self._state = "running"
        for field in self.query(Input):
            field.display = False
        self.set_focus(None)
        if self._paced:
            # The meter takes the lower part of the body: the frame stays where it is.
            self.query_one("#meter").remove_class("off")
            rows -= ROWS + 1
        self._fit()
        body.styles.height = max(LEAST_BODY, rows)
        self._say(self._presses())
        self.run_worker(self._work(), group="apply", exit_on_error=False)

    def _presses(self) -> str:
        if not self._paced:
            told = self._progressed.note if self._progressed is not None else ""
            return f"working{f': {told}' if told else ''}; Esc stops it"
        space = "goes on" if self._pacer.paused else "pauses"
        return f"Space {space}, - slower, + faster, Esc stops at the end of a batch"

    def action_pause(self) -> None:
        if self._state != "running" or not self._paced:
            return
        if self._pacer.paused:
            self._pacer.resume()
        else:
            self._pacer.pause()
        self._draw()

    def action_slower(self) -> None:
        """Hold the present speed; at the next press halve it."""
        if self._state == "running" and self._paced:
            now = self._pacer.rate / 2 if self._pacer.rate is not None else self._speed.per_s
            self._pacer.rate = max(LEAST_RATE, now)
            self._draw()

    def action_faster(self) -> None:
        """Double the limit; when it is not what limits the speed, lift it."""
        if self._state == "running" and self._paced and self._pacer.rate is not None:
            idle = self._speed.per_s < self._pacer.rate / 2 and not self._pacer.paused
            self._pacer.rate = None if idle else self._pacer.rate * 2
            self._draw()

    async def _work(self) -> None:
        try:
            self._outcome = await self._run(self._plan, self._progress, self._cancel, self._pacer)
        except CacheError as error:
            self._state = "ended"
            self._say(f"{error.line()}   (Esc leaves)", "bad")
        else:
            self._state = "ended"
            self._report(self._outcome)
        self._draw()

    def _progress(self, progress: Progress) -> None:
        self._progressed = progress
        self._speed.take(settled_of(progress))
        self._draw()

    def _draw(self) -> None:
        canvas = self.query_one("#meter", Canvas)
        progress = self._progressed
        if not self._paced and self._state == "running" and not self._cancel.is_set():
            self._say(self._presses())
        if not self._paced or progress is None or self._state not in ("running", "ended"):
            return
        ended = self._state == "ended"
        per_s = progress.rate if ended else self._speed.per_s
        ascii_only = self.app.has_class("ascii")
        width = canvas.content_size.width
        canvas.paint(meter(progress, self._pacer, per_s, width, ended=ended, ascii_only=ascii_only))
        if not ended and not self._cancel.is_set():
            self._say(self._presses())

    # After

    def _undoable(self) -> bool:
        outcome = self._outcome
        back = self._plan.back or (moved(self._plan.tasks) and not self._plan.undoes)
        return outcome is not None and bool(outcome.kept or (back and outcome.done))

    def _report(self, outcome: Outcome) -> None:
        rows: list[tuple[str, str, str]] = [(outcome.state, outcome.line(), "ok" if outcome.exit_code == 0 else "bad")]
        rows += [("checked", check, "bad" if outcome.verified is False else "") for check in outcome.checks]
        rows += [("failed", f"{failure.command}: {failure.error.line()}", "bad") for failure in outcome.errors]
        rows += [("took", text.duration(outcome.seconds), ""), ("receipt", self._plan.id, "")]
        rows.append(_way_back(self._plan, outcome, undoable=self._undoable()))
        body = self.query_one(VerticalScroll)
        self.query_one("#facts", Static).update(_content([*rows, ("", "", ""), *_facts(self._plan)]))
        body.scroll_home(animate=False)
        undo = "u undoes it, " if self._undoable() else ""
        self._say(f"{outcome.state}; {undo}Esc leaves", "" if outcome.exit_code == 0 else "bad")

    def _say(self, words: str, style: str = "") -> None:
        answer = self.query_one("#answer", Static)
        answer.set_class(style == "bad", "bad")
        content = Content(words)
        if answer.content != content:
            answer.update(content)


def _facts(plan: Plan) -> list[tuple[str, str, str]]:
    """Return (label, words, style) of each line of the plan."""
    hopeless = plan.undo.startswith("no undo") and plan.risk != "low" and not plan.undoes
    rows = [
        ("target", plan.target, ""),
        ("risk", plan.risk, {"high": "bad", "medium": "warn"}.get(plan.risk, "")),
        ("undo", plan.undo, "bad" if hopeless else ""),
        ("", "", ""),
    ]
    rows += [("", words, "warn" if words.startswith("warning:") else "") for words in plan.what]
    rows += [("", "", ""), ("", "exact commands:", "")]
    rows += [("", f"  {command}", "") for command in plan.preview_commands(COMMANDS_SHOWN)]
    if (plan.sweep is not None and plan.sweep.selection.keys is None) or plan.restores:
        rows.append(("", "  ... and so for every other key", ""))
    return rows


def _way_back(plan: Plan, outcome: Outcome, *, undoable: bool) -> tuple[str, str, str]:
    if undoable:
        return "undo", f"u here, or cachetui undo {plan.id}", ""
    if plan.sweep is not None and plan.sweep.keep is not None:
        return "undo", "no undo: there was nothing to keep", ""
    return "undo", plan.undo, "bad" if plan.undo.startswith("no undo") and outcome.done else ""


def _content(rows: Iterable[tuple[str, str, str]]) -> Content:
    """Return lines of text: nothing in them is markup."""
    lines = []
    for label, words, style in rows:
        parts = Content(f"{label:<8} " if label else "")
        lines.append(parts + (Content(words).stylize(f"${style}") if style else Content(words)))
    return Content("\n").join(lines)
