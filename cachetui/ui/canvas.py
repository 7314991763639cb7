"""The one widget that draws: a grid of lines, of which only the changed columns are sent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from cachetui.text import cells
from cachetui.ui.line import BLANK, Line, changed_columns, width_of

_TOKENS = ("ok", "warn", "bad", "unknown", "muted", "accent", "mark")


class Canvas(Widget):
    """Shows `Line`s through the line API. Nothing is parsed as markup, equal updates send nothing."""

    DEFAULT_CSS = "Canvas { height: 1fr; width: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Line] = []
        self._palette: dict[tuple[str, str], Style] = {}

    @property
    def lines(self) -> Sequence[Line]:
        """What is shown now."""
        return self._lines

    def paint(self, lines: Sequence[Line]) -> None:
        """Show `lines` from the top; the rest of the widget is blank."""
        width, height = self.content_size
        new = list(lines[:height]) if height else list(lines)
        old = self._lines
        self._lines = new
        if not width:
            return
        regions = []
        for y in range(max(len(old), len(new))):
            before = old[y] if y < len(old) else BLANK
            after = new[y] if y < len(new) else BLANK
            if before != after:
                regions += [Region(x, y, length, 1) for x, length in changed_columns(before, after, width)]
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        drawn = self._lines[y] if y < len(self._lines) else BLANK
        styled, at = [], 0
        for text, token in (*drawn.spans, (" " * max(0, width - width_of(drawn)), "")):
            row = drawn.row if drawn.row_columns is None or at < drawn.row_columns else ""
            styled.append((text, self._style(token, row)))
            at += cells(text)
        # One segment for each run of a style: every segment costs its colours in bytes.
        runs = groupby((span for span in styled if span[0]), key=itemgetter(1))
        segments = [Segment("".join(text for text, _ in run), style) for style, run in runs]
        return Strip(segments).adjust_cell_length(width, self._style("", ""))

    def notify_style_update(self) -> None:
        self._palette.clear()
        super().notify_style_update()

    def _style(self, token: str, row: str) -> Style:
        style = self._palette.get((token, row))
        if style is None:
            style = self._palette[token, row] = self._resolve(token, row)
        return style

    def _resolve(self, token: str, row: str) -> Style:
        variables = self.app.theme_variables
        name, _, weight = token.partition(" ")
        if name == "label":
            ground = _rich_color(weight or variables["accent"])
            return Style(color=_rich_color(variables["background"]), bgcolor=ground, bold=True)
        foreground = variables.get(name) if name in _TOKENS else None
        # Of the terminal's own colours nothing is known but the default pair: dim and reverse always show.
        native = variables["background"] == "ansi_default"
        chosen = row == "cursor"
        ground = variables["select"] if chosen and not native else variables["background"]
        return Style(
            color=_rich_color(foreground or variables["foreground"]),
            bgcolor=_rich_color(ground),
            bold=True if weight == "bold" or name == "title" else None,
            dim=True if native and name == "muted" else None,
            reverse=True if native and chosen else None,
        )


def _rich_color(value: str):  # type: ignore[no-untyped-def]  # rich's own colour type
    return Color.parse(value).rich_color
