"""From a press to a plan, its preview and its end. Only `actions.apply` sends anything that changes the server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cachetui import text
from cachetui.actions.apply import Outcome, Pacer, Progress, apply
from cachetui.actions.plan import (
    Plan,
    plan_kill,
    plan_maxmemory,
    plan_policy,
    plan_slowlog_reset,
    plan_ttl,
)
from cachetui.actions.plan.base import typed_name
from cachetui.errors import Refused
from cachetui.model import Identity, Keep, Operation, Selection, Stats
from cachetui.source.single import stats_of_one
from cachetui.ui import configuring, editing, failing_over, foresight, slabbing, undoing
from cachetui.ui.clustering import reached, rebalanced
from cachetui.ui.commands import BY_ID
from cachetui.ui.invalidating import facts_of, glob_of, invalidated, listed, swept
from cachetui.ui.panes.clients import ClientsPane
from cachetui.ui.panes.keys import KeysPane
from cachetui.ui.plot import range_words
from cachetui.ui.proposal import Planner, Proposal
from cachetui.ui.screens.dialog import Choice, Prompt
from cachetui.ui.screens.preview import Left, Preview

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live

_TTL = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*$")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_ttl(words: str) -> float | None:
    """Return seconds ("90", "15m", "2h", "1d"), or None for "none".

    Raises ValueError with a sentence.

    >>> parse_ttl("15m"), parse_ttl("none")
    (900.0, None)
    """
    if words.strip().lower() in ("none", "-"):
        return None
    match = _TTL.match(words.lower())
    if match is None:
        raise ValueError("write seconds, 15m, 2h, 1d, or none to keep the key for ever")
    return float(match[1]) * _UNIT_S[match[2]]


async def act(app: CachetuiApp, live: Live, command_id: str) -> None:
    """Ask what is needed, plan, preview, and apply when the person says so. Raises CacheError."""
    identity = live.source.identity or await live.source.open()
    if why := live.why_not_write(BY_ID[command_id].needs):
        raise Refused(why, "connect to its primary (see the topology)")

    async def make() -> Plan | Proposal | None:
        return await _PLANS[command_id](app, live, identity)

    made = await make()
    while made is not None:
        proposal = made if isinstance(made, Proposal) else Proposal(made, make)
        left = await _previewed(app, live, proposal.plan)
        if left.outcome is not None:
            if left.outcome.state == "done":
                foresight.compare(live, proposal.plan)
            await _look_again(app, live, proposal.plan)
        if left.wish == "again":
            made = await proposal.again()
        elif left.wish == "undo":
            made = await undoing.undone_receipt(app, live, proposal.plan.id)
        else:
            return


async def _previewed(app: CachetuiApp, live: Live, plan: Plan) -> Left:
    async def run(plan: Plan, progress: Callable[[Progress], None], cancel: asyncio.Event, pacer: Pacer) -> Outcome:
        async with reached(app) as nodes:
            return await apply(
                plan,
                live.source,
                journal=live.journal,
                guard=live.guard(),
                progress=progress,
                cancel=cancel,
                pacer=pacer,
                nodes=nodes,
            )

    typed = typed_name(plan.target) if live.settings.production else None
    return await app.push_screen_wait(Preview(plan, run, refused=live.read_only, typed=typed))


async def _look_again(app: CachetuiApp, live: Live, plan: Plan) -> None:
    """Show what is so after a write."""
    await live.read_journal()
    live.refresh()
    if plan.needs in ("delete", "ttl", "edit"):
        _forget(app, live)
        opened = live.browser.state.opened
        if opened is not None:
            await live.browser.open(opened)


def _forget(app: CachetuiApp, live: Live) -> None:
    """Drop what is known of keys that were changed."""
    live.browser.state.facts.clear()
    live.browser.state.facts_version += 1
    for pane in app.query(KeysPane):
        pane.table.marked.clear()
        pane.forget_asked()


async def _delete(app: CachetuiApp, live: Live, identity: Identity) -> Plan | Proposal | None:
    pane = app.pane
    if not isinstance(pane, KeysPane):
        raise Refused("select a key first", "press 2 for the keys")
    if (plan := editing.removed(pane, live, identity)) is not None:
        return plan
    rule, keys = _chosen(pane)
    if rule is not None:
        return await swept(app, live, identity, rule, Operation("delete"))
    return await listed(live, identity, keys)


def _chosen(pane: KeysPane) -> tuple[Selection | None, list[bytes]]:
    """Return a rule for a whole prefix, or the keys that are marked or selected. Raises Refused."""
    marks, selected = pane.table.marked, pane.selected()
    prefixes = [name for kind, name in marks if kind == "prefix"]
    if not marks and selected is not None and selected[0] == "prefix":
        prefixes = [selected[1]]
    if len(prefixes) == 1 and len(marks) <= 1:
        return Selection(pattern=glob_of(prefixes[0])), []
    keys = pane.marked() if marks else [selected[1]] if selected is not None else []
    if not keys:
        raise Refused("no key is selected", "move to a key or a prefix")
    return None, keys


async def _ttl(app: CachetuiApp, live: Live, identity: Identity) -> Plan | Proposal | None:
    pane = app.pane
    if not isinstance(pane, KeysPane):
        raise Refused("select a key first", "press 2 for the keys")
    rule, keys = _chosen(pane)
    if rule is not None:
        name = f"the keys {text.printable(rule.pattern or b'', 60)}"
    else:
        name = text.printable(keys[0], 60) if len(keys) == 1 else f"{len(keys):,} keys"
    words = await app.push_screen_wait(
        Prompt(f"TTL of {name}", hint="seconds, 15m, 2h, 1d, or none to keep for ever", check=_says(parse_ttl))
    )
    if words is None:
        return None
    ttl_s = parse_ttl(words)
    if rule is not None:
        return await swept(app, live, identity, rule, Operation("persist" if ttl_s is None else "expire", ttl_s))

    async def make() -> Proposal:
        plan = plan_ttl(identity, live.source.name, await facts_of(live, keys), ttl_s, keep=Keep())
        return Proposal(plan, make)

    return await make()


async def _policy(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    stats = await _stats(live)
    allowed = await live.source.policies()
    policy: str | None = foresight.PREDICT
    asked = False
    while policy == foresight.PREDICT:
        if asked:
            await foresight.watch(app, live)
        asked = True
        policy = await app.push_screen_wait(await _policy_choice(live, stats, allowed))
    nodes = None if policy is None else await configuring.reached(app, live, "maxmemory*")
    if policy is None or nodes is None:
        return None
    plan = plan_policy(identity, live.source.name, stats, policy, allowed, nodes=nodes)
    return await foresight.with_outlook(plan, live, policy=policy)


async def _policy_choice(live: Live, stats: Stats, allowed: Sequence[str]) -> Choice:
    """Return the question for a policy, with what each would do to the hit rate where that is known."""
    seen = foresight.recent(live)
    rates = await foresight.by_policy(seen, allowed) if seen is not None else {}
    options = [
        (name, _POLICY_WORDS.get(name, "") + (f" · hit rate {range_words(rates[name])}" if name in rates else ""))
        for name in allowed
    ]
    if foresight.can_watch(live):
        words = "watch the commands (MONITOR) for 5 s, and tell the hit rate under each"
        # Beside the policy of now, where the cursor is: that one and its neighbours below stay where they were.
        options.insert(allowed.index(stats.policy) if stats.policy in allowed else 0, (foresight.PREDICT, words))
    return Choice(f"eviction policy of {live.source.name}", options, current=stats.policy or "")


async def _maxmemory(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    if identity.kind == "memcached" and not await foresight.offered(app, live):
        return None
    stats = await _stats(live)
    now = f"now {text.size(stats.maxmemory_bytes)}, used {text.size(stats.used_bytes)}"
    words = await app.push_screen_wait(
        Prompt(
            f"maxmemory of {live.source.name}: {now}",
            hint="512mb, 4gb, or a number of bytes; the plan is shown before anything is sent",
            check=_says(text.parse_size),
        )
    )
    nodes = None if words is None else await configuring.reached(app, live, "max*")
    if words is None or nodes is None:
        return None
    new_bytes = text.parse_size(words)
    plan = plan_maxmemory(identity, live.source.name, stats, new_bytes, nodes=nodes)
    return await foresight.with_outlook(plan, live, memory_bytes=new_bytes)


async def _setting(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    own: dict[str, configuring.Planner] = {"maxmemory": _maxmemory, "maxbytes": _maxmemory, "maxmemory-policy": _policy}
    return await configuring.setting(app, live, identity, own)


async def _kill(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    pane = app.pane
    client = pane.selected() if isinstance(pane, ClientsPane) else None
    if client is None:
        raise Refused("no client is selected", "press 5 for the clients")
    if client.node:
        raise Refused(f"this client is connected to {client.node}", "look at that node alone first: ] or 4 and Enter")
    return plan_kill(identity, live.source.name, client)


async def _clear_slow(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    if identity.mode == "cluster" and not live.node:
        raise Refused("each node of a cluster has a slow log of its own", "look at one alone first: ] or 4 and Enter")
    return plan_slowlog_reset(identity, live.source.name)


async def _stats(live: Live) -> Stats:
    """Return the figures of the server; of a cluster those of its fullest node: limits are each node's own."""
    return await stats_of_one(live.source)


