"""What Memcached says of itself: statistics, connections, events, the fleet."""

import contextlib
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from cachetui.errors import Unreachable
from cachetui.model import ClientList, SlowLog, Stats, Topology
from cachetui.model.rates import delta
from cachetui.source.base import Source
from cachetui.source.memcached import MemcachedSource
from cachetui.source.memcached import watch as watching
from tests.contract.memcached_targets import Plain, source_of, until
from tests.servers.launch import Server


async def stats_of(source: MemcachedSource) -> Stats:
    stats = await source.poll("stats")
    assert isinstance(stats, Stats)
    return stats


async def topology_of(source: MemcachedSource) -> Topology:
    topology = await source.poll("topology")
    assert isinstance(topology, Topology)
    return topology


async def events_of(source: MemcachedSource) -> SlowLog:
    events = await source.poll("slowlog")
    assert isinstance(events, SlowLog)
    return events


async def test_it_is_a_source_and_knows_who_answers(memcached: Server) -> None:
    async with source_of(memcached) as source:
        assert isinstance(source, Source)
        identity = await source.open()
        assert (identity.kind, identity.mode, identity.role) == ("memcached", "standalone", None)
        assert identity.version is not None and identity.version.startswith("1.")
        assert identity.address == memcached.address
        assert source.name == f"memcached://{memcached.address}"


async def test_statistics_are_the_servers_own(new_server: Callable[..., Server]) -> None:
    memcached = new_server("memcached", "-m", "64")  # flushed items of others would count until somebody asks for them
    with Plain(memcached) as plain:
        plain.fill([b"a", b"b"], b"x" * 100)
        async with source_of(memcached) as source:
            first = await stats_of(source)
            assert plain.say(b"get a").startswith(b"VALUE")
            assert [plain.file.readline(), plain.file.readline()] == [b"x" * 100 + b"\r\n", b"END\r\n"]
            assert plain.say(b"get nothing") == b"END"
            second = await stats_of(source)
        assert delta(first, second, "hits_total") == 1
        assert delta(first, second, "misses_total") == 1
        assert delta(first, second, "gets_total") == 2
        assert delta(first, second, "commands_total") == 2
        assert (second.keys, second.maxmemory_bytes, second.max_clients, second.threads) == (2, 64 << 20, 1024, 4)
        assert second.used_bytes is not None and second.used_bytes > 200
        assert second.policy == "lru-segmented"
        assert second.latency_us is not None and 0 < second.latency_us < 2e6
        assert second.cpu_s_total is not None and second.cpu_s_total >= 0
        slab = next(slab for slab in second.slabs if slab.items)
        assert slab.server == memcached.address and slab.chunk_bytes > 100 and slab.used_chunks >= 2
        assert second.extra is not None and second.extra["accepting_conns"] == "1"


