"""`cachetui invalidate`: plan an invalidation, show it, and with `--yes` carry it out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cachetui.actions.plan import Plan, plan_flush, plan_sweep, plan_version, refuse_replica
from cachetui.cli.applying import confirm, outcome_document, run, wanted_name
from cachetui.cli.call import Call, opened
from cachetui.cli.narrating import Narrator
from cachetui.cli.output import document, named, write_document, write_line, write_lines
from cachetui.cli.selecting import operation_of, selection_of, way_of
from cachetui.config import Settings, Target
from cachetui.errors import BadUsage, Denied, Refused, Unsupported
from cachetui.keyspace.estimate import LIMIT_S, estimate
from cachetui.keyspace.versions import version_rule
from cachetui.model import Estimate, Identity, Keep, Operation, ScanProgress, Selection
from cachetui.source.base import Source
from cachetui.text import rate

if TYPE_CHECKING:
    from cachetui.actions.apply import Outcome

QUICK_S = 0.3
"""So long keys are counted where the plan is confirmed already and nobody reads it before it is carried out."""
VERSION_BYTES = 64
"""Of a version key's value so much is read: a number is shorter."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what is known of its keys."""

    plan: Plan
    estimate: Estimate | None = None

    @property
    def empty(self) -> bool:
        """Tell whether it is certain that there is nothing to do."""
        known = self.estimate
        return self.plan.sweep is not None and known is not None and known.keys == 0 and not known.error


def invalidate(call: Call) -> int:
    """Plan an invalidation and print the plan; `--yes` applies it."""
    words, options = call.words, call.options
    where = words[:1] if options.uri is not None or not call.by_parts else []
    more_keys = words[len(where) :]
    if more_keys and options.keys_ is None:
        raise BadUsage("invalidate takes one target", "cachetui invalidate TARGET --pattern 'session:*'")
    way = way_of(options, more_keys)
    target, settings = call.target(where)
    return asyncio.run(_invalidate(call, target, settings, way, more_keys))


async def _invalidate(call: Call, target: Target, settings: Settings, way: str, more_keys: list[str]) -> int:
    if way in ("keys", "rule", "tag"):
        # Before anything is connected: a file may be missing.
        wanted = await asyncio.to_thread(selection_of, call.options, more_keys, settings), operation_of(call.options)
    async with opened(target) as source:
        identity = source.identity or await source.open()
        refuse_replica(identity)
        if way == "flush":
            planned = Planned(plan_flush(identity, source.name, call.options.flush))
        elif way == "version":
            planned = await _version(call, source, identity)
        else:
            if way == "resume":
                wanted = await asyncio.to_thread(_of_receipt, call.options.resume, source.name)
            planned = await _sweep(call, source, identity, *wanted)
        if not call.options.yes:
            _preview(call, settings, source.name, planned)
            return 0
        if planned.empty:
            return _nothing(call, source.name, planned)
        confirm(call, settings, planned.plan)
        outcome = await run(call, settings, source, planned.plan)
    _report(call, source.name, planned, outcome)
    return outcome.exit_code


# Planning


async def _sweep(call: Call, source: Source, identity: Identity, selection: Selection, operation: Operation) -> Planned:
    options = call.options
    if selection.ruled and (why := source.why_not("scan")):
        raise Unsupported(f"the keys of {source.name} cannot be looked through: {why}")
    if selection.tag is not None and identity.kind == "memcached":
        raise Unsupported("Memcached has no sets, so it has no tags", "give a pattern or a list of keys")
    known = await _estimate(call, source, selection)
    unlink = not options.del_ and (identity.kind == "memcached" or await _knows_unlink(source))
    plan = plan_sweep(
        identity,
        source.name,
        selection,
        operation,
        known,
        keep=None if options.no_undo else Keep(),
        rate=options.rate,
        p99_ms=options.p99,
        unlink_known=unlink,
    )
    return Planned(plan, known)


async def _knows_unlink(source: Source) -> bool:
    try:
        return (await source.flags(["UNLINK"]))["UNLINK"] is not None
    except (Denied, Unsupported):
        return True  # COMMAND is denied: the server will say so if it does not know it


async def _version(call: Call, source: Source, identity: Identity) -> Planned:
    key = os.fsencode(call.options.version_key)
    current, remaining, rule = None, None, None
    if identity.kind != "memcached":
        current = await _value_of(source, key)
        number = _number(current)
        if number is not None:
            glob = call.options.version_pattern
            rule = version_rule(key, number, None if glob is None else os.fsencode(glob))
            if not source.why_not("scan"):
                remaining = await _estimate(call, source, rule)
    return Planned(plan_version(identity, source.name, key, current, remaining, rule=rule), remaining)


async def _value_of(source: Source, key: bytes) -> bytes | None:
    """Return the beginning of a string; None where there is no such key. Raises BadUsage for another type."""
    value = await source.value(key, rows=1, max_bytes=VERSION_BYTES)
    if not value.facts.exists:
        return None
    if value.facts.type != "string":
        raise BadUsage(f"the version key is a {value.facts.type or 'key of an unknown type'}", "a version is a number")
    return value.items[0].data if value.items else b""


