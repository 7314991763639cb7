"""The hottest keys on real servers: of one, of a cluster's primaries, of a fleet; and where it may not be looked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from redis.exceptions import MovedError

from cachetui.analysis.hot import Tally
from cachetui.config import parse_target
from cachetui.errors import CacheError, Denied, Unreachable, Unsupported
from cachetui.keyspace.access import observe
from cachetui.keyspace.hot import listen
from cachetui.model.burst import Limits
from cachetui.source.base import Aged, HotKeyed, Source, Streamed
from cachetui.source.connect import open_source
from tests.contract.memcached_targets import Plain, until
from tests.servers.launch import Server, join_cluster

QUICK = Limits(seconds=0.6, aside_s=0.1, throughput_loss=1.0, latency_times=1e6)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Source]:
    source = await open_source(parse_target(url))
    try:
        yield source
    finally:
        await source.close()


@contextmanager
def repeating(work: Callable[[], object]) -> Iterator[None]:
    """Do `work` again and again in a thread."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


async def test_keys_commands_and_clients_of_one_server(redis_like: Server) -> None:
    tally = Tally()
    with redis_like.client(client_name="shop") as client:

        def work() -> None:
            with client.pipeline(transaction=False) as pipe:
                for number in range(20):
                    pipe.get("hot")
                    pipe.mget(f"cold:{number}", "hot")
                pipe.set('odd"\x1b', "x" * 5000)
                pipe.lpush("list", "x")
                pipe.ltrim("list", 0, 1)
                pipe.execute()

        async with opened(redis_like.url) as source:
            with repeating(work):
                (heard,) = await listen(source, tally.at, QUICK)
            clients = (await source.poll("clients")).clients  # type: ignore[union-attr]
    assert heard.burst is not None
    assert heard.burst.ended_by == "time"
    keys = tally.rows("key", seconds=heard.burst.seconds)
    assert (keys[0].name, keys[0].writes) == ("hot", 0)
    assert 0.55 < keys[0].share.value < 0.7
    assert keys[0].share.low < keys[0].share.value < keys[0].share.high
    assert keys[0].per_s == pytest.approx(keys[0].count / heard.burst.seconds)
    names = {row.name for row in keys}
    assert {'odd"\\x1b', "list", "cold:7"} <= names
    commands = {row.name: row for row in tally.rows("command")}
    assert abs(commands["GET"].count - commands["MGET"].count) <= 20
    assert commands["SET"].writes == commands["SET"].count
    assert "PING" not in commands or commands["PING"].count < 100  # our own are left out
    assert any(row.name.startswith("shop ") for row in tally.rows("client", clients=clients))


async def test_a_clusters_primaries_are_heard_side_by_side(new_server: Callable[..., Server]) -> None:
    nodes = [new_server("valkey9", "--cluster-enabled", "yes") for _ in range(3)]
    join_cluster(nodes)
    own = [next(key for key in (f"k:{at}" for at in range(9999)) if _holds(node, key)) for node in nodes]
    tally = Tally()

    def work() -> None:
        for node, key in zip(nodes, own, strict=True):
            with node.client() as client:
                client.get(key)
                client.get(key)

    async with opened(f"redis+cluster://{nodes[0].address}") as source:
        with repeating(work):
            heard = await listen(source, tally.at, QUICK)
        assert {one.node for one in heard} == {node.address for node in nodes}
        rows = tally.rows("key")
        assert {(row.key, row.note) for row in rows[:3]} == {
            (key.encode(), node.address) for node, key in zip(nodes, own, strict=True)
        }
        assert {row.name for row in tally.rows("server")} == {node.address for node in nodes}
        # One dead primary of three is said, and the others are heard.
        nodes[2].kill()
        heard = await listen(source, Tally().at, QUICK)
        assert [one.node for one in heard if one.trouble is not None] == [nodes[2].address]
        alone = source.node(nodes[1].address)
        try:
            (only,) = await listen(alone, Tally().at, QUICK, alone=True)
        finally:
            await alone.close()
        assert only.node == ""
        assert only.burst is not None


def _holds(node: Server, key: str) -> bool:
    with node.client() as client:
        try:
            client.get(key)
        except MovedError:
            return False
        return True


async def test_without_monitor_it_is_said(redis7: Server) -> None:
    redis7.command("ACL", "SETUSER", "plain", "on", ">x", "~*", "+@all", "-monitor")
    try:
        async with opened(f"redis://plain:x@{redis7.address}") as source:
            with pytest.raises(Denied, match="MONITOR"):
                await listen(source, Tally().at, QUICK)
    finally:
        redis7.command("ACL", "DELUSER", "plain")


async def test_the_servers_own_hot_keys_are_not_asked_where_there_are_none(redis_like: Server) -> None:
    async with opened(redis_like.url) as source:
        assert isinstance(source, HotKeyed)
        with pytest.raises(Unsupported, match="HOTKEYS"):
            await source.hot_keys(0.1, 10)
        assert source.sent["hotkeys"] == source.sent["hotkeys start"] == 0


