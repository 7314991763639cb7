"""Many commands in a cluster whose slots move and whose nodes die: each is carried out once, where its key is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import redis
from redis.crc import key_slot

from cachetui.config import Address, Target
from cachetui.errors import CacheError, ServerError, TimedOut, Unreachable
from cachetui.source.redis.shards import RoutedSource
from tests.contract.redis_targets import target_of, until
from tests.contract.test_redis_enumeration import shards  # noqa: F401  # a fixture
from tests.servers.launch import Server

MANY = 600
ADD = b"return redis.call('INCRBY', KEYS[1], ARGV[1])"


@asynccontextmanager
async def routed(server: Server, **more: object) -> AsyncIterator[RoutedSource]:
    source = RoutedSource(target_of(server, **more))
    try:
        yield source
    finally:
        await source.close()


def at(nodes: list[Server], slot: int) -> Server:
    return nodes[min(slot // 5461, 2)]


def node_id(server: Server) -> str:
    return text(server.command("CLUSTER", "MYID"))


def text(reply: object) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)


class Move:
    """One slot on its way from its node to the next."""

    def __init__(self, nodes: list[Server], slot: int) -> None:
        self.nodes, self.slot, self.source = nodes, slot, at(nodes, slot)
        self.goal = nodes[(nodes.index(self.source) + 1) % len(nodes)]

    def begin(self) -> None:
        self.goal.command("CLUSTER", "SETSLOT", str(self.slot), "IMPORTING", node_id(self.source))
        self.source.command("CLUSTER", "SETSLOT", str(self.slot), "MIGRATING", node_id(self.goal))

    def carry(self, *keys: bytes) -> None:
        reply = self.source.command("MIGRATE", "127.0.0.1", str(self.goal.port), "", "0", "5000", "KEYS", *keys)
        assert text(reply) in ("OK", "True")

    def end(self) -> None:
        for node in (self.goal, self.source):
            node.command("CLUSTER", "SETSLOT", str(self.slot), "NODE", node_id(self.goal))


def values(nodes: list[Server], keys: list[bytes]) -> dict[bytes, bytes]:
    """Return what the nodes hold of `keys`, wherever it lies."""
    held: dict[bytes, bytes] = {}
    for node in nodes:
        with node.client() as client:
            for key in client.keys("*"):
                held[key] = client.get(key)
    return {key: held[key] for key in keys if key in held}


async def test_every_command_finds_its_node(shards: list[Server]) -> None:  # noqa: F811
    keys = [b"k%d" % n for n in range(MANY)]
    async with routed(shards[1]) as source:
        assert await source.execute([(b"SET", key, b"1") for key in keys]) == [b"OK"] * MANY
        assert await source.execute([(b"EVAL", ADD, b"1", key, b"2") for key in keys]) == [3] * MANY
        mixed = await source.execute(
            [
                *[(b"OBJECT", b"ENCODING", key) for key in keys[:20]],
                *[(b"MEMORY", b"USAGE", key) for key in keys[:20]],
                *[(b"EVAL", b"return ARGV[1]", b"0", key) for key in keys[:20]],
                *[(b"PING", key) for key in keys[:20]],
                *[(b"XINFO", b"STREAM", key) for key in keys[:20]],
            ]
        )
        assert mixed[:20] == [b"int"] * 20 and all(isinstance(size, int) for size in mixed[20:40])
        assert mixed[40:60] == mixed[60:80] == keys[:20]
        assert {reply.word for reply in mixed[80:] if isinstance(reply, ServerError)} == {"WRONGTYPE"}
        assert values(shards, keys) == dict.fromkeys(keys, b"3")


async def test_a_slot_that_is_being_moved_is_followed(shards: list[Server]) -> None:  # noqa: F811
    keys = [b"{one}%d" % n for n in range(100)]
    others = [b"k%d" % n for n in range(100)]
    move = Move(shards, key_slot(b"{one}"))
    async with routed(shards[0]) as source:
        await source.execute([(b"SET", key, b"0") for key in keys + others])
        move.begin()
        move.carry(*keys[:40])
        # ASK for the forty that are there already, and for what does not exist.
        replies = await source.execute([(b"EVAL", ADD, b"1", key, b"1") for key in [*keys, *others, b"{one}new"]])
        assert replies == [1] * 201
        assert source.sent["asking"] == 41
        # Two keys of which one is there: neither node can do it, and that is said.
        (torn,) = await source.execute([(b"UNLINK", keys[0], keys[99])])
        assert isinstance(torn, ServerError) and torn.word == "TRYAGAIN"
        move.carry(*keys[40:])
        move.end()
        replies = await source.execute([(b"EVAL", ADD, b"1", key, b"1") for key in keys + others])
        assert replies == [2] * 200
        before = source.sent["eval"]
        assert await source.execute([(b"EVAL", ADD, b"1", key, b"1") for key in keys]) == [3] * 100
        assert source.sent["eval"] == before + 100  # where the slot is now is known
    assert values(shards, keys) == dict.fromkeys(keys, b"3")
    assert values(shards, others) == dict.fromkeys(others, b"2")


async def test_counts_stay_right_while_slots_move_under_way(shards: list[Server]) -> None:  # noqa: F811
    tags = [b"{t%d}" % n for n in range(12)]
    keys = [tag + b"%d" % n for tag in tags for n in range(50)]
    async with routed(shards[0]) as source:
        await source.execute([(b"SET", key, b"0") for key in keys])
        stop = threading.Event()

        def shuffle() -> None:
            for tag in tags:
                move = Move(shards, key_slot(tag))
                move.begin()
                with move.source.client() as client:
                    while mine := client.execute_command("CLUSTER", "GETKEYSINSLOT", move.slot, 10):
                        move.carry(*mine)
                move.end()
            stop.set()

        moving = threading.Thread(target=shuffle)
        moving.start()
        rounds = 0
        while not stop.is_set() or rounds < 2:
            cut = [keys[begin : begin + 150] for begin in range(0, len(keys), 150)]
            done = await asyncio.gather(
                *(source.execute([(b"EVAL", ADD, b"1", key, b"1") for key in part]) for part in cut)
            )
            rounds += 1
            for part, replies in zip(cut, done, strict=True):
                assert replies == [rounds] * len(part)
        moving.join()
    assert values(shards, keys) == dict.fromkeys(keys, b"%d" % rounds)


@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.parametrize("seed", [0, 2])
async def test_a_dead_node_fails_its_own_commands_only(shards: list[Server], how: str, seed: int) -> None:  # noqa: F811
    keys = [b"k%d" % n for n in range(MANY)]
    async with routed(shards[seed], timeout_s=0.6) as source:
        assert await source.execute([(b"SET", key, b"1") for key in keys]) == [b"OK"] * MANY
        assert await source.latency_us() is not None
        if how == "killed":
            shards[2].kill()
        else:
            shards[2].pause()
        replies = await source.execute([(b"EVAL", ADD, b"1", key, b"1") for key in keys])
        for key, reply in zip(keys, replies, strict=True):
            if at(shards, key_slot(key)) is shards[2]:
                assert isinstance(reply, Unreachable) and isinstance(reply, TimedOut) == (how == "stopped")
            else:
                assert reply == 2
        assert await source.latency_us() is not None  # of those that answer
        again = await source.execute([(b"GET", key) for key in keys])
        alive = [key for key in keys if at(shards, key_slot(key)) is not shards[2]]
        assert [reply for reply in again if not isinstance(reply, CacheError)] == [b"2"] * len(alive)
        gone = [key for key in keys if key not in set(alive)]
        with pytest.raises(Unreachable):
            await source.execute([(b"UNLINK", key) for key in gone])
        if how == "stopped":
            shards[2].resume()


async def test_a_replica_that_takes_over_is_found(new_server: Callable[..., Server]) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "500", "--repl-diskless-sync-delay", "0")
    nodes = [new_server("redis7", *options) for _ in "abcd"]
    primaries, replica = nodes[:3], nodes[3]
    for at_, node in enumerate(primaries):
        node.command("CLUSTER", "ADDSLOTSRANGE", str(at_ * 5461), str(16383 if at_ == 2 else at_ * 5461 + 5460))
    for node in nodes[1:]:
        node.command("CLUSTER", "MEET", "127.0.0.1", str(nodes[0].port))
    await until(lambda: "cluster_known_nodes:4" in text(replica.command("CLUSTER", "INFO")))
    await until(lambda: follows(replica, primaries[0]))
    await until(lambda: all("cluster_state:ok" in text(node.command("CLUSTER", "INFO")) for node in nodes))
    keys = [b"k%d" % n for n in range(300)]
    async with routed(primaries[0]) as source:
        assert await source.execute([(b"SET", key, b"1") for key in keys]) == [b"OK"] * 300
        await until(lambda: replica.command("DBSIZE") == primaries[0].command("DBSIZE"))
        primaries[0].kill()  # the very one that was given
        await until(lambda: "master" in text(replica.command("ROLE")), 30)
        for _ in range(100):
            replies = await source.execute([(b"GET", key) for key in keys])
            if replies == [b"1"] * 300:
                break
        assert replies == [b"1"] * 300
        assert await source.execute([(b"UNLINK", key) for key in keys]) == [1] * 300


def follows(replica: Server, primary: Server) -> bool:
    if "slave" not in text(replica.command("ROLE")):
        try:
            replica.command("CLUSTER", "REPLICATE", node_id(primary))
        except redis.ResponseError:
            return False  # it does not know the primary yet
    return "connected" in text(replica.command("ROLE"))


@pytest.mark.parametrize("host", ["", "?", "localhost", "127.0.0.1"])
async def test_a_redirection_may_name_its_host_in_any_way(shards: list[Server], host: str) -> None:  # noqa: F811
    """Nodes behind a proxy leave the host out, or name it."""
    said = f"MOVED 5 {host}:{shards[0].port}\r\n".encode()
    links: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        links.append(writer)
        while line := await reader.readline():
            if not line.startswith(b"*"):
                continue
            words = []
            for _ in range(int(line[1:])):
                await reader.readline()
                words.append((await reader.readline()).strip())
            writer.write(answers(words, said))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    key = next(key for n in range(100) if key_slot(key := b"k%d" % n) < 5461)
    source = RoutedSource(Target("redis", (Address("127.0.0.1", port),)))
    try:
        assert await source.execute([(b"SET", key, b"here")]) == [b"OK"]
        assert shards[0].command("GET", key) == b"here"
    finally:
        await source.close()
        server.close()
        for link in links:
            link.transport.abort()


def answers(words: list[bytes], said: bytes) -> bytes:
    """Be a node of a cluster that serves nothing and knows nobody."""
    match [word.upper() for word in words[:2]]:
        case [b"INFO", *_]:
            info = b"redis_version:7.0.0\r\nredis_mode:cluster\r\nrun_id:x\r\n"
            return b"$%d\r\n%b\r\n" % (len(info), info)
        case [b"ROLE", *_]:
            return b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
        case [b"SET", *_]:
            return b"-" + said
    return b"-ERR unknown command\r\n"
