"""All nodes of a cluster, asked side by side: one that is slow or dead holds nobody up."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cachetui.errors import CacheError, TimedOut, Unreachable
from cachetui.model import ClientList, Identity, NodeFigures, SlowLog, Stats, Topology
from cachetui.source.base import Kind, Polled
from cachetui.source.redis.asking import Answer, Panel
from cachetui.source.redis.clusterwide.figures import figures_of
from cachetui.source.redis.clusterwide.sums import Sums
from cachetui.source.redis.clusterwide.telling import Teller
from cachetui.source.redis.polls import PolledServer
from cachetui.source.redis.topology.view import FAILED, ClusterView, MemberLine, parse_view
from cachetui.source.redis.topology.whole import Heard, Told, reference, whole

AT_ONCE = 32
"""So many nodes are asked at the same time."""
PATIENCE_S = 0.5
"""So long the others wait for a node that has answered so far."""
MEMBERS_S, DOUBTFUL_S = 5.0, 1.0
"""Seconds until the list of nodes is read again; and while one of them does not answer."""
ENTRIES = 512
"""Slow commands that are kept of all nodes together."""
GUIDES = 5
"""Nodes that are asked for the list when the one that told it last is silent."""

DOOR = "*"
"""The place of whichever seed of the target answers now."""

Found = TypeVar("Found")


@dataclass
class _Asked:
    """One kind of question, and the last good answer of each node."""

    panel: Panel[Any]
    last: dict[str, Any] = dataclasses.field(default_factory=dict)
    begun: bool = False


class Clusterwide:
    """Asks all nodes of a cluster, whoever they are by now.

    `at` gives the connections to the node of an address (`entry`: to the one we came by; `DOOR`: to
    any seed); `missed` is told of a node that does not answer at its address (the address, its
    hostname, its id), and may return a task that looks for it elsewhere.
    """

    def __init__(
        self,
        at: Callable[[str], PolledServer],
        *,
        entry: str,
        timeout_s: float,
        missed: Callable[[str, str, str], asyncio.Task[None] | None],
    ) -> None:
        self._at, self._entry, self._timeout_s, self._missed = at, entry, timeout_s, missed
        self._guide = entry
        self._guided: ClusterView | None = None
        self._members_at = 0.0
        self._learning: asyncio.Task[None] | None = None
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._tellers: dict[str, Teller] = {}
        self._figures: dict[str, tuple[Stats, Stats | None]] = {}
        self._sums = Sums()
        self._trouble = self._lost = False
        self._asked: dict[Kind, _Asked] = {}
        self._stuck: set[str] = set()
        """Places whose last answer did not come in time: they wait outside the gate."""
        self._entry_id = ""
        self.answering: list[str] = []
        """Places of the nodes that answered last."""

    async def close(self) -> None:
        """Stop asking; the connections are their owner's."""
        if self._learning is not None:
            self._learning.cancel()
            await asyncio.gather(self._learning, return_exceptions=True)
        for asked in self._asked.values():
            await asked.panel.close()

    async def poll(self, kind: Kind, server: Identity) -> Polled:
        """Return a new snapshot of the whole cluster; `server` is who we came by. Raises CacheError."""
        server = dataclasses.replace(server, mode="cluster", role=None, run_id=None)
        if kind == "topology":
            return await self._topology(server)
        await self._know_members()
        if kind == "stats":
            return await self._stats(server)
        return await (self._slowlog(server) if kind == "slowlog" else self._clients(server))

    # Who is there

    @property
    def members(self) -> Mapping[str, MemberLine]:
        """The nodes by id, as far as they are known."""
        return self._guided.lines if self._guided is not None else {}

    def place_of(self, line: MemberLine) -> str:
        """Return under which name `at` knows a node."""
        return self._entry if line.node_id == self._entry_id else line.address

    def is_entry(self, address: str) -> bool:
        """Tell whether the node that we came by is the one with this address."""
        line = self.members.get(self._entry_id)
        return line is not None and line.address == address

    def places(self) -> dict[str, str]:
        """Return the nodes that can be asked: their place by node id."""
        return {
            node_id: self.place_of(line)
            for node_id, line in self.members.items()
            if line.known_place or node_id == self._entry_id
        }

    async def _know_members(self) -> None:
        """Read the list of nodes when it is old. Raises CacheError while there is none at all."""
        if time.monotonic() - self._members_at < (DOUBTFUL_S if self._trouble else MEMBERS_S):
            return
        if self._learning is None or self._learning.done():
            self._learning = asyncio.create_task(self._learn(), name="nodes of the cluster")
        if self._guided is None:
            await asyncio.shield(self._learning)
        else:
            await asyncio.wait([self._learning], timeout=PATIENCE_S)
            if self._learning.done() and not self._learning.cancelled():
                self._learning.exception()  # an old list will do

    async def _learn(self) -> None:
        """Ask the guide for the list, or whoever else answers."""
        try:
            view, place = await self._view_at(self._guide), self._guide
        except Unreachable as error:
            others = [place for place in (self._entry, *self.places().values()) if place != self._guide][:GUIDES]
            answers = await asyncio.gather(*map(self._view_at, [*others, DOOR]), return_exceptions=True)
            found = [(a, p) for a, p in zip(answers, [*others, DOOR], strict=True) if isinstance(a, ClusterView)]
            if not found:
                self._members_at = time.monotonic()
                raise error
            view, place = found[0]
        if place == self._entry:
            self._entry_id = view.my_id
        if place != DOOR:
            self._guide = place
        elif view.me is not None and view.me.known_place:
            self._guide = view.me.address
        self._take(view)

    def _take(self, view: ClusterView) -> None:
        self._guided, self._members_at = view, time.monotonic()

    async def _view_at(self, place: str) -> ClusterView:
        session = self._at(place)._session
        async with session.deadline():
            return parse_view(await session.ask("lists", "CLUSTER", "NODES"))

    # Asking

    async def _round(self, kind: Kind, ask: Callable[[str], Awaitable[Found]]) -> dict[str, Answer[Found]]:
        """Ask all nodes; return what is known by now, by node id. Raises CacheError when nobody answers."""
        places = self.places()
        asked = self._asked.get(kind)
        if asked is None:
            asked = self._asked[kind] = _Asked(Panel(self._gated(ask), patience_s=PATIENCE_S))
        wanted = list(dict.fromkeys(places.values()))
        if not asked.begun:
            answers = await self._first_round(asked, ask, wanted)
        else:
            answers = await asked.panel.round(wanted)
        found: dict[str, Answer[Found]] = {node: answers[place] for node, place in places.items() if place in answers}
        errors = [answer.error for answer in found.values() if answer.error is not None]
        self._trouble = bool(errors) or len(found) < len(places)
        self._lost = len(errors) == len(found)
        self.answering = [places[node_id] for node_id, answer in found.items() if answer.error is None]
        if found and len(errors) == len(found):
            raise self._nobody(errors[0], len(found))
        if not found:
            raise TimedOut("no node of the cluster has answered yet", "they are stopped, overloaded or far away")
        return found

    async def _first_round(
        self, asked: _Asked, ask: Callable[[str], Awaitable[Found]], places: Collection[str]
    ) -> dict[str, Answer[Found]]:
        """Give all that the cluster has not given up time to be connected: who asks only once wants to hear them."""
        asked.begun = True
        held = {self.place_of(line) for line in self.members.values() if line.flags & FAILED}
        panel: Panel[Found] = Panel(self._gated(ask), patience_s=self._timeout_s + PATIENCE_S)
        well = [place for place in places if place not in held]
        early, late = await asyncio.gather(panel.round(well), asked.panel.round(held & set(places)))
        await panel.close()
        return early | late

    def _gated(self, ask: Callable[[str], Awaitable[Found]]) -> Callable[[str], Awaitable[Found]]:
        async def one(place: str) -> Found:
            try:
                async with contextlib.nullcontext() if place in self._stuck else self._gate:
                    found = await ask(place)
            except TimedOut:
                self._stuck.add(place)
                raise
            self._stuck.discard(place)
            return found

        return one

    def _nobody(self, error: CacheError, count: int) -> CacheError:
        """Return the one error for the failure of all."""
        if not isinstance(error, Unreachable) or count == 1:
            return error
        words = f"none of the {count} nodes of the cluster answers: {error.message}"
        return type(error)(words, error.hint, dict(error.detail))

    # The kinds

    async def _topology(self, server: Identity) -> Topology:
        if self._guided is None or self._lost:
            await self._know_members()
        before, first = set(self.places()), "topology" not in self._asked
        heard = await self._heard()
        view = reference([one.told.view for one in heard.values() if one.told is not None and not one.trouble])
        if view.lines:
            self._take(view)
        if set(self.places()) - before:
            heard = await self._heard()  # somebody knew more nodes than the guide did
        sought = self._seek([node_id for node_id, one in heard.items() if one.trouble])
        if sought and first:
            # Who looks only once wants to see also those that are not where the cluster says.
            await asyncio.wait(sought, timeout=self._timeout_s)
            heard = await self._heard()
        assert self._guided is not None
        return whole(heard, self._guided, here=self._entry_id, server=server, taken_at=time.time())

    def _seek(self, silent: Collection[str]) -> list[asyncio.Task[None]]:
        lines = [self.members[node_id] for node_id in silent if node_id in self.members and node_id != self._entry_id]
        sought = [self._missed(line.address, line.hostname, line.node_id) for line in lines if not line.flags & FAILED]
        return [task for task in sought if task is not None]

    async def _heard(self) -> dict[str, Heard]:
        """Return what each node said now, or said last."""
        found = await self._round("topology", self._tell)
        last: dict[str, Told] = self._asked["topology"].last
        heard = {}
        for node_id, answer in found.items():
            if answer.found is not None:
                if answer.found.view.my_id not in ("", node_id):
                    heard[node_id] = Heard(last.get(node_id), "another node answers at its address")
                    continue
                last[node_id] = answer.found
            heard[node_id] = Heard(last.get(node_id), answer.error.message if answer.error is not None else "")
        for node_id in self.places().keys() - found.keys():
            heard[node_id] = Heard(last.get(node_id), "no answer yet")
        return heard

    async def _tell(self, place: str) -> Told:
        node = self._at(place)
        teller = self._tellers.get(place)
        if teller is None or teller.node is not node:
            teller = self._tellers[place] = Teller(node)
        return await teller.tell()

    async def _stats(self, server: Identity) -> Stats:
        found = await self._round("stats", self._one_stats)
        for node_id, answer in found.items():
            stats, before = answer.found, self._figures.get(node_id)
            if stats is not None and (before is None or stats is not before[0]):
                self._figures[node_id] = (stats, before[0] if before else None)
        self._figures = {node_id: two for node_id, two in self._figures.items() if node_id in self.members}
        known = {node_id: two[0] for node_id, two in self._figures.items()}
        nodes = [self._node_figures(node_id, found.get(node_id)) for node_id in self.places()]
        versions = sorted({stats.server.version for stats in known.values() if stats.server.version})
        denied = {name for answer in found.values() if answer.found is not None for name in answer.found.denied}
        return self._sums.add(
            known,
            [node_id for node_id, stats in known.items() if self._counts(node_id, stats)],
            server=dataclasses.replace(server, version=", ".join(versions) or server.version),
            taken_at=time.time(),
            nodes=sorted(nodes, key=lambda one: one.address),
            denied=tuple(sorted(denied)),
        )

    def _node_figures(self, node_id: str, answer: Answer[Stats] | None) -> NodeFigures:
        """Return the newest figures of one node, and why there are no newer ones."""
        line = self.members[node_id]
        trouble = "no answer yet" if answer is None else answer.error.message if answer.error is not None else ""
        if node_id not in self._figures:
            return NodeFigures(line.address, line.role, node_id, trouble=trouble)
        figures = figures_of(*self._figures[node_id])
        return dataclasses.replace(figures, address=line.address, node_id=node_id, trouble=trouble)

    def _counts(self, node_id: str, stats: Stats) -> bool:
        """Tell whether a node's figures belong in the sums: it is a primary, and the others hold it for alive."""
        line = self.members.get(node_id)
        return stats.server.role == "primary" and (line is None or "fail" not in line.flags)

    async def _one_stats(self, place: str) -> Stats:
        polled = await self._at(place).poll("stats")
        assert isinstance(polled, Stats)
        return polled

    async def _slowlog(self, server: Identity) -> SlowLog:
        async def ask(place: str) -> SlowLog:
            polled = await self._at(place).poll("slowlog")
            assert isinstance(polled, SlowLog)
            return polled

        found = await self._round("slowlog", ask)
        logs = {node_id: answer.found for node_id, answer in found.items() if answer.found is not None}
        entries = [
            dataclasses.replace(entry, node=self.members[node_id].address)
            for node_id, log in logs.items()
            for entry in log.entries
        ]
        entries.sort(key=lambda entry: entry.at, reverse=True)
        totals = [log.total for log in logs.values() if log.total is not None]
        thresholds = [log.threshold_us for log in logs.values() if log.threshold_us is not None]
        return SlowLog(
            time.time(),
            server,
            tuple(entries[:ENTRIES]),
            sum(totals) if totals else None,
            min(thresholds, default=None),
            note=self._silent(found),
        )

    async def _clients(self, server: Identity) -> ClientList:
        async def ask(place: str) -> ClientList:
            polled = await self._at(place).poll("clients")
            assert isinstance(polled, ClientList)
            return polled

        found = await self._round("clients", ask)
        clients = tuple(
            dataclasses.replace(client, node=self.members[node_id].address)
            for node_id, answer in found.items()
            if answer.found is not None
            for client in answer.found.clients
        )
        return ClientList(time.time(), server, clients, len(clients), note=self._silent(found))

    def _silent(self, found: Mapping[str, Answer[Found]]) -> str:
        """Return who is missing, as a sentence; empty: nobody."""
        missing = [
            self.members[node_id].address
            for node_id in self.places()
            if node_id not in found or found[node_id].error is not None
        ]
        if not missing:
            return ""
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        return f"without {', '.join(sorted(missing)[:3])}{more}: no answer"
