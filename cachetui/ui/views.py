"""The views that the number presses switch between, each mounted when it is first wanted."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message

from cachetui.keyspace.listing import Wanted
from cachetui.source.base import Kind
from cachetui.ui.panes.activity import ActivityPane
from cachetui.ui.panes.clients import ClientsPane
from cachetui.ui.panes.config import ConfigPane
from cachetui.ui.panes.findings import FindingsPane
from cachetui.ui.panes.journal import JournalPane
from cachetui.ui.panes.keys import KeysPane
from cachetui.ui.panes.latency import LatencyPane
from cachetui.ui.panes.memory import MemoryPane
from cachetui.ui.panes.pane import Pane
from cachetui.ui.panes.slow import SlowPane
from cachetui.ui.panes.stats import StatsPane
from cachetui.ui.panes.topology import TopologyPane
from cachetui.ui.scene import Scene

GRID_COLUMNS, GRID_ROWS = 120, 32
"""The four panes stand side by side from this size of the body up (a screen of 120 by 36)."""


class View(Container):
    """One or more panes that are shown together."""

    DEFAULT_CSS = """
    View { height: 1fr; width: 1fr; }
    View.hidden { display: none; }
    """

    class Rearranged(Message):
        """Other panes can be seen now."""

    def __init__(self, view_id: str, make: Callable[[], list[Pane]]) -> None:
        super().__init__(id=f"{view_id}-view")
        self.view_id = view_id
        self.panes = make()
        self.front = self.panes[0]
        self.zoomed = False

    def compose(self) -> ComposeResult:
        yield from self.panes

    @property
    def shown(self) -> list[Pane]:
        """The panes that can be seen."""
        return self.panes

    def kinds(self) -> set[Kind]:
        """What must be polled for the panes that can be seen."""
        return {kind for pane in self.shown for kind in pane.kinds}

    @property
    def looks_at_keys(self) -> bool:
        """Whether keys must be enumerated for what can be seen."""
        return any(isinstance(pane, KeysPane) for pane in self.shown)

    @property
    def looks_at_config(self) -> bool:
        """Whether the servers' settings must be read for what can be seen."""
        return any(isinstance(pane, ConfigPane) for pane in self.shown)

    def listings(self) -> dict[str, Wanted]:
        """What its lists of keys want to show, by pane."""
        return {pane.pane_id: pane.wanted for pane in self.panes if isinstance(pane, KeysPane)}

    def zoom(self) -> None:
        """Give the front pane the whole view; a view of one pane has nothing to give."""

    def show(self, scene: Scene) -> None:
        for pane in self.shown:
            pane.show(scene)

    def bring(self, pane: Pane) -> None:
        """Make `pane` the one that answers presses."""
        self.front = pane
        pane.focus()

    def step(self, by: int) -> None:
        """Go to the next or previous pane."""
        self.bring(self.panes[(self.panes.index(self.front) + by) % len(self.panes)])


class Overview(View):
    """Four live panes: a grid where there is room, else one at a time."""

    DEFAULT_CSS = """
    Overview { layout: grid; grid-size: 2 2; grid-gutter: 0 2; }
    Overview.single { layout: vertical; }
    Overview.single Pane { display: none; }
    Overview.single Pane.front { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(
            "overview",
            lambda: [
                StatsPane(id="overview-stats"),
                KeysPane(id="overview-keys", compact=True),
                SlowPane(id="overview-slow", by="shape"),
                TopologyPane(id="overview-topology"),
            ],
        )

    @property
    def single(self) -> bool:
        return self.has_class("single")

    @property
    def shown(self) -> list[Pane]:
        return [self.front] if self.single else self.panes

    def on_mount(self) -> None:
        self._arrange()

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()

    def zoom(self) -> None:
        """Give the front pane the whole view, or put it back."""
        self.zoomed = not self.zoomed
        self._arrange()

    def bring(self, pane: Pane) -> None:
        super().bring(pane)
        self._arrange()
        self.post_message(self.Rearranged())

    def _arrange(self) -> None:
        width, height = self.size
        before = self.shown
        self.set_class(self.zoomed or width < GRID_COLUMNS or height < GRID_ROWS, "single")
        for pane in self.panes:
            pane.set_class(pane is self.front, "front")
            others = ", ".join(other.heading for other in self.panes if other is not pane)
            pane.behind = f"Tab: {others}" if self.single else ""
        if self.shown != before:
            self.post_message(self.Rearranged())


MAKERS: dict[str, Callable[[], View]] = {
    "overview": Overview,
    "keys": lambda: View("keys", lambda: [KeysPane(id="keys-pane")]),
    "slow": lambda: View("slow", lambda: [SlowPane(id="slow-pane"), LatencyPane(id="latency-pane")]),
    "topology": lambda: View("topology", lambda: [TopologyPane(id="topology-pane")]),
    "clients": lambda: View("clients", lambda: [ClientsPane(id="clients-pane")]),
    "memory": lambda: View("memory", lambda: [MemoryPane(id="memory-pane")]),
    "activity": lambda: View("activity", lambda: [ActivityPane(id="activity-pane")]),
    "findings": lambda: View("findings", lambda: [FindingsPane(id="findings-pane")]),
    "journal": lambda: View("journal", lambda: [JournalPane(id="journal-pane")]),
    "config": lambda: View("config", lambda: [ConfigPane(id="config-pane")]),
}
