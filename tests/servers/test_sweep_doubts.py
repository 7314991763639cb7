"""Replies that are lost, and refusals in the middle: what was done is known in the end, and can be undone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cachetui.actions import running
from cachetui.actions.apply import Pacer, Progress, apply
from cachetui.actions.journal import Journal
from cachetui.actions.undo import found, plan_undo
from cachetui.config import parse_target
from cachetui.errors import CacheError, Unreachable, from_reply
from cachetui.model import Keep, Operation, Selection
from cachetui.source.base import Command, Source
from cachetui.source.connect import open_source
from tests.servers.launch import Server
from tests.servers.test_sweep import FREE, fill, names, planned, tally


class Losing:
    """The source behind a line that loses the replies to `lost` pipelines of writes; then the server says `words`."""

    def __init__(self, source: Source, is_write: Callable[[Command], bool], *, lost: int = 1, words: str = "") -> None:
        self._source, self._is_write, self._words = source, is_write, words
        self.lost = lost
        self.said = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def execute(self, commands: Sequence[Command]) -> list[object]:
        if self._words and not self.lost and self.said < 3:
            self.said += 1
            if self.said == 1:
                raise from_reply(self._words)  # as when a connection is opened
            return [from_reply(self._words) for _ in commands]
        replies = await self._source.execute(commands)
        if self.lost and self._is_write(commands[0]) and not isinstance(replies[0], CacheError):
            self.lost -= 1
            raise Unreachable("cut")
        return replies


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "RETRY_S", 0.01)


@asynccontextmanager
async def opened(server: Server) -> AsyncIterator[Source]:
    source = await open_source(parse_target(server.url))
    try:
        yield source
    finally:
        await source.close()


def deletes(command: Command) -> bool:
    return command[0] in (b"EVALSHA", b"EVAL", b"UNLINK") and b"UNLINK" in (command[0], command[-1])


async def undone(receipt: str, source: Source, journal: Journal) -> int:
    assert source.identity is not None
    plan = plan_undo(source.identity, source.name, found(journal.path, receipt))
    return (await apply(plan, source, journal=journal, guard=FREE)).done


@pytest.mark.parametrize(
    "words", ["", "LOADING Redis is loading the dataset in memory", "CLUSTERDOWN Hash slot", "BUSY"]
)
@pytest.mark.parametrize("keep", [None, Keep()])
async def test_what_was_deleted_without_a_reply_is_done_and_comes_back(
    redis_like: Server, journal: Journal, keep: Keep | None, words: str
) -> None:
    keys = fill(redis_like, 200)
    async with opened(redis_like) as source:
        losing = Losing(source, deletes, words=words)
        plan = planned(source, Selection(keys=tuple(keys)), keep=keep)
        outcome = await apply(plan, losing, journal=journal, guard=FREE)  # type: ignore[arg-type]
        assert losing.lost == 0 and losing.said == (3 if words else 0)
        assert tally(outcome) == (200, 0, 0, 0, 0, 0), outcome.line()
        assert not names(redis_like)
        if keep is not None:
            assert await undone(plan.id, source, journal) == 200
            assert names(redis_like) == set(keys)


@pytest.mark.parametrize("operation", [Operation("persist"), Operation("expire", ttl_s=5000)])
async def test_old_expiries_come_back_though_a_reply_was_lost(
    redis_like: Server, journal: Journal, operation: Operation
) -> None:
    keys = fill(redis_like, 100)
    with redis_like.client() as client:
        for key in keys:
            client.expire(key, 100_000)
        async with opened(redis_like) as source:
            losing = Losing(source, lambda command: command[0] in (b"PERSIST", b"PEXPIREAT"))
            plan = planned(source, Selection(keys=tuple(keys)), operation)
            outcome = await apply(plan, losing, journal=journal, guard=FREE)  # type: ignore[arg-type]
            assert (losing.lost, tally(outcome)) == (0, (100, 0, 0, 0, 0, 0)), outcome.line()
            assert client.ttl(keys[7]) in (-1, 5000, 4999, 4998)
            assert await undone(plan.id, source, journal) == 100
        assert all(90_000 < client.ttl(key) <= 100_000 for key in keys)


async def test_old_expiries_of_memcached_come_back_though_a_reply_was_lost(memcached: Server, journal: Journal) -> None:
    source = await open_source(parse_target(f"memcached://{memcached.address}"))
    try:
        keys = tuple(b"k:%d" % n for n in range(50))
        await source.execute([(b"set", key, b"0", b"100000", b"v") for key in keys])
        losing = Losing(source, lambda command: command[0] == b"touch")
        plan = planned(source, Selection(keys=keys), Operation("expire", ttl_s=5000))
        outcome = await apply(plan, losing, journal=journal, guard=FREE)  # type: ignore[arg-type]
        assert (losing.lost, tally(outcome)) == (0, (50, 0, 0, 0, 0, 0)), outcome.line()
        assert await undone(plan.id, source, journal) == 50
        assert all((known.ttl_s or 0) > 90_000 for known in (await source.facts(keys)).facts)
    finally:
        await source.close()


async def test_what_can_never_be_looked_at_again_stays_unknown(redis7: Server, journal: Journal) -> None:
    keys = fill(redis7, 100)
    async with opened(redis7) as source:
        losing = Losing(source, deletes, words="NOPERM this user has no permissions")
        plan = planned(source, Selection(keys=tuple(keys)))
        outcome = await apply(plan, losing, journal=journal, guard=FREE)  # type: ignore[arg-type]
        assert (outcome.done, outcome.unknown, outcome.state) == (0, 100, "stopped"), outcome.line()
        assert await undone(plan.id, source, journal) == 100
    assert names(redis7) == set(keys)


async def test_one_key_that_is_refused_does_not_disturb_the_batches_beside(
    new_server: Callable[..., Server], journal: Journal
) -> None:
    server = new_server("redis7")
    keys = fill(server, 5000)
    secret = fill(server, 1, b"secret:%d")
    server.command("ACL", "SETUSER", "some", "on", ">pw", "~k:*", "+@all")
    source = await open_source(parse_target(f"redis://some:pw@{server.address}"))
    try:
        plan = planned(source, Selection(keys=(*keys[:1500], *secret, *keys[1500:])))
        outcome = await apply(plan, source, journal=journal, guard=FREE)
    finally:
        await source.close()
    assert tally(outcome) == (5000, 0, 1, 0, 0, 0), outcome.line()
    assert names(server) == set(secret)


async def test_patience_begins_with_the_trouble_and_not_with_a_pause(
    redis7: Server, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a long pause a server has closed the idle connections: that is no reason to end."""
    monkeypatch.setattr(running, "PATIENCE_S", 0.5)
    monkeypatch.setattr(running, "SHOWN_S", 0.01)
    keys = fill(redis7, 1000)
    paused_at = 0.0
    pacer = Pacer(rate=2000)

    def watch(progress: Progress) -> None:
        nonlocal paused_at
        if progress.done >= 300 and not paused_at:
            paused_at = time.monotonic()
            pacer.pause()
        elif pacer.paused and time.monotonic() - paused_at > 0.7:
            losing.lost = 1
            pacer.resume()

    async with opened(redis7) as source:
        losing = Losing(source, deletes, lost=0)
        plan = planned(source, Selection(keys=tuple(keys)))
        outcome = await apply(plan, losing, journal=journal, guard=FREE, pacer=pacer, progress=watch)  # type: ignore[arg-type]
    assert (losing.lost, tally(outcome)) == (0, (1000, 0, 0, 0, 0, 0)), outcome.line()


