"""`u` and the journal: what was done is taken back, what cannot be says why, what was stopped goes on."""

from __future__ import annotations

import time

from cachetui.actions.journal import Journal
from cachetui.config import state_dir
from cachetui.model import JournalEntry
from cachetui.ui.panes.journal import JournalPane
from cachetui.ui.panes.keys import KeysPane
from cachetui.ui.screens.dialog import Prompt
from cachetui.ui.screens.entry import EntryScreen
from cachetui.ui.screens.preview import Preview
from tests.servers.launch import Server
from tests.ui.conftest import Open, Screen
from tests.ui.test_acting import keys, preview
from tests.ui.test_views import fill


def dumped(server: Server) -> dict[bytes, tuple[bytes, int]]:
    """Return every key with its value and expiry."""
    with server.client() as client:
        return {key: (client.dump(key), client.execute_command("PEXPIRETIME", key)) for key in client.keys("*")}


async def prefix_deleted(screen: Screen, words: str) -> None:
    pane = await keys(screen)
    assert pane.table.select(("prefix", b"user:"))
    await screen.press("d")
    await preview(screen)
    await screen.press("y")
    await screen.until(lambda: words in screen.dialog())
    await screen.press("escape")


async def journal(screen: Screen) -> JournalPane:
    await screen.press("9")
    await screen.shows("outcome", "#journal-pane")
    return screen.app.query_one("#journal-pane", JournalPane)


def told(screen: Screen) -> str:
    return "\n".join(note.message for note in screen.app._notifications)


async def test_a_prefix_comes_back_with_values_and_expiries(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    with redis7.client() as client:
        client.hset("user:hash", mapping={"a": "1"})
        client.pexpireat("user:7", int(time.time() * 1000) + 900_000)
    before = dumped(redis7)
    async with dashboard(redis7.url) as screen:
        await prefix_deleted(screen, "51 done")
        assert redis7.command("EXISTS", "user:7") == 0
        await screen.press("u")
        words = await preview(screen)
        assert "bring back 51 keys" in words and "RESTORE" in words
        await screen.press("y")
        await screen.until(lambda: "51 done" in screen.dialog())
        assert dumped(redis7) == before
        await screen.press("escape")
        await screen.press("u")
        await screen.until(lambda: "can be undone" in told(screen))


async def test_what_was_written_since_stays(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await prefix_deleted(screen, "50 done")
        redis7.command("SET", "user:3", "newer")
        await screen.press("u")
        await preview(screen)
        await screen.press("y")
        await screen.until(lambda: "49 done, 1 left alone" in screen.dialog())
        assert redis7.command("GET", "user:3") == b"newer"
        assert redis7.command("GET", "user:4") == b"value 4"


async def test_leaving_the_undo_sends_nothing(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await prefix_deleted(screen, "50 done")
        after = redis7.command("DEBUG", "DIGEST")
        await screen.press("u")
        await preview(screen)
        await screen.press("escape")
        await screen.until(lambda: not isinstance(screen.app.screen, Preview))
    assert redis7.command("DEBUG", "DIGEST") == after


async def test_the_ttl_of_a_prefix_is_set_and_taken_back(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    redis7.command("EXPIREAT", "user:9", str(int(time.time()) + 5000))
    before = dumped(redis7)
    async with dashboard(redis7.url) as screen:
        pane = await keys(screen)
        assert pane.table.select(("prefix", b"user:"))
        await screen.press("t")
        await screen.until(lambda: isinstance(screen.app.screen, Prompt))
        assert "the keys user:*" in screen.dialog()
        await screen.press(*"15m", "enter")
        assert "Expire 50 keys" in await preview(screen)
        await screen.press("y")
        await screen.until(lambda: "50 done" in screen.dialog())
        with redis7.client() as client:
            assert all(880 < client.ttl(f"user:{n}") <= 900 for n in range(50))
        await screen.press("u")
        await screen.until(lambda: "give the old expiry back" in screen.dialog())
        await screen.press("y")
        await screen.until(lambda: "50 done" in screen.dialog())
    assert dumped(redis7) == before


async def test_the_journal_undoes_the_selected_entry(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url) as screen:
        await prefix_deleted(screen, "50 done")
        pane = screen.app.query_one("#keys-pane", KeysPane)
        await screen.until(lambda: pane.table.select(("key", b"tags")))
        await screen.press("d")
        await preview(screen)
        await screen.press("y")
        await screen.until(lambda: "1 done" in screen.dialog())
        await screen.press("escape")
        listed = await journal(screen)
        await screen.until(lambda: len(listed.table.rows) == 2)
        assert [row.cells[-1][0] for row in listed.table.rows] == ["u", "u"]
        await screen.press("down", "u")
        assert "bring back 50 keys" in await preview(screen)
        await screen.press("y")
        await screen.until(lambda: "50 done" in screen.dialog())
        await screen.press("escape")
        await screen.until(lambda: [row.cells[-1][0] for row in listed.table.rows] == ["no", "u", "undone"])
        assert redis7.command("EXISTS", "user:1", "tags") == 1
        await screen.press("G", "u")
        await screen.until(lambda: "undone already" in told(screen))


async def test_what_cannot_be_undone_says_why(redis7: Server, dashboard: Open) -> None:
    redis7.command("CONFIG", "SET", "slowlog-log-slower-than", "0")
    redis7.command("GET", "slow:one")
    redis7.command("CONFIG", "SET", "slowlog-log-slower-than", "10000")
    async with dashboard(redis7.url) as screen:
        await screen.press("3")
        await screen.shows("slow:one", "#slow-pane")
        await screen.press("c")
        await preview(screen)
        await screen.press("y")
        await screen.until(lambda: "1 done" in screen.dialog())
        assert "u undoes it" not in screen.dialog()
        await screen.press("escape")
        listed = await journal(screen)
        await screen.until(lambda: len(listed.table.rows) == 1)
        assert listed.table.rows[0].cells[-1][0] == "no"
        await screen.press("u")
        await screen.until(lambda: "no undo" in told(screen))


async def test_the_whole_entry_is_shown_and_undone_from_there(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    async with dashboard(redis7.url, size=(80, 24)) as screen:
        await prefix_deleted(screen, "50 done")
        await journal(screen)
        await screen.shows("Delete 50 keys", "#journal-pane")
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, EntryScreen))
        words = screen.dialog()
        assert redis7.url.partition("?")[0].rstrip("/") in words
        assert "done: 50 done" in words and "UNLINK user:" in words and "u undoes it" in words
        await screen.press("u")
        assert "bring back 50 keys" in await preview(screen)


async def test_an_interrupted_write_says_so_and_whether_it_goes_on(redis7: Server, dashboard: Open) -> None:
    fill(redis7)
    entry = JournalEntry(
        at=time.time(),
        receipt="20260101-000000-000-00000000",
        user="ada",
        target=f"redis://{redis7.address}/0",
        title="Delete 9 keys by name",
        commands=("UNLINK user:1",),
        outcome="started",
        left=9,
    )
    Journal(state_dir() / "journal.jsonl").append(entry)
    async with dashboard(redis7.url) as screen:
        listed = await journal(screen)
        await screen.shows("interrupted", "#journal-pane")
        await screen.press("I")
        await screen.until(lambda: "is not kept" in told(screen))
        await screen.press("slash")
        await screen.until(lambda: isinstance(screen.app.screen, Prompt))
        await screen.press(*"nobody", "enter")
        await screen.until(lambda: not listed.table.rows)
        await screen.press("escape")
        await screen.until(lambda: len(listed.table.rows) == 1)
