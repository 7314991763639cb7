"""Every kind of snapshot from every Redis-like server, over both protocols, the same."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from cachetui.errors import ServerError
from cachetui.model import ClientList, SlowLog, Stats, Topology
from tests.contract.redis_targets import source_of, until
from tests.servers.launch import Server

PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3])


@PROTOCOLS
async def test_stats_are_filled(redis_like: Server, protocol: int) -> None:
    with redis_like.client() as client:
        client.set("a", "1", ex=1000)
        client.set("b", "2")
        client.get("a")
        client.get("missing")
    async with source_of(redis_like, protocol=protocol) as source:
        stats = await source.poll("stats")
    assert isinstance(stats, Stats)
    assert stats.server.kind == ("valkey" if "valkey" in redis_like.argv[0] else "redis")
    assert stats.server.version and stats.server.version[0] in "679"
    assert (stats.server.mode, stats.server.role) == ("standalone", "primary")
    assert stats.server.run_id and stats.server.address == redis_like.address
    assert stats.keys == 2 and stats.databases[0].expires == 1
    assert stats.hits_total == 1 and stats.misses_total == 1
    assert stats.latency_us is not None and 0 < stats.latency_us < 1_000_000
    assert stats.used_bytes and stats.maxmemory_bytes == 0 and stats.policy == "noeviction"
    assert stats.max_clients == 10000 and stats.loading is False and stats.aof_enabled is False
    assert stats.cpu_s_total is not None and stats.net_in_bytes_total and stats.uptime_s is not None
    assert {"get", "set"} <= {command.name for command in stats.commands}
    assert stats.denied == () and stats.replicas == 0 and stats.link_up is None


async def test_both_protocols_give_the_same(redis_like: Server) -> None:
    with redis_like.client() as client:
        client.config_set("slowlog-log-slower-than", 0)
        client.hset("h", mapping={"a": "1", "b": "2"})
        client.zadd("z", {"m": 1.5, "inf": float("inf"), "minus": float("-inf")})
        client.xadd("x", {"f": "v", "g": "w"}, id="1-1")
        client.sadd("s", "1", "2")
        client.config_set("slowlog-log-slower-than", 10000)
    seen = []
    for protocol in (2, 3):
        async with source_of(redis_like, protocol=protocol) as source:
            slowlog = await source.poll("slowlog")
            topology = await source.poll("topology")
            assert isinstance(slowlog, SlowLog) and isinstance(topology, Topology)
            values = [await source.value(key) for key in (b"h", b"z", b"x", b"s")]
            config = await source.config("maxmemory*")
            flags = await source.flags(["del", "CONFIG SET", "info", "no-such-command"])
            policies = await source.policies()
            seen.append(
                (
                    slowlog.entries,
                    slowlog.total,
                    slowlog.threshold_us,
                    dataclasses.replace(topology, taken_at=0),
                    [(value.items, value.total, value.columns, value.facts.type) for value in values],
                    config,
                    flags,
                    policies,
                )
            )
    assert seen[0] == seen[1]
    entries, total, threshold, topology, values, config, flags, policies = seen[0]
    assert total == len(entries) and b"SADD" in {entry.args[0] for entry in entries} and threshold == 10000
    assert topology.summary == "primary without replicas"
    assert [item.score for item in values[1][0]] == [float("-inf"), 1.5, float("inf")]
    assert values[2][0][0].label == b"1-1" and values[2][0][0].data == b"f=v g=w"
    assert config["maxmemory"] == "0"
    assert "write" in (flags["del"] or ()) and {"admin", "dangerous"} <= (flags["CONFIG SET"] or frozenset())
    assert "write" not in (flags["info"] or ()) and flags["no-such-command"] is None
    assert len(policies) == 8 and "allkeys-lfu" in policies


@PROTOCOLS
async def test_clients_mark_ours(redis_like: Server, protocol: int) -> None:
    with redis_like.client(client_name="app") as other:
        other.ping()
        async with source_of(redis_like, protocol=protocol) as source:
            await source.poll("stats")
            clients = await source.poll("clients")
    assert isinstance(clients, ClientList)
    assert clients.total == len(clients.clients)
    ours = [client for client in clients.clients if client.ours]
    assert len(ours) == 2 and {client.name for client in ours} == {"cachetui"}
    app = next(client for client in clients.clients if client.name == "app")
    assert app.command == "ping" and app.db == 0 and app.user == "default" and not app.ours
    assert app.idle_s is not None and app.memory_bytes and app.output_bytes == 0


async def test_many_clients(redis7: Server) -> None:
    idle = [redis7.client(client_name=f"idle-{at}") for at in range(600)]
    try:
        for client in idle:
            client.ping()
        async with source_of(redis7) as source:
            clients = await source.poll("clients")
    finally:
        for client in idle:
            client.close()
    assert isinstance(clients, ClientList)
    assert {f"idle-{at}" for at in range(600)} <= {client.name for client in clients.clients}


async def test_kinds_run_at_once_over_few_connections(redis_like: Server) -> None:
    async with source_of(redis_like) as source:
        await asyncio.gather(
            *(source.poll(kind) for kind in ("stats", "slowlog", "clients", "topology")), source.scan(), source.scan()
        )
        clients = await source.poll("clients")
        assert isinstance(clients, ClientList)
        assert sum(client.ours for client in clients.clients) == 3


async def test_looking_leaves_no_errors_behind(redis_like: Server) -> None:
    redis_like.command("SET", "k", "v")
    redis_like.command("CONFIG", "RESETSTAT")
    async with source_of(redis_like) as source:
        for kind in ("stats", "slowlog", "clients", "topology"):
            await source.poll(kind)
        await source.scan()
        await source.value(b"k")
        stats = await source.poll("stats")
    assert isinstance(stats, Stats) and stats.errors == ()


async def test_looking_leaves_the_lru_alone_where_the_server_can(valkey9: Server) -> None:
    valkey9.command("SET", "k", "v")
    async with source_of(valkey9) as source:
        await until(lambda: valkey9.command("OBJECT", "IDLETIME", "k") != 0)
        value = await source.value(b"k")
        assert value.items[0].data == b"v"
    assert valkey9.command("OBJECT", "IDLETIME", "k") != 0


async def test_sent_counts_what_the_server_counts(redis_like: Server) -> None:
    async with source_of(redis_like) as source:
        await source.poll("stats")
        await source.facts([b"a", b"b"])
        sent = source.sent
        stats = await source.poll("stats")
        assert isinstance(stats, Stats)
        calls = {command.name: command.calls for command in stats.commands}
    assert sent["type"] == calls["type"] == 2 and sent["pttl"] == calls["pttl"] == 2
    assert sent["ping"] == calls["ping"] == 2


@PROTOCOLS
async def test_scan_finds_every_key(redis_like: Server, protocol: int) -> None:
    wanted = {f"user:{at}".encode() for at in range(3000)} | {b"", b"\x00\xff\r\n", b"k" * 100_000}
    with redis_like.client() as client:
        client.mset(dict.fromkeys(wanted, "x"))
        client.sadd("set:1", "a")
    async with source_of(redis_like, protocol=protocol) as source:
        found: set[bytes] = set()
        step = await source.scan(count=5000)
        assert step.total == len(wanted) + 1
        steps = 1
        while True:
            found.update(step.keys)
            if step.cursor is None:
                break
            step = await source.scan(step.cursor, count=5000)
            steps += 1
        assert found == wanted | {b"set:1"} and steps >= 3
        matched = await source.scan(match=b"set:*", count=1000, type_="set")
        while not matched.keys and matched.cursor:
            matched = await source.scan(matched.cursor, match=b"set:*", count=1000, type_="set")
        assert matched.keys == (b"set:1",)


async def test_a_cursor_of_another_run_is_refused(redis7: Server) -> None:
    async with source_of(redis7) as source:
        with pytest.raises(ServerError, match="restarted"):
            await source.scan(b"another-run:17")


async def test_execute_keeps_order_and_places_errors(redis_like: Server) -> None:
    async with source_of(redis_like) as source:
        replies = await source.execute(
            [(b"SET", b"k", b"1"), (b"LPUSH", b"k", b"x"), (b"INCR", b"k"), (b"UNLINK", b"k", b"none")]
        )
    assert replies[0] in (b"OK", "OK") and replies[2] == 2 and replies[3] == 1
    assert isinstance(replies[1], ServerError) and replies[1].word == "WRONGTYPE"


async def test_secrets_of_the_configuration_stay_hidden(new_server) -> None:  # type: ignore[no-untyped-def]
    server = new_server("redis7", "--requirepass", "hidden-word", "--masterauth", "other-word")
    async with source_of(server, password="hidden-word") as source:
        settings = await source.config("*")
    assert settings["requirepass"] == settings["masterauth"] == "***"
    assert not any("word" in value for value in settings.values() if "hidden" in value or "other-word" in value)
