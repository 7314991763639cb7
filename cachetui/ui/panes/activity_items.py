"""Memcached's activity: the rates of its commands, and the names that its live events tell of most."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.hot_items import HotItem, hot_items, item_commands
from cachetui.ui.line import Line, line
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row

COLUMNS = (
    Column("key"),
    Column("events", 7, "right"),
    Column("share", 6, "right"),
    Column("fetch", 6, "right"),
    Column("miss", 6, "right"),
    Column("store", 6, "right"),
    Column("evict", 6, "right"),
    Column("delete", 6, "right", wide_only=90),
    Column("other", 6, "right", wide_only=90),
)
_KINDS = ("fetch", "miss", "store", "evict", "delete")


def item_notes(scene: Scene, width: int) -> list[Line]:
    """Return the lines above the list: rates of commands, and how the events were come by."""
    commands = [
        f"{one.name} {text.rate(one.per_s)}"
        + (f" ({text.percent(one.hit_percent, 0)} found)" if one.hit_percent is not None else "")
        for one in item_commands(scene.evidence)
    ]
    log = scene.evidence.slowlog
    words = ["  ".join(commands)] if commands else []
    if log is not None:
        lost = f", {text.count(log.skipped)} lost" if log.skipped else ""
        words.append(f"names in the last {len(log.entries)} live events{lost}")
    return [line((text.fit(each, width), "" if at == 0 and commands else "muted")) for at, each in enumerate(words)]


def item_rows(scene: Scene) -> list[Row]:
    """Return one row for each name, the one seen most first."""
    return [_row(found) for found in hot_items(scene.evidence.slowlog)]


def _row(found: HotItem) -> Row:
    numbers = [found.kinds.get(kind, 0) for kind in _KINDS]
    other = found.events - sum(numbers)
    name = text.printable(found.key, 250)
    cells = (
        (name, ""),
        (str(found.events), ""),
        (text.percent(100 * found.share, 0), ""),
        *(
            (str(number) if number else "", "warn" if kind == "evict" else "")
            for kind, number in zip(_KINDS, numbers, strict=True)
        ),
        (str(other) if other else "", ""),
    )
    return Row(("key", found.key), cells, (name, found.events, found.share, *numbers, other))
