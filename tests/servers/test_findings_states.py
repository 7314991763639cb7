"""Rules about the connection, clients, time and replication, provoked on real servers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cachetui.analysis.rules import findings
from cachetui.analysis.verdict import verdict
from tests.servers.launch import Server
from tests.servers.provoked import watching

KINDS = ("redis6", "redis7", "valkey9")
LOOP = "while true do end"
CALM = ("--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru")

NewServer = Callable[..., Server]


@contextlib.contextmanager
def connections(server: Server, count: int, say: bytes = b"") -> Iterator[list[socket.socket]]:
    """Hold so many connections, each having said `say`."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 2))
            link.sendall(say)
            opened.append(link)
        yield opened


async def test_a_dead_server_is_unreachable_and_its_figures_are_stale(new_server: NewServer) -> None:
    server = new_server("redis7")
    async with watching(server) as watch:
        assert set(await watch.found()) == {"no-maxmemory"}
        server.kill()
        evidence = await watch.look()
        seen = findings(evidence)
        assert [finding.id for finding in seen] == ["unreachable"]
        assert verdict(evidence, seen).level == "bad"
        server.start()
        assert set(await watch.found()) == {"no-maxmemory"}


async def test_a_stopped_server_times_out(new_server: NewServer) -> None:
    server = new_server("redis7")
    async with watching(server, timeout_s=0.5) as watch:
        await watch.look()
        server.pause()
        seen = await watch.found(["stats"])
        server.resume()
    assert (set(seen), seen["timed-out"].priority) == ({"timed-out"}, "high")


async def test_a_missing_password(new_server: NewServer) -> None:
    async with watching(new_server("redis7", "--requirepass", "secret")) as watch:
        seen = await watch.found()
    assert (set(seen), seen["auth"].priority) == ({"auth"}, "high")
    assert "secret" not in repr(seen)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stuck_script(new_server: NewServer, kind: str) -> None:
    server = new_server(kind, "--lua-time-limit", "50")
    async with watching(server) as watch:
        await watch.look()
        with connections(server, 1, b"*3\r\n$4\r\nEVAL\r\n$17\r\n" + LOOP.encode() + b"\r\n$1\r\n0\r\n"):
            finding = await watch.until("busy")
            server.command("SCRIPT", "KILL")
            while "busy" in await watch.found():
                assert server.process is not None
                assert server.process.poll() is None
        assert finding.priority == "high"
        assert finding.commands == ("SCRIPT KILL",)
        assert "blocks every client" in finding.issue


@pytest.mark.parametrize("kind", ["redis7", "valkey9"])
async def test_a_stuck_function_is_named(new_server: NewServer, kind: str) -> None:
    server = new_server(kind, "--lua-time-limit", "50")
    code = f"#!lua name=lib\nredis.register_function('spin', function() {LOOP} end)"
    server.command("FUNCTION", "LOAD", code)
    async with watching(server) as watch:
        await watch.look()
        with connections(server, 1, b"*3\r\n$5\r\nFCALL\r\n$4\r\nspin\r\n$1\r\n0\r\n"):
            finding = await watch.until("busy")
            server.command("FUNCTION", "KILL")
    assert finding.commands == ("FUNCTION KILL",)
    assert "the function spin blocks every client" in finding.issue
    assert finding.evidence["name"] == "spin"
    assert isinstance(finding.evidence["duration_ms"], int)


async def test_loading_tells_its_progress(new_server: NewServer) -> None:
    server = new_server("redis7")
    with server.client() as client:
        pipeline = client.pipeline(transaction=False)
        for i in range(20_000):
            pipeline.set(f"k:{i}", "x" * 100)
        pipeline.execute()
        client.save()
    server.stop()
    server.argv += ["--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024"]
    server.start()
    async with watching(server) as watch:
        finding = await watch.until("loading", when=lambda found: found.evidence["loaded_percent"] is not None)
    assert finding.priority == "high"
    assert finding.issue.startswith("Loading the data set from disk: ")


@pytest.mark.parametrize("kind", KINDS)
async def test_blocked_clients(new_server: NewServer, kind: str) -> None:
    server = new_server(kind, *CALM)
    async with watching(server) as watch:
        with connections(server, 6, b"BLPOP queue 0\r\n"):
            finding = await watch.until("blocked-clients", when=lambda found: found.evidence["blocked_clients"] == 6)
    assert finding.priority == "low"


@pytest.mark.parametrize("kind", KINDS)
async def test_near_maxclients_and_beyond(new_server: NewServer, kind: str) -> None:
    server = new_server(kind, *CALM, "--maxclients", "20")
    async with watching(server) as watch:
        await watch.look()
        with server.client() as client:
            client.ping()
            free = 20 - client.info("clients")["connected_clients"]
            with connections(server, free, b"PING\r\n"):
                near = await watch.until("near-maxclients")
                assert near.priority == "high"
                assert near.evidence["max_clients"] == 20
                with connections(server, 1) as (refused,):
                    assert b"max number of clients" in refused.recv(200)
                rejected = await watch.until("rejected-connections")
    assert (rejected.priority, rejected.evidence["rejected_connections"]) == ("high", 1)
    assert rejected.commands == ("CONFIG SET maxclients 40",)


