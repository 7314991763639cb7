"""A rebalance thought through: what every primary holds is counted, and the moves are planned."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from cachetui.actions.cluster.looking import keys_by_slot, knows, look
from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.cluster.verifying import heir_of
from cachetui.actions.plan import Plan
from cachetui.actions.plan.members import Member, State
from cachetui.actions.plan.rebalance import check_whole, cut_moves, move_tasks, plan_moves
from cachetui.actions.plan.tasks import PIPELINE, Engine
from cachetui.analysis.layout import THRESHOLD_PERCENT, Shard, balanced, taken_evenly
from cachetui.errors import BadUsage, Refused
from cachetui.model import Identity, SlotMove
from cachetui.model.slots import counted_slots, slots_text
from cachetui.text import size

By = Literal["slots", "keys", "memory"]
BYS: tuple[By, ...] = get_args(By)
"""What can be balanced."""
NEARLY_FULL = 0.95
LOOKS, LOOK_S = 10, 0.3
"""News takes a moment to reach every node."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How to move slots."""

    by: By = "slots"
    weights: Mapping[str, float] = field(default_factory=dict)
    """By a node's address or the beginning of its id; others weigh 1, and 0 empties a node."""
    threshold_percent: float = THRESHOLD_PERCENT
    empty: bool = False
    """Primaries without slots get some too."""
    classic: bool = False
    """Key by key, also where the server has a way of its own."""
    replace: bool = False
    pipeline: int = PIPELINE


@dataclass(frozen=True, slots=True)
class Held:
    """What a primary holds."""

    keys: int | None
    data_bytes: int | None
    used_bytes: int | None
    limit_bytes: int | None


async def whole_state(nodes: Nodes) -> State:
    """Look at the cluster and raise Refused where its nodes do not agree, also after a moment. Raises CacheError."""
    for _ in range(LOOKS):
        state = await look(nodes, [str(address) for address in nodes.target.addresses])
        try:
            check_whole(state)
            return state
        except Refused as error:
            if not error.detail.get("passing"):
                raise
            refused = error
        await asyncio.sleep(LOOK_S)
    raise refused


async def plan_rebalance(nodes: Nodes, identity: Identity, name: str, wishes: Wishes) -> Plan:
    """Plan the moves after which every primary holds its share. Raises CacheError; Refused where nothing is to do."""
    state = await whole_state(nodes)
    cut = cut_moves(state)
    weights = named_weights(state, wishes.weights)
    held = await held_by(nodes, state)
    shards = await _shards(nodes, state, held, wishes=wishes, weights=weights, slots=_after(state, cut))
    balance = balanced(shards, threshold_percent=wishes.threshold_percent)
    moves = [*cut, *balance.moves]
    if not moves:
        raise Refused(
            f"nothing to do: no primary is more than {wishes.threshold_percent:g} % off its share of {wishes.by}",
            "a lower --threshold moves more; --empty gives slots to primaries without any",
            {"nothing": True},
        )
    notes = [f"balanced by {wishes.by}" + (f", from {wishes.threshold_percent:g} % on" if balance.moves else "")]
    if wishes.by == "memory":
        notes.append("memory is estimated: the keys of a slot times what a key of that node takes on average")
    notes += [f"{state.members[name].address} weighs {weight:g}" for name, weight in weights.items()]
    notes += _cut_lines(cut, state)
    return await _planned(nodes, identity, name, state, moves, held=held, wishes=wishes, notes=notes, title="Rebalance")


async def plan_move(
    nodes: Nodes, identity: Identity, name: str, slots: Sequence[int], *, to: str, wishes: Wishes, undoes: str = ""
) -> Plan:
    """Plan to move these slots to one primary, from wherever they are. Raises CacheError."""
    state = await whole_state(nodes)
    target = primary_named(state, to)
    ways: dict[str, list[int]] = {}
    owners = state.owners()
    for slot in slots:
        if owners[slot][0] != target.node_id:
            ways.setdefault(owners[slot][0], []).append(slot)
    if not ways:
        raise Refused(f"nothing to do: {target.address} serves these slots already", "", {"nothing": True})
    moves = [SlotMove(tuple(some), source, target.node_id) for source, some in ways.items()]
    held = await held_by(nodes, state)
    title = f"Move {counted_slots([slot for move in moves for slot in move.slots])} to {target.address}"
    return await _planned(
        nodes, identity, name, state, moves, held=held, wishes=wishes, notes=[], title=title, undoes=undoes
    )


