"""One node of the target looked at alone: every view shows it, until they are widened again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from cachetui.errors import CacheError
from cachetui.model import Stats, Topology
from cachetui.ui.live import Live
from cachetui.ui.panes.keys import KeysPane
from cachetui.ui.panes.pane import TablePane

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp

_ROLES = ("primary", "replica", "server")
"""Of what can be looked at alone; a Sentinel holds nothing."""


async def narrow(app: CachetuiApp, live: Live, address: str) -> None:
    """Let all views show one node."""
    wide = live.wide or live
    try:
        source = wide.source.node(address)
    except CacheError as error:
        app.say(error.line(), severity="warning")
        return
    alone = Live(source, wide.settings, app.soon)
    alone.wide, alone.node = wide, address
    alone.set_interval(wide.interval_s)
    await _swap(app, live, alone)


async def widen(app: CachetuiApp, live: Live) -> None:
    """Let all views show the whole target again."""
    if live.wide is not None:
        await _swap(app, live, live.wide)


async def step(app: CachetuiApp, live: Live, by: int) -> None:
    """Go to the next or previous node; before the first and after the last comes the whole."""
    if app.view_id == "keys":
        app.say("open a key first: here this reads on in a big value")
        return
    wide = live.wide or live
    places = ["", *await _addresses(wide)]
    if len(places) <= 2 and not live.node:
        app.say("there are no several nodes here")
        return
    at = places.index(live.node) if live.node in places else 0
    address = places[(at + by) % len(places)]
    if address:
        await narrow(app, live, address)
    else:
        await widen(app, live)


async def _addresses(wide: Live) -> list[str]:
    """Return the nodes in the order of the topology, which is asked for where nobody has looked at it yet."""
    known = wide.feeds.latest.get("topology")
    if known is None:
        with contextlib.suppress(CacheError):  # the header says that nobody answers
            known = await wide.source.poll("topology")
    if isinstance(known, Topology):
        return [node.address for node in known.nodes if node.role in _ROLES and not node.address.startswith("?")]
    stats = wide.feeds.latest.get("stats")
    return [node.address for node in stats.nodes] if isinstance(stats, Stats) else []


async def _swap(app: CachetuiApp, old: Live, new: Live) -> None:
    """Show `new` from now on. The whole is kept, and asked nothing meanwhile; a single node is let go."""
    if app.live is not old:
        return  # another press was quicker
    old.look((), keys=False)
    app.live = new
    for pane in app.query(KeysPane):
        # What is marked there belongs to the other.
        pane.table.marked.clear()
        pane.forget_asked()
    for other in app.query(TablePane):
        other.table.marked.clear()
    if not new.running:
        app.run_worker(new.run(), group="live", exit_on_error=False)
    app.look()
    if app.view_id == "journal":
        app.read_journal()
    app.soon()
    if old.node:
        await old.close()
