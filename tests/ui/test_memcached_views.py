"""Memcached's own views over real servers: slab classes, activity, items changed in place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.widgets import OptionList

from cachetui.ui.panes.activity import ActivityPane
from cachetui.ui.panes.keys import KeysPane
from cachetui.ui.panes.memory import MemoryPane
from cachetui.ui.screens.dialog import Choice, Prompt
from tests.contract.memcached_targets import Plain
from tests.servers.launch import Server
from tests.ui.conftest import Open
from tests.ui.test_acting import preview

SIZES = [(80, 24), (120, 40), (200, 55)]


def crowded(new_server: Callable[..., Server]) -> Server:
    """Start a server whose small items have gone and whose large ones evict each other."""
    server = new_server("memcached", "-m", "8", "-o", "slab_reassign,no_slab_automove")
    with Plain(server) as plain:
        plain.fill((b"small:%d" % at for at in range(50_000)), b"x" * 60)
        for at in range(50_000):
            plain.link.sendall(b"delete small:%d noreply\r\n" % at)
        assert plain.say(b"mn") == b"MN"
        plain.fill((b"big:%d" % at for at in range(2000)), b"x" * 9000)
    return server


@pytest.mark.parametrize("size", SIZES)
async def test_slab_classes_tell_who_evicts_and_what_would_help(
    new_server: Callable[..., Server], dashboard: Open, size: tuple[int, int]
) -> None:
    server = crowded(new_server)
    async with dashboard(f"memcached://{server.address}", size=size) as screen:
        await screen.press("6")
        pane = screen.app.query_one("#memory-pane", MemoryPane)
        await screen.until(lambda: len(pane.table.rows) >= 2)
        with Plain(server) as plain:
            plain.fill((b"more:%d" % at for at in range(500)), b"x" * 9000)
        await screen.shows("never fetched", "#memory-pane")
        words = screen.text("#memory-pane")
        assert "class   chunk" in words and "unread" in words and "slabs reassign" in words.replace("\n", " ")
        assert ("HOT" in words) is (size[0] >= 120)
        starving = max((row for row in pane.table.rows), key=lambda row: int(str(row.order[7] or 0)))
        assert pane.table.select(starving.row_id)
        await screen.press("T")
        await screen.until(lambda: isinstance(screen.app.screen, Choice))
        assert "a page of memory for class" in screen.dialog()
        assert screen.app.screen.query_one(OptionList).option_count >= 2
        await screen.press("enter")
        words = await preview(screen)
        assert "slabs reassign" in words and "move one page of memory" in words
        await screen.press("escape")


@pytest.mark.parametrize("size", SIZES)
async def test_activity_names_the_hottest_item(memcached: Server, dashboard: Open, size: tuple[int, int]) -> None:
    with Plain(memcached) as plain:
        plain.fill([b"hot", b"cold"])
        async with dashboard(f"memcached://{memcached.address}", size=size) as screen:
            await screen.press("7")
            pane = screen.app.query_one("#activity-pane", ActivityPane)
            await screen.until(lambda: screen.live.feeds.latest.get("slowlog"))
            for key in [b"hot"] * 40 + [b"cold", b"gone"]:
                plain.link.sendall(b"mg %b v q\r\n" % key)
            plain.say(b"mn")
            await screen.until(lambda: any(row.row_id == ("key", b"hot") for row in pane.table.rows))
            await screen.shows("live events", "#activity-pane")
            first = max(pane.table.rows, key=lambda row: int(str(row.order[1])))
            assert first.row_id == ("key", b"hot")


async def test_an_opened_number_is_counted_up(memcached: Server, dashboard: Open) -> None:
    with Plain(memcached) as plain:
        assert plain.say(b"set visits 0 0 2\r\n41") == b"STORED"
        async with dashboard(f"memcached://{memcached.address}") as screen:
            await screen.press("2")
            pane = screen.app.query_one("#keys-pane", KeysPane)
            await screen.until(lambda: pane.table.select(("key", b"visits")))
            await screen.press("enter")
            await screen.until(lambda: screen.live.browser.state.value is not None)
            if not pane.value.focused:
                await screen.press("tab")
            await screen.until(lambda: pane.value.focused)
            await screen.press("n")
            await screen.until(lambda: isinstance(screen.app.screen, Choice))
            await screen.press("down", "down", "enter")
            await screen.until(lambda: isinstance(screen.app.screen, Prompt))
            await screen.press("enter")
            words = await preview(screen)
            assert "incr visits 1" in words and "41 now, 42 then" in words
            await screen.press("y")
            await screen.until(lambda: plain.say(b"mg visits s u").startswith(b"HD") and held(plain) == b"42")


def held(plain: Plain) -> bytes:
    """Return the value of `visits`."""
    plain.link.sendall(b"mg visits v u\r\n")
    assert plain.file.readline().startswith(b"VA ")
    return plain.file.readline().strip()
