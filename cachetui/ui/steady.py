"""Figures that stand still while nothing but our own looking moves them: they stay readable, and cost no bytes."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median_low

from cachetui.feeds.history import History

OUR_WOBBLE = 1.5
"""Our commands come unevenly: in one second up to this much more or less than our average."""
OUR_BYTES_MOST = 8192.0
"""A change of the traffic by more than this a second is never put down to us."""
OUR_BUFFERS_BYTES = 65536.0
"""The buffers of our own connections come and go."""
RATIO_SHARE = 0.03
LATENCY_SPAN_S = 6
"""Every other poll may have waited for one of our own: of an even number the lower half says how far the server is."""
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
        """Return what `Scene.figures` holds, when we send so many commands a second (0: not to this server)."""
        wobble = OUR_WOBBLE * our_commands_per_s
        commands = history.rate("commands_total")
        shown = {"commands_total": self.keep("commands_total", commands, wobble)}
        # Memcached does not count what we ask it among its commands.
        share = min(1.0, wobble / commands) if commands else min(1.0, wobble)
        for name in ("net_in_bytes_total", "net_out_bytes_total"):
            traffic = history.rate(name)
            ours = share * max(traffic or 0.0, self._shown.get(name, 0.0))
            shown[name] = self.keep(name, traffic, min(OUR_BYTES_MOST, ours))
        shown["used_bytes"] = self.keep(
            "used_bytes", history.gauge("used_bytes"), OUR_BUFFERS_BYTES * min(1.0, our_commands_per_s)
        )
        ratio, latency = history.gauge("fragmentation_ratio"), _latency_us(history)
        shown["fragmentation_ratio"] = self.keep("fragmentation_ratio", ratio, RATIO_SHARE * (ratio or 0.0))
        shown["latency_us"] = self.keep("latency_us", latency, max(LATENCY_US, LATENCY_SHARE * (latency or 0.0)))
        return shown


def _latency_us(history: History) -> float | None:
    known = [one for one in history.series("latency_us", LATENCY_SPAN_S, LATENCY_SPAN_S) if one is not None]
    return median_low(known) if known else None
