"""How a cluster should lie: who leads and follows where, and which slots go where. Pure."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cachetui.model.slots import SLOTS, SlotMove

THRESHOLD_PERCENT = 2.0
"""Differences below this share of what a node should hold are left alone."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Who leads and who follows; all by address."""

    shares: Mapping[str, tuple[int, int]]
    """First and last slot of each primary."""
    replica_of: Mapping[str, str]
    together: int
    """Replicas that share a host with their primary or with another replica of it."""

    @property
    def notes(self) -> list[str]:
        """What is worth saying of it."""
        if not self.together:
            return []
        hosts = {_host(address) for address in (*self.shares, *self.replica_of)}
        if len(hosts) == 1:
            return ["warning: all nodes are on one host: when it is lost, everything is"]
        return [
            f"warning: {self.together} replica{' shares' if self.together == 1 else 's share'} a host with the primary "
            "or another replica of it: the hosts are too few or unevenly filled"
        ]


def placed(addresses: Sequence[str], replicas: int) -> Placement:
    """Return a placement of nodes: `replicas` for each primary, apart from it wherever the hosts allow that.

    Primaries are spread over the hosts too. Nodes that are left over become further replicas.
    """
    leaders = max(1, len(addresses) // (replicas + 1))
    order = _interleaved(addresses)
    primaries, rest = order[:leaders], order[leaders:]
    where = [primaries[at % leaders] for at in range(len(rest))]
    where = _apart(rest, where)
    replica_of = dict(zip(rest, where, strict=True))
    return Placement(dict(zip(primaries, even_shares(leaders), strict=True)), replica_of, _shared(rest, where))


def even_shares(count: int) -> list[tuple[int, int]]:
    """Return all slots in `count` ranges whose sizes differ by one at most, as redis-cli cuts them.

    >>> even_shares(3)
    [(0, 5460), (5461, 10922), (10923, 16383)]
    """
    ends = [round(SLOTS * nth / count) for nth in range(count + 1)]
    return [(first, last - 1) for first, last in itertools.pairwise(ends)]


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _interleaved(addresses: Sequence[str]) -> list[str]:
    """Return the addresses so that hosts take turns, the fullest host first."""
    hosts: dict[str, list[str]] = {}
    for address in addresses:
        hosts.setdefault(_host(address), []).append(address)
    queues = sorted(hosts.values(), key=len, reverse=True)
    return [queue[at] for at in range(max(map(len, queues))) for queue in queues if at < len(queue)]


def _shared(replicas: Sequence[str], where: Sequence[str]) -> int:
    """Count the replicas that share a host within their shard."""
    hosts: dict[str, Counter[str]] = {primary: Counter([_host(primary)]) for primary in where}
    for replica, primary in zip(replicas, where, strict=True):
        hosts[primary][_host(replica)] += 1
    return sum(count - 1 for shard in hosts.values() for count in shard.values())


def _apart(replicas: Sequence[str], where: Sequence[str]) -> list[str]:
    """Swap primaries between replicas as long as fewer of them share a host then."""
    best, cost = list(where), _shared(replicas, where)
    better = True
    while cost and better:
        better = False
        for one in range(len(best)):
            for other in range(one + 1, len(best)):
                if best[one] == best[other]:
                    continue
                best[one], best[other] = best[other], best[one]
                swapped = _shared(replicas, best)
                if swapped < cost:
                    cost, better = swapped, True
                else:
                    best[one], best[other] = best[other], best[one]
    return best


@dataclass(frozen=True, slots=True)
class Shard:
    """A primary and what it holds."""

    node_id: str
    address: str
    slots: tuple[int, ...]
    weight: float = 1.0
    """Its share beside the others' weights; 0: it is to be emptied."""
    values: Mapping[int, float] = field(default_factory=dict)
    """By slot what is balanced: keys, or bytes. Empty: slots count as one each."""

    def value(self, slot: int) -> float:
        """Return what a slot counts."""
        return self.values.get(slot, 0.0) if self.values else 1.0

    @property
    def total(self) -> float:
        """What all of its slots count."""
        return sum(map(self.value, self.slots)) if self.values else float(len(self.slots))


@dataclass(frozen=True, slots=True)
class Balance:
    """Moves, and what each node holds before and after them, in what is balanced."""

    moves: tuple[SlotMove, ...]
    before: Mapping[str, float]
    """By node id."""
    after: Mapping[str, float]
    wanted: Mapping[str, float]


def balanced(shards: Sequence[Shard], *, threshold_percent: float = THRESHOLD_PERCENT) -> Balance:
    """Return the moves after which every shard holds its share by weight, as far as whole slots allow.

    Nothing is moved when no shard differs by more than the threshold from what it should hold.
    """
    before = {shard.node_id: shard.total for shard in shards}
    weights = sum(shard.weight for shard in shards)
    total = sum(before.values())
    if weights <= 0:
        return Balance((), before, before, before)
    wanted = {shard.node_id: total * shard.weight / weights for shard in shards}
    if not any(_is_off(before[name], wanted[name], threshold_percent) for name in before) and not any(
        shard.weight == 0 and shard.slots for shard in shards
    ):
        return Balance((), before, before, wanted)
    measured = any(shard.values for shard in shards)
    goals = wanted if measured else _whole(wanted)
    held = dict(before)
    moves: list[SlotMove] = []
    queues = {shard.node_id: sorted(shard.slots, reverse=True) for shard in shards}
    by_id = {shard.node_id: shard for shard in shards}
    over = {shard.node_id: before[shard.node_id] - goals[shard.node_id] for shard in shards}
    givers = sorted((one for one in shards if over[one.node_id] > 0), key=lambda one: -over[one.node_id])
    takers = [one for one in shards if over[one.node_id] < 0 and one.weight > 0]
    for giver in givers:
        for taker in sorted(takers, key=lambda one: held[one.node_id] - goals[one.node_id]):
            room = goals[taker.node_id] - held[taker.node_id]
            surplus = held[giver.node_id] - goals[giver.node_id]
            taken, value = _taken(by_id[giver.node_id], queues[giver.node_id], min(room, surplus))
            if taken:
                moves.append(SlotMove(tuple(sorted(taken)), giver.node_id, taker.node_id))
                held[giver.node_id] -= value
                held[taker.node_id] += value
    moves += _emptied(shards, queues, held, goals)
    return Balance(tuple(_joined(moves)), before, held, wanted)


def _is_off(has: float, wanted: float, threshold_percent: float) -> bool:
    if wanted == 0:
        return has > 0
    return abs(has - wanted) * 100.0 / wanted > threshold_percent


def _whole(wanted: Mapping[str, float]) -> dict[str, float]:
    """Round shares to whole slots, so that they still add up."""
    floors = {name: float(int(value)) for name, value in wanted.items()}
    missing = round(sum(wanted.values()) - sum(floors.values()))
    by_rest = sorted(wanted, key=lambda name: wanted[name] - floors[name], reverse=True)
    for name in by_rest[:missing]:
        floors[name] += 1
    return floors


def _taken(giver: Shard, queue: list[int], amount: float) -> tuple[list[int], float]:
    """Take slots from the end of what a shard has until `amount` is reached as nearly as whole slots allow."""
    taken: list[int] = []
    value = 0.0
    between: list[int] = []
    for slot in queue:
        if value >= amount:
            break
        worth = giver.value(slot)
        if not worth:
            # It goes along when its neighbours on both sides do, so that ranges stay long.
            between.append(slot)
        elif value + worth <= amount + worth / 2:
            taken += [*(between if taken else ()), slot]
            value += worth
            between = []
        else:
            between = []
    gone = set(taken)
    queue[:] = [slot for slot in queue if slot not in gone]
    return taken, value


def _emptied(
    shards: Sequence[Shard], queues: Mapping[str, list[int]], held: dict[str, float], goals: Mapping[str, float]
) -> list[SlotMove]:
    """Move what is left of shards without any weight, also slots that count nothing, to those with most room."""
    moves = []
    takers = [shard for shard in shards if shard.weight > 0]
    count = {shard.node_id: len(queues[shard.node_id]) for shard in takers}
    for shard in shards:
        if shard.weight > 0 or not queues[shard.node_id] or not takers:
            continue
        for slot in list(queues[shard.node_id]):
            taker = min(takers, key=lambda one: (held[one.node_id] - goals[one.node_id], count[one.node_id]))
            worth = shard.value(slot)
            held[shard.node_id] -= worth
            held[taker.node_id] += worth
            count[taker.node_id] += 1
            moves.append(SlotMove((slot,), shard.node_id, taker.node_id))
        queues[shard.node_id].clear()
    return moves


def emptied(shard: Shard, others: Sequence[Shard]) -> list[SlotMove]:
    """Return the moves of all slots of a shard to others, so that these end up as even as may be by their weights.

    What the others hold themselves stays where it is.
    """
    takers = [other for other in others if other.weight > 0]
    if not takers or not shard.slots:
        return []
    weights = sum(other.weight for other in takers)
    total = sum(len(other.slots) for other in takers) + len(shard.slots)
    room = {one.node_id: max(0.0, total * one.weight / weights - len(one.slots)) for one in takers}
    scale = len(shard.slots) / (sum(room.values()) or 1.0)
    counts = _whole({name: value * scale for name, value in room.items()})
    slots = sorted(shard.slots)
    moves, at = [], 0
    for name, count in counts.items():
        end = at + int(count)
        if end > at:
            moves.append(SlotMove(tuple(slots[at:end]), shard.node_id, name))
        at = end
    return moves


def taken_evenly(shards: Sequence[Shard], count: int) -> list[int]:
    """Return `count` slots of several shards, from each in proportion to what it has."""
    total = sum(len(shard.slots) for shard in shards)
    counts = _whole({shard.node_id: min(count, total) * len(shard.slots) / (total or 1) for shard in shards})
    return sorted(slot for shard in shards for slot in sorted(shard.slots)[: int(counts[shard.node_id])])


def _joined(moves: Sequence[SlotMove]) -> list[SlotMove]:
    """Join moves of the same way."""
    ways: dict[tuple[str, str], list[int]] = {}
    for move in moves:
        ways.setdefault((move.source, move.target), []).extend(move.slots)
    return [SlotMove(tuple(sorted(slots)), source, target) for (source, target), slots in ways.items()]
