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
    options: tuple[str, ...] = ()
    """One of these is picked instead of typed; the first at the beginning."""


class Picker(Static, can_focus=True):
    """One of a few words: Space or an arrow goes to the next."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,right,l", "pick(1)", show=False),
        Binding("left,h", "pick(-1)", show=False),
        Binding("enter", "screen.submit", show=False),
    ]

    def __init__(self, options: Sequence[str], *, id: str) -> None:
        super().__init__(Content(_picked(options[0])), id=id, classes="picker")
        self._options, self._at = options, 0

    @property
    def value(self) -> str:
        """The word that is picked."""
        return self._options[self._at]

    def action_pick(self, by: int) -> None:
        self._at = (self._at + by) % len(self._options)
        self.update(Content(_picked(self.value)))


def _picked(words: str) -> str:
    return f"< {words} >"


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
                    if field.options:
                        yield Picker(field.options, id=field.id)
                    else:
                        yield Input(field.initial, placeholder=field.hint, select_on_focus=False, id=field.id)
            yield Static(Content(self._hint()), classes="dialog-hint", id="form-hint")

    def _hint(self) -> str:
        picks = "Space picks, " if any(field.options for field in self._fields) else ""
        moves = "Tab and arrows move, " if len(self._fields) > 1 else ""
        return f"{moves}{picks}Enter shows the plan, Esc leaves; nothing is sent yet"

    def on_mount(self) -> None:
        if not self.children:
            return  # it was left before it was there
        for entry in self.query(Input):
            entry.cursor_blink = False
        self.query("Input, Picker").first().focus()

    def _value(self, field: Field) -> str:
        if field.options:
            return self.query_one(f"#{field.id}", Picker).value
        return self.query_one(f"#{field.id}", Input).value

    def on_input_submitted(self) -> None:
        self.action_submit()

    def action_submit(self) -> None:
        """Answer with what was typed and picked, if all of it will do."""
        texts = {field.id: self._value(field) for field in self._fields}
        for field in self._fields:
            problem = field.check(texts[field.id]) if field.check is not None else None
            if problem is not None:
                hint = self.query_one("#form-hint", Static)
                hint.update(Content(f"{field.label}: {problem}"))
                hint.add_class("bad")
                self.query_one(f"#{field.id}").focus()
                return
        self.dismiss(texts)


class Waiting(Dialog[Result | None], Generic[Result]):
    """Shows how far some work is. Returns its result, None when it was stopped or failed: `error` says why."""

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
        if not self.children:
            return  # it was left before it was there
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