async def slots_from(nodes: Nodes, count: int, *, to: str, givers: Sequence[str] = ()) -> list[int]:
    """Return `count` slots evenly of `givers`, or of all primaries but `to`. Raises CacheError."""
    state = await whole_state(nodes)
    target = primary_named(state, to)
    chosen = [primary_named(state, words) for words in givers] or state.primaries
    shards = [Shard(one.node_id, one.address, tuple(one.slots)) for one in chosen if one.node_id != target.node_id]
    slots = taken_evenly(shards, count)
    if len(slots) < count:
        raise BadUsage(f"there are only {len(slots):,} slots to take", "ask for fewer")
    return slots


async def plan_back(
    nodes: Nodes,
    identity: Identity,
    name: str,
    moves: Sequence[tuple[Sequence[int], str, str]],
    *,
    title: str,
    undoes: str,
) -> Plan:
    """Plan to move slots back; `moves` are slots and the ids from where to where they went. Raises CacheError."""
    state = await whole_state(nodes)
    owners = state.owners()
    back: dict[tuple[str, str], list[int]] = {}
    alone: list[int] = []
    for slots, source_id, target_id in moves:
        home = leader(state, source_id)
        away = state.answering.get(heir_of(state, target_id, slots))
        for slot in slots:
            if home is None or away is None or owners[slot] != [away.node_id]:
                alone.append(slot)
            elif home.node_id != away.node_id:
                back.setdefault((away.node_id, home.node_id), []).append(slot)
    if not back:
        raise Refused("none of these slots is where it was moved to, or where it came from is gone", "nothing was sent")
    notes = (
        [f"{counted_slots(alone)} stay: moved again since, or where they came from is gone: {slots_text(alone, 5)}"]
        if alone
        else []
    )
    wanted = [SlotMove(tuple(slots), *way) for way, slots in back.items()]
    held = await held_by(nodes, state)
    return await _planned(
        nodes, identity, name, state, wanted, held=held, wishes=Wishes(), notes=notes, title=title, undoes=undoes
    )


async def _planned(
    nodes: Nodes,
    identity: Identity,
    name: str,
    state: State,
    moves: Sequence[SlotMove],
    *,
    held: Mapping[str, Held],
    wishes: Wishes,
    notes: Sequence[str],
    title: str,
    undoes: str = "",
) -> Plan:
    engines = await engines_of(nodes, state, moves, wishes)
    counts = await _counted(nodes, state, {move.source: _sources(moves, move.source) for move in moves})
    tasks = move_tasks(state, moves, engines, replace=wishes.replace, pipeline=wishes.pipeline)
    return plan_moves(
        identity,
        name,
        title,
        state,
        tasks,
        keys={node_id: about.keys for node_id, about in held.items()},
        moved_keys=counts,
        notes=[*notes, *_no_room(state, moves, held, counts)],
        undoes=undoes,
    )


def _sources(moves: Sequence[SlotMove], source: str) -> list[int]:
    return sorted(slot for move in moves if move.source == source for slot in move.slots)


async def engines_of(nodes: Nodes, state: State, moves: Sequence[SlotMove], wishes: Wishes) -> dict[str, Engine]:
    """Return how each node that gives moves its slots: by itself where it can, unless they are open already."""
    sources = dict.fromkeys(move.source for move in moves)
    opened = {slot for slot, _ in state.open_slots()}
    if wishes.classic or any(slot in opened for move in moves for slot in move.slots):
        return dict.fromkeys(sources, "classic")
    own = await asyncio.gather(*(knows(nodes, state.members[source].address, "MIGRATESLOTS") for source in sources))
    return {source: "atomic" if able else "classic" for source, able in zip(sources, own, strict=True)}


def primary_named(state: State, words: str) -> Member:
    """Return the primary that is meant. Raises BadUsage."""
    member = state.named(words)
    if member is None:
        some = ", ".join(sorted(one.address for one in state.members.values() if one.address))
        raise BadUsage(f"no node is called {words}", f"an address or the beginning of an id; there are {some}")
    if not member.is_primary:
        raise BadUsage(f"{member.address} is a replica", "slots belong to primaries")
    return member


def leader(state: State, node_id: str) -> Member | None:
    """Return the primary of the shard that a node is in now."""
    member = state.members.get(node_id)
    if member is not None and not member.is_primary:
        member = state.members.get(member.primary_id)
    return member if member is not None and member.node_id in state.answering else None


