"""Sums over a cluster's primaries: rates stay true while nodes join, leave, restart and fail over."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from cachetui.feeds.history import History, changes
from cachetui.model import CommandStat, ErrorStat, Identity, NodeFigures, Stats
from cachetui.model.rates import per_second
from cachetui.source.redis.clusterwide.sums import Sums
from cachetui.source.redis.info import Info
from cachetui.source.redis.topology.view import parse_view
from cachetui.source.redis.topology.whole import Heard, Told, whole

HERE = Identity("redis", "7.0.15", "cluster", address="a:1")


def told(name: str, at: float, commands: int, *, run: str = "run", role: str = "primary", **more: object) -> Stats:
    server = Identity("redis", "7.0.15", "cluster", role, f"{name}-{run}", f"{name}:1")
    calls = (CommandStat("get", commands, 2 * commands),)
    errors = (ErrorStat("OOM", commands // 10),)
    fields = {"commands_total": commands, "uptime_s": int(at), "keys": 5, "used_bytes": 100, **more}
    return Stats(at, server, commands=calls, errors=errors, **fields)  # type: ignore[arg-type]


def added(sums: Sums, at: float, *nodes: Stats, primaries: str) -> Stats:
    known = {stats.server.address[0]: stats for stats in nodes}
    return sums.add(known, list(primaries), server=HERE, taken_at=at)


def test_sums_over_primaries_only() -> None:
    stats = added(
        Sums(), 100.0, told("a", 100, 10), told("b", 100, 20), told("c", 100, 99, role="replica"), primaries="ab"
    )
    assert (stats.commands_total, stats.keys, stats.used_bytes) == (30, 10, 200)
    assert stats.commands == (CommandStat("get", 30, 60, 0, 0),) and stats.errors == (ErrorStat("OOM", 3),)
    assert stats.hits_total is None and stats.server.run_id is None


def test_who_joins_leaves_or_restarts_makes_no_spike_and_no_fall() -> None:
    sums, history = Sums(), History()
    steps = (
        ((told("a", 100, 1000), told("b", 100, 5000)), "ab"),
        ((told("a", 101, 1010), told("b", 101, 5020)), "ab"),
        ((told("a", 102, 1020), told("b", 102, 5040), told("c", 102, 900_000)), "abc"),
        ((told("a", 103, 1030), told("b", 103, 5060), told("c", 103, 900_030)), "abc"),
        ((told("a", 104, 1040), told("c", 104, 900_060)), "ac"),
        ((told("a", 105, 5, run="again"), told("c", 105, 900_090)), "ac"),
        ((told("a", 106, 15, run="again"), told("c", 106, 900_120)), "ac"),
    )
    seen = [added(sums, 100.0 + at, *nodes, primaries=who) for at, (nodes, who) in enumerate(steps)]
    for stats in seen:
        history.append(stats)
    rates = [per_second(one, other, "commands_total") for one, other in pairwise(seen)]
    assert rates == [30, 30, 60, 40, 30, 40]
    assert history.marks == ()
    calls = [stats.commands[0].calls for stats in seen]
    assert calls == sorted(calls)


def test_what_happens_to_nodes_is_marked() -> None:
    def seen(at: float, *nodes: NodeFigures) -> Stats:
        return Stats(at, HERE, nodes=nodes)

    a, b = NodeFigures("a:1", "primary", run_id="1"), NodeFigures("b:1", "replica", run_id="2")
    gone, back = replace(a, trouble="no answer"), replace(a, run_id="9", role="replica")
    promoted = replace(b, role="primary")
    assert changes(seen(1, a, b), seen(2, gone, b)) == ["a:1 does not answer"]
    assert changes(seen(2, gone, b), seen(3, gone, promoted)) == ["b:1 is primary now"]
    assert changes(seen(3, gone, promoted), seen(4, back, promoted)) == ["a:1 restarted"]
    assert changes(seen(1, a), seen(2, a, b)) == ["b:1 joined"] and changes(seen(1, a, b), seen(2, a)) == ["b:1 left"]
    assert changes(seen(1), seen(2, a)) == []


def test_a_promoted_replica_brings_only_what_it_does_from_then_on() -> None:
    sums = Sums()
    added(sums, 100.0, told("a", 100, 100), told("r", 100, 7_000, role="replica"), primaries="a")
    before = added(sums, 101.0, told("a", 101, 110), told("r", 101, 7_100, role="replica"), primaries="a")
    after = added(sums, 102.0, told("a", 101, 110), told("r", 102, 7_105), primaries="r")
    assert per_second(before, after, "commands_total") == 5


def test_processor_time_is_that_of_the_busiest_node() -> None:
    sums = Sums()
    first = added(sums, 100.0, told("a", 100, 1, cpu_s_total=50.0), told("b", 100, 1, cpu_s_total=10.0), primaries="ab")
    then = added(sums, 101.0, told("a", 101, 1, cpu_s_total=50.4), told("b", 101, 1, cpu_s_total=10.5), primaries="ab")
    rate = per_second(first, then, "cpu_s_total")
    assert rate is not None and round(rate, 3) == 0.5


def test_one_without_a_limit_leaves_the_whole_without() -> None:
    limited, free = told("a", 1, 1, maxmemory_bytes=100), told("b", 1, 1, maxmemory_bytes=0)
    assert added(Sums(), 1.0, limited, free, primaries="ab").maxmemory_bytes == 0
    assert added(Sums(), 1.0, limited, told("b", 1, 1, maxmemory_bytes=50), primaries="ab").maxmemory_bytes == 150
    mixed = added(
        Sums(), 1.0, told("a", 1, 1, policy="noeviction"), told("b", 1, 1, policy="allkeys-lru"), primaries="ab"
    )
    assert mixed.policy is None


A = b"""\
aaa 10.0.0.1:7000@17000,host-a myself,master - 0 0 3 connected 0-8000 [93->-ccc] [94-<-bbb]
bbb 10.0.0.2:7000@17000 master,fail? - 0 0 2 connected 8001-16383
"""
B = b"""\
aaa 10.0.0.1:7000@17000,host-a master - 0 0 3 connected 0-7999
bbb 10.0.0.2:7000@17000 myself,master - 0 0 2 connected 8000-16383
ddd 10.0.0.4:7000@17000 slave bbb 0 0 2 disconnected
"""


def test_views_that_differ_are_told_in_words() -> None:
    one, two = parse_view(A), parse_view(B)
    heard = {"aaa": Heard(Told(1.0, one)), "bbb": Heard(Told(1.0, two)), "ddd": Heard(Told(0.5, two), "silent")}
    seen = whole(heard, one, here="aaa", server=HERE, taken_at=2.0)
    by_id = {node.node_id: node for node in seen.nodes}
    a, b, d = (by_id[name].member for name in ("aaa", "bbb", "ddd"))
    assert a is not None and b is not None and d is not None
    assert a.hostname == "host-a" and a.epoch == 3 and by_id["aaa"].myself
    assert [(one.slot, one.way, one.other, one.known) for one in a.open_slots] == [
        (93, "migrating", "ccc", False),
        (94, "importing", "10.0.0.2:7000", True),
    ]
    assert b.doubted_by == ("10.0.0.1:7000",) and b.not_connected_to == ("10.0.0.4:7000",)
    assert b.differs == ("sees slot 8000 at 10.0.0.2:7000, where most see it at 10.0.0.1:7000",)
    assert not d.told and by_id["ddd"].state == "no answer" and by_id["ddd"].primary == "10.0.0.2:7000"


def test_broken_lines_are_passed_over() -> None:
    view = parse_view(b"x\n\xff\xfe a b c d e f g h\nid \x1b[31m:1@2 master - 0 0 x connected 5-3 0-20000 7 [1-<-\n")
    assert all(text.isprintable() for line in view.lines.values() for text in (line.node_id, line.address, line.slots))
    assert view.lines["id"].slots == "7" and view.lines["id"].epoch is None and view.me is None
    assert whole({}, view, here="", server=HERE, taken_at=1.0).nodes
    assert Info().number("x") is None
