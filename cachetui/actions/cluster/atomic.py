"""Slots that the server moves itself, all or none of a job: CLUSTER MIGRATESLOTS of Valkey 9."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cachetui.actions.cluster.following import Way
from cachetui.actions.cluster.keys import Passing
from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.plan.tasks import slot_words
from cachetui.errors import CacheError, ServerError, StoppedPartWay, Unreachable
from cachetui.model.slots import counted_slots, slots_in
from cachetui.text import printable

JOB = 256
"""Slots in one job: it is the step between which a rebalance is stopped and resumed."""
POLL_S = 0.05
TRIES = 3
ENDED = frozenset(("success", "failed", "cancelled", "canceled"))


@dataclass(frozen=True, slots=True)
class Job:
    """One entry of CLUSTER GETSLOTMIGRATIONS."""

    name: str
    state: str
    slots: frozenset[int]
    target_id: str
    message: str
    exported: bool

    @property
    def is_active(self) -> bool:
        """It has not ended."""
        return self.state not in ENDED


async def move_atomically(
    nodes: Nodes, way: Way, slots: Sequence[int], *, tell: Callable[[str], None], stopped: Callable[[], bool]
) -> list[int]:
    """Move the first of `slots` as one job, and return them when they have arrived.

    Stopped, the job is cancelled: then all of its slots are where they were, and none is
    returned. Raises Passing, StoppedPartWay, CacheError.
    """
    some = list(slots[:JOB])
    last = ""
    for _ in range(TRIES):
        name = await _begun(nodes, way, some)
        job = await _ended(nodes, way, name, tell=tell, stopped=stopped, count=len(some))
        if job.state == "success":
            return some
        if stopped():
            return []
        last = job.message or job.state
        await _answering(nodes, way)
    raise StoppedPartWay(
        f"{way.source.address} could not move {counted_slots(some)} to {way.target.address}: {last}",
        "nothing of the job was moved; --classic moves key by key",
    )


async def _answering(nodes: Nodes, way: Way) -> None:
    """Raise Passing where one of the ends does not answer: the job failed for that, and will again."""
    for address in (way.source.address, way.target.address):
        try:
            role = await nodes.ask(address, "ROLE")
        except CacheError as error:
            raise Passing(error) from error
        if isinstance(role, list) and role and role[0] not in (b"master", b"primary"):
            raise Passing(ServerError(f"{address} is a replica now"))


async def _begun(nodes: Nodes, way: Way, slots: Sequence[int]) -> str:
    """Begin a job, or find the one that is at it already; return its name."""
    target = way.target.node_id.encode()
    before = {job.name for job in await jobs(nodes, way.source.address)}
    words = (b"CLUSTER", b"MIGRATESLOTS", b"SLOTSRANGE", *slot_words(slots), b"NODE", target)
    (reply,) = await nodes.ask_all(way.source.address, [words])
    wanted = frozenset(slots)
    now = await jobs(nodes, way.source.address)
    if isinstance(reply, CacheError):
        at_it = next((job for job in now if job.is_active and job.exported and job.slots & wanted), None)
        if at_it is None or at_it.target_id != way.target.node_id:
            if isinstance(reply, Unreachable) or any(word in reply.message for word in _MAY_PASS):
                raise Passing(reply)
            raise StoppedPartWay(f"{way.source.address}: {reply.message}", reply.hint or "--classic moves key by key")
        if at_it.slots != wanted:
            raise StoppedPartWay(
                f"{way.source.address} is at work on these slots already ({at_it.state})", "wait for its end"
            )
        return at_it.name
    for job in now:
        if job.name not in before and job.exported and job.slots == wanted:
            return job.name
    raise ServerError(f"{way.source.address} does not list the migration that it has begun", "look: cluster check")


_MAY_PASS = ("not served", "not owned", "not the owner", "unknown node", "Unknown node", "replica", "primary", "master")


async def _ended(
    nodes: Nodes,
    way: Way,
    name: str,
    *,
    tell: Callable[[str], None],
    stopped: Callable[[], bool],
    count: int,
) -> Job:
    """Wait for the end of a job; when stopped, end it, if it is the only one there."""
    cancelled = False
    began = time.monotonic()
    while True:
        now = await jobs(nodes, way.source.address)
        job = next((one for one in now if one.name == name), None)
        if job is None:
            raise Passing(ServerError(f"{way.source.address} has forgotten its migration: it was restarted"))
        if not job.is_active:
            return job
        tell(f"{count} slots from {way.source.address} to {way.target.address}: {job.state}")
        if stopped() and not cancelled and sum(one.is_active and one.exported for one in now) == 1:
            cancelled = True  # the command knows no names: with other jobs there, ours is let to its end
            await nodes.ask(way.source.address, "CLUSTER", "CANCELSLOTMIGRATIONS", "ALL")
        await asyncio.sleep(POLL_S if time.monotonic() - began < 5 else 5 * POLL_S)


async def jobs(nodes: Nodes, address: str) -> list[Job]:
    """Return the migrations that a node knows of. Raises CacheError."""
    reply = await nodes.ask(address, "CLUSTER", "GETSLOTMIGRATIONS")
    return [job for entry in (reply if isinstance(reply, list) else []) if (job := _job(entry)) is not None]


def _job(entry: object) -> Job | None:
    if isinstance(entry, dict):
        about = {_text(name): _text(value) for name, value in entry.items()}
    elif isinstance(entry, list):
        about = {_text(name): _text(value) for name, value in zip(entry[::2], entry[1::2], strict=False)}
    else:
        return None
    try:
        slots = frozenset(slots_in(about.get("slot_ranges", "").replace(" ", ",")))
    except ValueError:
        return None
    exported = about.get("operation", "").upper() == "EXPORT"
    target, message = about.get("target_node", ""), about.get("message", "")
    return Job(about.get("name", ""), about.get("state", "").lower(), slots, target, message, exported)


def _text(value: object) -> str:
    return printable(value if isinstance(value, bytes) else str(value), 1_000_000)
