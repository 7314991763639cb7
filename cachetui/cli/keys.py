"""`cachetui keys`: the names of all keys, streamed in steps, each once."""

from __future__ import annotations

import asyncio
import heapq
import sys
from collections.abc import AsyncIterator, Callable, Iterable

from cachetui.cli.call import Call, opened
from cachetui.cli.output import compact, named
from cachetui.config import Target
from cachetui.errors import BadUsage, Unsupported
from cachetui.model import KeyFacts
from cachetui.source.base import Source
from cachetui.text import UNKNOWN, printable


def keys(call: Call) -> int:
    """Print names as they come; sorted ones when all are known."""
    if call.options.raw and call.options.with_:
        raise BadUsage("--raw prints names only", "use --json with --with")
    target, _ = call.target()
    return asyncio.run(_print(call, target))


async def _print(call: Call, target: Target) -> int:
    options = call.options
    form = _form(call)
    async with opened(target) as source:
        if why := source.why_not("scan"):
            raise Unsupported(f"the keys of {source.name} cannot be listed: {why}")
        stream = _facts_of(source, call)
        if options.sort is None:
            left: int = options.limit if options.limit is not None else sys.maxsize
            async for batch in stream:
                _write(map(form, batch[:left]))
                left -= len(batch)
                if left <= 0:
                    break
            return 0
        order = _ORDERS[options.sort]
        kept: list[KeyFacts] = []
        async for batch in stream:
            kept += batch
            if options.limit is not None and len(kept) > 4 * options.limit + 1000:
                kept = heapq.nsmallest(options.limit, kept, key=order)
    kept.sort(key=order)
    _write(map(form, kept[: options.limit]))
    return 0


async def _facts_of(source: Source, call: Call) -> AsyncIterator[list[KeyFacts]]:
    """Yield new keys step by step, with facts where they are asked for. A repeated key comes once."""
    from cachetui.keyspace.scan import steps

    options = call.options
    needed = {*(options.with_ or ()), *((options.sort,) if options.sort in ("size", "ttl") else ())}
    match = options.match.encode("utf-8", "surrogateescape") if options.match is not None else None
    seen: set[bytes] = set()
    told = ""

    def began_again() -> None:
        call.tell("the server restarted or the connection broke: the scan begins again")

    async for step in steps(source, match=match, type_=options.type_, on_restart=began_again):
        new = [key for key in dict.fromkeys(step.keys) if key not in seen]
        seen.update(new)
        if step.note and step.note != told:
            told = step.note
            call.tell(told)
        if not new:
            continue
        if not needed:
            yield [KeyFacts(key) for key in new]
            continue
        known = await source.facts(new, size="size" in needed)
        # What was deleted since the step is not a key any more.
        yield [facts for facts in known.facts if facts.exists]


def _write(lines: Iterable[bytes]) -> None:
    sys.stdout.buffer.write(b"".join(lines))
    sys.stdout.buffer.flush()


def _form(call: Call) -> Callable[[KeyFacts], bytes]:
    """Return what makes a line, newline included, of one key."""
    wanted: tuple[str, ...] = call.options.with_ or ()
    if call.options.raw:
        return lambda facts: facts.key + b"\n"
    if call.json:
        return lambda facts: compact({**named("key", facts.key), **_document(facts, wanted)}).encode() + b"\n"
    encoding = sys.stdout.encoding or "utf-8"

    def line(facts: KeyFacts) -> bytes:
        cells = (printable(facts.key), *(_CELLS[name](facts) for name in wanted))
        return "\t".join(cells).encode(encoding, "backslashreplace") + b"\n"

    return line


def _document(facts: KeyFacts, wanted: tuple[str, ...]) -> dict[str, object]:
    found: dict[str, object] = {}
    if "type" in wanted:
        found["type"] = facts.type
    if "ttl" in wanted:
        found |= {"ttlSeconds": facts.ttl_s, "hasTtl": facts.has_ttl}
    if "size" in wanted:
        found["sizeBytes"] = facts.size_bytes
    return found


def _ttl_cell(facts: KeyFacts) -> str:
    if facts.has_ttl is False:
        return "none"
    return UNKNOWN if facts.ttl_s is None else f"{facts.ttl_s:.3f}".rstrip("0").rstrip(".")


_CELLS: dict[str, Callable[[KeyFacts], str]] = {
    "type": lambda facts: facts.type or UNKNOWN,
    "ttl": _ttl_cell,
    "size": lambda facts: UNKNOWN if facts.size_bytes is None else str(facts.size_bytes),
}
"""Cells for scripts: seconds and bytes as plain numbers, `none` without a TTL, `-` unknown."""

_ORDERS: dict[str, Callable[[KeyFacts], tuple[float, bytes]]] = {
    "name": lambda facts: (0.0, facts.key),
    "size": lambda facts: (float("inf") if facts.size_bytes is None else -float(facts.size_bytes), facts.key),
    "ttl": lambda facts: (float("inf") if facts.ttl_s is None else facts.ttl_s, facts.key),
}
