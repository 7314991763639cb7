"""The hottest keys, found when somebody asks: a bounded look at every command, or what the server itself knows."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from cachetui import text
from cachetui.analysis.hot import BYS, HotRow, Tally, from_frequencies, from_report
from cachetui.errors import CacheError, Denied, Unsupported
from cachetui.keyspace.hot import Heard, listen
from cachetui.keyspace.prefixing import sample_keys
from cachetui.model import ClientInfo, ClientList
from cachetui.model.burst import Limits
from cachetui.source.base import HotKeyed, Source
from cachetui.source.connect import AutoSource

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live

LISTEN = Limits(seconds=5.0)
VIEW = "activity"
TOLD_S = 0.5
"""While it runs, what is known so far is shown so often."""
ROWS = 200
SERVERS_OWN = 64
"""Keys the server itself is asked for."""
LFU_SAMPLE = 5000

Unit = Literal["uses", "frequency", "cpu", "bytes"]


@dataclass(frozen=True, slots=True)
class HotTable:
    """One list, the hottest first."""

    unit: Unit
    rows: tuple[HotRow, ...]


@dataclass(frozen=True, slots=True)
class HotLook:
    """What is known of the hottest keys."""

    tables: Mapping[str, HotTable] = field(default_factory=dict)
    """By what they are told apart: `key`, `prefix`, ..."""
    notes: tuple[tuple[str, str], ...] = ()
    """Lines above the list with their style: how it was found, what it cost, what was skipped."""
    busy: str = ""
    """What is under way."""
    number: int = 0
    """How many looks there were: a new one comes to the front."""


async def hear(app: CachetuiApp, live: Live) -> None:
    """Find the hottest keys and keep what was found in `live`; it stops when the view is left."""
    number = live.hot.number + 1
    live.hot = HotLook(busy="begins", number=number)
    app.soon()
    finding = asyncio.create_task(_found(live))
    try:
        while not finding.done():
            await asyncio.wait({finding}, timeout=TOLD_S)
            if app.view_id != VIEW or app.live is not live:
                finding.cancel()
                await asyncio.wait({finding})
            app.soon()
        if finding.cancelled():
            live.hot = replace(live.hot, notes=(*live.hot.notes, ("stopped before its end", "warn")))
        else:
            finding.result()
    except CacheError as error:
        live.hot = replace(live.hot, notes=(*live.hot.notes, (f"! {error.line()}", "warn")))
    except asyncio.CancelledError:
        live.hot = replace(live.hot, notes=(*live.hot.notes, ("stopped before its end", "warn")))
        raise
    finally:
        finding.cancel()
        live.hot = replace(live.hot, busy="")
        app.soon()


async def _found(live: Live) -> None:
    """Hear the commands; where that is not allowed ask the server itself, and then the LFU counters."""
    source = live.source.driver if isinstance(live.source, AutoSource) else live.source
    try:
        await _heard(live, source)
    except (Denied, Unsupported) as error:
        live.hot = replace(live.hot, notes=((f"! {error.line()}", "warn"),))
        if not await _servers_own(live, source) and not await _frequencies(live, source):
            words = "without MONITOR, HOTKEYS or an LFU policy no server tells which keys are hot"
            live.hot = replace(live.hot, notes=(*live.hot.notes, (words, "muted")))


async def _heard(live: Live, source: Source) -> None:
    tally = Tally(separators=live.browser.separators, commands=LISTEN.commands)
    clients = await _clients(source)
    began = time.monotonic()
    listening = asyncio.create_task(listen(source, tally.at, LISTEN, alone=bool(live.node)))
    try:
        while not listening.done():
            await asyncio.wait({listening}, timeout=TOLD_S)
            await _show(live, tally, None, clients)
            spent_s = time.monotonic() - began
            live.hot = replace(live.hot, busy=f"hearing every command: {text.count(tally.calls)} in {spent_s:.0f} s")
    finally:
        listening.cancel()
        await asyncio.wait({listening})
    heard = listening.result()
    clients = [*clients, *await _clients(source)]
    bursts = [one.burst for one in heard if one.burst is not None]
    await _show(live, tally, max(burst.seconds for burst in bursts), clients)
    live.hot = replace(live.hot, notes=(*live.hot.notes, *_cost_words(heard, tally)))


async def _show(live: Live, tally: Tally, seconds: float | None, clients: Sequence[ClientInfo]) -> None:
    def work() -> dict[str, HotTable]:
        found = {by: tally.rows(by, most=ROWS, seconds=seconds, clients=clients) for by in BYS}
        return {by: HotTable("uses", tuple(rows)) for by, rows in found.items() if len(rows) > (by == "server")}

    live.hot = replace(live.hot, tables=await asyncio.to_thread(work))


async def _clients(source: Source) -> list[ClientInfo]:
    """Return who is connected; nobody where that is not told."""
    with contextlib.suppress(CacheError):  # addresses without names say less, but they do
        listed = await source.poll("clients")
        if isinstance(listed, ClientList):
            return list(listed.clients)
    return []


def _cost_words(heard: Sequence[Heard], tally: Tally) -> list[tuple[str, str]]:
    """Return of each server what was heard, what it cost and what was skipped."""
    words: list[tuple[str, str]] = []
    for one in heard:
        name = f"{text.printable(one.node, 60)}: " if one.node else ""
        if one.burst is None:
            words.append((f"! {name}{one.trouble.line() if one.trouble is not None else 'not heard'}", "warn"))
        else:
            words.append((name + one.burst.line(), "warn" if one.burst.stopped_itself else "muted"))
    if not tally.calls:
        words.append(("no command came meanwhile", "muted"))
    return words


async def _servers_own(live: Live, source: Source) -> bool:
    """Ask a Redis that keeps account of its keys itself; tell whether it does."""
    if not isinstance(source, HotKeyed) or (source.identity is not None and _is_whole_cluster(live, source)):
        return False
    live.hot = replace(live.hot, busy=f"the server looks by itself (HOTKEYS) for {LISTEN.seconds:.0f} s")
    try:
        report = await source.hot_keys(LISTEN.seconds, SERVERS_OWN)
    except CacheError as error:
        live.hot = replace(live.hot, notes=(*live.hot.notes, (f"! {error.line()}", "muted")))
        return False
    tables = {
        "processor time": HotTable("cpu", tuple(from_report(report.by_cpu, report.cpu_us))),
        "network": HotTable("bytes", tuple(from_report(report.by_net, report.net_bytes))),
    }
    sampled = f", one key of {report.sample_ratio} sampled" if report.sample_ratio > 1 else ""
    words = f"HOTKEYS: by the server's own account of {report.seconds:.1f} s{sampled}"
    live.hot = replace(live.hot, tables=tables, notes=(*live.hot.notes, (words, "muted")))
    return True


def _is_whole_cluster(live: Live, source: Source) -> bool:
    return source.identity is not None and source.identity.mode == "cluster" and not live.node


async def _frequencies(live: Live, source: Source) -> bool:
    """Read the LFU counters of a sample; tell whether there are any."""
    live.hot = replace(live.hot, busy="reading the LFU counters of a sample")
    last = None
    async for sample in sample_keys(source, sample=LFU_SAMPLE, separators=live.browser.separators):
        last = sample
    found = [] if last is None else from_frequencies([*last.facts, *last.more])
    if last is None or not found:
        return False
    words = f"by the LFU counters of {len(last.facts) + len(last.more):,} keys of {last.total:,}"
    words += "" if len(found) >= last.total else ": a hotter key may not be among them"
    live.hot = replace(
        live.hot, tables={"key": HotTable("frequency", tuple(found[:ROWS]))}, notes=(*live.hot.notes, (words, "muted"))
    )
    return True
