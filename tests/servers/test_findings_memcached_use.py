"""The rules about how Memcached is used, each provoked on a real server, and all silent on a busy healthy one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from cachetui.analysis.rules import findings
from cachetui.analysis.rules.table import RULES
from cachetui.config import Address, Secret, Target
from cachetui.source.memcached import MemcachedSource
from tests.contract.memcached_targets import Plain, until
from tests.servers.launch import Server
from tests.servers.provoked import Watch, watching

NewServer = Callable[..., Server]

QUIET = {
    "no-memory",
    "buffers-short",
    "young-evictions",
    "expiry-cliff",
    "flushed",
    "too-large",
    "fleet-uneven",
    "chunk-waste",
    "flat-lru",
    "cas-conflicts",
    "expired-unread",
    "auth-errors",
}


def send(plain: Plain, lines: list[bytes]) -> None:
    """Send lines that are not answered, and wait until they were done."""
    plain.link.sendall(b"".join(lines) + b"mn\r\n")
    while plain.file.readline() != b"MN\r\n":
        pass


def politely(plain: Plain, lines: list[bytes]) -> None:
    """Send lines in batches so small that no connection has to yield."""
    for at in range(0, len(lines), 15):
        send(plain, lines[at : at + 15])


def sets(number: int, size: int, *, prefix: bytes = b"k", ttl_s: int = 0) -> list[bytes]:
    data = b"x" * size
    return [b"set %b%d 0 %d %d noreply\r\n%b\r\n" % (prefix, at, ttl_s, size, data) for at in range(number)]


async def test_a_busy_healthy_server_is_silent(new_server: NewServer) -> None:
    server = new_server("memcached", "-m", "64")
    async with watching(server) as watch:
        with Plain(server) as plain:
            assert findings(await watch.look()) == ()
            politely(plain, sets(2000, 80))
            politely(plain, sets(300, 50, prefix=b"soon", ttl_s=300))
            politely(plain, [b"mg k%d v q\r\n" % at for at in range(2000)])
            politely(plain, [b"md k%d q\r\n" % at for at in range(100)])
            version = plain.say(b"mg k200 c").removeprefix(b"HD c")
            assert plain.say(b"ms k200 1 C%b\r\nx" % version) == b"HD"
            politely(plain, sets(200, 80))
            assert findings(await watch.look()) == ()


async def test_no_memory_and_no_eviction(new_server: NewServer) -> None:
    server = new_server("memcached", "-m", "2", "-M")
    async with watching(server) as watch:
        await watch.look()
        with Plain(server) as plain:
            send(plain, sets(1500, 4000))
        seen = await watch.found()
    assert seen["no-memory"].priority == "high"
    assert seen["no-memory"].evidence["refused"] > 100  # type: ignore[operator]
    assert seen["no-memory"].evidence["policy"] == "noeviction"


async def test_items_that_are_too_large(new_server: NewServer) -> None:
    server = new_server("memcached", "-m", "16")
    async with watching(server) as watch:
        await watch.look()
        with Plain(server) as plain:
            assert plain.say(b"set big 0 0 2000000\r\n" + b"x" * 2_000_000).startswith(b"SERVER_ERROR object too large")
        finding = (await watch.found())["too-large"]
    assert (finding.priority, finding.evidence["refused"]) == ("medium", 1)


async def test_evicted_young_by_one_flat_list(new_server: NewServer) -> None:
    server = new_server("memcached", "-m", "4", "-o", "no_lru_maintainer,no_lru_crawler")
    async with watching(server) as watch:
        await watch.look()
        with Plain(server) as plain:
            send(plain, sets(6000, 2000))
        seen = await watch.found()
    young = seen["young-evictions"]
    assert young.priority == "medium" and young.evidence["idle_s"] < 60  # type: ignore[operator]
    assert seen["flat-lru"].commands == ("lru mode segmented",)


async def test_chunks_that_do_not_fit(new_server: NewServer) -> None:
    server = new_server("memcached", "-m", "64", "-f", "3")
    async with watching(server) as watch:
        with Plain(server) as plain:
            send(plain, sets(8000, 900))
        finding = (await watch.found())["chunk-waste"]
    assert finding.evidence["wasted_bytes"] > 2**20  # type: ignore[operator]
    assert "-f" in finding.action


async def test_writers_that_collide(new_server: NewServer) -> None:
    server = new_server("memcached")
    async with watching(server) as watch:
        with Plain(server) as plain:
            plain.fill([b"counter"])
            await watch.look()
            for _ in range(40):
                assert plain.say(b"cas counter 0 0 1 1\r\n1") in (b"EXISTS", b"STORED")
        finding = (await watch.found())["cas-conflicts"]
    assert finding.evidence["refused"] >= 39  # type: ignore[operator]


async def test_what_expired_at_once(new_server: NewServer) -> None:
    server = new_server("memcached")
    async with watching(server) as watch:
        await watch.look()
        with Plain(server) as plain:
            send(plain, sets(300, 50, prefix=b"read", ttl_s=1))
            send(plain, sets(400, 50, prefix=b"never", ttl_s=1))

            async def gone() -> bool:
                return plain.say(b"mg read0 t u") == b"EN"

            await until(gone)
            send(plain, [b"mg read%d v q\r\n" % at for at in range(300)])
            cliff = (await watch.found())["expiry-cliff"]

            async def crawled() -> bool:
                plain.say(b"lru_crawler crawl all")
                return int(plain.stat(b"expired_unfetched")) >= 400

            await until(crawled)
            finding = (await watch.found())["expired-unread"]
    assert cliff.evidence["expired"] >= 299  # type: ignore[operator]
    assert finding.evidence["unread"] >= 400  # type: ignore[operator]


async def test_somebody_flushed_it(new_server: NewServer) -> None:
    server = new_server("memcached")
    async with watching(server) as watch:
        await watch.look()
        with Plain(server) as plain:
            assert plain.say(b"flush_all") == b"OK"
        finding = (await watch.found())["flushed"]
    assert finding.evidence["flushes"] == 1 and "once" in finding.issue


async def test_wrong_passwords(new_server: NewServer, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("bob:s3cret\n")
    server = new_server("memcached", "-Y", str(passwords))
    address = (Address("127.0.0.1", server.port),)
    source = MemcachedSource(Target("memcached", address, user="bob", password=Secret("s3cret")))
    try:
        watch = Watch(source)
        await watch.look()
        with Plain(server) as plain:
            assert plain.say(b"set x 0 0 9\r\nbob guess").startswith(b"CLIENT_ERROR")
        finding = (await watch.found())["auth-errors"]
    finally:
        await source.close()
    assert finding.priority == "medium"


async def test_no_memory_for_what_clients_send(new_server: NewServer) -> None:
    server = new_server("memcached", "-o", "read_buf_mem_limit=1")
    links: list[socket.socket] = []
    async with watching(server) as watch:
        await watch.look()
        try:
            for _ in range(200):  # each holds a buffer until its line has come
                links.append(socket.create_connection(("127.0.0.1", server.port), 2))
                links[-1].sendall(b"get half a line")

            async def cut_off() -> bool:
                try:
                    with Plain(server) as plain:
                        return plain.say(b"version") == b""
                except ConnectionError:
                    return True

            await until(cut_off)
        finally:
            for link in links:
                link.close()
        finding = await watch.until("buffers-short")
    assert finding.priority == "high" and "read_buf_oom" in finding.issue


async def test_an_uneven_fleet(new_server: NewServer) -> None:
    servers = [new_server("memcached", "-m", "8") for _ in range(2)]
    with Plain(servers[0]) as plain:
        send(plain, sets(4000, 2500))
    addresses = tuple(Address("127.0.0.1", server.port) for server in servers)
    source = MemcachedSource(Target("memcached", addresses))
    try:
        finding = (await Watch(source).found())["fleet-uneven"]
    finally:
        await source.close()
    assert finding.evidence["full"] == servers[0].address
    assert finding.priority == "medium"


def test_many_rules_speak_of_memcached() -> None:
    known = {rule.id for rule in RULES}
    assert known >= QUIET | {"evicted-unfetched", "listen-disabled", "slab-imbalance", "connection-yields"}
