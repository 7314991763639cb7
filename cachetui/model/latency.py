"""What a server says of its own latency: events that took long, and how long its commands take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LatencyEvent:
    """One line of LATENCY LATEST."""

    name: str
    """`fork`, `expire-cycle`, `eviction-cycle`, `command`, `aof-write`, ..."""
    at: float
    """Unix seconds, the server's clock: the latest time."""
    latest_ms: int
    worst_ms: int


@dataclass(frozen=True, slots=True)
class LatencyHistogram:
    """How long one command took, since the server's start or CONFIG RESETSTAT."""

    command: str
    """Lower case, with `|` before a subcommand."""
    calls: int
    upto_us: tuple[int, ...]
    """Upper bounds in microseconds, rising."""
    within: tuple[int, ...]
    """Calls that took at most that long, and more than the bound before."""


@dataclass(frozen=True, slots=True)
class Latency:
    """All of it."""

    events: tuple[LatencyEvent, ...] = ()
    threshold_ms: int | None = None
    """latency-monitor-threshold; 0: events are not watched for."""
    histograms: tuple[LatencyHistogram, ...] = ()
    """The commands that took most time in all first."""
    doctor: str = ""
    """LATENCY DOCTOR's own words."""
