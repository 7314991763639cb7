"""Servers that die, stall, load, are busy or talk nonsense: a clear error in time, then recovery."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from cachetui.errors import Busy, CacheError, Loading, NotACache, ServerError, TimedOut, Unreachable
from cachetui.model import Stats
from cachetui.source.redis import RedisSource
from tests.contract.redis_targets import source_of, until
from tests.servers.launch import Server
from tests.servers.strange import (
    Behaviour,
    cuts_after,
    endless_elements,
    endless_line,
    says,
    slow_drip,
    strange_server,
)

NewServer = Callable[..., Server]
KINDS = ("redis7", "redis6", "valkey9")


async def recovered(source: RedisSource) -> Stats:
    """Return the next stats, allowing for one error on a connection that was lost unseen."""
    with contextlib.suppress(Unreachable):
        await source.poll("stats")
    stats = await source.poll("stats")
    assert isinstance(stats, Stats)
    return stats


@pytest.mark.parametrize("kind", KINDS)
async def test_killed_and_restarted(new_server: NewServer, kind: str) -> None:
    server = new_server(kind)
    server.command("MSET", *[word for at in range(3000) for word in (f"k{at}", "v")])
    async with source_of(server) as source:
        before = await source.poll("stats")
        await source.poll("clients")
        step = await source.scan()
        server.kill()
        for _ in range(2):
            with pytest.raises(Unreachable) as caught:
                await source.poll("stats")
            assert type(caught.value) is Unreachable
        server.restart()
        after = await source.poll("stats")
        assert isinstance(before, Stats) and isinstance(after, Stats)
        assert after.server.run_id != before.server.run_id and after.keys == 0
        await source.poll("clients")
        with pytest.raises(ServerError, match="begin again|restarted") as refused:  # noqa: RUF043
            await source.scan(step.cursor)
        assert "begin again" in refused.value.hint
        assert (await source.scan()).cursor is None


async def test_a_connection_closed_while_idle_is_no_error(redis_like: Server) -> None:
    async with source_of(redis_like) as source:
        await source.poll("stats")
        redis_like.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with redis_like.client() as client:
            await until(lambda: client.info("clients")["connected_clients"] == 1)
        assert isinstance(await source.poll("stats"), Stats)


@pytest.mark.parametrize("kind", KINDS)
async def test_stopped_and_resumed(new_server: NewServer, kind: str) -> None:
    server = new_server(kind)
    async with source_of(server, timeout_s=0.6) as source:
        await source.poll("stats")
        server.pause()
        try:
            began = time.monotonic()
            polls = [source.poll(kind) for kind in ("stats", "clients", "slowlog")]
            errors = await asyncio.gather(*polls, source.scan(), return_exceptions=True)
            assert time.monotonic() - began < 1.5
            assert [type(error) for error in errors] == [TimedOut] * 4
            assert "did not answer" in str(errors[0])
        finally:
            server.resume()
        stats = await source.poll("stats")
        assert isinstance(stats, Stats) and stats.keys == 0
        await source.poll("clients")


@contextmanager
def running(server: Server, *command: str) -> Iterator[None]:
    """Run a command that blocks the server, in a thread; its error at the end is expected."""

    def block() -> None:
        with contextlib.suppress(redis.RedisError), server.client(socket_timeout=30) as client:
            client.execute_command(*command)

    thread = threading.Thread(target=block, daemon=True)
    thread.start()
    yield
    thread.join(20)
    assert not thread.is_alive()


def is_busy(server: Server) -> bool:
    try:
        server.command("PING")
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")
    except redis.RedisError:
        return False
    return False


@pytest.mark.parametrize("kind", KINDS)
async def test_busy_with_a_script(new_server: NewServer, kind: str) -> None:
    server = new_server(kind, "--lua-time-limit", "50")
    async with source_of(server) as before, source_of(server, db=1) as fresh:
        await before.poll("stats")
        with running(server, "EVAL", "while true do end", "0"):
            try:
                await until(lambda: is_busy(server))
                for source in (before, fresh, before):
                    with pytest.raises(Busy) as caught:
                        await source.poll("stats")
                    assert caught.value.detail["kill"] == "SCRIPT KILL"
                assert "SCRIPT KILL" in caught.value.hint
                assert isinstance(caught.value.detail["seen_ms"], int)
            finally:
                assert await fresh.execute([(b"SCRIPT", b"KILL")]) in ([b"OK"], ["OK"])
        for source in (before, fresh):
            stats = await source.poll("stats")
            assert isinstance(stats, Stats) and stats.used_bytes and not stats.denied


@pytest.mark.parametrize("kind", ["redis7", "valkey9"])
async def test_busy_with_a_function_tells_which(new_server: NewServer, kind: str) -> None:
    server = new_server(kind, "--busy-reply-threshold", "50")
    code = "#!lua name=lib\nredis.register_function('spin', function() while true do end end)"
    server.command("FUNCTION", "LOAD", code)
    async with source_of(server) as source:
        await source.poll("stats")
        with running(server, "FCALL", "spin", "0"):
            try:
                await until(lambda: is_busy(server))
                with pytest.raises(Busy) as caught:
                    await source.poll("stats")
            finally:
                server.command("FUNCTION", "KILL")
    detail = caught.value.detail
    assert detail["name"] == "spin" and detail["command"] == "FCALL spin 0" and detail["kill"] == "FUNCTION KILL"
    assert isinstance(detail["duration_ms"], int) and detail["duration_ms"] >= 50


@pytest.mark.parametrize("kind", KINDS)
async def test_loading_shows_progress(new_server: NewServer, kind: str) -> None:
    server = new_server(kind)
    with server.client() as client:
        for at in range(4000):
            client.set(f"k{at}", os.urandom(20_000))
        client.save()
    server.stop()
    # Each key takes a millisecond; the server looks after its clients every 2 MB, forty times.
    server.argv += ["--key-load-delay", "1000"]
    server.start()
    async with source_of(server, timeout_s=5) as source:
        identity = await source.open()
        assert identity.mode == "standalone"
        stats = await source.poll("stats")
        assert isinstance(stats, Stats)
        assert stats.loading is True and stats.loading_percent is not None and stats.loading_eta_s is not None
        for call in (source.scan(), source.value(b"k")):
            with pytest.raises(Loading):
                await call
        assert not source.denied


# Servers of our own that misbehave


@contextmanager
def bounded_memory(limit_bytes: int) -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < limit_bytes


@pytest.mark.parametrize(
    "behaviour",
    [
        endless_line,
        says(b"*1\r\n" * 200_000),
        says(b"*2147483647\r\n"),
        says(b"$-7\r\n"),
        says(b"%1\r\n*1\r\n:1\r\n:1\r\n"),
    ],
    ids=["endless line", "deep nesting", "impossible length", "negative length", "list as a map's key"],
)
async def test_nonsense_is_not_a_cache(behaviour: Behaviour) -> None:
    async with strange_server(behaviour) as port, source_of(port) as source:
        began = time.monotonic()
        with bounded_memory(32 * 1024 * 1024), pytest.raises(NotACache):
            await source.open()
        assert time.monotonic() - began < 1


async def test_an_endless_reply_is_dropped() -> None:
    async with strange_server(endless_elements) as port, source_of(port) as source:
        with bounded_memory(400 * 1024 * 1024), pytest.raises(Unreachable):
            await source.open()


async def test_a_slow_drip_ends_at_the_deadline() -> None:
    async with strange_server(slow_drip) as port, source_of(port, timeout_s=0.5) as source:
        began = time.monotonic()
        with pytest.raises(TimedOut):
            await source.open()
        assert time.monotonic() - began < 1.2


@pytest.mark.parametrize("fragment", [b"$500\r\nonly a part", b"*3\r\n$1\r\na\r\n", b"+OK"])
async def test_a_reset_in_the_middle_shows_nothing(fragment: bytes) -> None:
    async with strange_server(cuts_after(1, fragment)) as port, source_of(port) as source:
        with pytest.raises(CacheError) as caught:
            await source.poll("stats")
    assert isinstance(caught.value, Unreachable)


async def test_a_cancelled_call_leaves_the_source_usable(redis_like: Server) -> None:
    redis_like.command("SET", "k", "value")
    async with source_of(redis_like) as source:
        for _ in range(20):
            task = asyncio.ensure_future(source.poll("stats"))
            await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert (await source.value(b"k")).items[0].data == b"value"
        assert (await recovered(source)).keys == 1


async def test_a_write_is_sent_exactly_once() -> None:
    seen: list[bytes] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if b"INCR" in data:
                seen.append(data)
                writer.transport.abort()
                return
            writer.write(b"-ERR unknown command\r\n" * data.count(b"*"))

    async with strange_server(swallow) as port, source_of(port) as source:
        with pytest.raises(Unreachable):
            await source.execute([(b"INCR", b"k")])
    assert len(seen) == 1 and seen[0].count(b"INCR") == 1
