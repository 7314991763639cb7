"""The probe beside the bulk work: a figure where one can be had, and never one that waits behind our own."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from cachetui.config import Secret
from cachetui.errors import Busy, TimedOut, Unreachable
from tests.contract import memcached_targets
from tests.contract.redis_targets import source_of, until
from tests.contract.test_redis_enumeration import NewServer
from tests.contract.test_redis_enumeration_trouble import is_busy, run_until_killed
from tests.servers.launch import Server


async def test_a_round_trip_is_measured_on_a_connection_of_its_own(redis_like: Server) -> None:
    async with source_of(redis_like) as source:
        first = await source.latency_us()
        connections = len(list_clients(redis_like))
        assert first is not None and 1 < first < 2_000_000
        assert source.sent["ping"] == 1
        await asyncio.gather(*(source.latency_us() for _ in range(5)))
        assert source.sent["ping"] == 6 and len(list_clients(redis_like)) == connections


async def test_it_does_not_wait_behind_bulk_work(redis7: Server) -> None:
    async with source_of(redis7) as source:
        await source.latency_us()
        # The server holds these replies back until the key is there: every line is taken.
        waiting = [
            asyncio.create_task(source.execute([(b"BLPOP", b"queue%d" % at, b"0"), *[(b"PING",)] * 40]))
            for at in range(5)
        ]
        await until(lambda: blocked(redis7) == 4)
        assert await source.latency_us() is not None
        for at in range(5):
            redis7.command("RPUSH", f"queue{at}", "x")
        for at, replies in enumerate(await asyncio.gather(*waiting)):
            assert replies == [[b"queue%d" % at, b"x"], *[b"PONG"] * 40]


def list_clients(server: Server) -> list[object]:
    with server.client() as client:
        return list(client.client_list())


def blocked(server: Server) -> int:
    with server.client() as client:
        return int(client.info("clients")["blocked_clients"])


@pytest.mark.parametrize(("rules", "told"), [("-ping", True), ("-ping -dbsize", False)])
async def test_what_is_denied_is_not_sent_again(redis7: Server, rules: str, *, told: bool) -> None:
    redis7.command("ACL", "SETUSER", "some", "on", ">pw", "~*", "+@all", *rules.split())
    try:
        async with source_of(redis7, user="some", password=Secret("pw")) as source:
            for _ in range(3):
                assert (await source.latency_us() is not None) == told
            assert "PING" in source.denied and source.sent["ping"] == 1
            assert source.sent["dbsize"] == (3 if told else 1)
    finally:
        redis7.command("ACL", "DELUSER", "some")


async def test_a_stopped_server_is_said_and_comes_back(new_server: NewServer) -> None:
    server = new_server("valkey9")
    async with source_of(server, timeout_s=0.5) as source:
        assert await source.latency_us() is not None
        server.pause()
        with pytest.raises(TimedOut):
            await source.latency_us()
        server.resume()
        assert await source.latency_us() is not None
        server.kill()
        with pytest.raises(Unreachable):
            await source.latency_us()
        server.start()
        assert await source.latency_us() is not None


async def test_a_busy_server_is_said(redis7: Server) -> None:
    redis7.command("CONFIG", "SET", "busy-reply-threshold", "1")
    async with source_of(redis7) as source:
        await source.latency_us()
        script = threading.Thread(target=run_until_killed, args=(redis7,))
        script.start()
        await until(lambda: is_busy(redis7))
        with pytest.raises(Busy) as raised:
            await source.latency_us()
        assert raised.value.detail["kill"] == "SCRIPT KILL"
        redis7.command("SCRIPT", "KILL")
        script.join()
        assert await source.latency_us() is not None
    redis7.command("CONFIG", "SET", "busy-reply-threshold", "5000")


async def test_of_several_memcached_servers_the_worst_that_answers(new_server: NewServer, tmp_path: Path) -> None:
    one, other = new_server("memcached"), new_server("memcached")
    async with memcached_targets.source_of(one, other, timeout_s=0.5) as source:
        assert (await source.latency_us() or 0) > 1
        assert source.sent["version"] == 4  # each said it once more when it was connected to
        other.kill()
        assert (await source.latency_us() or 0) > 1
        one.pause()
        with pytest.raises(Unreachable):
            await source.latency_us()
        one.resume()
