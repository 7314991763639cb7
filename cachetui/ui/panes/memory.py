"""The memory pane: of Redis and Valkey by section; of Memcached what each slab class wastes, evicts and would gain."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import ClassVar

from textual.message import Message

from cachetui import text
from cachetui.analysis.growth import growth_of_memory
from cachetui.analysis.slabs import SlabFigures, explained, figures
from cachetui.model import SlabClass, Stats
from cachetui.source.base import Kind
from cachetui.ui.line import Line, line
from cachetui.ui.panes import memory_ages, memory_parts
from cachetui.ui.panes.pane import TablePane, trouble_words
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row, Table

_CLASSES = (
    Column("class", 5, "right"),
    Column("chunk", 7, "right"),
    Column("items", 6, "right"),
    Column("memory", 7, "right"),
    Column("free", 5, "right"),
    Column("waste", 6, "right"),
    Column("oldest", 7, "right"),
    Column("evicted", 7, "right"),
    Column("lately", 6, "right"),
    Column("unread", 6, "right"),
    Column("no mem", 6, "right"),
    Column("HOT", 6, "right", wide_only=120),
    Column("WARM", 6, "right", wide_only=120),
    Column("COLD", 6, "right", wide_only=120),
    Column("TEMP", 6, "right", wide_only=120),
    Column("server", 0, wide_only=140),
)

FREE_WARN_SHARE, WASTE_WARN_SHARE = 0.5, 0.25
EXPLAINED = 2
"""Classes whose evictions are explained above the list."""


class MemoryPane(TablePane):
    """Slab classes of Memcached; of Redis and Valkey the account of its memory, prefixes, what goes next, the curve."""

    class Wanted(Message):
        """What a section shows is to be asked for."""

        def __init__(self, section: str, *, again: bool) -> None:
            super().__init__()
            self.section, self.again = section, again

    heading = "Memory"
    kinds: ClassVar[tuple[Kind, ...]] = ("stats",)
    detail_rows = 7

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.table = Table(_CLASSES)
        self._figures: list[SlabFigures] = []
        self._stats: Stats | None = None
        self.section = memory_parts.SECTIONS[0]
        self._asked = ""
        self.by_age = False
        """Of Memcached: the ages of the items by class."""

    def show(self, scene: Scene) -> None:
        stats = scene.evidence.stats
        if stats is not self._stats:
            self._stats = stats
            window = [earlier for earlier in scene.history.window() if stats is not None and earlier is not stats]
            earlier = window[0] if window else None
            self._figures = figures(stats.slabs, earlier, stats) if stats is not None else []
        if _has_sections(stats) and self._asked != f"{self.section} {scene.node}":
            self._asked = f"{self.section} {scene.node}"
            self.post_message(self.Wanted(self.section, again=False))
        super().show(scene)

    def command(self, command_id: str) -> bool:
        if not _has_sections(self._stats):
            return self._answer_for_classes(command_id) or super().command(command_id)
        if command_id == "group":
            at = memory_parts.SECTIONS.index(self.section)
            self.section = memory_parts.SECTIONS[(at + 1) % len(memory_parts.SECTIONS)]
            self.table.forget_order()
            if self.scene is not None:
                self.show(self.scene)
            return True
        if command_id == "open" and self.section == "prefixes":
            return self._open_prefix()
        if command_id == "refresh":
            self.post_message(self.Wanted(self.section, again=True))
            return False  # the figures are asked for as well
        return super().command(command_id)

    def _answer_for_classes(self, command_id: str) -> bool:
        """Go from Memcached's slab classes to the ages of their items, and back."""
        if command_id == "refresh" and self.by_age:
            self.post_message(self.Wanted("ages", again=True))
            return False
        if command_id != "group" or self.scene is None:
            return False
        self.by_age = not self.by_age
        self.table.forget_order()
        if self.by_age:
            self.post_message(self.Wanted("ages", again=False))
        self.show(self.scene)
        return True

    def _open_prefix(self) -> bool:
        """Lead to the keys of the selected prefix, where it is one that the tree has."""
        row = self.table.current
        prefix = row.row_id if row is not None and isinstance(row.row_id, bytes) else b""
        if b"*" in prefix[:-1] or len(prefix) < 2:
            return False
        self.post_message(self.Opened(self, ("prefix", prefix[:-1])))
        return True

    def title(self, scene: Scene) -> str:
        stats = scene.evidence.stats
        words = super().title(scene)
        if stats is None:
            return words
        if stats.server.kind != "memcached":
            others = ", ".join(one for one in memory_parts.SECTIONS if one != self.section)
            return f"{words} · {self.section} (b: {others})"
        servers = len({slab.server for slab in stats.slabs})
        words += " · ages of items (b: slab classes)" if self.by_age else ""
        return f"{words} · {len(stats.slabs)} slab classes" + (f" on {servers} servers" if servers > 1 else "")

    def notes(self, scene: Scene) -> list[Line]:
        stats, width = scene.evidence.stats, self.content_size.width
        if stats is None:
            return []
        known = text.UNKNOWN if not stats.maxmemory_bytes else text.size(stats.maxmemory_bytes)
        policy = f", {stats.policy}" if stats.policy else ""
        full = _until_full(scene, stats) if stats.server.kind != "memcached" else ""
        lines = [line((text.fit(f"{text.size(stats.used_bytes)} of {known}{policy}{full}", width), "title"))]
        if stats.server.kind != "memcached":
            return [*lines, *memory_parts.notes(self.section, scene, width, self.content_size.height)]
        if self.by_age:
            return [*lines, *memory_ages.notes(scene, width)]
        pool = (stats.extra or {}).get("slab_global_page_pool")
        evicting = sorted(
            (one for one in self._figures if one.evicted_lately), key=lambda one: -(one.evicted_lately or 0)
        )
        if not evicting:
            words = "nothing was evicted lately" + (
                f"; {pool} free pages in the pool" if pool not in (None, "0") else ""
            )
            return [*lines, line((text.fit(words, width), "muted"))]
        for one in evicting[:EXPLAINED]:
            where = f"{one.slab.server}: " if len({slab.server for slab in stats.slabs}) > 1 else ""
            words = where + "; ".join(explained(one, stats.slabs))
            lines += [line((part, "warn")) for part in textwrap.wrap(f"! {words}", max(20, width))[:2]]
        return lines

    def empty_words(self, scene: Scene) -> str:
        state = scene.states.get("stats")
        if state is not None and state.trouble is not None:
            return trouble_words(state.trouble)
        if _has_sections(scene.evidence.stats):
            return memory_parts.empty_words(self.section, scene)
        if self.by_age and scene.evidence.stats is not None:
            return scene.memory.busy or scene.memory.trouble or "no items"
        return "waiting" if scene.evidence.stats is None else "no slab class holds anything yet"

    def rows(self, scene: Scene) -> Sequence[Row]:
        stats = scene.evidence.stats
        if stats is None:
            return []
        if stats.server.kind != "memcached":
            self.table.columns, rows = memory_parts.rows_of(self.section, scene, stats)
            return rows
        if self.by_age:
            self.table.columns = memory_ages.COLUMNS
            return memory_ages.rows(scene, stats)
        self.table.columns = _CLASSES
        return [_class_row(one) for one in self._figures]

    def selected(self) -> SlabClass | None:
        """Return the slab class under the cursor."""
        found = self._selected()
        return None if found is None else found.slab

    def _selected(self) -> SlabFigures | None:
        row = self.table.current
        return next((one for one in self._figures if row is not None and _row_id(one.slab) == row.row_id), None)

    def detail(self, scene: Scene, width: int) -> list[Line]:
        found, stats = self._selected(), scene.evidence.stats
        if found is None or stats is None:
            return []
        slab = found.slab
        lines = [
            f"class {slab.class_id} on {slab.server}: chunks of {text.size(slab.chunk_bytes)},"
            f" {text.count(slab.used_chunks)} of {text.count(slab.total_chunks)} used, {_pages(slab.total_pages)}",
            f"oldest in HOT {text.duration(slab.age_hot_s)}, WARM {text.duration(slab.age_warm_s)},"
            f" COLD {text.duration(slab.age_s)}; moved to COLD {text.count(slab.moves_to_cold)},"
            f" back to WARM {text.count(slab.moves_to_warm)}",
            f"hits {text.count(slab.hits)}, sets {text.count(slab.sets)}, reclaimed {text.count(slab.reclaimed)},"
            f" expired unread {text.count(slab.expired_unfetched)}, made room {text.count(slab.direct_reclaims)}",
            f"evicted with a TTL {text.count(slab.evicted_with_ttl)}, in use lately {text.count(slab.evicted_active)},"
            f" repaired {text.count(slab.tail_repairs)}",
            *explained(found, stats.slabs),
        ]
        return [line(text.fit(words, width)) for words in lines]


