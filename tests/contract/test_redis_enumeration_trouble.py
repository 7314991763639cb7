"""Enumerations that go wrong on the way: nothing is missed, and what was lost is said."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import redis

from cachetui.config import Address, Secret
from cachetui.errors import Busy, CacheError, Loading, Unreachable
from cachetui.source.base import Enumeration
from cachetui.source.connect import open_source
from cachetui.source.redis.connection import Credentials
from cachetui.source.redis.scanner import Place, Places, Question, RedisEnumeration
from cachetui.source.redis.scanner import enumeration as enumeration_module
from cachetui.source.redis.scanner import node as node_module
from cachetui.source.redis.scanner.cursors import table_parts
from tests.contract.redis_targets import source_of, target_of, until
from tests.contract.test_redis_enumeration import MANY, Names, NewServer, fill, serve_all_slots
from tests.servers import launch, strange
from tests.servers.launch import Server


class Facts(Names):
    """A sink that keeps what it is told of each name."""

    def __init__(self, *wanted: str) -> None:
        super().__init__()
        self.wanted = wanted
        self.facts: dict[bytes, tuple[str | None, int | None, int | None]] = {}

    def add_facts(
        self,
        keys: Sequence[bytes],
        types: Sequence[str | None],
        ttls_ms: Sequence[int | None],
        sizes_bytes: Sequence[int | None],
    ) -> None:
        self.add(keys)
        self.facts |= zip(keys, zip(types, ttls_ms, sizes_bytes, strict=True), strict=True)


async def test_facts_come_with_the_names(redis_like: Server) -> None:
    names = fill(redis_like, MANY)
    redis_like.command("HSET", "a hash", "f", "v")
    redis_like.command("SET", "soon", "x", "PX", "500000")
    async with source_of(redis_like) as source:
        sink = Facts("type", "ttl", "size")
        await source.enumeration(sink).run()
        assert sink.names == names | {b"a hash", b"soon"} == sink.facts.keys()
        assert sink.facts[b"a hash"][:2] == ("hash", -1)
        type_, ttl_ms, size = sink.facts[b"soon"]
        assert type_ == "string" and 400_000 < (ttl_ms or 0) <= 500_000 and size is not None and size > 0
        # Each by its own name, so that the cost on the screen is true.
        assert min(source.sent[name] for name in ("type", "pttl", "memory usage")) >= MANY
        assert 0 < source.sent["scan"] < MANY
        only = Facts("ttl")
        await source.enumeration(only, type_="hash").run()
        assert only.facts == {b"a hash": (None, -1, None)}


async def test_facts_that_are_denied_are_asked_for_once(redis7: Server) -> None:
    names = fill(redis7, MANY)
    redis7.command("ACL", "SETUSER", "some", "on", ">pw", "~*", "+@all", "-memory")
    try:
        async with source_of(redis7, user="some", password=Secret("pw")) as source:
            enumeration = source.enumeration(sink := Facts("type", "size"))
            await enumeration.run()
            assert sink.facts.keys() == names
            assert set(sink.facts.values()) == {("string", -1, None)}
            assert "MEMORY" in enumeration.progress.note
        refusals = redis7.command("INFO", "errorstats")
        # Those of the pipelines that were under way.
        assert isinstance(refusals, dict) and refusals["errorstat_NOPERM"]["count"] < 4_000
    finally:
        redis7.command("ACL", "DELUSER", "some")


async def test_facts_survive_a_lost_connection(redis7: Server) -> None:
    names = fill(redis7, MANY)
    async with source_of(redis7) as source:
        sink = Facts("type", "ttl")
        sink._then = lambda: redis7.command("CLIENT", "KILL", "TYPE", "normal")
        await source.enumeration(sink).run()
        assert sink.facts.keys() == names and sink.cleared == 0


async def test_on_a_quiet_server_each_name_comes_once(redis_like: Server) -> None:
    fill(redis_like, MANY)
    async with source_of(redis_like) as source:
        enumeration = source.enumeration(Names())
        await enumeration.run()
        # Names where two parts meet came with both and were dropped once; a resized table may repeat a few.
        assert MANY <= enumeration.progress.seen <= 1.001 * MANY


@pytest.mark.parametrize("kind", ["redis7", "valkey9"])
async def test_wrong_parts_are_noticed(new_server: NewServer, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of one table where there is a table for each slot, or names that all lie in one slot."""
    server = new_server(kind, "--cluster-enabled", "yes")
    serve_all_slots(server)
    names = fill_slowly(server, "k%d")
    monkeypatch.setattr(node_module.NodeScan, "_cluster_parts", lambda *_: list(table_parts(4)))
    async with source_of(server) as source:
        enumeration = source.enumeration(sink := Names())
        await enumeration.run()
        assert sink.names == names
        assert ("one cursor" in enumeration.progress.note) == (kind == "valkey9")
    monkeypatch.undo()
    server.command("FLUSHALL")
    names = fill_slowly(server, "{tag}%d")
    async with source_of(server) as source:
        await source.enumeration(sink := Names()).run()
        assert sink.names == names


