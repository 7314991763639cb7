"""The five invalidations and their way back on the screen: asked, counted, shown, applied, taken back."""

from __future__ import annotations

import re

from textual.widgets import Input

from cachetui.config import Settings
from cachetui.ui.panes.journal import JournalPane
from cachetui.ui.screens.dialog import Choice
from cachetui.ui.screens.form import Form
from cachetui.ui.screens.preview import Preview
from tests.servers.launch import Server
from tests.ui.conftest import Open, Screen
from tests.ui.test_acting import keys, preview
from tests.ui.test_views import fill


async def choose(screen: Screen, way: str) -> None:
    """Press `i` and choose one of the invalidations."""
    await screen.press("i")
    await screen.until(lambda: isinstance(screen.app.screen, Choice))
    choice = screen.app.screen
    assert isinstance(choice, Choice)
    names = [name for name, _ in choice._options]
    await screen.press(str(names.index(way) + 1))


async def fill_form(screen: Screen, **texts: str) -> None:
    await screen.until(lambda: isinstance(screen.app.screen, Form))
    for name, words in texts.items():
        screen.app.screen.query_one(f"#{name}", Input).value = words
    await screen.press("enter")


async def applied(screen: Screen, words: str) -> None:
    await screen.press("y")
    await screen.until(lambda: words in screen.dialog())


def meter(screen: Screen, label: str) -> int:
    """Return one of the figures of a plan that runs."""
    found = re.search(rf"{label} +([\d,]+)", screen.meter())
    return int(found[1].replace(",", "")) if found else 0


def many(server: Server, number: int) -> None:
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for at in range(number):
            pipe.set(f"user:{at}", "v")
        pipe.set("other", "stays")
        pipe.execute()


async def test_a_pattern_is_deleted_and_brought_back_from_the_same_dialog(redis_like: Server, dashboard: Open) -> None:
    fill(redis_like)
    with redis_like.client() as client:
        before = {key: client.dump(key) for key in client.keys("user:*")}
    async with dashboard(redis_like.url, size=(80, 24)) as screen:
        await keys(screen)
        await choose(screen, "pattern")
        await fill_form(screen, which="user:*", type="string")
        words = await preview(screen)
        assert "Delete 50 keys" in words and "cachetui undo" in words and "of the type string" in words
        await applied(screen, "50 done")
        assert "u undoes it" in screen.dialog()
        await screen.press("u")
        await screen.until(lambda: "bring back 50 keys" in screen.dialog())
        await applied(screen, "50 done")
    with redis_like.client() as client:
        assert {key: client.dump(key) for key in client.keys("user:*")} == before


