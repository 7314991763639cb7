"""`cachetui policy`: show, plan and set eviction policy and memory limit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from cachetui.actions.plan import Plan, plan_maxmemory, plan_policy
from cachetui.cli.call import Call, opened
from cachetui.cli.output import document, write_document, write_line, write_lines
from cachetui.config import Settings, Target
from cachetui.errors import BadUsage, CacheError
from cachetui.model import Stats
from cachetui.source.base import Source
from cachetui.text import size


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
        if call.options.yes or call.options.rewrite:
            raise BadUsage("nothing to set", "name a policy, or give --maxmemory")
        return asyncio.run(_show(call, target))
    return asyncio.run(_set(call, target, settings, wanted))


async def _show(call: Call, target: Target) -> int:
    async with opened(target) as source:
        stats = await _stats(source)
        allowed, why = await _allowed(source)
    if call.json:
        head = document("policy", source.name, stats.taken_at)
        head |= {"policy": stats.policy, "allowed": list(allowed), "note": why}
        write_document({**head, "maxmemoryBytes": stats.maxmemory_bytes, "usedBytes": stats.used_bytes})
        return 0
    limit = "no limit" if stats.maxmemory_bytes == 0 else size(stats.maxmemory_bytes)
    write_line(f"policy     {stats.policy or '-'}")
    write_line(f"maxmemory  {limit}, {size(stats.used_bytes)} used")
    write_line(f"allowed    {', '.join(allowed) or '-'}")
    if why:
        call.tell(why)
    return 0


async def _set(call: Call, target: Target, settings: Settings, wanted: str | None) -> int:
    async with opened(target) as source:
        plans = await _plans(call, source, wanted)
        if not call.options.yes:
            _preview(call, source.name, plans)
            return 0
        return await _apply(call, settings, source, plans)


async def _plans(call: Call, source: Source, wanted: str | None) -> list[Plan]:
    """Plan the policy first: a limit that shrinks needs to know what may be evicted."""
    stats = await _stats(source)
    limit: int | None = call.options.maxmemory
    plans = []
    if wanted is not None:
        allowed, _ = await _allowed(source)
        last = limit is None
        rewrite = call.options.rewrite and last
        plans.append(plan_policy(stats.server, source.name, stats, wanted, allowed, rewrite=rewrite))
    if limit is not None:
        # By then the new policy holds.
        stats = replace(stats, policy=wanted.strip().lower()) if wanted is not None else stats
        plans.append(plan_maxmemory(stats.server, source.name, stats, limit, rewrite=call.options.rewrite))
    return plans


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
        results.append({**done, "checks": list(outcome.checks)})
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
        "commandCount": len(plan.steps),
    }


async def _stats(source: Source) -> Stats:
    stats = await source.poll("stats")
    assert isinstance(stats, Stats)
    return stats


async def _allowed(source: Source) -> tuple[tuple[str, ...], str]:
    """Return the policies that may be set here, or none and why."""
    if why := source.why_not("policy"):
        return (), why
    try:
        return await source.policies(), ""
    except CacheError as error:
        return (), error.line()
