"""On a slow link a list scrolls by most of a page, and pages are drawn as the link takes them."""

from __future__ import annotations

from cachetui.config import Settings
from cachetui.ui.panes.allowance import BURST_BYTES, BYTES_PER_S, Allowance
from cachetui.ui.panes.keys import KeysPane
from tests.servers.launch import Server
from tests.ui.conftest import Open


def test_what_was_spent_comes_back_with_time() -> None:
    now = 100.0
    allowance = Allowance(lambda: now)
    allowance.spend(BURST_BYTES / 2)
    assert allowance.wait_s() == 0
    allowance.spend(BURST_BYTES)
    wait_s = allowance.wait_s()
    assert wait_s == BURST_BYTES / 2 / BYTES_PER_S
    now += wait_s
    assert allowance.wait_s() < 1e-6
    now += 3600
    allowance.wait_s()
    allowance.spend(BURST_BYTES + BYTES_PER_S)
    assert abs(allowance.wait_s() - 1.0) < 1e-6  # more than a burst is never saved


async def test_a_slow_list_leaps_and_ends_where_the_cursor_is(redis7: Server, dashboard: Open) -> None:
    with redis7.client() as client:
        client.mset({f"user:{at:04}": "x" for at in range(900)})
    async with dashboard(redis7.url, settings=Settings(slow_link=True)) as screen:
        await screen.press("2")
        pane = screen.app.query_one("#keys-pane", KeysPane)
        await screen.press("v")
        await screen.until(lambda: len(pane.table) == 900)
        await screen.shows("> user:0000", "#keys-pane")
        offsets = []
        for _ in range(60):
            pane.move(1)
            offsets.append(pane.table.offset)
        assert pane.table.cursor == 60 and len(set(offsets)) <= 4
        await screen.shows("> user:0060", "#keys-pane")
        for _ in range(40):  # more than is drawn at once
            pane.move(pane.page)
        assert pane.table.cursor == min(899, 60 + 40 * pane.page)
        await screen.shows(f"> user:{pane.table.cursor:04}", "#keys-pane")
        pane.move_to(0)
        await screen.shows("> user:0000", "#keys-pane")
        pane.move_to(-1)
        await screen.shows("> user:0899", "#keys-pane")
