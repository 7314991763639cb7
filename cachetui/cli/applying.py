"""A plan on the command line: applied with its progress told, stopped by a signal, and its outcome shown."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from cachetui.actions.plan.base import typed_name
from cachetui.cli.call import Call
from cachetui.cli.narrating import Narrator
from cachetui.cli.output import named
from cachetui.errors import Refused
from cachetui.text import duration, rate, size

if TYPE_CHECKING:
    from cachetui.actions.apply import Outcome, Progress
    from cachetui.actions.cluster.nodes import Nodes
    from cachetui.actions.plan import Plan
    from cachetui.config import Settings
    from cachetui.source.base import Source

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def wanted_name(settings: Settings, plan: Plan) -> str | None:
    """Return what must be given to `--confirm`: where the plan asks for it, and for every plan in production."""
    return plan.typed or (typed_name(plan.target) if settings.production else None)


def confirm(call: Call, settings: Settings, plan: Plan) -> None:
    """Raise Refused unless the name was given that the plan, or a profile in production, asks for."""
    given, typed = call.options.confirm, wanted_name(settings, plan)
    if typed is None or given == typed:
        return
    why = "this needs the target's name" if given is None else "that is not the target's name"
    raise Refused(f"{plan.title}: {why}: nothing was sent", f"look at the dry run, then add --confirm {typed}")


async def run(
    call: Call, settings: Settings, source: Source, plan: Plan, *, nodes: Nodes | None = None, rate: float | None = None
) -> Outcome:
    """Apply a plan; the first signal stops it at the end of its batch. Raises CacheError where it was refused.

    `nodes` are for plans that speak to each node of a cluster; `rate` is for these too, in keys a second.
    """
    from cachetui.actions.apply import Guard, Pacer, apply
    from cachetui.actions.journal import Journal, default_path

    journal, guard = Journal(default_path()), Guard(settings.read_only, settings.read_only_reason)
    cancel, loop = asyncio.Event(), asyncio.get_running_loop()
    with Narrator(call) as narrator:
        for number in SIGNALS:
            loop.add_signal_handler(number, _stopper(cancel, narrator))
        try:
            return await apply(
                plan,
                source,
                journal=journal,
                guard=guard,
                progress=lambda progress: narrator.show(progress_line(progress)),
                cancel=cancel,
                pacer=None if rate is None else Pacer(rate),
                nodes=nodes,
            )
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)


def _stopper(cancel: asyncio.Event, narrator: Narrator) -> Callable[[], None]:
    def stop() -> None:
        if not cancel.is_set():
            narrator.tell("stopping: what is under way ends")
        cancel.set()

    return stop


def progress_line(progress: Progress) -> str:
    """Return where it stands, as one line."""
    parts = [f"{progress.done:,} done"]
    # Of a rule it is an estimate: none left only means that there are more than were thought.
    parts += [f"{progress.left:,} left"] if progress.left else []
    parts.append(rate(progress.rate))
    if progress.left and progress.left_s is not None:
        parts.append(f"{duration(progress.left_s)} to go")
    others = ((progress.missing, "gone"), (progress.skipped, "left alone"), (progress.failed, "failed"))
    parts += [f"{number:,} {words}" for number, words in others if number]
    if progress.p99_us is not None:
        parts.append(f"others wait {progress.p99_us / 1000:.1f} ms")
    if progress.kept_bytes:
        parts.append(f"{size(progress.kept_bytes)} kept")
    return ", ".join(parts) + (f" ({progress.note})" if progress.note else "")


def outcome_document(outcome: Outcome) -> dict[str, object]:
    """Return what became of a plan, for JSON."""
    return {
        "state": outcome.state,
        "done": outcome.done,
        "missing": outcome.missing,
        "skipped": outcome.skipped,
        "leftAlone": [
            {"why": some.why, "count": some.count, "keys": [named("key", name) for name in some.names]}
            for some in outcome.left_alone
        ],
        "failed": outcome.failed,
        "unknown": outcome.unknown,
        "left": outcome.left,
        "kept": outcome.kept,
        "seconds": round(outcome.seconds, 3),
        "reason": outcome.reason or None,
        "verified": outcome.verified,
        "checks": list(outcome.checks),
        "errors": [{"command": failure.command, "error": failure.error.line()} for failure in outcome.errors],
    }
