"""Attempts to lose, reorder or hide an update of a write-behind queue."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from cachetui.patterns import Backlogged, CacheAside, Flusher, Json, Rejected, Unsupported, Update, WriteBehind, aio
from tests.patterns.conftest import sync_client
from tests.patterns.worker import database, keep
from tests.patterns.workers import Start, Worker
from tests.servers.demo_process import until
from tests.servers.launch import Server


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "redis7"))


everywhere = pytest.mark.parametrize("kind", ["redis7", "valkey9", "cluster"], indirect=True)


class Rows:
    """A database that can be told to fail, and notes what it was given."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.batches: list[list[Update]] = []
        self.bad: set[str] = set()
        self.down = False

    def write(self, updates: list[Update]) -> None:
        self.batches.append(updates)
        if self.down:
            raise ConnectionError("the database is down")
        if any(update.key in self.bad for update in updates):
            raise ValueError("not a row")
        self.rows.update({update.key: update.value for update in updates})


@pytest.fixture
def rows() -> Rows:
    return Rows()


@everywhere
def test_what_was_put_is_read_at_once_and_written_once_in_order(client: Any, rows: Rows) -> None:
    queue = WriteBehind(client, "q", prefix="p:", partitions=3, codec=Json())
    cache = CacheAside(client, queue.reading(rows.rows.get), 60, prefix="p:", codec=Json())
    flusher = Flusher(client, "q", rows.write, prefix="p:", partitions=3, codec=Json(), coalesce=False)
    assert cache.get("a") is None
    for number in range(5):
        for key in "abcde":
            queue.put(key, {"n": number})
            assert cache.get(key) == {"n": number} and rows.rows == {}
    assert queue.backlog().depth == 25 and queue.backlog().oldest_s > 0
    while flusher.flush():
        pass
    assert (
        [rows.rows[key] for key in "abcde"] == [{"n": 4}] * 5 and flusher.written == 25 and queue.backlog().depth == 0
    )
    order = defaultdict(list)
    for update in (update for batch in rows.batches for update in batch):
        order[update.key].append((update.sequence, update.value["n"]))
    assert all(seen == sorted(seen) and [n for _, n in seen] == list(range(5)) for seen in order.values())
    queue.put("a", None)
    assert cache.get("a") is None
    flusher.close()
    assert rows.rows["a"] is None and not client.exists("behind:{q:0}:values")


def test_only_the_last_of_a_key_is_written_and_an_evicted_value_is_not_lost(client: Any, rows: Rows) -> None:
    queue = WriteBehind(client, "q", prefix="p:")
    cache = CacheAside(client, queue.reading(rows.rows.get), 60, prefix="p:")
    queue.put_many((f"k{number % 10}", b"%d" % number) for number in range(1200))
    assert cache.get("k3") == b"1193"
    client.delete("p:k3")  # as an eviction does
    assert cache.get("k3") == b"1193"
    Flusher(client, "q", rows.write, prefix="p:", batch=2000).flush()
    assert [len(batch) for batch in rows.batches] == [10] and rows.rows["k3"] == b"1193"


def test_the_queue_is_bounded(client: Any, rows: Rows) -> None:
    queue = WriteBehind(client, "q", max_backlog=10, wait_s=0.02)
    queue.put_many((str(number), b"x") for number in range(10))
    with pytest.raises(Backlogged, match="10 updates wait"):
        queue.put("one too many", b"x")
    assert queue.backlog().depth == 10 and not client.hexists("behind:{q:0}:values", "one too many")
    patient = WriteBehind(client, "q", max_backlog=10, wait_s=20)
    waiting = threading.Thread(target=patient.put, args=("patient", b"x"))
    waiting.start()
    Flusher(client, "q", rows.write).flush()
    waiting.join(20)
    assert queue.backlog().depth == 1


def test_a_database_that_is_down_is_waited_for_and_nothing_dies(client: Any, rows: Rows) -> None:
    rows.down = True
    queue = WriteBehind(client, "q")
    queue.put_many((str(number), b"x") for number in range(20))
    flusher = Flusher(client, "q", rows.write, attempts=1, first_pause_s=0.001, longest_pause_s=0.005)
    until(lambda: flusher.flush() == 0 and len(rows.batches) > 30, 20)
    assert queue.backlog().depth == 20 and queue.backlog().dead == 0
    rows.down = False
    until(lambda: flusher.flush() == 0 and queue.backlog().depth == 0, 10)
    assert len(rows.rows) == 20


