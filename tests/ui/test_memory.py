"""The Memory view: each section says what a real server has, and a change is compared with its forecast."""

from __future__ import annotations

import pytest

from cachetui.analysis.curve import Point
from cachetui.ui.remembering import Foreseen
from tests.servers.launch import Server
from tests.ui.conftest import Open
from tests.unit.evidence import redis_stats


def fill(server: Server) -> None:
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for at in range(3000):
            pipe.set(f"page:{at}", "x" * 300, ex=900)
            pipe.set(f"user:{at}", "y" * 50)
        pipe.execute()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_each_section(redis_like: Server, dashboard: Open, size: tuple[int, int]) -> None:
    fill(redis_like)
    async with dashboard(redis_like.url, size=size) as screen:
        await screen.press("6")
        await screen.shows("key tables", "#memory-pane")
        await screen.shows("dataset", "#memory-pane")
        await screen.press("b")
        await screen.shows("6,000 keys", "#memory-pane")
        await screen.shows("page:*", "#memory-pane")
        await screen.press("b")
        await screen.shows("allkeys-lru", "#memory-pane")
        await screen.shows("volatile-ttl", "#memory-pane")
        await screen.shows("page:*", "#memory-pane")
        await screen.press("b")
        await screen.shows("p, then predict", "#memory-pane")
        await screen.press("b")
        await screen.shows("key tables", "#memory-pane")


async def test_a_prefix_leads_to_its_keys(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url, size=(120, 40)) as screen:
        await screen.press("2")
        await screen.shows("page:", "#keys-pane")
        await screen.press("6")
        await screen.press("b")
        await screen.shows("page:*", "#memory-pane")
        await screen.press("enter")
        await screen.until(lambda: screen.app.view_id == "keys")
        await screen.shows("page:", "#keys-pane")


async def test_a_server_that_tells_no_account(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    with redis7.client() as client:
        client.execute_command("ACL SETUSER unaccounted on >p ~* &* +@all -memory")
        try:
            async with dashboard(f"redis://unaccounted:p@{redis7.address}") as screen:
                await screen.press("6")
                await screen.shows("MEMORY", "#memory-pane")
                await screen.shows("overhead", "#memory-pane")  # what INFO tells is there all the same
                await screen.press("b")
                await screen.shows("6,000 keys", "#memory-pane")
        finally:
            client.execute_command("ACL DELUSER unaccounted")


def test_a_forecast_beside_its_outcome() -> None:
    foreseen = Foreseen("Set the eviction policy to allkeys-lfu", Point(1, 0.9, 0.88, 0.92), 100.0, 1000, 100)
    told = "Set the eviction policy to allkeys-lfu: predicted 90.0 % (88.0 to 92.0)"
    assert foreseen.words(None, None) == told
    soon = redis_stats(hits_total=1050, misses_total=110, taken_at=110.0)
    assert foreseen.words(soon, None) == f"{told}; too few lookups yet to compare"
    later = redis_stats(hits_total=1900, misses_total=200, taken_at=225.0)
    assert foreseen.words(later, 91.25) == f"{told}; measured 90.0 % in the 2m00s since, 91.2 % in the last minute"
    assert "began anew" in foreseen.words(redis_stats(hits_total=1, misses_total=1, taken_at=300.0), None)
