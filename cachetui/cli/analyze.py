"""`cachetui analyze`: the same findings as the dashboard, for people and for scripts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cachetui.analysis.report import report
from cachetui.analysis.rules import findings
from cachetui.analysis.verdict import verdict
from cachetui.cli.call import Call, opened
from cachetui.cli.output import columns, write_document, write_lines
from cachetui.config import Target
from cachetui.errors import CacheError
from cachetui.model import ClientList, Evidence, Finding, SlowLog, Stats, Topology
from cachetui.model.findings import PRIORITIES
from cachetui.model.prefixes import PrefixPicture
from cachetui.model.rates import per_second
from cachetui.model.trouble import REFUSAL_CODES, trouble_of
from cachetui.source.base import KINDS, Source
from cachetui.text import count, duration, percent, rate, size

GLANCE_S = 1.0
"""Between the two looks at the statistics that rates are made of."""
LOOKS = 60
"""Looks in one sampling window, at most; never more than one a second."""
_ANSWERED = ("busy", "loading")
"""Errors of a server that is there: the findings say more than the error."""
_SIGNS = {"ok": "OK", "warn": "WARN", "bad": "BAD", "unknown": "?"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found out, and why not more."""

    evidence: Evidence
    denied: tuple[str, ...] = ()
    error: CacheError | None = None


def analyze(call: Call) -> int:
    """Print what is wrong and what to do. Exit 1 at or above `--fail-on`, 3 when nothing could be seen."""
    target, _ = call.target()
    sample_s: float | None = call.options.sample
    if sample_s:
        call.tell(f"sampling for {duration(sample_s)}")
    seen = asyncio.run(_look(target, sample_s, call.options.keys_))
    found = findings(seen.evidence)
    if call.json:
        write_document(
            report(seen.evidence, target=seen.evidence.target, denied=seen.denied, windowed=sample_s is not None)
        )
    elif seen.error is None or seen.evidence.stats is not None or seen.error.code in _ANSWERED:
        write_lines(_text(seen, found, sample_s))
    if seen.error is not None:
        call.tell(seen.error.line())
        if seen.error.code not in _ANSWERED or not _reaches(found, call.options.fail_on):
            return seen.error.exit_code
    return 1 if _reaches(found, call.options.fail_on) else 0


def _reaches(found: Iterable[Finding], fail_on: str | None) -> bool:
    if fail_on is None:
        return False
    failing = PRIORITIES[: PRIORITIES.index(fail_on) + 1]
    return any(finding.priority in failing for finding in found)


async def _look(target: Target, sample_s: float | None, keys: int | None) -> Seen:
    """Look twice (more often over a long window), and at everything else once; a failure is evidence too."""
    blank = Evidence(taken_at=time.time(), target=target.name)
    try:
        async with opened(target) as source:
            return await _from(source, replace(blank, target=source.name), sample_s, keys)
    except CacheError as error:
        return Seen(replace(blank, trouble=trouble_of(error, blank.taken_at)), error=error)


async def _from(source: Source, evidence: Evidence, sample_s: float | None, keys: int | None) -> Seen:
    error: CacheError | None = None
    try:
        first = await source.poll("stats")
        assert isinstance(first, Stats)
        evidence = replace(evidence, stats=first)
        evidence = await _others(source, evidence)
        evidence = await _window(source, evidence, sample_s)
        if keys is not None:
            evidence = replace(evidence, prefixes=await _keys(source, keys))
    except CacheError as failed:
        error = failed
        evidence = replace(evidence, trouble=trouble_of(failed, source.now()))
    return Seen(replace(evidence, taken_at=source.now()), tuple(source.denied), error)


async def _keys(source: Source, number: int) -> PrefixPicture:
    """Look at some keys at random."""
    from cachetui.analysis.prefixes import picture
    from cachetui.keyspace.prefixing import sample_keys

    *_, sample = [one async for one in sample_keys(source, sample=number)]
    return picture(sample)