async def test_a_stop_does_not_wait_for_the_pace(redis7: Server, journal: Journal) -> None:
    keys = fill(redis7, 10)
    cancel = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, cancel.set)
    async with opened(redis7) as source:
        plan = planned(source, Selection(keys=tuple(keys)), rate=0.01)  # a hundred seconds for each key
        outcome = await asyncio.wait_for(apply(plan, source, journal=journal, guard=FREE, cancel=cancel), 30)
    assert outcome.reason == "cancelled" and outcome.done + outcome.left == 10


async def test_a_primary_that_is_a_replica_for_a_while_is_waited_for(
    redis_like: Server, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "SHOWN_S", 0.01)
    keys = fill(redis_like, 2000)
    steps: list[str] = []

    def watch(progress: Progress) -> None:
        if progress.done >= 300 and not steps:
            redis_like.command("REPLICAOF", "127.0.0.1", "1")
            steps.append("replica")
        elif "READONLY" in progress.note and len(steps) == 1:
            redis_like.command("REPLICAOF", "NO", "ONE")
            steps.append("primary")

    try:
        async with opened(redis_like) as source:
            plan = planned(source, Selection(keys=tuple(keys)), rate=4000)
            outcome = await apply(plan, source, journal=journal, guard=FREE, progress=watch)
            assert steps == ["replica", "primary"]
            assert tally(outcome) == (2000, 0, 0, 0, 0, 0), outcome.line()
            assert await undone(plan.id, source, journal) == 2000
    finally:
        redis_like.command("REPLICAOF", "NO", "ONE")


class Defective(Losing):
    """A source with a defect: after so many pipelines something else than a CacheError comes."""

    async def execute(self, commands: Sequence[Command]) -> list[object]:
        if self.lost <= 0:
            raise ZeroDivisionError
        self.lost -= 1
        return await self._source.execute(commands)


@pytest.mark.parametrize("by", [Selection(pattern=b"k:*"), Selection(keys=tuple(b"k:%d" % n for n in range(20_000)))])
async def test_a_defect_ends_it_and_is_told(redis7: Server, journal: Journal, by: Selection) -> None:
    fill(redis7, 20_000)
    async with opened(redis7) as source:
        broken = Defective(source, deletes, lost=9)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(
                apply(planned(source, by, expected=20_000), broken, journal=journal, guard=FREE),  # type: ignore[arg-type]
                30,
            )
    entry = journal.read()[0]
    assert entry.outcome == "stopped" and 0 < entry.done <= 20_000 - len(names(redis7)) <= entry.done + entry.unknown
