"""A circuit breaker: stop asking a cache that does not answer, and find out cheaply when it does again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half-open"]


class CircuitBreaker:
    """Counts failures in a row and, after `failures` of them, refuses calls for `reset_s` seconds.

    Guarantees, for any number of threads and tasks that share one:

    - closed: every call is allowed; one success forgets the failures before it.
    - open: `allow` answers False without any I/O, for `reset_s` seconds.
    - half-open: after that, one caller at a time is allowed as a trial. Its success closes the
      breaker, its failure opens it for another `reset_s`. A trial that never reports (a cancelled
      caller) is given up after `reset_s`, so the breaker cannot stay stuck.
    - while the breaker is open, late results of earlier calls change nothing.
    """

    def __init__(self, failures: int = 5, reset_s: float = 5.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        if failures < 1 or reset_s <= 0:
            raise ValueError("failures must be at least 1 and reset_s more than 0")
        self.failures = failures
        self.reset_s = reset_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failed_in_row = 0
        self._opened_at: float | None = None
        self._trial_at: float | None = None

    @property
    def state(self) -> State:
        """Return `closed`, `open`, or `half-open` (a trial may be made or is under way)."""
        opened_at = self._opened_at
        if opened_at is None:
            return "closed"
        return "open" if self._clock() - opened_at < self.reset_s else "half-open"

    def allow(self) -> bool:
        """Return whether a call may be made now; in half-open, True makes the caller the trial."""
        if self._opened_at is None:
            return True  # nearly always, and without the lock
        with self._lock:
            state = self.state
            if state != "half-open":
                return state == "closed"
            now = self._clock()
            if self._trial_at is not None and now - self._trial_at < self.reset_s:
                return False
            self._trial_at = now
            return True

    def succeeded(self) -> None:
        """Report that an allowed call got an answer."""
        if self._opened_at is None and not self._failed_in_row:
            return
        with self._lock:
            if self.state != "open":
                self._failed_in_row = 0
                self._opened_at = self._trial_at = None

    def failed(self) -> None:
        """Report that an allowed call got no answer."""
        with self._lock:
            state = self.state
            if state == "open":
                return
            self._failed_in_row += 1
            if state == "half-open" or self._failed_in_row >= self.failures:
                self._opened_at = self._clock()
                self._trial_at = None
