"""Memcached's memory by slab class: what is wasted, who evicts and why, which page to move, what more would buy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cachetui import text
from cachetui.model import SlabClass, Stats
from cachetui.model.rates import same_run

PAGE_BYTES = 1024**2
"""A slab page, unless started with another -I."""

IDLE_SHARE = 0.5
"""Share of a class's chunks that are free: pages that could serve another class."""

IDLE_PAGES = 2
"""Whole pages' worth of free chunks below which there is nothing to move."""

Place = tuple[str, int]
"""Server and class."""


@dataclass(frozen=True, slots=True)
class SlabFigures:
    """What follows from one class's counters."""

    slab: SlabClass
    held_bytes: int
    """All of its pages."""
    waste_bytes: int | None
    """Of the used chunks, what no item asked for."""
    evicted_lately: int | None
    """Evicted, or refused for lack of memory, since the earlier snapshot; None without one."""
    evicted_per_s: float | None
    unread_share: float | None
    """Of the evicted items those that were never fetched, 0 to 1."""
    page_buys_s: float | None
    """How much longer an item would stay with one more page, in seconds."""


def figures(slabs: Sequence[SlabClass], earlier: Stats | None = None, later: Stats | None = None) -> list[SlabFigures]:
    """Return the figures of each class; `earlier` and `later` are snapshots of one run of the servers."""
    comparable = earlier is not None and later is not None and same_run(earlier, later)
    before = {_place(slab): slab for slab in earlier.slabs} if comparable and earlier is not None else {}
    span_s = later.taken_at - earlier.taken_at if later is not None and earlier is not None and comparable else None
    return [_figures(slab, before, span_s) for slab in slabs]


def _figures(slab: SlabClass, before: Mapping[Place, SlabClass], span_s: float | None) -> SlabFigures:
    used = slab.used_chunks * slab.chunk_bytes
    lost = lost_of(slab)
    lately = None
    if span_s is not None and lost is not None:
        then = before.get(_place(slab))
        lately = max(0, lost - ((lost_of(then) or 0) if then is not None else 0))
    evicted, unread = slab.evicted, slab.evicted_unfetched
    pages, age = slab.total_pages, slab.age_s
    return SlabFigures(
        slab,
        held_bytes=slab.total_chunks * slab.chunk_bytes,
        waste_bytes=None if slab.mem_requested_bytes is None else max(0, used - slab.mem_requested_bytes),
        evicted_lately=lately,
        evicted_per_s=lately / span_s if lately is not None and span_s else None,
        unread_share=min(1.0, unread / evicted) if evicted and unread is not None else None,
        page_buys_s=age / pages if lost and pages and age is not None else None,
    )


def lost_of(slab: SlabClass) -> int | None:
    """Return the items that were evicted, or refused for lack of memory; None when unknown."""
    if slab.evicted is None and slab.outofmemory is None:
        return None
    return (slab.evicted or 0) + (slab.outofmemory or 0)


def idle_bytes(slab: SlabClass) -> int:
    """Return what a class holds free and could give away; 0 when most of it is used."""
    if not slab.total_chunks or slab.free_chunks < IDLE_SHARE * slab.total_chunks:
        return 0
    return slab.free_chunks * slab.chunk_bytes


def donor_for(starving: SlabClass, slabs: Sequence[SlabClass]) -> SlabClass | None:
    """Return the class on the same server that has the most to give; None when none has."""
    giving = [
        slab
        for slab in slabs
        if slab.server == starving.server
        and slab.class_id != starving.class_id
        and idle_bytes(slab) >= IDLE_PAGES * PAGE_BYTES
    ]
    return max(giving, key=idle_bytes, default=None)


def explained(found: SlabFigures, slabs: Sequence[SlabClass]) -> list[str]:
    """Return why a class evicts, and what would help, in sentences; none where it does not."""
    slab = found.slab
    if not lost_of(slab):
        return []
    words = [f"class {slab.class_id} ({text.size(slab.chunk_bytes)}) evicted {text.count(slab.evicted)}"]
    if found.unread_share is not None:
        words.append(f"{text.percent(100 * found.unread_share, 0)} never fetched")
    if slab.evicted_idle_s is not None and slab.evicted:
        words.append(f"the last one idle for {text.duration(slab.evicted_idle_s)}")
    sentences = [", ".join(words)]
    if slab.outofmemory:
        sentences.append(f"{text.count(slab.outofmemory)} writes found no memory at all")
    donor = donor_for(slab, slabs)
    if donor is not None:
        sentences.append(
            f"class {donor.class_id} has {text.size(idle_bytes(donor))} free: "
            f"`slabs reassign {donor.class_id} {slab.class_id}` (T)"
        )
    elif found.page_buys_s is not None:
        sentences.append(f"each MB more keeps items {text.duration(found.page_buys_s)} longer")
    return sentences


def _place(slab: SlabClass) -> Place:
    return slab.server, slab.class_id
