"""Many commands to memcached at once: items read without a trace, deleted at their version, put back only if absent."""

from __future__ import annotations

import asyncio

import pytest

from cachetui.errors import CacheError, Refused, ServerError, TimedOut, Unreachable
from tests.contract.memcached_targets import Plain, misbehaving, source_of
from tests.contract.test_redis_enumeration import NewServer
from tests.servers.launch import Server

SHOWN = (b"v", b"f", b"t", b"c", b"s")
MANY = 5_000
BINARY = b"\x00a b\r\nc"
"""As other clients write such a name: base64-encoded."""


def read(key: bytes) -> tuple[bytes, ...]:
    return (b"mg", key, *SHOWN)


async def test_what_is_read_is_what_is_there(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.say(b"set kept 7 0 5\r\na\r\nb\x00")
        plain.say(b"set soon 0 500 0\r\n")
        plain.say(b"ms AGEgYg0KYw== 1 b\r\nx")
        async with source_of(memcached) as source:
            while (step := await source.scan()) and BINARY not in step.keys:
                pass
            kept, soon, gone, binary = await source.execute([read(b"kept"), read(b"soon"), read(b"none"), read(BINARY)])
            assert gone is None
            assert isinstance(kept, dict) and isinstance(soon, dict) and isinstance(binary, dict)
            assert kept.pop(b"c") > 0
            assert kept == {b"v": b"a\r\nb\x00", b"f": 7, b"t": -1, b"s": 5}
            assert (soon[b"v"], soon[b"s"]) == (b"", 0) and 490 < soon[b"t"] <= 500
            assert binary[b"v"] == b"x"
            assert await source.execute([(b"mg", b"kept", b"t", b"c")]) == [{b"t": -1, b"c": plain_version(plain)}]
        # Nobody sees that we looked.
        assert b"fetch=no" in plain.say(b"me kept")


def plain_version(plain: Plain) -> int:
    return int(plain.say(b"mg kept c u").removeprefix(b"HD c"))


async def test_a_version_is_deleted_and_nothing_newer(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.say(b"set a 0 0 1\r\n1")
        plain.say(b"set b 0 0 1\r\n1")
        async with source_of(memcached) as source:
            a, b = await source.execute([read(b"a"), read(b"b")])
            assert isinstance(a, dict) and isinstance(b, dict)
            plain.say(b"set b 0 0 1\r\n2")
            replies = await source.execute(
                [(b"md", key, b"C%d" % item[b"c"]) for key, item in ((b"a", a), (b"b", b), (b"a", a))]
            )
            assert replies == [b"DELETED", b"EXISTS", b"NOT_FOUND"]
            # Back again, and over nothing.
            again = [(b"ms", key, b"old\r\n", b"F9", b"T100", b"ME") for key in (b"a", b"b")]
            assert await source.execute(again) == [b"STORED", b"NOT_STORED"]
            assert await source.execute([(b"ms", b"a", b"F9", b"T100", b"ME", b"x")]) == [b"NOT_STORED"]
            (found,) = await source.execute([read(b"a")])
            assert isinstance(found, dict) and (found[b"v"], found[b"f"]) == (b"old\r\n", 9) and 90 < found[b"t"] <= 100
            odd = await source.execute([(b"mg", b"a b", b"v"), (b"mg", b"a", b"T0"), (b"md", b"a", b"q"), (b"md", b"")])
            assert all(isinstance(reply, Refused) for reply in odd)
            assert plain.say(b"mg b v s u") == b"VA 1 s1"


async def test_several_calls_are_under_way_at_once(memcached: Server) -> None:
    keys = [b"k%d" % at for at in range(MANY)]
    with Plain(memcached) as plain:
        plain.fill(keys)
        before = int(plain.stat(b"curr_connections"))
        async with source_of(memcached) as source:
            parts = [keys[at : at + 250] for at in range(0, MANY, 250)]
            shown = await asyncio.gather(*(source.execute([read(key) for key in part]) for part in parts))
            assert all(isinstance(item, dict) and item[b"v"] == b"v" for part in shown for item in part)
            done = await asyncio.gather(*(source.execute([(b"delete", key) for key in part]) for part in parts))
            assert [reply for part in done for reply in part] == [b"DELETED"] * MANY
            assert source.sent["delete"] == source.sent["mg"] == MANY
            assert int(plain.stat(b"curr_connections")) == before + 4
        assert plain.dump() == {}  # `curr_items` also counts what an earlier test left and flushed


async def test_a_stopped_or_killed_server_is_said(new_server: NewServer) -> None:
    server = new_server("memcached")
    async with source_of(server, timeout_s=0.5) as source:
        assert await source.execute([(b"set", b"k", b"0", b"0", b"v")]) == [b"STORED"]
        server.pause()
        failed = await asyncio.gather(*(source.execute([(b"delete", b"k")]) for _ in range(6)), return_exceptions=True)
        assert all(isinstance(error, TimedOut) for error in failed)
        assert "sent" not in failed[0].detail  # type: ignore[union-attr]
        server.resume()
        assert await source.execute([read(b"none")]) == [None]
        server.kill()
        for _ in range(2):  # the first may not have heard of it yet
            with pytest.raises(Unreachable) as raised:
                await source.execute([(b"delete", b"k")])
        assert raised.value.detail["sent"] is False
        server.start()
        assert await source.execute([(b"delete", b"k")]) == [b"NOT_FOUND"]


async def test_a_cancelled_call_leaves_nothing_out_of_step(memcached: Server) -> None:
    keys = [b"k%d" % at for at in range(MANY)]
    with Plain(memcached) as plain:
        plain.fill(keys, b"x" * 1000)
        async with source_of(memcached) as source:
            for _ in range(10):
                reading = asyncio.create_task(source.execute([read(key) for key in keys]))
                await asyncio.sleep(0)
                await asyncio.sleep(0.002)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                assert await source.execute([(b"mg", b"none", b"c"), (b"mg", b"k1", b"s")]) == [None, {b"s": 1000}]


LIES = {
    "another item": b"VA 1 f0 t-1 c1 s1 kother\r\nx\r\n",
    "a longer value": b"VA 1 f0 t-1 c1 s1 kk\r\nxyz\r\n",
    "another size": b"VA 1 f0 t-1 c1 s9 kk\r\nx\r\n",
    "more than was asked for": b"VA 1 f0 t-1 c1 s1 kk\r\nx\r\nEN\r\n",
    "no version": b"VA 1 f0 t-1 s1 kk\r\nx\r\n",
    "no value": b"HD f0 t-1 c1 s1 kk\r\n",
    "rubbish": b"hello\r\n",
}


@pytest.mark.parametrize("what", sorted(LIES))
async def test_a_reply_that_does_not_fit_ends_the_connection(what: str) -> None:
    asked: list[bytes] = []

    def answer(line: bytes) -> bytes | None:
        asked.append(line)
        return b"VERSION 1.6.18\r\n" if line.startswith(b"version") else LIES[what]

    async with misbehaving(answer) as port, source_of(port) as source:
        for _ in range(2):
            with pytest.raises(ServerError):
                await source.execute([read(b"k")])
    assert [line.split(b" ")[0].strip() for line in asked] == [b"version", b"mg"] * 2


async def test_in_a_fleet_a_version_is_looked_for_where_it_was_read(new_server: NewServer) -> None:
    one, other = new_server("memcached"), new_server("memcached")
    keys = [b"k%d" % at for at in range(200)]
    with Plain(one) as at_one, Plain(other) as at_other:
        at_one.fill(keys)
        at_other.fill(keys[:100])
        async with source_of(one, other, timeout_s=0.5) as source:
            items = await source.execute([read(key) for key in [*keys, b"none"]])
            assert items.pop() is None
            versions = [item[b"c"] for item in items if isinstance(item, dict)]
            assert len(versions) == 200
            done = await source.execute(
                [(b"md", key, b"C%d" % version) for key, version in zip(keys, versions, strict=True)]
            )
            assert done == [b"DELETED"] * 200
            assert int(at_one.stat(b"curr_items")) + int(at_other.stat(b"curr_items")) == 100
            # Without a version every copy goes.
            assert await source.execute([(b"delete", key) for key in keys[:100]]) == [b"DELETED"] * 100
            assert at_one.stat(b"curr_items") == at_other.stat(b"curr_items") == b"0"
            other.kill()
            replies = await source.execute([(b"set", key, b"0", b"0", b"v") for key in keys])
            lost = [reply for reply in replies if isinstance(reply, CacheError)]
            assert 0 < len(lost) < 200 and replies.count(b"STORED") == 200 - len(lost)
