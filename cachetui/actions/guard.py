"""What must be so before anything is sent: the plan, the mode, the server and what it says of each command."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cachetui.actions.journal import Journal
from cachetui.actions.plan import Command, Plan, Sweep, refuse_replica, render
from cachetui.actions.plan.commands import valid_memcached
from cachetui.actions.plan.tasks import summary_of
from cachetui.errors import Denied, Refused, Unsupported
from cachetui.source.base import Source
from cachetui.text import printable

CONTAINERS = frozenset(
    b"ACL CLIENT CLUSTER CONFIG DEBUG FUNCTION LATENCY MEMORY MODULE OBJECT SCRIPT SLOWLOG XGROUP".split()
)
"""Commands whose flags depend on their second word."""
READ = "readonly"
CHANGES = frozenset({"write", "admin", "dangerous"})

COPYING = ("EVAL", "EVALSHA", "DUMP")
"""What a deletion with a way back sends besides."""
COMMANDS_JOURNALLED = 20

APPLIED = ("this plan was applied before", "a plan runs once: make it again")


@dataclass(frozen=True, slots=True)
class Guard:
    """Whether writes are allowed here at all."""

    read_only: bool
    reason: str = ""
    """Where read-only came from: `--read-only`, `profile prod`."""

    def check(self, flags: dict[str, frozenset[str] | None]) -> None:
        """Raise Refused in read-only mode unless the server itself says that every command only reads."""
        if not self.read_only:
            return
        for name, known in flags.items():
            if known is None or READ not in known or known & CHANGES:
                because = f" ({self.reason})" if self.reason else ""
                raise Refused(f"read-only{because}: {name} was not sent", "nothing was changed")


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over all commands found."""

    names: tuple[str, ...]
    """Distinct command names, with `|` before a subcommand."""
    reads: tuple[str, ...]
    """Those of the checks."""
    summary: tuple[str, ...]
    """The commands as the journal keeps them."""


def survey(plan: Plan, journal: Journal) -> Survey:
    """Pass over every command that will be sent, whoever made the plan; in a thread, for it may be a million."""
    if journal.has(plan.id):
        raise Refused(*APPLIED)
    names: dict[str, None] = {}
    memcached = plan.kind == "memcached"
    for command in plan.commands():
        if not command or (memcached and not valid_memcached(command)):
            raise Refused(f"not a command: {render(command, 80)!r}", "nothing was changed")
        names[_name(command)] = None
    if plan.sweep is not None:
        names |= dict.fromkeys(_sent_by(plan.sweep, memcached=memcached))
    # Memcached's driver makes its checks itself: they are not commands to be judged.
    checks = () if memcached else (*plan.checks, *plan.shows)
    reads = dict.fromkeys(_name(check.command) for check in checks)
    summary = [summary_of(task) for task in plan.tasks] or plan.preview_commands(COMMANDS_JOURNALLED)
    examples = plan.restores or (plan.sweep is not None and plan.sweep.selection.keys is None)
    end = "... and so for every other key" if examples else f"sha256 {plan.digest()}"
    return Survey(tuple(names), tuple(reads), (*summary, end))


def _sent_by(sweep: Sweep, *, memcached: bool) -> tuple[str, ...]:
    """Return the commands that a sweep sends, whatever its plan shows of them."""
    if sweep.operation.kind == "delete":
        copying = COPYING if sweep.keep is not None and not memcached else ()
        return (sweep.verb.decode(), *copying)
    if memcached:
        return ("touch",)
    return ("PEXPIREAT" if sweep.operation.kind == "expire" else "PERSIST",)


def _name(command: Command) -> str:
    word = command[0].upper()
    if word in CONTAINERS and len(command) > 1:
        return printable(word + b"|" + command[1].upper(), 80)
    return printable(command[0], 80)


def check_plan(plan: Plan, source: Source) -> None:
    """Raise Refused for a plan that is empty, expired or for another target."""
    if not plan.steps and plan.sweep is None:
        raise Refused("the plan holds no commands", "nothing was changed")
    if time.time() >= plan.expires_at:
        raise Refused("the plan has expired: the server may have changed since", "make it again and look at it")
    if plan.target != source.name:
        raise Refused(f"the plan is for {plan.target}, not for {source.name}", "nothing was changed")
    if plan.fresh and sum(count for _, count in plan.fresh) != len(plan.steps):
        raise Refused("the plan does not say which commands belong to which key", "nothing was changed")


async def check_server(plan: Plan, source: Source, guard: Guard, found: Survey) -> None:
    """Ask the server what these commands are and what it is itself; raise unless both allow the plan."""
    try:
        flags = await _flags(source, (*found.names, *found.reads))
    except (Denied, Unsupported):
        if not _without_flags(source):
            raise
        flags = dict.fromkeys((*found.names, *found.reads))
    guard.check(flags)
    for name in found.reads:
        known = flags[name]
        if known is not None and (READ not in known or known & CHANGES):
            raise Refused(f"{name} is no check: it does more than read", "nothing was changed")
    identity = source.identity or await source.open()
    if identity.kind != plan.kind:
        raise Refused(f"the plan is for {plan.kind}, and this is {identity.kind} now", "make it again")
    if not plan.tasks and any(known is not None and "write" in known for known in flags.values()):
        refuse_replica(identity)
    unknown = [name for name, known in flags.items() if known is None]
    if unknown and not _without_flags(source):
        raise Unsupported(f"this server does not know {', '.join(unknown)}", "nothing was changed")


def _without_flags(source: Source) -> bool:
    """Tell whether COMMAND itself is denied: then nothing is known of any command, and the server judges alone."""
    return any(name.partition(" ")[0] == "COMMAND" for name in source.denied)


async def _flags(source: Source, names: Sequence[str]) -> dict[str, frozenset[str] | None]:
    """Return flags by name; a server without flags of subcommands (before 7.0) answers for the whole command."""
    asked = dict.fromkeys((*names, *(name.partition("|")[0] for name in names)))
    found = await source.flags(tuple(asked))
    return {
        name: flags if (flags := found.get(name)) is not None else found.get(name.partition("|")[0]) for name in names
    }
