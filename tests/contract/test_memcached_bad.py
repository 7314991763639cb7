"""Replies that are cut, senseless or somebody else's: one true line each, and the connection is never used again."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable

import pytest

from cachetui.errors import Busy, CacheError, NotACache, Refused, ServerError, Unreachable, Unsupported
from cachetui.source.memcached import backlog, listing, walk
from tests.contract.memcached_targets import Answer, Plain, misbehaving, source_of, until
from tests.contract.test_redis_enumeration import Names
from tests.contract.test_redis_enumeration_trouble import Facts
from tests.servers.launch import Server

ROW = b"key=%b exp=-1 la=1 cas=1 fetch=no cls=1 size=60\n"
STATS = b"STAT time 1700000000\r\nSTAT curr_items 2\r\nSTAT lru_crawler_running %b\r\nEND\r\n"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAUSE_S", 0.001)
    monkeypatch.setattr(walk, "WAIT_S", 0.2)


def dumping(dump: bytes, *, running: bytes = b"0", version: bytes = b"1.6.18") -> Answer:
    def answer(line: bytes) -> bytes:
        if line == b"version":
            return b"VERSION %b\r\n" % version
        return STATS % running if line == b"stats" else dump

    return answer


async def failure(answer: Answer, sink: Names | None = None) -> CacheError:
    async with misbehaving(answer) as port, source_of(port, timeout_s=0.3) as source:
        with pytest.raises(CacheError) as raised:
            await source.enumeration(sink or Names()).run()
    assert raised.value.line().isprintable()
    return raised.value


@pytest.mark.parametrize("wanted", [(), ("ttl", "size")], ids=["names", "facts"])
@pytest.mark.parametrize(
    ("dump", "kind", "words"),
    [
        (ROW % b"a" + b"nonsense\n" + ROW % b"b" + b"END\r\n", ServerError, "nonsense"),
        (ROW % b"a" + b"SERVER_ERROR oops\r\n", ServerError, "oops"),
        (ROW % b"a" + b"x" * 100_000, NotACache, "endless line"),
        (ROW % b"a%ZZ" + b"END\r\n", ServerError, "metadump"),
        (ROW % b"a", Unreachable, "did not answer|no answer|within"),
        (b"<html>\r\n", ServerError, "html"),
        (b"ERROR\r\n", Unsupported, "does not take the command"),
        (b"CLIENT_ERROR bad command line format\r\n", ServerError, "bad command"),
        (b"ERROR metadump not allowed\r\n", Unsupported, "switched off"),
        (b"-ERR unknown command\r\n", ServerError, "ERR"),
    ],
)
async def test_a_dump_that_makes_no_sense(
    dump: bytes, kind: type[CacheError], words: str, wanted: tuple[str, ...]
) -> None:
    error = await failure(dumping(dump), Facts(*wanted))
    assert isinstance(error, kind) and re.search(words, error.message), error.line()


async def test_a_proxy_that_lacks_what_is_asked_is_named() -> None:
    answers = {b"version": b"VERSION 1.6.18-proxy\r\n"}
    async with misbehaving(lambda line: answers.get(line, b"ERROR\r\n")) as port, source_of(port) as source:
        with pytest.raises(Unsupported) as raised:
            await source.open()
        assert "proxy" in raised.value.hint


async def test_somebody_elses_dump_is_waited_for_and_said() -> None:
    async with misbehaving(dumping(b"", running=b"1")) as port, source_of(port) as source:
        enumeration = source.enumeration(Names())
        running = asyncio.create_task(enumeration.run())

        async def said() -> bool:
            return enumeration.progress.note.startswith("waiting: ") and "busy" in enumeration.progress.note

        await until(said)
        with pytest.raises(Busy):
            await running
        assert source.sent["stats"] > 1 and "lru_crawler metadump" not in source.sent


async def test_a_refused_dump_is_remembered_and_not_asked_for_again(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached", "-X")
    async with source_of(server) as source:
        for _ in range(2):
            with pytest.raises(Unsupported, match="switched off"):
                await source.enumeration(Names()).run()
        assert source.sent["lru_crawler metadump"] == 1
        assert "switched off" in (source.why_not("scan") or "")


REPLIES: list[tuple[bytes, type[CacheError], str]] = [
    (b"SERVER_ERROR out of memory storing object", ServerError, "out of memory"),
    (b"CLIENT_ERROR bad data chunk", ServerError, "bad data"),
    (b"ERROR", Unsupported, "does not take"),
    (b"hello", ServerError, "makes no sense"),
    (b"+OK", ServerError, "makes no sense"),
    (b"\x1b[2J", ServerError, "makes no sense"),
    (b"VALUE k 0 1", ServerError, "makes no sense"),
]


@pytest.mark.parametrize(("said", "kind", "words"), REPLIES)
@pytest.mark.parametrize("command", [(b"delete", b"k"), (b"touch", b"k", b"5"), (b"set", b"k", b"0", b"0", b"v")])
async def test_what_a_server_says_to_a_write(
    command: tuple[bytes, ...], said: bytes, kind: type[CacheError], words: str
) -> None:
    links = 0

    def answer(line: bytes) -> bytes:
        nonlocal links
        links += line == b"version"
        return b"VERSION 1.6.18\r\n" if line == b"version" else b"" if line == b"v" else said + b"\r\n"

    async with misbehaving(answer) as port, source_of(port) as source:
        for _ in range(2):
            try:
                (reply,) = await source.execute([command])
            except CacheError as error:
                reply = error
            assert isinstance(reply, kind) and re.search(words, reply.message)
            assert reply.message.isprintable()
    # What makes no sense ends the connection; a refusal does not.
    assert links == (2 if "sense" in words else 1)


@pytest.mark.parametrize("said", [b"HD\r\nH", b"HD\r\n", b"HD\r\nHD\r\nHD\r\n", b""])
async def test_replies_to_many_deletes_that_are_cut_or_too_many(said: bytes) -> None:
    count = 0

    def answer(line: bytes) -> bytes | None:
        nonlocal count
        if line == b"version":
            return b"VERSION 1.6.18\r\n"
        count += 1
        return said if count % 2 else (b"" if said.endswith(b"\n") and said.count(b"HD") != 2 else None)

    async with misbehaving(answer) as port, source_of(port, timeout_s=0.3) as source:
        with pytest.raises(CacheError):
            await source.execute([(b"delete", b"a"), (b"delete", b"b")])


@pytest.mark.parametrize("key", [b"", b"a b", b"a\r\nflush_all", b"a\nb", b"\x00", b"\x7f", b"k" * 251])
async def test_a_name_that_cannot_be_sent_spoils_no_others(memcached: Server, key: bytes) -> None:
    with Plain(memcached) as plain:
        plain.fill([b"a", b"b"])
        flushes = plain.stat(b"cmd_flush")
        async with source_of(memcached) as source:
            replies = await source.execute([(b"delete", b"a"), (b"delete", key), (b"delete", b"b")])
        assert replies[::2] == [b"DELETED", b"DELETED"] and isinstance(replies[1], Refused)
        assert plain.stat(b"cmd_flush") == flushes


async def test_names_of_all_bytes_are_listed_found_and_deleted(memcached: Server) -> None:
    names = [bytes((byte,)) + b"-%d%%" % byte for byte in range(256)] + [bytes(range(180))]
    with Plain(memcached) as plain:
        for name in names:
            plain.link.sendall(b"ms %b 1 b\r\nx\r\n" % base64.b64encode(name))
            assert plain.file.readline() == b"HD\r\n"
        async with source_of(memcached) as source:
            await source.enumeration(sink := Facts("ttl", "size")).run()
            assert sink.facts.keys() == set(names)
            await source.enumeration(bare := Names()).run()
            assert bare.names == set(names)
            assert all(fact.exists for fact in (await source.facts(names)).facts)
            assert set(await source.execute([(b"delete", name) for name in names])) == {b"DELETED"}
        assert plain.dump() == {}


async def test_a_reader_who_is_far_behind_holds_nobody_up(
    new_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits goes to a file; the crawler is free as soon as the dump is read."""
    monkeypatch.setattr(backlog, "IN_MEMORY", 2000)
    monkeypatch.setattr(walk, "CHUNK_BYTES", 16 * 1024)
    names = [b"key:%d" % at for at in range(30_000)]
    server = new_server("memcached")
    with Plain(server) as plain:
        plain.fill(names)
        async with source_of(server) as source:
            enumeration = source.enumeration(sink := Names(lambda: enumeration.pause()))  # noqa: PLW0108 - not there yet
            running = asyncio.create_task(enumeration.run())

            async def read_to_the_end() -> bool:
                return enumeration.progress.state == "paused" and enumeration.progress.share == 1.0

            await until(read_to_the_end)
            assert len(sink.names) < 2000
            assert plain.stat(b"lru_crawler_running") == b"0"
            enumeration.resume()
            await running
        assert sink.names == set(names) and enumeration.progress.seen == 30_000
