"""Figures that stand still while nothing but our own looking moves them: they stay readable, and cost no bytes."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from cachetui.feeds.history import History

OUR_WOBBLE = 1.5
"""Our commands come unevenly: in one second up to this much more or less than our average."""
OUR_COMMAND_BYTES = 256.0
"""How unevenly our own traffic comes, per command."""
LATENCY_SPAN_S = 5
LATENCY_SHARE, LATENCY_US = 0.2, 300.0
"""A round trip that moved by less than this share, or by less than these microseconds, is the same."""


class Steady:
    """Keeps each figure as it was shown until it has moved by more than its tolerance."""

    def __init__(self) -> None:
        self._shown: dict[str, float] = {}

    def keep(self, name: str, value: float | None, tolerance: float) -> float | None:
        """Return what to show for `value`; zero and unknown are always shown as they are.

        >>> steady = Steady()
        >>> [steady.keep("commands", value, 2.0) for value in (5.0, 3.0, 8.0, 7.0, 0.0, 1.0, None)]
        [5.0, 5.0, 8.0, 8.0, 0.0, 1.0, None]
        """
        if value is None:
            self._shown.pop(name, None)
            return None
        shown = self._shown.get(name)
        if not shown or value == 0 or abs(value - shown) > tolerance:
            self._shown[name] = shown = value
        return shown

    def figures(self, history: History, our_commands_per_s: float) -> Mapping[str, float | None]:
        """Return the rates per second that our own polls move, and the round trip in microseconds."""
        wobble = OUR_WOBBLE * our_commands_per_s
        tolerances = {
            "commands_total": wobble,
            "net_in_bytes_total": OUR_COMMAND_BYTES * wobble,
            "net_out_bytes_total": OUR_COMMAND_BYTES * wobble,
        }
        shown = {name: self.keep(name, history.rate(name), tolerance) for name, tolerance in tolerances.items()}
        recent = [one for one in history.series("latency_us", LATENCY_SPAN_S, LATENCY_SPAN_S) if one is not None]
        latency = median(recent) if recent else None
        return {
            **shown,
            "latency_us": self.keep("latency_us", latency, max(LATENCY_US, LATENCY_SHARE * (latency or 0.0))),
        }
