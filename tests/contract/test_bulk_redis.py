"""Long pipelines: several at once, each command carried out once, and honest about what became of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from cachetui.config import Address, Secret
from cachetui.errors import Busy, CacheError, Denied, NotACache, ServerError, TimedOut, Unreachable
from cachetui.source.base import Command
from cachetui.source.connect import open_source
from cachetui.source.redis.bulk import BULK_LINES
from tests.contract.redis_targets import source_of, target_of, tls, until
from tests.contract.test_bulk_latency import blocked, list_clients
from tests.contract.test_redis_enumeration import NewServer, fill
from tests.contract.test_redis_enumeration_trouble import fails_over, is_busy, named, role_of, run_until_killed
from tests.servers import launch, strange
from tests.servers.launch import Server

MANY = 20_000
BATCH = 500


def batches(commands: list[Command]) -> list[list[Command]]:
    return [commands[at : at + BATCH] for at in range(0, len(commands), BATCH)]


async def test_every_command_is_carried_out_once(redis_like: Server) -> None:
    names = sorted(fill(redis_like, MANY))
    async with source_of(redis_like) as source:
        done = await asyncio.gather(*map(source.execute, batches([(b"UNLINK", name) for name in names])))
        assert [reply for part in done for reply in part] == [1] * MANY
        assert redis_like.command("DBSIZE") == 0 and source.sent["unlink"] == MANY
        counted = await asyncio.gather(*(source.execute([(b"INCR", b"n")] * BATCH) for _ in range(20)))
        assert sorted(number for part in counted for number in part) == list(range(1, 20 * BATCH + 1))  # type: ignore[type-var]
        ours = [client for client in list_clients(redis_like) if client["name"] == "cachetui"]  # type: ignore[index]
        assert 2 <= len(ours) <= BULK_LINES + 1
    await until(lambda: len(list_clients(redis_like)) == 1)


async def test_replies_are_those_of_a_short_pipeline(redis_like: Server) -> None:
    redis_like.command("HSET", "h", "f", "v")
    redis_like.command("SADD", "s", "a")
    redis_like.command("ZADD", "z", "1.5", "m")
    redis_like.command("SET", "t", "x")
    some: list[Command] = [
        (b"HGETALL", b"h"),
        (b"SMEMBERS", b"s"),
        (b"ZSCORE", b"z", b"m"),
        (b"GET", b"none"),
        (b"EVAL", b"return {1, 'two', {'three'}, false, {err='no luck'}}", b"0"),
        (b"LPUSH", b"t", b"x"),
        (b"PING",),
    ]
    for protocol in (2, 3):
        async with source_of(redis_like, protocol=protocol) as source:
            short = [repr(reply) for reply in await source.execute(some)]
            assert [repr(reply) for reply in await source.execute(some * 20)] == short * 20


async def test_large_values_go_both_ways(redis7: Server) -> None:
    values = {b"k%d" % at: bytes([65 + at]) * 2_000_000 for at in range(40)}
    async with source_of(redis7, db=2) as source:
        await source.execute([(b"SET", key, value) for key, value in values.items()])
        dumps = await source.execute([(b"DUMP", key) for key in values])
        await source.execute([(b"UNLINK", key) for key in values])
        back = [(b"RESTORE", key, b"0", dump, b"ABSTTL") for key, dump in zip(values, dumps, strict=True)]
        assert await source.execute(back) == [b"OK"] * 40  # type: ignore[arg-type]
        assert await source.execute([(b"GET", key) for key in values]) == list(values.values())
    with redis7.client(db=2) as client:
        assert client.dbsize() == 40


async def test_what_is_denied_is_sent_once(redis7: Server) -> None:
    redis7.command("SET", "k", "v")
    redis7.command("ACL", "SETUSER", "some", "on", ">pw", "~k*", "+@all", "-unlink")
    try:
        async with source_of(redis7, user="some", password=Secret("pw")) as source:
            refused = await source.execute([(b"UNLINK", b"k")] * 100)
            assert all(isinstance(reply, Denied) for reply in refused) and source.sent["unlink"] == 100
            mixed = await source.execute([(b"UNLINK", b"k"), (b"GET", b"k"), (b"GET", b"other")] * 100)
            assert source.sent["unlink"] == 100 and source.sent["get"] == 200
            assert mixed[1::3] == [b"v"] * 100
            assert {type(reply) for reply in mixed[0::3] + mixed[2::3]} == {Denied}
            assert "UNLINK" in source.denied and "GET" not in source.denied  # that was about the key
            assert source.why_not("delete") is not None
            before = source.sent.total()
            assert await source.execute([(b"UNLINK", b"k")] * 100) == [source.denied["UNLINK"]] * 100
            assert source.sent.total() == before
    finally:
        redis7.command("ACL", "DELUSER", "some")


async def test_a_server_killed_in_the_middle(new_server: NewServer) -> None:
    server = new_server("redis7", "--appendonly", "yes", "--appendfsync", "always")
    async with source_of(server) as source:
        await source.execute([(b"PING",)] * 100)
        done = 0

        async def count(commands: list[Command]) -> None:
            nonlocal done
            replies = await source.execute(commands)
            done += sum(not isinstance(reply, CacheError) for reply in replies)

        running = [asyncio.create_task(count([(b"INCR", b"n")] * BATCH)) for _ in range(200)]
        await until(lambda: done > 5 * BATCH)
        server.kill()
        ends = await asyncio.gather(*running, return_exceptions=True)
        failed = [end for end in ends if end is not None]
        assert failed and all(isinstance(end, Unreachable) for end in failed)
        unknown = [end for end in failed if isinstance(end, CacheError) and "sent" not in end.detail]
        assert len(unknown) <= BULK_LINES
        with pytest.raises(Unreachable) as raised:
            await source.execute([(b"INCR", b"n")] * 100)
        assert raised.value.detail["sent"] is False
        server.start()
        (now, *_) = await source.execute([(b"GET", b"n")] * 100)
        assert isinstance(now, bytes) and done <= int(now) <= done + len(unknown) * BATCH


async def test_a_stopped_server_is_said_within_the_deadline(redis_like: Server) -> None:
    async with source_of(redis_like, timeout_s=0.5) as source:
        await asyncio.gather(*(source.execute([(b"PING",)] * 100) for _ in range(4)))
        redis_like.pause()
        ends = await asyncio.gather(
            *(source.execute([(b"INCR", b"n")] * 100) for _ in range(6)), return_exceptions=True
        )
        assert all(isinstance(end, TimedOut) for end in ends)
        redis_like.resume()
        # Nothing that came late is taken for an answer to something else.
        names = [b"%d" % at for at in range(100)]
        for _ in range(8):
            assert await source.execute([(b"ECHO", name) for name in names]) == names
        assert int(str(redis_like.command("GET", "n") or b"0", "ascii")) <= 600  # type: ignore[call-overload]


async def test_a_cancelled_call_is_never_answered_later(redis7: Server) -> None:
    names = [b"%d" % at for at in range(100)]
    async with source_of(redis7) as source:
        for _ in range(6):
            waiting = asyncio.create_task(source.execute([(b"BLPOP", b"queue", b"0"), *[(b"INCR", b"n")] * 100]))
            await until(lambda: blocked(redis7) == 1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await until(lambda: blocked(redis7) == 0)
            assert await source.execute([(b"ECHO", name) for name in names]) == names
        redis7.command("RPUSH", "queue", "x")
        assert redis7.command("LLEN", "queue") == 1 and redis7.command("GET", "n") is None


async def test_closing_ends_what_is_under_way(redis7: Server) -> None:
    async with source_of(redis7) as source:
        await source.execute([(b"PING",)] * 100)
        waiting = asyncio.create_task(source.execute([(b"BLPOP", b"queue", b"0"), *[(b"PING",)] * 100]))
        await until(lambda: blocked(redis7) == 1)
        await source.close()
        with pytest.raises(Unreachable):
            await waiting
        await until(lambda: len(list_clients(redis7)) == 1)
        assert await source.execute([(b"PING",)] * 100) == [b"PONG"] * 100


async def test_a_script_that_blocks_is_said_and_nothing_was_done(redis7: Server) -> None:
    redis7.command("CONFIG", "SET", "busy-reply-threshold", "1")
    async with source_of(redis7) as source:
        await source.execute([(b"PING",)] * 100)
        script = threading.Thread(target=run_until_killed, args=(redis7,))
        script.start()
        await until(lambda: is_busy(redis7))
        with pytest.raises(Busy) as raised:
            await source.execute([(b"INCR", b"n")] * 100)
        assert raised.value.detail["kill"] == "SCRIPT KILL" and "seen_ms" in raised.value.detail
        assert await source.execute([(b"SCRIPT", b"KILL")]) == [b"OK"]
        script.join()
        assert await source.execute([(b"INCR", b"n")] * 100) == list(range(1, 101))
    redis7.command("CONFIG", "SET", "busy-reply-threshold", "5000")


async def test_without_room_for_more_clients_the_work_goes_on(redis_like: Server) -> None:
    async with source_of(redis_like) as source:
        await source.poll("stats")
        await source.execute([(b"PING",)])
        redis_like.command("CONFIG", "SET", "maxclients", "1")
        try:
            numbers = await asyncio.gather(*(source.execute([(b"INCR", b"n")] * BATCH) for _ in range(8)))
            assert sorted(number for part in numbers for number in part) == list(range(1, 8 * BATCH + 1))  # type: ignore[type-var]
            assert await source.latency_us() is not None
            (told,) = await source.execute([(b"INFO", b"stats")])
            assert isinstance(told, bytes)
            rejected = int(told.partition(b"rejected_connections:")[2].split()[0])
            assert 1 <= rejected <= BULK_LINES  # those that came at first, and nothing after them
        finally:
            assert await source.execute([(b"CONFIG", b"SET", b"maxclients", b"10000")]) == [b"OK"]


async def test_after_a_failover_the_sentinels_are_asked_again(new_server: NewServer) -> None:
    primary = new_server("redis7", "--repl-diskless-sync-delay", "0")
    replica = new_server("redis7", "--replicaof", "127.0.0.1", str(primary.port))
    sentinel = launch.sentinel_server(launch.redis7(), primary)
    target = replace(
        target_of(primary, kind="sentinel", service="mymaster"), addresses=(Address("127.0.0.1", sentinel.port),)
    )
    source = await open_source(target)
    try:
        await source.execute([(b"SET", b"k%d" % at, b"x") for at in range(100)])
        await until(lambda: replica.command("DBSIZE") == 100)
        await until(lambda: fails_over(sentinel))
        await until(lambda: role_of(replica) == "master" and named(sentinel) == replica.port)
        await until(lambda: role_of(primary) == "slave")
        done: list[object] = []
        while not done:
            try:
                replies = await source.execute([(b"UNLINK", b"k%d" % at) for at in range(100)])
            except Unreachable:
                continue  # the connection was closed when the roles changed
            if all(isinstance(reply, ServerError) and reply.word == "READONLY" for reply in replies):
                continue  # nothing was done
            done = replies
        assert done == [1] * 100 and replica.command("DBSIZE") == 0
        assert source.identity is not None and source.identity.address == replica.address
    finally:
        await source.close()
        launch.remove(sentinel)


async def test_over_tls_and_a_unix_socket(new_server: NewServer, certificates: dict[str, Path]) -> None:
    secure = launch.tls_server(launch.redis7(), certificates)
    local = new_server("redis7", socket_path=True)
    try:
        for server, more in ((secure, {"tls": tls(certificates)}), (local, {})):
            async with source_of(server, **more) as source:
                for _ in range(3):
                    replies = await source.execute([(b"SET", b"k%d" % at, b"x" * 10_000) for at in range(200)])
                    assert replies == [b"OK"] * 200
                assert await source.execute([(b"GET", b"k7")] * 200) == [b"x" * 10_000] * 200
                assert await source.latency_us() is not None
    finally:
        launch.remove(secure)


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*9999999999999\r\n", b"+a\r\n" * 300])
async def test_another_program_that_answers_is_not_believed(redis7: Server, said: bytes) -> None:
    """The connection that was kept is open; what answers on the next is no Redis any more."""
    async with source_of(redis7, timeout_s=0.5) as source, strange.strange_server(strange.says(said)) as port:
        await source.open()
        await source._session.ask_all("keys", [])
        source._session.address = Address("127.0.0.1", port)
        with pytest.raises(CacheError) as raised:
            await source.execute([(b"SET", b"k", b"x")] * 100)
        assert isinstance(raised.value, NotACache | Unreachable)
        source._session.address = Address("127.0.0.1", redis7.port)
        assert await source.execute([(b"EXISTS", b"k")] * 100) == [0] * 100


def test_nothing_holds_up_the_end_of_the_program(redis7: Server) -> None:
    program = f"""
import asyncio
from cachetui.config import Address, Target
from cachetui.source.redis import RedisSource

async def main():
    source = RedisSource(Target("redis", (Address("127.0.0.1", {redis7.port}),), timeout_s=60))
    await source.execute([(b"PING",)] * 100)
    asyncio.create_task(source.execute([(b"BLPOP", b"queue", b"0"), *[(b"PING",)] * 100]))
    while b"blocked_clients:1" not in (await source.execute([(b"INFO", b"clients")]))[0]:
        pass
    print("leaving")

asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, timeout=30, text=True)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("leaving\n", "", 0)
