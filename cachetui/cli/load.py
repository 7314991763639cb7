"""`cachetui load`: drive a caching pattern against a server, bounded, and say what came of it."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cachetui.actions.plan import refuse_replica
from cachetui.actions.plan.base import typed_name
from cachetui.cli.applying import SIGNALS
from cachetui.cli.call import Call, opened, settled
from cachetui.cli.output import document, write_document, write_line
from cachetui.config import Address, Settings, Target
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.text import duration

if TYPE_CHECKING:
    from cachetui.demo.drive import Drive, Driven, Wanted


def load(call: Call) -> int:
    """Drive the pattern and print what it did."""
    if not call.words and not call.by_parts:
        raise BadUsage("load needs a target", "cachetui load TARGET --pattern cache-aside")
    target, settings = call.target()
    return asyncio.run(_load(call, target, settings))


async def _load(call: Call, target: Target, settings: Settings) -> int:
    from dataclasses import replace

    from cachetui.demo.clients import client_of
    from cachetui.demo.drive import Drive, Wanted

    _refuse(call, target, settings)
    target = await settled(target)
    async with opened(target) as source:
        identity = source.identity or await source.open()
        name = source.name
    refuse_replica(identity)
    options = call.options
    if identity.kind == "memcached":
        target = replace(target, kind="memcached")
        if options.pattern == "write-behind":
            raise Unsupported("write-behind needs streams, and Memcached has none", "try another --pattern")
    wanted = Wanted(options.pattern, options.keys_, options.skew, options.rate, options.duration, options.writes)
    call.tell(f"{wanted.pattern} on {name}: {wanted.rate:,} calls a second for {duration(wanted.duration_s)}")
    async with client_of(target, clustered=identity.mode == "cluster") as client:
        drive = Drive(client, wanted)
        driven = await _until_stopped(drive)
    _report(call, name, wanted, driven)
    return 4 if driven.seconds < wanted.duration_s else 0


async def _until_stopped(drive: Drive) -> Driven:
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, drive.stop)
    try:
        return await drive.run()
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def _refuse(call: Call, target: Target, settings: Settings) -> None:
    """Raise Refused for what must not be loaded, or not without its typed name."""
    if settings.read_only:
        raise Refused(f"a load writes, and this is read-only: {settings.read_only_reason}")
    typed, given = typed_name(target.name), call.options.confirm
    if (settings.production or not all(map(_is_here, target.addresses))) and given != typed:
        why = "needs its name" if given is None else "that is not its name"
        raise Refused(f"a load on another machine, or in production, {why}: nothing was sent", f"add --confirm {typed}")


def _is_here(address: Address) -> bool:
    if address.path or address.host == "localhost":
        return True
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return False


def _report(call: Call, name: str, wanted: Wanted, driven: Driven) -> None:
    counts, reads, writes = driven.counts, driven.read_us, driven.write_us
    lookups = counts.hits + counts.misses
    figures: dict[str, object] = {
        "pattern": wanted.pattern,
        "seconds": round(driven.seconds, 3),
        "reads": len(reads),
        "writes": len(writes),
        "leftOut": driven.left_out,
        "hits": counts.hits,
        "misses": counts.misses,
        "hitRate": round(100 * counts.hits / lookups, 2) if lookups else None,
        "loads": counts.loads,
        "joined": counts.joined,
        "waited": counts.waited,
        "refused": counts.refused,
        "flushed": driven.flushed,
        "cacheErrors": counts.cache_errors,
        "errors": dict(driven.errors),
        "removed": driven.removed,
        "readUs": _spread(reads),
        "writeUs": _spread(writes),
    }
    if call.json:
        status = "success" if driven.seconds >= wanted.duration_s else "stopped"
        write_document({**document("load", name, status=status), **figures})
        return
    done = len(reads) + len(writes)
    write_line(
        f"{wanted.pattern}: {done:,} calls in {duration(driven.seconds)}, {len(reads):,} reads, {len(writes):,} writes"
    )
    write_line(
        f"  {counts.hits:,} hits, {counts.misses:,} misses, {counts.loads:,} loads; {counts.joined:,} joined a load"
    )
    if driven.flushed is not None:
        write_line(f"  {driven.flushed:,} updates written behind")
    for words, figures_us in (("reads", reads), ("writes", writes)):
        if (spread := _spread(figures_us)) is not None:
            write_line(
                f"  {words}: median {spread['p50']:,} us, p99 {spread['p99']:,} us, longest {spread['max']:,} us"
            )
    if driven.left_out:
        write_line(f"  {driven.left_out:,} calls were left out: the server did not keep up with the rate")
    errors = ", ".join(f"{count:,} {kind}" for kind, count in driven.errors.most_common())
    if counts.cache_errors or errors:
        write_line(f"  {counts.cache_errors:,} cache calls failed{f'; {errors}' if errors else ''}")
    write_line(f"  {driven.removed:,} cached values removed again")


def _spread(values: list[int]) -> dict[str, int] | None:
    """Return median, 99th percentile and maximum in microseconds.

    >>> _spread([1, 2, 3]), _spread([])
    ({'p50': 2, 'p99': 3, 'max': 3}, None)
    """
    if not values:
        return None
    ordered = sorted(values)
    last = len(ordered) - 1
    return {"p50": ordered[last // 2], "p99": ordered[round(last * 0.99)], "max": ordered[last]}
