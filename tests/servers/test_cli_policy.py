"""`cachetui policy` on several nodes: what each has, where they differ, what became of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.redis_targets import until
from tests.servers.launch import Server
from tests.servers.program import run
from tests.servers.test_actions_nodes import is_followed, setting


@pytest.fixture
async def pair(new_server: Callable[..., Server]) -> tuple[Server, Server]:
    """A primary and its replica."""
    primary = new_server("redis7")
    replica = new_server("redis7", "--replicaof", "127.0.0.1", str(primary.port))
    await until(lambda: is_followed(primary))
    return primary, replica


def test_drift_between_a_primary_and_its_replica_is_shown(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    assert "drift      none" in run("policy", primary.url).lines
    replica.command("CONFIG", "SET", "maxmemory", "64mb", "hz", "20")
    done = run("policy", primary.url)
    assert done.code == 0
    nodes = [line for line in done.lines if line.startswith("node ")]
    assert [line.split()[1:3] for line in nodes] == [[primary.address, "primary"], [replica.address, "replica"]]
    assert f"drift      hz: 10 on {primary.address}; 20 on {replica.address}" in done.lines
    told = run("policy", primary.url, "--json").json()
    assert told["drift"]["maxmemory"] == {primary.address: "0", replica.address: "67108864"}
    assert [node["maxmemoryBytes"] for node in told["nodes"]] == [0, 67108864]


def test_the_plan_and_the_outcome_name_each_node(pair: tuple[Server, Server]) -> None:
    primary, _ = pair
    done = run("policy", primary.url, "allkeys-lru")
    for server in pair:
        assert f"  > {server.address}> CONFIG SET maxmemory-policy allkeys-lru" in done.lines
        assert setting(server, "maxmemory-policy") == "noeviction"
    done = run("policy", primary.url, "allkeys-lru", "--yes")
    assert done.code == 0 and "on 2 nodes: 2 done" in done.lines[0]
    for server in pair:
        assert f"  {server.address}: maxmemory-policy reads allkeys-lru" in done.lines
    done = run("policy", primary.url, "allkeys-lfu", "--this-server", "--yes")
    assert done.code == 0
    assert [setting(server, "maxmemory-policy") for server in pair] == ["allkeys-lfu", "allkeys-lru"]


def test_a_dead_replica_makes_it_stop_part_way(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    replica.pause()
    try:
        shown = run("policy", f"{primary.url}?timeout=1")
        assert any(line.startswith("node") and "did not answer" in line for line in shown.lines)
        done = run("policy", f"{primary.url}?timeout=1", "allkeys-lru", "--yes", "--json")
    finally:
        replica.resume()
    assert done.code == 4
    (outcome,) = done.json()["outcomes"]
    assert outcome["verified"] is False and outcome["plan"]["nodes"] == [primary.address, replica.address]
    assert any(check.startswith("drift: 1 of 2 nodes") for check in outcome["checks"])


def test_rewrite_alone_is_planned_applied_and_refused_with_the_reason(
    new_server: Callable[..., Server], redis7: Server, tmp_path: Path
) -> None:
    file = tmp_path / "redis.conf"
    file.write_text("")
    server = new_server("redis7")
    server.stop()
    server.argv.insert(1, str(file))
    server.start()
    server.command("CONFIG", "SET", "hz", "42")
    done = run("policy", server.url, "--rewrite")
    assert done.code == 0 and "  > CONFIG REWRITE" in done.lines and "hz" not in file.read_text()
    assert run("policy", server.url, "--rewrite", "--yes").code == 0
    assert "hz 42" in file.read_text()
    done = run("policy", redis7.url, "--rewrite", "--yes")
    assert done.code == 5 and "nothing to write to" in done.line()


def test_every_server_of_a_fleet_is_shown_and_set(new_server: Callable[..., Server]) -> None:
    one, other = new_server("memcached", "-m", "64"), new_server("memcached", "-m", "32")
    target = f"memcached://{one.address},{other.address}"
    shown = run("policy", target)
    assert f"drift      maxbytes: 67108864 on {one.address}; 33554432 on {other.address}" in shown.lines
    done = run("policy", target, "--maxmemory", "48mb", "--yes")
    assert done.code == 0 and f"  {other.address}: maxbytes reads 50331648" in done.lines
    assert "drift      none" in run("policy", target).lines


def test_without_config_the_figures_are_shown_and_the_reason(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    server.command("ACL", "SETUSER", "guest", "on", ">pw", "~*", "+@all", "-config")
    done = run("policy", f"redis://guest:pw@{server.address}")
    assert done.code == 0 and done.lines[0].split() == ["policy", "noeviction"]
    assert "CONFIG" in done.err and "pw@" not in done.err
