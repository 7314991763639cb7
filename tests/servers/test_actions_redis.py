"""The one writer against real Redis and Valkey servers: exact deletions, honest tallies."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cachetui.actions.apply import Guard, Outcome, Progress, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import Plan, plan_delete, plan_kill, plan_slowlog_reset, plan_ttl, render
from cachetui.config import parse_target
from cachetui.errors import CacheError, Refused, Unsupported
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers import launch
from tests.servers.launch import Server

FREE = Guard(read_only=False)

HOSTILE = [
    b"",
    b" ",
    b"\n",
    b"a\r\nFLUSHALL\r\n",
    b"\x1b[2J\x1b]0;title\x07",
    b"\x9b31m",
    b"\xff\xfe\x00",
    b"[red]x[/]",
    b"*",
    b'"quoted" \\x41',
    "\u202ertl\u200b".encode(),
    "鍵".encode(),
    b"k" * 100_000,
]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
async def source(redis_like: Server) -> AsyncIterator[Source]:
    opened = await open_source(parse_target(redis_like.url))
    yield opened
    await opened.close()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[str], object]]:
    """Open sources that are closed at the end of the test."""
    opened: list[Source] = []

    async def start(url: str) -> Source:
        opened.append(await open_source(parse_target(url)))
        return opened[-1]

    yield start
    for each in opened:
        await each.close()


def delete(source: Source, keys: list[bytes], **more: object) -> Plan:
    assert source.identity is not None
    return plan_delete(source.identity, source.name, keys, **more)  # type: ignore[arg-type]


def counts(outcome: Outcome) -> tuple[int, int, int, int, int]:
    return outcome.done, outcome.missing, outcome.failed, outcome.unknown, outcome.left


def fill(server: Server, count: int) -> list[bytes]:
    keys = [b"k:%d" % number for number in range(count)]
    with server.client() as client:
        for start in range(0, count, 10_000):
            client.mset(dict.fromkeys(keys[start : start + 10_000], b"v"))
    return keys


def kill_when(server: Server, done: int) -> Callable[[Progress], None]:
    def watch(now: Progress) -> None:
        if now.done >= done and server.process is not None and server.process.poll() is None:
            server.kill()

    return watch


async def test_a_plan_that_is_only_made_and_shown_changes_nothing(redis_like: Server, source: Source) -> None:
    keys = fill(redis_like, 100)
    before = redis_like.command("DEBUG", "DIGEST")
    plan = delete(source, keys, prefix=b"k:")
    assert len(plan.preview_commands(1000)) == 100
    assert plan.digest() == delete(source, keys).digest()
    assert redis_like.command("DEBUG", "DIGEST") == before


async def test_exactly_the_planned_keys_go_whatever_their_names(
    redis_like: Server, source: Source, journal: Journal
) -> None:
    with redis_like.client() as client:
        for key in HOSTILE:
            client.set(key, b"x")
        for key in (b"bystander", b"\n\n", b"**", b"\xff\xfe"):
            client.set(key, b"x")
    plan = delete(source, [*HOSTILE, b"never there"])
    outcome = await apply(plan, source, journal=journal, guard=FREE)
    assert counts(outcome) == (len(HOSTILE), 1, 0, 0, 0)
    assert (outcome.state, outcome.verified, outcome.exit_code) == ("done", True, 0)
    with redis_like.client() as client:
        assert sorted(client.keys("*")) == sorted([b"bystander", b"\n\n", b"**", b"\xff\xfe"])
    (entry,) = journal.read()
    assert (entry.receipt, entry.outcome, entry.done, entry.missing) == (plan.id, "done", len(HOSTILE), 1)
    assert entry.commands[: len(HOSTILE)] == tuple(render((b"UNLINK", key)) for key in HOSTILE)
    assert entry.commands[-1] == f"sha256 {plan.digest()}"


async def test_keys_that_went_meanwhile_are_missing_and_those_born_since_stay(
    redis_like: Server, source: Source, journal: Journal
) -> None:
    plan = delete(source, fill(redis_like, 1200), prefix=b"k:")
    redis_like.command("DEL", "k:3", "k:700", "k:1199")
    redis_like.command("SET", "k:new", "x")
    seen: list[Progress] = []
    outcome = await apply(plan, source, journal=journal, guard=FREE, progress=seen.append)
    assert counts(outcome) == (1197, 3, 0, 0, 0)
    assert [(now.done + now.missing, now.left) for now in seen] == [(500, 700), (1000, 200), (1200, 0)]
    assert redis_like.command("KEYS", "*") == [b"k:new"]


def test_what_is_rendered_can_be_pasted_into_redis_cli(redis_like: Server) -> None:
    with redis_like.client() as client:
        for key in HOSTILE[:-1]:
            client.set(key, b"x")
    lines = "".join(render((b"DEL", key)) + "\n" for key in HOSTILE[:-1])
    argv = [launch.redis_cli(), "-p", str(redis_like.port)]
    done = subprocess.run(argv, input=lines.encode(), capture_output=True, check=True)
    assert done.stdout.split() == [b"1"] * (len(HOSTILE) - 1)
    assert redis_like.command("DBSIZE") == 0


async def test_a_server_killed_half_way_leaves_an_honest_tally(
    new_server: Callable[..., Server], connect: Callable[[str], object], journal: Journal
) -> None:
    server = new_server("redis7")
    source = await connect(server.url)  # type: ignore[misc]
    plan = delete(source, fill(server, 50_000))
    outcome = await apply(plan, source, journal=journal, guard=FREE, progress=kill_when(server, 5000))
    assert counts(outcome) == (5000, 0, 0, 500, 44_500)
    assert (outcome.state, outcome.exit_code, outcome.verified) == ("stopped", 4, None)
    assert outcome.reason
    assert "500 unknown" in outcome.line()
    (entry,) = journal.read()
    assert (entry.outcome, entry.done, entry.unknown, entry.left) == ("stopped", 5000, 500, 44_500)
    assert entry.error == outcome.reason


async def test_a_server_that_stalls_is_not_asked_again(
    new_server: Callable[..., Server], connect: Callable[[str], object], journal: Journal
) -> None:
    server = new_server("redis7")
    source = await connect(server.url)  # type: ignore[misc]
    keys = fill(server, 2000)

    def stall(now: Progress) -> None:
        if now.done == 1000:
            server.pause()

    outcome = await apply(delete(source, keys), source, journal=journal, guard=FREE, progress=stall)
    assert counts(outcome) == (1000, 0, 0, 500, 500)
    assert "did not answer" in outcome.reason
    server.resume()
    assert server.command("DBSIZE") in (500, 1000)


async def test_cancel_stops_between_two_batches(redis_like: Server, source: Source, journal: Journal) -> None:
    keys = fill(redis_like, 3000)
    cancel = asyncio.Event()
    outcome = await apply(
        delete(source, keys), source, journal=journal, guard=FREE, progress=lambda now: cancel.set(), cancel=cancel
    )
    assert counts(outcome) == (500, 0, 0, 0, 2500)
    assert (outcome.state, outcome.reason) == ("stopped", "cancelled")
    assert redis_like.command("DBSIZE") == 2500
    assert journal.read()[0].outcome == "stopped"


async def test_a_cancelled_task_still_closes_the_journal(
    new_server: Callable[..., Server], connect: Callable[[str], object], journal: Journal
) -> None:
    server = new_server("redis7")
    source = await connect(server.url)  # type: ignore[misc]
    keys = fill(server, 3000)

    def interrupt(now: Progress) -> None:
        server.pause()
        task.cancel()

    task = asyncio.create_task(apply(delete(source, keys), source, journal=journal, guard=FREE, progress=interrupt))
    with pytest.raises(asyncio.CancelledError):
        await task
    server.resume()
    (entry,) = journal.read()
    assert (entry.outcome, entry.error, entry.done, entry.unknown) == ("stopped", "interrupted", 500, 500)
    assert entry.done + entry.unknown + entry.left == 3000


async def test_a_defect_in_the_caller_still_closes_the_journal(
    redis_like: Server, source: Source, journal: Journal
) -> None:
    def broken(now: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await apply(delete(source, fill(redis_like, 1000)), source, journal=journal, guard=FREE, progress=broken)
    (entry,) = journal.read()
    assert (entry.outcome, entry.done, entry.left) == ("stopped", 500, 500)


async def test_ttl_is_set_and_taken_away(redis_like: Server, source: Source, journal: Journal) -> None:
    redis_like.command("SET", "a", "x")
    assert source.identity is not None
    plan = plan_ttl(source.identity, source.name, [b"a", b"gone"], 100)
    assert counts(await apply(plan, source, journal=journal, guard=FREE)) == (1, 1, 0, 0, 0)
    assert redis_like.command("TTL", "a") in range(95, 101)
    plan = plan_ttl(source.identity, source.name, [b"a"], None)
    assert counts(await apply(plan, source, journal=journal, guard=FREE)) == (1, 0, 0, 0, 0)
    assert redis_like.command("TTL", "a") == -1


async def test_a_client_is_killed_once_and_then_missing(redis_like: Server, source: Source, journal: Journal) -> None:
    with redis_like.client() as victim:
        number = victim.client_id()
        polled = await source.poll("clients")
        client = next(item for item in polled.clients if item.client_id == number)  # type: ignore[union-attr]
        assert source.identity is not None
        plans = [plan_kill(source.identity, source.name, client) for _ in range(2)]
        first, second = [await apply(plan, source, journal=journal, guard=FREE) for plan in plans]
        assert (counts(first), counts(second)) == ((1, 0, 0, 0, 0), (0, 1, 0, 0, 0))
    ids = [item["id"] for item in redis_like.client().client_list()]
    assert str(number) not in ids


async def test_the_slow_log_is_cleared(redis_like: Server, source: Source, journal: Journal) -> None:
    with redis_like.client() as client:
        client.config_set("slowlog-log-slower-than", 0)
        client.ping()
        client.config_set("slowlog-log-slower-than", 1_000_000)
        assert client.slowlog_len() > 0
        assert source.identity is not None
        plan = plan_slowlog_reset(source.identity, source.name)
        assert (await apply(plan, source, journal=journal, guard=FREE)).state == "done"
        assert client.slowlog_len() == 0
        client.config_set("slowlog-log-slower-than", 10_000)


async def test_a_plan_runs_once(
    redis_like: Server, source: Source, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = delete(source, fill(redis_like, 10))
    results = await asyncio.gather(
        *(apply(plan, source, journal=journal, guard=FREE) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["Outcome", "Refused"]
    fill(redis_like, 10)
    # As another process with the same journal would see it.
    monkeypatch.setattr("cachetui.actions.apply._begun", set())
    with pytest.raises(Refused, match="applied before"):
        await apply(plan, source, journal=journal, guard=FREE)
    assert redis_like.command("DBSIZE") == 10
    assert len(journal.read()) == 1


async def test_an_expired_or_foreign_plan_is_refused(redis_like: Server, source: Source, journal: Journal) -> None:
    keys = fill(redis_like, 10)
    assert source.identity is not None
    old = delete(source, keys, now=1_700_000_000.0)
    other = plan_delete(source.identity, "redis://elsewhere:6379/0", keys)
    for plan, words in ((old, "expired"), (other, "is for redis://elsewhere")):
        with pytest.raises(Refused, match=words):
            await apply(plan, source, journal=journal, guard=FREE)
    assert redis_like.command("DBSIZE") == 10
    assert journal.read() == []


async def test_without_a_journal_nothing_is_sent(redis_like: Server, source: Source, tmp_path: Path) -> None:
    keys = fill(redis_like, 10)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "journal.jsonl", Path("/proc/nowhere/journal.jsonl")):
        with pytest.raises(CacheError, match="journal cannot be"):
            await apply(delete(source, keys), source, journal=Journal(path), guard=FREE)
    assert redis_like.command("DBSIZE") == 10
    assert source.sent["unlink"] == 0


async def test_an_unknown_command_is_refused_before_anything_is_sent(
    new_server: Callable[..., Server], connect: Callable[[str], object], journal: Journal
) -> None:
    server = new_server("redis7", "--rename-command", "UNLINK", "")
    source = await connect(server.url)  # type: ignore[misc]
    keys = fill(server, 10)
    with pytest.raises(Unsupported, match="UNLINK"):
        await apply(delete(source, keys), source, journal=journal, guard=FREE)
    assert journal.read() == []
    outcome = await apply(delete(source, keys, unlink_known=False), source, journal=journal, guard=FREE)
    assert counts(outcome) == (10, 0, 0, 0, 0)


async def test_a_process_killed_half_way_leaves_started_in_the_journal(
    redis_like: Server, source: Source, journal: Journal
) -> None:
    fill(redis_like, 2000)
    program = """
import asyncio, os, signal, sys
from pathlib import Path
from cachetui.actions.apply import Guard, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import plan_delete
from cachetui.config import parse_target
from cachetui.source.connect import open_source

async def main():
    source = await open_source(parse_target(sys.argv[1]))
    plan = plan_delete(source.identity, source.name, [b"k:%d" % number for number in range(2000)])
    die = lambda now: os.kill(os.getpid(), signal.SIGKILL)
    await apply(plan, source, journal=Journal(Path(sys.argv[2])), guard=Guard(False), progress=die)

asyncio.run(main())
"""
    argv = [sys.executable, "-c", program, redis_like.url, str(journal.path)]
    process = await asyncio.create_subprocess_exec(*argv)
    assert await process.wait() == -signal.SIGKILL
    (entry,) = journal.read()
    assert (entry.outcome, entry.left, entry.target) == ("started", 2000, source.name)
    assert redis_like.command("DBSIZE") == 1500
