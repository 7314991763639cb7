"""The same commands on several nodes, one after the other; and what each of them shows afterwards."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence

from cachetui.actions.plan import Command, Plan
from cachetui.actions.tally import Progress, Tally
from cachetui.errors import CacheError, Unreachable
from cachetui.model import NodeSettings
from cachetui.source.base import Source


async def run_on_nodes(
    plan: Plan,
    source: Source,
    tally: Tally,
    progress: Callable[[Progress], None] | None,
    cancel: asyncio.Event | None,
) -> None:
    """Send all steps to each node; a node that fails is named, and the others go on.

    While no node has taken the setting, a refusal ends it: then nothing is changed anywhere.
    What a broken connection leaves open counts as unknown: reading it back tells.
    """
    unknown = 0
    troubles: list[str] = []
    for nth, address in enumerate(plan.nodes):
        if cancel is not None and cancel.is_set():
            tally.reason = "cancelled"
            return
        error, lost = await _run_on(address, plan.steps, source, tally, unknown)
        unknown += lost
        tally.in_flight = unknown
        if error is not None:
            troubles.append(error.line())
        if progress is not None:
            progress(tally.progress())
        left = len(plan.nodes) - nth - 1
        if error is not None and plan.expects and not tally.done and not unknown and left and not _is_away(error):
            tally.reason = f"{error.line()}; the other {left} nodes were not asked"
            return
    tally.reason = "; ".join(dict.fromkeys(troubles))


async def _run_on(
    address: str, steps: Sequence[Command], source: Source, tally: Tally, unknown: int
) -> tuple[CacheError | None, int]:
    """Send the steps to one node; return the error that ended it, and how many may have been carried out unseen."""
    for step in steps:
        tally.left -= 1
        tally.in_flight = unknown + 1
        try:
            (reply,) = await source.execute_on(address, [step])
        except CacheError as error:
            named = at_node(error, address)
            if isinstance(error, Unreachable) and error.detail.get("sent", True):
                return named, 1
            tally.refused(step, named)
            return named, 0
        tally.in_flight = unknown
        if tally.count([step], [at_node(reply, address) if isinstance(reply, CacheError) else reply]):
            assert tally.last_error is not None
            return tally.last_error, 0
    return None, 0


def _is_away(error: CacheError) -> bool:
    return isinstance(error, Unreachable)


def at_node(error: CacheError, address: str) -> CacheError:
    """Return the error with the node's address in front, if it does not name it already."""
    if address in error.message:
        return error
    named = copy.copy(error)
    named.message = f"{address}: {error.message}"
    named.args = (named.message,)
    return named


async def verify_nodes(plan: Plan, source: Source) -> tuple[bool | None, tuple[str, ...]]:
    """Read the setting back from every node of the plan; differing nodes are named as drift."""
    assert plan.expects is not None
    name, wanted = plan.expects
    found = {node.address: node for node in (await source.settings(name)).nodes}
    lines: list[str] = []
    good: list[str] = []
    bad: list[str] = []
    for address in plan.nodes:
        node = found.get(address, NodeSettings(address, problem="it is no longer one of the nodes"))
        shown = node.values.get(name)
        if shown is None:
            lines.append(f"{address} could not be checked: {node.problem or f'it does not show {name}'}")
            bad.append(address)
        elif is_set(plan, shown):
            lines.append(f"{address}: {name} reads {shown or 'empty'}")
            good.append(shown)
        else:
            lines.append(f"{address}: {name} reads {shown or 'empty'}, not {wanted or 'empty'}")
            bad.append(address)
    if not bad and len(set(good)) == 1:
        return True, tuple(lines)
    drift: list[str] = []
    if good and bad:
        drift.append(f"drift: {len(good)} of {len(plan.nodes)} nodes have the new {name}, not {', '.join(bad)}")
        way_back = plan.undo if plan.undo.startswith("no undo") else f"or go back with {plan.undo}"
        drift.append(f"nothing was taken back: do it again; {way_back}")
    elif good:
        drift.append(f"drift: the nodes show {name} differently")
    return False, (*drift, *lines)


async def as_shown(plan: Plan, source: Source) -> tuple[tuple[str, str, str], ...]:
    """Return `plan.back` with the values that the server shows by now: what an undo compares with."""
    words = []
    for name, before, after in plan.back:
        try:
            shown = (await source.settings(name)).reach
        except CacheError:  # it was read back a moment ago: what was asked for has to do
            shown = ()
        mine = [node for node in shown if (node.address in plan.nodes if plan.nodes else node.myself)]
        values = {node.values[name] for node in mine if name in node.values}
        words.append((name, before, values.pop() if len(values) == 1 else after))
    return tuple(words)


def is_set(plan: Plan, shown: str) -> bool:
    """Tell whether what a server shows is what was set, in its own words if the plan lets it."""
    assert plan.expects is not None
    name, wanted = plan.expects
    if shown == wanted:
        return True
    before = next((old for setting, old, _ in plan.back if setting == name), None)
    return plan.reworded and before is not None and shown != before
