"""What the ages of a slab class tell, and where they tell nothing."""

from __future__ import annotations

from cachetui.analysis.slab_ages import aged
from cachetui.model import Identity, SlabClass, Stats
from cachetui.model.ages import ClassAges

SERVER = Identity("memcached", run_id="1")


def stats(at: float, hits: int, sets: int) -> Stats:
    slab = SlabClass(5, 1000, 4, 4000, 4000, 0, items=4000, server="a:1", hits=hits, sets=sets)
    return Stats(at, SERVER, slabs=(slab,), uptime_s=int(at), hits_total=hits)


def ages(idle_s: tuple[int, ...], fetched: int = 1000) -> ClassAges:
    return ClassAges("a:1", 5, 4000, fetched, idle_s)


def test_less_memory_hits_less_and_the_last_page_gains_least() -> None:
    # Twice the time, not twice the keys: what was used is used again.
    idle = tuple(int(second**2 / 2000) for second in range(400))
    (found,) = aged([ages(idle)], stats(160.0, 10_000, 500), stats(60.0, 1000, 400))
    assert found.hit_rate is not None
    half, most = found.at_shares
    assert half is not None and most is not None
    assert half < most <= found.hit_rate
    assert found.page_gains is not None and 0 <= found.page_gains <= found.hit_rate - half
    assert found.unfetched_share == 0.75
    assert found.oldest_s == max(idle)


def test_items_that_came_all_at_once_tell_nothing_of_less_memory() -> None:
    (found,) = aged([ages((9,) * 500)], stats(160.0, 9000, 1000), stats(60.0, 1000, 500))
    assert found.at_shares == (None, None)
    assert found.page_gains is None
    assert found.idle_s == 9
    assert found.hit_rate is not None


def test_without_an_earlier_look_there_are_no_rates() -> None:
    (found,) = aged([ages(tuple(range(300)))], stats(160.0, 9000, 1000), None)
    assert (found.hit_rate, found.page_gains, found.at_shares) == (None, None, (None, None))
    assert aged([], stats(160.0, 1, 1), None) == []
