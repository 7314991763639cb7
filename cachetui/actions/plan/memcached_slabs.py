"""Plans that move Memcached's memory from one slab class to another, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence

from cachetui.actions.plan.base import Plan, stamped
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.model import Identity, SlabClass
from cachetui.text import count, size

ANY = -1
"""The class a page comes from: memcached takes the one with the oldest items."""


def plan_reassign(
    identity: Identity,
    target: str,
    slabs: Sequence[SlabClass],
    source: int,
    dest: int,
    *,
    server: str = "",
    now: float | None = None,
) -> Plan:
    """Plan `slabs reassign` of one page from class `source` (-1: any) to class `dest` of one server.

    `slabs` are its classes as last seen, `server` its address where the target has several.
    Raises BadUsage for classes that are not there, Refused where the source has no page to spare.
    """
    if identity.kind != "memcached":
        raise Unsupported("only Memcached has slab classes", "")
    known = {slab.class_id: slab for slab in slabs if not server or slab.server == server}
    if identity.mode == "fleet" and not server:
        raise BadUsage("a page moves within one server", "choose a slab class of one of them")
    if dest not in known or (source != ANY and source not in known):
        missing = dest if dest not in known else source
        raise BadUsage(f"no slab class {missing} is in use here", f"in use are {', '.join(map(str, sorted(known)))}")
    if source == dest:
        raise BadUsage("a page moves from one class to another", "choose two classes")
    giver = known.get(source)
    if giver is not None and giver.total_pages < 2:
        raise Refused(f"class {source} has one page: memcached never takes the last one", "choose a larger class")
    taker = known[dest]
    per_page = taker.total_chunks // max(1, taker.total_pages)
    what = [
        f"move one page of memory from {_named(giver)} to {_named(taker)}" + (f" on {server}" if server else ""),
        f"room for about {count(per_page)} more items in class {dest}",
        *_losses(giver),
        "it takes a moment in the background; with automove on memcached may move it back",
    ]
    step = (b"slabs", b"reassign", b"%d" % source, b"%d" % dest)
    back = f"slabs reassign {dest} {source}" if giver is not None else "no undo: memcached chose the class it came from"
    return stamped(
        identity,
        target,
        f"Move a page to slab class {dest}",
        [step],
        what,
        needs="settings",
        risk="medium",
        undo=f"{back}; what was evicted stays lost" if giver is not None else back,
        nodes=(server,) if identity.mode == "fleet" else (),
        now=now,
    )


def _named(slab: SlabClass | None) -> str:
    if slab is None:
        return "the class with the oldest items"
    return f"class {slab.class_id} ({size(slab.chunk_bytes)} chunks)"


def _losses(giver: SlabClass | None) -> list[str]:
    """Say what becomes of the items in the page."""
    if giver is None:
        return ["items in that page move within their class, or are evicted where it has no room"]
    per_page = giver.total_chunks // max(1, giver.total_pages)
    if giver.free_chunks >= per_page:
        return [
            f"class {giver.class_id} has {count(giver.free_chunks)} free chunks: its items move there, none is lost"
        ]
    most = min(per_page - giver.free_chunks, giver.items if giver.items is not None else per_page)
    return [f"at once: up to {count(most)} items of class {giver.class_id} are evicted: it has no room for them"]
