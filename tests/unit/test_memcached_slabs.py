"""What follows from the counters of Memcached's slab classes."""

from __future__ import annotations

from dataclasses import replace

from cachetui.analysis.hot_items import hot_items, item_commands
from cachetui.analysis.slabs import donor_for, explained, figures, idle_bytes
from cachetui.model import Evidence, Identity, SlabClass, SlowEntry, SlowLog, Stats

MEMCACHED = Identity("memcached", run_id="1@1")
MB = 1024**2
FULL = SlabClass(
    7,
    1024,
    total_pages=4,
    total_chunks=4096,
    used_chunks=4096,
    free_chunks=0,
    items=4096,
    mem_requested_bytes=3 * MB,
    age_s=120,
    evicted=1000,
    evicted_unfetched=250,
    outofmemory=0,
    evicted_idle_s=30,
    server="a:1",
)
IDLE = SlabClass(2, 128, total_pages=5, total_chunks=40_960, used_chunks=10, free_chunks=40_950, items=10, server="a:1")


def stats(at: float, *slabs: SlabClass, **more: object) -> Stats:
    return Stats(at, MEMCACHED, slabs=slabs, **more)  # type: ignore[arg-type]


def test_waste_unread_and_what_a_page_buys() -> None:
    (found,) = figures([FULL])
    assert (found.held_bytes, found.waste_bytes, found.unread_share, found.page_buys_s) == (4 * MB, MB, 0.25, 30)
    assert found.evicted_lately is None and found.evicted_per_s is None


def test_lately_is_a_difference_within_one_run() -> None:
    before, after = stats(100.0, replace(FULL, evicted=900)), stats(110.0, FULL)
    (found,) = figures(after.slabs, before, after)
    assert (found.evicted_lately, found.evicted_per_s) == (100, 10.0)
    (new,) = figures([replace(FULL, class_id=9)], before, after)
    assert new.evicted_lately == 1000  # a class that was not there had evicted nothing
    restarted = replace(after, server=Identity("memcached", run_id="2@2"))
    (unknown,) = figures(restarted.slabs, before, restarted)
    assert unknown.evicted_lately is None


def test_unknown_counters_stay_unknown() -> None:
    bare = SlabClass(1, 96, 1, 10_922, 5, 10_917)
    (found,) = figures([bare])
    assert (found.waste_bytes, found.unread_share, found.page_buys_s, found.evicted_lately) == (None,) * 4
    assert explained(found, [bare]) == []


def test_a_class_with_pages_to_spare_is_named() -> None:
    assert idle_bytes(IDLE) == 40_950 * 128 and idle_bytes(FULL) == 0
    assert donor_for(FULL, [FULL, IDLE]) == IDLE
    assert donor_for(FULL, [FULL, replace(IDLE, server="b:1")]) is None
    (found,) = figures([FULL])
    words = "; ".join(explained(found, [FULL, IDLE]))
    assert "class 7 (1.0KB) evicted 1.0k, 25% never fetched, the last one idle for 30s" in words
    assert "`slabs reassign 2 7`" in words
    assert "each MB more keeps items 30s longer" in "; ".join(explained(found, [FULL]))
    refused = replace(FULL, outofmemory=3)
    assert "3 writes found no memory" in "; ".join(explained(figures([refused])[0], [refused]))


def test_names_are_ranked_by_their_events() -> None:
    def entry(at: int, key: bytes, event: str) -> SlowEntry:
        return SlowEntry(at, float(at), None, (key,), event=event)

    log = SlowLog(
        0.0,
        MEMCACHED,
        (
            entry(1, b"a", "fetch"),
            entry(2, b"a", "fetch"),
            entry(3, b"b", "miss"),
            entry(4, b"a", "evict"),
            entry(5, b"tcp", "connect"),
        ),
    )
    first, second = hot_items(log)
    assert (first.key, first.events, first.share, first.kinds) == (b"a", 3, 0.75, {"fetch": 2, "evict": 1})
    assert second.key == b"b" and hot_items(None) == []


def test_commands_are_rates_of_the_window() -> None:
    def seen(at: float, gets: int, deletes: int) -> Stats:
        extra = {"delete_hits": str(deletes), "delete_misses": "0"}
        return stats(at, gets_total=gets, hits_total=gets // 2, sets_total=0, uptime_s=1000, extra=extra)

    first, last = seen(0.0, 0, 0), seen(10.0, 1000, 50)
    found = {one.name: one for one in item_commands(Evidence(10.0, "t", last, (first,)))}
    assert (found["get"].per_s, found["get"].hit_percent) == (100.0, 50.0)
    assert (found["delete"].per_s, found["delete"].hit_percent) == (5.0, 100.0)
    assert "touch" not in found and item_commands(Evidence(10.0, "t", last)) == []
