"""Windows one after another give every element exactly once, in each order, whatever the type."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cachetui.model import Value
from cachetui.source.redis import RedisSource
from tests.contract.redis_targets import source_of
from tests.servers.launch import Server

MANY = 5_000
PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3])


async def windows(
    source: RedisSource,
    key: bytes,
    *,
    rows: int = 100,
    max_bytes: int = 65_536,
    order: str = "",
    between: Callable[[int], object] = lambda number: None,
) -> list[Value]:
    """Read all windows; `between` is called with the number of each that was read."""
    found, start = [], None
    while True:
        value = await source.value(key, rows=rows, max_bytes=max_bytes, start=start, order=order)
        assert value.start == start and len(value.items) <= rows
        found.append(value)
        if value.next is None:
            return found
        assert value.next != start and value.next.isascii()
        start = value.next
        between(len(found))
        assert len(found) < 2 * MANY


def rows_of(found: list[Value]) -> list[tuple[bytes, bytes, float | None]]:
    return [(item.label, item.data, item.score) for value in found for item in value.items]


def fill(server: Server, count: int = MANY) -> None:
    numbers = range(count)
    with server.client() as client:
        pipeline = client.pipeline(transaction=False)
        pipeline.set("string", bytes(number % 251 for number in numbers))
        pipeline.hset("hash", mapping={f"field:{number}": number for number in numbers})
        pipeline.rpush("list", *numbers)
        pipeline.sadd("set", *(f"member:{number}" for number in numbers))
        pipeline.sadd("integers", *numbers)
        pipeline.zadd("zset", {f"member:{number}": number for number in numbers})
        for number in numbers:
            pipeline.xadd("stream", {"n": number}, id=f"{1 + number // 3}-{number % 3}")
        pipeline.execute()


@PROTOCOLS
@pytest.mark.parametrize("rows", [7, 100, 1000])
async def test_all_windows_give_every_element_once(redis_like: Server, protocol: int, rows: int) -> None:
    fill(redis_like)
    numbers = range(MANY)
    async with source_of(redis_like, protocol=protocol) as source:
        hash_ = rows_of(await windows(source, b"hash", rows=rows))
        assert sorted(hash_) == sorted((b"field:%d" % n, b"%d" % n, None) for n in numbers)
        for key, form in ((b"set", b"member:%d"), (b"integers", b"%d")):
            members = rows_of(await windows(source, key, rows=rows))
            assert sorted(members) == sorted((b"", form % n, None) for n in numbers)
        assert rows_of(await windows(source, b"list", rows=rows)) == [(b"%d" % n, b"%d" % n, None) for n in numbers]
        zset = rows_of(await windows(source, b"zset", rows=rows))
        assert zset == [(b"", b"member:%d" % n, float(n)) for n in numbers]
        stream = rows_of(await windows(source, b"stream", rows=rows))
        assert stream == [(b"%d-%d" % (1 + n // 3, n % 3), b"n=%d" % n, None) for n in reversed(numbers)]


async def test_other_orders_are_the_same_turned_round(redis_like: Server) -> None:
    fill(redis_like, 1_003)
    async with source_of(redis_like) as source:
        for key, order in ((b"list", "descending"), (b"zset", "descending"), (b"stream", "oldest")):
            forward = rows_of(await windows(source, key, rows=100))
            assert rows_of(await windows(source, key, rows=100, order=order)) == forward[::-1]
        for key in (b"hash", b"set", b"string"):
            # An order that does not fit is ignored.
            plain = sorted(rows_of(await windows(source, key, rows=100)))
            assert sorted(rows_of(await windows(source, key, rows=100, order="descending"))) == plain


async def test_a_string_comes_in_pieces(redis_like: Server) -> None:
    data = bytes(range(256)) * 40 + b"end"
    with redis_like.client() as client:
        client.set("string", data)
        client.set("empty", "")
        client.set("number", 12345)
    async with source_of(redis_like) as source:
        for size in (1, 1000, 10_240, 10_243, 20_000):
            found = await windows(source, b"string", max_bytes=size) if size > 1 else []
            assert not found or b"".join(item.data for value in found for item in value.items) == data
            assert not found or len(found) == -(-len(data) // size)
        assert [value.next for value in await windows(source, b"number", max_bytes=2)] == [b"2", b"4", None]
        (empty,) = await windows(source, b"empty")
        assert (empty.items[0].data, empty.total, empty.note) == (b"", 0, "")
        later = await source.value(b"string", start=b"10241", max_bytes=10)
        assert (later.items[0].data, later.total, later.next) == (b"nd", len(data), None)


async def test_small_tables_and_packed_ones(new_server: Callable[..., Server]) -> None:
    """A packed hash answers whole, whatever COUNT says: it is shown in windows all the same."""
    server = new_server("redis7", "--hash-max-listpack-entries", "10000", "--set-max-intset-entries", "10000")
    with server.client() as client:
        client.hset("hash", mapping={f"f{number:04}": "v" * 20 for number in range(3_000)})
        client.sadd("set", *range(3_000))
    async with source_of(server) as source:
        for key in (b"hash", b"set"):
            found = await windows(source, key, rows=64)
            assert len(found) == 47 and [len(value.items) for value in found[:46]] == [64] * 46
            assert len({(label, data) for label, data, _ in rows_of(found)}) == 3_000


async def test_a_packed_hash_that_changes_between_windows_loses_nothing(redis_like: Server) -> None:
    with redis_like.client() as client:
        client.hset("hash", mapping={f"f{number:03}": number for number in range(100)})

        def change(number: int) -> None:
            client.hdel("hash", "f000") if number == 1 else client.hset("hash", f"new{number}", "x")
            if number == 4:  # it outgrows its packing and becomes a table
                client.hset("hash", "long", "x" * 10_000)

        async with source_of(redis_like) as source:
            found = rows_of(await windows(source, b"hash", rows=10, between=change))
    assert {label for label, _, _ in found} >= {b"f%03d" % number for number in range(100)}


async def test_a_table_that_grows_between_windows_loses_nothing(redis_like: Server) -> None:
    fill(redis_like)
    with redis_like.client() as client:

        def grow(number: int) -> None:
            client.sadd("set", *(f"new:{number}:{one}" for one in range(300)))
            client.hset("hash", mapping={f"new:{number}:{one}": "" for one in range(300)})

        async with source_of(redis_like) as source:
            members: set[bytes] = set()
            fields: set[bytes] = set()
            start = other = None
            for number in range(40):
                value = await source.value(b"set", rows=500, start=start)
                members |= {item.data for item in value.items}
                more = await source.value(b"hash", rows=500, start=other)
                fields |= {item.label for item in more.items}
                start, other = value.next, more.next
                if start is None or other is None:
                    break
                grow(number)
            while start is not None:
                value = await source.value(b"set", rows=1000, start=start)
                members |= {item.data for item in value.items}
                start = value.next
            while other is not None:
                value = await source.value(b"hash", rows=1000, start=other)
                fields |= {item.label for item in value.items}
                other = value.next
    assert members >= {b"member:%d" % number for number in range(MANY)}
    assert fields >= {b"field:%d" % number for number in range(MANY)}


async def test_a_sparse_table_comes_in_bounded_steps(redis7: Server) -> None:
    with redis7.client() as client:
        pipeline = client.pipeline(transaction=False)
        for start in range(0, 200_000, 10_000):
            pipeline.sadd("sparse", *range(start, start + 10_000), "x")
        for start in range(0, 199_900, 10_000):
            pipeline.srem("sparse", *range(start, min(start + 10_000, 199_900)))
        pipeline.execute()
    async with source_of(redis7) as source:
        before = source.sent["sscan"]
        value = await source.value(b"sparse", rows=10)
        assert source.sent["sscan"] - before <= 8
        assert value.next is not None and value.note == ""
        found = await windows(source, b"sparse", rows=50)
    assert {item.data for window in found for item in window.items} >= {b"%d" % n for n in range(199_900, 200_000)}


async def test_on_a_slow_link_shorter_windows_come(redis_like: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachetui.source.redis.values.scanned.STEPS_S", 0.0)
    fill(redis_like)
    async with source_of(redis_like) as source:
        for key, command in ((b"set", "sscan"), (b"hash", "hscan")):
            before = source.sent[command]
            found = await windows(source, key, rows=2_500)
            assert source.sent[command] - before == len(found) >= 5
            assert len(set(rows_of(found))) == MANY == len(rows_of(found))


async def test_hash_fields_keep_their_ttl_in_every_window(valkey9: Server) -> None:
    with valkey9.client() as client:
        client.hset("hash", mapping={f"field:{number}": number for number in range(3_000)})
        client.execute_command("HEXPIRE", "hash", 1000, "FIELDS", 2, "field:1", "field:2999")
    async with source_of(valkey9) as source:
        found = await windows(source, b"hash", rows=100)
    timed = {item.label for value in found for item in value.items if item.ttl_s is not None}
    assert timed == {b"field:1", b"field:2999"} and len(rows_of(found)) == 3_000


async def test_bits_by_their_positions(redis_like: Server) -> None:
    places = [0, 7, 8, 63, 64, 1_000, 99_999, 8 * 20_000_000 + 3]
    with redis_like.client() as client:
        for place in places:
            client.setbit("bits", place, 1)
        client.set("none", b"\0" * 1000)
        client.set("full", b"\xff" * 1000)
        client.set("empty", "")
    async with source_of(redis_like) as source:
        found = await windows(source, b"bits", rows=3, max_bytes=4096, order="bits")
        assert [int(data) for _, data, _ in rows_of(found)] == places
        assert found[0].sections[0].rows[0] == ("bits", f"{8 * 20_000_001:,}")
        assert found[0].sections[0].rows[1][1] == "7" and "first 16,777,216 bytes" in found[0].sections[0].rows[1][0]
        full = await windows(source, b"full", rows=100, order="bits")
        assert [int(data) for _, data, _ in rows_of(full)] == list(range(8000))
        assert full[0].sections[0].rows[1] == ("set bits", "8,000")
        none = await source.value(b"none", order="bits")
        assert none.items == () and "no bit is set" in none.note and none.next is None
        empty = await source.value(b"empty", order="bits")
        assert empty.items == () and empty.next is None


async def test_places_beside_their_scores(redis_like: Server) -> None:
    with redis_like.client() as client:
        client.geoadd("geo", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))
    async with source_of(redis_like) as source:
        value = await source.value(b"geo", order="geo")
        assert value.columns == ("member", "longitude, latitude", "score")
        assert {item.label: item.data for item in value.items} == {
            b"Palermo": b"13.361389, 38.115556",
            b"Catania": b"15.087267, 37.502668",
        }
        assert all(item.score is not None for item in value.items)
        found = await windows(source, b"geo", rows=1, order="geo")
        assert len(found) == 2 and {label for label, _, _ in rows_of(found)} == {b"Palermo", b"Catania"}


async def test_a_hyperloglog_is_told_by_its_header(redis_like: Server) -> None:
    with redis_like.client() as client:
        client.pfadd("counted", *range(100))
        client.pfadd("dense", *range(50_000))
        client.pfcount("counted")
        kept = client.get("dense")
        async with source_of(redis_like) as source:
            counted = await source.value(b"counted")
            dense = await source.value(b"dense")
        assert client.get("dense") == kept
    rows = dict(counted.sections[0].rows)
    assert counted.sections[0].title == "HyperLogLog"
    assert rows["encoding"] == "sparse" and 95 <= int(rows["count"]) <= 105
    assert dict(dense.sections[0].rows) == {"encoding": "dense", "count": "not cached"}


@PROTOCOLS
async def test_a_stream_with_its_groups(redis_like: Server, protocol: int) -> None:
    with redis_like.client() as client:
        for number in range(1, 31):
            client.xadd("stream", {"n": number}, id=f"{number}-0")
        for group in ("workers", "a\x1b[31m", *(f"g{number}" for number in range(13))):
            client.xgroup_create("stream", group, id="0")
        client.xreadgroup("workers", "alice", {"stream": ">"}, count=5)
        for number in range(25):
            client.xreadgroup("workers", f"c{number}", {"stream": ">"}, count=1)
    async with source_of(redis_like, protocol=protocol) as source:
        first, *others = await windows(source, b"stream", rows=10)
    assert [value.sections for value in others] == [()] * 2
    about, groups, *consumers = first.sections
    figures = dict(about.rows)
    assert figures["length"] == "30" and figures["groups"] == "15"
    assert (figures["first-entry"], figures["last-entry"]) == ("1-0", "30-0")
    assert groups.title == "groups: the 10 of 15 with most pending" and len(groups.rows) == 10
    heads = dict(zip(groups.columns, groups.rows[0], strict=True))
    assert heads["pending"] == "30" and heads["last delivered"] == "30-0"
    assert (heads["oldest pending"], heads["newest pending"]) == ("1-0", "30-0")
    assert heads["group"] == "workers" and groups.rows[1][0] == "a\\x1b[31m"
    of_workers = [section for section in consumers if section.title.startswith("consumers of workers:")]
    assert of_workers[0].title == "consumers of workers: the 20 of 26 with most pending"
    assert len(of_workers[0].rows) == 20
    assert of_workers[0].rows[0][:2] == ("alice", "5")
    assert all(cell.isprintable() for section in first.sections for row in section.rows for cell in row)


async def test_of_many_groups_and_consumers_none_is_asked_for(
    redis_like: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cachetui.source.redis.values.stream.LISTED", 5)
    with redis_like.client() as client:
        client.xadd("stream", {"n": 1}, id="1-0")
        client.xgroup_create("stream", "busy", id="0")
        for number in range(6):
            client.execute_command("XGROUP", "CREATECONSUMER", "stream", "busy", f"c{number}")
        async with source_of(redis_like) as source:
            about, groups, consumers = (await source.value(b"stream")).sections
            assert groups.rows == (("busy", "6", "0", "0-0", groups.rows[0][4], "-", "-"),)
            assert consumers.title == "consumers of busy: 6, which come only in one piece: not listed"
            assert source.sent["xpending"] == 0
            for number in range(5):
                client.xgroup_create("stream", f"g{number}", id="0")
            before = source.sent["xinfo"]
            about, groups = (await source.value(b"stream")).sections
            assert groups.title == "groups: 6, which come only in one piece: not listed"
            assert dict(about.rows)["groups"] == "6" and source.sent["xinfo"] == before + 1


async def test_a_stream_of_large_entries(redis7: Server) -> None:
    with redis7.client() as client:
        for number in range(1, 5):
            client.xadd("stream", {"f": b"x" * 20_000_000}, id=f"{number}-0")
        client.xgroup_create("stream", "g", id="0")
    async with source_of(redis7, timeout_s=10) as source:
        found = await windows(source, b"stream", max_bytes=1_000)
    assert [[item.label for item in value.items] for value in found] == [[b"4-0"], [b"3-0"], [b"2-0"], [b"1-0"]]
    assert {item.total_bytes for value in found for item in value.items} == {20_000_002}
    titles = [section.title for section in found[0].sections]
    assert titles == ["stream: its entries are large, and XINFO STREAM would bring two of them", "groups"]
    assert found[0].sections[1].rows[0][:3] == ("g", "0", "0")


async def test_a_window_is_bounded_however_much_is_asked_for(redis7: Server) -> None:
    with redis7.client() as client:
        client.sadd("set", *range(25_000))
        client.rpush("list", *range(25_000))
        client.set("string", b"x" * 40_000_000)
    async with source_of(redis7, timeout_s=10) as source:
        for key in (b"set", b"list"):
            value = await source.value(key, rows=10**9)
            assert len(value.items) <= 10_000 and value.next is not None
            found = await windows(source, key, rows=10**9)
            assert len({data for _, data, _ in rows_of(found)}) == 25_000 == len(rows_of(found))
        string = await windows(source, b"string", max_bytes=10**12)
    assert [len(value.items[0].data) for value in string] == [32 * 1024 * 1024, 40_000_000 - 32 * 1024 * 1024]
