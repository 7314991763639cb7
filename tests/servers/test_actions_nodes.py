"""Settings on every node: of a cluster with replicas, of a primary with a replica, of a Memcached fleet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.crc import key_slot

from cachetui.actions.apply import Guard, Outcome, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import Plan, plan_maxmemory, plan_policy, plan_rewrite, plan_setting
from cachetui.actions.undo import plan_of, undoing
from cachetui.config import parse_target
from cachetui.errors import Refused
from cachetui.model import Identity, NodeSettings, Stats
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.contract.redis_targets import until
from tests.servers import launch
from tests.servers.launch import SERVERS, Server

FREE = Guard(read_only=False)
MB = 1024**2
PRIMARIES, REPLICAS = 3, 3


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def setting(server: Server, name: str) -> str:
    reply = server.command("CONFIG", "GET", name)
    assert isinstance(reply, dict)
    return str(next(iter(reply.values())).decode())


@pytest.fixture(scope="module", params=["redis7", "valkey9"])
def nodes(request: pytest.FixtureRequest) -> Iterator[list[Server]]:
    """A cluster of three primaries, each with a replica: the primaries come first."""
    binary = launch.SERVERS[request.param]()
    started = [launch.redis_server(binary, "--cluster-enabled", "yes") for _ in range(PRIMARIES + REPLICAS)]
    try:
        for node in started[1:]:
            node.command("CLUSTER", "MEET", "127.0.0.1", str(started[0].port))
        share = 16384 // PRIMARIES
        for nth, node in enumerate(started[:PRIMARIES]):
            last = 16383 if nth == PRIMARIES - 1 else (nth + 1) * share - 1
            node.command("CLUSTER", "ADDSLOTSRANGE", str(nth * share), str(last))
        yield started
    finally:
        for node in started:
            launch.remove(node)


@pytest.fixture
async def cluster(nodes: list[Server]) -> list[Server]:
    def met() -> bool:
        return all(str(node.command("CLUSTER", "INFO")).count("known_nodes:6") == 1 for node in nodes)

    await until(met)
    for nth, node in enumerate(nodes[PRIMARIES:]):
        if node.command("ROLE")[0] != b"slave":  # type: ignore[index]
            primary = nodes[nth].command("CLUSTER", "MYID")
            assert isinstance(primary, bytes)
            node.command("CLUSTER", "REPLICATE", primary)

    def ready() -> bool:
        about = [str(node.command("CLUSTER", "NODES")) for node in nodes]
        return all(text.count("slave") == REPLICAS and "fail" not in text for text in about)

    await until(ready)
    for node in nodes:
        node.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        node.command("CONFIG", "SET", "maxmemory", "0")
    return nodes


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Source]:
    source = await open_source(parse_target(url))
    try:
        yield source
    finally:
        await source.close()


async def stats_of(source: Source) -> Stats:
    stats = await source.poll("stats")
    assert isinstance(stats, Stats)
    return stats


async def policy_plan(source: Source, policy: str, **more: bool) -> Plan:
    reach = (await source.settings("maxmemory*")).reach
    stats = await stats_of(source)
    return plan_policy(stats.server, source.name, stats, policy, await source.policies(), nodes=reach, **more)


async def run(plan: Plan, source: Source, journal: Journal) -> Outcome:
    return await apply(plan, source, journal=journal, guard=FREE)


async def test_a_clusters_policy_goes_to_every_primary_and_replica(cluster: list[Server], journal: Journal) -> None:
    async with opened(cluster[0].url) as source:
        plan = await policy_plan(source, "allkeys-lru")
        assert sorted(plan.nodes) == sorted(node.address for node in cluster)
        assert plan.count == 6 and plan.title.endswith("on 6 nodes")
        assert all(any(node.address in line for line in plan.what) for node in cluster)
        assert len(plan.preview_commands()) == 6
        assert plan.back == (("maxmemory-policy", "noeviction", "allkeys-lru"),)
        outcome = await run(plan, source, journal)
        assert (outcome.state, outcome.done, outcome.verified, outcome.exit_code) == ("done", 6, True, 0)
        assert {setting(node, "maxmemory-policy") for node in cluster} == {"allkeys-lru"}
        assert not (await source.settings("maxmemory*")).drift


async def test_drift_is_seen_named_and_has_no_single_way_back(cluster: list[Server], journal: Journal) -> None:
    cluster[1].command("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    async with opened(cluster[0].url) as source:
        found = await source.settings("*")
        assert found.drift == ("maxmemory-policy",)
        assert found.shares("maxmemory-policy") == [("noeviction", 5), ("allkeys-lfu", 1)]
        plan = await policy_plan(source, "allkeys-lru")
        assert plan.back == () and plan.undo.startswith("no undo in one")
        assert f"allkeys-lfu on {cluster[1].address}" in plan.undo
        assert any(line.startswith("drift:") for line in plan.what)
        assert (await run(plan, source, journal)).verified is True


async def test_a_node_that_does_not_answer_is_named_and_leaves_drift(cluster: list[Server], journal: Journal) -> None:
    silent = cluster[4]
    async with opened(f"{cluster[0].url}?timeout=1") as source:
        plan = await policy_plan(source, "volatile-lru")
        silent.pause()
        try:
            outcome = await run(plan, source, journal)
        finally:
            silent.resume()
        assert (outcome.done, outcome.exit_code, outcome.verified) == (5, 4, False)
        assert outcome.unknown + outcome.failed == 1
        assert silent.address in outcome.reason
        assert any(line.startswith("drift: 5 of 6 nodes") and silent.address in line for line in outcome.checks)
        assert any("CONFIG SET maxmemory-policy noeviction, on each of the 6 nodes" in line for line in outcome.checks)
        assert journal.read()[0].outcome in ("failed", "stopped")


async def test_a_value_that_the_first_node_refuses_goes_nowhere_else(cluster: list[Server], journal: Journal) -> None:
    async with opened(cluster[0].url) as source:
        found = await source.settings("hz")
        assert source.identity is not None
        plan = plan_setting(source.identity, source.name, "hz", "10", "many", nodes=found.reach)
        outcome = await run(plan, source, journal)
        assert (outcome.state, outcome.done, outcome.failed, outcome.left) == ("failed", 0, 1, 5)
        assert "5 nodes were not asked" in outcome.reason
    assert {setting(node, "hz") for node in cluster} == {"10"}


async def test_other_primaries_that_would_evict_at_once_are_named(cluster: list[Server]) -> None:
    full = cluster[1]
    with full.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        tag = next(str(number) for number in range(1000) if key_slot(str(number).encode()) in range(5461, 10922))
        pipe = client.pipeline(transaction=False)
        for number in range(3000):
            pipe.set(f"{{{tag}}}{number}", "v" * 1000)
        pipe.execute()
        used = client.info("memory")["used_memory"]
    try:
        async with opened(cluster[0].url) as source:
            stats = await stats_of(source)
            reach = (await source.settings("maxmemory*")).reach
            plan = plan_maxmemory(stats.server, source.name, stats, used - MB, nodes=reach)
            assert any(line.startswith(f"{full.address}: at once: evicts") for line in plan.what)
            assert plan.typed and plan.risk == "high"
    finally:
        full.command("FLUSHALL")


def is_followed(primary: Server) -> bool:
    with primary.client() as client:
        return bool(client.info("replication").get("slave0", {}).get("state") == "online")


@pytest.fixture(params=sorted(SERVERS))
async def pair(request: pytest.FixtureRequest, new_server: Callable[..., Server]) -> tuple[Server, Server]:
    """A primary and its replica."""
    primary = new_server(request.param)
    replica = new_server(request.param, "--replicaof", "127.0.0.1", str(primary.port))
    await until(lambda: is_followed(primary))
    return primary, replica


async def test_a_primarys_plan_goes_to_its_replica_too(pair: tuple[Server, Server], journal: Journal) -> None:
    primary, replica = pair
    async with opened(primary.url) as source:
        plan = await policy_plan(source, "allkeys-lru")
        assert plan.nodes == (primary.address, replica.address)
        assert (await run(plan, source, journal)).verified is True
    assert setting(primary, "maxmemory-policy") == setting(replica, "maxmemory-policy") == "allkeys-lru"


async def test_a_replicas_plan_leaves_its_primary_alone(pair: tuple[Server, Server], journal: Journal) -> None:
    primary, replica = pair
    async with opened(replica.url) as source:
        plan = await policy_plan(source, "allkeys-lru")
        assert plan.nodes == ()
        assert (await run(plan, source, journal)).verified is True
        assert (await source.settings("maxmemory-policy")).drift == ("maxmemory-policy",)
    assert setting(primary, "maxmemory-policy") == "noeviction"


async def test_a_replica_that_is_gone_is_tried_and_named(pair: tuple[Server, Server], journal: Journal) -> None:
    primary, replica = pair
    async with opened(primary.url) as source:
        plan = await policy_plan(source, "allkeys-lru")
        replica.kill()
        outcome = await run(plan, source, journal)
        assert (outcome.done, outcome.failed, outcome.unknown, outcome.exit_code) == (1, 1, 0, 4)
        assert replica.address in outcome.reason and outcome.verified is False
    assert setting(primary, "maxmemory-policy") == "allkeys-lru"


@pytest.fixture
def filed(new_server: Callable[..., Server], tmp_path: Path) -> tuple[Server, Path]:
    """A server that was started with a configuration file."""
    file = tmp_path / "redis.conf"
    file.write_text("")
    server = new_server("redis7")
    server.stop()
    server.argv.insert(1, str(file))
    return server.start(), file


async def test_a_rewrite_is_for_servers_with_a_file(
    filed: tuple[Server, Path], new_server: Callable[..., Server], journal: Journal
) -> None:
    server, file = filed
    async with opened(server.url) as source:
        reach = (await source.settings("port")).reach
        assert source.identity is not None and [node.has_file for node in reach] == [True]
        set_ = plan_setting(source.identity, source.name, "hz", "10", "42", nodes=reach)
        assert (await run(set_, source, journal)).verified is True
        outcome = await run(plan_rewrite(source.identity, source.name, nodes=reach), source, journal)
        assert outcome.state == "done" and "hz 42" in file.read_text()
    bare = new_server("redis7")
    async with opened(bare.url) as source:
        reach = (await source.settings("port")).reach
        assert source.identity is not None and [node.has_file for node in reach] == [False]
        with pytest.raises(Refused, match="nothing to write to"):
            plan_rewrite(source.identity, source.name, nodes=reach)
        outcome = await run(plan_rewrite(source.identity, source.name), source, journal)
        assert outcome.state == "failed" and "started without one" in outcome.reason


async def test_a_rewrite_on_several_says_where_it_is_refused(
    filed: tuple[Server, Path], new_server: Callable[..., Server], journal: Journal
) -> None:
    primary, file = filed
    replica = new_server("redis7", "--replicaof", "127.0.0.1", str(primary.port))
    await until(lambda: is_followed(primary))
    async with opened(primary.url) as source:
        plan = await policy_plan(source, "allkeys-lru", rewrite=True)
        assert any(f"refused by {replica.address}" in line for line in plan.what)
        outcome = await run(plan, source, journal)
        assert (outcome.done, outcome.failed, outcome.left, outcome.verified) == (3, 1, 0, True)
        assert replica.address in outcome.reason
    assert "allkeys-lru" in file.read_text()


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("notify-keyspace-events", "KEA", "AKE"),
        ("maxmemory-clients", "100mb", "104857600"),
        ("client-output-buffer-limit", "pubsub 64mb 16mb 60", "67108864"),
        ("save", "3600 1 300 100", "3600 1 300 100"),
        ("lazyfree-lazy-eviction", "yes", "yes"),
    ],
)
async def test_values_that_the_server_words_in_its_own_way_count_as_set(
    new_server: Callable[..., Server], journal: Journal, name: str, value: str, shown: str
) -> None:
    server = new_server("redis7")
    async with opened(server.url) as source:
        found = await source.settings(name)
        assert found.here is not None and source.identity is not None
        before = found.here.values[name]
        plan = plan_setting(source.identity, source.name, name, before, value, nodes=found.reach)
        assert plan.back[0][:2] == (name, before)
        outcome = await run(plan, source, journal)
        assert (outcome.state, outcome.verified) == ("done", True), outcome
        assert shown in setting(server, name)
        back = plan_setting(source.identity, source.name, name, None, before, nodes=found.reach)
        assert (await run(back, source, journal)).state == "done"
    assert setting(server, name) == before


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("databases", "3", "fixed when the server starts"), ("dir", "/", "enable-protected-configs")],
)
async def test_what_a_server_fixes_is_refused_with_a_way_out(
    redis7: Server, journal: Journal, name: str, value: str, words: str
) -> None:
    async with opened(redis7.url) as source:
        assert source.identity is not None
        plan = plan_setting(source.identity, source.name, name, None, value)
        outcome = await run(plan, source, journal)
        assert outcome.state == "failed" and words in outcome.reason


async def test_passwords_are_masked_and_not_set(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7", "--masterauth", "hunter2")
    async with opened(server.url) as source:
        found = await source.settings("*")
        assert found.here is not None and found.here.values["masterauth"] == "***"
        assert found.here.values["requirepass"] == ""
        assert "hunter2" not in repr(found)
        assert source.identity is not None
        for name in ("requirepass", "MASTERAUTH", "tls-key-file-pass"):
            with pytest.raises(Refused, match="secret"):
                plan_setting(source.identity, source.name, name, None, "x")


async def test_without_the_permission_nothing_is_set_and_it_is_said(
    new_server: Callable[..., Server], journal: Journal
) -> None:
    server = new_server("redis7")
    server.command("ACL", "SETUSER", "guest", "on", ">pw", "~*", "+@all", "-config|set", "-config|rewrite")
    async with opened(f"redis://guest:pw@{server.address}") as source:
        outcome = await run(await policy_plan(source, "allkeys-lru"), source, journal)
        assert outcome.state == "refused" and outcome.exit_code == 5
        assert "not permitted" in (source.why_not("settings") or "")
    server.command("ACL", "SETUSER", "blind", "on", ">pw", "~*", "+@all", "-config")
    async with opened(f"redis://blind:pw@{server.address}") as source:
        with pytest.raises(Exception, match="CONFIG GET: not permitted"):
            await source.settings("*")


@pytest.fixture
def fleet(new_server: Callable[..., Server]) -> tuple[Server, Server]:
    return new_server("memcached", "-m", "64"), new_server("memcached", "-m", "32")


async def test_a_fleets_servers_each_get_the_limit(fleet: tuple[Server, Server], journal: Journal) -> None:
    async with opened(f"memcached://{fleet[0].address},{fleet[1].address}") as source:
        found = await source.settings("*")
        assert found.drift == ("maxbytes",)
        stats = await stats_of(source)
        plan = plan_maxmemory(stats.server, source.name, stats, 48 * MB, nodes=found.reach)
        assert plan.nodes == tuple(server.address for server in fleet) and plan.back == ()
        assert (await run(plan, source, journal)).verified is True
        assert set((await source.settings("maxbytes")).values_of("maxbytes").values()) == {str(48 * MB)}


@pytest.mark.parametrize(
    ("name", "value", "command"),
    [
        ("slab_automove", "0", "slabs automove 0"),
        ("verbosity", "1", "verbosity 1"),
        ("lru_segmented", "no", "lru mode flat"),
        ("hot_lru_pct", "30", "lru tune 30 40 0.20 2.00"),
        ("warm_max_factor", "3.0", "lru tune 20 40 0.20 3.0"),
        ("temporary_ttl", "30", "lru temp_ttl 30"),
        ("temp_lru", "yes", "lru temp_ttl 61"),
        ("lru_crawler_sleep", "200", "lru_crawler sleep 200"),
        ("maxbytes", str(48 * MB), "cache_memlimit 48"),
    ],
)
async def test_what_memcached_can_change_is_changed_and_read_back(
    new_server: Callable[..., Server], journal: Journal, name: str, value: str, command: str
) -> None:
    server = new_server("memcached", "-m", "64")
    async with opened(f"memcached://{server.address}") as source:
        found = await source.settings("*")
        assert found.here is not None and source.identity is not None
        before = found.here.values[name]
        plan = plan_setting(source.identity, source.name, name, before, value, nodes=found.reach)
        assert plan.preview_commands() == [command] and plan.back[0][1] == before
        assert (await run(plan, source, journal)).verified is True
        back = plan_setting(source.identity, source.name, name, None, before, nodes=found.reach)
        assert (await run(back, source, journal)).state == "done"
        assert (await source.settings(name)).nodes[0].values[name] == before


def test_one_node_alone_is_no_list_of_nodes() -> None:
    alone = (NodeSettings("h:1", "primary", myself=True, values={"hz": "10"}),)
    plan = plan_setting(Identity("redis"), "redis://h:1", "hz", None, "20", nodes=alone)
    assert plan.nodes == () and plan.count == 1 and plan.back == (("hz", "10", "20"),)


async def test_through_a_sentinel_the_primary_and_its_replica_are_set(
    new_server: Callable[..., Server], journal: Journal
) -> None:
    primary = new_server("redis7")
    replica = new_server("redis7", "--replicaof", "127.0.0.1", str(primary.port))
    await until(lambda: is_followed(primary))
    sentinel = launch.sentinel_server(launch.redis7(), primary)
    try:
        async with opened(f"redis+sentinel://{sentinel.address}/mymaster") as source:
            plan = await policy_plan(source, "allkeys-lru")
            assert plan.nodes == (primary.address, replica.address)
            assert (await run(plan, source, journal)).verified is True
    finally:
        launch.remove(sentinel)
    assert setting(primary, "maxmemory-policy") == setting(replica, "maxmemory-policy") == "allkeys-lru"


@pytest.mark.parametrize(("name", "value"), [("notify-keyspace-events", "KEA"), ("maxmemory-clients", "10mb")])
async def test_a_setting_is_undone_where_it_was_set_whatever_its_wording(
    pair: tuple[Server, Server], journal: Journal, name: str, value: str
) -> None:
    primary, replica = pair
    async with opened(primary.url) as source:
        found = await source.settings(name)
        if found.here is None or name not in found.here.values:
            return  # an older server has no such setting
        before = found.here.values[name]
        alone = tuple(node for node in found.reach if node.myself)
        for nodes, servers in ((found.reach, [primary, replica]), (alone, [primary])):
            plan = plan_setting(found.server, source.name, name, before, value, nodes=nodes)
            assert (await run(plan, source, journal)).verified is True
            assert all(setting(server, name) != before for server in servers)
            back = await plan_of(source, undoing(journal, plan.id))
            assert back.nodes == plan.nodes
            assert (await run(back, source, journal)).verified is True
            assert [setting(server, name) for server in (primary, replica)] == [before, before]


async def test_a_tuned_share_of_memcached_is_undone(new_server: Callable[..., Server], journal: Journal) -> None:
    server = new_server("memcached")
    async with opened(f"memcached://{server.address}") as source:
        found = await source.settings("*")
        plan = plan_setting(found.server, source.name, "hot_max_factor", "0.20", "0.5", nodes=found.reach)
        assert (await run(plan, source, journal)).verified is True
        back = await plan_of(source, undoing(journal, plan.id))
        assert (await run(back, source, journal)).verified is True
        assert (await source.settings("hot_max_factor")).nodes[0].values == {"hot_max_factor": "0.20"}


async def test_what_somebody_set_since_is_not_set_back(pair: tuple[Server, Server], journal: Journal) -> None:
    primary, _ = pair
    async with opened(primary.url) as source:
        plan = await policy_plan(source, "allkeys-lru")
        await run(plan, source, journal)
        primary.command("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
        with pytest.raises(Refused, match="somebody has set it since"):
            await plan_of(source, undoing(journal, plan.id))
