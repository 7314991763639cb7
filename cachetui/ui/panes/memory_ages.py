"""What the ages of Memcached's items tell by slab class: never read, idle, and what less memory would do."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.slab_ages import AgedClass, aged
from cachetui.model import Stats
from cachetui.ui.line import Line, line
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row

COLUMNS = (
    Column("class", 5, "right"),
    Column("chunk", 7, "right"),
    Column("items", 6, "right"),
    Column("unused", 7, "right"),
    Column("longest", 7, "right"),
    Column("never read", 10, "right"),
    Column("hits now", 8, "right"),
    Column("with 3/4", 8, "right"),
    Column("with 1/2", 8, "right"),
    Column("page gains", 10, "right"),
    Column("server", 0, wide_only=100),
)
UNREAD_WARN = 0.5


def rows(scene: Scene, stats: Stats) -> list[Row]:
    """Return one row for each class that holds items."""
    earlier = [one for one in scene.history.window() if one is not stats]
    return [_row(one) for one in aged(scene.memory.ages, stats, earlier[0] if earlier else None)]


def _row(found: AgedClass) -> Row:
    slab, (half, most) = found.slab, found.at_shares
    gains = None if found.page_gains is None else 100 * found.page_gains
    cells = (
        (str(slab.class_id), ""),
        (text.size(slab.chunk_bytes), "muted"),
        (text.count(found.items), ""),
        (text.duration(found.idle_s), ""),
        (text.duration(found.oldest_s), ""),
        (_percent(found.unfetched_share), "warn" if (found.unfetched_share or 0) > UNREAD_WARN else ""),
        (_percent(found.hit_rate), ""),
        (_about(most), "muted"),
        (_about(half), "muted"),
        (text.UNKNOWN if gains is None else f"<{gains:.1f}%", ""),
        (slab.server, "muted"),
    )
    order = (
        *(slab.class_id, slab.chunk_bytes, found.items, found.idle_s, found.oldest_s, found.unfetched_share),
        *(found.hit_rate, most, half, gains, slab.server),
    )
    return Row((slab.server, slab.class_id), cells, order)


def _percent(share: float | None) -> str:
    return text.percent(None if share is None else 100 * share, 0)


def _about(share: float | None) -> str:
    return text.UNKNOWN if share is None else f"~{100 * share:.0f}%"


def notes(scene: Scene, width: int) -> list[Line]:
    """Return what a reader must know of these figures."""
    look = scene.memory
    told = [(look.busy, "accent")] if look.busy else []
    if look.trouble:
        told.append((f"! {look.trouble}", "warn"))
    if look.ages:
        told.append(
            ("by the ages in a dump (r: again); ~ is rough: memcached notes some uses only; m tells more", "muted")
        )
    return [line((text.fit(words, width), style)) for words, style in told]
