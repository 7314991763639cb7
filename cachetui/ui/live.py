"""What is behind the screen: source, feeds, key browser, journal; gathered into scenes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import cast

from cachetui.actions.apply import Guard
from cachetui.actions.journal import Journal
from cachetui.actions.undo import ended, undoable
from cachetui.analysis.curve import Point
from cachetui.analysis.rules import findings
from cachetui.analysis.verdict import Verdict, verdict
from cachetui.config import Settings, state_dir
from cachetui.errors import CacheError
from cachetui.feeds.history import HIT_RATE
from cachetui.feeds.hub import FeedEvent, Feeds
from cachetui.feeds.settings import SettingsFeed
from cachetui.keyspace.access import Observed
from cachetui.keyspace.decode import DecoderChoices
from cachetui.model import Evidence, Finding, JournalEntry, Node, Stats, Topology
from cachetui.source.base import Capability, Kind, Source
from cachetui.source.replay import ReplaySource
from cachetui.text import duration
from cachetui.ui.browse import Browser
from cachetui.ui.hottest import HotLook
from cachetui.ui.remembering import Foreseen, Remembering
from cachetui.ui.scene import Scene
from cachetui.ui.steady import Steady

ARMED_S = 300.0
COST_SPAN_S = 15.0
STEADY_S = 4.0
"""Words that change every second are not read: they wait this long."""
COST_PER_S, COST_PERCENT = 1.0, 0.1
"""A cost that moved by no more than this is the same."""
JOURNAL_SHOWN = 500
WRITES_KEYS = ("delete", "ttl", "edit")
"""Capabilities that a replica refuses; its settings may be changed."""


class Live:
    """One connected (or connecting) target and all that is known of it."""

    def __init__(self, source: Source, settings: Settings, on_change: Callable[[], None]) -> None:
        self.source = source
        self.settings = settings
        self.on_change = on_change
        self.feeds = Feeds(source, interval_s=settings.interval_s, on_event=self._on_event)
        self.config = SettingsFeed(source, on_change)
        self.browser = Browser(source, settings.separator, on_change)
        with contextlib.suppress(OSError, CacheError):  # choices that cannot be read are made again
            self.browser.state.decoders = DecoderChoices.load(state_dir() / "decoders.json")
        self.remembering = Remembering(settings.separator, on_change)
        self.journal = Journal(state_dir() / "journal.jsonl")
        self.interval_s = settings.interval_s
        self.observed: Observed | None = None
        """What the last burst of watched commands told."""
        self.predicted: dict[str, Point] = {}
        """By plan the hit rate that was predicted in it."""
        self.foreseen: Foreseen | None = None
        """What was predicted of the last change."""
        self.hot = HotLook()
        """What was found of the hottest keys."""
        self.wide: Live | None = None
        """The whole target, where this is one node of it."""
        self.node = ""
        """The address of that node; empty: this is the whole."""
        self.running = False
        self._keys_wanted = self._config_wanted = False
        self._entries: tuple[JournalEntry, ...] = ()
        self._undoable: frozenset[str] = frozenset()
        self._armed_until = 0.0
        self._sent: deque[tuple[float, int, float]] = deque()
        self._scene: Scene | None = None
        self._verdict: tuple[float, Verdict | None] = (0.0, None)
        self._steady = Steady()
        self._cost_at = 0.0
        self._cost_shown: tuple[float | None, float | None] = (None, None)

    async def run(self) -> None:
        """Enumerate keys while somebody looks at them; the feeds run by themselves."""
        self.running = True
        await self.browser.run()

    async def close(self) -> None:
        self.browser.stop()
        self.browser.stop_measuring()
        await self.config.close()
        await self.feeds.close()
        await self.source.close()

    def _on_event(self, event: FeedEvent) -> None:
        if event.kind == "stats" and event.snapshot is not None:
            self._count_cost()
            if isinstance(event.snapshot, Stats) and event.snapshot.keys is not None:
                self.browser.counted(event.snapshot.keys)
        self.on_change()

    # What the screen asks for

    def look(self, kinds: Collection[Kind], *, keys: bool, config: bool = False) -> None:
        """Poll these kinds and nothing else; enumerate keys, and read settings, if they are looked at."""
        self.feeds.want(kinds)
        self._keys_wanted, self._config_wanted = keys, config
        self._let_browse()

    def _let_browse(self) -> None:
        self.config.want(self._config_wanted and not self.frozen)
        if self._keys_wanted and not self.frozen:
            self.browser.wanted.set()
        else:
            self.browser.wanted.clear()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Who is who, as far as somebody has looked."""
        known = self.feeds.latest.get("topology")
        return known.nodes if isinstance(known, Topology) else ()

    @property
    def frozen(self) -> bool:
        return self.feeds.frozen

    def freeze(self, on: bool) -> None:
        """Keep the present picture until `on` is False again."""
        self._scene = replace(self.scene(), frozen=True) if on else None
        self.feeds.freeze(on)
        self._let_browse()

    def refresh(self) -> None:
        """Ask now, and ask again for what was denied."""
        self.feeds.poke()
        self.config.poke()
        self.browser.again()

    def set_interval(self, seconds: float) -> None:
        self.interval_s = seconds
        self.feeds.set_interval(seconds)

    async def read_journal(self) -> None:
        """Read the journal anew. Raises CacheError when it cannot be read."""
        self._entries = tuple(await asyncio.to_thread(ended, self.journal, JOURNAL_SHOWN))
        self._undoable = frozenset(row.receipt for row in await asyncio.to_thread(undoable, self.journal))
        self.on_change()

    # What is allowed

    def arm(self, on: bool = True) -> None:
        """Allow writes for five minutes where a profile is read-only by default, or end that."""
        self._armed_until = time.monotonic() + ARMED_S if on else 0.0

    @property
    def armed_s(self) -> float:
        """Seconds for which writes are still allowed where they are not by default; 0: they are not."""
        left_s = self._armed_until - time.monotonic()
        return left_s if self.settings.read_only and self.settings.armable and left_s > 0 else 0.0

    @property
    def read_only(self) -> str:
        """Why nothing may be changed now; empty when it may."""
        if not self.settings.read_only or (self.settings.armable and time.monotonic() < self._armed_until):
            return ""
        return f"read-only ({self.settings.read_only_reason or 'asked for'})"

    def guard(self) -> Guard:
        """The rule that `actions.apply` enforces at this moment."""
        return Guard(bool(self.read_only), self.read_only)

    def why_not(self, capability: str) -> str:
        return self.source.why_not(cast("Capability", capability)) or ""

    def why_not_write(self, capability: str) -> str:
        """Why the server itself takes no such write, known before anybody tries; empty when it may."""
        identity = self.source.identity
        if identity is not None and identity.role == "replica" and capability in WRITES_KEYS:
            return "this server is a replica and takes no writes"
        return ""

    # Replays

    @property
    def replaying(self) -> bool:
        return isinstance(self.source, ReplaySource)

    def replay(self, what: str) -> None:
        """Pause or go on, step, or change the speed of a replay."""
        source = self.source
        if not isinstance(source, ReplaySource):
            return
        if what == "pause":
            if source.paused:
                source.resume()
            else:
                source.pause()
        elif what == "step":
            source.step()
        else:
            source.set_speed(source.speed * (2 if what == "faster" else 0.5))

    def _replay_words(self) -> str:
        source = self.source
        if not isinstance(source, ReplaySource):
            return ""
        state = "ended" if source.ended else "paused" if source.paused else f"{source.speed:g}x"
        return f"{state} {duration(int(source.position_s))} of {duration(int(source.duration_s))}"

    # Gathering

    def scene(self) -> Scene:
        """Return the present scene; while frozen, the frozen one."""
        if self.frozen and self._scene is not None:
            # What is allowed is never frozen: it says what a press will do.
            return replace(self._scene, read_only=self.read_only, armed_s=self.armed_s)
        evidence = replace(self.feeds.evidence(), prefixes=self.remembering.look.picture)
        found = findings(evidence)
        per_s, percent = self._steady_cost()
        figures = self._steady.figures(self.feeds.history, per_s or 0.0)
        return Scene(
            now=self.source.now(),
            target=self.source.name,
            node=self.node,
            identity=self.source.identity,
            settings=self.settings,
            evidence=evidence,
            findings=found,
            verdict=self._steady_verdict(evidence, found, figures["used_bytes"]),
            history=self.feeds.history,
            figures=figures,
            states={kind: self.feeds.state(kind) for kind in ("stats", "slowlog", "clients", "topology")},
            denied=dict(self.source.denied),
            why_not=self.source.why_not,
            browse=self.browser.state,
            journal=self._entries,
            undoable=self._undoable,
            frozen=self.frozen,
            cost_per_s=per_s,
            cost_percent=percent,
            read_only=self.read_only,
            armed_s=self.armed_s,
            replay=self._replay_words(),
            memory=self.remembering.look,
            foreseen=self._foreseen_words(evidence),
            hot=self.hot,
            settings_by_node=self.config.latest,
            settings_trouble=self.config.trouble,
        )

    def _foreseen_words(self, evidence: Evidence) -> str:
        if self.foreseen is None:
            return ""
        (lately,) = self.feeds.history.series(HIT_RATE, 60, 1) or [None]
        return self.foreseen.words(evidence.stats, lately)

    def _steady_verdict(self, evidence: Evidence, found: tuple[Finding, ...], used_bytes: float | None) -> Verdict:
        """Return the verdict; its wording moves only every few seconds, its level at once."""
        if evidence.stats is not None and used_bytes is not None:
            evidence = replace(evidence, stats=replace(evidence.stats, used_bytes=round(used_bytes)))
        new, now = verdict(evidence, found), time.monotonic()
        at, old = self._verdict
        if old is None or (new.level, new.finding_id) != (old.level, old.finding_id) or now - at >= STEADY_S:
            self._verdict = (now, new)
        return self._verdict[1] or new

    def _steady_cost(self) -> tuple[float | None, float | None]:
        """Return the cost as of a few seconds ago at most."""
        now = time.monotonic()
        if now - self._cost_at >= STEADY_S:
            per_s, percent = self._cost()
            kept = self._steady.keep
            self._cost_shown = kept("cost", per_s, COST_PER_S), kept("share", percent, COST_PERCENT)
            self._cost_at = now
        return self._cost_shown

    def _count_cost(self) -> None:
        stats = self.feeds.latest.get("stats")
        usec = {}
        if stats is not None and hasattr(stats, "commands"):
            usec = {c.name.split("|")[0]: c.usec / c.calls for c in stats.commands if c.calls}
        spent = sum(number * usec.get(name.split(" ")[0], 0.0) for name, number in self.source.sent.items())
        self._sent.append((time.monotonic(), sum(self.source.sent.values()), spent))
        while len(self._sent) > 2 and self._sent[-1][0] - self._sent[0][0] > COST_SPAN_S:
            self._sent.popleft()

    def _cost(self) -> tuple[float | None, float | None]:
        """Return our commands a second and our share of the server's time in percent, lately."""
        if len(self._sent) < 2 or self.replaying:
            return None, None
        (then, commands, spent), (now, more_commands, more_spent) = self._sent[0], self._sent[-1]
        span = now - then
        if span <= 0:
            return None, None
        percent = max(0.0, (more_spent - spent) / 1e4 / span) if more_spent else None
        return (more_commands - commands) / span, percent
