"""Three servers as one: keys found where their clients put them, strays noticed, passwords, sockets, ::1."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from pymemcache.client.hash import HashClient

from cachetui.analysis.rules import findings
from cachetui.config import Address
from cachetui.model import Evidence, Topology
from cachetui.source.memcached import MemcachedSource
from cachetui.source.memcached.rings import rings
from tests.contract.memcached_targets import Plain, source_of
from tests.contract.test_redis_enumeration import Names
from tests.servers.launch import Server


async def topology_of(source: MemcachedSource) -> Topology:
    topology = await source.poll("topology")
    assert isinstance(topology, Topology)
    return topology


async def listed(source: MemcachedSource) -> set[bytes]:
    await source.enumeration(sink := Names()).run()
    return sink.names


def spread(servers: Sequence[Server], rule: str, keys: Sequence[bytes]) -> dict[bytes, int]:
    """Store keys as a client with this rule does; return on which server each is."""
    ring = next(ring for ring in rings([Address("127.0.0.1", server.port) for server in servers]) if ring.name == rule)
    places = {key: ring.home(key) for key in keys}
    for at, server in enumerate(servers):
        with Plain(server) as plain:
            plain.fill(key for key, place in places.items() if place == at)
    return places


async def test_another_rule_is_told_and_its_keys_are_found_at_once(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached") for _ in range(3)]
    keys = [b"user:%d" % at for at in range(300)]
    places = spread(servers, "ketama", keys)
    async with source_of(*servers) as source:
        assert ("keys are spread by", "not known before keys are listed (press 2)") in (await topology_of(source)).facts
        assert await listed(source) == set(keys)
        topology = await topology_of(source)
        facts = dict(topology.facts)
        assert facts["keys are spread by"].startswith("ketama (libmemcached")
        assert facts["on another server"] == "0 of 300 names looked at"
        assert topology.problems == () and findings(Evidence(0.0, source.name, topology=topology)) == ()
        assert all(node.note.count("%") == 2 and "of the ring" in node.note for node in topology.nodes)

        asked = source.sent["me"]
        found = (await source.facts(keys)).facts
        assert all(fact.exists for fact in found)
        assert source.sent["me"] == asked + 300  # each on its own server, at once
        assert "belongs on" not in found[0].note
        # A new key goes where the clients will look for it.
        new = [b"new:%d" % at for at in range(30)]
        ring = next(ring for ring in rings([Address("127.0.0.1", s.port) for s in servers]) if ring.name == "ketama")
        assert await source.execute([(b"set", key, b"0", b"0", b"x") for key in new]) == [b"STORED"] * 30
        for key in new:
            with Plain(servers[ring.home(key)]) as plain:
                assert plain.say(b"me " + key).startswith(b"ME")
    assert len(set(places.values())) == 3


async def test_strays_are_noticed_named_and_deleted(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached") for _ in range(3)]
    keys = [b"user:%d" % at for at in range(200)]
    places = spread(servers, "modulo", keys)
    stray = next(key for key, place in places.items() if place == 1)
    with Plain(servers[2]) as plain:
        plain.fill([stray, *(key for key in keys[:60] if places[key] != 2 and key != stray)][:15])
    with Plain(servers[1]) as plain:
        plain.say(b"delete " + stray)
    async with source_of(*servers) as source:
        await listed(source)
        topology = await topology_of(source)
        assert topology.spread is not None and (topology.spread.rule, topology.spread.misplaced) == ("modulo", 15)
        evidence = Evidence(0.0, source.name, topology=topology)
        (finding,) = [one for one in findings(evidence) if one.id == "misplaced-keys"]
        assert "lie on another server than modulo says" in finding.issue and finding.priority == "medium"
        assert dict(topology.facts)["on another server"].startswith("15 of ")
        (fact,) = (await source.facts([stray])).facts
        assert fact.exists and fact.note.endswith(f"on {servers[2].address}, belongs on {servers[1].address}")
        assert f"belongs on {servers[1].address}" in (await source.value(stray)).facts.note
        # Read, changed and deleted at its version where it is; without one every copy goes.
        (item,) = await source.execute([(b"mg", stray, b"v", b"c")])
        assert isinstance(item, dict) and item[b"v"] == b"v"
        assert await source.execute([(b"md", stray, b"C%d" % item[b"c"])]) == [b"DELETED"]
        assert await source.execute([(b"delete", key) for key in keys]) == [
            b"NOT_FOUND" if key == stray else b"DELETED" for key in keys
        ]
        assert await listed(source) == set()


async def test_no_rule_explains_chaos(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached") for _ in range(3)]
    for at, server in enumerate(servers):
        with Plain(server) as plain:
            plain.fill(b"%d:%d" % (at, number) for number in range(50))
    async with source_of(*servers) as source:
        assert len(await listed(source)) == 150
        topology = await topology_of(source)
        assert topology.spread is not None and topology.spread.rule == ""
        (finding,) = findings(Evidence(0.0, source.name, topology=topology))
        assert finding.id == "misplaced-keys" and finding.issue.startswith("No usual rule")
        assert all(fact.exists for fact in (await source.facts([b"0:1", b"1:1", b"2:1"])).facts)


async def test_pymemcaches_own_fleet_is_known(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached") for _ in range(3)]
    client = HashClient([("127.0.0.1", server.port) for server in servers], default_noreply=False)
    client.set_many({f"key:{at}": "x" for at in range(100)})
    client.close()
    async with source_of(*servers) as source:
        assert len(await listed(source)) == 100
        assert dict((await topology_of(source)).facts)["keys are spread by"].startswith("rendezvous")


async def test_deletes_go_on_without_a_server_that_is_gone(new_server: Callable[..., Server]) -> None:
    servers = [new_server("memcached") for _ in range(3)]
    keys = [b"user:%d" % at for at in range(300)]
    places = spread(servers, "rendezvous", keys)
    async with source_of(*servers, timeout_s=0.5) as source:
        servers[0].kill()
        replies = await source.execute([(b"delete", key) for key in keys])
        assert [reply == b"DELETED" for reply in replies] == [places[key] != 0 for key in keys]
        await asyncio.gather(*(source.execute([(b"delete", key)]) for key in keys if places[key]))
