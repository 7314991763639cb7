"""What a press leads to: a plan, and how it is made again without asking the same questions twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetui.actions.plan import Plan
from cachetui.model import Identity

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan that can be made again, of what the server holds by then."""

    plan: Plan
    again: Callable[[], Awaitable[Plan | Proposal | None]]
    """None when the person leaves meanwhile. Raises CacheError."""


Planner = Callable[["CachetuiApp", "Live", Identity], Awaitable[Plan | Proposal | None]]
