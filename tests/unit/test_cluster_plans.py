"""Plans for clusters, made of what nodes say: every case of an open, doubled or lost slot has its remedy."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from cachetui.actions.plan import Plan
from cachetui.actions.plan.cluster import NewNode, plan_create
from cachetui.actions.plan.fixing import doubtful, of_failed, plan_fix
from cachetui.actions.plan.members import State, View, parse_view
from cachetui.actions.plan.membership import plan_add, plan_failover, plan_forget, plan_remove
from cachetui.actions.plan.rebalance import check_whole, cut_moves
from cachetui.actions.plan.tasks import Await, Gather, Move, Send
from cachetui.errors import BadUsage, CacheError, Refused
from cachetui.model import Identity

WHO = Identity("redis", "7.0.15", mode="cluster")
SHARES = {"a": "0-5460", "b": "5461-10922", "c": "10923-16383"}


def state(
    own: Mapping[str, str] | None = None,
    *,
    silent: Mapping[str, str] | None = None,
    replicas: Mapping[str, str] | None = None,
) -> State:
    """Return what nodes say: by name its own slots; `silent` by name the flags others give it."""
    slots = {**SHARES, **(own or {})}
    silent, replicas = silent or {}, replicas or {}

    def line(name: str, asked: str) -> str:
        me = name == asked
        flags = "slave" if name in replicas else "master"
        flags = f"myself,{flags}" if me else f"{flags},{silent[name]}" if silent.get(name) else flags
        shown = slots.get(name, "")
        shown = shown if me else " ".join(part for part in shown.split() if not part.startswith("["))
        port = 7000 + ord(name)
        leader = replicas.get(name, "-")
        return f"{name} 127.0.0.1:{port}@{port + 10000} {flags} {leader} 0 0 {ord(name)} connected {shown}"

    names = [*slots, *replicas]
    views: list[View] = []
    for name in names:
        if name not in silent:
            view = parse_view("\n".join(line(one, name) for one in names).encode(), "")
            assert view is not None
            views.append(view)
    return State(tuple(views), {address(name): "did not answer" for name in silent})


def address(name: str) -> str:
    return f"127.0.0.1:{7000 + ord(name)}"


def fixed(seen: State, counts: Mapping[int, Mapping[str, int]] | None = None, **more: bool) -> Plan:
    return plan_fix(WHO, "redis+cluster://t", seen, counts or {}, **more)


def sent(plan: Plan, name: str) -> list[str]:
    """Return the commands that one node gets, without CLUSTER."""
    return [
        b" ".join(task.command[1:]).decode()
        for task in plan.tasks
        if isinstance(task, Send) and task.address == address(name)
    ]


def moves(plan: Plan) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for task in plan.tasks:
        if isinstance(task, Move):
            found.append(("move", task.slots, task.source_id, task.target_id))
        if isinstance(task, Gather):
            found.append(("keys", task.slot, task.source_id, task.target_id))
    return found


def test_a_whole_cluster_needs_nothing() -> None:
    seen = state()
    check_whole(seen)
    assert doubtful(seen) == [] and cut_moves(seen) == []
    with pytest.raises(Refused, match="nothing to do"):
        fixed(seen)


def test_uncovered_slots_go_where_their_keys_are_and_else_to_who_has_least() -> None:
    seen = state({"a": "0-5450", "b": "5461-10922"})
    plan = fixed(seen, {5452: {"c": 3}, 5453: {"b": 1, "c": 9}})
    assert sent(plan, "c") == ["ADDSLOTS 5452 5453"]
    assert sent(plan, "a")[0].startswith("ADDSLOTS 5451 ")
    assert moves(plan) == [("keys", 5453, "b", "c")]
    assert [type(task).__name__ for task in plan.tasks][-2:] == ["Await", "Gather"]
    with pytest.raises(Refused, match="served by nobody"):
        check_whole(seen)


def test_a_slot_with_two_owners_stays_with_the_one_that_has_most_keys() -> None:
    plan = fixed(state({"b": "5461-10922 7"}), {7: {"a": 2, "b": 5}})
    assert sent(plan, "a") == ["DELSLOTS 7"] and sent(plan, "b") == ["BUMPEPOCH"]
    assert moves(plan) == [("keys", 7, "a", "b")]
    with pytest.raises(Refused, match="claimed by two"):
        check_whole(state({"b": "5461-10922 7"}))


@pytest.mark.parametrize(
    ("own", "keys", "what"),
    [
        ({"a": "0-5460 [9->-b]", "b": "5461-10922 [9-<-a]"}, {}, [("move", (9,), "a", "b")]),
        ({"a": "0-5460 [9->-b]"}, {"a": 4, "b": 1}, [("move", (9,), "a", "b")]),
        ({"b": "5461-10922 [9-<-a]"}, {"a": 4, "b": 1}, [("keys", 9, "b", "a")]),
        ({"b": "5461-10922 [9-<-c]"}, {"c": 2, "b": 1}, [("keys", 9, "b", "a"), ("keys", 9, "c", "a")]),
        (
            {"a": "0-5460 [9->-b]", "b": "5461-10922 [9-<-a]", "c": "10923-16383 [9-<-a]"},
            {"a": 1, "b": 1, "c": 1},
            [("keys", 9, "c", "a"), ("move", (9,), "a", "b")],
        ),
    ],
)
def test_half_moved_slots_are_brought_to_one_owner(
    own: dict[str, str], keys: dict[str, int], what: list[tuple[object, ...]]
) -> None:
    seen = state(own)
    assert doubtful(seen) == [9]
    assert moves(fixed(seen, {9: keys})) == what


@pytest.mark.parametrize(
    ("own", "who"),
    [
        ({"a": "0-5460 [9->-b]"}, "a"),
        ({"a": "0-5460 [9->-unknown]"}, "a"),
        ({"b": "5461-10922 [9-<-a]"}, "b"),
        ({"b": "5461-10922 [9-<-unknown]"}, "b"),
        ({"a": "0-5460 [9-<-b]"}, "a"),
        ({"b": "5461-10922 [9->-c]"}, "b"),
    ],
)
def test_slots_that_are_open_for_nothing_are_closed(own: dict[str, str], who: str) -> None:
    plan = fixed(state(own), {9: {"a": 4}})
    assert sent(plan, who) == ["SETSLOT 9 STABLE"] and moves(plan) == []


def test_slots_of_a_failed_primary_are_given_up_only_when_asked() -> None:
    seen = state(silent={"b": "fail"})
    assert list(of_failed(seen)) == ["b"]
    with pytest.raises(Refused, match="belong to"):
        fixed(seen)
    plan = fixed(seen, give_up_failed=True)
    assert plan.typed == "t" and plan.risk == "high" and any("keys are lost" in line for line in plan.what)
    assert sent(plan, "a")[0].startswith("DELSLOTS 5461") and sent(plan, "a")[-1] == "BUMPEPOCH"
    given = [word for name in "ac" for line in sent(plan, name) if line.startswith("ADDSLOTS") for word in line.split()]
    assert len(set(given) - {"ADDSLOTS"}) == 5462


def test_slots_of_a_node_that_is_only_silent_are_left() -> None:
    with pytest.raises(Refused, match="nothing to do"):
        fixed(state(silent={"b": ""}))
    with pytest.raises(Refused, match="does not answer"):
        check_whole(state(silent={"b": ""}))


def test_only_moves_are_taken_for_moves_that_were_cut() -> None:
    (move,) = cut_moves(state({"a": "0-5460 [8->-b] [9->-b]", "b": "5461-10922 [9-<-a]"}))
    assert (move.slots, move.source, move.target) == ((8, 9), "a", "b")
    assert cut_moves(state({"b": "5461-10922 [9-<-a]"}))[0].target == "b"
    for strange in ({"a": "0-5460 [9->-unknown]"}, {"b": "5461-10922 [9-<-a]", "c": "10923-16383 [9-<-a]"}):
        with pytest.raises(Refused, match="no move"):
            cut_moves(state(strange))


def test_a_failover_says_what_it_costs() -> None:
    seen = state(replicas={"r": "a"})
    replica = seen.members["r"]
    plain = plan_failover(WHO, "redis+cluster://t", seen, replica)
    assert plain.preview_commands()[0] == f"{address('r')}> CLUSTER FAILOVER"
    assert plain.typed is None and any("nothing is lost" in line for line in plain.what)
    forced = plan_failover(WHO, "redis+cluster://t", seen, replica, "TAKEOVER")
    assert forced.typed == "t" and "TAKEOVER" in forced.preview_commands()[0] and forced.risk == "high"
    assert any("the primary is up" in line for line in forced.what)
    with pytest.raises(Refused, match="is a primary"):
        plan_failover(WHO, "t", seen, seen.members["a"])
    alone = state(replicas={"r": "a"}, silent={"a": "fail"})
    with pytest.raises(Refused, match="cannot hand over"):
        plan_failover(WHO, "t", alone, alone.members["r"])
    assert plan_failover(WHO, "redis://t", alone, alone.members["r"], "FORCE").count == 1


def new(name: str, version: str = "7.0.15", kind: str = "redis") -> NewNode:
    return NewNode(address(name), name, address(name), kind, version)


def test_what_does_not_fit_together_makes_no_cluster() -> None:
    shares = {address(name): (nth, nth) for nth, name in enumerate("abc")}
    nodes = [new("a"), new("b"), new("c", "7.2.4")]
    plan = plan_create(WHO, "redis://t", nodes, shares, {})
    assert any("versions differ" in line for line in plan.what)
    for strange in (new("c", "6.2.0"), new("c", "9.0.1", "valkey")):
        with pytest.raises(Refused):
            plan_create(WHO, "redis://t", [new("a"), new("b"), strange], shares, {})
    with pytest.raises(BadUsage, match="needs 3"):
        plan_create(WHO, "redis://t", nodes[:2], {address("a"): (0, 16383)}, {address("b"): address("a")})


def test_a_node_joins_leaves_and_is_forgotten() -> None:
    seen = state({"d": ""}, replicas={"r": "d"})
    joined = plan_add(WHO, "redis://t", seen, new("x"), seen.members["a"])
    assert [type(task) for task in joined.tasks] == [Send, Await, Send, Await, Await]
    left = plan_remove(WHO, "redis://t", seen, seen.members["d"], ())
    assert sent(left, "r")[0].startswith("REPLICATE") and sent(left, "d") == ["RESET HARD"]
    assert all(sent(left, name)[-1] == "FORGET d" for name in "abcr")
    with pytest.raises(Refused, match="answers"):
        plan_forget(WHO, "t", seen, seen.members["d"])
    gone = state({"d": ""}, silent={"d": "fail"})
    assert sent(plan_forget(WHO, "redis://t", gone, gone.members["d"]), "a") == ["FORGET d"]
    needed = state(silent={"b": "fail"})
    with pytest.raises(Refused, match="still has"):
        plan_forget(WHO, "t", needed, needed.members["b"])


@pytest.mark.parametrize("reply", [b"", b"garbage", b"a b c d e f g h\n", b"\xff\xfe x y z 1 2 3 4 5\n"])
def test_a_reply_that_makes_no_sense_is_no_view(reply: bytes) -> None:
    assert parse_view(reply, "h:1") is None


def test_what_nodes_say_is_made_printable() -> None:
    hostile = b"id\x1b[31m 1.2.3.4:7000@17000,\x9bhost myself,master - 0 0 1 connected 0-99999 [5->-x\x1b] 7-3"
    view = parse_view(hostile, "h:1")
    assert view is not None and view.me.node_id.isprintable() and view.me.address == "1.2.3.4:7000"
    assert max(view.me.slots) == 16383


def test_a_node_is_found_by_what_names_it_alone() -> None:
    seen = state()
    found = seen.named("a")
    assert found is not None and found.address == address("a")
    named = seen.named(address("b"))
    assert named is not None and named.node_id == "b"
    assert seen.named("") is None and seen.named("zz") is None


def test_errors_of_plans_are_ours() -> None:
    with pytest.raises(CacheError):
        fixed(State((), {}))
