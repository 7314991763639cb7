"""From a press to a plan that moves memory between Memcached's slab classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cachetui import text
from cachetui.actions.plan import Plan
from cachetui.actions.plan.memcached_slabs import ANY, plan_reassign
from cachetui.analysis.slabs import idle_bytes
from cachetui.errors import Refused
from cachetui.model import Identity, SlabClass, Stats
from cachetui.ui.panes.memory import MemoryPane
from cachetui.ui.screens.dialog import Choice

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live

_ANY_CLASS = "any"


async def reassigned(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    """Ask which class gives the selected one a page."""
    pane = app.pane
    taker = pane.selected() if isinstance(pane, MemoryPane) else None
    if taker is None:
        raise Refused("no slab class is selected", "press 6 for Memcached's slab classes")
    stats = await live.source.poll("stats")
    slabs = [slab for slab in stats.slabs if slab.server == taker.server] if isinstance(stats, Stats) else []
    options, off = _givers(slabs, taker)
    title = f"a page of memory for class {taker.class_id} of {taker.server}, from class"
    chosen = await app.push_screen_wait(Choice(title, options, off=off))
    if chosen is None:
        return None
    source = ANY if chosen == _ANY_CLASS else int(chosen)
    server = taker.server if identity.mode == "fleet" else ""
    return plan_reassign(identity, live.source.name, slabs, source, taker.class_id, server=server)


def _givers(slabs: Sequence[SlabClass], taker: SlabClass) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Return the classes that may give, the one with most to spare first, and why others cannot."""
    others = sorted((slab for slab in slabs if slab.class_id != taker.class_id), key=idle_bytes, reverse=True)
    options = [(str(slab.class_id), _words(slab)) for slab in others]
    off = {str(slab.class_id): "it has one page only" for slab in others if slab.total_pages < 2}
    return [*options, (_ANY_CLASS, "the class with the oldest items, as memcached finds it")], off


def _words(slab: SlabClass) -> str:
    free = text.size(slab.free_chunks * slab.chunk_bytes)
    age = text.duration(slab.age_s)
    return f"chunks of {text.size(slab.chunk_bytes)}, {slab.total_pages} pages, {free} free, oldest item {age}"
