"""Measuring all keys on a real server: by a scan with facts where they are many, by name where that is wanted."""

from __future__ import annotations

from cachetui.keyspace.measuring import MeasureSink
from cachetui.ui.browse import Browse
from cachetui.ui.panes.keys import KeysPane
from tests.servers.launch import Server
from tests.ui.conftest import Open, Screen

MANY = 24_000


def fill_many(server: Server) -> None:
    with server.client() as client:
        for first in range(0, MANY, 6_000):
            pipe = client.pipeline(transaction=False)
            for at in range(first, first + 6_000):
                if at % 4 == 0:
                    pipe.hset(f"user:{at}", mapping={"name": "x"})
                elif at % 4 == 1:
                    pipe.set(f"page:{at}", "y" * (at % 500), ex=9_000)
                else:
                    pipe.set(f"page:{at}\nnext", "z")
            pipe.execute()


async def scanned(screen: Screen) -> Browse:
    """Open the Keys view and wait for all names."""
    await screen.press("2")
    browse = screen.live.browser.state
    await screen.until(lambda: browse.scanned_at is not None and browse.index.total == MANY)
    return browse


def calls(server: Server, command: str) -> int:
    """Return how often `memory|usage` was called; Redis 6 counts it as `memory`."""
    with server.client() as client:
        stats = client.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in (command, command.partition("|")[0]))


async def test_many_keys_are_measured_by_a_scan(redis_like: Server, dashboard: Open) -> None:
    fill_many(redis_like)
    async with dashboard(redis_like.url, size=(140, 40)) as screen:
        browse = await scanned(screen)
        sizes, idles = calls(redis_like, "memory|usage"), calls(redis_like, "object|idletime")
        await screen.press("M")
        await screen.until(lambda: browse.measures is not None and browse.measuring is None)
        measures = browse.measures
        assert measures is not None and measures.known == MANY and browse.trouble is None
        assert calls(redis_like, "memory|usage") - sizes >= MANY
        assert calls(redis_like, "object|idletime") - idles < 1_000  # those of the visible rows
        with redis_like.client() as client:
            for rank in range(0, MANY, 997):
                key = browse.index.key(rank)
                facts = measures.fact(rank, key)
                assert facts.type == client.type(key).decode()
                assert facts.size_bytes == client.memory_usage(key, samples=5)
                assert facts.has_ttl == (client.ttl(key) > 0)
                assert facts.ttl_s is None or 8_000 < facts.ttl_s <= 9_000
        await screen.shows("33%", "#keys-pane")
        pane = screen.app.query_one("#keys-pane", KeysPane)
        await screen.press("v", "s")
        await screen.until(lambda: pane.wanted.sorting == "size")
        largest = max(range(MANY), key=measures.size_bytes.__getitem__)
        await screen.until(
            lambda: pane.table.listing is not None and pane.table.listing.wanted == pane.wanted and len(pane.table)
        )
        first = browse.index.rank(pane.table.listing.entry(0).name)  # type: ignore[union-attr]
        assert measures.size_bytes[first] == measures.size_bytes[largest]


async def test_measuring_pauses_goes_on_and_stops(redis7: Server, dashboard: Open) -> None:
    fill_many(redis7)
    async with dashboard(redis7.url) as screen:
        browse = await scanned(screen)
        browser = screen.live.browser
        assert browser.measure() and browser.hold()
        await screen.shows("paused", "#keys-pane")
        assert browse.measures is not None and browse.measures.known < MANY
        assert not browser.hold()
        await screen.until(lambda: browse.measuring is None)
        assert browse.measures.known == MANY
        assert browser.measure() and browser.hold()
        await screen.shows("paused", "#keys-pane")
        await screen.press("M")
        await screen.until(lambda: browse.measuring is None)
        assert browse.measures.known < MANY
        await screen.until(lambda: "measuring" not in screen.text("#keys-pane"))


async def test_use_is_asked_by_name_where_a_list_is_sorted_by_it(redis7: Server, dashboard: Open) -> None:
    fill_many(redis7)
    async with dashboard(redis7.url) as screen:
        browse = await scanned(screen)
        before = calls(redis7, "object|idletime")
        await screen.press("M")
        await screen.until(lambda: browse.measures is not None and browse.measuring is None)
        assert browse.measures is not None and not browse.measures.use_known
        pane = screen.app.query_one("#keys-pane", KeysPane)
        await screen.press("v", "s", "s", "s")
        await screen.until(lambda: pane.wanted.sorting == "idle")
        assert any("key by key" in str(notice.message) for notice in screen.app._notifications)
        await screen.press("M")
        await screen.until(lambda: browse.measures is not None and browse.measures.use_known)
        await screen.until(lambda: browse.measuring is None)
        assert browse.measures.known == MANY
        assert calls(redis7, "object|idletime") - before >= MANY


async def test_keys_that_went_and_came_do_not_disturb(redis7: Server, dashboard: Open) -> None:
    fill_many(redis7)
    async with dashboard(redis7.url) as screen:
        browse = await scanned(screen)
        with redis7.client() as client:
            client.delete("user:0", "user:4")
            client.mset({f"late:{at}": "x" for at in range(500)})
        await screen.press("M")
        await screen.until(lambda: browse.measures is not None and browse.measuring is None)
        measures = browse.measures
        assert measures is not None and measures.known == MANY == len(browse.index)
        assert measures.fact(browse.index.rank(b"user:0"), b"user:0").size_bytes is None
        users = measures.summary(*browse.index.span(b"user:"))
        assert users.keys == MANY // 4 - 2 == users.without_ttl


async def test_a_new_beginning_forgets_what_was_measured(redis7: Server, dashboard: Open) -> None:
    fill_many(redis7)
    async with dashboard(redis7.url) as screen:
        browse = await scanned(screen)
        await screen.press("M")
        await screen.until(lambda: browse.measures is not None and browse.measuring is None)
        measures = browse.measures
        assert measures is not None
        sink = MeasureSink(browse.index, measures)
        key = browse.index.key(5)
        sink.add_facts([key, key], ["string", "string"], [-1, -1], [70, 70])
        sink.clear()
        sink.finish(whole=False)
        assert measures.known == 0 and measures.fact(5, key).size_bytes is None
        sink.add_facts([key, b"nobody", key], ["string"] * 3, [-1, None, -1], [70, 70, 71])
        sink.finish(whole=False)
        assert measures.known == 1 and measures.fact(5, key).size_bytes == 71
