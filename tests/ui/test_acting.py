"""Every write goes press, plan, preview, apply; Esc sends nothing; read-only refuses."""

from __future__ import annotations

from collections.abc import Callable

from cachetui.config import Settings, state_dir
from cachetui.ui.panes.clients import ClientsPane
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


async def preview(screen: Screen) -> str:
    await screen.until(lambda: isinstance(screen.app.screen, Preview))
    await screen.pilot.pause()
    return screen.dialog()


async def test_a_prefix_is_deleted_after_its_preview(redis_like: Server, dashboard: Open) -> None:
    fill(redis_like)
    async with dashboard(redis_like.url) as screen:
        pane = await keys(screen)
        assert pane.table.select(("prefix", b"user:"))
        await screen.press("d")
        words = await preview(screen)
        assert "50 keys" in words
        assert "UNLINK user:" in words
        assert "whose name matches the pattern user:*" in words and "cachetui undo" in words
        await screen.press("y")
        await screen.until(lambda: "50 done" in screen.dialog())
        await screen.press("escape")
        await screen.until(lambda: "user:" not in screen.text("#keys-pane"))
        assert redis_like.command("DBSIZE") == 5
        await screen.press("9")
        await screen.shows("done", "#journal-pane")
    assert (state_dir() / "journal.jsonl").exists()


async def test_a_prefix_with_glob_characters_means_itself(redis7: Server, dashboard: Open) -> None:
    with redis7.client() as client:
        client.mset({"user:1": 1, "u*:1": 1, "u*:2": 1, "us[e]r:1": 1})
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        assert pane.table.select(("prefix", b"u*:"))
        await screen.press("d")
        await preview(screen)
        await screen.press("y")
        await screen.until(lambda: "2 done" in screen.dialog())
        assert redis7.command("KEYS", "*") in ([b"user:1", b"us[e]r:1"], [b"us[e]r:1", b"user:1"])