def _has_sections(stats: Stats | None) -> bool:
    return stats is not None and stats.server.kind != "memcached"


def _until_full(scene: Scene, stats: Stats) -> str:
    """Return what happens to the memory now: how fast it grows and when it is full, or what is evicted."""
    evicted = scene.figures.get("evicted")
    if evicted:
        return f", evicting {text.rate(evicted)}"
    growing = growth_of_memory(scene.evidence)
    if growing is None or stats.used_bytes is None:
        return ""
    if abs(growing) * 3600 < 0.01 * stats.used_bytes:
        return ", steady"
    words = f", {'grows' if growing > 0 else 'shrinks'} by {text.size(abs(growing) * 60)}/min"
    left = (stats.maxmemory_bytes or 0) - stats.used_bytes
    return words + (f": full in about {text.duration(round(left / growing))}" if growing > 0 and left > 0 else "")


def _pages(number: int) -> str:
    return f"{number} page{'' if number == 1 else 's'}"


def _row_id(slab: SlabClass) -> tuple[str, int]:
    return slab.server, slab.class_id


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else part / whole


def _percent(share: float | None) -> str:
    return text.percent(None if share is None else 100 * share, 0)


def _class_row(found: SlabFigures) -> Row:
    slab = found.slab
    free = _share(slab.free_chunks, slab.total_chunks)
    waste = _share(found.waste_bytes, slab.used_chunks * slab.chunk_bytes)
    lately = found.evicted_lately
    cells = (
        (str(slab.class_id), ""),
        (text.size(slab.chunk_bytes), "muted"),
        (text.count(slab.items), ""),
        (text.size(found.held_bytes), ""),
        (_percent(free), "muted" if (free or 0) < FREE_WARN_SHARE else ""),
        (_percent(waste), "warn" if (waste or 0) > WASTE_WARN_SHARE and (slab.items or 0) > 1000 else ""),
        (text.duration(slab.age_s), ""),
        (text.count(slab.evicted), ""),
        (f"! {text.count(lately)}" if lately else text.count(lately), "warn" if lately else ""),
        (_percent(found.unread_share), ""),
        (
            f"! {text.count(slab.outofmemory)}" if slab.outofmemory else text.count(slab.outofmemory),
            "bad" if slab.outofmemory else "",
        ),
        *((text.count(number), "muted") for number in (slab.hot, slab.warm, slab.cold, slab.temp)),
        (slab.server, "muted"),
    )
    order = (
        slab.class_id,
        slab.chunk_bytes,
        slab.items,
        found.held_bytes,
        free,
        waste,
        slab.age_s,
        slab.evicted,
        lately,
        found.unread_share,
        slab.outofmemory,
        slab.hot,
        slab.warm,
        slab.cold,
        slab.temp,
        slab.server,
    )
    return Row(_row_id(slab), cells, order)
