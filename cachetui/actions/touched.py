"""The keys that a small plan writes: how they were, for the way back, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cachetui.actions.plan import Command, Plan
from cachetui.actions.plan.kept import KEPT_DAYS
from cachetui.actions.scripts import COPY, LATER, absolute_expiries, ask, call
from cachetui.actions.spool import Kept, void
from cachetui.actions.strokes import CHECKSUM_BYTES, TOO_BIG, copy_in
from cachetui.errors import CacheError, Denied, ServerError, Unsupported
from cachetui.model import Keep
from cachetui.source.base import Source
from cachetui.text import size

MOST = 1000
"""A plan that writes more keys has no way back."""
UNKNOWN = b"?"
"""What became of a key is not known: the write was begun, and nobody has looked since."""
TICKS_MS = 2
"""So far apart may be what a server without PEXPIRETIME says of one and the same expiry."""
UNLESS_WRITTEN = ", unless somebody writes it again"
UNLESS_SET = ", unless somebody sets it again"
_TWO_KEYS = frozenset((b"RENAME", b"RENAMENX", b"COPY"))


def keys_of(plan: Plan) -> tuple[bytes, ...]:
    """Return the Redis keys that the plan's commands write; none where it is no small plan on keys."""
    if plan.needs != "edit" or plan.kind == "memcached" or plan.sweep is not None or plan.restores:
        return ()
    keys: dict[bytes, None] = {}
    for command in plan.steps:
        keys |= dict.fromkeys(command[1 : 3 if command[0].upper() in _TWO_KEYS else 2])
        if len(keys) > MOST:
            return ()
    return tuple(keys)


async def copied(source: Source, keys: Sequence[bytes]) -> list[Kept]:
    """Return how the keys are now. Raises CacheError where one of them cannot be copied."""
    rows = await _rows(source, keys)
    return [_kept(key, row) for key, row in zip(keys, rows, strict=True)]


async def with_after(source: Source, records: Sequence[Kept]) -> list[Kept]:
    """Return the records with what has become of each key by now; of what is as it was nothing. Raises CacheError."""
    rows = await _rows(source, [record.key for record in records])
    return [_after(record, row) for record, row in zip(records, rows, strict=True)]


def _after(record: Kept, row: object) -> Kept:
    copy = copy_in(row)
    if record.value is None:
        if row is None:
            return void(record.key)
    elif copy is not None and copy[0] == record.value and abs(copy[1] - record.expires_at_ms) <= TICKS_MS:
        return void(record.key)
    became = copy[0][-CHECKSUM_BYTES:] if copy is not None else b"" if row is None else UNKNOWN
    return record._replace(became=became, again=True)


async def _rows(source: Source, keys: Sequence[bytes]) -> list[object]:
    absolute = await absolute_expiries(source)
    limits = (b"%d" % Keep().max_key_bytes, b"1" if absolute else b"0")
    return [reply[0] for reply in await _replies(source, [call(COPY, (key,), limits) for key in keys])]


async def _replies(source: Source, commands: Sequence[Command]) -> list[list[object]]:
    rows: list[list[object]] = []
    for reply in await ask(source, commands):
        if isinstance(reply, CacheError):
            raise reply
        if not isinstance(reply, list) or len(reply) != 1:
            raise ServerError("the script's reply makes no sense")
        rows.append(reply)
    return rows


def _kept(key: bytes, row: object) -> Kept:
    if row is None:
        return Kept(key, None, became=UNKNOWN)
    copy = copy_in(row)
    if copy is not None:
        return Kept(key, *copy, became=UNKNOWN)
    if isinstance(row, int) and row != LATER:
        raise Unsupported(f"a key is {TOO_BIG}", "to copy it would hold up the server")
    raise ServerError("DUMP: the reply makes no sense")


async def with_way_back(plan: Plan, source: Source) -> Plan:
    """Return the plan with what there will be to undo it in its words, asked of the server before anything is written.

    Raises CacheError when the server does not answer.
    """
    keys = keys_of(plan)
    if not keys and not plan.back:
        return plan
    try:
        why = await _why_not(source, keys) if keys else ""
    except (Denied, Unsupported, ServerError) as error:
        why = f"no copy can be made: {error.message}"
    by_hand = "" if plan.undo.startswith("no undo") else f"by hand: {plan.undo}"
    if why:
        words = "; ".join(filter(None, (f"no undo: {why}", by_hand)))
    elif keys:
        words = ", or ".join(filter(None, (f"cachetui undo {plan.id} for {KEPT_DAYS} days{UNLESS_WRITTEN}", by_hand)))
    else:
        words = ", or ".join(filter(None, (f"cachetui undo {plan.id}{UNLESS_SET}", by_hand)))
    return replace(plan, undo=words)


async def _why_not(source: Source, keys: Sequence[bytes]) -> str:
    """Return why the keys cannot all be copied; empty when they can. Raises CacheError where that is denied."""
    limit = Keep().max_key_bytes
    # With a limit that all are over, the script only tells how big they are.
    sizes = [reply[0] for reply in await _replies(source, [call(COPY, (key,), (b"-1", b"0")) for key in keys])]
    biggest = max((known for known in sizes if isinstance(known, int)), default=0)
    if biggest > limit:
        return f"{size(biggest)} are {TOO_BIG}"
    await copied(source, keys[:1])
    return ""
