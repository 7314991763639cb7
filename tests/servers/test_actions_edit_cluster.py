"""Edits and imports in a real cluster of three: each key where its slot is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cachetui.actions.plan import (
    plan_copy,
    plan_hash_field,
    plan_import,
    plan_list_push,
    plan_new,
    plan_rename,
    plan_stream_entry,
)
from cachetui.actions.plan.edit import hash_slot
from tests.contract.redis_targets import until
from tests.servers import launch
from tests.servers.bench import bench_of
from tests.servers.launch import Server

SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))


@pytest.fixture(scope="module", params=["redis7", "valkey9"])
def nodes(request: pytest.FixtureRequest) -> Iterator[list[Server]]:
    """Three primaries of one cluster."""
    binary = launch.SERVERS[request.param]()
    started = [launch.redis_server(binary, "--cluster-enabled", "yes") for _ in SLOTS]
    try:
        for node, (first, last) in zip(started, SLOTS, strict=True):
            node.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            node.command("CLUSTER", "MEET", "127.0.0.1", str(started[0].port))
        yield started
    finally:
        for node in started:
            launch.remove(node)


@pytest.fixture
async def cluster(nodes: list[Server]) -> list[Server]:
    def ready() -> bool:
        about = [str(node.command("CLUSTER", "INFO")) for node in nodes]
        return all("cluster_state:ok" in text and "cluster_slots_assigned:16384" in text for text in about)

    await until(ready)
    for node in nodes:
        node.command("FLUSHALL")
    return nodes


def at(nodes: list[Server], key: bytes) -> Server:
    """Return the node that serves `key`."""
    slot = hash_slot(key)
    return next(node for node, (first, last) in zip(nodes, SLOTS, strict=True) if first <= slot <= last)


def url_of(nodes: list[Server]) -> str:
    return f"redis+cluster://{nodes[0].address}"


KEYS = (b"a", b"b", b"c", b"d", b"{t}e")


async def test_each_key_is_edited_where_it_lives(cluster: list[Server], tmp_path: Path) -> None:
    assert len({at(cluster, key).port for key in KEYS}) == 3
    async with bench_of(cluster[0], tmp_path, url_of(cluster)) as bench:
        for key in KEYS:
            node = at(cluster, key)
            assert (await bench.run(plan_new(*bench.who, key, "string", b"old", ttl_s=1000))).state == "done"
            assert (await bench.run(await bench.edited(key, b"new"))).state == "done"
            with node.client() as client:
                assert client.get(key) == b"new" and client.ttl(key) > 990
            plan = await bench.edited(key, b"mine")
            node.command("SET", key, "theirs")
            assert (await bench.refused(plan)).detail["now"] == "theirs"
            renamed = b"{t}:n" if b"{" in key else b"{" + key + b"}:n"
            assert (await bench.run(plan_rename(*bench.who, key, renamed))).state == "done"
            assert node.command("GET", renamed) == b"theirs"


@pytest.mark.parametrize("key", KEYS)
async def test_a_plan_that_watches_nothing_finds_its_node(cluster: list[Server], tmp_path: Path, key: bytes) -> None:
    node = at(cluster, key)
    async with bench_of(cluster[0], tmp_path, url_of(cluster)) as bench:
        with node.client() as client:
            client.rpush(key, "a")
            assert (await bench.run(plan_list_push(*bench.who, key, b"b"))).state == "done"
            assert client.lrange(key, 0, -1) == [b"a", b"b"]
            client.delete(key)
            client.xadd(key, {"f": "v"})
            outcome = await bench.run(plan_stream_entry(*bench.who, key, entry_id=None, fields=[(b"f", b"w")]))
            assert (outcome.state, client.xlen(key)) == ("done", 2)


async def test_an_import_reaches_every_shard_and_overwrites_nothing(cluster: list[Server], tmp_path: Path) -> None:
    rows = [(b"k:%d" % number, [(b"HSET", b"k:%d" % number, b"f", b"mine")]) for number in range(60)]
    async with bench_of(cluster[0], tmp_path, url_of(cluster)) as bench:
        plan = plan_import(*bench.who, rows, ())
        at(cluster, b"k:7").command("SET", "k:7", "theirs")
        outcome = await bench.run(plan)
        assert (outcome.state, outcome.done, outcome.missing) == ("done", 59, 1)
        assert [node.command("DBSIZE") for node in cluster].count(0) == 0
        assert sum(int(str(node.command("DBSIZE"))) for node in cluster) == 60
        assert at(cluster, b"k:7").command("GET", "k:7") == b"theirs"
        field = plan_hash_field(*bench.who, b"k:8", b"f", old=b"mine", new=b"x")
        assert (await bench.run(field)).verified is True
        copied = plan_copy(*bench.who, b"k:8", b"{k:8}:copy")
        assert (await bench.run(copied)).state == "done"
