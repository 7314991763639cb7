"""What the Sentinels of a target say: each on its own, one that disagrees, one that is dead or stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cachetui.config import Secret, parse_target
from cachetui.errors import AuthFailed, Unreachable
from cachetui.model import SentinelGroup as Seen
from cachetui.model import Topology
from cachetui.source.base import Source
from cachetui.source.connect import make_source, open_source
from tests.contract.redis_targets import until
from tests.servers import launch
from tests.servers.groups import NAME, PASSWORD, SENTINEL_PASSWORD, SentinelGroup, sentinel_group
from tests.servers.launch import SERVERS, Server

KINDS = ("redis7", "valkey9")


both = pytest.mark.parametrize("group", KINDS, indirect=True)


@pytest.fixture
async def group(request: pytest.FixtureRequest, _shared: Callable[..., Server]) -> AsyncIterator[SentinelGroup]:
    found = sentinel_group(getattr(request, "param", "redis7"), _shared)
    await found.heal()
    yield found
    await found.heal()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Source]:
    source = await open_source(parse_target(url))
    try:
        yield source
    finally:
        await source.close()


async def seen_by(source: Source) -> tuple[Topology, Seen]:
    topology = await source.poll("topology")
    assert isinstance(topology, Topology) and len(topology.groups) == 1
    return topology, topology.groups[0]


async def until_seen(source: Source, wanted: Callable[[Topology, Seen], object]) -> tuple[Topology, Seen]:
    """Look again until it is as wanted; returns what was seen then."""
    for _ in range(400):
        topology, group = await seen_by(source)
        if wanted(topology, group):
            return topology, group
        await until(lambda: True)
    raise AssertionError(f"waited in vain: {topology.problems}")


@both
async def test_every_sentinel_has_an_opinion(group: SentinelGroup) -> None:
    async with opened(group.url) as source:
        topology, seen = await until_seen(source, lambda topology, _: not topology.problems)
        primary = group.primary().address
        assert source.identity and source.identity.address == primary and topology.server.role == "primary"
        assert (seen.name, seen.primary, seen.quorum) == (NAME, primary, 2)
        assert {one.sentinel for one in seen.opinions} == {watcher.address for watcher in group.watchers}
        assert all(one.primary == primary and one.usable and not one.flags and one.given for one in seen.opinions)
        assert all((one.sentinels, one.replicas, one.tilt) == (3, 2, False) for one in seen.opinions)
        assert dict(seen.settings)["down-after-milliseconds"] == "500ms"
        replicas = [node for node in topology.nodes if node.role == "replica"]
        assert len(replicas) == 2 and all(node.primary == primary and node.state == "online" for node in replicas)
        assert all(node.replication is not None and node.replication.priority == 100 for node in replicas)
        assert "3 Sentinels agree" in topology.summary and (f"{NAME} quorum", "2 of 3 sentinels") in topology.facts


@both
async def test_one_sentinel_leads_to_the_others(group: SentinelGroup) -> None:
    watcher = group.watchers[0]
    async with opened(f"redis://:{SENTINEL_PASSWORD}@{watcher.address}") as source:
        topology, seen = await until_seen(source, lambda _, seen: len(seen.answered) == 3)
        assert topology.server.mode == "sentinel" and [one.myself for one in seen.opinions].count(True) == 1
        assert sum(one.given for one in seen.opinions) == 1
        roles = [node.role for node in topology.nodes]
        assert (roles.count("sentinel"), roles.count("primary"), roles.count("replica")) == (3, 1, 2)


@both
async def test_dead_and_stopped_sentinels_are_named_and_delay_nobody(group: SentinelGroup) -> None:
    killed, stopped, alive = group.watchers
    async with opened(group.url) as source:
        await seen_by(source)
        killed.kill()
        topology, seen = await until_seen(source, lambda _, seen: len(seen.answered) == 2)
        assert any(killed.address in problem and "refused" in problem for problem in topology.problems)
        stopped.pause()
        topology, seen = await until_seen(source, lambda _, seen: len(seen.answered) == 1)
        by_address = {one.sentinel: one for one in seen.opinions}
        assert "did not answer" in by_address[stopped.address].problem and not by_address[alive.address].problem
        topology, seen = await until_seen(source, lambda _, seen: seen.answered[0].usable is False)
        assert any("no failover is possible now" in problem for problem in topology.problems)
    # Whoever comes now finds the primary as well: the answer of one is enough where nobody contradicts.
    async with opened(group.url) as source:
        assert source.identity and source.identity.address == group.primary().address


@both
async def test_a_sentinel_that_watches_another_primary_is_outvoted(group: SentinelGroup) -> None:
    stranger = launch.redis_server(SERVERS[group.kind](), "--requirepass", PASSWORD)
    lines = (f"sentinel auth-pass {NAME} {PASSWORD}", f"requirepass {SENTINEL_PASSWORD}")
    split = launch.sentinel_server(SERVERS[group.kind](), stranger, group=NAME, quorum=2, options=lines)
    try:
        places = ",".join(watcher.address for watcher in (split, *group.watchers))
        url = f"redis+sentinel://:{PASSWORD}@{places}/{NAME}?sentinel_password={SENTINEL_PASSWORD}"
        async with opened(url) as source:
            assert source.identity and source.identity.address == group.primary().address
            topology, seen = await until_seen(source, lambda _, seen: len(seen.answered) == 4)
            (problem,) = [problem for problem in topology.problems if "names" in problem]
            assert split.address in problem and stranger.address in problem and "the other 3 name" in problem
            assert seen.primary == group.primary().address
            assert "3 of 4 Sentinels agree" in topology.summary
        alone = f"redis+sentinel://:{PASSWORD}@{split.address},{group.watchers[0].address}/{NAME}"
        # One against one, both primaries by their own word, no failover to tell which is newer: nothing is guessed,
        # unless the group has failed over before.
        epoch = int(group.ask(group.watchers[0], "SENTINEL", "MASTER", NAME).get(b"config-epoch", 0) or 0)
        if epoch == 0:
            with pytest.raises(Unreachable, match="disagree"):
                await open_source(parse_target(f"{alone}?sentinel_password={SENTINEL_PASSWORD}"))
        else:
            async with opened(f"{alone}?sentinel_password={SENTINEL_PASSWORD}") as source:
                assert source.identity and source.identity.address == group.primary().address
    finally:
        launch.remove(split)
        launch.remove(stranger)


async def test_wrong_passwords_are_told_apart(group: SentinelGroup) -> None:
    target = parse_target(group.url)
    with pytest.raises(AuthFailed):
        await open_source(replace(target, sentinel_password=Secret("wrong")))
    with pytest.raises(AuthFailed):
        await open_source(replace(target, password=Secret("wrong")))


async def test_sentinels_may_speak_tls_where_the_servers_do_not(
    new_server: Callable[..., Server], certificates: dict[str, Path]
) -> None:
    primary = new_server("redis7")
    port = launch.free_port()
    made = {name: str(certificates[name]) for name in ("server.crt", "server.key", "ca.crt")}
    options = (
        "port 0",
        f"tls-port {port}",
        f"tls-cert-file {made['server.crt']}",
        f"tls-key-file {made['server.key']}",
        f"tls-ca-cert-file {made['ca.crt']}",
        "tls-auth-clients no",
    )
    directory = launch.workdir()
    conf = directory / "sentinel.conf"
    lines = (*options, f"dir {directory}", f"sentinel monitor {NAME} 127.0.0.1 {primary.port} 1")
    conf.write_text("\n".join(lines) + "\n")
    watcher = Server([launch.redis7(), str(conf), "--sentinel"], port, directory, greeting=b"").start()
    try:
        url = f"redis+sentinel://127.0.0.1:{port}/{NAME}?sentinel_tls=yes&sentinel_ssl_ca_certs={made['ca.crt']}"
        async with opened(url) as source:
            assert source.identity and source.identity.address == primary.address
            _, seen = await until_seen(source, lambda _, seen: seen.answered)
            assert seen.primary == primary.address
        with pytest.raises(Unreachable):
            await open_source(parse_target(f"redis+sentinel://127.0.0.1:{port}/{NAME}"))
    finally:
        launch.remove(watcher)


async def test_all_servers_are_down_and_then_the_sentinels_too_and_all_come_back(group: SentinelGroup) -> None:
    async with opened(group.url) as source:
        before = group.primary().address
        await seen_by(source)
        for server in group.servers:
            server.kill()
        topology, seen = await until_seen(source, lambda _, seen: any("o_down" in one.flags for one in seen.members))
        assert seen.primary == before and "does not answer" in topology.summary
        assert any("o_down" in problem for problem in topology.problems)
        newcomer = make_source(parse_target(group.url))
        topology, seen = await until_seen(newcomer, lambda _, seen: seen.answered)
        await newcomer.close()
        assert seen.primary == before and topology.problems
        for watcher in group.watchers:
            watcher.kill()
        await group.heal()
        topology, _ = await until_seen(
            source, lambda topology, _: topology.server.role == "primary" and topology.groups
        )
        assert topology.server.address == group.primary().address