async def test_items_of_a_memcached(new_server: Callable[..., Server]) -> None:
    memcached = new_server("memcached", "-m", "64")
    tally = Tally()
    with Plain(memcached) as plain:
        plain.fill([b"hot", b"n"], b"1")

        def work() -> None:
            for at in range(20):
                plain.lines(b"get hot")
                plain.lines(b"get gone:%d" % at)
            plain.say(b"set stored 0 0 1\r\nx")

        async with opened(f"memcached://{memcached.address}") as source:
            assert isinstance(source, Streamed)
            with repeating(work):
                (heard,) = await listen(source, tally.at, QUICK)
        client = "{}:{}".format(*plain.link.getsockname())
    assert heard.burst is not None
    assert (heard.burst.ended_by, heard.burst.skipped, heard.burst.strange) == ("time", 0, 0)
    keys = {row.name: row for row in tally.rows("key")}
    assert 0.45 < keys["hot"].share.value < 0.52
    assert (keys["stored"].reads, keys["stored"].writes) == (0, keys["stored"].count)
    commands = {row.name: row.count for row in tally.rows("command")}
    assert abs(commands["fetch"] - commands["miss"]) <= 40
    assert tally.rows("client")[0].name == client.rpartition(":")[0]
    assert tally.rows("prefix")[0].name in ("gone:*", "*")


async def test_a_fleet_is_heard_server_by_server(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached") for _ in range(3)]
    tally = Tally()
    with Plain(servers[0]) as first, Plain(servers[1]) as second:

        def work() -> None:
            first.lines(b"get here")
            second.lines(b"get there")

        async with opened("memcached://" + ",".join(server.address for server in servers)) as source:
            servers[2].kill()
            with repeating(work):
                heard = await listen(source, tally.at, QUICK)
            with pytest.raises(Unsupported, match="one by one"):
                await observe(source, QUICK)
    troubles = {one.node: one.trouble for one in heard}
    assert isinstance(troubles[servers[2].address], Unreachable)
    assert [troubles[server.address] for server in servers[:2]] == [None, None]
    assert {(row.name, row.note) for row in tally.rows("key")} == {
        ("here", servers[0].address),
        ("there", servers[1].address),
    }


async def test_watching_that_is_switched_off_is_said(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached", "-W")
    async with opened(f"memcached://{server.address}") as source:
        with pytest.raises(CacheError) as caught:
            await listen(source, Tally().at, QUICK)
    assert isinstance(caught.value, Unsupported)


async def test_a_cancelled_watch_is_gone_at_once(memcached: Server) -> None:
    async with opened(f"memcached://{memcached.address}") as source:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        limits = Limits(seconds=60.0, aside_s=0.1)
        running = asyncio.create_task(
            listen(source, Tally().at, limits, begun=lambda: loop.call_soon_threadsafe(begun.set) and None)
        )
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        with Plain(memcached) as plain:

            async def left_alone() -> bool:
                return plain.stat(b"log_watchers") == b"0"

            await until(left_alone)


async def test_a_memcached_is_watched_for_its_curve(new_server: Callable[..., Server]) -> None:
    memcached = new_server("memcached", "-m", "64")
    with Plain(memcached) as plain:
        turn = iter(range(10**9))

        def work() -> None:
            key = b"item:%d" % (next(turn) ** 2 % 700)
            if not plain.lines(b"get " + key):
                plain.say(b"set %b 0 100 500\r\n%b" % (key, b"x" * 500))

        for _ in range(2000):
            work()
        async with opened(f"memcached://{memcached.address}") as source:
            with repeating(work):
                seen = await observe(source, QUICK)
    assert seen.accesses.complete
    assert seen.accesses.memory_bytes == 64 * 2**20
    assert seen.accesses.reads > 50
    assert len(set(seen.accesses.sizes_bytes)) == 1  # whole chunks of one class
    assert seen.idle is not None
    assert seen.burst.strange == 0


async def test_ages_of_items_are_told_by_class(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached") for _ in range(2)]
    with Plain(servers[0]) as plain:
        plain.fill([b"small:%d" % at for at in range(300)], b"x")
        plain.fill([b"large:%d" % at for at in range(100)], b"x" * 3000)
        for at in range(30):
            plain.lines(b"get small:%d" % at)
    async with opened("memcached://" + ",".join(server.address for server in servers)) as source:
        assert isinstance(source, Aged)
        told = await source.ages()
        assert [(one.server, one.items, one.fetched) for one in told] == [
            (servers[0].address, 300, 30),
            (servers[0].address, 100, 0),
        ]
        assert all(0 <= idle <= 60 for one in told for idle in one.idle_s)
        servers[0].kill()
        assert await source.ages() == ()
    dumpless = new_server("memcached", "-X")
    async with opened(f"memcached://{dumpless.address}") as source:
        assert isinstance(source, Aged)
        with pytest.raises(Unsupported, match="switched off"):
            await source.ages()
