"""How much may be drawn on a slow link: a short burst at once, then no more than the link carries."""

from __future__ import annotations

import time
from collections.abc import Callable

BYTES_PER_S = 15_000.0
"""Of what is estimated; real links carry the frame around it too."""
BURST_BYTES = 8_000.0


class Allowance:
    """Bytes that may be spent now; they come back with time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left, self._at = BURST_BYTES, clock()

    def wait_s(self) -> float:
        """Return the seconds until something may be spent again; 0 when it may be now."""
        now = self._clock()
        self._left = min(BURST_BYTES, self._left + (now - self._at) * BYTES_PER_S)
        self._at = now
        return max(0.0, -self._left / BYTES_PER_S)

    def spend(self, drawn_bytes: float) -> None:
        """Take away what was drawn; it may be more than there is."""
        self._left -= drawn_bytes