async def test_a_regular_expression_with_a_rate(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await keys(screen)
        await choose(screen, "pattern")
        await fill_form(screen, which="/user:[0-4]$/", rate="500")
        assert "regular expression" in await preview(screen)
        await applied(screen, "5 done")
    assert redis7.command("EXISTS", "user:4", "user:5") == 1


async def test_what_cannot_be_is_said_in_the_form(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await keys(screen)
        await choose(screen, "pattern")
        for wrong, said in (
            ({"which": ""}, "write a glob"),
            ({"which": "/[/"}, "that cannot be"),
            ({"which": "a*", "idle": "long"}, "unused for"),
            ({"idle": "", "rate": "-1"}, "a whole number"),
        ):
            await fill_form(screen, **wrong)
            assert said in screen.dialog(), wrong
        await screen.press("escape")
        await screen.until(lambda: not isinstance(screen.app.screen, Form))


async def test_a_tag_and_its_members(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    redis7.command("SADD", "tag:red", "user:1", "user:2", "gone")
    async with dashboard(redis7.url) as screen:
        await keys(screen)
        await choose(screen, "tag")
        await fill_form(screen, tag="red")
        await preview(screen)
        await applied(screen, "3 done")
    assert redis7.command("EXISTS", "user:1", "user:2", "user:3", "tag:red") == 1


async def test_a_version_is_raised_and_taken_back(redis7: Server, dashboard: Open) -> None:
    redis7.command("MSET", "shop:version", "7", "shop:7:a", "x", "shop:7:b", "x")
    async with dashboard(redis7.url) as screen:
        await screen.shows("live", "#state")
        await choose(screen, "version")
        await fill_form(screen, key="shop:version")
        words = await preview(screen)
        assert "7 now, 8 afterwards" in words and "INCR shop:version" in words
        await applied(screen, "1 done")
        assert redis7.command("GET", "shop:version") == b"8"
        await screen.press("u")
        await screen.until(lambda: "put back" in screen.dialog())
        await applied(screen, "1 done")
    assert redis7.command("GET", "shop:version") == b"7"


async def test_keys_expire_soon_and_spread(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await keys(screen)
        await choose(screen, "expire")
        await fill_form(screen, which="user:*", ttl="10m", jitter="10m")
        assert "Expire 50 keys" in await preview(screen)
        await applied(screen, "50 done")
    with redis7.client() as client:
        left = [client.ttl(key) for key in client.keys("user:*")]
    assert min(left) > 590 and 700 < max(left) <= 1200


async def test_a_running_sweep_is_paused_slowed_and_stopped_with_exact_counts(redis7: Server, dashboard: Open) -> None:
    many(redis7, 5000)
    async with dashboard(redis7.url, size=(80, 24)) as screen:
        await keys(screen)
        await choose(screen, "pattern")
        await fill_form(screen, which="user:*", rate="1000")
        await preview(screen)
        await screen.press("y")
        await screen.until(lambda: meter(screen, "done") > 0)
        await screen.press("space")
        await screen.until(lambda: "paused: Space goes on" in screen.meter())
        await screen.press("minus")
        assert "500/s" in screen.meter()
        await screen.press("space")
        await screen.until(lambda: "paused" not in screen.meter())
        await screen.press("escape")
        await screen.until(lambda: "cancelled" in screen.dialog())
        words = screen.dialog()
        left = int(str(redis7.command("DBSIZE"))) - 1
        assert 0 < left < 5000
        assert f"{5000 - left:,} done" in words and f"{left:,} not sent" in words
        await screen.press("escape")
        await screen.press("9")
        await screen.shows("stopped", "#journal-pane")
        pane = screen.app.query_one("#journal-pane", JournalPane)
        assert pane.selected() is not None
        await screen.press("I")
        assert f"Delete {left:,} keys" in await preview(screen)
        await applied(screen, f"{left:,} done")
    assert redis7.command("DBSIZE") == 1


async def test_in_production_every_plan_asks_for_the_name(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url, settings=Settings(production=True)) as screen:
        pane = await keys(screen)
        await screen.press("v")
        assert pane.table.select(("key", b"user:3"))
        await screen.press("d")
        words = await preview(screen)
        assert f"type {redis7.address}/0" in words
        await screen.press("y", "enter")
        assert "that is not" in screen.dialog()
        assert redis7.command("EXISTS", "user:3") == 1
        await screen.press("backspace", *f"{redis7.address}/0", "enter")
        await screen.until(lambda: "1 done" in screen.dialog())


async def test_nothing_to_undo_is_said(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await screen.shows("live", "#state")
        await screen.press("u")
        await screen.until(lambda: any("can be undone" in note.message for note in screen.app._notifications))


async def test_escape_while_it_counts_or_asks_sends_nothing(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    before = redis7.command("DEBUG", "DIGEST")
    async with dashboard(redis7.url) as screen:
        await keys(screen)
        await choose(screen, "pattern")
        await fill_form(screen, which="user:*")
        await preview(screen)
        await screen.press("escape")
        await screen.until(lambda: not isinstance(screen.app.screen, Preview))
    assert redis7.command("DEBUG", "DIGEST") == before


async def test_memcached_has_its_own_choices(memcached: Server, dashboard: Open) -> None:
    async with dashboard(f"memcached://{memcached.address}") as screen:
        await screen.shows("live", "#state")
        await screen.press("i")
        await screen.until(lambda: isinstance(screen.app.screen, Choice))
        choice = screen.app.screen
        assert isinstance(choice, Choice)
        words = {name: choice._option(at) for at, (name, _) in enumerate(choice._options)}
        assert not words["pattern"].disabled and not words["expire"].disabled and not words["flush all"].disabled
        assert words["tag"].disabled and "Memcached has no sets" in str(words["tag"].prompt)
        assert words["version"].disabled and "incr KEY 1" in str(words["version"].prompt)


async def test_the_header_says_how_long_writes_are_armed(redis7: Server, dashboard: Open) -> None:
    settings = Settings(read_only=True, read_only_reason="profile prod", armable=True)
    async with dashboard(redis7.url, settings=settings) as screen:
        await screen.shows("read-only", "#state")
        await screen.press("W")
        await screen.shows("ARMED 5m", "#state")