def fill_slowly(server: Server, form: str) -> set[bytes]:
    """Write keys one by one: in a cluster each lies in a slot of its own."""
    with server.client() as client:
        pipe = client.pipeline(transaction=False)
        for at in range(MANY):
            pipe.set(form % at, "x")
        pipe.execute()
    return {(form % at).encode() for at in range(MANY)}


async def test_without_info_a_lost_connection_begins_again(redis7: Server) -> None:
    names = fill(redis7, MANY)
    redis7.command("ACL", "SETUSER", "blind", "on", ">pw", "~*", "+@all", "-info")
    try:
        async with source_of(redis7, user="blind", password=Secret("pw")) as source:
            sink = Names(lambda: redis7.command("CLIENT", "KILL", "USER", "blind"))
            enumeration = source.enumeration(sink)
            await enumeration.run()
            assert sink.names == names and sink.cleared == enumeration.progress.restarts == 1
    finally:
        redis7.command("ACL", "DELUSER", "blind")


async def test_what_the_sink_raises_is_no_fault_of_the_server(redis7: Server) -> None:
    fill(redis7, MANY)

    class Full(Names):
        def add(self, keys: Sequence[bytes]) -> None:
            raise BrokenPipeError("nobody reads")

    async with source_of(redis7) as source:
        enumeration = source.enumeration(Full())
        with pytest.raises(BrokenPipeError, match="nobody reads"):
            await enumeration.run()
        assert enumeration.progress.state == "failed" and source.sent["scan"] < 100


async def test_very_long_names_make_smaller_steps(redis7: Server) -> None:
    with redis7.client() as client:
        for at in range(80):
            client.set(f"{at:03}" + "n" * 1_000_000, "x")
    async with source_of(redis7) as source:
        await source.enumeration(sink := Names()).run()
    assert len(sink.names) == 80 and {len(name) for name in sink.names} == {1_000_003}


async def test_a_script_that_blocks_is_waited_for(redis7: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "RETRY_S", 0.05)
    names = fill(redis7, MANY)
    redis7.command("CONFIG", "SET", "busy-reply-threshold", "1")
    held: list[Enumeration] = []
    async with source_of(redis7) as source:
        enumeration = source.enumeration(sink := Names(lambda: held[0].pause()))  # noqa: PLW0108 - not there yet
        held.append(enumeration)
        running = asyncio.create_task(enumeration.run())
        await until(lambda: bool(sink.names))
        script = threading.Thread(target=run_until_killed, args=(redis7,))
        script.start()
        await until(lambda: is_busy(redis7))
        before = source.sent["scan"]
        enumeration.resume()
        await until(lambda: source.sent["scan"] > before + 8)  # it was refused, and came again
        redis7.command("SCRIPT", "KILL")
        await running
        script.join()
        assert sink.names == names and sink.cleared == 0
    redis7.command("CONFIG", "SET", "busy-reply-threshold", "5000")


def run_until_killed(server: Server) -> None:
    with pytest.raises(redis.ResponseError, match=r"killed|terminated"):
        server.command("EVAL", "while true do end", "0")


def is_busy(server: Server) -> bool:
    try:
        server.command("PING")
    except redis.exceptions.ResponseError as error:
        return "BUSY" in str(error)
    return False


async def test_a_busy_server_is_said_at_the_beginning(redis7: Server) -> None:
    fill(redis7, 10)
    redis7.command("CONFIG", "SET", "busy-reply-threshold", "1")
    async with source_of(redis7) as source:
        await source.open()
        script = threading.Thread(target=run_until_killed, args=(redis7,))
        script.start()
        await until(lambda: is_busy(redis7))
        with pytest.raises(Busy):
            await source.enumeration(Names()).run()
        redis7.command("SCRIPT", "KILL")
        script.join()
    redis7.command("CONFIG", "SET", "busy-reply-threshold", "5000")


