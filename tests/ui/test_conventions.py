"""Keys of the caching patterns are known by their names: what they are, and what `i` offers for them."""

from __future__ import annotations

import pytest
from textual.widgets import OptionList

from cachetui.ui.screens.dialog import Choice
from tests.servers.launch import Server
from tests.ui.conftest import Open


def fill(server: Server) -> None:
    with server.client() as client:
        client.sadd("tag:new", "page:1", "page:2")
        client.set("shop:version", 7)
        client.set("lock:{page:1}", "w:1234", px=60_000)
        client.xadd("behind:{stock:0}", {"key": "a"})
        client.xadd("behind:{stock:0}:dead", {"key": "a"})


@pytest.mark.parametrize(
    ("key", "says", "offered"),
    [
        ("tag:new", "tag new: i deletes its 2 members", "tag"),
        ("shop:version", "its keys are shop:7:*; i raises it", "version"),
        ("lock:{page:1}", "lock of page:1, held by a writer, for", "keys"),
        ("behind:{stock:0}", "write-behind queue stock:0: 1 updates", "keys"),
        ("behind:{stock:0}:dead", "dead letters of stock:0", "keys"),
    ],
)
async def test_a_key_says_what_it_is(redis7: Server, dashboard: Open, key: str, says: str, offered: str) -> None:
    fill(redis7)
    async with dashboard(redis7.url, size=(140, 40)) as screen:
        await screen.press("2")
        await screen.press("v")
        await screen.shows(key, "#keys-pane")
        pane = screen.app.pane
        await screen.until(lambda: pane.table.select(("key", key.encode())))  # type: ignore[attr-defined]
        await screen.press("enter")
        await screen.shows(says, "#keys-pane")
        await screen.press("escape")
        await screen.press("i")
        await screen.until(lambda: isinstance(screen.app.screen, Choice))
        await screen.pilot.pause()
        options = screen.app.screen.query_one(OptionList)
        assert options.highlighted is not None
        assert offered in str(options.get_option_at_index(options.highlighted).prompt).split()[:2]
