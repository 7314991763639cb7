"""A small form, and a dialog that waits for work that may be stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from cachetui.errors import CacheError
from cachetui.ui.screens.dialog import Dialog

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a form."""

    id: str
    label: str
    hint: str = ""
    initial: str = ""
    check: Callable[[str], str | None] | None = None
    """Returns a sentence when the text won't do."""


class Form(Dialog[dict[str, str] | None]):
    """Asks for several lines at once. Returns the texts by id, None after Esc. Enter goes on, from any line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "cancel"),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]

    def __init__(self, title: str, fields: Sequence[Field]) -> None:
        super().__init__()
        self._title, self._fields = title, fields

    def compose(self) -> ComposeResult:
        width = max(len(field.label) for field in self._fields)
        with Vertical(classes="dialog"):
            yield Static(Content(self._title), classes="dialog-title")
            for field in self._fields:
                with Horizontal(classes="form-row"):
                    yield Static(Content(f"{field.label:<{width}} "), classes="form-label")
                    yield Input(field.initial, placeholder=field.hint, select_on_focus=False, id=field.id)
            yield Static(Content(self._hint()), classes="dialog-hint", id="form-hint")

    def _hint(self) -> str:
        return "Tab and arrows move, Enter shows the plan, Esc leaves; nothing is sent yet"

    def on_mount(self) -> None:
        for entry in self.query(Input):
            entry.cursor_blink = False
        self.query(Input).first().focus()

    def on_input_submitted(self) -> None:
        texts = {field.id: self.query_one(f"#{field.id}", Input).value for field in self._fields}
        for field in self._fields:
            problem = field.check(texts[field.id]) if field.check is not None else None
            if problem is not None:
                self.query_one("#form-hint", Static).update(Content(f"{field.label}: {problem}"))
                self.query_one(f"#{field.id}", Input).focus()
                return
        self.dismiss(texts)


class Waiting(Dialog[Result | None], Generic[Result]):
    """Shows how far some work is. Returns its result, None when it was stopped; its error is raised by `outcome`."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "stop", "stop")]

    def __init__(self, title: str, work: Callable[[Callable[[str], None]], Awaitable[Result]]) -> None:
        super().__init__()
        self._title, self._work = title, work
        self.error: CacheError | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._title), classes="dialog-title")
            yield Static(Content("looking ..."), id="said")
            yield Static(Content("Esc stops it; nothing is changed"), classes="dialog-hint")

    def on_mount(self) -> None:
        self.run_worker(self._run(), group="waiting", exit_on_error=False)

    def action_stop(self) -> None:
        self.workers.cancel_group(self, "waiting")
        self.dismiss(None)

    async def _run(self) -> None:
        result: Result | None = None
        try:
            result = await self._work(self._say)
        except CacheError as error:
            self.error = error
        self.dismiss(result)

    def _say(self, words: str) -> None:
        if self.is_mounted:
            self.query_one("#said", Static).update(Content(words))
