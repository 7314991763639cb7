"""From a press to a plan that changes the opened Memcached item in place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cachetui import text
from cachetui.actions.plan import Plan
from cachetui.actions.plan.memcached_items import plan_count, plan_extend
from cachetui.model import Identity, Value
from cachetui.ui.screens.dialog import Choice, Prompt

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live

_WAYS = (
    ("append", "add bytes at the end"),
    ("prepend", "add bytes at the beginning"),
    ("count", "count a number up, or down with a minus"),
)


async def changed_in_place(app: CachetuiApp, live: Live, identity: Identity, value: Value) -> Plan | None:
    """Ask what to do with the opened item; nothing that others write meanwhile is lost."""
    name = text.printable(value.facts.key, 60)
    way = await app.push_screen_wait(Choice(f"in {name}", _WAYS, hint="Enter chooses, Esc leaves"))
    if way is None:
        return None
    if way == "count":
        words = await app.push_screen_wait(
            Prompt(f"count {name} by", initial="1", hint="5, or -5", check=_wrong_number)
        )
        return None if words is None else plan_count(identity, live.source.name, value, int(words))
    words = await app.push_screen_wait(Prompt(f"{way} to {name}", hint="write odd bytes as they are shown: \\x1b, \\n"))
    if words is None:
        return None
    data = text.from_printable(words)
    return plan_extend(identity, live.source.name, value, data, where="append" if way == "append" else "prepend")


def _wrong_number(words: str) -> str | None:
    return None if re.fullmatch(r"[+-]?[0-9]{1,19}", words) else "a whole number: 5, or -5"
