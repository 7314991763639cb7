"""Edits of items in a real memcached by the one writer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cachetui.actions.apply import Guard, apply
from cachetui.actions.plan import plan_copy, plan_import, plan_new, plan_rename, plan_set_string
from cachetui.errors import BadUsage, Refused, Unsupported
from tests.contract.memcached_targets import Plain
from tests.servers.bench import Bench, bench_of
from tests.servers.launch import Server

ODD = b"\x00\xff\r\nflush_all\r\n\x1b[2J"


def url_of(server: Server) -> str:
    return f"memcached://{server.address}"


@pytest.fixture
async def bench(memcached: Server, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_of(memcached, tmp_path, url_of(memcached)) as opened:
        yield opened


@pytest.fixture
def plain(memcached: Server) -> Plain:
    return Plain(memcached)


@pytest.mark.parametrize("new", [ODD, b"", b"\x00\xff\r\n" * 250_000])
async def test_an_item_keeps_its_ttl_and_flags(bench: Bench, plain: Plain, new: bytes) -> None:
    plain.say(b"set k 7 1000 3\r\nold")
    plain.say(b"set bystander 0 0 1\r\nx")
    plan = await bench.edited(b"k", new)
    assert plain.say(b"mg k s") == b"HD s3"
    outcome = await bench.run(plan)
    assert (outcome.state, outcome.done, outcome.exit_code) == ("done", 1, 0), outcome.line()
    assert outcome.verified is (True if len(new) < 65536 else None)
    words = plain.say(b"mg k s t f").split()
    assert (words[1], words[3]) == (b"s%d" % len(new), b"f7")
    assert 990 < int(words[2][1:]) <= 1000
    assert plain.say(b"mg bystander s") == b"HD s1"
    assert (await bench.source.value(b"k", max_bytes=2_000_000)).items[0].data == new
    assert all(line.isprintable() for line in (plan.undo, *plan.what, *bench.journal.read()[0].commands))


async def test_an_item_that_stays_for_ever_does_so(bench: Bench, plain: Plain) -> None:
    plain.say(b"set k 0 0 3\r\nold")
    await bench.run(await bench.edited(b"k", b"new"))
    assert plain.say(b"mg k t") == b"HD t-1"


async def test_what_somebody_else_wrote_is_shown_and_stays(bench: Bench, plain: Plain) -> None:
    plain.say(b"set k 0 0 3\r\nold")
    plan = await bench.edited(b"k", b"mine")
    plain.say(b"set k 0 0 6\r\ntheirs")
    assert (await bench.refused(plan)).detail == {"what": "the value of k", "now": "theirs"}
    assert plain.say(b"mg k s") == b"HD s6"
    plan = await bench.edited(b"k", b"mine")
    plain.say(b"delete k")
    assert "the value of k is gone" in (await bench.refused(plan)).message
    assert plain.say(b"mg k s") == b"EN"


async def test_an_item_is_made_only_where_there_is_none(bench: Bench, plain: Plain) -> None:
    plan = plan_new(*bench.who, b"k", "item", ODD, ttl_s=40 * 86400)
    again = plan_new(*bench.who, b"k", "item", b"mine")
    outcome = await bench.run(plan)
    assert (outcome.state, outcome.done, outcome.verified) == ("done", 1, True)
    seconds = int(plain.say(b"mg k t").split()[1][1:])
    # memcached's clock moves once a second: a Unix time may read a second more.
    assert 40 * 86400 - 5 <= seconds <= 40 * 86400 + 2
    assert "the key k is there already" in (await bench.refused(again)).message
    assert (await bench.source.value(b"k")).items[0].data == ODD


async def test_too_large_an_item_is_refused_and_the_old_one_stays(bench: Bench, plain: Plain) -> None:
    plain.say(b"set k 0 0 3\r\nold")
    outcome = await bench.run(await bench.edited(b"k", b"x" * 2_000_000))
    assert (outcome.state, outcome.exit_code, outcome.left) == ("refused", 5, 1)
    assert "too large for an item here" in outcome.reason
    assert plain.say(b"mg k s") == b"HD s3"


async def test_without_versions_nothing_is_edited(new_server: Callable[..., Server], tmp_path: Path) -> None:
    server = new_server("memcached", "-C")
    with Plain(server) as plain:
        plain.say(b"set k 0 0 3\r\nold")
    async with bench_of(server, tmp_path, url_of(server)) as bench:
        with pytest.raises(Unsupported, match="keeps no version of its items"):
            await bench.edited(b"k", b"new")
        assert (await bench.run(plan_new(*bench.who, b"n", "item", b"v"))).state == "done"


async def test_what_memcached_cannot_do_is_said(bench: Bench, plain: Plain) -> None:
    for key in (b"", b"a b", b"a\r\nflush_all", b"k" * 251):
        with pytest.raises(BadUsage, match="not a Memcached key"):
            plan_new(*bench.who, key, "item", b"v")
    with pytest.raises(BadUsage, match="a hash is not made here"):
        plan_new(*bench.who, b"k", "hash", [(b"f", b"v")])
    for planned in (plan_rename, plan_copy):
        with pytest.raises(Unsupported, match="memcached cannot"):
            planned(*bench.who, b"k", b"n")
    with pytest.raises(Unsupported, match="Redis commands"):
        plan_import(*bench.who, [(b"k", [(b"SET", b"k", b"v")])], ())
    plain.say(b"set k 0 0 1000\r\n" + b"x" * 1000)
    with pytest.raises(Refused, match="only a part"):
        plan_set_string(*bench.who, await bench.source.value(b"k", max_bytes=10), b"short")
    plan = await bench.edited(b"k", b"new")
    with pytest.raises(Refused, match="read-only: ms was not sent"):
        await apply(plan, bench.source, journal=bench.journal, guard=Guard(read_only=True))
    assert plain.say(b"mg k s") == b"HD s1000"
