"""What a rule is: an id, a category and a pure function over the evidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from cachetui.model import Evidence, Finding, Stats

Priority = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Problem:
    """What a rule's function says; its row in the table adds id and category."""

    priority: Priority
    issue: str
    """One sentence, its most important words first, with the figures."""
    action: str
    evidence: dict[str, object] = field(default_factory=dict)
    """Plain JSON values, units in the names."""
    commands: tuple[str, ...] = ()


Judge = Callable[[Evidence], Problem | None]
"""None: all is well, or what it needs to know is unknown."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table."""

    id: str
    category: str
    judge: Judge
    when_away: bool = False
    """It judges the connection itself, and so also while the server does not answer and all figures are stale."""

    def find(self, evidence: Evidence) -> Finding | None:
        """Return this rule's finding in `evidence`, or None."""
        problem = self.judge(evidence)
        if problem is None:
            return None
        return Finding(
            self.id,
            self.category,
            problem.priority,
            problem.issue,
            problem.action,
            problem.evidence,
            problem.commands,
        )


def is_memcached(stats: Stats) -> bool:
    return stats.server.kind == "memcached"


def config_size(count: float) -> str:
    """Return bytes as Redis's CONFIG SET reads them, rounded up to a whole unit.

    >>> config_size(6 * 1024**3), config_size(1.5 * 1024**2), config_size(2.55 * 1024**3), config_size(100)
    ('6gb', '1536kb', '2612mb', '1kb')
    """
    for unit, factor in (("gb", 1024**3), ("mb", 1024**2)):
        if count >= 10 * factor or (count >= factor and count % factor == 0):
            return f"{math.ceil(count / factor)}{unit}"
    return f"{math.ceil(count / 1024)}kb"