@pytest.mark.parametrize("coalesce", [True, False])
def test_a_bad_update_becomes_a_dead_letter_and_holds_back_only_its_key(
    client: Any, rows: Rows, coalesce: bool
) -> None:
    rows.bad.add("bad")
    queue = WriteBehind(client, "q", prefix="p:")
    queue.put_many([("a", b"1"), ("bad", b"2"), ("b", b"3"), ("bad", b"4"), ("c", b"5")])
    flusher = Flusher(
        client, "q", rows.write, prefix="p:", attempts=2, first_pause_s=0.001, longest_pause_s=0.002, coalesce=coalesce
    )
    number = iter(range(10_000))

    def all_done() -> bool:
        queue.put("more", b"%d" % next(number))  # a bad update is told from a database that is down by the others
        flusher.flush()
        return queue.backlog().dead == 2

    until(all_done, 20)
    until(lambda: flusher.flush() == 0 and queue.backlog().depth == 0, 10)
    assert rows.rows["a"] == b"1" and rows.rows["c"] == b"5" and "bad" not in rows.rows
    letters = [fields for _, fields in client.xrange("behind:{q:0}:dead")]
    assert {letter[b"v"] for letter in letters} == {b"2", b"4"}
    assert all(letter[b"k"] == b"bad" and letter[b"why"] == b"ValueError: not a row" for letter in letters)
    assert not client.hexists("behind:{q:0}:values", "bad")


def test_what_is_rejected_or_unreadable_dies_at_once(client: Any, rows: Rows) -> None:
    def write(updates: list[Update]) -> None:
        if any(update.key == "bad" for update in updates):
            raise Rejected("no such column")
        rows.write(updates)

    queue = WriteBehind(client, "q")
    client.xadd("behind:{q:0}", {"foreign": "entry"})
    queue.put_many([("bad", b"1"), ("a", b"2")])
    flusher = Flusher(client, "q", write, first_pause_s=0.001)
    until(lambda: flusher.flush() == 0 and queue.backlog().depth == 0, 10)
    assert rows.rows == {"a": b"2"} and queue.backlog().dead == 2


def test_one_flusher_at_a_time_and_the_next_takes_over_what_was_under_way(client: Any, rows: Rows) -> None:
    queue = WriteBehind(client, "q")
    queue.put("a", b"1")
    stuck, killed = threading.Event(), Flusher(client, "q", lambda _: (stuck.set(), time.sleep(0.5)), lease_s=0.2)
    thread = threading.Thread(target=killed.flush)
    thread.start()
    assert stuck.wait(10)
    other = Flusher(client, "q", rows.write, lease_s=30)
    assert other.flush() == 0 and rows.batches == []
    until(lambda: other.flush() == 1, 10)
    thread.join()
    assert rows.rows == {"a": b"1"} and killed.written == 0, "who lost the lease may not say that it is done"
    assert killed.flush() == 0


def test_a_flusher_that_lost_its_lease_takes_nothing_more(client: Any, rows: Rows) -> None:
    queue = WriteBehind(client, "q")
    first, second = Flusher(client, "q", rows.write), Flusher(client, "q", rows.write)
    queue.put("a", b"1")
    assert first.flush() == 1
    client.delete("lock:behind:{q:0}")  # as if it had been paused until its lease ran out
    assert second.flush() == 0
    queue.put("b", b"2")
    assert first.flush() == 0 and second.flush() == 1 and rows.rows == {"a": b"1", "b": b"2"}


def test_a_queue_that_was_flushed_away_is_made_again(client: Any, rows: Rows) -> None:
    queue = WriteBehind(client, "q")
    flusher = Flusher(client, "q", rows.write, first_pause_s=0.001, longest_pause_s=0.002)
    queue.put("a", b"1")
    assert flusher.flush() == 1
    for gone in ("behind:{q:0}", "*"):
        client.flushall() if gone == "*" else client.delete(gone)
        queue.put(f"after {gone}", b"2")
        until(lambda: flusher.flush() == 1, 10)
    assert len(rows.rows) == 3 and queue.backlog().depth == 0
    groups = client.xinfo_groups("behind:{q:0}")
    assert [(group["consumers"], group["pending"]) for group in groups] == [(1, 0)]


def test_a_close_writes_what_waits_and_leaves_the_rest(client: Any, rows: Rows) -> None:
    queue = WriteBehind(client, "q", partitions=2)
    flusher = Flusher(client, "q", rows.write, partitions=2, batch=10)
    flusher.start()
    queue.put_many((str(number), b"x") for number in range(500))
    flusher.close(20)
    assert queue.backlog().depth == 0 and len(rows.rows) == 500
    assert not client.keys("lock:behind:*"), "the next flusher need not wait"
    rows.down = True
    queue.put("late", b"x")
    late = Flusher(client, "q", rows.write, partitions=2, first_pause_s=0.01)
    late.start()
    late.close(0.05)
    assert queue.backlog().depth == 1


