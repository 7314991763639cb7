"""An event loop whose time passes at once: hours of waiting in milliseconds, always in the same order."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    def __init__(self, passed: list[float]) -> None:
        super().__init__()
        self._passed = passed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # only a thread can wake us
            return super().select(5.0)
        ready = super().select(0)
        if not ready and timeout > 0:
            self._passed[0] += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock starts at 1,000 s and jumps to the next timer whenever nothing is ready."""

    def __init__(self) -> None:
        self._passed = [1000.0]
        super().__init__(_Selector(self._passed))

    def time(self) -> float:
        return self._passed[0]


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
