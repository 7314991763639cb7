"""`cachetui config`: real servers start with what it prints, and the memory is shared out to the byte."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from cachetui.analysis.sizing import POLICIES, Kind, Persistence, Wishes, parts, shares
from tests.servers import launch
from tests.servers.launch import SERVERS, Server
from tests.servers.program import run

MB = 1024**2


def started(program: str, lines: list[str], directory: Path, *more: str) -> Server:
    """Start a server on the printed file; the port and the directory are the test's own."""
    file = directory / "server.conf"
    file.write_text("\n".join(lines) + "\n")
    port = launch.free_port()
    return Server([program, str(file), *more, "--port", str(port), "--dir", str(directory)], port, directory).start()


def value(server: Server, name: str) -> str:
    reply = server.command("CONFIG", "GET", name)
    assert isinstance(reply, dict)
    return str(reply[name.encode() if name.encode() in reply else name].decode())


@pytest.mark.parametrize(("program", "kind"), product(sorted(SERVERS), ["standalone", "redis-cluster"]))
@pytest.mark.parametrize("persistence", ["none", "aof"])
def test_a_server_starts_with_it(program: str, kind: str, persistence: str, tmp_path: Path) -> None:
    printed = run("config", kind, "--memory", "1gb", "--replicas", "2", "--persistence", persistence)
    assert printed.code == 0 and not printed.err
    server = started(SERVERS[program](), printed.lines, tmp_path)
    try:
        wanted = shares(Wishes("standalone", 1024 * MB, replicas=2, persistence="aof")).data
        assert int(value(server, "maxmemory")) == wanted
        assert value(server, "maxmemory-policy") == "allkeys-lru"
        assert value(server, "appendonly") == ("yes" if persistence == "aof" else "no")
        assert value(server, "min-replicas-to-write") == "1"
        about = server.command("INFO", "cluster")
        assert isinstance(about, dict) and about["cluster_enabled"] == (kind == "redis-cluster")
    finally:
        server.stop()


def test_a_sentinel_starts_with_it_and_finds_the_primary(redis7: Server, tmp_path: Path) -> None:
    printed = run("config", "sentinel", "--name", "orders", "--primary", redis7.address, "--sentinels", "5")
    server = started(launch.redis7(), printed.lines, tmp_path, "--sentinel")
    try:
        (group,) = server.command("SENTINEL", "MASTERS")  # type: ignore[misc]
        about = {key: group[key] for key in (b"name", b"port", b"quorum", b"down-after-milliseconds")}
        assert about == {
            b"name": b"orders",
            b"port": b"%d" % redis7.port,
            b"quorum": b"3",
            b"down-after-milliseconds": b"5000",
        }
    finally:
        server.stop()


@pytest.mark.parametrize("kind", ["standalone", "redis-cluster"])
@pytest.mark.parametrize("persistence", ["none", "snapshot", "aof", None])
@pytest.mark.parametrize("memory", [64 * MB, 1024 * MB, 64 * 1024 * MB])
@pytest.mark.parametrize("replicas", [0, 2])
def test_no_byte_is_given_twice(kind: Kind, persistence: Persistence | None, memory: int, replicas: int) -> None:
    wishes = Wishes(kind, memory, replicas, persistence=persistence)
    shared = shares(wishes)
    assert 0.2 * memory < shared.data < memory
    assert memory - 2 * MB < shared.total <= memory
    alone = kind == "standalone" and not replicas
    assert (shared.copied == 0) == (alone and persistence in ("none", None))


def test_every_setting_says_why() -> None:
    for kind in ("standalone", "redis-cluster", "sentinel"):
        for policy in POLICIES:
            settings = [one for part in parts(Wishes(kind, 1024 * MB, 1, policy=policy)) for one in part.settings]  # type: ignore[arg-type]
            assert all(len(one.why) > 10 for one in settings)
            assert len({one.name for one in settings}) == len(settings)


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("memcached",),
        ("standalone", "sentinel"),
        ("standalone", "--memory", "10mb"),
        ("standalone", "--policy", "most"),
        ("sentinel", "--sentinels", "3", "--quorum", "4"),
        ("sentinel", "--name", "a b"),
        ("sentinel", "--name", "a\nport 1"),
        ("sentinel", "--primary", "nowhere"),
    ],
)
def test_what_makes_no_sense_is_one_line(args: tuple[str, ...]) -> None:
    told = run("config", *args)
    assert (told.code, told.lines, len(told.err.strip().splitlines())) == (2, [], 1), told.err
