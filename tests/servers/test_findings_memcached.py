"""Memcached's own rules, provoked on real servers."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from pymemcache.client.base import Client

from cachetui.analysis.report import report
from cachetui.analysis.rules import findings
from cachetui.analysis.verdict import verdict
from tests.servers.launch import Server
from tests.servers.provoked import watching
from tests.unit.documents import assert_document

NewServer = Callable[..., Server]


def client_of(server: Server) -> Client:
    return Client(("127.0.0.1", server.port), connect_timeout=2, timeout=2, default_noreply=False)


def knocked(server: Server) -> socket.socket:
    """Begin a connection without waiting for it: a full server lets it hang."""
    link = socket.socket()
    link.setblocking(False)
    link.connect_ex(("127.0.0.1", server.port))
    return link


async def test_a_healthy_memcached_is_silent(new_server: NewServer) -> None:
    server = new_server("memcached", "-m", "64")
    async with watching(server) as watch:
        assert findings(await watch.look()) == ()
        client = client_of(server)
        for i in range(200):
            client.set(f"k{i}", b"x")
            client.get(f"k{i}")
        client.close()
        evidence = await watch.look()
        assert findings(evidence) == ()
        assert verdict(evidence, ()).text.startswith("memcached - hit rate 100%, memory 0% of 64.0MB")
        document = report(evidence, target=watch.source.name)
        assert_document(document)
        assert document["metrics"]["hitRate"] == 100  # type: ignore[index]


async def test_evicted_unread(new_server: NewServer) -> None:
    server = new_server("memcached", "-m", "4")
    async with watching(server) as watch:
        await watch.look()
        client = client_of(server)
        for i in range(4000):
            client.set(f"k{i}", b"x" * 4000)
        client.close()
        seen = await watch.found()
    assert seen["evicting"].evidence["evicted_keys"] >= 100  # type: ignore[operator]
    assert seen["evicted-unfetched"].priority == "medium"
    assert seen["evicted-unfetched"].evidence["share_percent"] == 100


async def test_slabs_of_the_wrong_size(new_server: NewServer) -> None:
    server = new_server("memcached", "-m", "8", "-o", "no_slab_automove,no_slab_reassign")
    async with watching(server) as watch:
        client = client_of(server)
        for i in range(60_000):
            client.set(f"small{i}", b"x" * 60, noreply=True)
        client.set("last", b"x")
        client.delete_many([f"small{i}" for i in range(60_000)], noreply=True)
        client.get("last")
        await watch.look()
        for i in range(2000):
            client.set(f"big{i}", b"x" * 9000)
        client.close()
        finding = await watch.until("slab-imbalance")
    assert finding.priority == "medium"
    assert finding.commands[0] == "slabs automove 1"


async def test_out_of_connections(new_server: NewServer) -> None:
    server = new_server("memcached", "-m", "64", "-c", "50", "-o", "no_maxconns_fast")
    links: list[socket.socket] = []
    async with watching(server) as watch:
        await watch.look()
        try:
            links += [knocked(server) for _ in range(60)]
            finding = await watch.until("listen-disabled")
        finally:
            for link in links:
                link.close()
    assert finding.priority == "high"
    assert finding.evidence["listen_disabled"] >= 1  # type: ignore[operator]


async def test_connections_refused_at_once(new_server: NewServer) -> None:
    server = new_server("memcached", "-m", "64", "-c", "50", "-o", "maxconns_fast")
    links: list[socket.socket] = []
    async with watching(server) as watch:
        await watch.look()
        try:
            links += [knocked(server) for _ in range(60)]
            finding = await watch.until("rejected-connections")
        finally:
            for link in links:
                link.close()
    assert finding.priority == "high"


async def test_a_dead_memcached_is_unreachable(new_server: NewServer) -> None:
    server = new_server("memcached", "-m", "64")
    async with watching(server) as watch:
        await watch.look()
        server.kill()
        seen = await watch.found()
        assert set(seen) == {"unreachable"}
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), 1)
