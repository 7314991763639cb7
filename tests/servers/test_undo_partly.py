"""An undo that cannot be whole: the copies are damaged, the undo was stopped, or it was all done before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cachetui.actions.apply import Pacer, Progress, apply
from cachetui.actions.journal import Journal
from cachetui.actions.spool import Head, Kept, Spool
from cachetui.actions.undo import directory_of, found, newest, plan_of, undoable, undoing
from cachetui.config import parse_target
from cachetui.errors import BadUsage, Refused
from cachetui.model import Selection
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers.launch import Server
from tests.servers.test_sweep import FREE, planned
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


async def test_what_is_left_alone_is_listed_by_name(redis7: Server, source: Source, journal: Journal) -> None:
    receipt = await deleted(redis7, source, journal, 30)
    for at in range(25):
        redis7.command("SET", f"k:{at}", "theirs")
    redis7.command("SET", b"k:\xff\n", "no key of ours")
    outcome = await run(await plan_of(source, undoing(journal, receipt)), source, journal)
    (alone,) = outcome.left_alone
    assert (outcome.done, outcome.skipped, alone.count, len(alone.names)) == (5, 25, 25, 20)
    assert set(alone.names) <= {b"k:%d" % at for at in range(25)}
    assert alone.line().endswith("and 5 more") and "written since" in alone.line()
    assert journal.read()[0].left_alone == (alone.line(),)


async def test_what_was_undone_as_far_as_it_could_be_is_not_undone_again(
    redis7: Server, source: Source, journal: Journal
) -> None:
    receipt = await deleted(redis7, source, journal, 3)
    redis7.command("SET", "k:1", "theirs")
    outcome = await run(await plan_of(source, undoing(journal, receipt)), source, journal)
    assert (outcome.done, outcome.skipped) == (2, 1)
    with pytest.raises(BadUsage, match=f"was undone already, by {journal.read()[0].receipt}"):
        undoing(journal, receipt)
    assert undoable(journal) == []


async def test_an_undo_that_was_stopped_goes_on_and_counts_nothing_as_somebody_elses(
    redis7: Server, source: Source, journal: Journal
) -> None:
    receipt = await deleted(redis7, source, journal, 2000)
    pacer, cancel = Pacer(), asyncio.Event()
    pacer.rate = 4000
    plan = await plan_of(source, undoing(journal, receipt))

    def watch(progress: Progress) -> None:
        if progress.done:
            cancel.set()

    first = await apply(plan, source, journal=journal, guard=FREE, cancel=cancel, pacer=pacer, progress=watch)
    assert first.state == "stopped" and 0 < first.left < 2000
    second = await run(await plan_of(source, undoing(journal, receipt)), source, journal)
    assert (second.done, second.skipped, second.failed) == (first.left, first.done, 0), second.line()
    assert "brought back before, or written since" in second.line()
    assert redis7.command("DBSIZE") == 2000
    with pytest.raises(BadUsage, match="undone already"):
        undoing(journal, receipt)


async def test_what_ended_before_it_wrote_is_no_hindrance(redis7: Server, source: Source, journal: Journal) -> None:
    receipt = await deleted(redis7, source, journal, 3)
    directory = directory_of(journal.path)
    later = Head("29990101-000000-000-00000000", source.name, "redis", "Delete", 1e9, "delete")
    spool = Spool(directory, later, 1 << 20)
    spool.add([Kept(b"k", b"v")])
    spool.close()
    whole = spool.path.read_bytes()
    spool.path.write_bytes(whole[: whole.index(b"\n") + 1])
    row = newest(journal, source.name)
    assert row is not None and row.receipt == receipt
    assert newest(journal, "redis://elsewhere:1/0") is None
    with pytest.raises(Refused, match="before anything was written"):
        await plan_of(source, undoing(journal, later.receipt))
