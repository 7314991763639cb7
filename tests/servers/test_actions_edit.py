"""Edits of whole values by the one writer: what was seen is changed, what somebody else wrote is not."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cachetui.actions.apply import Guard, apply
from cachetui.actions.plan import plan_copy, plan_import, plan_new, plan_rename, plan_set_string
from cachetui.errors import Denied, Refused
from cachetui.model import Check
from tests.contract.redis_targets import until
from tests.servers.bench import Bench, bench_of
from tests.servers.launch import Server
from tests.servers.meddling import before_exec, cut_at, proxied

KEY = b"\xff odd\r\n\x00key"
ODD = b"\x00\xff\r\n\x1b[2J"
READ_ONLY = Guard(read_only=True, reason="profile prod")


@pytest.fixture
async def bench(redis_like: Server, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_of(redis_like, tmp_path) as opened:
        yield opened


async def test_a_string_is_replaced_and_keeps_its_ttl(bench: Bench) -> None:
    with bench.server.client() as client:
        client.set(KEY, b"old\x00", ex=1000)
        client.set(b"ever", b"old")
        plan = await bench.edited(KEY, ODD)
        assert client.get(KEY) == b"old\x00"
        outcome = await bench.run(plan)
        assert (outcome.state, outcome.done, outcome.verified, outcome.exit_code) == ("done", 1, True, 0)
        assert outcome.checks == ("read back: as it was written",)
        assert client.get(KEY) == ODD
        assert 990 < client.ttl(KEY) <= 1000
        await bench.run(await bench.edited(b"ever", b""))
        assert (client.get(b"ever"), client.ttl(b"ever")) == (b"", -1)
    entry = bench.journal.read()[-1]
    assert entry.commands[0].startswith('SET "\\xff odd') and entry.commands[0].endswith("KEEPTTL")
    assert entry.undo.startswith("SET ") and entry.outcome == "done"


async def test_a_megabyte_is_edited(bench: Bench) -> None:
    old, new = bytes(range(256)) * 4096, ODD * 120_000
    with bench.server.client() as client:
        client.set(KEY, old, ex=1000)
        plan = await bench.edited(KEY, new)
        assert plan.undo == "no undo: the old value (1.0MB) is not kept"
        assert all(len(line) < 2000 and line.isprintable() for line in (*plan.what, *plan.preview_commands()))
        assert (await bench.run(plan)).state == "done"
        assert client.get(KEY) == new
        assert client.ttl(KEY) > 990


async def test_a_value_that_was_read_in_part_is_not_written_back(bench: Bench) -> None:
    with bench.server.client() as client:
        client.set(KEY, b"x" * 1000)
        value = await bench.source.value(KEY, max_bytes=999)
        with pytest.raises(Refused, match="only a part of its 1000B was read; writing it back would cut off the rest"):
            plan_set_string(*bench.who, value, b"short")
        assert client.strlen(KEY) == 1000


@pytest.mark.parametrize(
    ("changes", "now"),
    [
        ([("SET", "k", "theirs\x1b")], "theirs\\x1b"),
        ([("DEL", "k")], None),
        ([("DEL", "k"), ("LPUSH", "k", "x")], "another type of value"),
    ],
)
async def test_what_somebody_else_wrote_is_shown_and_stays(
    bench: Bench, changes: list[tuple[str, ...]], now: str | None
) -> None:
    bench.server.command("SET", "k", "old")
    plan = await bench.edited(b"k", b"mine")
    for change in changes:
        bench.server.command(*change)
    before = bench.server.command("DUMP", "k")
    said = await bench.refused(plan)
    assert said.detail == {"what": "the value of k", "now": now}
    assert bench.server.command("DUMP", "k") == before


async def test_a_change_between_the_look_and_the_write_stays(redis_like: Server, tmp_path: Path) -> None:
    redis_like.command("SET", "k", "old")
    meddle = before_exec(lambda: redis_like.command("SET", "k", "theirs"))
    async with (
        proxied(redis_like, meddle) as port,
        bench_of(redis_like, tmp_path, f"redis://127.0.0.1:{port}") as bench,
    ):
        said = await bench.refused(await bench.edited(b"k", b"mine"))
        assert said.detail == {"what": "the value of k", "now": "theirs"}
    assert redis_like.command("GET", "k") == b"theirs"


async def test_no_write_of_a_rival_in_a_loop_is_lost(bench: Bench) -> None:
    bench.server.command("SET", "k", "0")
    stop = threading.Event()
    counted: list[int] = []

    def rival() -> None:
        with bench.server.client() as client:
            while not stop.is_set():
                client.incr("k")
                counted.append(1)

    thread = threading.Thread(target=rival)
    thread.start()
    done = 0
    try:
        for _ in range(40):
            value = await bench.source.value(b"k")
            new = b"%d" % (int(value.items[0].data) + 1_000_000)
            outcome = await bench.run(plan_set_string(*bench.who, value, new))
            assert outcome.state in ("done", "refused")
            done += outcome.done
    finally:
        stop.set()
        thread.join()
    final = bench.server.command("GET", "k")
    assert isinstance(final, bytes)
    assert divmod(int(final), 1_000_000) == (done, len(counted))


async def test_a_json_document_is_edited_and_keeps_its_ttl(stack: Server, tmp_path: Path) -> None:
    async with bench_of(stack, tmp_path) as bench:
        made = plan_new(*bench.who, KEY, "json", '{"a": [1, "é"]}'.encode(), ttl_s=1000)
        assert (await bench.run(made)).verified is True
        assert (await bench.run(await bench.edited(KEY, b'{"b": 2}'))).state == "done"
        with stack.client() as client:
            assert client.execute_command("JSON.GET", KEY) == b'{"b":2}'
            assert 990 < client.ttl(KEY) <= 1000
            for change in ((b"JSON.SET", KEY, b"$.b", b"3"), (b"SET", KEY, b"text"), (b"DEL", KEY)):
                plan = await bench.edited(KEY, b"[]")
                client.execute_command(*change)
                await bench.refused(plan)
                client.delete(KEY)
                client.execute_command("JSON.SET", KEY, "$", '{"b":2}')


@pytest.mark.parametrize("denied", ["watch", "multi", "exec", "get", "set"])
async def test_a_permission_withdrawn_in_mid_session_leaves_all_as_it_is(
    redis_like: Server, tmp_path: Path, denied: str
) -> None:
    redis_like.command("SET", "k", "old")
    redis_like.command("ACL", "SETUSER", "u", "reset", "on", ">p", "~*", "+@all")
    async with bench_of(redis_like, tmp_path, f"redis://u:p@{redis_like.address}") as bench:
        plans = [await bench.edited(b"k", b"mine") for _ in range(2)]
        redis_like.command("ACL", "SETUSER", "u", f"-{denied}")
        for plan in plans:
            outcome = await bench.run(plan)
            assert (outcome.state, outcome.exit_code, outcome.left) == ("refused", 5, 1)
            assert f"{denied.upper()}: not permitted" in outcome.reason
            assert isinstance(outcome.errors[0].error, Denied)
        why = bench.source.why_not("edit")
        assert (why is not None and "WATCH" in why) == (denied == "watch")
    assert redis_like.command("GET", "k") == b"old"
    redis_like.command("ACL", "DELUSER", "u")


async def test_read_only_and_replicas_refuse_every_edit(new_server: Callable[..., Server], tmp_path: Path) -> None:
    server = new_server("redis7")
    server.command("SET", "k", "old")
    async with bench_of(server, tmp_path) as bench:
        plans = [
            await bench.edited(b"k", b"mine"),
            plan_new(*bench.who, b"n", "set", [b"a"]),
            plan_rename(*bench.who, b"k", b"n"),
            plan_copy(*bench.who, b"k", b"n"),
            plan_import(*bench.who, [(b"n", [(b"SET", b"n", b"v")])], ()),
        ]
        for plan in plans:
            with pytest.raises(Refused, match=r"read-only \(profile prod\): [A-Z]+ was not sent"):
                await apply(plan, bench.source, journal=bench.journal, guard=READ_ONLY)
        server.command("REPLICAOF", "127.0.0.1", "1")
        await bench.source.poll("stats")
        for plan in plans:
            with pytest.raises(Refused, match="replica and takes no writes"):
                await bench.run(plan)
        with pytest.raises(Refused, match="replica"):
            await bench.edited(b"k", b"mine")
        assert bench.journal.read() == []
    assert server.command("GET", "k") == b"old"


async def test_a_server_that_became_a_replica_unnoticed_refuses_itself(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = new_server("redis7")
    server.command("SET", "k", "old")
    async with bench_of(server, tmp_path) as bench:
        plan = await bench.edited(b"k", b"mine")
        server.command("REPLICAOF", "127.0.0.1", "1")
        outcome = await bench.run(plan)
        assert (outcome.state, outcome.done, outcome.left, outcome.exit_code) == ("failed", 0, 1, 4)
        assert "READONLY" in outcome.reason
    assert server.command("GET", "k") == b"old"


async def test_a_check_that_writes_is_no_check(bench: Bench) -> None:
    bench.server.command("SET", "k", "old")
    plan = await bench.edited(b"k", b"mine")
    for command in ((b"GETDEL", b"k"), (b"DEL", b"k"), (b"EVAL", b"return 1", b"0")):
        check = Check(command, 1, "k")
        for bad in (dataclasses.replace(plan, checks=(check,)), dataclasses.replace(plan, shows=(check,))):
            with pytest.raises(Refused, match="is no check: it does more than read"):
                await bench.run(bad)
    assert bench.server.command("GET", "k") == b"old"


@pytest.mark.parametrize(("word", "counts"), [(b"WATCH", ("failed", 1, 0)), (b"EXEC", ("stopped", 0, 1))])
async def test_a_lost_connection_is_told_as_what_it_means(
    redis7: Server, tmp_path: Path, word: bytes, counts: tuple[str, int, int]
) -> None:
    redis7.command("SET", "k", "old")
    async with (
        proxied(redis7, cut_at(word)) as port,
        bench_of(redis7, tmp_path, f"redis://127.0.0.1:{port}") as bench,
    ):
        outcome = await bench.run(await bench.edited(b"k", b"mine"))
        assert (outcome.state, outcome.left, outcome.unknown) == counts
        assert (outcome.done, outcome.exit_code) == (0, 4)
        entry = bench.journal.read()[0]
        assert (entry.outcome, entry.left, entry.unknown) == counts


async def test_names_in_two_slots_of_a_cluster_are_refused_in_words(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = new_server("redis7", "--cluster-enabled", "yes")
    server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    await until(lambda: "cluster_state:ok" in str(server.command("CLUSTER", "INFO")))
    async with bench_of(server, tmp_path) as bench:
        server.command("SET", "a", "v")
        for planned in (plan_rename, plan_copy):
            with pytest.raises(Refused, match="live in different slots") as refused:
                planned(*bench.who, b"a", b"b")
            assert "{a}:new" in refused.value.hint
        assert (await bench.run(plan_rename(*bench.who, b"a", b"{a}:new"))).state == "done"
        assert server.command("KEYS", "*") == [b"{a}:new"]
        rows = [(b"k:%d" % number, [(b"SET", b"k:%d" % number, b"v")]) for number in range(20)]
        outcome = await bench.run(plan_import(*bench.who, rows, ()))
        assert (outcome.state, outcome.done) == ("done", 20)
