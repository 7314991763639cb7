"""The key browser on real servers: listing, filtering, marking, measuring, reading on, choosing decoders, exporting."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from cachetui.config import state_dir
from cachetui.ui.panes.keys import KeysPane
from cachetui.ui.screens.dialog import Choice, Prompt
from cachetui.ui.screens.preview import Preview
from tests.servers.launch import Server
from tests.ui.conftest import Open, Screen
from tests.ui.test_views import fill


async def keys(screen: Screen) -> KeysPane:
    await screen.press("2")
    await screen.shows("user:", "#keys-pane")
    return screen.app.query_one("#keys-pane", KeysPane)


async def typed(screen: Screen, words: str) -> None:
    """Type into the prompt that opens, and confirm."""
    await screen.until(lambda: isinstance(screen.app.screen, Prompt))
    await screen.press(*words)
    await screen.press("enter")


async def chosen(screen: Screen, name: str) -> None:
    """Choose an option by its name."""
    from textual.widgets import OptionList

    await screen.until(lambda: isinstance(screen.app.screen, Choice))
    options = screen.app.screen.query_one(OptionList)
    names = [str(options.get_option_at_index(at).prompt).split("  ")[0].strip() for at in range(options.option_count)]
    options.highlighted = names.index(name)
    await screen.press("enter")


async def test_every_kind_of_filter(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        for words, rows in (("user:4", 11), ("USER", 0), ("*:mail", 1), ("/^user:\\d$/", 10), ("~usr49", 1)):
            pane.find(words)
            await screen.until(lambda rows=rows: len(pane.table) == rows)
            assert f"({rows} row" in screen.text("#keys-pane")
        pane.find("/(/")
        await screen.shows("not a regular expression", "#keys-pane")
        await screen.press("escape")
        await screen.until(lambda: len(pane.table) == 6)


async def test_marks_ranges_and_inversion(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        pane.find("user:4")
        await screen.until(lambda: len(pane.table) == 11)
        await screen.press("space", "j", "j", "V")
        assert pane.marked() == [b"user:4", b"user:40", b"user:41", b"user:42"]
        await screen.press("asterisk")
        assert len(pane.marked()) == 7 and b"user:4" not in pane.marked()
        await screen.press("A")
        assert len(pane.marked()) == 11
        await screen.press("U")
        assert pane.marked() == []
        await screen.press("escape")
        assert pane.table.select(("prefix", b"user:"))
        await screen.press("space")
        assert len(pane.marked()) == 50


async def test_the_place_and_the_marks_stay_while_keys_come_and_go(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        await screen.press("v")
        assert pane.table.select(("key", b"user:30"))
        await screen.press("space")
        redis7.command("SET", "aaa", "first")
        redis7.command("DEL", "user:10")
        await screen.press("r")
        await screen.until(lambda: pane.table.place("key", b"aaa") == 0)
        assert pane.selected() == ("key", b"user:31") and pane.marked() == [b"user:30"]


async def test_prefixes_show_their_memory_and_share_with_a_ttl(redis7: Server, dashboard: Open) -> None:
    with redis7.client() as client:
        for at in range(40):
            client.set(f"user:{at}", "x" * 100, ex=600 if at % 2 else None)
    async with dashboard(redis7.url, size=(160, 40)) as screen:
        pane = await keys(screen)
        await screen.shows("~", "#keys-pane")
        await screen.press("M")
        await screen.until(lambda: screen.live.browser.state.measuring is None)
        await screen.shows(" 50%", "#keys-pane")
        assert "~" not in screen.text("#keys-pane")
        redis7.command("SET", "user:7", "y" * 5000)
        await screen.press("M")
        await screen.press("v", "s")
        await screen.until(lambda: pane.selected() is not None and pane.wanted.sorting == "size")
        await screen.until(lambda: pane.table.listing is not None and pane.table.listing.entry(0).name == b"user:7")


async def test_the_server_chooses(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        await screen.press("K")
        await chosen(screen, "only a type")
        await typed(screen, "zset")
        await screen.shows("type zset, chosen by the server", "#keys-pane")
        await screen.until(lambda: len(pane.table) == 1)
        await screen.press("K")
        await chosen(screen, "all keys")
        await screen.until(lambda: len(pane.table) == 6)


async def test_other_separators(redis7: Server, dashboard: Open) -> None:
    with redis7.client() as client:
        client.mset({"user:1": 1, "a/b/1": 1, "a/b/2": 1})
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        await screen.press("comma")
        await screen.until(lambda: isinstance(screen.app.screen, Prompt))
        await screen.press("slash", "enter")
        await screen.until(lambda: pane.table.place("prefix", b"a/") is not None)
        assert pane.table.place("prefix", b"user:") is not None


async def test_a_big_value_is_read_on(redis_like: Server, dashboard: Open) -> None:
    fill(redis_like)
    redis_like.command("RPUSH", "long", *(f"element-{at}" for at in range(250)))
    async with dashboard(redis_like.url) as screen:
        pane = await keys(screen)
        assert pane.table.select(("key", b"long"))
        await screen.press("enter")
        await screen.shows("element-0", "#keys-pane")
        await screen.press("right_square_bracket")
        await screen.shows("element-100", "#keys-pane")
        await screen.press("right_square_bracket")
        await screen.shows("window 3: the last", "#keys-pane")
        await screen.press("left_square_bracket", "left_square_bracket")
        await screen.shows("element-0", "#keys-pane")
        await screen.press("tab", "j", "j", "j", "enter")
        await screen.shows("Esc goes back", "#keys-pane")
        assert screen.live.browser.state.opened == b"long"
        await screen.press("escape", "escape")
        await screen.until(lambda: screen.live.browser.state.opened is None)


async def test_a_decoder_is_chosen_and_remembered(redis7: Server, dashboard: Open) -> None:
    with redis7.client() as client:
        client.mset({"user:1": '{"name": "Ada"}', "user:2": '{"name": "Bo"}'})
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        await screen.press("v", "enter")
        await screen.shows('"name": "Ada"', "#keys-pane")
        await screen.press("a")
        await chosen(screen, "hex")
        await screen.shows("7b 22 6e", "#keys-pane")
        assert pane.table.select(("key", b"user:2"))
        await screen.press("enter")
        await screen.shows("7b 22 6e", "#keys-pane")
    assert json.loads((state_dir() / "decoders.json").read_text())["choices"] == [{"prefix": "user:", "decoder": "hex"}]
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        await screen.press("v", "enter")
        await screen.shows("7b 22 6e", "#keys-pane")


async def test_keys_are_exported(redis7: Server, dashboard: Open, tmp_path: Path) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        assert pane.table.select(("prefix", b"user:"))
        await screen.press("E")
        await typed(screen, str(tmp_path / "out.jsonl"))
        await screen.until(lambda: (tmp_path / "out.jsonl").exists() and len(list(lines(tmp_path))) == 50)
    assert {line["key"] for line in lines(tmp_path)} == {f"user:{at}" for at in range(50)}


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines() if line.endswith("}")]


async def test_recent_keys(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await keys(screen)
        for name in ("tags", "board"):
            await screen.press("o")
            await typed(screen, name)
            await screen.until(lambda name=name: screen.live.browser.state.opened == name.encode())
        await screen.press("H")
        await chosen(screen, "tags")
        await screen.until(lambda: screen.live.browser.state.opened == b"tags")


async def test_a_part_says_that_it_is_one(new_server: Callable[..., Server], dashboard: Open) -> None:
    server = new_server("redis7", "--enable-debug-command", "yes")
    server.command("DEBUG", "POPULATE", "200000", "user")
    async with dashboard(server.url) as screen:
        pane = await keys(screen)
        screen.live.browser.stop()
        await screen.until(lambda: screen.live.browser.state.scanned_at is not None)
        await screen.until(lambda: len(pane.table) > 0)
        if screen.live.browser.state.stopped:
            await screen.shows("the scan was stopped", "#keys-pane")
        await screen.press("r")
        await screen.until(lambda: screen.live.browser.state.index.total == 200_000)
        await screen.shows("200k", "#keys-pane")


async def applied(screen: Screen) -> str:
    """Confirm the preview that opens; return its words and leave it."""
    await screen.until(lambda: isinstance(screen.app.screen, Preview))
    await screen.pilot.pause()
    words = screen.dialog()
    await screen.press("y")
    await screen.until(lambda: " done" in screen.dialog() or "nothing" in screen.dialog().lower())
    await screen.press("escape")
    await screen.until(lambda: not isinstance(screen.app.screen, Preview))
    return words


async def test_a_value_is_edited_in_place_and_keeps_its_ttl(redis_like: Server, dashboard: Open) -> None:
    fill(redis_like)
    redis_like.command("SET", "user:1", "before", "EX", "1000")
    async with dashboard(redis_like.url) as screen:
        await keys(screen)
        await screen.press("o")
        await typed(screen, "user:1")
        await screen.shows("before", "#keys-pane")
        await screen.press("e")
        await chosen(screen, "here")
        await screen.until(lambda: isinstance(screen.app.screen, Prompt))
        await screen.press("!")
        await screen.press("enter")
        words = await applied(screen)
        assert "before!" in words
        await screen.shows("before!", "#keys-pane")
    assert redis_like.command("GET", "user:1") == b"before!"
    assert 900 < redis_like.command("TTL", "user:1") <= 1000  # type: ignore[operator]


async def test_what_somebody_else_wrote_meanwhile_is_not_overwritten(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await keys(screen)
        await screen.press("o")
        await typed(screen, "user:1")
        await screen.until(lambda: screen.live.browser.state.value is not None)
        await screen.press("e")
        await chosen(screen, "here")
        await screen.until(lambda: isinstance(screen.app.screen, Prompt))
        await screen.press("x", "enter")
        await screen.until(lambda: isinstance(screen.app.screen, Preview))
        redis7.command("SET", "user:1", "theirs")
        await screen.press("y")
        await screen.until(lambda: "changed" in screen.dialog())
        await screen.press("escape")
    assert redis7.command("GET", "user:1") == b"theirs"


async def test_elements_are_edited_added_and_removed(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    redis7.command("HSET", "h", "f", "1", "g", "2")
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        assert pane.table.select(("key", b"h"))
        await screen.press("enter")
        await screen.shows("field", "#keys-pane")
        await screen.press("tab", "j")
        item = pane.value.item(screen.live.browser.state.value)
        assert item is not None
        await screen.press("e")
        await chosen(screen, "here")
        await typed(screen, "9")
        await applied(screen)
        assert redis7.command("HGET", "h", item.label) == item.data + b"9"
        await screen.press("n")
        await typed(screen, "new=7")
        await applied(screen)
        assert redis7.command("HGET", "h", "new") == b"7"
        await screen.until(lambda: len(screen.live.browser.state.value.items) == 3)  # type: ignore[union-attr]
        item = pane.value.item(screen.live.browser.state.value)
        assert item is not None
        await screen.press("d")
        await applied(screen)
        assert redis7.command("HEXISTS", "h", item.label) == 0 and redis7.command("HLEN", "h") == 2


async def test_keys_are_made_renamed_copied_and_loaded(redis7: Server, dashboard: Open, tmp_path: Path) -> None:
    fill(redis7)
    (tmp_path / "keys.redis").write_text('SET loaded "a b"\nSET tags other\nRPUSH queue:new 1 2\n')
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        await screen.press("n")
        await typed(screen, "made")
        await chosen(screen, "zset")
        await typed(screen, "1=a 2=b")
        await applied(screen)
        assert redis7.command("ZSCORE", "made", "b") == 2.0
        await screen.press("r")
        await screen.until(lambda: pane.table.place("key", b"made") is not None)
        assert pane.table.select(("key", b"made"))
        await screen.press("C")
        await typed(screen, "2")
        await applied(screen)
        assert redis7.command("ZCARD", "made2") == 2
        await screen.press("R")
        await typed(screen, "3")
        await applied(screen)
        assert redis7.command("EXISTS", "made", "made3") == 1
        await screen.press("L")
        await typed(screen, str(tmp_path / "keys.redis"))
        words = await applied(screen)
        assert "skipped: 1 key" in words
    assert redis7.command("GET", "loaded") == b"a b" and redis7.command("LLEN", "queue:new") == 2
    assert redis7.command("TYPE", "tags") == b"set"


async def test_the_editor_is_started_and_what_it_wrote_is_planned(
    redis7: Server, dashboard: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(redis7)
    redis7.command("SET", "user:1", "one\ntwo")
    script = tmp_path / "ed"
    script.write_text("#!/bin/sh\nprintf 'one\\nthree\\n' > \"$1\"\n")
    script.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(script))
    monkeypatch.setattr("textual.app.App.suspend", lambda app: nullcontext())
    async with dashboard(redis7.url) as screen:
        await keys(screen)
        await screen.press("o")
        await typed(screen, "user:1")
        await screen.until(lambda: screen.live.browser.state.value is not None)
        await screen.press("e")
        await applied(screen)
    assert redis7.command("GET", "user:1") == b"one\nthree"
