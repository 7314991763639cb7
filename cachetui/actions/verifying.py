"""A plan looked at again after it was carried out: does the server show what was done?"""

from __future__ import annotations

from collections.abc import Sequence

from cachetui.actions.nodes import is_set, verify_nodes
from cachetui.actions.plan import Plan
from cachetui.actions.tally import Tally
from cachetui.errors import CacheError, Changed
from cachetui.source.base import Source

KEYS_CHECKED = 20


async def verify(
    plan: Plan, source: Source, tally: Tally, swept: Sequence[bytes]
) -> tuple[bool | None, tuple[str, ...]]:
    """Look again: does the server show what was done? Returns the answer (None: not checked) and its words."""
    if not tally.done or (tally.in_flight and not plan.nodes):
        return None, ()
    try:
        if plan.nodes and plan.expects is not None:
            return await verify_nodes(plan, source)
        if plan.expects is not None:
            return await _verify_setting(plan, source)
        if plan.restores and swept:
            return await _verify_there(source, swept)
        if plan.sweep is not None and plan.sweep.operation.kind != "delete":
            return await _verify_expiry(source, swept, wanted=plan.sweep.operation.kind == "expire")
        if plan.deletes:
            return await _verify_gone(source, swept or _answered(plan, tally))
        if plan.shows and tally.done == len(plan.steps):
            return await _verify_shown(plan, source)
    except CacheError as error:
        return None, (f"could not be checked: {error.message}",)
    return None, ()


async def _verify_setting(plan: Plan, source: Source) -> tuple[bool | None, tuple[str, ...]]:
    assert plan.expects is not None
    name, value = plan.expects
    shown = (await source.config(name)).get(name)
    if shown is None:
        return None, (f"could not be checked: the server does not show {name}",)
    good = is_set(plan, shown)
    return good, (f"{name} reads {shown or 'empty'}" + ("" if good else f", not {value or 'empty'}"),)


def _answered(plan: Plan, tally: Tally) -> list[bytes]:
    step = max(1, tally.answered // KEYS_CHECKED)
    return [plan.steps[at][1] for at in range(0, tally.answered, step)][:KEYS_CHECKED]


async def _verify_expiry(source: Source, keys: Sequence[bytes], *, wanted: bool) -> tuple[bool | None, tuple[str, ...]]:
    facts = (await source.facts(keys, size=False)).facts
    differing = sum(known.exists and known.has_ttl is (not wanted) for known in facts)
    if not differing:
        return True, (f"{len(keys):,} of the keys were looked up again: {'a' if wanted else 'no'} TTL",)
    return None, (f"{differing:,} of {len(keys):,} keys looked up again differ: written again since",)


async def _verify_there(source: Source, keys: Sequence[bytes]) -> tuple[bool | None, tuple[str, ...]]:
    facts = (await source.facts(keys, size=False)).facts
    gone = sum(not known.exists for known in facts)
    if not gone:
        return True, (f"{len(keys):,} of the keys were looked up again: there",)
    return None, (f"{gone:,} of {len(keys):,} keys looked up again are gone: expired, or deleted since",)


async def _verify_gone(source: Source, keys: Sequence[bytes]) -> tuple[bool | None, tuple[str, ...]]:
    facts = (await source.facts(keys, size=False)).facts
    there = sum(known.exists for known in facts)
    if not there:
        return True, (f"{len(keys):,} of the keys were looked up again: gone",)
    # Not a failure of ours: failed ones are counted, and a client may have written a key again.
    return None, (f"{there:,} of {len(keys):,} keys looked up again exist: refused, or written again since",)


async def _verify_shown(plan: Plan, source: Source) -> tuple[bool | None, tuple[str, ...]]:
    try:
        await source.transact((), plan.shows, ())
    except Changed as error:
        # Not a failure of ours: the server said yes, so somebody wrote it since.
        return None, (f"{error.detail.get('what')} reads differently by now: written again since",)
    return True, ("read back: as it was written",)
