"""From a press to a plan for the servers' settings: which node it goes to, and what is asked first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cachetui import text
from cachetui.actions.plan import Plan, plan_rewrite, plan_setting
from cachetui.actions.plan.memcached_settings import memcached_fixed
from cachetui.errors import Denied, Refused, Unsupported
from cachetui.model import Identity, NodeSettings, is_secret
from cachetui.ui.panes.config import ConfigPane
from cachetui.ui.screens.dialog import Choice, Prompt

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live

Planner = Callable[["CachetuiApp", "Live", Identity], Awaitable[Plan | None]]

_ALL, _ALONE = "with its replicas", "this server alone"


async def reached(app: CachetuiApp, live: Live, pattern: str) -> tuple[NodeSettings, ...] | None:
    """Return the nodes that a change is to go to, with the settings that match; None when the person leaves.

    A cluster's are all of its nodes; a server alone may be meant without its replicas.
    """
    try:
        found = await live.source.settings(pattern)
    except (Denied, Unsupported) as error:
        app.say(f"this server only: {error.line()}", severity="warning")
        return ()
    if found.note:
        app.say(f"this server only: {found.note}", severity="warning")
    reach = found.reach
    if len(reach) < 2 or found.server.mode in ("cluster", "fleet"):
        return reach
    replicas = ", ".join(node.address for node in reach if not node.myself)
    chosen = await app.push_screen_wait(
        Choice(f"where on {live.source.name}", [(_ALL, replicas), (_ALONE, "the replicas keep their own setting")])
    )
    if chosen is None:
        return None
    return reach if chosen == _ALL else tuple(node for node in reach if node.myself)


async def setting(app: CachetuiApp, live: Live, identity: Identity, others: dict[str, Planner]) -> Plan | None:
    """Ask for the selected setting's new value; `others` plan those that have a question of their own."""
    pane = app.pane
    name = pane.selected() if isinstance(pane, ConfigPane) else None
    if name is None:
        raise Refused("no setting is selected", "press 0 for the settings")
    if name in others:
        return await others[name](app, live, identity)
    if is_secret(name):
        raise Refused(f"{name} is a secret: it is neither shown nor set here", "use redis-cli, on every node")
    if identity.kind == "memcached" and (why := memcached_fixed(name)) is not None:
        raise why
    found = live.config.latest
    here = found.here if found is not None else None
    before = here.values.get(name) if here is not None else None
    differs = found is not None and name in found.drift
    hint = "the server judges the value; the plan is shown before anything is sent"
    words = await app.push_screen_wait(
        Prompt(
            f"{name} of {text.printable(live.source.name)}" + (" (differs between its nodes)" if differs else ""),
            initial=before or "",
            hint=hint,
        )
    )
    if words is None:
        return None
    # Memcached's `lru tune` sets four settings at once: it has to know the others.
    nodes = await reached(app, live, "*" if identity.kind == "memcached" else name)
    if nodes is None:
        return None
    return plan_setting(identity, live.source.name, name, before, words, nodes=nodes)


async def rewrite(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    """Plan CONFIG REWRITE."""
    nodes = await reached(app, live, "port")
    return None if nodes is None else plan_rewrite(identity, live.source.name, nodes=nodes)
