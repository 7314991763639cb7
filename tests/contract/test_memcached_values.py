"""Windows on Memcached's items: by offset, with the version that a write may depend on, and without a trace."""

from collections.abc import Callable

import pytest

from cachetui.model import Value
from cachetui.source.memcached import MemcachedSource
from tests.contract.memcached_targets import Plain, misbehaving, source_of
from tests.servers.launch import Server


async def windows(source: MemcachedSource, key: bytes, max_bytes: int) -> list[Value]:
    found: list[Value] = []
    start = None
    while start is not None or not found:
        found.append(await source.value(key, max_bytes=max_bytes, start=start))
        assert found[-1].start == start and len(found) < 5_000
        start = found[-1].next
    return found


def bytes_of(found: list[Value]) -> bytes:
    return b"".join(item.data for value in found for item in value.items)


async def test_all_windows_give_the_item(memcached: Server) -> None:
    data = bytes(range(256)) * 39 + b"end"
    with Plain(memcached) as plain:
        plain.fill([b"k"], data)
        plain.fill([b"empty"], b"")
    async with source_of(memcached) as source:
        for size, count in ((7, 1_427), (1_000, 10), (len(data), 1), (100_000, 1)):
            found = await windows(source, b"k", size)
            assert bytes_of(found) == data and len(found) == count
            assert {value.total for value in found} == {len(data)}
            assert {item.total_bytes for value in found for item in value.items} == {len(data)}
        assert [value.note for value in found] == [""]
        second = (await windows(source, b"k", 1_000))[1]
        assert second.note == f"bytes 1000 to 2000 of {len(data)}"
        (empty,) = await windows(source, b"empty", 10)
        assert (bytes_of([empty]), empty.note, empty.next) == (b"", "", None)


async def test_an_item_too_long_to_read_to_its_end(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached", "-m", "128", "-I", "32m")
    data = b"".join(b"%07d\n" % number for number in range(2_500_000))
    with Plain(server) as plain:
        plain.fill([b"huge"], data)
    async with source_of(server, timeout_s=5) as source:
        found = await windows(source, b"huge", 3_000_001)
        assert bytes_of(found) == data and len(found) == 7
        middle = await source.value(b"huge", start=b"16000000", max_bytes=8)
        assert (bytes_of([middle]), middle.next) == (b"2000000\n", b"16000008")


async def test_the_version_changes_with_the_item(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.fill([b"k"], b"one")
        async with source_of(memcached) as source:
            before = (await source.value(b"k")).version
            assert before is not None and before == (await source.value(b"k", start=b"1")).version
            assert before == plain.say(b"mg k c").removeprefix(b"HD c")
            plain.fill([b"k"], b"two")
            after = (await source.value(b"k")).version
    assert after is not None and int(after) > int(before)


@pytest.mark.parametrize("start", [b"", b"x", b"-1", b"1.5", b"\xff", b"9" * 30, b"1\r\nflush_all"])
async def test_windows_that_do_not_exist_are_said(memcached: Server, start: bytes) -> None:
    with Plain(memcached) as plain:
        plain.fill([b"k"], b"value")
    async with source_of(memcached) as source:
        value = await source.value(b"k", start=start)
        assert (value.items, value.next, value.note) == ((), None, "there is no such window on this value")
        assert (await source.value(b"k")).items[0].data == b"value"


async def test_an_item_that_shrinks_or_goes_between_windows(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.fill([b"k"], b"0123456789")
        async with source_of(memcached) as source:
            first = await source.value(b"k", max_bytes=8)
            assert first.next == b"8"
            plain.fill([b"k"], b"01")
            shorter = await source.value(b"k", max_bytes=8, start=first.next)
            assert (shorter.items, shorter.next, shorter.total) == ((), None, 2)
            assert shorter.note == "the value is shorter now: begin again"
            plain.say(b"delete k")
            assert (await source.value(b"k", start=first.next)).note == "gone"


async def test_without_versions_there_is_none(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached", "-C")
    with Plain(server) as plain:
        plain.fill([b"k"], b"v")
    async with source_of(server) as source:
        assert (await source.value(b"k")).version is None


async def test_a_server_that_tells_no_version() -> None:
    replies = {
        b"me": b"ME k exp=-1 la=0 cas=1 fetch=no cls=1 size=60\r\n",
        b"mg": b"VA 3 s3 t-1 f0\r\nabc\r\n",
        b"ve": b"VERSION 1.6.18\r\n",
    }
    async with misbehaving(lambda line: replies.get(line[:2], b"ERROR\r\n")) as port, source_of(port) as source:
        value = await source.value(b"k")
    assert (value.version, value.items[0].data) == (None, b"abc")