async def test_escape_sends_nothing(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    before = redis7.command("DEBUG", "DIGEST")
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        assert pane.table.select(("prefix", b"user:"))
        await screen.press("d")
        await preview(screen)
        await screen.press("escape")
        await screen.until(lambda: not isinstance(screen.app.screen, Preview))
    assert redis7.command("DEBUG", "DIGEST") == before
    assert not (state_dir() / "journal.jsonl").exists()


async def test_marked_keys_are_deleted_and_no_others(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        await screen.press("v")
        assert pane.table.select(("key", b"user:3"))
        await screen.press("space")
        assert pane.table.select(("key", b"tags"))
        await screen.press("space", "d")
        assert "2 keys" in await preview(screen)
        await screen.press("y")
        await screen.until(lambda: "2 done" in screen.dialog())
        await screen.press("escape")
        assert redis7.command("EXISTS", "user:3", "tags", "user:4") == 1
        assert pane.marked() == []


async def test_a_ttl_is_set_and_taken_away(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        await screen.press("v")
        for typed, check in (("15m", lambda ttl: 890 < ttl <= 900), ("none", lambda ttl: ttl == -1)):
            assert pane.table.select(("key", b"user:5"))
            await screen.press("t")
            await screen.until(lambda: isinstance(screen.app.screen, Prompt))
            await screen.press(*typed, "enter")
            await preview(screen)
            await screen.press("y")
            await screen.until(lambda: "1 done" in screen.dialog())
            await screen.press("escape")
            assert check(redis7.command("TTL", "user:5"))


async def test_nonsense_in_a_prompt_is_said_and_asked_again(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await screen.shows("live", "#state")
        await screen.press("m")
        await screen.until(lambda: isinstance(screen.app.screen, Prompt))
        await screen.press(*"lots", "enter")
        assert "not a size" in screen.dialog()
        await screen.press("escape")
        await screen.until(lambda: not isinstance(screen.app.screen, Prompt))


async def test_the_policy_is_chosen_from_the_servers_own(new_server: Callable[..., Server], dashboard: Open) -> None:
    server = new_server("valkey9")
    async with dashboard(server.url) as screen:
        await screen.shows("live", "#state")
        await screen.press("p")
        await screen.until(lambda: isinstance(screen.app.screen, Choice))
        await screen.press("down", "enter")
        words = await preview(screen)
        assert "CONFIG SET maxmemory-policy" in words
        await screen.press("y")
        await screen.until(lambda: "1 done" in screen.dialog())
    with server.client() as client:
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] != "noeviction"


async def test_maxmemory_below_what_is_used_needs_the_typed_name(
    new_server: Callable[..., Server], dashboard: Open
) -> None:
    server = new_server("redis7")
    async with dashboard(server.url) as screen:
        await screen.shows("live", "#state")
        await screen.press("m")
        await screen.until(lambda: isinstance(screen.app.screen, Prompt))
        await screen.press(*"100kb", "enter")
        words = await preview(screen)
        assert "writes fail with OOM" in words
        await screen.press("y", "enter")
        assert "that is not" in screen.dialog()
        with server.client() as client:
            assert client.config_get("maxmemory")["maxmemory"] == "0"
            await screen.press("backspace", *f"{server.address}/0", "enter")
            await screen.until(lambda: "1 done" in screen.dialog())
            assert client.config_get("maxmemory")["maxmemory"] == "102400"


async def test_a_client_is_killed(redis7: Server, dashboard: Open) -> None:
    with redis7.client(client_name="victim") as victim:
        victim.ping()
        async with dashboard(redis7.url) as screen:
            await screen.press("5")
            await screen.shows("victim", "#clients-pane")
            pane = screen.app.query_one("#clients-pane", ClientsPane)
            row = next(row for row in pane.table.rows if row.cells[1][0] == "victim")
            assert pane.table.select(row.row_id)
            await screen.press("x")
            assert "CLIENT KILL ID" in await preview(screen)
            await screen.press("y")
            await screen.until(lambda: "1 done" in screen.dialog())
        names = [client["name"] for client in redis7.client().client_list()]
        assert "victim" not in names


async def test_the_slow_log_is_cleared(redis7: Server, dashboard: Open) -> None:
    redis7.command("CONFIG", "SET", "slowlog-log-slower-than", "0")
    redis7.command("GET", "slow:one")
    redis7.command("CONFIG", "SET", "slowlog-log-slower-than", "10000")
    async with dashboard(redis7.url) as screen:
        await screen.press("3")
        await screen.shows("slow:one", "#slow-pane")
        await screen.press("c")
        assert "SLOWLOG RESET" in await preview(screen)
        await screen.press("y")
        await screen.until(lambda: "1 done" in screen.dialog())
        assert redis7.command("SLOWLOG", "LEN") == 0


async def test_read_only_shows_the_plan_and_refuses(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    before = redis7.command("DEBUG", "DIGEST")
    settings = Settings(read_only=True, read_only_reason="--read-only")
    async with dashboard(redis7.url, settings=settings) as screen:
        await screen.shows("read-only", "#state")
        pane = await keys(screen)
        assert pane.table.select(("prefix", b"user:"))
        await screen.press("d", "p", "m")
        told = " ".join(note.message for note in screen.app._notifications)
        assert told.count("read-only (--read-only)") >= 3
    assert redis7.command("DEBUG", "DIGEST") == before


async def test_a_profile_can_be_armed_for_a_while(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    settings = Settings(read_only=True, read_only_reason="profile prod", armable=True)
    async with dashboard(redis7.url, settings=settings) as screen:
        pane = await keys(screen)
        assert pane.table.select(("prefix", b"user:"))
        await screen.press("W", "d")
        await preview(screen)
        await screen.press("y")
        await screen.until(lambda: "50 done" in screen.dialog())


async def test_memcached_keys_are_deleted(memcached: Server, dashboard: Open) -> None:
    from pymemcache.client.base import Client

    client = Client(("127.0.0.1", memcached.port), default_noreply=False)
    for n in range(7):
        client.set(f"user:{n}", b"x")
    client.set("other", b"y")
    async with dashboard(f"memcached://{memcached.address}") as screen:
        pane = await keys(screen)
        assert pane.table.select(("prefix", b"user:"))
        await screen.press("d")
        assert "delete user:" in await preview(screen)
        await screen.press("y")
        await screen.until(lambda: "7 done" in screen.dialog())
    assert client.get("user:1") is None
    assert client.get("other") == b"y"
    client.close()
