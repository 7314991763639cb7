"""A new cluster of empty servers: they are looked at, placed, and made to know each other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from cachetui.actions.apply import apply
from cachetui.actions.cluster.looking import knows, view_of
from cachetui.actions.cluster.nodes import Nodes, address_in
from cachetui.actions.guard import Guard
from cachetui.actions.journal import Journal
from cachetui.actions.plan import Plan
from cachetui.actions.plan.cluster import NewNode, plan_create
from cachetui.actions.tally import Outcome, Progress
from cachetui.analysis.layout import placed
from cachetui.errors import BadUsage, CacheError, Denied, Refused, Unreachable, Unsupported
from cachetui.model import Identity


async def create_cluster(
    addresses: Sequence[str],
    *,
    replicas: int,
    nodes: Nodes,
    journal: Journal,
    guard: Guard | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancel: asyncio.Event | None = None,
) -> Outcome:
    """Make one cluster of the empty servers at `addresses` (`host:port`), with `replicas` for each primary.

    `nodes` connects to them: `Nodes(target, make_source)`, with the user, password and TLS of
    any target. Returns when all nodes agree, or says in the outcome why they do not. Raises
    CacheError before anything is sent when a server is not fit for it.
    """
    plan = await planned(addresses, replicas=replicas, nodes=nodes)
    source = nodes.at(addresses[0])
    return await apply(
        plan,
        source,
        journal=journal,
        guard=guard or Guard(read_only=False),
        progress=progress,
        cancel=cancel,
        nodes=nodes,
    )


async def planned(addresses: Sequence[str], *, replicas: int, nodes: Nodes) -> Plan:
    """Look at the servers and plan a cluster of them. Raises CacheError, with all that is wrong."""
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise BadUsage(f"the same node twice: {', '.join(twice)}", "name each node once")
    if not addresses:
        raise BadUsage("no nodes are named", "cachetui cluster create HOST:PORT HOST:PORT HOST:PORT --replicas 0")
    found = await asyncio.gather(*(new_node(nodes, address) for address in addresses), return_exceptions=True)
    wrong: list[CacheError] = []
    fit: list[NewNode] = []
    for one in found:
        if isinstance(one, NewNode):
            fit.append(one)
        elif isinstance(one, CacheError):
            wrong.append(one)
        else:
            raise one
    if wrong:
        unreachable = [error for error in wrong if isinstance(error, Unreachable)]
        kind = type(unreachable[0]) if unreachable else type(wrong[0])
        raise kind("; ".join(error.message for error in wrong), wrong[0].hint)
    same = {node.node_id for node in fit}
    if len(same) < len(fit):
        raise BadUsage("two of the addresses are the same server", "name each node once")
    placement = placed(addresses, replicas)
    first = nodes.at(addresses[0])
    identity = first.identity or await first.open()
    return plan_create(identity, first.name, fit, placement.shares, placement.replica_of, notes=placement.notes)


async def new_node(nodes: Nodes, address: str) -> NewNode:
    """Return what a server is, if it may become a node of a cluster. Raises CacheError that names it."""
    source = nodes.at(address)
    identity = source.identity or await source.open()
    check_fit(identity, address)
    view = await view_of(nodes, address)
    others = [member for member in view.members if member is not view.me]
    if others or view.me.slots:
        raise Refused(
            f"{address} is a node of a cluster already: it knows {len(others)} others and serves "
            f"{len(view.me.slots)} slots",
            "take it out of there first: cachetui cluster remove",
        )
    keys = await nodes.ask(address, "DBSIZE")
    if keys != 0:
        raise Refused(f"{address} is not empty: it holds {keys} keys", "keys would be lost or unreachable: empty it")
    return NewNode(
        address,
        view.me.node_id,
        await asyncio.to_thread(_as_met, address),
        identity.kind,
        identity.version or "unknown",
        await _bus_port(nodes, address),
        view.me.epoch,
        await knows(nodes, address, "ADDSLOTSRANGE"),
    )


def check_fit(identity: Identity, address: str) -> None:
    """Raise Unsupported unless the server was started as a node."""
    if identity.kind == "memcached":
        raise Unsupported(f"{address} is Memcached", "only Redis and Valkey make clusters")
    if identity.mode != "cluster":
        raise Unsupported(f"{address} is no cluster node", "start it with cluster-enabled yes")
    if identity.role == "replica":
        raise Refused(f"{address} is a replica already", "take it out of there first: cachetui cluster remove")


def _as_met(address: str) -> str:
    """Return an address with its name resolved. Raises Unreachable."""
    known = address_in(address)
    try:
        found = socket.getaddrinfo(known.host, known.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(f"unknown host {known.host}", "check the name, or the resolver of this machine") from error
    # Of a name with several the one of the older protocol: nodes listen there by default.
    hosts = sorted((family != socket.AF_INET, str(where[0])) for family, _, _, _, where in found)
    host = hosts[0][1]
    return f"[{host}]:{known.port}" if ":" in host else f"{host}:{known.port}"


async def _bus_port(nodes: Nodes, address: str) -> int:
    try:
        ports = await nodes.at(address).config("cluster-port")
    except (Denied, Unsupported):
        return 0
    port = ports.get("cluster-port", "")
    return int(port) if port.isdigit() else 0
