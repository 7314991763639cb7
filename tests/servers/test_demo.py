"""The demo shows something true in every pane, and nothing that is done to it brings it down."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from pymemcache.client.base import Client

from cachetui.demo import RATE
from cachetui.demo.run import Demo
from tests.servers.demo_process import Child, until

Redis = redis.Redis


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    demo = Demo()
    asyncio.run(demo.__aenter__())
    yield demo
    asyncio.run(demo.__aexit__(None, None, None))


@pytest.fixture
def client(demo: Demo) -> Iterator[Redis]:
    with Redis(port=port_of(demo.url)) as client:
        until(lambda: client.info("memory")["used_memory"] > 60 * 2**20, 40)
        yield client


def hit_rate(client: Redis, span: Callable[[], Any]) -> float:
    before: dict[str, int] = client.info("stats")
    span()
    after: dict[str, int] = client.info("stats")
    hits, misses = (after[name] - before[name] for name in ("keyspace_hits", "keyspace_misses"))
    return hits / max(1, hits + misses)


def lookups(client: Redis, count: int) -> Callable[[], None]:
    """Return a function that waits until `count` more lookups have been made."""

    def total() -> int:
        stats = client.info("stats")
        return int(stats["keyspace_hits"] + stats["keyspace_misses"])

    def wait() -> None:
        goal = total() + count
        until(lambda: total() >= goal, 30)

    return wait


def test_it_says_where_and_what_it_is(demo: Demo) -> None:
    assert demo.url.startswith("redis://127.0.0.1:")
    assert f"127.0.0.1:{port_of(demo.url)}" in demo.description and "Valkey 9" in demo.description
    assert asyncio.run(demo.alive())


def test_it_holds_keys_of_every_type(client: Redis) -> None:
    until(lambda: client.exists("orders", "queue:emails") or None, 20)
    types = {
        "page:product:10000": b"string",
        "user:0": b"hash",
        "big:events": b"list",
        "tag:new": b"set",
        "leaderboard:weekly": b"zset",
        "orders": b"stream",
        "stores:geo": b"zset",
    }
    for key, expected in types.items():
        until(lambda key=key: client.exists(key), 10)  # type: ignore[misc]
        assert client.type(key) == expected, key
    assert client.pfcount(*client.keys("visitors:*")) > 1000
    assert client.bitcount(next(iter(client.keys("active:*")))) > 10
    assert client.ttl(next(client.scan_iter("session:*"))) > 0
    assert client.ttl(next(client.scan_iter("tmp:export:*"))) == -1
    assert client.hlen("catalog:all") == 6000
    assert client.exists(b"odd:\x1b[31mescape\x1b[0m", "odd:[red]not red[/red]", "odd:日本語:キー") == 3
    assert 30_000 < client.dbsize() < 70_000


def test_most_lookups_hit_and_memory_is_nearly_full(client: Redis) -> None:
    assert hit_rate(client, lookups(client, 1500)) > 0.5
    memory = client.info("memory")
    assert memory["maxmemory"] == 64 * 2**20 and memory["maxmemory_policy"] == "allkeys-lru"
    assert memory["used_memory"] > 0.9 * memory["maxmemory"]


def test_every_actor_is_there_and_one_is_blocked(client: Redis) -> None:
    names = {"web-1", "web-2", "worker-1", "worker-2", "cron", "notifier", "checkout"}
    until(lambda: names <= {entry["name"] for entry in client.client_list()}, 10)
    until(lambda: client.info("clients")["blocked_clients"] > 0, 10)
    assert client.pubsub_numpat() == 1 and client.pubsub_channels() == [b"news:orders"]


def test_the_stream_has_consumers_and_pending_entries(client: Redis) -> None:
    until(lambda: len(client.xinfo_groups("orders")) == 2, 10)
    until(lambda: client.xpending("orders", "shipping")["pending"] > 0, 30)


def test_slow_commands_and_latency_events_appear(client: Redis) -> None:
    client.slowlog_reset()
    until(lambda: any(b"SORT" in entry["command"] or b"EVAL" in entry["command"] for entry in client.slowlog_get()), 30)
    until(lambda: client.execute_command("LATENCY", "LATEST"), 30)


def test_a_purge_of_the_pages_shows_as_a_dip_and_heals(client: Redis) -> None:
    for key in client.scan_iter("page:*", count=1000):
        client.unlink(key)
    dipped = hit_rate(client, lookups(client, 120))
    until(lambda: hit_rate(client, lookups(client, 300)) > max(0.6, dipped + 0.1), 60)


def test_the_rate_is_bounded(demo: Demo, client: Redis) -> None:
    until(lambda: not [entry for entry in client.client_list() if entry["name"] == "import"], 20)
    before, began = client.info("stats")["total_commands_processed"], time.monotonic()
    until(lambda: time.monotonic() - began > 1.5, 5)
    after, ended = client.info("stats")["total_commands_processed"], time.monotonic()
    assert 200 < (after - before) / (ended - began) < 3 * RATE


def test_it_survives_whatever_is_done_to_its_data_and_connections() -> None:
    with Child("--rate", "800") as child, Redis(port=child.port) as client:
        until(lambda: client.exists("leaderboard:weekly") and client.info("clients")["blocked_clients"], 30)
        client.flushall()
        client.set("queue:emails", "not a list")
        client.lpush("leaderboard:weekly", "not a sorted set")
        client.set("orders", "not a stream")
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
        until(lambda: client.info("errorstats").get("errorstat_OOM", {}).get("count", 0) > 100, 30)
        until(lambda: client.info("errorstats").get("errorstat_WRONGTYPE", {}).get("count", 0) > 2, 30)
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_kill_filter(_type="pubsub")
        client.flushall()
        client.config_set("maxmemory", "64mb")
        client.config_set("maxmemory-policy", "allkeys-lfu")
        until(lambda: client.exists("orders") and len(client.xinfo_groups("orders")) == 2, 30)
        until(lambda: client.pubsub_numpat() == 1 and client.info("clients")["blocked_clients"] > 0, 30)
        until(lambda: client.exists("leaderboard:weekly", "catalog:all", "stores:geo") == 3, 60)
        assert client.type("leaderboard:weekly") == b"zset"
        until(lambda: hit_rate(client, lookups(client, 300)) > 0.5, 30)
        last, complaints = child.end()
        errors = last["errors"]
    assert errors["OOM"] > 0 and errors["WRONGTYPE"] > 0 and complaints == ""


def test_a_scenario_is_switched_on_and_off(demo: Demo, client: Redis) -> None:
    def players() -> int:
        return sum(one["name"].startswith("scenario-hot") for one in client.client_list())

    demo.play("no-such-scenario")
    assert players() == 0
    demo.play("hot-key")
    until(lambda: players() == 3, 20)
    demo.play("hot-key")
    until(lambda: players() == 0, 20)


def test_memcached_is_loaded_too() -> None:
    with Child("--memcached") as child:
        url = child.facts["url"]
        assert url.startswith("memcached://127.0.0.1:") and url.count(",") == 1 and len(child.facts["pids"]) == 2
        client = Client(("127.0.0.1", child.port), timeout=2)

        def rate() -> float:
            stats = client.stats()
            hits, misses = stats[b"get_hits"], stats[b"get_misses"]
            return hits / max(1, hits + misses) if hits + misses > 500 else 0.0

        until(lambda: rate() > 0.5 and client.stats()[b"evictions"] > 0, 30)
        client.flush_all(noreply=False)
        before = client.stats()
        until(lambda: client.stats()[b"get_misses"] > before[b"get_misses"] + 50, 20)
        until(lambda: client.stats()[b"get_hits"] > before[b"get_hits"] + 500, 20)
        client.close()
        # Killed in the middle: the other one goes on, and takes its keys over.
        os.kill(child.facts["pid"], signal.SIGKILL)
        until(lambda: client.stats()[b"get_hits"] > before[b"get_hits"] + 1000, 30)
        client.close()
        _, complaints = child.end()
        assert complaints == ""
