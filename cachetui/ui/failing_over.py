"""From F to a plan: who is to take over, and by whom it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachetui.actions.cluster import mending
from cachetui.actions.failover import watched_by_sentinel
from cachetui.actions.plan import Plan
from cachetui.actions.plan.failover import candidates, plan_failover, plan_sentinel_failover, primary_of
from cachetui.errors import Refused, Unsupported
from cachetui.model import Identity, Topology
from cachetui.ui.clustering import reached
from cachetui.ui.panes.topology import TopologyPane
from cachetui.ui.screens.dialog import Choice

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live


async def failed_over(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    """Plan a failover of whatever this is: a Sentinel's group, a cluster's shard, a primary with replicas."""
    seen = await live.source.poll("topology")
    assert isinstance(seen, Topology)
    if identity.mode == "cluster":
        return await _of_cluster(app, live, identity, seen)
    if seen.groups:
        name = await _group(app, live, seen)
        return None if name is None else plan_sentinel_failover(identity, live.source.name, seen, name)
    if identity.mode == "sentinel":
        raise Unsupported("this Sentinel watches no group", "SENTINEL MONITOR adds one")
    return await _of_replication(app, live, identity, seen)


async def _group(app: CachetuiApp, live: Live, seen: Topology) -> str | None:
    if len(seen.groups) == 1:
        return seen.groups[0].name
    rows = [(group.name, f"primary {group.primary}") for group in seen.groups]
    return await app.push_screen_wait(Choice(f"fail over which group of {live.source.name}", rows))


async def _of_replication(app: CachetuiApp, live: Live, identity: Identity, seen: Topology) -> Plan | None:
    found = candidates(seen)
    to = _pointed(app, [one.address for one in found])
    if not to and len(found) > 1:
        rows = [(one.address, one.words()) for one in found]
        chosen = await app.push_screen_wait(Choice(f"which replica of {primary_of(seen)} takes over", rows))
        if chosen is None:
            return None
        to = chosen
    return plan_failover(identity, live.source.name, seen, to, watched=await watched_by_sentinel(live.source))


async def _of_cluster(app: CachetuiApp, live: Live, identity: Identity, seen: Topology) -> Plan | None:
    replicas = [node for node in seen.nodes if node.role == "replica"]
    if not replicas:
        raise Refused("this cluster has no replica: there is nothing to fail over to", "add one first")
    to = _pointed(app, [node.address for node in replicas])
    if not to:
        rows = [(node.address, f"of {node.primary}, {node.state}") for node in replicas]
        chosen = await app.push_screen_wait(Choice("which replica takes over its primary's slots", rows))
        if chosen is None:
            return None
        to = chosen
    async with reached(app) as nodes:
        return await mending.failover_planned(nodes, identity, live.source.name, to)


def _pointed(app: CachetuiApp, addresses: list[str]) -> str:
    """Return the replica that the topology's cursor is on; empty for none."""
    pane = app.pane
    row = pane.table.current if isinstance(pane, TopologyPane) else None
    return row.find if row is not None and row.find in addresses else ""
