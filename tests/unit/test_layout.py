"""Where nodes and slots should lie: properties that must hold whatever the input."""

from __future__ import annotations

import itertools
import random

import pytest

from cachetui.analysis.layout import Placement, Shard, balanced, emptied, even_shares, placed, taken_evenly
from cachetui.model import SlotMove
from cachetui.model.slots import SLOTS, slot_ranges, slots_in, slots_text


def host(address: str) -> str:
    return address.rpartition(":")[0]


def together(placement: Placement) -> int:
    shards: dict[str, list[str]] = {primary: [host(primary)] for primary in placement.shares}
    for replica, primary in placement.replica_of.items():
        shards[primary].append(host(replica))
    return sum(len(hosts) - len(set(hosts)) for hosts in shards.values())


@pytest.mark.parametrize(("hosts", "each", "replicas"), [(3, 2, 1), (2, 3, 1), (3, 3, 2), (6, 1, 1), (4, 3, 3)])
def test_replicas_are_kept_apart_where_the_hosts_allow_it(hosts: int, each: int, replicas: int) -> None:
    addresses = [f"10.0.0.{nth}:{7000 + port}" for nth in range(hosts) for port in range(each)]
    for seed in range(20):
        random.Random(seed).shuffle(addresses)
        placement = placed(addresses, replicas)
        assert together(placement) == placement.together == 0
        assert sorted([*placement.shares, *placement.replica_of]) == sorted(addresses)
        assert list(placement.shares.values()) == even_shares(len(placement.shares))
        led = [sum(primary == one for one in placement.replica_of.values()) for primary in placement.shares]
        assert set(led) == {replicas}
        assert not placement.notes


def test_what_cannot_be_kept_apart_is_said() -> None:
    alone = placed([f"h:{port}" for port in range(6)], 1)
    assert alone.together == 3 and "one host" in alone.notes[0]
    uneven = placed(["a:1", "a:2", "a:3", "a:4", "a:5", "b:1"], 1)
    assert uneven.together == together(uneven) > 0 and "too few" in uneven.notes[0]
    assert len(placed([f"h{n}:1" for n in range(8)], 1).replica_of) == 4
    assert sorted(placed([f"h{n}:1" for n in range(7)], 1).replica_of.values()).count("h0:1") == 2


@pytest.mark.parametrize("seed", range(6))
def test_no_other_placement_of_the_replicas_is_better(seed: int) -> None:
    chance = random.Random(seed)
    addresses = [f"h{chance.randrange(3)}:{port}" for port in range(6)]
    placement = placed(addresses, 1)
    replicas, primaries = list(placement.replica_of), list(placement.shares)
    best = min(
        together(Placement(placement.shares, dict(zip(replicas, order, strict=True)), 0))
        for order in itertools.permutations(primaries)
    )
    assert placement.together == best


def shard(name: str, slots: range, weight: float = 1.0, values: dict[int, float] | None = None) -> Shard:
    return Shard(name, f"{name}:1", tuple(slots), weight, values or {})


def after(shards: list[Shard], moves: tuple[SlotMove, ...] | list[SlotMove]) -> dict[str, set[int]]:
    """Carry the moves out, and see to it that each takes what is there."""
    held = {one.node_id: set(one.slots) for one in shards}
    for move in moves:
        assert set(move.slots) <= held[move.source]
        held[move.source] -= set(move.slots)
        held[move.target] |= set(move.slots)
    return held


def test_slots_are_balanced_by_weight_with_few_ranges() -> None:
    shards = [shard("a", range(SLOTS)), shard("b", range(0)), shard("c", range(0), 2.0)]
    balance = balanced(shards)
    held = after(shards, balance.moves)
    assert {name: len(slots) for name, slots in held.items()} == {"a": 4096, "b": 4096, "c": 8192}
    assert all(len(slot_ranges(slots)) <= 2 for slots in held.values())
    assert balance.after == {"a": 4096, "b": 4096, "c": 8192} and balance.wanted["c"] == 8192


