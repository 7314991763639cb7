"""`cachetui policy`: show, plan and set eviction policy and memory limit, on every node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from cachetui.actions.plan import Plan, plan_maxmemory, plan_policy, plan_rewrite
from cachetui.cli.applying import confirm
from cachetui.cli.call import Call, opened
from cachetui.cli.output import document, write_document, write_line, write_lines
from cachetui.config import Settings, Target
from cachetui.errors import BadUsage, CacheError, Denied, Unsupported
from cachetui.model import NodeSettings, SettingsByNode
from cachetui.source.base import Source
from cachetui.source.single import stats_of_one
from cachetui.text import size

_POLICY, _LIMITS = "maxmemory-policy", ("maxmemory", "maxbytes")


def policy(call: Call) -> int:
    """Show policy and limit, or plan a change of them; `--yes` applies it and writes the journal."""
    words = call.words
    where = words[:1] if call.options.uri is not None or not call.by_parts else []
    rest = words[len(where) :]
    if len(rest) > 1:
        raise BadUsage("policy takes one target and one policy", "cachetui policy TARGET allkeys-lru")
    target, settings = call.target(where)
    wanted = rest[0] if rest else None
    if wanted is None and call.options.maxmemory is None:
        if call.options.yes and not call.options.rewrite:
            raise BadUsage("nothing to set", "name a policy, or give --maxmemory or --rewrite")
        if not call.options.rewrite:
            return asyncio.run(_show(call, target))
    return asyncio.run(_set(call, target, settings, wanted))


async def _show(call: Call, target: Target) -> int:
    async with opened(target) as source:
        stats = await stats_of_one(source)
        allowed, why = await _allowed(source)
        found, denied = await _settings(source, "*")
    nodes = found.nodes if found is not None else ()
    drift = found.drift if found is not None else ()
    why = "; ".join(filter(None, (why, denied, found.note if found is not None else "")))
    if call.json:
        head = document("policy", source.name, stats.taken_at)
        head |= {"policy": stats.policy, "allowed": list(allowed), "note": why}
        head |= {"maxmemoryBytes": stats.maxmemory_bytes, "usedBytes": stats.used_bytes}
        head["nodes"] = [_node_document(node) for node in nodes]
        head["drift"] = {name: found.values_of(name) for name in drift} if found is not None else {}
        write_document(head)
        return 0
    write_line(f"policy     {stats.policy or '-'}")
    write_line(f"maxmemory  {_limit(stats.maxmemory_bytes)}, {size(stats.used_bytes)} used")
    write_line(f"allowed    {', '.join(allowed) or '-'}")
    if found is not None and len(nodes) > 1:
        write_lines(_node_lines(found))
    if why:
        call.tell(why)
    return 0


def _node_lines(found: SettingsByNode) -> Iterable[str]:
    width = max(len(node.address) for node in found.nodes)
    for node in found.nodes:
        words = f"{node.values.get(_POLICY, '-')}, {_limit(_limit_of(node))}, {size(node.used_bytes)} used"
        yield f"node       {node.address:<{width}}  {node.role:<8}  {node.problem or words}"
    for name in found.drift:
        several = (f"{value or 'empty'} on {_where(found, name, value)}" for value, _ in found.shares(name))
        yield f"drift      {name}: {'; '.join(several)}"
    if not found.drift:
        silent = sum(1 for node in found.nodes if node.problem)
        yield "drift      none" + (f" on the {len(found.nodes) - silent} nodes that answer" if silent else "")


def _where(found: SettingsByNode, name: str, value: str) -> str:
    return ", ".join(address for address, shown in found.values_of(name).items() if shown == value)


def _node_document(node: NodeSettings) -> dict[str, object]:
    return {
        "address": node.address,
        "role": node.role,
        "policy": node.values.get(_POLICY),
        "maxmemoryBytes": _limit_of(node),
        "usedBytes": node.used_bytes,
        "hasFile": node.has_file,
        "problem": node.problem or None,
    }


def _limit_of(node: NodeSettings) -> int | None:
    shown = next((node.values[name] for name in _LIMITS if name in node.values), "")
    return int(shown) if shown.isdigit() else None


def _limit(limit_bytes: int | None) -> str:
    return "no limit" if limit_bytes == 0 else size(limit_bytes)


async def _settings(source: Source, pattern: str) -> tuple[SettingsByNode | None, str]:
    """Return the settings by node, or None and why the server does not tell."""
    try:
        return await source.settings(pattern), ""
    except (Denied, Unsupported) as error:
        return None, error.line()


async def _set(call: Call, target: Target, settings: Settings, wanted: str | None) -> int:
    async with opened(target) as source:
        plans = await _plans(call, source, wanted)
        if not call.options.yes:
            _preview(call, source.name, plans)
            return 0
        for plan in plans:
            confirm(call, settings, replace(plan, typed=None))
        return await _apply(call, settings, source, plans)


async def _plans(call: Call, source: Source, wanted: str | None) -> list[Plan]:
    """Plan the policy first: a limit that shrinks needs to know what may be evicted."""
    stats = await stats_of_one(source)
    limit: int | None = call.options.maxmemory
    nodes = await _nodes(call, source)
    plans = []
    if wanted is not None:
        allowed, _ = await _allowed(source)
        last = limit is None
        rewrite = call.options.rewrite and last
        plans.append(plan_policy(stats.server, source.name, stats, wanted, allowed, nodes=nodes, rewrite=rewrite))
    if limit is not None:
        if wanted is not None:  # by then the new policy holds
            policy = wanted.strip().lower()
            stats = replace(stats, policy=policy)
            nodes = tuple(replace(node, values={**node.values, _POLICY: policy}) for node in nodes)
        rewrite = call.options.rewrite
        plans.append(plan_maxmemory(stats.server, source.name, stats, limit, nodes=nodes, rewrite=rewrite))
    return plans or [plan_rewrite(stats.server, source.name, nodes=nodes)]


async def _nodes(call: Call, source: Source) -> tuple[NodeSettings, ...]:
    """Return the nodes that the change goes to; none where they are not told: the server alone."""
    found, why = await _settings(source, "max*")
    if source.identity is not None and source.identity.mode == "sentinel":
        return ()  # the plan says that there is nothing to set
    if found is None or found.note:
        call.tell(f"this server only: {why or (found.note if found else '')}")
        return ()
    return tuple(node for node in found.reach if node.myself) if call.options.this_server else found.reach


def _preview(call: Call, name: str, plans: list[Plan]) -> None:
    if call.json:
        head = document("policy", name, status="dry-run")
        write_document({**head, "plans": [_plan_document(plan) for plan in plans]})
        return
    for plan in plans:
        write_lines(_plan_lines(plan))
    call.tell("this was a dry run: nothing was changed; --yes does it")


async def _apply(call: Call, settings: Settings, source: Source, plans: list[Plan]) -> int:
    from cachetui.actions.apply import Guard, apply
    from cachetui.actions.journal import Journal, default_path

    journal, guard = Journal(default_path()), Guard(settings.read_only, settings.read_only_reason)
    code, results = 0, []
    for at, plan in enumerate(plans):
        try:
            outcome = await apply(plan, source, journal=journal, guard=guard)
        except CacheError:
            if not at:
                raise
            call.tell(f"{plan.title}: not done, what came before is done")
            raise
        code = outcome.exit_code
        done = {"plan": _plan_document(plan), "state": outcome.state, "tally": outcome.line()}
        results.append({**done, "verified": outcome.verified, "checks": list(outcome.checks)})
        if not call.json:
            write_line(f"{plan.title}: {outcome.line()}")
            write_lines(f"  {check}" for check in outcome.checks)
            write_line(f"  receipt {plan.id}, undo: {plan.undo}")
        if code:
            break
    if call.json:
        head = document("policy", source.name, status="success" if not code else "error")
        write_document({**head, "outcomes": results})
    if len(results) < len(plans):
        call.tell(f"not done: {', '.join(plan.title for plan in plans[len(results) :])}")
    return code


def _plan_lines(plan: Plan) -> Iterable[str]:
    yield plan.title
    yield from (f"  {line}" for line in plan.what)
    yield f"  risk {plan.risk}, undo: {plan.undo}"
    yield from (f"  > {command}" for command in plan.preview_commands())


def _plan_document(plan: Plan) -> dict[str, object]:
    return {
        "receipt": plan.id,
        "title": plan.title,
        "what": list(plan.what),
        "risk": plan.risk,
        "undo": plan.undo,
        "commands": plan.preview_commands(),
        "commandCount": plan.count,
        "nodes": list(plan.nodes),
    }


async def _allowed(source: Source) -> tuple[tuple[str, ...], str]:
    """Return the policies that may be set here, or none and why."""
    if why := source.why_not("policy"):
        return (), why
    try:
        return await source.policies(), ""
    except CacheError as error:
        return (), error.line()
