"""Plans for a cluster as it is right now: looked at, counted where there is doubt, and handed to the pure planners."""

from __future__ import annotations

import asyncio

from cachetui.actions.cluster.balancing import Wishes, engines_of, held_by, named_weights, whole_state
from cachetui.actions.cluster.creating import new_node
from cachetui.actions.cluster.looking import keys_by_slot, look
from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.plan import Plan
from cachetui.actions.plan.fixing import doubtful, plan_fix
from cachetui.actions.plan.members import State
from cachetui.actions.plan.membership import (
    Force,
    fewest_followed,
    named,
    plan_add,
    plan_failover,
    plan_forget,
    plan_remove,
)
from cachetui.actions.plan.rebalance import cut_moves, move_tasks
from cachetui.analysis.layout import Shard, emptied
from cachetui.errors import Refused
from cachetui.model import Identity


async def seen(nodes: Nodes) -> State:
    """Look at the cluster, whatever state it is in. Raises CacheError."""
    return await look(nodes, [str(address) for address in nodes.target.addresses])


async def fix_planned(
    nodes: Nodes, identity: Identity, name: str, *, replace_keys: bool = False, give_up_failed: bool = False
) -> Plan:
    """Plan what mends the slots. Raises CacheError; Refused where nothing is to be mended."""
    state = await seen(nodes)
    slots = doubtful(state)
    primaries = state.primaries
    found = await asyncio.gather(*(keys_by_slot(nodes, member.address, slots) for member in primaries))
    counts = {
        slot: {member.node_id: held[slot] for member, held in zip(primaries, found, strict=True)} for slot in slots
    }
    return plan_fix(identity, name, state, counts, replace=replace_keys, give_up_failed=give_up_failed)


async def failover_planned(nodes: Nodes, identity: Identity, name: str, replica: str, force: Force = "") -> Plan:
    """Plan that a replica takes over. Raises CacheError."""
    state = await seen(nodes)
    return plan_failover(identity, name, state, named(state, replica), force)


async def add_planned(
    nodes: Nodes, identity: Identity, name: str, address: str, *, replica: bool = False, primary: str = ""
) -> Plan:
    """Plan that the empty node at `address` joins; with `replica` it follows `primary`, or who needs it most."""
    state = await seen(nodes)
    new = await new_node(nodes, address)
    leader = None
    if primary:
        leader = named(state, primary)
    elif replica:
        leader = fewest_followed(state, address.rpartition(":")[0])
    return plan_add(identity, name, state, new, leader)


async def remove_planned(nodes: Nodes, identity: Identity, name: str, words: str, wishes: Wishes) -> Plan:
    """Plan that a node leaves; the slots of a primary go to the others evenly. Raises CacheError."""
    state = await seen(nodes)
    member = named(state, words)
    if not member.slots or member.node_id not in state.answering:
        return plan_remove(identity, name, state, member, ())
    state = await whole_state(nodes)
    if cut_moves(state):
        raise Refused("a move of slots was cut half-way", "finish it first: cachetui cluster fix")
    weights = {**named_weights(state, wishes.weights), member.node_id: 0.0}
    shards = [
        Shard(one.node_id, one.address, tuple(sorted(one.slots)), weights.get(one.node_id, 1.0))
        for one in state.primaries
        if one.slots or weights.get(one.node_id)
    ]
    own = next(shard for shard in shards if shard.node_id == member.node_id)
    moves = emptied(own, [shard for shard in shards if shard is not own])
    if not moves:
        raise Refused(f"{member.address} is the only primary with slots", "nobody is there to take them")
    engines = await engines_of(nodes, state, moves, wishes)
    tasks = move_tasks(state, moves, engines, replace=wishes.replace, pipeline=wishes.pipeline)
    held = await held_by(nodes, state)
    keys = held[member.node_id].keys
    return plan_remove(
        identity, name, state, member, tasks, notes=[f"it holds {keys:,} keys"] if keys is not None else []
    )


async def forget_planned(nodes: Nodes, identity: Identity, name: str, words: str) -> Plan:
    """Plan that all forget a node that is gone. Raises CacheError."""
    state = await seen(nodes)
    return plan_forget(identity, name, state, named(state, words))
