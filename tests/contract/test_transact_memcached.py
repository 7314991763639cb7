"""Compare and set against a real memcached: by the item's version, TTL and client flags kept."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

import pytest

from cachetui.errors import CacheError, Changed, Refused, TimedOut, Unsupported
from cachetui.source.base import Check, Command
from cachetui.source.memcached.commands import Wire, wired
from tests.contract.memcached_targets import Plain, misbehaving, source_of
from tests.servers.launch import Server


def version_of(plain: Plain, key: bytes) -> bytes:
    words = plain.say(b"mg %b c" % key).split()
    assert words[0] == b"HD"
    return words[1][1:]


def check_of(plain: Plain, key: bytes) -> Check:
    return Check((b"mg", key, b"c"), version_of(plain, key), f"the value of {key.decode()}")


def replacing(check: Check, data: bytes, *words: bytes) -> Command:
    assert isinstance(check.expected, bytes)
    return (b"ms", check.command[1], *(words or (b"F5", b"T1")), b"C" + check.expected, data)


async def test_an_item_is_replaced_with_its_flags_and_what_is_left_of_its_time(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.say(b"set k 5 100 3\r\nold")
        check = check_of(plain, b"k")
        async with source_of(memcached) as source:
            assert await source.transact([b"k"], [check], [replacing(check, b"new\r\nflush_all\r\n")]) == [b"STORED"]
        assert plain.say(b"mg k s t f") in (b"HD s16 t100 f5", b"HD s16 t99 f5")


@pytest.mark.parametrize("expiry", [0, 1000, 40 * 86400])
async def test_the_time_to_live_is_what_it_is_when_the_write_is_sent(memcached: Server, expiry: int) -> None:
    import time

    until = expiry if expiry <= 30 * 86400 else int(time.time()) + expiry
    with Plain(memcached) as plain:
        plain.say(b"set k 0 0 3\r\nold")
        check = check_of(plain, b"k")
        plain.say(b"touch k %d" % until)
        async with source_of(memcached) as source:
            await source.transact([b"k"], [check], [replacing(check, b"new", b"F0", b"T7")])
        left = int(plain.say(b"mg k t").split()[1][1:])
        # memcached's clock moves once a second: what was given as a Unix time may read a second more.
        assert left == -1 if expiry == 0 else expiry - 3 <= left <= expiry + 2


async def test_an_item_that_somebody_else_wrote_stays(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.say(b"set k 0 0 3\r\nold")
        check = check_of(plain, b"k")
        plain.say(b"set k 0 0 6\r\ntheirs")
        async with source_of(memcached) as source:
            with pytest.raises(Changed, match="the value of k was changed by somebody else: nothing") as refused:
                await source.transact([b"k"], [check], [replacing(check, b"mine")])
            assert refused.value.detail == {"what": "the value of k", "now": "theirs"}
            assert source.sent["ms"] == 0
            plain.say(b"delete k")
            with pytest.raises(Changed, match="the value of k is gone: nothing was written"):
                await source.transact([b"k"], [check], [replacing(check, b"mine")])
            new = Check((b"mg", b"k", b"c"), None, "the key k")
            assert await source.transact([b"k"], [new], [(b"add", b"k", b"3", b"50", b"a b")]) == [b"STORED"]
            with pytest.raises(Changed, match="the key k is there already"):
                await source.transact([b"k"], [new], [(b"add", b"k", b"0", b"0", b"second")])
        assert plain.say(b"mg k s t f") in (b"HD s3 t50 f3", b"HD s3 t49 f3")


@pytest.mark.parametrize(("said", "words"), [(b"EX", "changed by somebody else"), (b"NF", "is gone")])
async def test_a_change_between_the_look_and_the_write_is_the_servers_to_see(said: bytes, words: str) -> None:
    pending: list[bytes] = []

    def answer(line: bytes) -> bytes | None:
        if pending:
            pending.clear()
            return said + b"\r\n"
        if line.startswith(b"version"):
            return b"VERSION 1.6.18\r\n"
        if line.startswith(b"me "):
            return b"ME k exp=-1 la=0 cas=1 fetch=no cls=1 size=60\r\n"
        if line.startswith(b"mg k s"):
            return b"VA 6 s6 t-1 f0\r\ntheirs\r\n"
        if line.startswith(b"mg "):
            return b"HD c1 t-1\r\n"
        if line.startswith(b"ms "):
            pending.append(line)
            return b""
        return b"END\r\n"

    async with misbehaving(answer) as port, source_of(port) as source:
        check = Check((b"mg", b"k", b"c"), b"1", "the value of k")
        with pytest.raises(Changed, match=words) as refused:
            await source.transact([b"k"], [check], [replacing(check, b"mine")])
        assert refused.value.detail["now"] == ("theirs" if said == b"EX" else None)


async def test_no_write_of_anybody_is_lost_while_both_write(memcached: Server) -> None:
    with Plain(memcached) as plain, Plain(memcached) as other:
        plain.say(b"set k 0 0 1\r\n0")
        done, stop = 0, asyncio.Event()

        async def increments() -> int:
            count = 0
            while not stop.is_set():
                await asyncio.to_thread(other.say, b"incr k 1")
                count += 1
            return count

        others = asyncio.create_task(increments())
        async with source_of(memcached) as source:
            for _ in range(300):
                version = await asyncio.to_thread(version_of, plain, b"k")
                value = (await source.value(b"k")).items[0].data
                check = Check((b"mg", b"k", b"c"), version, "the value of k")
                try:
                    await source.transact([b"k"], [check], [replacing(check, b"%d" % (int(value) + 1_000_000))])
                except Changed:
                    continue
                done += 1
            stop.set()
            count = await others
            # A value read after the version was is newer than it: then the version does not fit any more.
            final = int((await source.value(b"k")).items[0].data)
        assert divmod(final, 1_000_000) == (done, count)


async def test_what_is_too_large_is_refused_before_memcached_drops_the_old_item(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.say(b"set k 0 0 3\r\nold")
        check = check_of(plain, b"k")
        async with source_of(memcached) as source:
            with pytest.raises(Refused, match=r"too large for an item here \(-I 1.0MB\): nothing was written"):
                await source.transact([b"k"], [check], [replacing(check, b"x" * 1024 * 1024)])
            assert (await source.value(b"k")).items[0].data == b"old"
            large = b"\x00\xff\r\n" * 260_000
            assert await source.transact([b"k"], [check], [replacing(check, large)]) == [b"STORED"]
            shown = Check((b"mg", b"k", b"v"), large, "the value of k")
            assert await source.transact((), [shown], ()) == []
            with pytest.raises(Changed):
                await source.transact((), [Check((b"mg", b"k", b"v"), b"other", "it")], ())


async def test_the_largest_item_of_this_server_is_known(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached", "-I", "2m")
    new = Check((b"mg", b"k", b"c"), None, "the key k")
    async with source_of(server) as source:
        assert await source.transact([], [new], [(b"add", b"k", b"0", b"0", b"x" * 1_500_000)]) == [b"STORED"]
        with pytest.raises(Refused, match=r"-I 2\.0MB"):
            await source.transact([], [], [(b"set", b"k", b"0", b"0", b"x" * 2_500_000)])


async def test_a_look_neither_bumps_nor_counts(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.say(b"set k 0 0 3\r\nold")
        async with source_of(memcached) as source:
            with pytest.raises(Changed):
                await source.transact([b"k"], [Check((b"mg", b"k", b"c"), b"999999", "k")], [])
        assert b"fetch=no" in plain.say(b"me k")


async def test_a_binary_name_that_a_scan_found_is_edited_too(memcached: Server) -> None:
    key = b"odd name\x00"
    word = base64.b64encode(key)
    with Plain(memcached) as plain:
        assert plain.say(b"ms %b 3 b T100\r\nold" % word) == b"HD"
        version = plain.say(b"mg %b b c" % word).split()[1][1:]
        check = Check((b"mg", key, b"c"), version, "the value")
        async with source_of(memcached) as source:
            with pytest.raises(Refused, match="space or a control byte"):
                await source.transact([key], [check], [replacing(check, b"new")])
            step = await source.scan()
            while step.cursor is not None:
                step = await source.scan(step.cursor)
            assert await source.transact([key], [check], [replacing(check, b"new")]) == [b"STORED"]
        assert plain.say(b"mg %b b t s" % word) in (b"HD t100 s3", b"HD t99 s3")


async def test_several_servers_are_asked_where_the_item_is(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached"), new_server("memcached")]
    async with source_of(*servers) as source:
        for number in range(8):
            key = b"k:%d" % number
            with Plain(servers[number % 2]) as plain:
                plain.say(b"set %b 0 0 3\r\nold" % key)
                check = check_of(plain, key)
                assert await source.transact([key], [check], [replacing(check, b"new")]) == [b"STORED"]
                assert plain.say(b"mg %b s" % key) == b"HD s3"
                assert version_of(plain, key) != check.expected


@pytest.mark.parametrize(
    ("checks", "commands"),
    [
        ([Check((b"get", b"k"), b"1", "k")], [(b"delete", b"k")]),
        ([Check((b"mg", b"k", b"T0"), b"1", "k")], [(b"delete", b"k")]),
        ([Check((b"mg", b"a b", b"c"), b"1", "k")], [(b"delete", b"k")]),
        ([], [(b"ms", b"k", b"T0\r\nflush_all", b"x")]),
        ([], [(b"ms", b"k", b"T0", b"T1", b"x")]),
        ([], [(b"ms", b"k", b"q", b"x")]),
        ([], [(b"ms", b"k", b"C0", b"x")]),
        ([], [(b"ms", b"a b", b"x")]),
        ([], [(b"ms", b"k")]),
        ([], [(b"flush_all",)]),
        ([], [(b"delete", b"k"), (b"delete", b"k")]),
        ([], [(b"gets", b"k")]),
    ],
)
async def test_what_cannot_be_sent_safely_is_refused(
    memcached: Server, checks: list[Check], commands: list[Command]
) -> None:
    with Plain(memcached) as plain:
        plain.say(b"set k 0 0 3\r\nold")
        async with source_of(memcached) as source:
            with pytest.raises((Refused, Unsupported)) as refused:
                await source.transact([b"k"], checks, commands)
            assert refused.value.line().isprintable()
        assert plain.say(b"mg k s") == b"HD s3"


def test_ms_is_framed_by_its_length() -> None:
    wire = wired((b"ms", b"k", b"F1", b"T2", b"C3", b"a\r\nb"), set())
    assert isinstance(wire, Wire) and not wire.makes
    assert wire.data == b"ms k 4 F1 T2 C3\r\na\r\nb\r\n"
    assert isinstance(wired((b"ms", b"k", b"I", b"x"), set()), CacheError)


async def test_a_stalled_server_is_given_up_before_anything_is_sent(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached")
    async with source_of(server, timeout_s=0.5) as source:
        await source.open()
        server.pause()
        with pytest.raises(TimedOut) as silent:
            await source.transact([], [Check((b"mg", b"k", b"c"), None, "k")], [(b"add", b"k", b"0", b"0", b"x")])
        assert silent.value.detail["sent"] is False
        server.resume()
