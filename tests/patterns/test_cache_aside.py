"""Attempts to break what `CacheAside` guarantees for threads and processes, on every kind of server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from cachetui.patterns import Bulkhead, CacheAside, CacheUnavailable, Codec, Json, LargeValue, MessagePack, cached
from cachetui.patterns.entry import Entry
from tests.patterns.conftest import Gate, sync_client
from tests.patterns.workers import Start
from tests.servers.demo_process import until
from tests.servers.launch import Server


def in_threads(count: int, work: Callable[[], Any]) -> list[Any]:
    """Do the same in many threads at once and return what came back, errors too."""
    results: list[Any] = []
    barrier = threading.Barrier(count)

    def run() -> None:
        barrier.wait()
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def port_of(kind: str, request: pytest.FixtureRequest) -> int:
    server = request.getfixturevalue(kind)
    return int((server[0] if kind == "cluster" else server).port)


def test_many_threads_share_one_load(client: Any, gate: Gate) -> None:
    cache = CacheAside(client, gate, 60)
    done: list[Any] = []
    caller = threading.Thread(target=lambda: done.extend(in_threads(100, lambda: cache.get("a"))))
    caller.start()
    assert gate.asked.wait(10)
    until(lambda: cache.counts.joined >= 99, 20)
    gate.through.set()
    caller.join()
    assert done == [b"old"] * 100 and gate.calls == 1


@pytest.mark.parametrize("kind", ["redis7", "memcached"])
def test_many_processes_share_one_load(kind: str, request: pytest.FixtureRequest, start: Start) -> None:
    port = port_of(kind, request)
    workers = [start("stampede", kind, port, 50, "hot") for _ in range(3)]
    for worker in workers:
        worker.hear("ready")
    for worker in workers:
        worker.go_on()
    answers = [worker.hear("loads").split() for worker in workers]
    assert sum(int(answer[1]) for answer in answers) == 1, answers
    assert all(answer[2:] == ["50", "True"] for answer in answers)


@pytest.mark.parametrize("kind", ["redis7", "valkey9", "memcached"])
def test_a_paused_process_with_a_stale_lock_overwrites_nothing(
    kind: str, request: pytest.FixtureRequest, start: Start
) -> None:
    port = port_of(kind, request)
    client = sync_client(kind, request.getfixturevalue(kind))
    slow = start("load", kind, port, "stale", 0.3)
    slow.hear("loading")
    slow.pause()
    # Its lease runs out; another process waits for that, loads and stores.
    quick = start("load", kind, port, "newer", 20)
    quick.hear("loading")
    quick.go_on()
    assert quick.hear("got") == "got newer"
    slow.resume()
    slow.go_on()
    assert slow.hear("got") == "got stale"
    assert client.get("p:a") == b"newer"
    client.close()


@pytest.mark.parametrize("kind", ["redis7", "memcached"])
def test_a_killed_process_does_not_keep_the_lock(kind: str, request: pytest.FixtureRequest, start: Start) -> None:
    port = port_of(kind, request)
    first = start("load", kind, port, "never", 0.3)
    first.hear("loading")
    first.end()
    second = start("load", kind, port, "second", 5)
    second.hear("loading")
    second.go_on()
    assert second.hear("got") == "got second"


def test_who_cannot_wait_longer_loads_and_stores_nothing(client: Any, gate: Gate) -> None:
    slow, quick = CacheAside(client, gate, 60), CacheAside(client, lambda _: b"own", 60, wait_s=0.05)
    thread = threading.Thread(target=lambda: slow.get("a"))
    thread.start()
    assert gate.asked.wait(10)
    assert quick.get("a") == b"own"
    gate.through.set()
    thread.join()
    assert quick.get("a") == b"old" and quick.counts.loads == 1


def test_a_load_from_before_an_invalidation_is_not_stored(client: Any, gate: Gate) -> None:
    cache, other = CacheAside(client, gate, 60), CacheAside(client, lambda _: b"new", 60)
    early: list[bytes] = []
    thread = threading.Thread(target=lambda: early.append(cache.get("a")))
    thread.start()
    assert gate.asked.wait(10)
    other.invalidate("a")
    gate.through.set()
    thread.join()
    assert early == [b"old"] and cache.counts.refused == 1
    assert other.get("a") == b"new" and cache.get("a") == b"new"


def test_a_stale_value_is_returned_at_once_and_refreshed_by_one(client: Any, gate: Gate) -> None:
    gate.through.set()
    cache = CacheAside(client, gate, 0.05, jitter=0, stale_s=60)
    assert cache.get("a") == b"old"
    gate.through.clear()
    gate.asked.clear()
    gate.value = b"new"

    def stale_seen() -> bool:
        assert cache.get("a") == b"old"  # also while the refresh is under way
        return gate.asked.is_set()

    until(stale_seen, 10)
    assert in_threads(20, lambda: cache.get("a")) == [b"old"] * 20 and gate.calls == 2
    gate.through.set()
    cache.close()
    assert cache.get("a") == b"new" and cache.counts.stale > 0


def test_a_refresh_that_was_overtaken_by_an_invalidation_stores_nothing(client: Any, gate: Gate) -> None:
    gate.through.set()
    cache = CacheAside(client, gate, 0.01, jitter=0, stale_s=60)
    cache.get("a")
    gate.through.clear()
    gate.asked.clear()
    until(lambda: cache.get("a") == b"old" and gate.asked.is_set(), 10)
    cache.invalidate("a")
    gate.through.set()
    cache.close()
    gate.value = b"new"
    assert cache.get("a") == b"new"


def test_a_failing_refresh_leaves_the_stale_value_and_waits_for_its_lease(redis7: Server) -> None:
    calls: list[str] = []

    def load(key: str) -> bytes:
        calls.append(key)
        if len(calls) > 1:
            raise LookupError("the database is down")
        return b"kept"

    with redis7.client() as client:
        cache = CacheAside(client, load, 0.01, jitter=0, stale_s=60, lease_s=30)
        cache.get("a")
        until(lambda: cache.get("a") == b"kept" and cache.counts.refresh_errors, 10)
        assert [cache.get("a") for _ in range(50)] == [b"kept"] * 50
        cache.close()
    assert len(calls) == 2, "a database that fails is not asked at every get"


def test_a_row_that_is_gone_is_removed_by_the_refresh(client: Any, gate: Gate) -> None:
    gate.through.set()
    cache = CacheAside(client, gate, 0.01, jitter=0, stale_s=60)
    cache.get("a")
    gate.value = None
    until(lambda: cache.get("a") is None, 10)


def test_early_refresh_comes_before_the_end_and_the_sooner_the_costlier(redis7: Server) -> None:
    with redis7.client() as client:
        refreshed = {}
        for cost_ms in (0, 60_000):
            cache = CacheAside(client, lambda _: b"new", 60, jitter=0, early=1.0, prefix=f"{cost_ms}:")
            due_ms = round(time.time() * 1000) + 30_000
            for number in range(200):
                client.set(f"{cost_ms}:{number}", Entry(b"old", False, due_ms, cost_ms).encode())
                assert cache.get(str(number)) == b"old"
            cache.close()
            refreshed[cost_ms] = cache.counts.stale
    # With a cost of twice the time that is left, about 61 of 100 are chosen: e ** -0.5.
    assert refreshed[0] == 0 and 80 < refreshed[60_000] < 160


def test_the_loaders_error_reaches_every_thread_and_is_not_kept(client: Any) -> None:
    barrier = threading.Event()

    def fail(_key: str) -> bytes:
        barrier.wait(10)
        raise LookupError("no such table")

    cache = CacheAside(client, fail, 60, negative_ttl_s=60)
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.extend(in_threads(10, lambda: cache.get("a"))))
    thread.start()
    until(lambda: cache.counts.joined == 9, 10)
    barrier.set()
    thread.join()
    assert [type(result) for result in results] == [LookupError] * 10 and cache.counts.loads == 1
    assert CacheAside(client, lambda _: b"fine", 60).get("a") == b"fine", "the lease was given back"


def test_an_absence_is_kept_only_when_asked_for(client: Any, gate: Gate) -> None:
    gate.value = None
    gate.through.set()
    plain = CacheAside(client, gate, 60)
    assert [plain.get("a") for _ in range(2)] == [None, None] and gate.calls == 2
    negative = CacheAside(client, gate, 60, negative_ttl_s=60)
    assert [negative.get("a") for _ in range(3)] == [None] * 3 and gate.calls == 3


def test_what_cannot_be_read_is_loaded_anew(client: Any) -> None:
    cache = CacheAside(client, lambda _: {"fine": True}, 60, codec=Json())
    for rubbish in (b"{", b"\xff", b"\x00ct9 another format", b"\x00ct1", Entry(b"no zlib", packed=True).encode()):
        client.set("a", rubbish)
        assert cache.get("a") == {"fine": True} == cache.get("a")
    assert cache.counts.unreadable == 10 and cache.counts.loads == 5


@pytest.mark.parametrize("serialiser", [Json(), MessagePack()], ids=["json", "msgpack"])
def test_a_miss_and_a_hit_give_the_same(redis7: Server, serialiser: Any) -> None:
    value = {"text": "é\U0001f9fa", "list": (1, 2.5, None, True), "deep": {"a": [{}]}, "long": "x" * 5000}
    with redis7.client() as client:
        cache = CacheAside(client, lambda _: value, 60, codec=Codec(serialiser, compress_over=1000))
        assert cache.get("a") == cache.get("a") == {**value, "list": [1, 2.5, None, True]}
        assert len(client.get("a")) < 1000 and cache.counts.hits == 1


def test_the_size_is_guarded(redis7: Server) -> None:
    with redis7.client() as client:
        with pytest.warns(LargeValue, match="200,000 bytes"):
            CacheAside(client, lambda _: b"x" * 200_000, 60).get("large")
        cache = CacheAside(client, lambda _: b"x" * 2000, 60, codec=Codec(max_bytes=1000))
        assert len(cache.get("a")) == 2000 and not client.exists("a", "lock:{a}") and cache.counts.refused == 1
        bomb = Codec(compress_over=10).pack(b"x" * 3_000_000)
        assert bomb is not None and bomb[1]
        client.set("bomb", Entry(*bomb).encode())
        small = CacheAside(client, lambda _: b"small", 60, codec=Codec(read_most=1_000_000))
        assert small.get("bomb") == b"small" and small.counts.unreadable > 0
        with pytest.raises(TypeError, match="only bytes"):
            CacheAside(client, lambda _: "text", 60).get("text")


def test_a_loader_that_asks_for_its_own_key_is_told(redis7: Server) -> None:
    with redis7.client() as client:
        cache: CacheAside = CacheAside(client, lambda key: (cache.get(key), key)[1], 60)
        with pytest.raises(RuntimeError, match="the key that it loads"):
            cache.get("a")


def test_a_full_bulkhead_bypasses_or_raises(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    with server.client(socket_timeout=20) as client:
        narrow = CacheAside(client, lambda _: b"own", 60, bulkhead=Bulkhead(1, wait_s=0))
        strict = CacheAside(client, lambda _: b"own", 60, bulkhead=Bulkhead(1, wait_s=0), on_error="raise")
        server.pause()
        for cache in (narrow, strict):
            stuck = threading.Thread(target=cache.get, args=("stuck",))
            stuck.start()
            until(lambda cache=cache: cache._guard._gate._value == 0, 10)  # type: ignore[misc]
        assert narrow.get("b") == b"own" and narrow.counts.cache_errors == 1
        with pytest.raises(CacheUnavailable, match="bulkhead"):
            strict.get("b")
        server.resume()
        until(lambda: threading.active_count() < 3 or not stuck.is_alive(), 10)


def test_cached_functions_have_keys_tags_and_a_way_to_forget(client: Any, kind: str) -> None:
    calls: list[tuple[int, str]] = []

    @cached(client, ttl=60, prefix="c:", tags=() if kind == "memcached" else lambda number, word="x": [f"n{number}"])
    def twice(number: int, word: str = "x") -> dict[str, Any]:
        """Do it twice."""
        calls.append((number, word))
        return {"word": word * 2, "number": number}

    assert twice(1) == twice(number=1) == twice(1, "x") == {"word": "xx", "number": 1}
    assert twice(1, word="y") != twice(2) and len(calls) == 3
    assert twice.__doc__ == "Do it twice." and twice.key(1) == twice.key(1, word="x") != twice.key(2)
    assert twice.invalidate(1) == 1 and twice(1) and len(calls) == 4


def test_a_template_names_the_key_and_methods_work(redis7: Server) -> None:
    with redis7.client() as client:

        class Users:
            @cached(client, ttl=60, key="user:{id}:{extra}")
            def user(self, id: int, extra: Any = "") -> int:
                return id

        assert Users().user(7) == Users().user(7) == 7 and client.get("user:7:") == b"7"
        Users().user(7, extra=[1, 2])
        assert len(client.keys("user:7:" + "?" * 32)) == 1
