"""What a server itself says of the keys that take most of its time and of its network (HOTKEYS)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HotKeyReport:
    """The keys that cost most in a time, the first first; with nothing of a measure the server does not tell."""

    seconds: float
    by_cpu: tuple[tuple[bytes, int], ...] = ()
    """Key and microseconds of processor time."""
    cpu_us: int | None = None
    """Of all commands together."""
    by_net: tuple[tuple[bytes, int], ...] = ()
    """Key and bytes in and out."""
    net_bytes: int | None = None
    sample_ratio: int = 1
    """One of so many keys was looked at."""