async def _window(source: Source, evidence: Evidence, sample_s: float | None) -> Evidence:
    """Look at the statistics again until the window is over."""
    loop = asyncio.get_running_loop()
    span_s = sample_s or GLANCE_S
    step_s = max(min(GLANCE_S, span_s), span_s / LOOKS)
    end = loop.time() + span_s
    while (left_s := end - loop.time()) > 0.001:
        await asyncio.sleep(min(step_s, left_s))
        later = await source.poll("stats")
        assert isinstance(later, Stats)
        before = (evidence.stats,) if evidence.stats else ()
        evidence = replace(evidence, window=(*evidence.window, *before), stats=later)
    return evidence


async def _others(source: Source, evidence: Evidence) -> Evidence:
    """Look once at slow log, clients and topology; what is refused is just missing."""
    for kind in KINDS:
        if kind == "stats":
            continue
        try:
            polled = await source.poll(kind)
        except CacheError as error:
            if error.code not in REFUSAL_CODES:
                raise
            continue
        match polled:
            case SlowLog():
                evidence = replace(evidence, slowlog=polled)
            case ClientList():
                evidence = replace(evidence, clients=polled)
            case Topology():
                evidence = replace(evidence, topology=polled)
    return evidence


def _text(seen: Seen, found: tuple[Finding, ...], sample_s: float | None) -> Iterable[str]:
    evidence = seen.evidence
    stats = evidence.stats
    yield f"{evidence.target}" + (f"  {_server(stats)}" if stats else "")
    judged = verdict(evidence, found)
    yield f"{_SIGNS[judged.level]}  {judged.text}"
    if stats is not None:
        yield ""
        yield from columns(_figures(evidence, stats, seen.denied, sample_s), "ll")
    if seen.denied:
        yield f"denied: {', '.join(sorted(seen.denied))}"
    yield ""
    if not found:
        yield "nothing to recommend"
    for finding in found:
        yield f"{finding.priority.upper():<6}  {finding.issue} [{finding.id}]"
        yield f"        {finding.action}"
        for command in finding.commands:
            yield f"          {command}"


def _server(stats: Stats) -> str:
    server = stats.server
    parts = (
        f"{server.kind} {server.version or ''}".strip(),
        server.mode,
        server.role or "",
        f"up {duration(stats.uptime_s)}",
    )
    return ", ".join(filter(None, parts))


def _figures(
    evidence: Evidence, stats: Stats, denied: tuple[str, ...], sample_s: float | None
) -> list[tuple[str, str]]:
    document = report(evidence, target=evidence.target, denied=denied, windowed=sample_s is not None)
    metrics = document["metrics"]
    assert isinstance(metrics, dict)
    span = f"over {duration(sample_s)}" if sample_s else "since start"
    base = evidence.window[0] if evidence.window else None

    def per_s(counter: str) -> str:
        return rate(per_second(base, stats, counter) if base else None)

    limit = "no limit" if stats.maxmemory_bytes == 0 else f"of {size(stats.maxmemory_bytes)}"
    evicted_share = metrics["evictionRate"]
    return [
        ("hit rate", f"{percent(metrics['hitRate'])} {span}"),
        ("evictions", f"{per_s('evicted_total')} now, {percent(evicted_share, 2)} of lookups {span}"),
        ("memory", f"{size(stats.used_bytes)} {limit}, peak {size(stats.peak_bytes)}, policy {stats.policy or '-'}"),
        ("keys", f"{count(stats.keys)}, expiring {per_s('expired_total')}"),
        ("commands", f"{per_s('commands_total')}, latency {duration(_s(stats.latency_us))}"),
        (
            "clients",
            f"{count(stats.clients)} of {count(stats.max_clients)}, {count(stats.blocked_clients)} blocked, "
            f"{count(stats.rejected_connections_total)} rejected since start",
        ),
    ]


def _s(us: float | None) -> float | None:
    return None if us is None else us / 1e6