@pytest.fixture
def table(tmp_path: Path) -> Iterator[tuple[Path, sqlite3.Connection]]:
    path = tmp_path / "rows.db"
    link = database(str(path))
    yield path, link
    link.close()


def test_nothing_is_lost_when_writers_and_flushers_are_killed(
    redis7: Server, start: Start, table: tuple[Path, sqlite3.Connection]
) -> None:
    path, link = table
    count = 150
    writers = [start("put", redis7.port, f"w{number}", count) for number in range(2)]
    for round_ in range(3):
        flusher = start("flush", redis7.port, path, 0.2)
        for _ in range(2):
            flusher.hear("writing" if round_ % 2 else "written")
        flusher.end()  # between two steps: before the database, or before the stream was told
        if round_ == 1:
            writers[0].end()
    writers[1].hear(str(count - 1))
    last = start("flush", redis7.port, path, 0.2)
    with redis7.client() as client:
        until(lambda: WriteBehind(client, "q", partitions=2).backlog().depth == 0, 20)
    last.go_on()
    check_nothing_lost(link, writers)


def check_nothing_lost(link: sqlite3.Connection, writers: list[Worker]) -> None:
    seen: dict[str, list[int]] = defaultdict(list)
    for key, value in link.execute("SELECT key, value FROM seen ORDER BY rowid"):
        seen[key].append(int(value))
    for name, writer in enumerate(writers):
        queued = [int(line) for line in writer.said if line.isdigit()]
        for key in range(5):
            mine = [number for number in queued if number % 5 == key]
            given = seen[f"w{name}-{key}"]
            # Coalesced: the last counts. Once written, an older one never follows, except again from a batch of before.
            assert max(given) >= mine[-1]
            firsts = list(dict.fromkeys(given))
            assert firsts == sorted(firsts), "in order for each key"
    for key, value in link.execute("SELECT key, value FROM rows"):
        assert int(value) == max(seen[key]), "and nothing old stays"


def test_a_paused_flusher_writes_nothing_old_over_what_is_newer(
    redis7: Server, start: Start, table: tuple[Path, sqlite3.Connection]
) -> None:
    path, link = table
    with redis7.client() as client:
        queue = WriteBehind(client, "q", partitions=2)
        queue.put("a", b"1")
        paused = start("flush_once", redis7.port, path, 0.2)
        paused.hear("writing")
        paused.pause()
        queue.put("a", b"2")
        flusher = Flusher(client, "q", lambda updates: keep(link, updates), partitions=2, lease_s=5)
        until(lambda: flusher.flush() == 0 and queue.backlog().depth == 0, 20)
        paused.resume()
        paused.go_on()
        assert paused.hear("done") == "done 0", "it may not say that it is done"
        assert link.execute("SELECT value FROM rows").fetchall() == [(b"2",)]


async def test_the_same_with_asyncio(redis7: Server) -> None:
    written: list[Update] = []

    async def write(updates: list[Update]) -> None:
        written.extend(updates)

    async def load(_key: str) -> bytes:
        return b"row"

    async with redis.asyncio.Redis(port=redis7.port) as client:
        queue = aio.WriteBehind(client, "q", prefix="p:")
        cache = aio.CacheAside(client, queue.reading(load), 60, prefix="p:")
        assert await cache.get("a") == b"row"
        await queue.put("a", b"1")
        assert await cache.get("a") == b"1" and (await queue.backlog()).depth == 1
        flusher = aio.Flusher(client, "q", write, prefix="p:")
        await flusher.start()
        await queue.put_many({str(number): b"x" for number in range(1000)})
        await flusher.close()
        assert len(written) == 1001 and (await queue.backlog()).depth == 0


def test_a_server_that_may_evict_the_queue_is_warned_of(
    client: Any, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    Flusher(client, "quiet", rows.write).flush()
    assert caplog.records == []
    before = client.config_get("maxmemory*")
    try:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        Flusher(client, "q", rows.write).flush()
    finally:
        client.config_set("maxmemory-policy", before["maxmemory-policy"])
        client.config_set("maxmemory", before["maxmemory"])
    assert "may evict the queue" in caplog.text


def test_it_needs_streams(memcached: Server) -> None:
    client = sync_client("memcached", memcached)
    with pytest.raises(Unsupported, match="streams"):
        WriteBehind(client, "q")
    client.close()
