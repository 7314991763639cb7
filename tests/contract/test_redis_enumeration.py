"""Every key that stays is found, whatever the table does meanwhile; and all the ways an enumeration can end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from cachetui.config import Address, Secret
from cachetui.errors import CacheError, Denied, Unreachable
from cachetui.keyspace.index import KeyIndex
from cachetui.source.connect import open_source
from cachetui.source.redis import RedisSource
from cachetui.source.redis.scanner import node as node_module
from tests.contract.redis_targets import source_of, target_of, tls, until
from tests.servers import launch
from tests.servers.launch import SERVERS, Server

NewServer = Callable[..., Server]
KINDS = ("redis7", "redis6", "valkey9")
MANY = 60_000
"""More than one cursor walks such a table."""


class Names:
    """A sink that keeps all; `then` is called once, after the first names."""

    def __init__(self, then: Callable[[], None] | None = None) -> None:
        self.names: set[bytes] = set()
        self.cleared = 0
        self._then = then

    def add(self, keys: Sequence[bytes]) -> None:
        self.names.update(keys)
        if self._then is not None and keys:
            then, self._then = self._then, None
            then()

    def clear(self) -> None:
        self.names.clear()
        self.cleared += 1


def fill(server: Server, number: int, form: str = "key:%d") -> set[bytes]:
    names = [form % at for at in range(number)]
    with server.client() as client:
        for start in range(0, number, 5_000):
            client.mset(dict.fromkeys(names[start : start + 5_000], "x"))
    return {name.encode() for name in names}


@pytest.mark.parametrize("db", [0, 3])
async def test_all_keys_are_found(redis_like: Server, db: int) -> None:
    with redis_like.client(db=db) as client:
        client.mset({f"k{at}": "x" for at in range(MANY)})
        client.mset({b"": 1, b"\xff\n": 1, b"n" * 1_000_000: 1})
    index = KeyIndex()
    async with source_of(redis_like, db=db) as source:
        enumeration = source.enumeration(index)
        await enumeration.run()
        assert enumeration.progress.state == "ended" and enumeration.progress.share == 1.0
        assert enumeration.progress.total == MANY + 3 == len(set(index.under(b"")))
        assert source.sent["scan"] > 100
    for _ in index.settle():
        pass
    assert index.exact and index.total == MANY + 3 and b"\xff\n" in index


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cluster", [False, True])
async def test_no_key_that_stays_is_missed_while_the_table_changes(
    new_server: NewServer, kind: str, cluster: bool
) -> None:
    """It grows to four times its size and shrinks again under the scan: it is rehashed both ways."""
    server = new_server(kind, *(("--cluster-enabled", "yes") if cluster else ()))
    if cluster:
        serve_all_slots(server)
    with server.client() as client:
        pipe = client.pipeline(transaction=False)
        for at in range(MANY):
            pipe.set(f"stays:{at}", "x")
        pipe.execute()
    stays = {b"stays:%d" % at for at in range(MANY)}
    stop = threading.Event()

    def churn() -> None:
        with server.client() as writer:
            while not stop.is_set():
                for verb in ("SET", "UNLINK"):
                    pipe = writer.pipeline(transaction=False)
                    for at in range(3 * MANY):
                        pipe.execute_command(verb, f"goes:{at}", *(("x",) if verb == "SET" else ()))
                        if at % 5_000 == 0:
                            pipe.execute()
                            if stop.is_set():
                                return
                    pipe.execute()

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        async with source_of(server) as source:
            for _ in range(2):
                sink = Names()
                await source.enumeration(sink).run()
                assert stays <= sink.names
    finally:
        stop.set()
        churning.join()


def serve_all_slots(server: Server) -> None:
    with server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True):
            pass


async def test_the_server_chooses_by_name_and_type(redis_like: Server) -> None:
    fill(redis_like, 1_000)
    redis_like.command("HSET", "key:hash", "f", "v")
    async with source_of(redis_like) as source:
        sink = Names()
        await source.enumeration(sink, match=b"key:9?9").run()
        assert sink.names == {b"key:%d" % at for at in range(909, 1000, 10)}
        sink = Names()
        await source.enumeration(sink, type_="hash").run()
        assert sink.names == {b"key:hash"}


async def test_it_pauses_goes_on_and_stops(redis7: Server) -> None:
    names = fill(redis7, MANY)
    async with source_of(redis7) as source:
        enumeration = source.enumeration(sink := Names(lambda: enumeration.pause()))  # noqa: PLW0108 - not there yet
        running = asyncio.create_task(enumeration.run())
        await until(lambda: bool(sink.names))
        assert enumeration.progress.state == "paused"
        held = await settled(sink)
        assert 0 < held < len(names)
        enumeration.resume()
        await running
        assert sink.names == names

        enumeration = source.enumeration(sink := Names(lambda: enumeration.cancel()))  # noqa: PLW0108 - not there yet
        await enumeration.run()
        assert enumeration.progress.state == "cancelled" and len(sink.names) < len(names)


async def settled(sink: Names) -> int:
    """Wait until what was in flight has come."""
    before = -1
    while before != len(sink.names):
        before = len(sink.names)
        await asyncio.sleep(0.2)
    return before


async def test_a_cancelled_task_ends_its_thread(redis7: Server) -> None:
    fill(redis7, MANY)
    async with source_of(redis7) as source:
        enumeration = source.enumeration(sink := Names(lambda: enumeration.pause()))  # noqa: PLW0108 - not there yet
        running = asyncio.create_task(enumeration.run())
        await until(lambda: bool(sink.names))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await until(lambda: not any(thread.name == "scan" for thread in threading.enumerate()))


async def test_a_lost_connection_goes_on_where_it_was(redis7: Server) -> None:
    names = fill(redis7, MANY)
    async with source_of(redis7) as source:
        sink = Names(lambda: redis7.command("CLIENT", "KILL", "TYPE", "normal"))
        await source.enumeration(sink).run()
        assert sink.names == names and sink.cleared == 0


async def test_a_restarted_server_is_enumerated_anew(new_server: NewServer) -> None:
    server = new_server("redis7")
    fill(server, MANY)

    def restart() -> None:
        server.kill()
        server.start()
        fill(server, MANY, "other:%d")

    async with source_of(server) as source:
        enumeration = source.enumeration(sink := Names(restart))
        await enumeration.run()
        assert sink.cleared == enumeration.progress.restarts >= 1
        assert sink.names == {b"other:%d" % at for at in range(MANY)}
        assert "began again" in enumeration.progress.note


async def test_a_server_that_stays_away_is_an_error(new_server: NewServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "RETRY_S", 0.01)
    server = new_server("redis7")
    fill(server, MANY)
    async with source_of(server) as source:
        enumeration = source.enumeration(Names(server.kill))
        with pytest.raises(Unreachable, match="refused"):
            await enumeration.run()
        assert enumeration.progress.state == "failed"


async def test_scan_denied_is_explained(redis7: Server) -> None:
    redis7.command("ACL", "SETUSER", "noscan", "on", ">pw", "~*", "+@all", "-scan")
    try:
        async with source_of(redis7, user="noscan", password=Secret("pw")) as source:
            with pytest.raises(Denied, match="KEYS would block") as caught:
                await source.enumeration(Names()).run()
            assert "exact name" in caught.value.hint
            assert source.why_not("scan")
    finally:
        redis7.command("ACL", "DELUSER", "noscan")


async def test_password_unix_socket_and_tls(new_server: NewServer, certificates: dict[str, Path]) -> None:
    server = new_server("redis7", "--requirepass", "open sesame", socket_path=True)
    target = replace(target_of(server), addresses=(Address(path=server.path),), password=Secret("open sesame"))
    async with RedisSourceOf(target) as source:
        await source.execute([(b"SET", b"a", b"1")])
        await source.enumeration(sink := Names()).run()
        assert sink.names == {b"a"}
    encrypted = launch.tls_server(launch.redis7(), certificates)
    try:
        async with source_of(encrypted, tls=tls(certificates)) as source:
            await source.execute([(b"SET", b"b", b"1")])
            await source.enumeration(sink := Names()).run()
            assert sink.names == {b"b"}
    finally:
        launch.remove(encrypted)


class RedisSourceOf:
    """`async with` over a source of this target."""

    def __init__(self, target: object) -> None:
        self.source = RedisSource(target)  # type: ignore[arg-type]

    async def __aenter__(self) -> RedisSource:
        return self.source

    async def __aexit__(self, *_: object) -> None:
        await self.source.close()


@pytest.fixture(params=["redis7", "valkey9"])
def shards(request: pytest.FixtureRequest) -> Iterator[list[Server]]:
    """Three primaries of one cluster."""
    binary = SERVERS[request.param]()
    servers = [
        launch.redis_server(binary, "--cluster-enabled", "yes", "--cluster-require-full-coverage", "no") for _ in "abc"
    ]
    try:
        for at, server in enumerate(servers):
            first, last = at * 5461, 16383 if at == 2 else (at + 1) * 5461 - 1
            with server.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(first, last + 1))
                for other in servers:
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port)
        for server in servers:
            with server.client() as client:
                while b"cluster_state:ok\r\ncluster_slots_assigned:16384" not in client.execute_command(
                    "CLUSTER", "INFO", NEVER_DECODE=True
                ):
                    pass
        yield servers
    finally:
        for server in servers:
            launch.remove(server)


async def test_all_shards_side_by_side(shards: list[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "RETRY_S", 0.01)
    names = set()
    for at in range(3_000):
        for server in shards:
            with contextlib.suppress(redis.exceptions.MovedError):
                server.command("SET", f"k{at}", "x")
                names.add(b"k%d" % at)
    assert len(names) == 3_000
    async with source_of(shards[0]) as source:
        await source.enumeration(sink := Names()).run()
        assert sink.names == names
        shards[2].kill()
        enumeration = source.enumeration(sink := Names())
        await enumeration.run()
        assert 0 < len(sink.names) < 3_000 and sink.names < names
        assert "2 of 3 shards" in enumeration.progress.note


async def test_each_key_is_asked_for_where_it_is(shards: list[Server]) -> None:
    source = await open_source(target_of(shards[0]))
    try:
        keys = [b"k%d" % at for at in range(300)]
        assert await source.execute([(b"SET", key, key) for key in keys]) == [b"OK"] * 300
        held = [server.command("DBSIZE") for server in shards]
        assert all(held) and sum(held) == 300  # type: ignore[arg-type,type-var]
        facts = (await source.facts(keys)).facts
        assert [one.key for one in facts] == keys and {one.type for one in facts} == {"string"}
        for key in keys[:20]:
            assert (await source.value(key)).items[0].data == key
        replies = await source.execute([(b"UNLINK", key) for key in keys])
        assert replies == [1] * 300
        assert [server.command("DBSIZE") for server in shards] == [0, 0, 0]
    finally:
        await source.close()


async def test_a_sentinel_holds_no_keys(redis7: Server) -> None:
    sentinel = launch.sentinel_server(launch.redis7(), redis7)
    try:
        async with source_of(sentinel) as source:
            with pytest.raises(CacheError, match="holds no keys"):
                await source.enumeration(Names()).run()
    finally:
        launch.remove(sentinel)
