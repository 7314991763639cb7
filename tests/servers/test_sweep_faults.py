"""Random faults of network and server in the middle of a deletion: the account always equals what happened.

`CACHETUI_FAULT_RUNS` says how many runs; each has its own seed, which its name tells.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachetui.actions import pace, running
from cachetui.actions.apply import Guard, Outcome, Progress, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import Plan, Sweep
from cachetui.actions.plan.base import stamped
from cachetui.config import parse_target
from cachetui.errors import CacheError
from cachetui.model import Keep, Operation, Selection
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers import launch
from tests.servers.launch import SERVERS, Server
from tests.servers.relay import Relay

RUNS = int(os.environ.get("CACHETUI_FAULT_RUNS", "40"))
KEYS = 400


@pytest.fixture(scope="module", params=["redis7", "valkey9"])
def lasting(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that loses nothing when it is killed."""
    options = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
    server = launch.redis_server(SERVERS[request.param](), *options)
    yield server
    launch.remove(server)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PATIENCE_S", 5.0)
    monkeypatch.setattr(running, "RETRY_S", 0.01)
    monkeypatch.setattr(running, "RETRY_MOST_S", 0.1)
    monkeypatch.setattr(pace, "BATCH", 60)


def fill(server: Server, chance: random.Random) -> dict[bytes, bytes]:
    """Return the DUMP of every key that is to be deleted; `keep:*` are to stay."""
    with server.client() as client:
        client.flushall()
        with client.pipeline(transaction=False) as pipe:
            for number in range(KEYS):
                key = b"k:%d" % number
                match chance.randrange(4):
                    case 0:
                        pipe.set(key, chance.randbytes(chance.randrange(200)))
                    case 1:
                        pipe.hset(key, mapping={b"f%d" % at: b"v" for at in range(chance.randrange(1, 5))})
                    case 2:
                        pipe.rpush(key, *(b"e%d" % at for at in range(chance.randrange(1, 5))))
                    case _:
                        pipe.set(key, b"soon", px=10_000_000)
            for number in range(50):
                pipe.set(b"keep:%d" % number, b"v")
            pipe.execute()
        return {key: client.dump(key) for key in (b"k:%d" % number for number in range(KEYS))}


def planned(source: Source, selection: Selection, keep: Keep | None) -> Plan:
    assert source.identity is not None
    steps = [(b"UNLINK", key) for key in selection.keys or ()]
    return stamped(
        source.identity,
        source.name,
        "Test",
        steps,
        ["test"],
        needs="delete",
        risk="low",
        undo="",
        deletes=True,
        sweep=Sweep(selection, Operation("delete"), keep=keep, rate=4000, expected=KEYS),
    )


async def run(server: Server, journal: Journal, chance: random.Random) -> tuple[Outcome, bool, bool]:
    """Delete all of `k:*` over a bad line; the server is stopped or killed now and then."""
    listed, kept = chance.random() < 0.5, chance.random() < 0.7
    selection = Selection(keys=tuple(b"k:%d" % n for n in range(KEYS))) if listed else Selection(pattern=b"k:*")
    faults = chance.choice(("cut", "cut", "delay", "kill", "pause", "gone"))
    at = chance.randrange(20, KEYS)
    struck = asyncio.Event()
    striking: list[asyncio.Task[None]] = []

    async def strike() -> None:
        if faults == "pause":
            server.pause()
            await asyncio.sleep(chance.random() * 0.5)
            server.resume()
        elif faults == "kill":
            server.kill()
            await asyncio.to_thread(server.start)
        elif faults == "gone":
            server.kill()

    def watch(progress: Progress) -> None:
        if progress.done >= at and not struck.is_set() and faults in ("pause", "kill", "gone"):
            struck.set()
            striking.append(asyncio.get_running_loop().create_task(strike()))

    with Relay(server.port, chance) as line:
        source = await open_source(parse_target(f"redis://127.0.0.1:{line.port}"))
        try:
            await source.open()
            plan = planned(source, selection, Keep() if kept else None)
            if faults == "cut":
                line.cut_every = chance.randrange(2_000, 40_000)
            elif faults == "delay":
                line.delay_s = chance.random() * 0.02
            if faults == "gone":
                running.PATIENCE_S = 0.3
            outcome = await apply(plan, source, journal=journal, guard=Guard(read_only=False), progress=watch)
            await asyncio.gather(*striking)
            print(f"{faults}, {line.cuts} cuts, struck: {struck.is_set()}: {outcome.line()}")
        finally:
            await source.close()
    if faults == "gone" and struck.is_set():
        await asyncio.to_thread(server.start)
    return outcome, listed, kept


@pytest.mark.parametrize("seed", range(RUNS // 2))
async def test_the_account_equals_what_happened(
    lasting: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(running, "SHOWN_S", 0.005)
    chance = random.Random(seed)
    dumps = fill(lasting, chance)
    journal = Journal(tmp_path / "journal.jsonl")
    try:
        outcome, listed, kept = await run(lasting, journal, chance)
    except CacheError as error:
        assert not journal.read(), f"an error after the beginning: {error.line()}"  # refused: nothing was sent
        return
    with lasting.client() as client:
        there = set(client.scan_iter(count=1000))
        gone = set(dumps) - there
        assert sum(key.startswith(b"keep:") for key in there) == 50
        assert {key: client.dump(key) for key in there & set(dumps)} == {key: dumps[key] for key in there & set(dumps)}
    assert outcome.done <= len(gone) <= outcome.done + outcome.unknown, outcome.line()
    if listed:
        counted = outcome.done + outcome.missing + outcome.failed + outcome.skipped + outcome.unknown + outcome.left
        assert counted == KEYS, outcome.line()
        assert outcome.missing == 0, outcome.line()
    if outcome.state == "done":
        assert not there & set(dumps), outcome.line()
    if kept:
        assert outcome.kept >= len(gone), outcome.line()
    entry = journal.read()[0]
    assert (entry.outcome, entry.done, entry.missing, entry.failed, entry.unknown, entry.left) == (
        outcome.state,
        outcome.done,
        outcome.missing,
        outcome.failed,
        outcome.unknown,
        outcome.left,
    )
