"""Attempts to get an old value into the cache past `WriteThrough`, on every kind of server."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from cachetui.patterns import CacheAside, Json, WriteThrough, aio
from tests.patterns.conftest import Gate, sync_client
from tests.patterns.test_cache_aside import port_of
from tests.patterns.workers import Start
from tests.servers.demo_process import until
from tests.servers.launch import Server


def test_the_database_comes_first_and_then_the_cache(client: Any) -> None:
    rows: dict[str, Any] = {}

    def write(key: str, value: Any) -> None:
        assert reader.get(key) == rows.get(key)
        rows[key] = value

    reader = CacheAside(client, rows.get, 60, prefix="p:", codec=Json())
    writer = WriteThrough(client, write, 60, prefix="p:", codec=Json())
    assert writer.write("a", {"n": 1}) == "stored" and reader.get("a") == {"n": 1}
    assert writer.write("a", {"n": 2}) == "stored" and reader.get("a") == {"n": 2}
    assert reader.counts.loads == 2, "only while the writes were under way"
    assert writer.write("a", None) == "removed" and reader.get("a") is None


def test_a_slow_reader_does_not_store_what_it_read_before(client: Any, gate: Gate) -> None:
    reader = CacheAside(client, gate, 60)
    thread = threading.Thread(target=lambda: reader.get("a"))
    thread.start()
    assert gate.asked.wait(10)
    assert WriteThrough(client, lambda *_: None, 60).write("a", b"new") == "stored"
    gate.through.set()
    thread.join()
    assert reader.get("a") == b"new" and reader.counts.refused == 1


def test_of_two_writers_at_once_neither_stores(client: Any) -> None:
    rows: dict[str, bytes] = {}
    inside, go_on = threading.Event(), threading.Event()

    def slow(key: str, value: bytes) -> None:
        inside.set()
        assert go_on.wait(10)
        rows[key] = value

    answers: list[str] = []
    thread = threading.Thread(
        target=lambda: answers.append(WriteThrough(client, slow, 60, lease_s=0.3).write("a", b"1"))
    )
    thread.start()
    assert inside.wait(10)
    answers.append(WriteThrough(client, rows.__setitem__, 60, lease_s=0.3).write("a", b"2"))
    go_on.set()
    thread.join()
    reader = CacheAside(client, rows.get, 60)
    assert answers == ["removed", "removed"] and reader.get("a") == b"1"
    until(lambda: reader.get("a") == b"1" and reader.counts.hits, 10)


@pytest.mark.parametrize("kind", ["redis7", "memcached"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_writer_killed_between_two_steps_leaves_no_old_value(
    kind: str, moment: str, request: pytest.FixtureRequest, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "rows.db"
    link = sqlite3.connect(path)
    link.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, value BLOB, sequence INTEGER DEFAULT 0)")
    link.execute("INSERT INTO rows (key, value) VALUES ('a', 'old')")
    link.commit()

    def load(key: str) -> bytes:
        return str(link.execute("SELECT value FROM rows WHERE key = ?", [key]).fetchone()[0]).encode()

    client = sync_client(kind, request.getfixturevalue(kind))
    reader = CacheAside(client, load, 60, prefix="p:", wait_s=0)
    assert reader.get("a") == reader.get("a") == b"old"
    writer = start("write_through", kind, port_of(kind, request), path, 0.3)
    writer.hear("before")
    assert reader.get("a") == b"old"
    if moment == "after":
        writer.go_on()
        writer.hear("after")
    writer.end()
    wanted = b"old" if moment == "before" else b"new"
    assert reader.get("a") == wanted
    hits = reader.counts.hits
    until(lambda: reader.get("a") == wanted and reader.counts.hits > hits, 10)
    client.close()
    link.close()


def test_the_databases_error_stores_nothing(client: Any) -> None:
    def fail(_key: str, _value: bytes) -> None:
        raise LookupError("constraint")

    reader = CacheAside(client, lambda _: b"old", 60, wait_s=0)
    reader.get("a")
    with pytest.raises(LookupError, match="constraint"):
        WriteThrough(client, fail, 60, lease_s=30).write("a", b"new")
    assert reader.get("a") == b"old" and reader.counts.hits == 0, "it may have been written all the same"


def test_a_cache_that_is_down_fails_the_write_before_or_is_told_of(new_server: Any) -> None:
    server: Server = new_server("redis7")
    rows: dict[str, bytes] = {}
    with sync_client("redis7", server) as client:
        server.kill()
        with pytest.raises(RedisConnectionError):
            WriteThrough(client, rows.__setitem__, 60).write("a", b"1")
        assert rows == {}
        bypass = WriteThrough(client, rows.__setitem__, 60, on_error="bypass")
        assert bypass.write("a", b"1") == "unconfirmed" and rows == {"a": b"1"}

        def dies(key: str, value: bytes) -> None:
            rows[key] = value
            server.kill()

        server.start()
        # The database has it: an error would say that it has not.
        assert WriteThrough(client, dies, 60).write("a", b"2") == "unconfirmed" and rows == {"a": b"2"}


@pytest.mark.parametrize("seed", range(3))
async def test_no_history_ends_with_an_old_value(aclient: Any, seed: int, kind: str) -> None:
    """Readers, writers and invalidations in a random order: nobody reads what is older than a write that is over."""
    rng = random.Random(seed)
    rows, over = {"a": b"0"}, 0
    numbers = iter(range(1, 10_000))

    async def nap() -> None:
        for _ in range(rng.randrange(6)):
            await asyncio.sleep(0)

    async def load(key: str) -> bytes:
        await nap()
        value = rows[key]
        await nap()
        return value

    async def write(key: str, value: bytes) -> None:
        await nap()
        # As a database under load: whoever comes last, wins.
        rows[key] = b"%d" % next(numbers)
        await nap()
        if rng.random() < 0.1:
            raise LookupError("the answer was lost")

    reader = aio.CacheAside(aclient, load, 60, wait_s=0, lease_s=1)
    writer = aio.WriteThrough(aclient, write, 60, lease_s=1, on_error="raise")

    async def reading() -> None:
        for _ in range(40):
            least = over
            assert int(await reader.get("a")) >= least
            await nap()

    async def writing() -> None:
        nonlocal over
        for _ in range(12):
            # The number that the database gives is not known before, so this writer stores none of its own.
            before = int(rows["a"])
            try:
                await writer.write("a", None)
            except LookupError:
                await reader.invalidate("a")
            over = max(over, before + 1)
            await nap()

    async with asyncio.timeout(30):
        await asyncio.gather(reading(), reading(), reading(), writing(), writing())
    assert await reader.get("a") == rows["a"]


async def test_one_writer_and_many_readers_agree(aclient: Any) -> None:
    rng = random.Random(5)
    rows, over = {"a": b"0"}, 0

    async def load(key: str) -> bytes:
        value = rows[key]
        for _ in range(rng.randrange(8)):
            await asyncio.sleep(0)
        return value

    async def write(key: str, value: bytes) -> None:
        await asyncio.sleep(0)
        rows[key] = value

    reader = aio.CacheAside(aclient, load, 60, wait_s=0)
    writer = aio.WriteThrough(aclient, write, 60)

    async def reading() -> None:
        while over < 40:
            least = over
            assert int(await reader.get("a")) >= least

    async def writing() -> None:
        nonlocal over
        for number in range(1, 41):
            assert await writer.write("a", b"%d" % number) == "stored"
            assert await reader.get("a") == b"%d" % number
            over = number

    async with asyncio.timeout(30):
        await asyncio.gather(reading(), reading(), writing())