def _says(parse: Callable[[str], object]) -> Callable[[str], str | None]:
    """Turn a parser that raises ValueError into a check that returns its sentence."""

    def check(words: str) -> str | None:
        try:
            parse(words)
        except ValueError as error:
            return str(error)
        return None

    return check


_POLICY_WORDS = {
    "noeviction": "refuse writes when full",
    "allkeys-lru": "the least recently used of all keys",
    "allkeys-lfu": "the least often used of all keys",
    "allkeys-lrm": "the least recently modified of all keys",
    "allkeys-random": "any key",
    "volatile-lru": "the least recently used of keys with a TTL",
    "volatile-lfu": "the least often used of keys with a TTL",
    "volatile-lrm": "the least recently modified of keys with a TTL",
    "volatile-random": "any key with a TTL",
    "volatile-ttl": "the key that expires next",
}
_PLANS: dict[str, Planner] = {
    "delete": _delete,
    "invalidate": invalidated,
    "undo": undoing.undone,
    "resume": undoing.resumed,
    "ttl": _ttl,
    "edit": editing.edited,
    "new": editing.added,
    "rename": editing.renamed,
    "copy-key": editing.copied,
    "import": editing.loaded,
    "policy": _policy,
    "maxmemory": _maxmemory,
    "setting": _setting,
    "rewrite": configuring.rewrite,
    "rebalance": rebalanced,
    "reassign": slabbing.reassigned,
    "kill": _kill,
    "clear-slow": _clear_slow,
    "failover": failing_over.failed_over,
}
