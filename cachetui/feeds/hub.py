"""All feeds of one source: what runs, what is shown, what is recorded, and what is known by now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from cachetui.feeds.client_rates import ClientRates
from cachetui.feeds.feed import GUARD_S, Feed, FeedState, interval_of
from cachetui.feeds.history import History
from cachetui.feeds.record import FLUSH_S, Recorder
from cachetui.feeds.slow_log import SlowLogKeeper
from cachetui.model import ClientList, Evidence, Identity, SlowLog, Stats, Topology, Trouble
from cachetui.model.trouble import LINK_CODES
from cachetui.source.base import KINDS, Followed, Kind, Polled, Source

__all__ = ["FeedEvent", "FeedState", "Feeds"]

MIN_INTERVAL_S = 0.1
MAX_INTERVAL_S = 3600.0

_LONG_LIST = 200
"""A client list from this length on is encoded for the recording in a thread."""


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One poll has ended: with a snapshot, or with a trouble (and the last snapshot is still the newest)."""

    kind: Kind
    snapshot: Polled | None
    trouble: Trouble | None
    at: float
    """The source's clock."""


class Feeds:
    """Polls `source` for whatever somebody looks at or records. Needs a running loop from `want` on.

    `on_event` is called in the loop after each poll and must be cheap. While frozen it is not
    called; `freeze(False)` delivers the latest of each kind.
    """

    def __init__(
        self,
        source: Source,
        *,
        interval_s: float = 1.0,
        on_event: Callable[[FeedEvent], None],
        guard_s: float = GUARD_S,
    ) -> None:
        self.source = source
        self.interval_s = _bounded(interval_s)
        self.latest: dict[Kind, Polled] = {}
        """The newest snapshot of each kind, however old it is."""
        self.history = History(self.interval_s)
        self._raw: dict[Kind, Polled] = {}
        self._slow, self._rates = SlowLogKeeper(), ClientRates()
        self.recorder: Recorder | None = None
        self.frozen = False
        self._on_event = on_event
        self._guard_s = guard_s
        self._feeds: dict[Kind, Feed] = {}
        self._wanted: frozenset[Kind] = frozenset()
        self._recorded: frozenset[Kind] = frozenset()
        self._withheld: dict[Kind, FeedEvent] = {}
        self._troubled: set[Kind] = set()
        self._lost = False
        self._identity: Identity | None = None
        self._recorded_identity: Identity | None = None
        self._recorded_troubles: dict[Kind, Trouble] = {}
        self._epoch: float | None = None
        self._flushing: asyncio.TimerHandle | None = None
        self._closed = False
        self._apart = frozenset(source.apart) if isinstance(source, Followed) else frozenset()
        self._watching = False

    @property
    def wanted(self) -> frozenset[Kind]:
        """What somebody looks at, stats included."""
        return self._wanted

    @property
    def trouble(self) -> Trouble | None:
        """Why the server does not answer; None while the stats feed is well."""
        feed = self._feeds.get("stats")
        return feed.trouble if feed else None

    def want(self, kinds: Collection[Kind]) -> None:
        """Poll exactly these kinds from now on, and stats whenever anything is wanted."""
        self._wanted = frozenset((*kinds, "stats")) if kinds else frozenset()
        self._apply()

    def attach(self, recorder: Recorder | None, kinds: Collection[Kind] = KINDS) -> None:
        """Write all that arrives to `recorder`, and poll `kinds` for it; None ends that. Its owner closes it."""
        self.recorder = recorder
        self._recorded = frozenset((*kinds, "stats")) if recorder is not None else frozenset()
        self._recorded_identity = None
        self._recorded_troubles.clear()
        self._apply()

    def set_interval(self, interval_s: float) -> None:
        """Change the base interval, in seconds; the other kinds keep their proportion to it."""
        self.interval_s = self.history.interval_s = _bounded(interval_s)
        for feed in self._feeds.values():
            feed.reschedule()

    def freeze(self, frozen: bool) -> None:
        """Keep the picture: no events until unfrozen. Stats are polled on, the rest only for a recording."""
        if frozen == self.frozen:
            return
        self.frozen = frozen
        self._apply()
        if not frozen:
            withheld, self._withheld = self._withheld, {}
            for event in withheld.values():
                self._tell(event)

    def poke(self) -> None:
        """Poll everything now and forget what was refused."""
        for feed in self._feeds.values():
            feed.poke()

    def state(self, kind: Kind) -> FeedState:
        """Return how the feed of `kind` is doing."""
        feed = self._feeds.get(kind)
        if feed is None:
            return FeedState(kind, "off", "closed", self._interval_of(kind))
        state = feed.state()
        paused = self.frozen and state.status == "off" and kind in self._wanted
        return replace(state, status="paused") if paused else state

    def evidence(self) -> Evidence:
        """Return all that is known now, for the rules."""
        stats, slowlog = self.latest.get("stats"), self.latest.get("slowlog")
        clients, topology = self.latest.get("clients"), self.latest.get("topology")
        return Evidence(
            taken_at=self.source.now(),
            target=self.source.name,
            stats=stats if isinstance(stats, Stats) else None,
            window=tuple(earlier for earlier in self.history.window() if earlier is not stats),
            slowlog=slowlog if isinstance(slowlog, SlowLog) else None,
            clients=clients if isinstance(clients, ClientList) else None,
            topology=topology if isinstance(topology, Topology) else None,
            trouble=self.trouble,
        )

    async def close(self) -> None:
        """Stop all feeds and wait for them; the source and the recorder stay their owners'."""
        self._closed = True
        if self._flushing is not None:
            self._flushing.cancel()
        feeds, self._feeds = list(self._feeds.values()), {}
        await asyncio.gather(*(feed.close() for feed in feeds))

    def _apply(self) -> None:
        """Start, stop and pause feeds as is wanted now."""
        if self._closed:
            return
        running = self._recorded | self._wanted
        if running and not self._watching and isinstance(self.source, Followed):
            self._watching = True
            self.source.watch(self._moved)
        if self.frozen and self.recorder is None:
            running &= {"stats"}
        for kind in KINDS:
            if kind in running and kind not in self._feeds:
                self._feeds[kind] = self._new_feed(kind)
            if kind in self._feeds:
                self._feeds[kind].set_active(kind in running)

    def _moved(self, words: str) -> None:
        """Another server has taken over: note it in the history, once, and ask it at once."""
        if words:
            self.history.mark(words, self.source.now())
        self._lost = False
        self.poke()

    def _new_feed(self, kind: Kind) -> Feed:
        if self._epoch is None:
            self._epoch = asyncio.get_running_loop().time()
        feed = Feed(
            kind,
            self.source,
            interval_s=lambda: self._interval_of(kind),
            epoch=self._epoch,
            deliver=self._arrived,
            guard_s=self._guard_s,
        )
        stats = self._feeds.get("stats")
        if stats is not None and stats.lost and stats.trouble is not None and kind not in self._apart:
            feed.hold(stats.trouble)
        return feed

    def _interval_of(self, kind: Kind) -> float:
        clients = self.latest.get("clients")
        count = len(clients.clients) if isinstance(clients, ClientList) else None
        if isinstance(clients, ClientList) and clients.total is not None:
            count = clients.total
        return interval_of(kind, self.interval_s, count)

    async def _arrived(self, kind: Kind, snapshot: Polled | None, trouble: Trouble | None) -> None:
        if snapshot is not None:
            await self._answered(kind, snapshot)
        elif trouble is not None:
            await self._failed(kind, trouble)

    async def _answered(self, kind: Kind, snapshot: Polled) -> None:
        known = snapshot is self._raw.get(kind)
        news = not known or kind in self._troubled
        self._raw[kind] = snapshot
        if not known:
            self.latest[kind] = self._joined(snapshot)
        self._troubled.discard(kind)
        if isinstance(snapshot, Stats):
            self.history.append(snapshot)
        if self._is_another_server() or (kind == "stats" and self._lost):
            self._release()
        if news:
            self._tell(FeedEvent(kind, self.latest[kind], None, self.source.now()))
        if not known:
            await self._record(kind, snapshot)

    def _joined(self, snapshot: Polled) -> Polled:
        """Return a snapshot with what follows from those before it."""
        if isinstance(snapshot, SlowLog):
            return self._slow.keep(snapshot)
        return self._rates.rated(snapshot) if isinstance(snapshot, ClientList) else snapshot

    async def _failed(self, kind: Kind, trouble: Trouble) -> None:
        lost = trouble.code in LINK_CODES
        failing = [kind]
        if kind == "stats":
            if lost:
                self._lost = True
                bound = (other for other in self._others() if other not in self._apart)
                failing += [other for other in bound if self._feeds[other].hold(trouble)]
            elif self._lost:
                self._release()
        elif lost and self.trouble is None and "stats" in self._feeds:
            self._feeds["stats"].poke()  # is it the whole server? then one feed asks for all
        for each in failing:
            if each == kind or self._feeds[each].active:
                self._troubled.add(each)
                self._tell(FeedEvent(each, None, trouble, self.source.now()))
                await self._record(each, trouble)

    def _others(self) -> list[Kind]:
        return [kind for kind in self._feeds if kind != "stats"]

    def _release(self) -> None:
        """The server answers again, or is another one: ask it everything anew."""
        self._lost = False
        for kind in self._others():
            self._feeds[kind].release()

    def _is_another_server(self) -> bool:
        before, self._identity = self._identity, self.source.identity or self._identity
        return before is not None and before != self._identity

    def _tell(self, event: FeedEvent) -> None:
        if self.frozen:
            self._withheld[event.kind] = event
            return
        try:
            self._on_event(event)
        except Exception as error:
            _report("showing a snapshot failed", error)

    async def _record(self, kind: Kind, item: Polled | Trouble) -> None:
        recorder = self.recorder
        if recorder is None or kind not in self._recorded:
            return
        try:
            if isinstance(item, Trouble):
                if self._recorded_troubles.get(kind) != item:
                    self._recorded_troubles[kind] = item
                    recorder.write(item, kind=kind, at=self.source.now())
                return
            self._recorded_troubles.pop(kind, None)
            if self._identity is not None and self._identity != self._recorded_identity:
                self._recorded_identity = self._identity
                recorder.write(self._identity, at=item.taken_at)
            if isinstance(item, ClientList) and len(item.clients) > _LONG_LIST:
                await asyncio.to_thread(recorder.write, item)
            else:
                recorder.write(item)
        except Exception as error:
            self.attach(None)
            _report("recording failed and has ended", error)
        else:
            self._flush_soon(recorder)

    def _flush_soon(self, recorder: Recorder) -> None:
        if self._flushing is None or self._flushing.when() <= asyncio.get_running_loop().time():
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_S, recorder.flush)


def _report(what: str, error: Exception) -> None:
    """Hand a defect to the loop's own handler: it must be seen, and it must not end a feed."""
    asyncio.get_running_loop().call_exception_handler({"message": what, "exception": error})


def _bounded(interval_s: float) -> float:
    return min(MAX_INTERVAL_S, max(MIN_INTERVAL_S, interval_s))
