"""Keys of Memcached: enumerated, looked at without a trace, changed only by what was asked."""

import asyncio
import base64
from collections.abc import Callable

import pytest

from cachetui.errors import Busy, CacheError, NotACache, Refused, ServerError, Unreachable, Unsupported
from cachetui.keyspace.scan import steps
from cachetui.source.memcached import MemcachedSource
from cachetui.source.memcached import enumeration as walking
from tests.contract.memcached_targets import Plain, misbehaving, source_of, until
from tests.servers.launch import Server

HOSTILE = [b"", b"a b", b"a\r\nflush_all", b"x\n", b"\x00", b"a\tb", b"\x7f", b"k" * 251]
ODD = b"a \n\x00\xff"


async def all_keys(source: MemcachedSource, **more: object) -> list[bytes]:
    return [key async for step in steps(source, **more) for key in step.keys]  # type: ignore[arg-type]


def store_odd(plain: Plain, key: bytes = ODD, data: bytes = b"odd") -> None:
    plain.link.sendall(b"ms %b %d b\r\n%b\r\n" % (base64.b64encode(key), len(data), data))
    assert plain.file.readline() == b"HD\r\n"


# Enumerating


async def test_a_scan_of_100_000_items_is_complete(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached", "-m", "100")
    with Plain(server) as plain:
        plain.fill(b"user:%d" % number for number in range(100_000))
        assert plain.stat(b"curr_items") == b"100000"
    async with source_of(server) as source:
        found: list[bytes] = []
        async for step in steps(source, count=1000):
            assert len(step.keys) <= 1000 and step.total == 100_000
            found += step.keys
        assert sorted(set(found)) == sorted(b"user:%d" % number for number in range(100_000))
        assert len(found) == 100_000
        assert source.sent["lru_crawler metadump"] == 1


async def test_match_limit_and_type(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.fill(b"%b:%d" % (kind, number) for kind in (b"a", b"b") for number in range(50))
    async with source_of(memcached) as source:
        assert sorted(await all_keys(source, match=b"a:?")) == [b"a:%d" % number for number in range(10)]
        assert len(await all_keys(source, limit=7)) == 7
        assert len(await all_keys(source, type_="item")) == 100
        assert await all_keys(source, type_="hash") == []


async def test_an_empty_server(memcached: Server) -> None:
    async with source_of(memcached) as source:
        step = await source.scan()
        assert (step.keys, step.cursor) == ((), None)


async def test_a_slow_reader_does_not_hold_the_crawler(memcached: Server) -> None:
    """In memcached 1.6.18 a second dump stalls a worker thread while the first is still being read."""
    with Plain(memcached) as plain:
        plain.fill(b"key:%d" % number for number in range(50_000))
        async with source_of(memcached) as source:
            step = await source.scan(count=10)
            assert len(step.keys) == 10 and step.cursor is not None

            async def crawler_is_free() -> bool:
                return plain.stat(b"lru_crawler_running") == b"0"

            await until(crawler_is_free)
            assert len(await asyncio.to_thread(plain.dump)) == 50_000
            seen = set(step.keys)
            while step.cursor is not None:
                step = await source.scan(step.cursor, count=1000)
                seen.update(step.keys)
            assert len(seen) == 50_000


async def test_two_scans_at_once(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.fill(b"key:%d" % number for number in range(20_000))
    async with source_of(memcached) as source:
        both = await asyncio.gather(all_keys(source), all_keys(source))
        assert [len(set(keys)) for keys in both] == [20_000, 20_000]


async def test_unknown_and_old_cursors_say_begin_again(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.fill(b"key:%d" % number for number in range(100))
    async with source_of(memcached) as source:
        first = await source.scan(count=10)
        assert first.cursor is not None
        second = await source.scan(first.cursor, count=10)
        for cursor in (first.cursor, b"", b"0", b"7:7", b"\xff", b"9" * 5000):
            with pytest.raises(ServerError, match="cursor"):
                await source.scan(cursor)
        assert second.cursor is not None
        assert len((await source.scan(second.cursor, count=10)).keys) == 10


async def test_an_abandoned_scan_makes_room(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.fill(b"key:%d" % number for number in range(100))
    async with source_of(memcached) as source:
        cursors = [(await source.scan(count=10)).cursor for _ in range(walking.KEPT + 1)]
        with pytest.raises(ServerError):
            await source.scan(cursors[0])
        assert len((await source.scan(cursors[-1], count=10)).keys) == 10


async def test_a_fleet_is_enumerated_server_by_server(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached") for _ in range(3)]
    for number, server in enumerate(servers):
        with Plain(server) as plain:
            plain.fill(b"%d:%d" % (number, item) for item in range(100))
    async with source_of(*servers) as source:
        assert len(set(await all_keys(source))) == 300
        servers[0].kill()
        found, notes = [], set()
        async for step in steps(source):
            found += step.keys
            notes.add(step.note)
        assert len(set(found)) == 200
        assert any(servers[0].address in note for note in notes)


async def test_a_restart_in_the_middle_begins_again(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached")
    with Plain(server) as plain:
        plain.fill(b"old:%d" % number for number in range(200))
    async with source_of(server) as source:
        keys: set[bytes] = set()
        restarts: list[int] = []

        def restart() -> None:
            restarts.append(1)
            keys.clear()

        begun = False
        async for step in steps(source, count=10, on_restart=restart):
            keys.update(step.keys)
            if not begun:
                begun = True
                await source.close()
                server.kill()
                server.start()
                with Plain(server) as plain:
                    plain.fill(b"new:%d" % number for number in range(30))
        assert restarts == [1]
        assert keys == {b"new:%d" % number for number in range(30)}


async def test_dumps_that_are_switched_off(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached", "-X")
    async with source_of(server) as source:
        with pytest.raises(Unsupported, match="switched off"):
            await source.scan()
        asked = source.sent["lru_crawler metadump"]
        with pytest.raises(Unsupported):
            await source.scan()
        assert source.sent["lru_crawler metadump"] == asked == 1
        assert "switched off" in (source.why_not("scan") or "")
        assert (await source.poll("stats")).denied == ("LRU_CRAWLER METADUMP",)  # type: ignore[union-attr]


async def test_a_server_without_a_crawler(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached", "-o", "no_lru_crawler,no_lru_maintainer")
    async with source_of(server) as source:
        with pytest.raises(Unsupported, match="crawler"):
            await source.scan()


def dumping(dump: bytes, running: bytes = b"0") -> Callable[[bytes], bytes]:
    """Return the answers of a server whose dump is `dump`."""

    def answer(line: bytes) -> bytes:
        if line == b"version":
            return b"VERSION 1.6.99\r\n"
        if line == b"stats":
            return b"STAT curr_items 2\r\nSTAT lru_crawler_running %b\r\nEND\r\n" % running
        return dump

    return answer


async def test_the_greeting_of_newer_dumps() -> None:
    rest = b" exp=-1 la=1 cas=1 fetch=no cls=1 size=60\n"
    dump = b"OK\r\nkey=a%bkey=b%%20c%bEND\r\n" % (rest, rest)
    async with misbehaving(dumping(dump)) as port, source_of(port) as source:
        assert await all_keys(source) == [b"a", b"b c"]


async def test_servers_that_cannot_walk_the_hash_table() -> None:
    plain = dumping(b"key=a exp=-1 la=1 cas=1 fetch=no cls=1 size=60\nEND\r\n")

    def answer(line: bytes) -> bytes:
        return b"BADCLASS invalid class id\r\n" if line.endswith(b" hash") else plain(line)

    async with misbehaving(answer) as port, source_of(port) as source:
        assert await all_keys(source) == [b"a"]


async def test_nothing_is_missed_while_items_move_between_the_lrus(memcached: Server) -> None:
    async with source_of(memcached) as source:
        with Plain(memcached) as plain:
            for number in range(5):
                plain.fill(b"%d:%d" % (number, item) for item in range(10_000))
                assert len(await all_keys(source)) == 10_000 * (number + 1)


@pytest.mark.parametrize("server", [dumping(b"BUSY currently processing crawler request\r\n"), dumping(b"", b"1")])
async def test_a_busy_crawler_is_waited_for_within_the_deadline(server: Callable[[bytes], bytes]) -> None:
    async with misbehaving(server) as port, source_of(port, timeout_s=0.4) as source:
        with pytest.raises((Busy, Unreachable)) as raised:
            await source.scan()
        assert source.sent["stats"] > 1 or isinstance(raised.value, Busy)


@pytest.mark.parametrize(
    "dump",
    [b"key=a exp=-1\nnonsense\nEND\r\n", b"key=a exp=-1\n" + b"x" * 100_000, b"<html>\r\n", b"SERVER_ERROR oops\r\n"],
)
async def test_dumps_that_make_no_sense(dump: bytes) -> None:
    async with misbehaving(dumping(dump)) as port, source_of(port, timeout_s=0.5) as source:
        with pytest.raises((ServerError, NotACache)):
            step = await source.scan()
            while step.cursor is not None:
                step = await source.scan(step.cursor)


# Looking


async def test_facts_and_values(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.fill([b"a", "grün".encode()], b"hello")
        plain.link.sendall(b"set timed 7 100 5\r\nworld\r\n")
        assert plain.file.readline() == b"STORED\r\n"
    async with source_of(memcached) as source:
        facts = (await source.facts([b"timed", b"a", "grün".encode(), b"gone"])).facts
        assert [fact.exists for fact in facts] == [True, True, True, False]
        assert facts[0].has_ttl and facts[0].ttl_s is not None and 90 < facts[0].ttl_s <= 100
        assert facts[1].has_ttl is False and facts[1].ttl_s is None
        assert facts[1].type == "item" and facts[1].size_bytes and facts[1].idle_s is not None
        assert facts[1].note == "never fetched" and facts[1].encoding == "class 1"
        value = await source.value(b"timed")
        assert (value.items[0].data, value.total, value.flags, value.facts.length) == (b"world", 5, 7, 5)
        assert value.facts.has_ttl and value.facts.size_bytes
        gone = await source.value(b"gone")
        assert not gone.facts.exists and gone.note == "gone" and gone.items == ()


async def test_a_big_value_is_read_to_its_window(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached", "-m", "128", "-I", "32m")
    with Plain(server) as plain:
        plain.fill([b"big"], b"0123456789" * 100_000)
        plain.fill([b"huge"], b"ab" * 10_000_000)
    async with source_of(server) as source:
        big = await source.value(b"big", max_bytes=25)
        assert (big.items[0].data, big.total) == (b"0123456789012345678901234", 1_000_000)
        assert big.note == "first 25 of 1000000 bytes"
        huge = await source.value(b"huge", max_bytes=4)
        assert (huge.items[0].data, huge.total) == (b"abab", 20_000_000)
        assert (await source.value(b"big", max_bytes=1)).items[0].data == b"0"


async def test_looking_leaves_no_trace(memcached: Server) -> None:
    """Neither the last access nor the fetched mark of any item changes."""
    with Plain(memcached) as plain:
        plain.fill([b"a", b"b"])
        store_odd(plain)
        begun = plain.stat(b"time")

        async def a_second_has_gone() -> bool:
            return int(plain.stat(b"time")) >= int(begun) + 2

        await until(a_second_has_gone)
        before, hits = plain.dump(), plain.stat(b"get_hits")
        async with source_of(memcached) as source:
            keys = await all_keys(source)
            await source.facts([*keys, b"gone"])
            assert plain.stat(b"get_hits") == hits
            for key in keys:
                assert (await source.value(key)).facts.exists
        after = plain.dump()
        assert after == before
        assert all(b"fetch=no" in line for line in after.values())
        # The proof that such a trace would show: one ordinary read.
        plain.say(b"mg a v")
        plain.file.readline()
        assert plain.dump()[b"a"] != before[b"a"]


async def test_facts_do_not_count_as_lookups(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.fill([b"a"])
        before = plain.stat(b"cmd_get"), plain.stat(b"get_hits"), plain.stat(b"get_misses")
        async with source_of(memcached) as source:
            await source.facts([b"a", b"gone"])
        assert (plain.stat(b"cmd_get"), plain.stat(b"get_hits"), plain.stat(b"get_misses")) == before


@pytest.mark.parametrize("key", HOSTILE)
async def test_hostile_names_never_reach_the_wire(memcached: Server, key: bytes) -> None:
    with Plain(memcached) as plain:
        plain.fill([b"a", b"k" * 250])
        async with source_of(memcached) as source:
            await source.open()
            flushes = plain.stat(b"cmd_flush")
            with pytest.raises(Refused) as raised:
                await source.value(key)
            assert raised.value.message.isprintable()
            (fact,) = (await source.facts([key])).facts
            assert not fact.exists and fact.note
            replies = await source.execute(
                [(b"delete", key), (b"touch", key, b"1"), (b"set", key, b"0", b"0", b"x"), (b"delete", b"a")]
            )
            assert [isinstance(reply, Refused) for reply in replies] == [True, True, True, False]
            assert replies[3] == b"DELETED"
            assert list(plain.dump()) == [b"k" * 250]
            assert plain.stat(b"cmd_flush") == flushes


async def test_names_that_only_travel_encoded_are_reached_once_a_scan_has_found_them(memcached: Server) -> None:
    with Plain(memcached) as plain:
        store_odd(plain)
        async with source_of(memcached) as source:
            with pytest.raises(Refused):
                await source.value(ODD)
            assert await all_keys(source) == [ODD]
            value = await source.value(ODD)
            assert value.items[0].data == b"odd" and value.facts.key == ODD
            assert (await source.facts([ODD])).facts[0].exists
            assert await source.execute([(b"touch", ODD, b"100")]) == [b"TOUCHED"]
            assert (await source.facts([ODD])).facts[0].has_ttl
            assert await source.execute([(b"delete", ODD), (b"delete", ODD)]) == [b"DELETED", b"NOT_FOUND"]


# Changing


async def test_commands_and_their_replies(memcached: Server) -> None:
    async with source_of(memcached) as source:
        assert await source.execute(
            [
                (b"set", b"a", b"3", b"0", b"two words\r\n"),
                (b"add", b"a", b"0", b"0", b"x"),
                (b"touch", b"a", b"50"),
                (b"touch", b"gone", b"50"),
                (b"delete", b"gone"),
            ]
        ) == [b"STORED", b"NOT_STORED", b"TOUCHED", b"NOT_FOUND", b"NOT_FOUND"]
        value = await source.value(b"a")
        assert (value.items[0].data, value.flags, value.facts.has_ttl) == (b"two words\r\n", 3, True)
        assert await source.execute([(b"cache_memlimit", b"64"), (b"lru", b"mode", b"segmented")]) == [b"OK", b"OK"]
        assert await source.execute([(b"flush_all",)]) == [b"OK"]
        assert await source.execute([]) == []


async def test_what_is_not_a_command_is_refused_here(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.fill([b"a"])
        async with source_of(memcached) as source:
            replies = await source.execute(
                [
                    (b"CONFIG", b"SET", b"maxmemory", b"1"),
                    (b"cache_memlimit", b"1\r\nflush_all"),
                    (b"touch", b"a", b"1\r\nflush_all"),
                    (b"set", b"a", b"0", b"0 1", b"x"),
                    (b"delete",),
                    (b"get", b"a"),
                    (),
                ]
            )
            assert all(isinstance(reply, CacheError) for reply in replies)
            assert "delete" not in source.sent
            assert list(plain.dump()) == [b"a"]


async def test_flags_and_reasons(memcached: Server) -> None:
    async with source_of(memcached) as source:
        flags = await source.flags(["delete", "FLUSH_ALL", "cache_memlimit", "me", "lru mode", "hgetall"])
        assert flags["delete"] == {"write"}
        assert flags["FLUSH_ALL"] == {"write", "admin", "dangerous"}
        assert flags["cache_memlimit"] == {"write", "admin"}
        assert flags["me"] == {"readonly"} and flags["lru mode"] == {"write", "admin"} and flags["hgetall"] is None
        assert await source.policies() == ()
        assert "no eviction policy" in (source.why_not("policy") or "")
        assert "cannot close" in (source.why_not("kill") or "")
        assert [source.why_not(can) for can in ("scan", "value", "delete", "ttl", "clients", "slowlog")] == [None] * 6  # type: ignore[arg-type]


async def test_a_fleet_finds_keys_wherever_they_are(new_server: Callable[..., Server]) -> None:
    from pymemcache.client.hash import HashClient

    servers = [new_server("memcached") for _ in range(3)]
    client = HashClient([("127.0.0.1", server.port) for server in servers], default_noreply=False)
    for number in range(50):
        client.set(f"key:{number}", f"{number}")
    with Plain(servers[0]) as plain:
        plain.fill([b"elsewhere:%d" % number for number in range(20)])
    async with source_of(*servers) as source:
        keys = [b"key:%d" % number for number in range(50)]
        strays = [b"elsewhere:%d" % number for number in range(20)]
        asked = source.sent["me"]
        assert all(fact.exists for fact in (await source.facts(keys)).facts)
        assert source.sent["me"] == asked + 50  # each at its home, at once
        assert all(fact.exists for fact in (await source.facts(strays)).facts)
        assert (await source.value(b"elsewhere:7")).facts.exists
        assert (await source.value(b"key:7")).items[0].data == b"7"

        # A copy left behind after a change of the ring goes as well.
        for server in servers:
            with Plain(server) as plain:
                plain.fill([b"copied"])
        assert await source.execute([(b"delete", b"copied"), (b"delete", b"key:7"), (b"delete", b"gone")]) == [
            b"DELETED",
            b"DELETED",
            b"NOT_FOUND",
        ]
        for server in servers:
            with Plain(server) as plain:
                assert plain.say(b"me copied") == b"EN"
        assert client.get("key:7") is None

        assert await source.execute([(b"set", b"made", b"0", b"0", b"x")]) == [b"STORED"]
        assert client.get("made") == b"x"
        assert await source.execute([(b"flush_all",)]) == [b"OK"]
        assert not any(fact.exists for fact in (await source.facts([*keys, *strays])).facts)
    client.close()


async def test_a_dead_server_of_a_fleet_stands_in_its_commands_places(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached") for _ in range(2)]
    keys = [b"key:%d" % number for number in range(20)]
    async with source_of(*servers) as source:
        await source.execute([(b"set", key, b"0", b"0", b"x") for key in keys])
        servers[0].kill()
        replies = await source.execute([(b"delete", key) for key in keys])
        deleted = [reply for reply in replies if reply == b"DELETED"]
        failed = [reply for reply in replies if isinstance(reply, Unreachable)]
        assert deleted and failed and len(deleted) + len(failed) == 20
        servers[1].kill()
        with pytest.raises(Unreachable):
            await source.execute([(b"delete", key) for key in keys])
