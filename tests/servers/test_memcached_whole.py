"""One memcached and three, by TCP, ::1, unix socket, TLS and with a password: listed, watched, deleted, undone.

And one of them killed and started again in the middle of listing and of deleting.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from cachetui.actions import running
from cachetui.actions.apply import Guard, Outcome, Progress, apply
from cachetui.actions.journal import Journal
from cachetui.actions.undo import newest, plan_of
from cachetui.config import Address, Secret, Target, Tls
from cachetui.errors import CacheError
from cachetui.model import ClientList, Keep, KeyFacts, Selection, SlowLog, Stats, Topology
from cachetui.source.memcached import MemcachedSource
from tests.contract.memcached_targets import Plain, until
from tests.contract.test_redis_enumeration import Names
from tests.servers import launch
from tests.servers.launch import Server
from tests.servers.test_sweep import planned, tally

FREE = Guard(read_only=False)
NewServer = Callable[..., Server]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@contextlib.contextmanager
def encrypted(made: dict[str, Path]) -> Iterator[Server]:
    """Start a memcached that speaks TLS only."""
    directory, port = launch.workdir(), launch.free_port()
    argv = [launch.memcached_binary(), "-p", str(port), "-l", "127.0.0.1", "-u", "root", "-Z"]
    argv += ["-o", f"ssl_chain_cert={made['server.crt']},ssl_key={made['server.key']}"]
    server = Server(argv, port, directory, greeting=b"").start()
    try:
        yield server
    finally:
        server.kill()
        launch.remove(server)


@contextlib.contextmanager
def started(how: str, number: int, new_server: NewServer, made: dict[str, Path], tmp: Path) -> Iterator[Target]:
    """Yield a target of so many servers that are reached in this way."""
    more: dict[str, object] = {}
    options: tuple[str, ...] = ("-m", "64")
    if how == "a password":
        passwords = tmp / "passwords"
        passwords.write_text("bob:s3cret\n")
        options += ("-Y", str(passwords))
        more = {"user": "bob", "password": Secret("s3cret")}
    with contextlib.ExitStack() as stack:
        if how == "TLS":
            servers = [stack.enter_context(encrypted(made)) for _ in range(number)]
            more = {"tls": Tls(ca_file=str(made["ca.crt"]))}
        elif how == "::1":
            servers = [new_server("memcached", *options, "-l", "::1") for _ in range(number)]
        else:
            servers = [new_server("memcached", *options, socket_path=how == "a socket") for _ in range(number)]
        yield Target("memcached", tuple(address_of(server, how) for server in servers), **more)  # type: ignore[arg-type]


def address_of(server: Server, how: str = "") -> Address:
    return Address(path=server.path) if server.path else Address("::1" if how == "::1" else "127.0.0.1", server.port)


async def stored(source: MemcachedSource, keys: Sequence[bytes], ttl_s: int = 0) -> None:
    for at in range(0, len(keys), 5000):
        commands = [(b"set", key, b"7", b"%d" % ttl_s, b"value of " + key) for key in keys[at : at + 5000]]
        assert set(await source.execute(commands)) == {b"STORED"}


async def listed(source: MemcachedSource) -> set[bytes]:
    await source.enumeration(sink := Names()).run()
    return sink.names


async def undone(source: MemcachedSource, journal: Journal) -> Outcome:
    row = newest(journal, source.name)
    assert row is not None
    return await apply(await plan_of(source, row), source, journal=journal, guard=FREE)


async def facts_of(source: MemcachedSource, keys: Sequence[bytes]) -> list[KeyFacts]:
    return list((await source.facts(keys)).facts)


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("how", ["TCP", "::1", "a socket", "a password", "TLS"])
async def test_all_of_it(
    how: str,
    number: int,
    *,
    new_server: NewServer,
    certificates: dict[str, Path],
    tmp_path: Path,
    journal: Journal,
) -> None:
    with started(how, number, new_server, certificates, tmp_path) as target:
        source = MemcachedSource(target)
        try:
            identity = await source.open()
            assert identity.mode == ("fleet" if number > 1 else "standalone")
            watched = await source.poll("slowlog")
            assert isinstance(watched, SlowLog)
            keys = [b"k:%d" % at for at in range(300)]
            await stored(source, [*keys, b"other"], 1000)
            stats, clients, topology = [await source.poll(kind) for kind in ("stats", "clients", "topology")]
            assert isinstance(stats, Stats) and stats.keys == 301 and stats.slabs
            assert isinstance(clients, ClientList) and sum(one.ours for one in clients.clients) >= (
                0 if how == "a socket" else number
            )
            assert isinstance(topology, Topology) and [node.state for node in topology.nodes] == ["online"] * number

            async def seen() -> bool:
                events = await source.poll("slowlog")
                return isinstance(events, SlowLog) and "store" in {entry.event for entry in events.entries}

            await until(seen)
            assert await listed(source) == {*keys, b"other"}
            value = await source.value(b"k:7")
            assert (value.items[0].data, value.flags) == (b"value of k:7", 7)
            nodes = (await source.settings("maxbytes")).nodes
            assert [node.values for node in nodes] == [{"maxbytes": str(64 << 20)}] * number
            outcome = await apply(
                planned(source, Selection(pattern=b"k:*"), keep=Keep()), source, journal=journal, guard=FREE
            )
            assert tally(outcome) == (300, 0, 0, 0, 0, 0), outcome.line()
            assert await listed(source) == {b"other"}
            outcome = await undone(source, journal)
            assert outcome.done == 300, outcome.line()
            assert await listed(source) == {*keys, b"other"}
            value = await source.value(b"k:7")
            assert (value.items[0].data, value.flags) == (b"value of k:7", 7)
            assert all(900 < (fact.ttl_s or 0) <= 1000 for fact in await facts_of(source, keys))
        finally:
            await source.close()


@pytest.mark.parametrize("number", [1, 3])
async def test_restarted_in_the_middle_of_listing(number: int, new_server: NewServer) -> None:
    servers = [new_server("memcached", "-m", "100") for _ in range(number)]
    victim = servers[-1]
    kept: set[bytes] = set()
    for at, server in enumerate(servers):
        keys = [b"%d:%d" % (at, item) for item in range(60_000 if server is not victim else 200_000)]
        kept.update(keys if server is not victim else ())
        with Plain(server) as plain:
            plain.fill(keys)

    class Sink(Names):
        """Restarts the victim when its first names come."""

        def add(self, keys: Sequence[bytes]) -> None:
            super().add(keys)
            if victim.process is not None and not self.restarted and keys[0].startswith(b"%d:" % (number - 1)):
                self.restarted = True
                victim.kill()
                victim.start()
                with Plain(victim) as plain:
                    plain.fill([b"new"])

        restarted = False

    source = MemcachedSource(Target("memcached", tuple(map(address_of, servers))))
    try:
        enumeration = source.enumeration(sink := Sink())
        await enumeration.run()
        assert sink.names == kept | {b"new"}
        assert (sink.cleared, enumeration.progress.restarts, enumeration.progress.partial) == (1, 1, False)
        assert "began again" in enumeration.progress.note
    finally:
        await source.close()


@pytest.mark.parametrize("keep", [None, Keep()], ids=["for good", "with a way back"])
@pytest.mark.parametrize("number", [1, 3])
async def test_restarted_in_the_middle_of_deleting(
    number: int, keep: Keep | None, new_server: NewServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "SHOWN_S", 0.01)
    servers = [new_server("memcached", "-m", "100") for _ in range(number)]
    victim = servers[-1]
    source = MemcachedSource(Target("memcached", tuple(map(address_of, servers)), timeout_s=1.0))
    try:
        keys = [b"k:%d" % at for at in range(30_000)]
        await stored(source, [*keys, *(b"other:%d" % at for at in range(40))])
        restarted: list[int] = []

        def tell(progress: Progress) -> None:
            if progress.done > 2000 and not restarted:
                restarted.append(progress.done)
                victim.kill()
                victim.start()

        await source.open()
        plan = planned(source, Selection(pattern=b"k:*"), keep=keep, rate=60_000.0)
        outcome = await apply(plan, source, journal=journal, guard=FREE, progress=tell)
        assert restarted
        assert outcome.state == "done" and outcome.left == 0, outcome.line()
        # What the victim held was gone with it; of every name it is told what became of it.
        assert outcome.done > 2000 and outcome.failed == outcome.skipped == 0
        # The dump of a server that came back begins again: a name may come twice, and is missing the second time.
        assert outcome.done + outcome.unknown <= len(keys)
        left = await listed(source)
        assert all(key.startswith(b"other:") for key in left)
        if number == 3:
            assert len(left) >= 1
    finally:
        await source.close()


async def test_a_server_that_comes_back_is_in_the_figures_again(new_server: NewServer) -> None:
    servers = [new_server("memcached") for _ in range(3)]
    source = MemcachedSource(Target("memcached", tuple(map(address_of, servers)), timeout_s=0.5))
    try:
        await stored(source, [b"k:%d" % at for at in range(100)])
        servers[0].kill()
        part = await source.poll("topology")
        assert isinstance(part, Topology) and part.nodes[0].state == "down"
        enumeration = source.enumeration(sink := Names())
        await enumeration.run()
        assert enumeration.progress.partial and enumeration.progress.note.startswith("2 of 3 servers: ")
        assert 0 < len(sink.names) < 100
        servers[0].start()

        async def whole() -> bool:
            with contextlib.suppress(CacheError):
                seen = await source.poll("topology")
                return isinstance(seen, Topology) and all(node.state == "online" for node in seen.nodes)
            return False

        await until(whole)
        await asyncio.wait_for(listed(source), 5)
    finally:
        await source.close()
