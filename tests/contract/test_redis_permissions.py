"""A refused command is data, is remembered, and is asked again on the next connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cachetui.errors import Denied, Unsupported
from cachetui.model import Stats, Topology
from tests.contract.redis_targets import source_of
from tests.servers.launch import Server

PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3])
NARROW = ("+@all", "-info", "-config", "-slowlog", "-client")


@pytest.fixture
def user(redis_like: Server) -> Iterator[Callable[..., dict[str, str]]]:
    """Make an ACL user with these rules; returns what a target needs to be it."""

    def make(*rules: str) -> dict[str, str]:
        redis_like.command("ACL", "SETUSER", "ann", "reset", "on", ">secret", "~*", "&*", *rules)
        redis_like.command("CONFIG", "RESETSTAT")
        return {"user": "ann", "password": "secret"}

    yield make
    redis_like.command("ACL", "DELUSER", "ann")


def rejected(server: Server) -> dict[str, int]:
    """Return the rejected calls by command as the server counts them."""
    with server.client() as client:
        stats = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): fields["rejected_calls"] for name, fields in stats.items()}


@PROTOCOLS
async def test_without_info_config_slowlog_and_client(
    redis_like: Server, user: Callable[..., dict[str, str]], protocol: int
) -> None:
    redis_like.command("MSET", "a", "1", "b", "2")
    async with source_of(redis_like, protocol=protocol, **user(*NARROW)) as source:
        for _ in range(3):
            stats = await source.poll("stats")
            assert isinstance(stats, Stats)
            assert stats.keys == 2 and "INFO" in stats.denied and stats.latency_us
            assert stats.used_bytes is None and stats.hits_total is None and stats.extra is None
            assert stats.server.role == "primary"
            for kind in ("slowlog", "clients"):
                with pytest.raises(Denied):
                    await source.poll(kind)
            topology = await source.poll("topology")
            assert isinstance(topology, Topology) and topology.nodes[0].role == "primary"
        assert set((await source.scan()).keys) == {b"a", b"b"}
        assert (await source.value(b"a")).items[0].data == b"1"
        with pytest.raises(Denied):
            await source.config("*")
        assert len(await source.policies()) == 8
        assert {"INFO", "SLOWLOG", "CLIENT LIST"} <= set(source.denied)
        assert "SLOWLOG" in (source.why_not("slowlog") or "") and source.why_not("scan") is None
        assert source.why_not("policy") and source.why_not("kill") is None
    refused = rejected(redis_like)
    assert refused["info"] == 1
    assert sum(count for name, count in refused.items() if name.startswith("slowlog")) == 2
    assert sum(count for name, count in refused.items() if name.startswith("client")) <= 3


async def test_a_user_who_may_only_ping(redis_like: Server, user: Callable[..., dict[str, str]]) -> None:
    async with source_of(redis_like, **user("-@all", "+ping")) as source:
        identity = await source.open()
        assert identity.kind in ("redis", "valkey") and identity.role == "primary"
        for _ in range(3):
            stats = await source.poll("stats")
            assert isinstance(stats, Stats)
            assert stats.keys is None and stats.latency_us and {"INFO", "DBSIZE", "ROLE"} <= set(stats.denied)
        for _ in range(2):
            with pytest.raises(Denied, match="KEYS would block"):
                await source.scan()
            with pytest.raises(Denied):
                await source.poll("topology")
        (facts,) = (await source.facts([b"k"])).facts
        assert facts.type is None and "TYPE denied" in facts.note
        assert (await source.value(b"k")).note
        assert source.sent["info"] == source.sent["dbsize"] == source.sent["scan"] == source.sent["type"] == 1
        assert source.sent["ping"] == 3 and source.sent["keys"] == 0
        assert "SCAN" in (source.why_not("scan") or "")
    assert rejected(redis_like)["info"] == 1


async def test_without_hello_and_command(redis_like: Server, user: Callable[..., dict[str, str]]) -> None:
    async with source_of(redis_like, **user("+@all", "-command")) as source:
        stats = await source.poll("stats")
        assert isinstance(stats, Stats) and stats.used_bytes and stats.denied == ("COMMAND INFO",)
        with pytest.raises(Denied):
            await source.flags(["del"])
        assert source.sent["command"] == 1


async def test_a_renamed_command_is_unsupported(new_server) -> None:  # type: ignore[no-untyped-def]
    server = new_server("redis7", "--rename-command", "INFO", "", "--rename-command", "HELLO", "")
    async with source_of(server) as source:
        for _ in range(2):
            stats = await source.poll("stats")
            assert isinstance(stats, Stats)
            assert stats.keys == 0 and stats.server.role == "primary" and "INFO" in stats.denied
        assert isinstance(source.denied["INFO"], Unsupported)
        assert source.sent["info"] == 1 and source.sent["hello"] == 1
        clients = await source.poll("clients")
        assert {client.name for client in clients.clients if client.ours} == {"cachetui"}  # type: ignore[union-attr]
        assert sum(client.ours for client in clients.clients) == 2  # type: ignore[union-attr]


async def test_permissions_are_asked_again_on_a_new_connection(
    redis_like: Server, user: Callable[..., dict[str, str]]
) -> None:
    async with source_of(redis_like, **user(*NARROW)) as source:
        stats = await source.poll("stats")
        assert isinstance(stats, Stats) and stats.used_bytes is None
        user("+@all")
        assert isinstance(stats := await source.poll("stats"), Stats) and stats.used_bytes is None
        redis_like.command("CLIENT", "KILL", "USER", "ann")
        stats = await _poll_through_reconnection(source)
        assert stats.used_bytes is not None and stats.denied == ()


async def _poll_through_reconnection(source) -> Stats:  # type: ignore[no-untyped-def]
    from cachetui.errors import Unreachable

    try:
        stats = await source.poll("stats")
    except Unreachable:
        stats = await source.poll("stats")
    assert isinstance(stats, Stats)
    return stats
