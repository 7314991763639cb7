"""What the screen shows of a recorded demo, sign by sign and colour by colour.

`make pictures` writes what is expected anew: look at the difference before you commit it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachetui.feeds.record import read_recording
from cachetui.model import Value
from cachetui.ui.panes.keys import KeysPane
from tests.ui.stage import drawn, replayed

RECORDINGS = Path(__file__).parents[1] / "replies"
PICTURES = Path(__file__).parent / "pictures"
AT_S = 55.0
"""Where the recording stands."""


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Show the times of the recording as UTC, wherever this runs."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def compare(name: str, picture: str) -> None:
    path = PICTURES / f"{name}.txt"
    if os.environ.get("CACHETUI_PICTURES") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(picture)
    assert path.exists(), f"no picture {name}: `make pictures` makes it"
    assert picture.splitlines() == path.read_text().splitlines(), "`make pictures`, if it is meant"


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 55)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_overview(size: tuple[int, int]) -> None:
    async with replayed(RECORDINGS / "demo.rec", size=size, at_s=AT_S) as stage:
        compare(f"overview-{size[0]}x{size[1]}", drawn(stage.app))


async def test_the_overview_of_memcached() -> None:
    async with replayed(RECORDINGS / "memcached.rec", size=(120, 40), at_s=18.0) as stage:
        compare("memcached-120x40", drawn(stage.app))


async def test_a_hash_beside_the_tree() -> None:
    values = [e.item for e in read_recording(RECORDINGS / "demo.rec")[1] if isinstance(e.item, Value)]
    key = min(value.facts.key for value in values if value.facts.key.startswith(b"user:"))
    async with replayed(RECORDINGS / "demo.rec", size=(120, 40), at_s=AT_S) as stage:
        await stage.view("2")
        pane, browse = stage.app.query_one("#keys-pane", KeysPane), stage.live.browser.state
        assert pane.table.select(("prefix", b"user:"))
        await stage.press("enter")
        assert pane.table.select(("key", key))
        await stage.press("enter")
        await stage.until(lambda: browse.value is not None)
        assert pane.table.listing is not None
        shown = [pane.table.listing.entry(at).name for at in pane.table.visible(pane.size.height - 2)]
        await stage.until(lambda: all(name in browse.facts for name in shown if not name.endswith(b":")))
        await stage.pilot.pause()
        compare("keys-120x40", drawn(stage.app))


async def test_the_findings() -> None:
    async with replayed(RECORDINGS / "demo.rec", size=(120, 40), at_s=AT_S) as stage:
        await stage.view("8")
        compare("findings-120x40", drawn(stage.app))
