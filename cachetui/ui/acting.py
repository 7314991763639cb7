"""From a press to a plan, its preview and its end. Only `actions.apply` sends anything that changes the server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from cachetui import text
from cachetui.actions.apply import Outcome, Pacer, Progress, apply
from cachetui.actions.plan import (
    Plan,
    plan_delete,
    plan_kill,
    plan_maxmemory,
    plan_policy,
    plan_slowlog_reset,
    plan_ttl,
)
from cachetui.actions.plan.base import typed_name
from cachetui.errors import BadUsage, Refused
from cachetui.model import Identity, Keep, KeyFacts, Operation, Selection, Stats
from cachetui.ui import configuring, editing, invalidating
from cachetui.ui.panes.clients import ClientsPane
from cachetui.ui.panes.keys import KeysPane
from cachetui.ui.screens.dialog import Choice, Prompt
from cachetui.ui.screens.preview import Preview

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live

FACTS_LOOKED_UP = 1_000
"""Sizes and TTLs are looked up for so many keys of a plan; the preview says of how many."""

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
    plan = await _PLANS[command_id](app, live, identity)
    if plan is None:
        return

    async def run(plan: Plan, progress: Callable[[Progress], None], cancel: asyncio.Event, pacer: Pacer) -> Outcome:
        return await apply(
            plan,
            live.source,
            journal=live.journal,
            guard=live.guard(),
            progress=progress,
            cancel=cancel,
            pacer=pacer,
        )

    typed = typed_name(plan.target) if live.settings.production else None
    outcome = await app.push_screen_wait(Preview(plan, run, refused=live.read_only, typed=typed))
    if outcome is not None:
        await live.read_journal()
        live.refresh()
        if plan.needs in ("delete", "ttl", "edit"):
            _forget(app, live)
            opened = live.browser.state.opened
            if opened is not None:
                await live.browser.open(opened)
        app.say(outcome.line(), severity="information" if outcome.exit_code == 0 else "warning")


def _forget(app: CachetuiApp, live: Live) -> None:
    """Drop what is known of keys that were changed."""
    live.browser.state.facts.clear()
    live.browser.state.facts_version += 1
    for pane in app.query(KeysPane):
        pane.table.marked.clear()
        pane.forget_asked()


async def _delete(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    pane = app.pane
    if not isinstance(pane, KeysPane):
        raise Refused("select a key first", "press 2 for the keys")
    if (plan := editing.removed(pane, live, identity)) is not None:
        return plan
    marked, selected = pane.marked(), pane.selected()
    if not marked and selected is None:
        raise Refused("no key is selected", "move to a key or a prefix")
    if not marked and selected is not None and selected[0] == "prefix":
        rule = Selection(pattern=invalidating.glob_of(selected[1]))
        return await invalidating.swept(app, live, identity, rule, Operation("delete"))
    keys = marked or ([selected[1]] if selected is not None else [])
    facts = await _facts(live, keys)
    unlink = await invalidating.unlink_known(live, identity)
    total = getattr(live.feeds.latest.get("stats"), "keys", None)
    return plan_delete(identity, live.source.name, facts, total=total, unlink_known=unlink, keep=Keep())


async def _facts(live: Live, keys: list[bytes]) -> list[KeyFacts | bytes]:
    """Return facts of the first keys and the bare names of the others."""
    known: list[KeyFacts | bytes] = []
    for at in range(0, min(len(keys), FACTS_LOOKED_UP), 200):
        known += (await live.source.facts(keys[at : min(at + 200, FACTS_LOOKED_UP)])).facts
    return known + keys[FACTS_LOOKED_UP:]


async def _ttl(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    pane = app.pane
    if not isinstance(pane, KeysPane):
        raise Refused("select a key first", "press 2 for the keys")
    selected = pane.selected()
    keys = pane.marked() or ([selected[1]] if selected is not None and selected[0] == "key" else [])
    if not keys:
        raise Refused("select a key or mark several", "a TTL is set on keys, not on a prefix")
    name = text.printable(keys[0], 60) if len(keys) == 1 else f"{len(keys):,} keys"
    words = await app.push_screen_wait(
        Prompt(f"TTL of {name}", hint="seconds, 15m, 2h, 1d, or none to keep for ever", check=_says(parse_ttl))
    )
    if words is None:
        return None
    return plan_ttl(identity, live.source.name, await _facts(live, keys), parse_ttl(words), keep=Keep())


async def _policy(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    stats = await _stats(live)
    allowed = await live.source.policies()
    policy = await app.push_screen_wait(
        Choice(
            f"eviction policy of {live.source.name}",
            [(name, _POLICY_WORDS.get(name, "")) for name in allowed],
            current=stats.policy or "",
        )
    )
    nodes = None if policy is None else await configuring.reached(app, live, "maxmemory*")
    if policy is None or nodes is None:
        return None
    return plan_policy(identity, live.source.name, stats, policy, allowed, nodes=nodes)


async def _maxmemory(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
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
    return plan_maxmemory(identity, live.source.name, stats, text.parse_size(words), nodes=nodes)


async def _setting(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    own: dict[str, configuring.Planner] = {"maxmemory": _maxmemory, "maxbytes": _maxmemory, "maxmemory-policy": _policy}
    return await configuring.setting(app, live, identity, own)


async def _kill(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    pane = app.pane
    client = pane.selected() if isinstance(pane, ClientsPane) else None
    if client is None:
        raise Refused("no client is selected", "press 5 for the clients")
    return plan_kill(identity, live.source.name, client)


async def _clear_slow(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    return plan_slowlog_reset(identity, live.source.name)


async def _stats(live: Live) -> Stats:
    stats = await live.source.poll("stats")
    if not isinstance(stats, Stats):
        raise BadUsage("the server gave no stats")
    return stats


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
_PLANS = {
    "delete": _delete,
    "invalidate": invalidating.invalidated,
    "undo": invalidating.undone,
    "resume": invalidating.resumed,
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
    "kill": _kill,
    "clear-slow": _clear_slow,
}
