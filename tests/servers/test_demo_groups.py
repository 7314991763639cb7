"""The demos of a Sentinel group and of a cluster: real, loaded, and gone when they end, however that comes about."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from redis.cluster import RedisCluster
from redis.sentinel import Sentinel

from cachetui.config import Target, parse_target
from cachetui.demo.sentinel import NAME
from cachetui.model import Topology
from cachetui.source.connect import open_source
from tests.servers.demo_process import Child, gone, until


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the demo put its directories where we can count them."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def addresses(target: Target) -> list[tuple[str, int]]:
    return [(address.host, address.port) for address in target.addresses]


async def topology_of(target: Target) -> Topology:
    source = await open_source(target)
    try:
        found = await source.poll("topology")
    finally:
        await source.close()
    assert isinstance(found, Topology)
    return found


def test_a_sentinel_group_is_loaded_goes_on_after_a_failover_and_dies_with_its_process(folder: Path) -> None:
    with Child("--sentinel") as child:
        target = parse_target(child.facts["url"])
        assert (target.kind, target.service, len(target.addresses)) == ("sentinel", NAME, 3)
        assert len(child.facts["pids"]) == 6 and "3 Sentinels" in child.facts["description"]
        seen = asyncio.run(topology_of(target))
        assert [node.role for node in seen.nodes] == ["primary", "replica", "replica"]
        assert seen.groups[0].quorum == 2 and len(seen.groups[0].answered) == 3
        group = Sentinel(addresses(target), socket_timeout=2)  # type: ignore[no-untyped-call]
        old = group.discover_master(NAME)
        with group.master_for(NAME) as client:
            until(lambda: client.exists("leaderboard:weekly", "catalog:all") == 2, 40)
        group.sentinels[0].execute_command("SENTINEL", "FAILOVER", NAME)
        until(lambda: group.discover_master(NAME) != old, 40)
        with group.master_for(NAME) as client:
            before = client.info("stats")["total_commands_processed"]
            until(lambda: client.info("stats")["total_commands_processed"] > before + 500, 40)
        child.process.kill()
        until(lambda: all(gone(pid) for pid in child.facts["pids"]), 10)


def test_a_cluster_is_made_loaded_and_ended(folder: Path) -> None:
    with Child("--cluster") as child:
        target = parse_target(child.facts["url"])
        assert target.kind == "cluster" and len(child.facts["pids"]) == len(target.addresses) == 6
        seen = asyncio.run(topology_of(target))
        assert "16384 of 16384 slots served, 3 shards, 6 nodes" in seen.summary
        assert sorted(node.role for node in seen.nodes) == ["primary"] * 3 + ["replica"] * 3
        with RedisCluster(*addresses(target)[0]) as client:
            until(lambda: client.exists("leaderboard:weekly") and client.exists("catalog:all"), 40)
        last, complaints = child.end(signal.SIGTERM)
        assert last["ended"] == "stopped" and complaints == ""
        assert set(last["errors"]) <= {"ConnectionError", "TimeoutError"}
        assert all(gone(pid) for pid in child.facts["pids"]) and not list(folder.glob("cachetui-demo-*"))


def test_one_kind_at_a_time() -> None:
    child = Child("--cluster", "--sentinel")
    _, complaints = child.process.communicate(timeout=20)
    assert child.process.returncode == 2 and b"not allowed with" in complaints
