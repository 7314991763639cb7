"""What is taken out of every line on its way to the terminal: colours, and signs beyond ASCII."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_SIGNS = str.maketrans(
    {"…": "~", "·": "-", "│": "|", "┃": "|", "─": "-", "━": "=", "▸": ">", "▾": "v"}
    | dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯", "+")
    | dict.fromkeys("▁▂▃▄▅▆▇█▔▎▊▌▐", "#")
)
"""The signs of our own drawing and of Textual's; names and values keep theirs."""


class AsciiSigns(LineFilter):
    """Shows each of our signs as an ASCII one of the same width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(text.translate(_SIGNS), style, control) for text, style, control in segments]
