"""`cachetui keys`: the names of all keys, streamed at the enumeration's own speed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cachetui.cli.call import Call, opened
from cachetui.cli.rows import Collector, Form, Streamer, WithFacts, form_of
from cachetui.config import Target
from cachetui.errors import BadUsage, StoppedPartWay, Unsupported
from cachetui.source.base import Enumeration
from cachetui.text import duration

TICK_S = 0.3


def keys(call: Call) -> int:
    """Print names as they come; sorted ones when all are known."""
    if call.options.raw and call.options.with_:
        raise BadUsage("--raw prints names only", "use --json with --with")
    target, _ = call.target()
    return asyncio.run(_print(call, target))


async def _print(call: Call, target: Target) -> int:
    options = call.options
    wanted: tuple[str, ...] = options.with_ or ()
    form = form_of(Form.RAW if options.raw else Form.JSON if call.json else Form.TEXT, wanted)
    needed = {*wanted, *({options.sort} & {"size", "ttl"})}
    match = options.match.encode("utf-8", "surrogateescape") if options.match is not None else None
    rows = Collector(options.sort, options.limit) if options.sort else Streamer(form, options.limit)
    sink = WithFacts(rows, needed) if needed else rows
    async with opened(target) as source:
        if why := source.why_not("scan"):
            raise Unsupported(f"the keys of {source.name} cannot be listed: {why}")
        enumeration = source.enumeration(sink, match=match, type_=options.type_, replicas=options.replicas)
        if isinstance(rows, Streamer):
            rows.on_enough = enumeration.cancel
        async with _narrated(call, enumeration):
            await enumeration.run()
    progress = enumeration.progress
    if isinstance(rows, Collector):
        rows.write(form)
    elif rows.trouble is not None:
        raise rows.trouble
    if progress.partial:
        raise StoppedPartWay(f"not all keys are there: {progress.note}")
    return 0


@asynccontextmanager
async def _narrated(call: Call, enumeration: Enumeration) -> AsyncIterator[None]:
    """Tell on stderr what is worth knowing; on a terminal that does not show the names also how far it is."""
    watched = sys.stderr.isatty() and not sys.stdout.isatty()
    told = ""

    def tell_news() -> None:
        nonlocal told
        note = enumeration.progress.note
        if note and note != told and not enumeration.progress.partial:
            told = note
            call.tell(note)

    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK_S)
            tell_news()
            if watched:
                sys.stderr.write(f"\r{_progress_line(enumeration)}\x1b[K")
                sys.stderr.flush()

    ticking = asyncio.create_task(tick())
    try:
        yield
        tell_news()
    finally:
        ticking.cancel()
        if watched:
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()


def _progress_line(enumeration: Enumeration) -> str:
    progress = enumeration.progress
    parts = [f"{progress.seen:,} names"]
    if progress.total is not None:
        parts[0] += f" of {progress.total:,} keys"
    if progress.share is not None:
        parts.append(f"{progress.share:.0%}")
    parts.append(f"{progress.per_s:,.0f}/s")
    if progress.left_s is not None:
        parts.append(f"{duration(progress.left_s)} left")
    return ", ".join(parts)