@pytest.mark.parametrize("kind", KINDS)
async def test_keys_in_use_and_slow(new_server: NewServer, kind: str) -> None:
    server = new_server(kind, *CALM, "--slowlog-log-slower-than", "0")
    async with watching(server) as watch:
        await watch.look()
        with server.client() as client:
            client.mset({f"user:{i}": "x" for i in range(2000)})
            for _ in range(3):
                client.keys("*")
        seen = await watch.found()
    assert seen["keys-command"].evidence["calls"] == 3
    assert seen["keys-command"].evidence["since_start"] is False
    slow = seen["slow-commands"]
    assert slow.priority == "low"
    shapes = [entry["shape"] for entry in slow.evidence["shapes"]]  # type: ignore[attr-defined]
    assert {"KEYS *", "MSET user:*"} <= set(shapes)


async def test_one_long_command(new_server: NewServer) -> None:
    server = new_server("redis7", *CALM, "--enable-debug-command", "yes")
    async with watching(server) as watch:
        server.command("DEBUG", "SLEEP", "0.15")
        finding = (await watch.found())["slow-commands"]
    assert finding.priority == "medium"
    assert finding.evidence["longest_us"] >= 150_000


async def test_errors_rise(new_server: NewServer) -> None:
    server = new_server("redis7", *CALM)
    async with watching(server) as watch:
        await watch.look()
        with server.client() as client:
            client.set("text", "x")
            for _ in range(20):
                with pytest.raises(redis.exceptions.ResponseError):
                    client.lpush("text", "y")
        seen = await watch.found()
    assert seen["errors-rising"].evidence["word"] == "WRONGTYPE"
    assert seen["errors-rising"].evidence["errors"] == 20


async def test_refused_logins_and_commands(new_server: NewServer) -> None:
    server = new_server("redis7", *CALM)
    server.command("ACL", "SETUSER", "app", "on", ">right", "+get", "~*")
    async with watching(server) as watch:
        await watch.look()
        once = {"username": "app", "retry": Retry(NoBackoff(), 0)}
        with pytest.raises(redis.exceptions.AuthenticationError), server.client(password="old", **once) as app:
            app.ping()
        with server.client(password="right", **once) as app, pytest.raises(redis.exceptions.NoPermissionError):
            app.set("a", "b")
        seen = await watch.found()
    assert seen["logins-refused"].evidence["refused_logins"] == 1
    assert seen["acl-denials"].evidence["denied_commands"] >= 1


async def test_a_monitor_is_seen(new_server: NewServer) -> None:
    server = new_server("redis7", *CALM)
    async with watching(server) as watch:
        with connections(server, 1, b"MONITOR\r\n"):
            finding = await watch.until("monitor-running")
    assert finding.commands[0].startswith("CLIENT KILL ID ")


async def test_a_big_output_buffer(new_server: NewServer) -> None:
    server = new_server("redis7", *CALM)
    with server.client() as client:
        client.set("big", b"x" * 1024**2)
    async with watching(server) as watch:
        with connections(server, 1, b"GET big\r\n" * 40) as (link,):
            finding = await watch.until("output-buffers")
            assert finding.evidence["worst_client"] == f"127.0.0.1:{link.getsockname()[1]}"
    assert finding.priority in ("medium", "high")


async def test_one_heavy_command(new_server: NewServer) -> None:
    server = new_server("redis7", *CALM)
    stop = threading.Event()

    def spin() -> None:
        with server.client() as client:
            while not stop.is_set():
                client.eval("local x = 0 for i = 1, 3000000 do x = x + i end return 0", 0)

    load = threading.Thread(target=spin)
    load.start()
    try:
        async with watching(server) as watch:
            finding = await watch.until("heavy-command", when=lambda found: found.evidence["since_start"] is False)
    finally:
        stop.set()
        load.join()
    assert finding.evidence["command"] == "EVAL"
    assert finding.evidence["since_start"] is False


@pytest.mark.parametrize("kind", KINDS)
async def test_a_replica_that_lost_its_primary(new_server: NewServer, kind: str) -> None:
    primary = new_server(kind, *CALM, "--repl-diskless-sync-delay", "0")
    replica = new_server(kind, *CALM, "--replicaof", "127.0.0.1", str(primary.port), "--replica-serve-stale-data", "no")
    async with watching(replica) as watch:
        evidence = await watch.look()
        while evidence.stats is None or not evidence.stats.link_up:
            evidence = await watch.look()
        line = verdict(evidence, findings(evidence))
        assert line.text.startswith("replica")
        await watch.look()
        with pytest.raises(redis.exceptions.ReadOnlyError):
            replica.command("SET", "a", "b")
        assert (await watch.until("readonly-writes")).priority == "medium"
        primary.kill()
        finding = await watch.until("link-down")
        assert finding.priority == "high"
        assert finding.evidence["primary"] == f"127.0.0.1:{primary.port}"
        with pytest.raises(redis.exceptions.ResponseError):
            replica.command("GET", "a")
        assert (await watch.until("primary-down")).priority == "high"


async def test_a_user_without_permissions_leaves_the_rest(new_server: NewServer) -> None:
    server = new_server("redis7", *CALM)
    server.command("ACL", "SETUSER", "default", "-slowlog", "-config", "-client|list")
    async with watching(server) as watch:
        await watch.look()
        seen = await watch.found(["stats"])
    assert set(seen) == {"partly-blind", "acl-denials"}
    assert "SLOWLOG" in str(seen["partly-blind"].evidence["denied"])
    assert {finding.priority for finding in seen.values()} == {"low"}
