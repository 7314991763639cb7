"""Processes of their own for the tests: they are paused and killed. `python -m tests.patterns.worker ROLE ARGS`.

Each speaks by lines: it says what it does on stdout and goes on when it reads a line.
"""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

import redis
from pymemcache.client.base import PooledClient

from cachetui.patterns import CacheAside, Flusher, WriteBehind, WriteThrough


def say(*words: object) -> None:
    print(*words, flush=True)


def held() -> None:
    if not sys.stdin.readline():
        sys.exit(0)


def client_of(kind: str, port: str) -> Any:
    return PooledClient(("127.0.0.1", int(port))) if kind == "memcached" else redis.Redis(port=int(port))


def database(path: str) -> sqlite3.Connection:
    """Open the table of the tests: a key, its value, and the sequence of its last update."""
    link = sqlite3.connect(path, timeout=20, isolation_level=None, check_same_thread=False)
    link.execute("PRAGMA synchronous = off")
    link.execute("CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, value BLOB, sequence INTEGER DEFAULT 0)")
    link.execute("CREATE TABLE IF NOT EXISTS seen (key TEXT, value BLOB, sequence INTEGER)")
    return link


def keep(link: sqlite3.Connection, updates: list[Any]) -> None:
    """Write updates as a careful database does, and note that they came."""
    rows = [(update.key, update.value, update.sequence) for update in updates]
    link.execute("BEGIN IMMEDIATE")
    link.executemany(
        "INSERT INTO rows VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, "
        "sequence = excluded.sequence WHERE excluded.sequence > rows.sequence",
        rows,
    )
    link.executemany("INSERT INTO seen VALUES (?, ?, ?)", rows)
    link.execute("COMMIT")


def load(kind: str, port: str, value: str, lease_s: str) -> None:
    """Get a key whose loader waits for a line."""

    def loader(_key: str) -> bytes:
        say("loading")
        held()
        return value.encode()

    cache = CacheAside(client_of(kind, port), loader, 60, prefix="p:", lease_s=float(lease_s), wait_s=20)
    say("got", cache.get("a").decode())


def stampede(kind: str, port: str, threads: str, key: str) -> None:
    """Get one missing key in many threads at once, and say how often it was loaded here."""
    import threading
    import time

    def loader(_key: str) -> bytes:
        time.sleep(0.2)
        return b"loaded"

    cache = CacheAside(client_of(kind, port), loader, 60, wait_s=20)
    ready = threading.Barrier(int(threads) + 1)
    found: list[bytes] = []

    def get() -> None:
        ready.wait()
        found.append(cache.get(key))

    running = [threading.Thread(target=get) for _ in range(int(threads))]
    for thread in running:
        thread.start()
    say("ready")
    held()
    ready.wait()
    for thread in running:
        thread.join()
    say("loads", cache.counts.loads, len(found), set(found) == {b"loaded"})


def write_through(kind: str, port: str, path: str, lease_s: str) -> None:
    """Write a key, and wait for a line before and after the database is written."""

    def write(key: str, value: Any) -> None:
        say("before")
        held()
        link = database(path)
        link.execute("UPDATE rows SET value = ? WHERE key = ?", (value.decode(), key))
        link.close()
        say("after")
        held()

    say(WriteThrough(client_of(kind, port), write, 60, prefix="p:", lease_s=float(lease_s)).write("a", b"new"))


def put(port: str, writer: str, count: str) -> None:
    """Queue numbers under keys of this writer, and say each that was queued."""
    queue = WriteBehind(redis.Redis(port=int(port)), "q", partitions=2, wait_s=20)
    for number in range(int(count)):
        queue.put(f"{writer}-{number % 5}", b"%d" % number)
        say(number)


def flush(port: str, path: str, lease_s: str) -> None:
    """Write what is queued until killed, each batch told before and after."""
    link = database(path)

    def write(updates: list[Any]) -> None:
        say("writing", len(updates))
        keep(link, updates)
        say("written", len(updates))

    flusher = Flusher(
        redis.Redis(port=int(port)), "q", write, partitions=2, batch=20, lease_s=float(lease_s), idle_s=0.005
    )
    flusher.start()
    held()
    flusher.close()


def flush_once(port: str, path: str, lease_s: str) -> None:
    """Write one batch, with a wait for a line before the database is touched."""

    def write(updates: list[Any]) -> None:
        say("writing", len(updates))
        held()
        link = database(path)
        keep(link, updates)
        link.close()

    flusher = Flusher(redis.Redis(port=int(port)), "q", write, partitions=2, lease_s=float(lease_s))
    flusher.flush()
    say("done", flusher.written)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
