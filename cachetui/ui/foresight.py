"""What a change of policy or memory would do to the hit rate: watched for a moment first, if the person wants that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cachetui import text
from cachetui.actions.plan import Plan
from cachetui.analysis.curve import Point, from_stream
from cachetui.analysis.policies import SEGMENTED, known
from cachetui.errors import CacheError
from cachetui.keyspace.access import Observed, observe
from cachetui.model import Stats
from cachetui.model.burst import Limits
from cachetui.source.base import Source, Streamed
from cachetui.source.connect import AutoSource
from cachetui.ui.plot import range_words
from cachetui.ui.remembering import Foreseen
from cachetui.ui.screens.dialog import Choice

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live

PREDICT = "predict"
"""The option that watches instead of choosing."""
WATCH = Limits(seconds=5.0)
SAMPLED_KEYS, SAMPLED_ACCESSES = 12_000, 120_000
FRESH_S = 900.0
"""What was watched longer ago says little of what would happen now."""
LEAST_LOOKUPS = 1000
"""Of fewer lookups nothing is predicted."""


def recent(live: Live) -> Observed | None:
    """Return what was watched lately, if it is enough to tell something."""
    seen = live.observed
    if seen is None or live.source.now() - seen.accesses.times_s[-1] > FRESH_S:
        return None
    return seen


def can_watch(live: Live) -> bool:
    """Tell whether the commands of this target can be watched: of one server, not of a whole cluster."""
    source = _driver(live)
    identity = source.identity
    several = identity is not None and identity.mode in ("cluster", "fleet")
    return isinstance(source, Streamed) and (not several or bool(live.node))


def _driver(live: Live) -> Source:
    return live.source.driver if isinstance(live.source, AutoSource) else live.source


async def watch(app: CachetuiApp, live: Live) -> None:
    """Watch the server's commands for some seconds and keep what was seen; say what it cost."""
    app.say(f"watching all commands for {WATCH.seconds:.0f} s; it ends by itself when the server suffers")
    try:
        seen = await observe(_driver(live), WATCH, keys=SAMPLED_KEYS, accesses=SAMPLED_ACCESSES)
    except CacheError as error:
        app.say(error.line(), severity="warning")
        return
    if seen.accesses.reads < LEAST_LOOKUPS or not seen.accesses.times_s:
        app.say(f"too few reads to predict anything: {seen.burst.line()}", severity="warning")
        return
    live.observed = seen
    await live.remembering.watched(seen)
    app.say(seen.burst.line(), severity="warning" if seen.burst.stopped_itself else "information")


async def offered(app: CachetuiApp, live: Live) -> bool:
    """Offer to watch before a new size is typed, where nothing was watched lately; False when that is left."""
    if not can_watch(live) or recent(live) is not None:
        return True
    options = [
        ("type the size", "the plan is shown before anything is sent"),
        (PREDICT, f"watch all events for {WATCH.seconds:.0f} s first: the plan tells the hit rate now and after"),
    ]
    chosen = await app.push_screen_wait(Choice(f"memory limit of {live.source.name}", options))
    if chosen == PREDICT:
        await watch(app, live)
    return chosen is not None


async def look_at_memory(live: Live, section: str, *, again: bool) -> None:
    """Ask for what a section of the Memory view shows."""
    identity = live.source.identity or await live.source.open()
    source = _driver(live)
    if section == "ages":
        await live.remembering.ages(source, again=again)
        return
    if section == "account":
        if identity.mode != "cluster" or live.node:
            await live.remembering.account(source, again=again)
        return
    latest = live.feeds.latest.get("stats")
    stats = latest if isinstance(latest, Stats) else None
    await live.remembering.sample(source, stats, live.feeds.history, recent(live), again=again)


async def by_policy(seen: Observed, policies: Sequence[str]) -> dict[str, Point]:
    """Return the hit rate at the present memory under each policy that can be simulated."""
    accesses = seen.accesses

    def work() -> dict[str, Point]:
        return {
            policy: from_stream(accesses, [accesses.memory_bytes], replace(accesses.rules, policy=policy)).points[0]
            for policy in policies
            if known(policy)
        }

    return await asyncio.to_thread(work)


async def with_outlook(plan: Plan, live: Live, *, policy: str | None = None, memory_bytes: int | None = None) -> Plan:
    """Return the plan with the predicted hit rate now and after; as it is where nothing was watched lately."""
    seen = recent(live)
    wanted = policy or (seen.accesses.rules.policy if seen is not None else "")
    if seen is None or not known(wanted) or memory_bytes == 0:
        return plan
    accesses = seen.accesses
    after_bytes = memory_bytes or accesses.memory_bytes

    def work() -> tuple[Point, Point]:
        now = from_stream(accesses, [accesses.memory_bytes]).points[0]
        return now, from_stream(accesses, [after_bytes], replace(accesses.rules, policy=wanted)).points[0]

    now, after = await asyncio.to_thread(work)
    live.predicted[plan.id] = after
    words = f"predicted hit rate: now {range_words(now)}, after {range_words(after)}, once it has settled"
    age = text.duration(max(0.0, live.source.now() - accesses.times_s[-1]))
    if wanted == SEGMENTED:
        words += "; memcached's own lists do a little better than this"
    return replace(plan, what=(*plan.what, words, f"by {len(accesses.keys):,} sampled uses, watched {age} ago"))


def compare(live: Live, plan: Plan) -> None:
    """From now on show what comes of a change beside what was predicted of it, if anything was."""
    after = live.predicted.pop(plan.id, None)
    latest = live.feeds.latest.get("stats")
    if after is None or not isinstance(latest, Stats) or latest.hits_total is None or latest.misses_total is None:
        return
    title = text.printable(plan.title, 60)
    live.foreseen = Foreseen(title, after, latest.taken_at, latest.hits_total, latest.misses_total)
