"""`cachetui undo`: what can be undone, the plan of its way back, and with `--yes` the way back itself."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable

from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.journal import Journal, default_path
from cachetui.actions.plan import Plan
from cachetui.actions.undo import Receipt, newest, plan_of, undoable, undoing
from cachetui.cli.applying import confirm, outcome_document, run, wanted_name
from cachetui.cli.call import Call, opened
from cachetui.cli.output import columns, document, iso, write_document, write_line, write_lines
from cachetui.config import Settings, Target
from cachetui.errors import BadUsage
from cachetui.model.slots import counted_slots, slots_in
from cachetui.source.connect import make_source
from cachetui.text import duration, size

_RECEIPT = re.compile(r"\d{8}-\d{6}-\d{3}-[0-9a-f]{8}")


def undo(call: Call) -> int:
    """List what can be undone, or plan the way back of one receipt; `--yes` applies it."""
    receipts = [word for word in call.words if _RECEIPT.fullmatch(word)]
    where = [word for word in call.words if not _RECEIPT.fullmatch(word)]
    if len(receipts) > 1 or len(where) > 1:
        raise BadUsage("undo takes one receipt and one target", "see cachetui undo --list")
    journal = Journal(default_path())
    given = bool(where) or call.by_parts
    if call.options.list_:
        return _list(call, undoable(journal, call.target(where)[0].name if given else None))
    if receipts:
        row = undoing(journal, receipts[0])
        target, settings = call.target(where if given else [row.target])
        return asyncio.run(_undo(call, target, settings, journal, row))
    target, settings = call.target(where)
    return asyncio.run(_undo(call, target, settings, journal, None))


async def _undo(call: Call, target: Target, settings: Settings, journal: Journal, row: Receipt | None) -> int:
    async with opened(target) as source, Nodes(target, make_source) as nodes:
        if row is None:
            row = await asyncio.to_thread(newest, journal, source.name)
        if row is None:
            raise BadUsage(
                f"nothing that was done on {source.name} can be undone", "see cachetui log for what was done"
            )
        plan = await plan_of(source, row, nodes)
        if not call.options.yes:
            return _preview(call, settings, source.name, plan)
        confirm(call, settings, plan)
        outcome = await run(call, settings, source, plan, nodes=nodes)
    if call.json:
        status = {0: "success", 4: "stopped"}.get(outcome.exit_code, "error")
        head = document("undo", source.name, status=status)
        write_document({**head, "plan": _plan_document(plan), "outcome": outcome_document(outcome)})
    else:
        write_line(f"{plan.title}: {outcome.line()}")
        write_lines(f"  left alone: {some.line()}" for some in outcome.left_alone if some.names)
        write_lines(f"  {check}" for check in outcome.checks)
        write_lines(f"  failed: {failure.command}: {failure.error.line()}" for failure in outcome.errors)
        write_line(f"  receipt {plan.id}")
    return outcome.exit_code


def _preview(call: Call, settings: Settings, name: str, plan: Plan) -> int:
    if call.json:
        write_document({**document("undo", name, status="dry-run"), "plan": _plan_document(plan)})
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
    yield from (f"  > {command}" for command in plan.preview_commands())
    if plan.restores and plan.count > len(plan.steps):
        yield "  > ... and so for every other key"


def _plan_document(plan: Plan) -> dict[str, object]:
    return {
        "receipt": plan.id,
        "undoes": plan.undoes,
        "title": plan.title,
        "what": list(plan.what),
        "risk": plan.risk,
        "confirm": plan.typed,
        "commands": plan.preview_commands(),
        "commandCount": plan.count,
    }


def _list(call: Call, rows: list[Receipt]) -> int:
    if call.json:
        head = {"schema": 1, "operation": "undo", "status": "success"}
        write_document({**head, "receipts": [_row_document(row) for row in rows]})
        return 0
    if not rows:
        call.tell("nothing can be undone")
        return 0
    now = time.time()
    table = [
        (
            row.receipt,
            duration(max(0.0, now - row.at)),
            row.outcome or "unknown",
            _held(row),
            row.target,
            row.title,
        )
        for row in rows
    ]
    write_lines(columns(table, "lrlrll"))
    return 0


def _held(row: Receipt) -> str:
    if row.moves:
        return counted_slots([slot for slots, _, _ in row.moves for slot in slots_in(slots)])
    if row.kept is None:
        return f"{len(row.back)} setting{'' if len(row.back) == 1 else 's'}"
    return f"{row.kept.keys:,} keys, {size(row.kept.stored_bytes)}"


def _row_document(row: Receipt) -> dict[str, object]:
    return {
        "receipt": row.receipt,
        "at": iso(row.at),
        "state": row.outcome or "unknown",
        "target": row.target,
        "title": row.title,
        "keys": row.kept.keys if row.kept is not None else None,
        "bytes": row.kept.stored_bytes if row.kept is not None else None,
        "moves": [{"slots": slots, "from": source, "to": target} for slots, source, target in row.moves],
        "settings": [{"name": name, "before": before, "after": after} for name, before, after in row.back],
    }
