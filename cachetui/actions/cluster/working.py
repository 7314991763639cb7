"""The tasks of a plan for a cluster, one after the other: sent, waited for, and moved."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from cachetui.actions.cluster.looking import look, view_of
from cachetui.actions.cluster.moving import Mover
from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.nodes import at_node
from cachetui.actions.pace import Pacer
from cachetui.actions.plan import Plan
from cachetui.actions.plan.members import State
from cachetui.actions.plan.tasks import Await, Gather, Move, Send, Task
from cachetui.actions.tally import Progress, Tally
from cachetui.errors import CacheError, ServerError, StoppedPartWay, Unreachable
from cachetui.model.slots import SLOTS, slots_text

POLL_S = 0.1
"""Between two looks while waiting."""
TOLD_S = 0.05
"""Between two reports of progress."""
AGAIN_S = 15.0
"""So long a refusal that may pass is tried again."""


class Working:
    """A plan's tasks under way."""

    def __init__(
        self,
        plan: Plan,
        nodes: Nodes,
        tally: Tally,
        *,
        pacer: Pacer,
        progress: Callable[[Progress], None] | None,
        note: Callable[[], None],
        cancel: asyncio.Event | None,
    ) -> None:
        self._plan, self._nodes, self._tally = plan, nodes, tally
        self._progress = progress
        self._cancel = cancel
        self._told_at = -TOLD_S
        self._mover = Mover(
            nodes, tally, addresses_of(plan.tasks), pacer=pacer, tell=self.tell, note=note, cancel=cancel
        )

    async def run(self) -> None:
        """Do all tasks. Returns at the end, or when it was stopped: `tally.reason` says why. Raises CacheError."""
        try:
            await self._all()
        finally:
            self.tell("", last=True)

    async def _all(self) -> None:
        for task in self._plan.tasks:
            if self._cancel is not None and self._cancel.is_set():
                self._tally.reason = "cancelled"
                return
            if not await self._do(task):
                return
        self._tally.reason = self._tally.errors[0].error.line() if self._tally.errors else ""

    def tell(self, words: str, *, last: bool = False) -> None:
        """Tell how far it is, now and then; the last word in any case."""
        now = time.monotonic()
        if self._progress is not None and (last or now - self._told_at >= TOLD_S):
            self._told_at = now
            self._progress(self._tally.progress(note=words))

    async def _do(self, task: Task) -> bool:
        """Do one task; tell whether the next may follow."""
        if isinstance(task, Send):
            return await self._send(task)
        if isinstance(task, Await):
            return await self._await(task)
        if isinstance(task, Gather):
            await self._mover.gather(task)
        else:
            assert isinstance(task, Move)
            await self._mover.move(task)
        return not self._tally.reason or self._tally.reason == "interrupted"

    async def _send(self, task: Send) -> bool:
        tally = self._tally
        tally.left -= 1
        tally.in_flight += 1
        try:
            reply = await self._tried(task)
        except CacheError as error:
            named = at_node(error, task.address)
            if isinstance(error, Unreachable) and error.detail.get("sent", True):
                raise named from error
            tally.in_flight -= 1
            tally.refused(task.command, named)
            tally.reason = named.line()
            return False
        tally.in_flight -= 1
        if isinstance(reply, CacheError) and any(words in reply.message for words in task.missing):
            tally.missing += 1
            return True
        if isinstance(reply, bytes) and task.says and reply.startswith(task.says):
            reply = b"OK"
        answer = at_node(reply, task.address) if isinstance(reply, CacheError) else reply
        failed = tally.count([task.command], [answer])
        if failed:
            assert tally.last_error is not None
            tally.reason = tally.last_error.line()
        self.tell("")
        return not failed

    async def _tried(self, task: Send) -> object:
        """Send the command; where that is harmless again and again until it is not refused."""
        end = time.monotonic() + AGAIN_S
        while True:
            (reply,) = await self._nodes.ask_all(task.address, [task.command])
            if not (task.again and isinstance(reply, ServerError)) or time.monotonic() > end:
                return reply
            await asyncio.sleep(POLL_S)

    async def _await(self, task: Await) -> bool:
        """Wait for something; where it does not come in time the plan ends here."""
        addresses = task.addresses or addresses_of(self._plan.tasks)
        lacks = ""
        end = time.monotonic() + task.limit_s
        while True:
            try:
                lacks = await lacking(self._nodes, task, addresses)
            except CacheError as error:
                lacks = error.message
            if not lacks:
                return True
            self.tell(f"{task.words}: {lacks}")
            if time.monotonic() > end:
                raise StoppedPartWay(
                    f"waited {task.limit_s:.0f} s {task.words}: {lacks}", "look: cachetui cluster check"
                )
            if self._cancel is not None and self._cancel.is_set():
                self._tally.reason = f"cancelled while waiting {task.words}"
                return False
            await asyncio.sleep(POLL_S)