@pytest.mark.parametrize("end", ["switched", "killed"])
async def test_a_failover_is_followed(new_server: NewServer, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "TRIES", 3)
    monkeypatch.setattr(enumeration_module, "PAUSE_S", 0.2)
    primary = new_server("redis7", "--repl-diskless-sync-delay", "0")
    names = fill(primary, MANY)
    replica = new_server("redis7", "--replicaof", "127.0.0.1", str(primary.port))
    sentinel = launch.sentinel_server(launch.redis7(), primary)
    held: list[Enumeration] = []
    try:
        await until(lambda: replica.command("DBSIZE") == MANY)
        target = replace(
            target_of(primary, kind="sentinel", service="mymaster"), addresses=(Address("127.0.0.1", sentinel.port),)
        )
        source = await open_source(target)
        try:
            enumeration = source.enumeration(sink := Names(lambda: held[0].pause()))  # noqa: PLW0108 - not there yet
            held.append(enumeration)
            running = asyncio.create_task(enumeration.run())
            await until(lambda: bool(sink.names))
            await until(lambda: fails_over(sentinel))
            await until(lambda: role_of(replica) == "master")
            await until(lambda: named(sentinel) == replica.port)
            if end == "killed":
                primary.kill()
            else:
                await until(lambda: role_of(primary) == "slave")
            enumeration.resume()
            await running
            assert sink.names == names and sink.cleared == enumeration.progress.restarts >= 1
            assert "began again" in enumeration.progress.note
            assert source.identity is not None and source.identity.address == replica.address
        finally:
            await source.close()
    finally:
        launch.remove(sentinel)


async def test_a_server_that_is_loading_is_waited_for(new_server: NewServer) -> None:
    server = new_server("redis7", "--key-load-delay", "20", "--loading-process-events-interval-bytes", "1024")
    names = fill(server, MANY)
    server.command("SAVE")

    def restart() -> None:
        server.kill()
        server.start()

    async with source_of(server) as source:
        enumeration = source.enumeration(sink := Names(restart))
        await enumeration.run()
        assert sink.names == names and sink.cleared == enumeration.progress.restarts >= 1
        server.kill()
        server.start()
        with pytest.raises(Loading):
            await source.enumeration(Names()).run()


def role_of(server: Server) -> str:
    with server.client() as client:
        return str(client.info("replication")["role"])


def fails_over(sentinel: Server) -> bool:
    try:
        sentinel.command("SENTINEL", "FAILOVER", "mymaster")
    except redis.ResponseError as error:
        assert "NOGOODSLAVE" in str(error)
        return False
    return True


def named(sentinel: Server) -> int:
    reply = sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
    assert isinstance(reply, list)
    return int(reply[1])


async def test_a_replica_is_asked_where_it_is_wanted(new_server: NewServer) -> None:
    primary = new_server("redis7", "--repl-diskless-sync-delay", "0")
    names = fill(primary, MANY)
    replica = new_server("redis7", "--replicaof", "127.0.0.1", str(primary.port))
    await until(lambda: replica.command("DBSIZE") == MANY)
    async with source_of(primary) as source:
        before = scans(primary)
        await source.enumeration(sink := Names(), replicas=True).run()
        assert sink.names == names
        assert scans(primary) == before and scans(replica) > 20
        replica.kill()
        # The primary still lists it for a while: whoever does not answer is passed over.
        await source.enumeration(sink := Names(), replicas=True).run()
        assert sink.names == names


def scans(server: Server) -> int:
    with server.client() as client:
        return int(client.info("commandstats").get("cmdstat_scan", {"calls": 0})["calls"])


BAD: dict[str, Callable[..., object]] = {
    "endless line": lambda: strange.endless_line,
    "endless elements": lambda: strange.endless_elements,
    "slow drip": lambda: strange.slow_drip,
    "silent": lambda: strange.silent,
    "a web server": lambda: strange.says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "an impossible length": lambda: strange.says(b"*2\r\n$1\r\n0\r\n*9999999999999\r\n"),
    "closed at once": lambda: strange.says(b"", then_close=True),
}


@pytest.mark.parametrize("what", sorted(BAD))
async def test_strange_servers_end_in_one_clear_error(what: str) -> None:
    """What answers there was a Redis a moment ago."""
    async with strange.strange_server(BAD[what]()) as port:  # type: ignore[arg-type]

        async def places() -> Places:
            return Places([Place((Address("127.0.0.1", port),))])

        enumeration = RedisEnumeration(
            places, Credentials(timeout_s=0.5), Question(), Names(), explain=same, count=lambda _: None
        )
        with pytest.raises(Unreachable) as caught:
            await asyncio.wait_for(enumeration.run(), 20)
        assert str(port) in caught.value.message and enumeration.progress.state == "failed"


def same(error: CacheError) -> CacheError:
    return error
