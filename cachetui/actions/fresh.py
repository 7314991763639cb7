"""New keys, many in one transaction; one that is there by then is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from cachetui.actions.plan import BATCH, Command, Plan, render
from cachetui.actions.plan.new import counted
from cachetui.actions.send import send, send_together, stopped
from cachetui.actions.tally import Progress, Tally
from cachetui.errors import Changed, Denied, ServerError
from cachetui.model import Check
from cachetui.source.base import Source

TOGETHER_BYTES = 1024 * 1024
"""Of new keys so much is written in one transaction: other clients wait for its end."""
_ALL_ALIKE = frozenset(("OOM", "READONLY", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "MASTERDOWN", "LOADING"))
"""What a server says to every write alike: there is no point in asking key by key."""

_Group = tuple[bytes, list[Command]]
"""A key that must not exist yet, and what writes it."""


async def run_fresh(
    plan: Plan,
    source: Source,
    tally: Tally,
    progress: Callable[[Progress], None] | None,
    cancel: asyncio.Event | None,
) -> None:
    """Write keys that are not there yet, many in one transaction; a key that is there by then is left alone."""
    # In a cluster a transaction holds one slot.
    alone = source.identity is not None and source.identity.mode == "cluster"
    skipped = 0
    for groups in _fresh_batches(plan, alone=alone):
        if cancel is not None and cancel.is_set():
            tally.reason = "cancelled"
            return
        failed = tally.failed
        try:
            await _write_fresh(source, tally, groups, progress)
        except (Changed, Denied, ServerError) as error:
            if tally.in_flight:
                raise
            if isinstance(error, ServerError) and error.word in _ALL_ALIKE:
                tally.undone(groups[0][1], error)
                raise
            for group in groups:
                skipped += await _write_one_fresh(source, tally, group, progress)
        if stopped(tally, tally.failed - failed == sum(len(commands) for _, commands in groups)):
            return
    words = f"left alone, for somebody else has made them: {counted(skipped)}" if skipped else ""
    tally.reason = tally.errors[0].error.line() if tally.errors else words


async def _write_one_fresh(
    source: Source, tally: Tally, group: _Group, progress: Callable[[Progress], None] | None
) -> bool:
    """Write one key; tell whether it was there by then."""
    commands = group[1]
    try:
        await _write_fresh(source, tally, [group], progress)
    except (Changed, Denied, ServerError) as error:
        if tally.in_flight:
            raise
        tally.left -= len(commands)
        if isinstance(error, Changed):
            tally.missing += len(commands)
            return True
        tally.count(commands, [error] * len(commands))
    return False


async def _write_fresh(
    source: Source, tally: Tally, groups: Sequence[_Group], progress: Callable[[Progress], None] | None
) -> None:
    """Write the keys of one batch; what a large key has beyond one transaction follows it."""
    keys = tuple(key for key, _ in groups)
    checks = [Check((b"EXISTS", key), 0, f"the key {render((key,), 80)}") for key in keys]
    commands = [command for _, some in groups for command in some]
    chunks = list(_chunks(commands)) if len(groups) == 1 else [commands]
    await send_together(source, tally, keys, checks, chunks[0], progress=progress)
    for chunk in chunks[1:]:
        await send(source, tally, chunk, progress)


def _fresh_batches(plan: Plan, *, alone: bool) -> Iterator[list[_Group]]:
    batch: list[_Group] = []
    commands = held = at = 0
    for key, count in plan.fresh:
        group = key, list(plan.steps[at : at + count])
        at += count
        weight = _weight(group[1])
        if batch and (alone or commands + count > BATCH or held + weight > TOGETHER_BYTES):
            yield batch
            batch, commands, held = [], 0, 0
        batch.append(group)
        commands, held = commands + count, held + weight
    if batch:
        yield batch


def _chunks(commands: Sequence[Command]) -> Iterator[list[Command]]:
    chunk: list[Command] = []
    held = 0
    for command in commands:
        weight = _weight((command,))
        if chunk and (len(chunk) >= BATCH or held + weight > TOGETHER_BYTES):
            yield chunk
            chunk, held = [], 0
        chunk.append(command)
        held += weight
    if chunk:
        yield chunk


def _weight(commands: Sequence[Command]) -> int:
    """Return about how many bytes these commands travel as."""
    return sum(len(word) + 16 for command in commands for word in command)
