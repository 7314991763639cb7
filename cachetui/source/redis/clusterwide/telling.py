"""What one node of a cluster is asked: its view of the others, its figures, a few settings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from cachetui.errors import CacheError
from cachetui.model import HotSlot, Stats
from cachetui.source.redis import info as info_text
from cachetui.source.redis.clusterwide.figures import figures_of
from cachetui.source.redis.connection import Argument
from cachetui.source.redis.info import Info, parse_info
from cachetui.source.redis.polls import PolledServer
from cachetui.source.redis.replies import as_int, as_list, as_map, as_text
from cachetui.source.redis.topology.view import parse_view
from cachetui.source.redis.topology.whole import HOT_SLOTS, Told
from cachetui.source.redis.topology.words import as_text_lines

SETTINGS = (
    *("maxmemory", "maxmemory-policy", "cluster-node-timeout", "cluster-require-full-coverage", "appendonly"),
    *("cluster-replica-validity-factor", "cluster-migration-barrier", "cluster-allow-reads-when-down", "save"),
    *("min-replicas-to-write", "maxclients", "timeout", "cluster-slot-stats-enabled"),
)
"""Those that ought to be the same on every node."""
SETTINGS_S = 30.0
"""They are asked again after so long."""
SLOTS_S = 30.0
"""The hottest slots too: to sort all of them costs the server milliseconds."""
_SECTIONS = ("server", "clients", "memory", "persistence", "stats", "replication", "cpu", "keyspace")
_SLOT_STATS = "cluster|slot-stats"
_COUNTING = "cluster-slot-stats-enabled"


class Teller:
    """Asks one node again and again, and remembers what need not be asked each time."""

    def __init__(self, node: PolledServer) -> None:
        self.node = node
        self._last: Stats | None = None
        self._settings: tuple[tuple[str, str], ...] = ()
        self._settings_at = -SETTINGS_S
        self._slots: dict[int, HotSlot] = {}
        self._hottest: tuple[HotSlot, ...] = ()
        self._slots_at, self._slots_told = -SLOTS_S, 0.0

    async def tell(self) -> Told:
        """Return what the node says now. Raises CacheError when it does not answer, or not even CLUSTER NODES."""
        session = self.node._session
        async with session.deadline():
            server = await self.node._server("lists")
            settings_due = time.monotonic() - self._settings_at >= SETTINGS_S
            sections = _SECTIONS if self.node._several_sections() else ("all",)
            questions: list[Sequence[Argument]] = [("CLUSTER", "NODES"), ("CLUSTER", "INFO"), ("INFO", *sections)]
            asked = self._setting_questions() if settings_due else []
            hot = self._slot_questions()
            replies = await session.ask_all("lists", [*questions, *asked, *hot])
        nodes, about, info_reply = replies[:3]
        if isinstance(nodes, CacheError):
            raise nodes
        info = Info() if isinstance(info_reply, CacheError) else parse_info(info_reply)
        if settings_due:
            self._settings, self._settings_at = _settings(replies[3 : 3 + len(asked)]), time.monotonic()
        server = info_text.identity(info, {}, server.address, server)
        stats = info_text.to_stats(info, server, taken_at=time.time(), latency_us=None, db=0, keys=None, denied=())
        told = Told(
            stats.taken_at,
            parse_view(nodes),
            {} if isinstance(about, CacheError) else _fields(about),
            info,
            self._settings,
            self._hot(replies[3 + len(asked) :], stats.taken_at),
            figures_of(stats, self._last),
        )
        self._last = stats
        return told

    def _setting_questions(self) -> list[Sequence[Argument]]:
        if self.node._several_sections():
            return [("CONFIG", "GET", *SETTINGS)]
        return [("CONFIG", "GET", name) for name in SETTINGS]

    def _slot_questions(self) -> list[Sequence[Argument]]:
        features = self.node._session.features
        if features is None or not features.knows(_SLOT_STATS, unsure=False):
            return []
        # What is not counted would be refused, and count as an error there.
        if dict(self._settings).get(_COUNTING) != "yes" or time.monotonic() - self._slots_at < SLOTS_S:
            return []
        self._slots_at = time.monotonic()
        return [("CLUSTER", "SLOT-STATS", "ORDERBY", "CPU-USEC", "LIMIT", HOT_SLOTS, "DESC")]

    def _hot(self, replies: Sequence[object], at: float) -> tuple[HotSlot, ...]:
        """Return the slots that cost most, as they were told last."""
        if not replies:
            return self._hottest
        found: dict[int, HotSlot] = {}
        for reply in replies:
            for entry in as_list(reply) if not isinstance(reply, CacheError) else []:
                slot = _hot_slot(entry)
                if slot is not None:
                    found[slot.slot] = slot
        known, self._slots = self._slots, found
        span_s, self._slots_told = at - self._slots_told, at
        self._hottest = tuple(_with_rate(slot, known.get(slot.slot), span_s) for slot in found.values())
        return self._hottest


def _hot_slot(entry: object) -> HotSlot | None:
    number, about, *_ = [*as_list(entry), None, None]
    slot, fields = as_int(number), as_map(about)
    if slot is None:
        return None

    def field(name: str) -> int | None:
        return as_int(fields.get(name))

    return HotSlot(
        slot, "", field("key-count"), field("cpu-usec"), field("network-bytes-in"), field("network-bytes-out")
    )


def _with_rate(slot: HotSlot, before: HotSlot | None, span_s: float) -> HotSlot:
    if before is None or before.cpu_us is None or slot.cpu_us is None or slot.cpu_us < before.cpu_us or span_s <= 0:
        return slot
    return replace(slot, cpu_per_s=(slot.cpu_us - before.cpu_us) / span_s)


def _fields(reply: object) -> dict[str, str]:
    parts = (line.partition(":") for line in as_text_lines(reply))
    return {name: value for name, colon, value in parts if colon}


def _settings(replies: Sequence[object]) -> tuple[tuple[str, str], ...]:
    found = [as_map(reply) for reply in replies if not isinstance(reply, CacheError)]
    return tuple(sorted((name, as_text(value)) for fields in found for name, value in fields.items()))
