"""`cachetui failover`: make a replica the primary. A dry run unless `--yes` is given."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from cachetui.actions.cluster import mending
from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.failover import watched_by_sentinel
from cachetui.actions.plan import Plan
from cachetui.actions.plan.failover import plan_failover, plan_sentinel_failover
from cachetui.cli.applying import confirm, outcome_document, run, wanted_name
from cachetui.cli.call import Call, opened
from cachetui.cli.output import document, write_document, write_line, write_lines
from cachetui.config import Settings
from cachetui.errors import BadUsage
from cachetui.model import Topology
from cachetui.source.base import Source
from cachetui.source.connect import make_source


def failover(call: Call) -> int:
    """Plan a failover and, with `--yes`, do it and wait for its end. Raises CacheError."""
    return asyncio.run(_failover(call))


async def _failover(call: Call) -> int:
    target, settings = call.target()
    async with opened(target) as source, Nodes(target, make_source) as nodes:
        plan = await _planned(call, source, nodes)
        if not call.options.yes:
            return _preview(call, settings, plan)
        confirm(call, settings, plan)
        outcome = await run(call, settings, source, plan, nodes=nodes)
    if call.json:
        status = {0: "success", 4: "stopped"}.get(outcome.exit_code, "error")
        head = document("failover", plan.target, status=status)
        write_document({**head, "plan": _document(plan), "outcome": outcome_document(outcome)})
        return outcome.exit_code
    write_line(f"{plan.title}: {outcome.line()}")
    write_lines(f"  {check}" for check in outcome.checks)
    write_lines(f"  failed: {failure.command}: {failure.error.line()}" for failure in outcome.errors)
    write_line(f"  receipt {plan.id}, undo: {plan.undo}")
    return outcome.exit_code


async def _planned(call: Call, source: Source, nodes: Nodes) -> Plan:
    """Return the plan for whatever this is: a Sentinel's group, a node of a cluster, a primary with replicas."""
    identity = source.identity or await source.open()
    to, group = call.options.to or "", call.options.group
    if identity.mode == "cluster":
        if not to:
            raise BadUsage("which replica is to take over?", "give its address: --to HOST:PORT")
        return await mending.failover_planned(nodes, identity, source.name, to)
    seen = await source.poll("topology")
    assert isinstance(seen, Topology)
    if not seen.groups:
        watched = await watched_by_sentinel(source)
        return plan_failover(identity, source.name, seen, to, watched=watched)
    if to:
        raise BadUsage("a Sentinel chooses the replica by itself", "leave --to away, or set replica-priority")
    names = [one.name for one in seen.groups]
    if group is None and len(names) > 1:
        raise BadUsage("this Sentinel watches several groups", f"--group is one of {', '.join(names)}")
    return plan_sentinel_failover(identity, source.name, seen, group or names[0])


def _preview(call: Call, settings: Settings, plan: Plan) -> int:
    if call.json:
        write_document({**document("failover", plan.target, status="dry-run"), "plan": _document(plan)})
        return 0
    write_lines(_lines(plan))
    typed = wanted_name(settings, plan)
    needs = f" with --confirm {typed}" if typed is not None else ""
    call.tell(f"this was a dry run: nothing was changed; --yes{needs} does it")
    return 0


def _lines(plan: Plan) -> Iterable[str]:
    yield plan.title
    yield from (f"  {line}" for line in plan.what)
    yield f"  risk {plan.risk}"
    yield f"  undo: {plan.undo}"
    yield from (f"  > {command}" for command in plan.preview_commands())


def _document(plan: Plan) -> dict[str, object]:
    return {
        "receipt": plan.id,
        "title": plan.title,
        "what": list(plan.what),
        "risk": plan.risk,
        "undo": plan.undo,
        "confirm": plan.typed,
        "commands": plan.preview_commands(),
    }
