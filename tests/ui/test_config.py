"""The Config view: every setting, drift, and a new value from its press to its end on every node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import Input

from cachetui.config import Settings
from cachetui.ui.panes.config import ConfigPane
from cachetui.ui.screens.dialog import Choice, Prompt
from tests.contract.redis_targets import until
from tests.servers.launch import Server
from tests.servers.test_actions_nodes import is_followed, setting
from tests.ui.conftest import Open, Screen
from tests.ui.test_acting import preview


async def config(screen: Screen, words: str = "maxmemory-policy") -> ConfigPane:
    await screen.press("0")
    pane = screen.app.query_one("#config-pane", ConfigPane)
    await screen.until(lambda: pane.table.rows)
    assert pane.table.select(words) or not words
    return pane


async def write(screen: Screen, *presses: str) -> None:
    """Replace what the prompt holds by what is typed."""
    await screen.until(lambda: isinstance(screen.app.screen, Prompt))
    screen.app.screen.query_one(Input).value = ""
    await screen.press(*presses, "enter")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_every_setting_is_listed_and_filtered(redis_like: Server, dashboard: Open, size: tuple[int, int]) -> None:
    async with dashboard(redis_like.url, size=size) as screen:
        pane = await config(screen, "maxmemory")
        assert len(pane.table.rows) > 100 and "settings" in str(pane.border_title)
        await screen.press("slash", *"lazyfree", "enter")
        await screen.shows("lazyfree-lazy-eviction", "#config-pane")
        assert "maxmemory " not in screen.text("#config-pane")
        assert "0 Config" in screen.text("#views")


async def test_the_settings_are_read_only_while_they_are_looked_at(redis7: Server, dashboard: Open) -> None:
    async with dashboard(redis7.url) as screen:
        await screen.shows("live", "#state")
        assert screen.live.config.latest is None
        await config(screen)
        redis7.command("CONFIG", "SET", "hz", "33")
        try:
            await screen.press("r")
            await screen.until(lambda: screen.live.config.latest.here.values["hz"] == "33")  # type: ignore[union-attr]
            await screen.press("1")
            seen = screen.live.config.latest
            redis7.command("CONFIG", "SET", "hz", "44")
            await screen.press("r")
            await screen.until(lambda: screen.live.config._task is None or screen.live.config._task.done())
            assert screen.live.config.latest is seen
        finally:
            redis7.command("CONFIG", "SET", "hz", "10")


@pytest.mark.parametrize("press", ["e", "enter", "ctrl+e"])
async def test_a_setting_is_set_from_its_press_on(
    new_server: Callable[..., Server], dashboard: Open, press: str
) -> None:
    server = new_server("valkey9")
    async with dashboard(server.url, size=(80, 24)) as screen:
        await config(screen, "hz")
        await screen.press(press)
        await screen.until(lambda: isinstance(screen.app.screen, Prompt))
        assert screen.app.screen.query_one(Input).value == "10"
        await screen.press("backspace", "backspace", "4", "2", "enter")
        words = await preview(screen)
        assert "CONFIG SET hz 42" in words and "undo     CONFIG SET hz 10" in words
        assert setting(server, "hz") == "10"
        await screen.press("y")
        await screen.until(lambda: "1 done" in screen.dialog())
        assert setting(server, "hz") == "42"
        await screen.press("escape")
        await screen.until(lambda: "42" in screen.text("#config-pane"))


async def test_drift_is_marked_and_ended_on_both_nodes(new_server: Callable[..., Server], dashboard: Open) -> None:
    primary = new_server("redis7")
    replica = new_server("redis7", "--replicaof", "127.0.0.1", str(primary.port))
    await until(lambda: is_followed(primary))
    replica.command("CONFIG", "SET", "maxmemory-samples", "9")
    async with dashboard(primary.url) as screen:
        pane = await config(screen, "maxmemory-samples")
        await screen.shows("5 (1), 9 (1)", "#config-pane")
        assert "! 1 differ" in str(pane.border_title) and pane.table.rows[0].row_id == "maxmemory-samples"
        await screen.shows(f"{replica.address} replica 9", "#config-pane")
        await screen.press("e")
        await write(screen, "7")
        await screen.until(lambda: isinstance(screen.app.screen, Choice))
        await screen.press("enter")
        words = await preview(screen)
        assert f"{replica.address} (replica): 9 now" in words
        await screen.press("y")
        await screen.until(lambda: "2 done" in screen.dialog())
        await screen.press("escape")
        await screen.until(lambda: "no drift" in str(pane.border_title))
    assert setting(primary, "maxmemory-samples") == setting(replica, "maxmemory-samples") == "7"


async def test_maxmemory_and_policy_ask_their_own_questions(redis7: Server, dashboard: Open) -> None:
    async with dashboard(redis7.url) as screen:
        pane = await config(screen)
        await screen.press("e")
        await screen.until(lambda: isinstance(screen.app.screen, Choice))
        await screen.press("escape")
        await screen.until(lambda: not isinstance(screen.app.screen, Choice))
        pane.table.select("maxmemory")
        await screen.press("e")
        await screen.until(lambda: isinstance(screen.app.screen, Prompt))
        assert "512mb, 4gb" in screen.dialog()


async def test_secrets_are_neither_shown_nor_set(new_server: Callable[..., Server], dashboard: Open) -> None:
    server = new_server("redis7", "--masterauth", "hunter2")
    async with dashboard(server.url) as screen:
        pane = await config(screen, "masterauth")
        assert pane.table.current is not None and pane.table.current.cells[1][0] == "***"
        await screen.press("e")
        await screen.until(lambda: any("is a secret" in note.message for note in screen.app._notifications))
        assert "hunter2" not in screen.text()


async def test_a_rewrite_is_its_own_action(
    new_server: Callable[..., Server], redis7: Server, dashboard: Open, tmp_path: Path
) -> None:
    file = tmp_path / "redis.conf"
    file.write_text("")
    server = new_server("redis7")
    server.stop()
    server.argv.insert(1, str(file))
    server.start()
    server.command("CONFIG", "SET", "hz", "55")
    async with dashboard(server.url) as screen:
        await config(screen)
        await screen.press("w")
        assert "every setting changed at runtime" in await preview(screen)
        await screen.press("y")
        await screen.until(lambda: "1 done" in screen.dialog())
    assert "hz 55" in file.read_text()
    async with dashboard(redis7.url) as screen:
        await config(screen)
        await screen.press("w")
        await screen.until(lambda: any("nothing to write to" in note.message for note in screen.app._notifications))


async def test_memcached_shows_its_settings_and_says_what_is_fixed(
    new_server: Callable[..., Server], dashboard: Open
) -> None:
    server = new_server("memcached")
    async with dashboard(f"memcached://{server.address}") as screen:
        pane = await config(screen, "maxconns")
        await screen.press("e")
        told = "memcached fixes maxconns when it starts"
        await screen.until(lambda: any(told in note.message for note in screen.app._notifications))
        pane.table.select("slab_automove")
        await screen.press("e")
        await write(screen, "0")
        assert "slabs automove 0" in await preview(screen)
        await screen.press("y")
        await screen.until(lambda: "1 done" in screen.dialog())


async def test_without_permission_the_pane_says_so(new_server: Callable[..., Server], dashboard: Open) -> None:
    server = new_server("redis7")
    server.command("ACL", "SETUSER", "guest", "on", ">pw", "~*", "+@all", "-config")
    async with dashboard(f"redis://guest:pw@{server.address}") as screen:
        await screen.press("0")
        await screen.shows("CONFIG GET: not permitted", "#config-pane")


async def test_read_only_lists_and_refuses(redis7: Server, dashboard: Open) -> None:
    settings = Settings(read_only=True, read_only_reason="--read-only")
    async with dashboard(redis7.url, settings=settings) as screen:
        await config(screen, "hz")
        await screen.press("e", "w")
        told = " ".join(note.message for note in screen.app._notifications)
        assert told.count("read-only (--read-only)") >= 2