async def test_evictions_are_counted_by_class(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached", "-m", "2", "-I", "1m")
    with Plain(server) as plain:
        plain.fill((b"key:%d" % number for number in range(3000)), b"x" * 2000)
    async with source_of(server) as source:
        stats = await stats_of(source)
        assert stats.evicted_total and stats.evicted_unfetched_total
        assert sum(slab.evicted or 0 for slab in stats.slabs) == stats.evicted_total


async def test_a_restart_is_seen_and_gives_no_rate(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached")
    async with source_of(server) as source:
        with Plain(server) as plain:
            plain.fill([b"a"])
        before = await stats_of(source)
        server.kill()
        with pytest.raises(Unreachable):
            await stats_of(source)
        server.start()
        after = await stats_of(source)
        assert after.server.run_id != before.server.run_id
        assert delta(before, after, "sets_total") is None
        assert after.keys == 0


async def test_connections_are_listed_and_ours_is_known(memcached: Server) -> None:
    with Plain(memcached) as plain:
        plain.say(b"version")
        host, port = plain.link.getsockname()
        async with source_of(memcached) as source:
            clients = await source.poll("clients")
    assert isinstance(clients, ClientList)
    assert clients.total == len(clients.clients)
    theirs = next(client for client in clients.clients if client.address == f"{host}:{port}")
    assert not theirs.ours and theirs.idle_s is not None and theirs.command
    assert sum(client.ours for client in clients.clients) == 1
    assert all(client.command != "listening" for client in clients.clients)


async def test_events_of_the_last_seconds(memcached: Server) -> None:
    with Plain(memcached) as plain:
        async with source_of(memcached) as source:
            assert (await events_of(source)).entries == ()
            plain.fill([b"a"])
            plain.say(b"get gone")

            async def seen() -> bool:
                return len((await events_of(source)).entries) >= 2

            await until(seen)
            events = await events_of(source)
        # What a store looks up by itself is no fetch of a client's.
        assert [(entry.event, entry.args) for entry in events.entries] == [("miss", (b"gone",)), ("store", (b"a",))]
        assert {entry.client for entry in events.entries} == {"{}:{}".format(*plain.link.getsockname())}
        assert events.entries[0].node == ""
        assert events.note.startswith("memcached has no slow log")
        assert all(entry.duration_us is None and abs(entry.at - events.taken_at) < 60 for entry in events.entries)


async def test_connections_that_come_and_go_are_events(memcached: Server) -> None:
    async with source_of(memcached) as source:
        await events_of(source)
        with Plain(memcached) as plain:
            plain.say(b"get gone")
            host, port = plain.link.getsockname()

        async def closed() -> bool:
            return "close" in {entry.event for entry in (await events_of(source)).entries}

        await until(closed)
        theirs = [entry for entry in (await events_of(source)).entries if entry.client == f"{host}:{port}"]
    assert [entry.event for entry in theirs] == ["close", "miss", "connect"]
    assert theirs[1].args == (b"gone",)


async def test_watching_goes_on_after_a_restart(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached") for _ in range(3)]
    async with source_of(*servers, timeout_s=0.5) as source:
        await events_of(source)
        servers[1].kill()
        with Plain(servers[0]) as plain:
            plain.fill([b"meanwhile"])

        async def seen(key: bytes) -> bool:
            return any(entry.args == (key,) for entry in (await events_of(source)).entries)

        await until(lambda: seen(b"meanwhile"))
        assert servers[1].address in (await events_of(source)).note
        servers[1].start()

        async def all_watched() -> bool:
            return servers[1].address not in (await events_of(source)).note

        await until(all_watched)
        with Plain(servers[1]) as plain:
            plain.fill([b"afterwards"])
        await until(lambda: seen(b"afterwards"))


async def test_names_in_events_are_decoded(memcached: Server) -> None:
    with Plain(memcached) as plain:
        async with source_of(memcached) as source:
            await events_of(source)
            plain.link.sendall(b"ms YQpi 1 b\r\nx\r\n")  # "a\nb"
            assert plain.file.readline() == b"HD\r\n"

            async def seen() -> bool:
                return (b"a\nb",) in [entry.args for entry in (await events_of(source)).entries]

            await until(seen)


async def test_watching_ends_when_nobody_looks(memcached: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "UNWATCHED_S", 0.2)
    with Plain(memcached) as plain:
        async with source_of(memcached) as source:
            await events_of(source)
            assert plain.stat(b"log_watchers") == b"1"

            async def ended() -> bool:
                return plain.stat(b"log_watchers") == b"0"

            await until(ended)
            await events_of(source)
            assert plain.stat(b"log_watchers") == b"1"

        await until(ended)


async def test_a_flood_of_events_is_sampled(memcached: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL_BYTES", 4096)
    with Plain(memcached) as plain:
        async with source_of(memcached) as source:
            await events_of(source)

            async def sampled() -> bool:
                plain.fill(b"key:%d" % number for number in range(2000))
                return "sampled" in (await events_of(source)).note

            await until(sampled)
            events = await events_of(source)
            assert 0 < len(events.entries) <= watching.KEPT


async def test_a_fleet_with_a_dead_server_goes_on(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached", "-m", "16") for _ in range(3)]
    for number, server in enumerate(servers):
        with Plain(server) as plain:
            plain.fill(b"key:%d:%d" % (number, item) for item in range(10 * (number + 1)))
    async with source_of(*servers) as source:
        identity = await source.open()
        assert identity.mode == "fleet"
        first = await stats_of(source)
        assert (first.keys, first.maxmemory_bytes) == (60, 48 << 20)
        whole = await topology_of(source)
        assert [(node.address, node.keys, node.note) for node in whole.nodes] == [
            (servers[0].address, 10, "16.7% of the keys"),
            (servers[1].address, 20, "33.3% of the keys"),
            (servers[2].address, 30, "50.0% of the keys"),
        ]
        assert whole.summary.startswith("3 servers, all answer") and whole.problems == ()

        servers[1].kill()
        second = await stats_of(source)
        assert second.keys == 40
        assert delta(first, second, "sets_total") is None
        part = await topology_of(source)
        assert [node.state for node in part.nodes] == ["online", "down", "online"]
        assert part.summary.startswith("2 of 3 servers answer")
        assert len(part.problems) == 1 and servers[1].address in part.problems[0]

        servers[1].start()

        async def back() -> bool:
            return all(node.state == "online" for node in (await topology_of(source)).nodes)

        await until(back)
        for server in servers:
            server.kill()
        with pytest.raises(Unreachable, match="none of the 3 servers answers"):
            await stats_of(source)


async def test_a_stalled_server_of_a_fleet_costs_one_deadline_and_then_rests(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached") for _ in range(2)]
    async with source_of(*servers, timeout_s=0.5) as source:
        await source.open()
        servers[1].pause()

        async def stalled() -> bool:
            return [node.state for node in (await topology_of(source)).nodes] == ["online", "down"]

        await until(stalled)
        sent = source.sent["stats"]
        await topology_of(source)
        assert source.sent["stats"] == sent + 1
        servers[1].resume()

        async def back() -> bool:
            return all(node.state == "online" for node in (await topology_of(source)).nodes)

        await until(back)


async def test_settings_by_glob(memcached: Server) -> None:
    async with source_of(memcached) as source:
        assert await source.config("maxb*") == {"maxbytes": str(64 << 20)}
        assert (await source.config("*"))["lru_crawler"] == "yes"


async def test_several_servers_settings_show_where_they_differ(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached", "-m", "16"), new_server("memcached", "-m", "32")]
    async with source_of(*servers) as source:
        settings = await source.config("max*")
        assert settings["maxbytes"] == f"{16 << 20} | {32 << 20}"
        assert settings["maxconns"] == "1024"
        assert any("different memory limits" in problem for problem in (await topology_of(source)).problems)


async def test_a_server_without_room_for_connections_is_a_problem(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached", "-c", "60", "-o", "no_maxconns_fast")
    async with source_of(server) as source, AsyncExitStack() as others:
        await source.open()

        async def full() -> bool:
            # One that is not accepted any more gets no answer.
            with contextlib.suppress(TimeoutError):
                others.enter_context(Plain(server))
            return (await topology_of(source)).nodes[0].state == "refusing connections"

        await until(full)
        assert "takes no more connections" in (await topology_of(source)).problems[0]
        assert (await stats_of(source)).listen_disabled_total