def named_weights(state: State, weights: Mapping[str, float]) -> dict[str, float]:
    """Return weights by node id. Raises BadUsage."""
    return {primary_named(state, words).node_id: weight for words, weight in weights.items()}


async def held_by(nodes: Nodes, state: State) -> dict[str, Held]:
    """Return what each primary holds, by node id. What is not told is None."""

    async def one(address: str) -> Held:
        size_, memory = await nodes.ask_all(address, [(b"DBSIZE",), (b"INFO", b"memory")])
        text = memory.decode("utf-8", "replace") if isinstance(memory, bytes) else str(memory)
        fields = {
            match[1]: int(match[2])
            for match in re.finditer(r"^(used_memory|used_memory_dataset|maxmemory):(\d{1,18})\r?$", text, re.MULTILINE)
        }
        keys = size_ if isinstance(size_, int) else None
        return Held(keys, fields.get("used_memory_dataset"), fields.get("used_memory"), fields.get("maxmemory"))

    primaries = state.primaries
    found = await asyncio.gather(*(one(member.address) for member in primaries))
    return {member.node_id: about for member, about in zip(primaries, found, strict=True)}


def _after(state: State, cut: Sequence[SlotMove]) -> dict[str, tuple[int, ...]]:
    """Return the slots of each primary when moves that were cut are finished."""
    slots = {member.node_id: set(member.slots) for member in state.primaries}
    for move in cut:
        slots[move.source] -= set(move.slots)
        slots[move.target] |= set(move.slots)
    return {name: tuple(sorted(some)) for name, some in slots.items()}


async def _shards(
    nodes: Nodes,
    state: State,
    held: Mapping[str, Held],
    *,
    wishes: Wishes,
    weights: Mapping[str, float],
    slots: Mapping[str, tuple[int, ...]],
) -> list[Shard]:
    taking = [
        member for member in state.primaries if wishes.empty or slots[member.node_id] or weights.get(member.node_id)
    ]
    values: dict[str, dict[int, float]] = {}
    if wishes.by != "slots":
        now = {member.node_id: sorted(member.slots) for member in state.primaries if member.slots}
        counts = await _counted(nodes, state, now)
        for member in taking:
            each = 1.0 if wishes.by == "keys" else _key_bytes(held[member.node_id], member)
            values[member.node_id] = {slot: counts.get(slot, 0) * each for slot in slots[member.node_id]}
    return [
        Shard(
            member.node_id,
            member.address,
            slots[member.node_id],
            weights.get(member.node_id, 1.0),
            values.get(member.node_id, {}),
        )
        for member in taking
    ]


def _key_bytes(held: Held, member: Member) -> float:
    """Return what a key of this node takes on average."""
    if held.keys is None or held.data_bytes is None:
        raise Refused(f"{member.address} does not tell how much memory its keys take", "balance by keys or by slots")
    return held.data_bytes / held.keys if held.keys else 0.0


async def _counted(nodes: Nodes, state: State, slots: Mapping[str, Sequence[int]]) -> dict[int, int]:
    """Return the keys of slots, asked of the nodes that serve them (by id)."""
    members = state.members
    found = await asyncio.gather(
        *(keys_by_slot(nodes, members[node_id].address, some) for node_id, some in slots.items())
    )
    return {slot: count for counts in found for slot, count in counts.items()}


def _cut_lines(cut: Sequence[SlotMove], state: State) -> list[str]:
    members = state.members
    return [
        f"first the move of {counted_slots(move.slots)} ({slots_text(move.slots, 5)}) from "
        f"{members[move.source].address} to {members[move.target].address} is finished: it was cut half-way"
        for move in cut
    ]


def _no_room(state: State, moves: Sequence[SlotMove], held: Mapping[str, Held], counts: Mapping[int, int]) -> list[str]:
    """Warn of nodes whose memory would not do."""
    lines = []
    for member in state.primaries:
        about = held[member.node_id]
        comes = 0.0
        for move in moves:
            if move.target == member.node_id:
                source = held[move.source]
                each = source.data_bytes / source.keys if source.data_bytes and source.keys else 0.0
                comes += each * sum(counts.get(slot, 0) for slot in move.slots)
        if about.limit_bytes and about.used_bytes is not None:
            then = about.used_bytes + comes
            if comes and then > NEARLY_FULL * about.limit_bytes:
                lines.append(
                    f"warning: {member.address} would use about {size(then)} of {size(about.limit_bytes)}: "
                    "it would evict keys, or refuse them and the move would stop"
                )
    return lines
