"""An undo that cannot be whole: the copies are damaged, the undo was stopped, or it was all done before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cachetui.actions.journal import Journal
from cachetui.actions.undo import found, plan_of, undoing
from cachetui.config import parse_target
from cachetui.model import Selection
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers.launch import Server
from tests.servers.test_sweep import planned
from tests.servers.test_undo import run


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
async def source(redis7: Server) -> AsyncIterator[Source]:
    opened = await open_source(parse_target(redis7.url))
    await opened.open()
    yield opened
    await opened.close()


async def deleted(server: Server, source: Source, journal: Journal, number: int) -> str:
    """Make keys, delete them, and return the receipt."""
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for at in range(number):
            pipe.set(b"k:%d" % at, b"value %d" % at)
        pipe.execute()
    plan = planned(source, Selection(pattern=b"k:*"), expected=number)
    assert (await run(plan, source, journal)).done == number
    return plan.id


async def test_damaged_copies_are_counted_as_failed_and_the_rest_comes_back(
    redis7: Server, source: Source, journal: Journal
) -> None:
    receipt = await deleted(redis7, source, journal, 2000)
    path = found(journal.path, receipt).path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    plan = await plan_of(source, undoing(journal, receipt))
    assert any("damaged on the disk" in line for line in plan.what)
    outcome = await run(plan, source, journal)
    assert outcome.done > 0 and outcome.failed > 0 and outcome.done + outcome.failed == 2000, outcome.line()
    assert outcome.exit_code == 4 and "damaged on the disk" in outcome.line()
    assert redis7.command("DBSIZE") == outcome.done
    assert path.exists(), "whoever can mend it may want to"
    assert undoing(journal, receipt).kept is not None