def test_little_is_left_alone() -> None:
    shards = [shard("a", range(5520)), shard("b", range(5520, 10922)), shard("c", range(10922, SLOTS))]
    assert balanced(shards).moves == ()
    assert {len(slots) for slots in after(shards, balanced(shards, threshold_percent=0).moves).values()} <= {5461, 5462}


@pytest.mark.parametrize("seed", range(25))
def test_a_balance_keeps_every_slot_and_comes_near_the_shares(seed: int) -> None:
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(1, SLOTS), chance.randrange(1, 6)))
    ends = [0, *cuts, SLOTS]
    values = {slot: float(chance.randrange(20)) for slot in range(SLOTS)} if seed % 2 else {}
    shards = [
        shard(f"n{nth}", range(first, last), chance.choice([0.0, 1.0, 1.0, 2.5]), values)
        for nth, (first, last) in enumerate(itertools.pairwise(ends))
    ]
    if not any(one.weight for one in shards):
        shards[0] = shard("n0", range(ends[1]), 1.0, values)
    balance = balanced(shards)
    held = after(shards, balance.moves)
    assert sorted(slot for slots in held.values() for slot in slots) == list(range(SLOTS))
    heaviest = max(values.values(), default=1.0)
    for one in shards:
        total = sum(values.get(slot, 0.0) if values else 1.0 for slot in held[one.node_id])
        assert total == pytest.approx(balance.after[one.node_id])
        if one.weight == 0:
            assert not held[one.node_id]
        else:
            # Nobody is off by more than the threshold and the size of a slot for each node it deals with.
            assert abs(total - balance.wanted[one.node_id]) <= 0.02 * balance.wanted[one.node_id] + heaviest * len(
                shards
            )


def test_a_node_gives_or_takes_but_not_both() -> None:
    chance = random.Random(7)
    values = {slot: chance.random() for slot in range(SLOTS)}
    shards = [
        shard("a", range(9000), values=values),
        shard("b", range(9000, SLOTS), values=values),
        shard("c", range(0)),
    ]
    moves = balanced(shards).moves
    assert not {move.source for move in moves} & {move.target for move in moves}


def test_a_slot_that_outweighs_all_others_stays() -> None:
    values = {0: 1000.0} | dict.fromkeys(range(1, 100), 1.0)
    shards = [shard("a", range(100), values=values), shard("b", range(100, SLOTS), values=values)]
    held = after(shards, balanced(shards).moves)
    assert 0 in held["a"] and len(held["a"]) < 60


def test_empty_slots_stay_unless_they_lie_between_those_that_go() -> None:
    values = {slot: 1.0 if slot < 100 else 0.0 for slot in range(8000)} | dict.fromkeys(range(8000, SLOTS), 0.0)
    shards = [shard("a", range(8000), values=values), shard("b", range(8000, SLOTS), values=values)]
    assert [len(move.slots) for move in balanced(shards).moves] == [50]
    sparse = {slot: float(slot % 3 == 0) for slot in range(SLOTS)}
    shards = [shard("a", range(SLOTS), values=sparse), shard("b", range(0))]
    assert [len(slot_ranges(move.slots)) for move in balanced(shards).moves] == [1]


def test_an_emptied_node_fills_the_others_evenly() -> None:
    gone = shard("a", range(4096))
    others = [shard("b", range(4096, 10000)), shard("c", range(10000, SLOTS)), shard("d", range(0), 0.0)]
    held = after([gone, *others], emptied(gone, others))
    assert not held["a"] and not held["d"] and abs(len(held["b"]) - len(held["c"])) <= 1
    assert emptied(gone, [others[2]]) == []


def test_slots_are_taken_in_proportion() -> None:
    taken = taken_evenly([shard("a", range(3000)), shard("b", range(3000, 4000))], 100)
    assert sum(slot < 3000 for slot in taken) == 75 and len(taken) == 100
    assert len(taken_evenly([shard("a", range(5))], 100)) == 5


def test_slots_are_written_and_read() -> None:
    for slots in ([0], [0, 1, 2, 9], [16383], list(range(0, 100, 2))):
        assert slots_in(slots_text(slots)) == slots
    for wrong in ("x", "5-2", "16384", "1-", "-1", "1--2"):
        with pytest.raises(ValueError, match="slots"):
            slots_in(wrong)
