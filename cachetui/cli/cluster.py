"""`cachetui cluster`: make, check, balance, mend and change a cluster. A dry run unless `--yes` is given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from cachetui.actions.cluster import creating, mending
from cachetui.actions.cluster.balancing import Wishes, plan_move, plan_rebalance, slots_from
from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.plan import Plan
from cachetui.actions.plan.membership import Force
from cachetui.cli.applying import confirm, outcome_document, run, wanted_name
from cachetui.cli.call import Call, opened
from cachetui.cli.output import document, write_document, write_line, write_lines
from cachetui.config import Settings, Target
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.model import Identity
from cachetui.model.slots import slots_in
from cachetui.source.base import Source
from cachetui.source.connect import make_source
from cachetui.text import printable

PLANNED = 30
"""Commands shown of a plan."""

Planner = Callable[["Call", list[str], Nodes, Identity, str], Awaitable[Plan]]


def cluster(call: Call) -> int:
    """Do what the first word says. Raises CacheError; BadUsage for words that are not known."""
    words = call.words
    known = ", ".join(("create", "check", *_PLANNERS))
    if not words:
        raise BadUsage("what is to be done with the cluster?", f"cachetui cluster {known}")
    what, rest = words[0], words[1:]
    if what == "check":
        return _check(call, rest)
    if what == "create":
        return asyncio.run(_create(call, rest))
    if what not in _PLANNERS:
        raise BadUsage(f"cachetui cluster {printable(what, 40)} is not known", f"there are {known}")
    where = [] if call.by_parts and call.options.uri is None else rest[:1]
    more = rest[len(where) :]
    wanted = _MORE.get(what, ())
    if len(more) != len(wanted):
        raise BadUsage(
            f"cluster {what} takes a target{''.join(f' and {one}' for one in wanted)}",
            f"cachetui cluster {what} HOST:PORT {' '.join(wanted)}".rstrip(),
        )
    target, settings = call.target(where)
    return asyncio.run(_planned(call, target, settings, what, more))


def _check(call: Call, words: list[str]) -> int:
    from cachetui.cli.topology import topology

    call.options.words = words
    call.options.uri = None
    call.options.check = True
    return topology(call)


async def _create(call: Call, words: list[str]) -> int:
    if not words:
        raise BadUsage("no nodes are named", "cachetui cluster create HOST:PORT HOST:PORT HOST:PORT --replicas 0")
    resolved = [call.target([word]) for word in words]
    target, settings = resolved[0]
    addresses = [str(one.addresses[0]) for one, _ in resolved]
    async with Nodes(target, make_source) as nodes:
        plan = await creating.planned(addresses, replicas=call.options.replicas, nodes=nodes)
        return await _carried_out(call, settings, nodes.at(addresses[0]), nodes, plan, what="create")


async def _planned(call: Call, target: Target, settings: Settings, what: str, more: list[str]) -> int:
    async with opened(target) as source, Nodes(target, make_source) as nodes:
        identity = source.identity or await source.open()
        if identity.mode != "cluster":
            raise Unsupported(f"{source.name} is no node of a cluster", "name one that is")
        try:
            plan = await _PLANNERS[what](call, more, nodes, identity, source.name)
        except Refused as error:
            if not error.detail.get("nothing"):
                raise
            if call.json:
                write_document(
                    {**document("cluster", source.name), "action": what, "plan": None, "note": error.message}
                )
            call.tell(error.line())
            return 0
        return await _carried_out(call, settings, source, nodes, plan, what=what)


async def _carried_out(call: Call, settings: Settings, source: Source, nodes: Nodes, plan: Plan, *, what: str) -> int:
    """Show the plan, or apply it and show what became of it."""
    if not call.options.yes:
        return _preview(call, settings, plan, what)
    confirm(call, settings, plan)
    outcome = await run(call, settings, source, plan, nodes=nodes, rate=call.options.rate)
    if call.json:
        status = {0: "success", 4: "stopped"}.get(outcome.exit_code, "error")
        head = {**document("cluster", plan.target, status=status), "action": what}
        write_document({**head, "plan": _plan_document(plan), "outcome": outcome_document(outcome)})
        return outcome.exit_code
    write_line(f"{plan.title}: {outcome.line()}")
    write_lines(f"  {check}" for check in outcome.checks)
    write_lines(f"  failed: {failure.command}: {failure.error.line()}" for failure in outcome.errors)
    write_line(f"  receipt {plan.id}, undo: {plan.undo}")
    return outcome.exit_code


def _preview(call: Call, settings: Settings, plan: Plan, what: str) -> int:
    if call.json:
        head = {**document("cluster", plan.target, status="dry-run"), "action": what}
        write_document({**head, "plan": _plan_document(plan)})
        return 0
    write_lines(_plan_lines(plan))
    typed = wanted_name(settings, plan)
    needs = f" with --confirm {typed}" if typed is not None else ""
    call.tell(f"this was a dry run: nothing was changed; --yes{needs} does it")
    return 0


def _plan_lines(plan: Plan) -> Iterable[str]:
    yield plan.title
    yield from (f"  {line}" for line in plan.what)
    yield f"  risk {plan.risk}"
    yield f"  undo: {plan.undo}"
    yield from (f"  > {command}" for command in plan.preview_commands(PLANNED))


def _plan_document(plan: Plan) -> dict[str, object]:
    return {
        "receipt": plan.id,
        "title": plan.title,
        "what": list(plan.what),
        "risk": plan.risk,
        "undo": plan.undo,
        "confirm": plan.typed,
        "commands": plan.preview_commands(PLANNED),
        "count": plan.count,
    }


def _wishes(call: Call) -> Wishes:
    options = call.options
    weights: dict[str, float] = {}
    for word in options.weight:
        node, equals, number = word.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not equals or not node or not 0 <= weight <= 1e6:
            raise BadUsage(f"a weight is NODE=NUMBER, not {printable(word, 60)!r}", "as --weight 127.0.0.1:7000=2")
        weights[node] = weight
    return Wishes(
        by=options.by,
        weights=weights,
        threshold_percent=options.threshold,
        empty=options.empty,
        classic=options.classic,
        replace=options.replace,
        pipeline=options.pipeline,
    )


async def _rebalance(call: Call, words: list[str], nodes: Nodes, identity: Identity, name: str) -> Plan:
    return await plan_rebalance(nodes, identity, name, _wishes(call))


async def _move(call: Call, words: list[str], nodes: Nodes, identity: Identity, name: str) -> Plan:
    options = call.options
    if options.to is None or (options.slots is None) == (options.count is None):
        raise BadUsage(
            "move takes --to NODE, and --slots RANGES or --count N", "as --slots 0-99,105 --to 127.0.0.1:7001"
        )
    if options.count is not None:
        slots = await slots_from(nodes, options.count, to=options.to, givers=options.from_)
    else:
        try:
            slots = slots_in(options.slots)
        except ValueError as error:
            raise BadUsage(str(error), "as --slots 0-99,105") from error
    return await plan_move(nodes, identity, name, slots, to=options.to, wishes=_wishes(call))


async def _fix(call: Call, words: list[str], nodes: Nodes, identity: Identity, name: str) -> Plan:
    options = call.options
    return await mending.fix_planned(
        nodes, identity, name, replace_keys=options.replace, give_up_failed=options.give_up_failed
    )


async def _add(call: Call, words: list[str], nodes: Nodes, identity: Identity, name: str) -> Plan:
    new, _ = call.target(words)
    primary = call.options.replica_of or ""
    return await mending.add_planned(
        nodes, identity, name, str(new.addresses[0]), replica=call.options.replica, primary=primary
    )


async def _remove(call: Call, words: list[str], nodes: Nodes, identity: Identity, name: str) -> Plan:
    return await mending.remove_planned(nodes, identity, name, words[0], _wishes(call))


async def _forget(call: Call, words: list[str], nodes: Nodes, identity: Identity, name: str) -> Plan:
    return await mending.forget_planned(nodes, identity, name, words[0])


async def _failover(call: Call, words: list[str], nodes: Nodes, identity: Identity, name: str) -> Plan:
    force: Force = "FORCE" if call.options.force else "TAKEOVER" if call.options.takeover else ""
    return await mending.failover_planned(nodes, identity, name, words[0], force)


_PLANNERS: dict[str, Planner] = {
    "rebalance": _rebalance,
    "move": _move,
    "fix": _fix,
    "add": _add,
    "remove": _remove,
    "forget": _forget,
    "failover": _failover,
}
_MORE: dict[str, tuple[str, ...]] = {
    "add": ("NEW-HOST:PORT",),
    "remove": ("NODE",),
    "forget": ("NODE",),
    "failover": ("REPLICA",),
}
"""Words after the target."""