def _number(current: bytes | None) -> int | None:
    try:
        return None if current is None else int(current)
    except ValueError:
        return None  # the plan says so


def _of_receipt(receipt: str, target: str) -> tuple[Selection, Operation]:
    """Return what was begun under a receipt. Raises BadUsage, Refused."""
    from cachetui.actions.journal import default_path
    from cachetui.actions.undo import found, same_target

    stored = found(default_path(), receipt)
    head = stored.head
    if not same_target(head.target, target):
        raise Refused(f"that was begun on {head.target}, not on {target}", "connect there to go on with it")
    if stored.running:
        raise Refused("that write still goes on", "stop it first")
    if head.selection is None or head.operation is None:
        raise Unsupported("the keys of a list are not kept with its receipt", "give the same list again: --keys-from")
    return head.selection, head.operation


async def _estimate(call: Call, source: Source, selection: Selection) -> Estimate:
    with Narrator(call) as narrator:

        def show(progress: ScanProgress) -> None:
            share = f", {progress.share:.0%}" if progress.share is not None else ""
            narrator.show(f"counting: {progress.seen:,} names{share}, {rate(progress.per_s)}")

        confirmed = call.options.yes and call.options.confirm is not None
        return await estimate(source, selection, limit_s=QUICK_S if confirmed else LIMIT_S, progress=show)


# Showing


def _preview(call: Call, settings: Settings, name: str, planned: Planned) -> None:
    if call.json:
        write_document({**document("invalidate", name, status="dry-run"), "plan": _plan_document(planned)})
        return
    write_lines(_plan_lines(planned.plan))
    typed = wanted_name(settings, planned.plan)
    needs = f" with --confirm {typed}" if typed is not None else ""
    call.tell(f"this was a dry run: nothing was changed; --yes{needs} does it")


def _nothing(call: Call, name: str, planned: Planned) -> int:
    if call.json:
        write_document({**document("invalidate", name), "plan": _plan_document(planned), "outcome": None})
        return 0
    note = planned.estimate.note if planned.estimate is not None else ""
    write_line(f"nothing to do: {note or 'no key fits'}")
    return 0


def _plan_lines(plan: Plan) -> Iterable[str]:
    yield plan.title
    yield from (f"  {line}" for line in plan.what)
    yield f"  risk {plan.risk}"
    yield f"  undo: {plan.undo}"
    yield from (f"  > {command}" for command in plan.preview_commands())
    if plan.sweep is not None and plan.sweep.selection.keys is None:
        yield "  > ... and so for every other key that fits"


def _plan_document(planned: Planned) -> dict[str, object]:
    plan, known = planned.plan, planned.estimate
    found: dict[str, object] = {
        "receipt": plan.id,
        "title": plan.title,
        "what": list(plan.what),
        "risk": plan.risk,
        "undo": plan.undo,
        "canUndo": plan.undo.startswith(f"cachetui undo {plan.id}"),
        "confirm": plan.typed,
        "commands": plan.preview_commands(),
        "commandCount": plan.count,
    }
    return found if known is None else {**found, "keys": _estimate_document(known)}


def _estimate_document(known: Estimate) -> dict[str, object]:
    return {
        "count": known.keys,
        "error": known.error if known.keys is not None else None,
        "inDatabase": known.total,
        "sample": [named("key", key) for key in known.sample[:20]],
        "looked": known.looked,
        "gone": known.gone,
        "bytes": None if known.bytes_total is None else round(known.bytes_total),
        "largestBytes": known.largest_bytes,
        "types": dict(known.types),
        "withoutTtl": known.without_ttl,
        "readsPerSecond": None if known.reads_per_s is None else round(known.reads_per_s, 3),
        "note": known.note or None,
    }


def _report(call: Call, name: str, planned: Planned, outcome: Outcome) -> None:
    plan = planned.plan
    undo = plan.undo
    if plan.sweep is not None and plan.sweep.keep is not None:
        undo = plan.undo.partition(": ")[0] if outcome.kept else "no undo: there was nothing to keep"
    if call.json:
        status = {0: "success", 4: "stopped"}.get(outcome.exit_code, "error")
        counted = outcome_document(outcome)
        head = document("invalidate", name, status=status)
        plan_document = _plan_document(replace(planned, plan=replace(plan, undo=undo)))
        write_document({**head, "plan": plan_document, "outcome": counted})
        return
    write_line(f"{plan.title}: {outcome.line()}")
    write_lines(f"  {check}" for check in outcome.checks)
    write_lines(f"  failed: {failure.command}: {failure.error.line()}" for failure in outcome.errors)
    write_line(f"  receipt {plan.id}")
    write_line(f"  undo: {undo}")
    denied = {failure.error.message.partition(":")[0] for failure in outcome.errors if failure.error.code == "denied"}
    if "UNLINK" in denied:
        call.tell("UNLINK is denied here: --del deletes with DEL, and every client waits while big values are freed")
    elif denied & {"EVALSHA", "EVAL"}:
        call.tell(
            "to copy and delete takes EVALSHA and EVAL, or what they call, and one is denied: see --no-undo, --del"
        )
    if outcome.left and plan.sweep is not None and plan.sweep.selection.keys is None and outcome.kept:
        call.tell(f"--resume {plan.id} goes on with the rest")
