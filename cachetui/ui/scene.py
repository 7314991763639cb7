"""All that the panes may look at, gathered once per event. Panes draw it; they ask no server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cachetui.analysis.verdict import Verdict
from cachetui.config import Settings
from cachetui.errors import CacheError
from cachetui.feeds.history import History
from cachetui.feeds.hub import FeedState
from cachetui.model import Evidence, Finding, Identity, JournalEntry, SettingsByNode, Trouble
from cachetui.source.base import Capability, Kind
from cachetui.ui.browse import Browse
from cachetui.ui.hottest import HotLook
from cachetui.ui.remembering import MemoryLook


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment of the dashboard."""

    now: float
    """The source's clock: a recording's own time while replaying."""
    target: str
    node: str
    """The one node that is looked at alone; empty: the whole target."""
    identity: Identity | None
    settings: Settings
    evidence: Evidence
    findings: tuple[Finding, ...]
    verdict: Verdict
    history: History
    figures: Mapping[str, float | None]
    """The rates (per second, by counter) and gauges that our own polls move, steady against that."""
    states: Mapping[Kind, FeedState]
    denied: Mapping[str, CacheError]
    why_not: Callable[[Capability], str | None]
    browse: Browse
    journal: tuple[JournalEntry, ...]
    undoable: frozenset[str]
    """Receipts of what can be undone."""
    frozen: bool
    cost_per_s: float | None
    """Commands a second that we send."""
    cost_percent: float | None
    """Our share of the server's time, by its own measure of these commands."""
    read_only: str
    """Why nothing may be changed; empty when it may."""
    replay: str
    """Where a replay is ("paused 12s of 1m00s"); empty when live."""
    memory: MemoryLook
    """What the Memory view has asked for."""
    foreseen: str
    """What was predicted of the last change of policy or memory, and what came of it; empty: nothing was."""
    hot: HotLook
    """What was found of the hottest keys."""
    armed_s: float = 0.0
    """Seconds for which writes are allowed though the profile is read-only by default."""
    settings_by_node: SettingsByNode | None = None
    """The servers' own settings, while somebody looks at them."""
    settings_trouble: Trouble | None = None
    """Why they are not newer."""

    @property
    def stale_since(self) -> float | None:
        """When the last good figures were taken, if they are stale; None while live."""
        if self.evidence.trouble is None or self.evidence.stats is None:
            return None
        return self.evidence.stats.taken_at
