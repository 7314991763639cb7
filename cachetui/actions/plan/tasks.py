"""What a plan for a cluster does, task by task: each on a node of its own. Pure data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cachetui.actions.plan.commands import Command, render
from cachetui.model.slots import counted_slots, slot_ranges, slots_text

Engine = Literal["atomic", "classic"]
"""How slots are moved: by the server itself (CLUSTER MIGRATESLOTS), or key by key with MIGRATE."""

PIPELINE = 100
"""Keys in one MIGRATE at most; it holds fewer where they take long."""
EXAMPLES, WORDS = 6, 24
"""Ranges of slots, and words of a command, that a preview shows."""


@dataclass(frozen=True, slots=True)
class Send:
    """One command on one node."""

    address: str
    command: Command
    again: bool = False
    """A refusal may pass: it is sent again for a while (each try is harmless)."""
    missing: tuple[str, ...] = ()
    """Words of a refusal that mean: it was so already."""
    says: tuple[bytes, ...] = ()
    """How an answer begins that is a yes besides OK."""


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until the nodes show something; bounded, and its failure is a failure of the plan."""

    what: Literal["known", "agree", "primary", "replica", "gone", "apart"]
    """`known`: every node knows all; `agree`: all see the same slots, and serve; `primary`, `replica`: `subject`
    is one; `gone`: nobody lists the node id `subject`; `apart`: the node knows only itself."""
    words: str
    addresses: tuple[str, ...] = ()
    """Who is asked; none: all nodes."""
    subject: str = ""
    limit_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Move:
    """Slots go from one primary to another with all of their keys."""

    slots: tuple[int, ...]
    source: str
    """Its address."""
    target: str
    source_id: str
    target_id: str
    engine: Engine = "classic"
    replace: bool = False
    """A key that is on both nodes and differs: the one of the source counts. Else the move stops there."""
    pipeline: int = PIPELINE


@dataclass(frozen=True, slots=True)
class Gather:
    """Keys of a slot that lie on a node that does not own it go to the owner; nobody owns anything new."""

    slot: int
    source: str
    target: str
    source_id: str
    target_id: str
    replace: bool = False


Task = Send | Await | Move | Gather


def units(task: Task) -> int:
    """Return how much a task counts: a slot, a command; waiting counts nothing."""
    if isinstance(task, Move):
        return len(task.slots)
    return 0 if isinstance(task, Await) else 1


def commands_of(task: Task) -> Iterator[tuple[str, Command]]:
    """Yield the commands of a task with the node of each; a move's for its first slot. Passwords stand as `***`."""
    if isinstance(task, Send):
        yield task.address, task.command
    elif isinstance(task, Move):
        yield from _move_commands(task)
    elif isinstance(task, Gather):
        slot = b"%d" % task.slot
        yield task.source, (b"CLUSTER", b"GETKEYSINSLOT", slot, b"100")
        yield task.source, _migrate(task.target, task.replace)


def lines_of(task: Task) -> Iterator[str]:
    """Yield the lines of a preview."""
    if isinstance(task, Await):
        yield f"... {task.words}"
        return
    for address, command in commands_of(task):
        more = len(command) - WORDS
        yield f"{address}> {render(command[:WORDS])}" + (f" ... and {more:,} more" if more > 0 else "")
    if isinstance(task, Move) and task.engine == "classic" and len(task.slots) > 1:
        yield f"... and so for {counted_slots(task.slots[1:])} more: {slots_text(task.slots[1:], EXAMPLES)}"


def summary_of(task: Task) -> str:
    """Return a task as one line for the journal: all of its slots, but not each of its commands."""
    if isinstance(task, Move):
        how = "" if task.engine == "classic" else f" ({task.engine})"
        return f"move slots {slots_text(task.slots)} from {task.source} to {task.target}{how}"
    if isinstance(task, Gather):
        return f"move the keys of slot {task.slot} from {task.source} to {task.target}"
    return next(lines_of(task))


def moved(tasks: Sequence[Task]) -> int:
    """Return how many slots are moved."""
    return sum(len(task.slots) for task in tasks if isinstance(task, Move))


def slot_words(slots: Sequence[int]) -> tuple[bytes, ...]:
    """Return slots as the words of SLOTSRANGE: first and last of each range."""
    return tuple(b"%d" % end for pair in slot_ranges(slots) for end in pair)


def _move_commands(task: Move) -> Iterator[tuple[str, Command]]:
    source, target = task.source_id.encode(), task.target_id.encode()
    if task.engine == "atomic":
        words = slot_words(task.slots)
        yield task.source, (b"CLUSTER", b"MIGRATESLOTS", b"SLOTSRANGE", *words, b"NODE", target)
        yield task.source, (b"CLUSTER", b"GETSLOTMIGRATIONS")
        return
    slot = b"%d" % task.slots[0]
    yield task.target, (b"CLUSTER", b"SETSLOT", slot, b"IMPORTING", source)
    yield task.source, (b"CLUSTER", b"SETSLOT", slot, b"MIGRATING", target)
    yield task.source, (b"CLUSTER", b"GETKEYSINSLOT", slot, b"%d" % task.pipeline)
    yield task.source, _migrate(task.target, task.replace)
    yield task.target, (b"CLUSTER", b"SETSLOT", slot, b"NODE", target)
    yield task.source, (b"CLUSTER", b"SETSLOT", slot, b"NODE", target)


def _migrate(target: str, replace: bool) -> Command:
    host, _, port = target.rpartition(":")
    words = (b"MIGRATE", host.strip("[]").encode(), port.encode(), b"", b"0", b"5000")
    return (*words, *((b"REPLACE",) if replace else ()), b"KEYS", b"...")
