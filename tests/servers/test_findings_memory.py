"""Rules about memory and disk, provoked on real servers."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

import pytest
import redis

from cachetui.analysis.report import report
from cachetui.analysis.rules import findings
from cachetui.analysis.verdict import verdict
from tests.servers.launch import Server
from tests.servers.provoked import watching
from tests.unit.documents import assert_document

LIMIT = 16 * 1024**2
KINDS = ("redis6", "redis7", "valkey9")

NewServer = Callable[..., Server]


def fill(server: Server, percent: float, *, name: str = "k", ttl_s: int | None = None) -> int:
    """Write keys until so much of the limit is used; return how many."""
    written = 0
    with server.client() as client:
        while client.info("memory")["used_memory"] < LIMIT * percent / 100:
            for _ in range(20):
                client.set(f"{name}:{written}", b"x" * 4000, ex=ttl_s)
                written += 1
    return written


@pytest.mark.parametrize("kind", KINDS)
async def test_a_healthy_server_is_silent(new_server: NewServer, kind: str) -> None:
    server = new_server(kind, "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru")
    async with watching(server) as watch:
        assert findings(await watch.look()) == ()
        with server.client() as client:
            for i in range(300):
                client.set(f"user:{i}", "x", ex=100)
                client.get(f"user:{i}")
        evidence = await watch.look()
        assert findings(evidence) == ()
        line = verdict(evidence, ())
        assert line.level == "ok"
        assert line.text.startswith("primary, no replicas - hit rate 100%, memory ")
        document = report(evidence, target=watch.source.name)
        assert_document(document)
        assert document["status"] == "success"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_without_limit_has_one_note(new_server: NewServer, kind: str) -> None:
    async with watching(new_server(kind)) as watch:
        seen = await watch.found()
    assert set(seen) == {"no-maxmemory"}
    assert seen["no-maxmemory"].priority == "low"
    assert "CONFIG SET maxmemory-policy allkeys-lru" in seen["no-maxmemory"].commands


@pytest.mark.parametrize("kind", KINDS)
async def test_full_without_eviction(new_server: NewServer, kind: str) -> None:
    server = new_server(kind, "--maxmemory", str(LIMIT), "--maxmemory-policy", "noeviction")
    async with watching(server) as watch:
        fill(server, 85)
        seen = await watch.found()
        assert seen["memory-high"].priority == "medium"
        assert seen["memory-high"].commands == ("CONFIG SET maxmemory 24mb",)
        with server.client() as client, contextlib.suppress(redis.exceptions.OutOfMemoryError):
            for i in range(5000):
                client.set(f"more:{i}", b"x" * 4000)
        finding = await watch.until("oom", when=lambda found: "oom_errors" in found.evidence)
    assert finding.priority == "high"
    assert finding.evidence["oom_errors"] == 1
    assert finding.evidence["since_start"] is False


@pytest.mark.parametrize("kind", KINDS)
async def test_evicting(new_server: NewServer, kind: str) -> None:
    server = new_server(kind, "--maxmemory", str(LIMIT), "--maxmemory-policy", "allkeys-lru")
    async with watching(server) as watch:
        fill(server, 95)
        with server.client() as client:
            assert client.info("stats")["evicted_keys"] == 0
            await watch.look()
            for i in range(1500):
                client.set(f"more:{i}", b"x" * 4000)
                client.get(f"more:{i}")
        seen = await watch.found()
        with server.client() as client:
            evicted = client.info("stats")["evicted_keys"]
    counted = seen["evicting"].evidence["evicted_keys"]
    assert isinstance(counted, int)
    assert 0 < counted <= evicted  # it goes on evicting after the poll
    assert seen["evicting"].evidence["evicted_per_100_lookups"] == pytest.approx(100 * counted / 1500, rel=0.01)
    assert seen["evicting"].priority in ("medium", "low")
    assert seen["memory-high"].priority == "low"
    assert "oom" not in seen


@pytest.mark.parametrize("kind", KINDS)
async def test_volatile_policy_without_ttl(new_server: NewServer, kind: str) -> None:
    server = new_server(kind, "--maxmemory", str(LIMIT), "--maxmemory-policy", "volatile-lru")
    async with watching(server) as watch:
        fill(server, 40)
        finding = (await watch.found())["volatile-without-ttl"]
        assert finding.priority == "medium"
        assert finding.commands == ("CONFIG SET maxmemory-policy allkeys-lru",)
        fill(server, 96, name="more")
        seen = await watch.found()
        assert seen["volatile-without-ttl"].priority == "high"
        assert seen["memory-high"].priority == "high"
        with server.client() as client:
            client.flushall()
            client.set("a", "b", ex=100)
        assert "volatile-without-ttl" not in await watch.found()


async def test_a_low_hit_rate(new_server: NewServer) -> None:
    server = new_server("redis7", "--maxmemory", "256mb")
    async with watching(server) as watch:
        await watch.look()
        with server.client() as client:
            client.set("a", "b")
            for i in range(200):
                client.get("a" if i % 4 == 0 else f"missing:{i}")
        finding = (await watch.found())["hit-rate-low"]
    assert (finding.priority, finding.evidence["hit_rate_percent"], finding.evidence["lookups"]) == ("medium", 25, 200)


@pytest.mark.parametrize("kind", ["redis7", "valkey9"])
async def test_a_failed_save_refuses_writes(new_server: NewServer, kind: str) -> None:
    """The directory vanishes: the save cannot be written, and writes are refused."""
    protected = ("--enable-protected-configs", "yes")
    server = new_server(kind, "--maxmemory", "256mb", "--save", "3600 1", *protected)
    missing = server.directory / "disk"
    missing.mkdir()
    server.command("CONFIG", "SET", "dir", str(missing))
    missing.rmdir()
    async with watching(server) as watch:
        server.command("SET", "a", "b")
        server.command("BGSAVE")
        finding = await watch.until("save-failed")
        assert finding.priority == "high"
        assert finding.commands[0] == "BGSAVE"
        with pytest.raises(redis.exceptions.ResponseError, match="MISCONF"):
            server.command("SET", "a", "c")
        misconf = await watch.until("misconf")
        assert misconf.priority == "high"
        assert misconf.evidence["save_ok"] is False
        server.command("CONFIG", "SET", "dir", str(server.directory))
        server.command("BGSAVE")
        while "save-failed" in (seen := await watch.found()):
            assert seen["save-failed"].priority == "high"
        assert server.command("SET", "a", "d") in (True, b"OK")


async def test_a_killed_save_is_a_failed_one(new_server: NewServer) -> None:
    server = new_server("redis7", "--maxmemory", "256mb", "--rdb-key-save-delay", "100000")
    with server.client() as client:
        for i in range(100):
            client.set(f"k:{i}", "x")
        client.bgsave()
        child = _child_of(server)
        os.kill(child, signal.SIGKILL)
    async with watching(server) as watch:
        finding = await watch.until("save-failed")
    assert finding.evidence["changes_since_save"] == 100


def _child_of(server: Server) -> int:
    """Return the pid of the saving child that `server` forked."""
    assert server.process is not None
    from pathlib import Path

    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    while not (found := children.read_text().split()):
        assert server.process.poll() is None
    return int(found[0])
