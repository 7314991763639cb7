"""What is refused is said before anybody tries; what was allowed for a while ends by itself; nothing goes unseen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cachetui.actions.plan import base
from cachetui.config import Settings, state_dir
from cachetui.ui import live
from cachetui.ui.commands import BY_ID
from cachetui.ui.screens.dialog import Choice, Help
from cachetui.ui.screens.form import Form, Picker
from cachetui.ui.screens.preview import Preview
from tests.servers.launch import Server
from tests.ui.conftest import Open
from tests.ui.test_acting import keys, preview
from tests.ui.test_invalidate import choose, fill_form
from tests.ui.test_views import fill

ARMABLE = Settings(read_only=True, read_only_reason="profile prod", armable=True)


async def test_armed_writes_end_with_the_same_press(redis7: Server, dashboard: Open) -> None:
    async with dashboard(redis7.url, settings=ARMABLE) as screen:
        await screen.shows("read-only", "#state")
        await screen.press("W")
        await screen.shows("ARMED 5m", "#state")
        await screen.press("W")
        await screen.shows("read-only", "#state")
        assert "profile prod" in screen.app.why_not(BY_ID["invalidate"])


async def test_armed_writes_end_by_themselves_under_an_open_preview(
    redis7: Server, dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(redis7)
    before = redis7.command("DEBUG", "DIGEST")
    async with dashboard(redis7.url, settings=ARMABLE) as screen:
        pane = await keys(screen)
        assert pane.table.select(("prefix", b"user:"))
        await screen.press("W", "d")
        await preview(screen)
        monkeypatch.setattr(live, "ARMED_S", 0.0)
        screen.live.arm()
        await screen.press("y")
        await screen.until(lambda: "read-only" in screen.dialog())
    assert redis7.command("DEBUG", "DIGEST") == before
    assert not (state_dir() / "journal.jsonl").exists()


async def test_the_header_shows_the_end_without_any_answer_of_the_server(
    redis7: Server, dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "ARMED_S", 0.5)
    async with dashboard(redis7.url, settings=ARMABLE) as screen:
        await screen.shows("read-only", "#state")
        await screen.press("f", "W")  # frozen: nothing is polled and nothing else draws
        await screen.shows("ARMED", "#state")
        await screen.shows("read-only", "#state")


async def test_a_replica_is_named_before_anything_is_asked(new_server: Callable[..., Server], dashboard: Open) -> None:
    primary = new_server("redis7")
    fill(primary)
    replica = new_server("redis7", "--replicaof", "127.0.0.1", str(primary.port))
    async with dashboard(replica.url) as screen:
        await screen.shows("replica", "#who")
        pane = await keys(screen)
        assert pane.table.select(("prefix", b"user:"))
        await screen.press("d", "i", "t", "e")
        told = [note.message for note in screen.app._notifications]
        assert sum("this server is a replica and takes no writes" in words for words in told) == 4
        assert not screen.app.why_not(BY_ID["maxmemory"])
        await screen.press("question_mark")
        await screen.until(lambda: isinstance(screen.app.screen, Help))
        assert "(not now: this server is a replica" in screen.dialog()


async def test_an_expired_plan_is_made_again(redis7: Server, dashboard: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        assert pane.table.select(("prefix", b"user:"))
        monkeypatch.setattr(base, "VALID_S", 0.2)
        await screen.press("d")
        await preview(screen)
        await screen.until(lambda: "the plan has expired" in screen.dialog())
        await screen.press("y")
        assert "the plan has expired" in screen.dialog()
        monkeypatch.undo()
        redis7.command("SET", "user:new", "1")
        await screen.press("r")
        await screen.until(lambda: "Delete 51 keys" in screen.dialog())
        await screen.press("y")
        await screen.until(lambda: "51 done" in screen.dialog())


@pytest.mark.parametrize(
    ("way", "given", "said"),
    [
        ("pattern", {"which": "user:*"}, "Delete 50 keys"),
        ("pattern", {"which": "/./"}, "this is the whole database"),
        ("tag", {"tag": "red"}, "the members of the tag tag:red"),
        ("version", {"key": "shop:version"}, "INCR shop:version"),
        ("expire", {"which": "user:*", "ttl": "1h", "jitter": ""}, "all of them together"),
        ("expire", {"which": "user:*", "ttl": "never"}, "PERSIST user:"),
    ],
)
async def test_a_plan_that_is_only_looked_at_changes_nothing(
    redis7: Server, dashboard: Open, way: str, given: dict[str, str], said: str
) -> None:
    fill(redis7)
    redis7.command("SADD", "tag:red", "user:1", "user:2")
    redis7.command("SET", "shop:version", "7")
    before = redis7.command("DEBUG", "DIGEST")
    async with dashboard(redis7.url, size=(80, 24)) as screen:
        await screen.shows("live", "#state")
        await choose(screen, way)
        await fill_form(screen, **given)
        assert said in await preview(screen)
        await screen.press("escape")
        await screen.until(lambda: not isinstance(screen.app.screen, Preview))
    assert redis7.command("DEBUG", "DIGEST") == before
    assert not (state_dir() / "journal.jsonl").exists()


async def test_everything_needs_the_typed_name_and_without_copies_it_says_so(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await screen.shows("live", "#state")
        await choose(screen, "pattern")
        await screen.until(lambda: isinstance(screen.app.screen, Form))
        await screen.press("shift+tab")
        picker = screen.app.screen.query_one("#undo", Picker)
        assert picker.has_focus
        await screen.press("space")
        assert picker.value.startswith("not kept")
        await fill_form(screen, which="*")
        words = await preview(screen)
        assert f"type {redis7.address}/0" in words and "no undo: the values are not kept" in words
        await screen.press(*f"{redis7.address}/0", "enter")
        await screen.until(lambda: "55 done" in screen.dialog())
        assert "u undoes it" not in screen.dialog()
    assert redis7.command("DBSIZE") == 0


async def test_tab_moves_in_a_form_and_not_behind_it(redis7: Server, dashboard: Open) -> None:
    async with dashboard(redis7.url) as screen:
        await screen.shows("live", "#state")
        front = screen.app.pane
        await choose(screen, "pattern")
        await screen.until(lambda: isinstance(screen.app.screen, Form))
        assert screen.app.focused is not None and screen.app.focused.id == "which"
        await screen.press("tab")
        assert screen.app.focused is not None and screen.app.focused.id == "type"
        await screen.press("escape")
        await screen.until(lambda: not isinstance(screen.app.screen, Form))
        assert screen.app.pane is front


async def test_what_cannot_be_chosen_says_why(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await screen.shows("live", "#state")
        await screen.press("i")
        await screen.until(lambda: isinstance(screen.app.screen, Choice))
        await screen.press("1")
        assert "no key is marked or selected" in screen.dialog()
        await screen.press("escape")
        pane = await keys(screen)
        assert pane.table.select(("key", b"tags"))
        await screen.press("i", "1")
        assert "Delete 1 key by name" in await preview(screen)


async def test_the_footer_shows_what_acts_and_the_help_on_the_narrowest_screen(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url, size=(80, 24)) as screen:
        await keys(screen)
        await screen.shows("d delete", "#footer")
        shown = screen.text("#footer")
        assert "i invalidate" in shown and "? help" in shown
        await screen.press("9")
        await screen.shows("u undo", "#footer")
        assert "? help" in screen.text("#footer")
