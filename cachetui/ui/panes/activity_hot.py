"""The hottest keys, prefixes, commands and clients, as the Activity view lists them."""

from __future__ import annotations

import textwrap

from cachetui import text
from cachetui.analysis.hot import HotRow, uses_of
from cachetui.ui.hottest import HotLook, HotTable, Unit
from cachetui.ui.line import Line, line
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row

_BAR = 20
_USES = (
    Column("uses", 7, "right"),
    Column("share (95 %)", 19, "right"),
    Column("a second", 9, "right", wide_only=100),
    Column("reads", 6, "right"),
    Column("writes", 6, "right"),
)
_COLUMNS: dict[Unit, tuple[Column, ...]] = {
    "uses": _USES,
    "frequency": (Column("counter", 8, "right"), Column("about uses", 11, "right"), Column("type", 10)),
    "cpu": (Column("time", 9, "right"), Column("share", 7, "right")),
    "bytes": (Column("bytes", 9, "right"), Column("share", 7, "right")),
}
_WARN_SHARE = 0.1
"""A key with more of all uses is worth a colour."""


def columns_of(by: str, table: HotTable) -> tuple[Column, ...]:
    """Return the columns of one list."""
    head = "key" if by in ("processor time", "network") else by
    last = (Column("", 26, wide_only=120),) if table.unit == "uses" else ()
    return (Column(head), *_COLUMNS[table.unit], *last)


def hot_rows(table: HotTable, *, ascii_only: bool = False) -> list[Row]:
    """Return the rows of one list."""
    return [_row(one, table.unit, ascii_only=ascii_only) for one in table.rows]


def _row(found: HotRow, unit: Unit, *, ascii_only: bool) -> Row:
    row_id = (found.name, found.db, found.note) if found.key is None else (found.key, found.db, found.note)
    share = text.percent(100 * found.share.value)
    if unit == "frequency":
        uses = uses_of(found.count)
        counter = (str(found.count), "")
        cells: tuple[tuple[str, str], ...] = ((found.name, ""), counter, (text.count(uses), ""), (found.note, "muted"))
        return Row(row_id, cells, (found.name, found.count, uses, found.note))
    if unit in ("cpu", "bytes"):
        shown = text.duration(found.count / 1e6) if unit == "cpu" else text.size(found.count)
        return Row(row_id, ((found.name, ""), (shown, ""), (share, "")), (found.name, found.count, found.share.value))
    style = "warn" if found.key is not None and found.share.low > _WARN_SHARE else ""
    cells = (
        (found.name, style),
        (text.count(found.count), ""),
        (share_words(found), ""),
        (text.rate(found.per_s), ""),
        (text.count(found.reads) if found.reads else "", ""),
        (text.count(found.writes) if found.writes else "", ""),
        (found.note or ("#" if ascii_only else "█") * round(_BAR * found.share.value), "muted"),
    )
    order = (found.name, found.count, found.share.value, found.per_s, found.reads, found.writes, found.note)
    return Row(row_id, cells, order)


def share_words(found: HotRow) -> str:
    """Return a share with its interval in percent: `12.3 % (11.9-12.8)`."""
    share = found.share
    return f"{100 * share.value:.1f} % ({100 * share.low:.1f}-{100 * share.high:.1f})"


def hot_notes(look: HotLook, width: int, *, most: int) -> list[Line]:
    """Return the lines above the list, at most so many."""
    told = [(f"{look.busy}; N stops it", "accent")] if look.busy else []
    told += [(part, style) for words, style in look.notes for part in textwrap.wrap(words, max(20, width))]
    shown = told if len(told) <= most else [*told[: most - 1], (f"and {len(told) - most + 1} more", "muted")]
    return [line((text.fit(words, width), style)) for words, style in shown]


def slot_notes(scene: Scene, width: int) -> list[Line]:
    """Return the hottest slots in one line, where a cluster's servers count them."""
    topology = scene.evidence.topology
    hot = [slot for slot in topology.hot_slots if slot.cpu_per_s] if topology is not None else []
    if not hot:
        return []
    told = ", ".join(f"{slot.slot} {text.percent((slot.cpu_per_s or 0) / 1e4, 2)}" for slot in hot[:5])
    return [line((text.fit(f"hottest slots, of a core: {told} (4: all)", width), "muted"))]