def addresses_of(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Return the nodes that tasks speak to."""
    found: dict[str, None] = {}
    for task in tasks:
        if isinstance(task, Send):
            found[task.address] = None
        elif isinstance(task, Await):
            found |= dict.fromkeys(task.addresses)
        else:
            found |= {task.source: None, task.target: None}
    return tuple(found)


async def lacking(nodes: Nodes, task: Await, addresses: Sequence[str]) -> str:
    """Return what is still missing of what is waited for, in words; empty when it is there. Raises CacheError."""
    wait: dict[str, Callable[[], Awaitable[str]]] = {
        "known": lambda: _unknown(nodes, addresses),
        "agree": lambda: _disagreeing(nodes, addresses),
        "primary": lambda: _not_primary(nodes, addresses[0]),
        "replica": lambda: _not_following(nodes, addresses[0], task.subject),
        "gone": lambda: _still_listed(nodes, addresses, task.subject),
        "apart": lambda: _not_alone(nodes, addresses[0]),
    }
    return await wait[task.what]()


async def _unknown(nodes: Nodes, addresses: Sequence[str]) -> str:
    views = await asyncio.gather(*(view_of(nodes, address) for address in addresses))
    everybody = {view.me.node_id for view in views}
    for view in views:
        known = {member.node_id for member in view.members if "handshake" not in member.flags and member.connected}
        if lacks := len(everybody - known):
            return f"{view.asked} does not know {lacks} of {len(everybody)} yet"
    return ""


async def _disagreeing(nodes: Nodes, addresses: Sequence[str]) -> str:
    state = await look(nodes, addresses)
    if silent := [why for address, why in state.silent.items() if address in addresses]:
        return silent[0]
    if words := differing(state):
        return words
    first, *others = state.views
    for view in others:
        if view.following() != first.following():
            return f"{first.asked} and {view.asked} disagree on who follows whom"
    for view in state.views:
        info = await nodes.ask(view.asked, "CLUSTER", "INFO")
        text = info.decode("utf-8", "replace") if isinstance(info, bytes) else str(info)
        if "cluster_state:ok" not in text:
            return f"{view.asked} does not say yet that the cluster is ok"
    return ""


def differing(state: State) -> str:
    """Return in words how the nodes' maps of slots differ; empty where they agree and every slot is served."""
    first, *others = state.views
    served = first.served()
    if len(served) < SLOTS:
        return f"{first.asked} sees {SLOTS - len(served):,} slots that nobody serves"
    for view in others:
        if (theirs := view.served()) != served:
            slots = [slot for slot in range(SLOTS) if theirs.get(slot) != served.get(slot)]
            return f"{first.asked} and {view.asked} disagree on {len(slots):,} slots: {slots_text(slots, 3)}"
    return ""


async def _not_primary(nodes: Nodes, address: str) -> str:
    view = await view_of(nodes, address)
    if not view.me.is_primary:
        return f"{address} is a replica still"
    return "" if view.me.slots else f"{address} serves no slots yet"


async def _not_following(nodes: Nodes, address: str, primary_id: str) -> str:
    role = await nodes.ask(address, "ROLE")
    view = await view_of(nodes, address)
    if view.me.primary_id != primary_id:
        return f"{address} follows somebody else"
    link = role[3] if isinstance(role, list) and len(role) > 3 else b""
    return "" if link == b"connected" else f"its link is {link.decode('ascii', 'replace') or 'down'}"


async def _still_listed(nodes: Nodes, addresses: Sequence[str], node_id: str) -> str:
    for address in addresses:
        if (await view_of(nodes, address)).find(node_id) is not None:
            return f"{address} still lists it"
    return ""


async def _not_alone(nodes: Nodes, address: str) -> str:
    return "" if len((await view_of(nodes, address)).members) == 1 else f"{address} still knows others"
