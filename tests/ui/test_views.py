"""Each view shows what a real server says, at every size, and comes back by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cachetui.config import Settings
from cachetui.ui.commands import COMMANDS, VIEWS
from cachetui.ui.panes.keys import KeysPane
from cachetui.ui.views import Overview
from tests.servers.launch import Server
from tests.ui.conftest import Open


def fill(server: Server) -> None:
    with server.client() as client:
        client.mset({f"user:{n}": f"value {n}" for n in range(50)})
        client.hset("session:1", mapping={"name": "Ada", "city": "Zürich"})
        client.expire("session:1", 3600)
        client.rpush("queue:mail", "one", "two")
        client.sadd("tags", "red", "green")
        client.zadd("board", {"ada": 10, "bob": 5})
        client.xadd("events", {"kind": "login"})


async def test_the_overview_answers_at_once(redis_like: Server, dashboard: Open) -> None:
    fill(redis_like)
    async with dashboard(redis_like.url) as screen:
        await screen.shows("user:", "#overview-keys")
        await screen.shows("primary", "#overview-topology")
        await screen.shows("live", "#state")
        assert "primary" in screen.text("#who")
        assert "hit rate" in screen.text("StatsPane")
        await screen.shows("ok", "#verdict")


async def test_memcached_has_the_same_views(memcached: Server, dashboard: Open) -> None:
    with_client = __import__("pymemcache.client.base", fromlist=["Client"]).Client
    client = with_client(("127.0.0.1", memcached.port), default_noreply=False)
    for n in range(20):
        client.set(f"page:{n}", b"x" * 10)
    client.close()
    async with dashboard(f"memcached://{memcached.address}") as screen:
        await screen.shows("page:", "#overview-keys")
        await screen.shows("memcached", "#who")
        for row in VIEWS:
            await screen.press(row.press)
        await screen.press("3")
        await screen.shows("no slow log", "#slow-pane")
        await screen.press("p")
        assert "policy" in str([n.message for n in screen.app._notifications])


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 55), (250, 70), (10, 20), (20, 5)])
async def test_every_view_fits_every_size(redis7: Server, dashboard: Open, size: tuple[int, int]) -> None:
    fill(redis7)
    async with dashboard(redis7.url, size=size) as screen:
        for row in VIEWS:
            await screen.press(row.press)
            await screen.until(lambda row=row: screen.app.view_id == row.id)
        await screen.press("1")
        assert screen.app.is_running


async def test_a_resize_there_and_back_keeps_the_place(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await screen.press("2")
        await screen.shows("user:", "#keys-pane")
        await screen.press("v", "G")
        pane = screen.app.query_one("#keys-pane", KeysPane)
        before = pane.selected()
        for size in ((10, 20), (250, 70), (80, 24), (120, 40)):
            await screen.pilot.resize_terminal(*size)
            await screen.pilot.pause()
        assert pane.selected() == before is not None


async def test_the_grid_gives_way_to_one_pane_and_tab_goes_on(redis7: Server, dashboard: Open) -> None:
    async with dashboard(redis7.url, size=(80, 24)) as screen:
        view = screen.app.view
        assert isinstance(view, Overview)
        await screen.until(lambda: view.single)
        assert [pane.heading for pane in view.shown] == ["Stats"]
        await screen.press("tab")
        assert [pane.heading for pane in view.shown] == ["Keys"]
        await screen.press("shift+tab", "shift+tab")
        assert [pane.heading for pane in view.shown] == ["Topology"]


async def test_zoom_and_back(redis7: Server, dashboard: Open) -> None:
    async with dashboard(redis7.url) as screen:
        view = screen.app.view
        assert isinstance(view, Overview)
        await screen.press("tab", "z")
        assert view.single
        assert view.front.heading == "Keys"
        await screen.press("escape")
        assert not view.single


async def test_values_of_every_type_open(redis_like: Server, dashboard: Open) -> None:
    fill(redis_like)
    async with dashboard(redis_like.url) as screen:
        await screen.press("2")
        await screen.shows("events", "#keys-pane")
        await screen.press("v")
        pane = screen.app.query_one("#keys-pane", KeysPane)
        found = {b"board": "ada", b"events": "login", b"queue:mail": "two", b"session:1": "Zürich", b"tags": "green"}
        for key, words in found.items():
            assert pane.table.select(("key", key))
            await screen.press("enter")
            await screen.shows(words, "#keys-pane")


async def test_filter_sort_mark_and_copy(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await screen.press("2")
        await screen.shows("user:", "#keys-pane")
        pane = screen.app.query_one("#keys-pane", KeysPane)
        await screen.press("slash", *"user:4")
        await screen.until(lambda: len(pane.table) == 11)
        await screen.press("enter")
        assert pane.needle == "user:4"
        await screen.press("space", "space")
        assert pane.marked() == [b"user:4", b"user:40"]
        await screen.press("y")
        assert screen.app.clipboard == "user:41"
        await screen.press("s")
        await screen.press("escape")
        assert pane.needle == ""


async def test_a_key_is_opened_by_its_exact_name(redis7: Server, dashboard: Open) -> None:
    redis7.command("SET", b"odd\x1b\xff", "found it")
    async with dashboard(redis7.url) as screen:
        await screen.shows("live", "#state")
        await screen.press("o", *"odd", "backslash", *"x1b", "backslash", *"xff", "enter")
        await screen.shows("found it", "#keys-pane")
        await screen.press("o", *"not there", "enter")
        await screen.shows("gone", "#keys-pane")


async def test_freeze_keeps_the_picture(redis7: Server, dashboard: Open) -> None:
    async with dashboard(redis7.url) as screen:
        await screen.shows("live", "#state")
        await screen.press("f")
        await screen.shows("FROZEN", "#state")
        with redis7.client() as client:
            client.set("after", 1)
        await screen.press("f")
        await screen.shows("live", "#state")


async def test_help_and_palette_come_from_the_table(redis7: Server, dashboard: Open) -> None:
    async with dashboard(redis7.url) as screen:
        await screen.press("question_mark")
        words = screen.dialog()
        assert all(row.help in words for row in COMMANDS)
        await screen.press("escape", "colon", *"clients", "enter")
        await screen.until(lambda: screen.app.view_id == "clients")


async def test_the_app_outlives_a_killed_server_and_keeps_its_place(
    new_server: Callable[..., Server], dashboard: Open
) -> None:
    server = new_server("redis7")
    fill(server)
    async with dashboard(server.url) as screen:
        await screen.press("2")
        await screen.shows("user:", "#keys-pane")
        await screen.press("v", "j", "j", "j")
        pane = screen.app.query_one("#keys-pane", KeysPane)
        place = pane.selected()
        server.kill()
        await screen.shows("STALE since", "#state")
        assert "refused" in screen.text("#verdict") or "Refused" in screen.text("#verdict")
        assert pane.selected() == place
        server.start()
        fill(server)
        await screen.shows("live", "#state")
        assert pane.selected() == place


async def test_a_server_that_is_not_there_yet(
    redis7: Server, new_server: Callable[..., Server], dashboard: Open
) -> None:
    server = new_server("valkey9")
    server.stop()
    async with dashboard(server.url) as screen:
        await screen.shows("NO ANSWER", "#state")
        server.start()
        await screen.shows("live", "#state")
        await screen.shows("valkey", "#who")


async def test_a_user_without_info_still_browses(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    redis7.command(
        "ACL", "SETUSER", "shy", "on", ">pw", "~*", "+@all", "-info", "-config", "-slowlog", "-client", "-latency"
    )
    try:
        async with dashboard(f"redis://shy:pw@{redis7.address}") as screen:
            await screen.shows("user:", "#overview-keys")
            await screen.shows("not permitted", "StatsPane")
            await screen.press("3")
            await screen.shows("not permitted", "#slow-pane")
            await screen.press("5")
            await screen.shows("not permitted", "#clients-pane")
    finally:
        redis7.command("ACL", "DELUSER", "shy")


async def test_presses_can_be_changed_and_bad_changes_are_told(redis7: Server, dashboard: Open) -> None:
    settings = Settings(keymap={"freeze": "Z", "delete": "j", "nonsense": "x"})
    async with dashboard(redis7.url, settings=settings) as screen:
        await screen.shows("live", "#state")
        await screen.press("Z")
        await screen.shows("FROZEN", "#state")
        told = " ".join(note.message for note in screen.app._notifications)
        assert "nonsense" in told
        assert "delete" in told
