"""The state machine of the feeds at the seam of the source protocol, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from cachetui.errors import CacheError, Denied, Refused, TimedOut, Unreachable, Unsupported
from cachetui.feeds.feed import MAX_BACKOFF_S
from cachetui.feeds.hub import FeedEvent, Feeds
from cachetui.feeds.record import Recorder, read_recording
from cachetui.model import (
    ClientInfo,
    ClientList,
    Identity,
    KeyFactsList,
    ScanStep,
    SettingsByNode,
    SlowLog,
    Stats,
    Topology,
    Trouble,
    Value,
)
from cachetui.source.base import KINDS, Capability, Check, Command, Enumeration, KeySink, Kind, Polled, Source
from tests.unit.virtual import run

START = 1_700_000_000.0


class Tape:
    """A source that answers as the test says, and writes down when it was asked."""

    def __init__(self) -> None:
        self.name = "tape"
        self.identity: Identity | None = Identity("redis", "7.0.15", run_id="a", address="h:1", role="primary")
        self.sent: Counter[str] = Counter()
        self.denied: Mapping[str, CacheError] = {}
        self.asked: dict[Kind, list[float]] = defaultdict(list)
        self.fault: dict[Kind, BaseException] = {}
        self.takes_s = 0.0
        self.at_once = 0
        self.most_at_once: Counter[Kind] = Counter()
        self.client_count = 1
        self._under_way: Counter[Kind] = Counter()

    def now(self) -> float:
        return START + asyncio.get_running_loop().time() - 1000

    async def open(self) -> Identity:
        assert self.identity
        return self.identity

    async def close(self) -> None:
        return None

    async def poll(self, kind: Kind) -> Polled:
        self.asked[kind].append(asyncio.get_running_loop().time())
        self._under_way[kind] += 1
        self.most_at_once[kind] = max(self.most_at_once[kind], self._under_way[kind])
        try:
            if self.takes_s:
                await asyncio.sleep(self.takes_s)
            if kind in self.fault:
                raise self.fault[kind]
            return self._snapshot(kind)
        finally:
            self._under_way[kind] -= 1

    def _snapshot(self, kind: Kind) -> Polled:
        assert self.identity
        now = self.now()
        clients = tuple(ClientInfo(n, f"c:{n}") for n in range(self.client_count))
        made: dict[Kind, Callable[[Identity], Polled]] = {
            "stats": lambda who: Stats(now, who, hits_total=int(now - START) * 10, misses_total=0),
            "slowlog": lambda who: SlowLog(now, who),
            "clients": lambda who: ClientList(now, who, clients),
            "topology": lambda who: Topology(now, who),
        }
        return made[kind](self.identity)

    async def scan(
        self, cursor: bytes | None = None, *, match: bytes | None = None, type_: str | None = None, count: int = 500
    ) -> ScanStep:
        raise Unsupported("no keys here")

    async def facts(self, keys: Sequence[bytes], *, size: bool = True) -> KeyFactsList:
        raise Unsupported("no keys here")

    async def value(self, key: bytes, *, rows: int = 1, max_bytes: int = 1) -> Value:
        raise Unsupported("no keys here")

    def enumeration(self, sink: KeySink, **options: object) -> Enumeration:
        raise AssertionError("a feed enumerates nothing")

    async def transact(
        self, watched: Sequence[bytes], checks: Sequence[Check], commands: Sequence[Command]
    ) -> list[object]:
        raise AssertionError("a feed writes nothing")

    async def policies(self) -> tuple[str, ...]:
        return ()

    async def config(self, pattern: str) -> dict[str, str]:
        return {}

    async def settings(self, pattern: str = "*") -> SettingsByNode:
        raise Unsupported("no settings here")

    async def flags(self, names: Sequence[str]) -> dict[str, frozenset[str] | None]:
        return dict.fromkeys(names)

    async def execute(self, commands: Sequence[Command]) -> list[object]:
        raise Refused("only looking")

    async def execute_on(self, address: str, commands: Sequence[Command]) -> list[object]:
        raise Refused("only looking")

    async def latency_us(self) -> float | None:
        return None

    def node(self, address: str) -> Source:
        raise Unsupported("one server")

    def why_not(self, capability: Capability) -> str | None:
        return "only looking"


class Scene:
    """Feeds over a tape, and what they told."""

    def __init__(self, interval_s: float = 1.0, guard_s: float = 10.0) -> None:
        self.tape = Tape()
        self.events: list[FeedEvent] = []
        self.feeds = Feeds(self.tape, interval_s=interval_s, on_event=self.events.append, guard_s=guard_s)

    def told(self, kind: Kind) -> list[FeedEvent]:
        return [event for event in self.events if event.kind == kind]

    def troubles(self, kind: Kind = "stats") -> list[Trouble]:
        return [event.trouble for event in self.told(kind) if event.trouble]

    def asked(self, kind: Kind) -> int:
        return len(self.tape.asked[kind])


def scene(play: Callable[[Scene], object], **options: float) -> None:
    """Run `play` in virtual time and close what it started."""

    async def main() -> None:
        stage = Scene(**options)
        try:
            await play(stage)  # type: ignore[misc]
        finally:
            await stage.feeds.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left

    run(main())


def test_the_tape_speaks_the_protocol() -> None:
    assert isinstance(Tape(), Source)


def test_only_what_is_wanted_is_polled_and_stats_always() -> None:
    async def play(s: Scene) -> None:
        await asyncio.sleep(5)
        assert not s.tape.asked
        s.feeds.want(["slowlog"])
        await asyncio.sleep(4.5)
        assert set(s.tape.asked) == {"stats", "slowlog"}
        s.feeds.want([])
        before = dict(s.tape.asked)
        await asyncio.sleep(60)
        assert dict(s.tape.asked) == before
        assert s.feeds.state("slowlog").status == "off"

    scene(play)


def test_ticks_are_aligned_and_do_not_drift() -> None:
    async def play(s: Scene) -> None:
        s.tape.takes_s = 0.3
        s.feeds.want(KINDS)
        await asyncio.sleep(3600.5)
        assert [at - 1000 for at in s.tape.asked["stats"]] == pytest.approx(range(3601))
        assert [at - 1000 for at in s.tape.asked["topology"]] == pytest.approx(range(0, 3601, 2))

    scene(play)


def test_a_slow_server_is_never_asked_twice_at_once_and_missed_ticks_are_skipped() -> None:
    async def play(s: Scene) -> None:
        s.tape.takes_s = 2.4
        s.feeds.want(["stats"])
        await asyncio.sleep(31)
        assert s.tape.most_at_once["stats"] == 1
        assert [at - 1000 for at in s.tape.asked["stats"]] == pytest.approx(range(0, 31, 3))
        assert s.feeds.state("stats").missed == 20

    scene(play)


def test_a_poll_without_end_is_cut_off_by_the_guard() -> None:
    async def play(s: Scene) -> None:
        s.tape.takes_s = 1e6
        s.feeds.want(["stats"])
        await asyncio.sleep(5.5)
        assert s.feeds.trouble is not None and s.feeds.trouble.code == "timed-out"
        s.tape.takes_s = 0
        await asyncio.sleep(5)
        assert s.feeds.trouble is None

    scene(play, guard_s=5.0)


def test_trouble_keeps_its_beginning_backs_off_and_ends_by_itself_an_hour_later() -> None:
    async def play(s: Scene) -> None:
        s.feeds.want(["stats"])
        await asyncio.sleep(2.5)
        s.tape.fault["stats"] = Unreachable("refused", "start it")
        await asyncio.sleep(3600)
        troubles = s.troubles()
        assert {t.since for t in troubles} == {START + 3.0}
        asked = s.tape.asked["stats"]
        pauses = [after - before for before, after in pairwise(asked[3:])]
        assert 300 < len(asked) < 600
        assert pauses[0] <= 1.0 and max(pauses) <= MAX_BACKOFF_S
        assert len({round(pause, 3) for pause in pauses[10:]}) > 50, "without jitter every observer comes back at once"
        del s.tape.fault["stats"]
        await asyncio.sleep(MAX_BACKOFF_S + 0.1)
        assert s.feeds.trouble is None
        assert s.events[-1].snapshot is not None
        assert s.feeds.state("stats").status == "live"

    scene(play)


def test_a_new_kind_of_trouble_has_its_own_beginning() -> None:
    async def play(s: Scene) -> None:
        s.tape.fault["stats"] = Unreachable("refused")
        s.feeds.want(["stats"])
        await asyncio.sleep(100)
        s.tape.fault["stats"] = TimedOut("silent")
        await asyncio.sleep(30)
        assert [t.code for t in s.troubles()][-1] == "timed-out"
        assert s.troubles()[-1].since > START + 100

    scene(play)


def test_the_breaker_opens_probes_and_closes() -> None:
    async def play(s: Scene) -> None:
        s.tape.fault["stats"] = Unreachable("refused")
        s.feeds.want(["stats"])
        await asyncio.sleep(0.1)
        assert s.feeds.state("stats").breaker == "closed"
        assert s.feeds.state("stats").status == "trouble"
        await asyncio.sleep(30)
        state = s.feeds.state("stats")
        assert state.breaker == "open" and state.failures >= 3
        assert state.retry_in_s is not None and 0 <= state.retry_in_s <= MAX_BACKOFF_S
        s.tape.takes_s = 3.0
        seen = set()
        for _ in range(150):
            await asyncio.sleep(0.1)
            seen.add(s.feeds.state("stats").breaker)
        assert seen == {"open", "half-open"}
        s.tape.fault.clear()
        await asyncio.sleep(30)
        assert s.feeds.state("stats").breaker == "closed"

    scene(play)


def test_while_the_server_is_lost_one_feed_asks_for_all() -> None:
    async def play(s: Scene) -> None:
        s.feeds.want(KINDS)
        await asyncio.sleep(10.5)
        for kind in KINDS:
            s.tape.fault[kind] = Unreachable("refused")
        await asyncio.sleep(3)
        before = {kind: s.asked(kind) for kind in KINDS}
        assert all(s.told(kind)[-1].trouble for kind in KINDS), "each pane must say so"
        await asyncio.sleep(600)
        assert s.asked("stats") > before["stats"]
        assert {kind: s.asked(kind) for kind in KINDS if kind != "stats"} == {
            kind: count for kind, count in before.items() if kind != "stats"
        }
        s.tape.fault.clear()
        await asyncio.sleep(MAX_BACKOFF_S + 0.1)
        assert all(s.told(kind)[-1].snapshot for kind in KINDS)
        assert all(s.feeds.state(kind).status == "live" for kind in KINDS)

    scene(play)


def test_a_view_opened_while_the_server_is_lost_waits_with_the_others() -> None:
    async def play(s: Scene) -> None:
        s.tape.fault["stats"] = Unreachable("refused")
        s.feeds.want(["stats"])
        await asyncio.sleep(60)
        s.feeds.want(["stats", "slowlog"])
        await asyncio.sleep(60)
        assert s.asked("slowlog") == 0
        assert s.feeds.state("slowlog").trouble == s.feeds.trouble
        s.tape.fault.clear()
        await asyncio.sleep(11)
        assert s.feeds.state("slowlog").status == "live"

    scene(play)


@pytest.mark.parametrize("error", [Denied("SLOWLOG: not permitted"), Unsupported("no slow log")])
def test_a_refusal_is_remembered_until_poked(error: CacheError) -> None:
    async def play(s: Scene) -> None:
        s.tape.fault["slowlog"] = error
        s.feeds.want(["slowlog"])
        await asyncio.sleep(600)
        state = s.feeds.state("slowlog")
        assert s.asked("slowlog") == 1
        assert state.status == "denied" and state.trouble and state.trouble.message == error.message
        assert s.feeds.trouble is None, "the stats feed alone decides whether the server is well"
        s.tape.fault.clear()
        s.feeds.poke()
        await asyncio.sleep(0.1)
        assert s.asked("slowlog") == 2 and s.feeds.state("slowlog").status == "live"

    scene(play)


def test_a_refusal_is_forgotten_when_the_server_is_another_one_or_was_lost() -> None:
    async def play(s: Scene) -> None:
        s.tape.fault["slowlog"] = Denied("not permitted")
        s.feeds.want(["slowlog"])
        await asyncio.sleep(30)
        assert s.asked("slowlog") == 1
        s.tape.identity = Identity("redis", "7.0.15", run_id="b", address="h:1", role="primary")
        await asyncio.sleep(30)
        assert s.asked("slowlog") == 2
        s.tape.fault["stats"] = Unreachable("cut off")
        await asyncio.sleep(2)
        del s.tape.fault["stats"]
        await asyncio.sleep(30)
        assert s.asked("slowlog") == 3

    scene(play)


def test_a_defect_of_a_driver_is_shown_and_kills_nothing() -> None:
    async def play(s: Scene) -> None:
        s.tape.fault["stats"] = AttributeError("x\x1b[2Jy\nz")
        s.feeds.want(["stats"])
        await asyncio.sleep(1)
        assert s.feeds.trouble is not None and s.feeds.trouble.code == "error"
        assert s.feeds.trouble.message == "internal error: AttributeError: x\\x1b[2Jy\\nz"
        s.tape.fault["stats"] = asyncio.CancelledError("the driver's own")
        await asyncio.sleep(15)
        s.tape.fault["stats"] = RecursionError("deep")
        await asyncio.sleep(15)
        assert "RecursionError" in s.feeds.trouble.message
        s.tape.fault.clear()
        await asyncio.sleep(11)
        assert s.feeds.state("stats").status == "live"

    scene(play)


def test_a_defect_of_a_viewer_is_reported_and_kills_nothing() -> None:
    async def main() -> None:
        tape, reported = Tape(), []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

        def broken(event: FeedEvent) -> None:
            raise KeyError("pane")

        feeds = Feeds(tape, on_event=broken)
        feeds.want(["stats"])
        await asyncio.sleep(5.5)
        assert len(tape.asked["stats"]) == 6 and feeds.trouble is None
        assert len(reported) == 6
        await feeds.close()

    run(main())


def test_frozen_nothing_is_told_and_only_stats_are_polled() -> None:
    async def play(s: Scene) -> None:
        s.feeds.want(KINDS)
        await asyncio.sleep(4.5)
        s.feeds.freeze(True)
        told, slow = len(s.events), s.asked("slowlog")
        await asyncio.sleep(60)
        assert len(s.events) == told and s.asked("slowlog") == slow
        assert s.asked("stats") == 65
        assert s.feeds.state("slowlog").status == "paused"
        assert s.feeds.history.rate("hits") == pytest.approx(10)
        s.feeds.freeze(False)
        assert [event.kind for event in s.events[told:]] == ["stats"]
        assert s.events[-1].snapshot is s.feeds.latest["stats"]
        await asyncio.sleep(0.1)
        assert s.asked("slowlog") == slow + 1, "what was paused is polled at once"

    scene(play)


def test_frozen_a_recording_goes_on(tmp_path: Path) -> None:
    async def play(s: Scene) -> None:
        with Recorder(tmp_path / "r", "tape") as recorder:
            s.feeds.want(["stats"])
            s.feeds.attach(recorder, ["stats", "slowlog"])
            s.feeds.freeze(True)
            await asyncio.sleep(20.5)
            assert not s.events
            s.tape.fault["stats"] = Unreachable("refused")
            await asyncio.sleep(60)
            s.feeds.freeze(False)
            assert {(event.kind, event.trouble is None) for event in s.events} == {("stats", False), ("slowlog", False)}
            s.feeds.attach(None)
        kinds = Counter((e.kind, type(e.item).__name__) for e in read_recording(tmp_path / "r")[1])
        assert kinds[("stats", "Stats")] == 21 and kinds[("slowlog", "SlowLog")] == 11
        assert kinds[("stats", "Trouble")] == 1, "a trouble that lasts is written once"
        assert kinds[("identity", "Identity")] == 1
        assert s.feeds.state("slowlog").status == "off"

    scene(play)


def test_what_was_recorded_is_in_the_file_a_second_later(tmp_path: Path) -> None:
    async def play(s: Scene) -> None:
        recorder = Recorder(tmp_path / "r", "tape")
        s.feeds.attach(recorder)
        await asyncio.sleep(30)
        kinds = {entry.kind for entry in read_recording(tmp_path / "r")[1]}
        assert kinds == {*KINDS, "identity"}, "killed now, nothing of the last tick would be lost"
        recorder.close()

    scene(play, interval_s=3600.0)


def test_a_full_recording_leaves_the_feeds_alone(tmp_path: Path) -> None:
    async def play(s: Scene) -> None:
        recorder = Recorder(tmp_path / "r", "tape", max_bytes=3000)
        s.feeds.want(["stats"])
        s.feeds.attach(recorder)
        await asyncio.sleep(2000)
        assert recorder.stopped.startswith("reached its limit")
        assert s.asked("stats") > 1900 and s.feeds.trouble is None

    scene(play)


def test_the_interval_changes_at_once_and_keeps_proportions() -> None:
    async def play(s: Scene) -> None:
        s.feeds.want(KINDS)
        await asyncio.sleep(20.5)
        s.feeds.set_interval(1.0)
        await asyncio.sleep(10.1)
        assert 10 <= s.asked("stats") <= 14
        assert s.feeds.state("slowlog").interval_s == 2.0
        s.feeds.set_interval(0)
        assert s.feeds.interval_s == 0.1

    scene(play, interval_s=60.0)


def test_many_clients_are_listed_less_often() -> None:
    async def play(s: Scene) -> None:
        s.tape.client_count = 1500
        s.feeds.want(["clients"])
        await asyncio.sleep(50.5)
        assert s.feeds.state("clients").interval_s == 5.0
        assert [at - 1000 for at in s.tape.asked["clients"][2:]] == pytest.approx(range(5, 51, 5))

    scene(play)


def test_evidence_holds_what_is_known() -> None:
    async def play(s: Scene) -> None:
        assert s.feeds.evidence().stats is None
        s.feeds.want(KINDS)
        await asyncio.sleep(65.5)
        evidence = s.feeds.evidence()
        assert evidence.stats is s.feeds.latest["stats"] and evidence.target == "tape"
        assert evidence.slowlog and evidence.clients and evidence.topology and evidence.trouble is None
        assert evidence.stats not in evidence.window and len(evidence.window) > 5
        assert evidence.window[0].taken_at == START
        s.tape.fault["stats"] = TimedOut("silent")
        await asyncio.sleep(2)
        assert s.feeds.evidence().trouble == s.feeds.trouble
        assert s.feeds.evidence().stats is evidence.stats

    scene(play)


def test_switching_views_lets_a_poll_finish_and_close_ends_all() -> None:
    async def play(s: Scene) -> None:
        s.tape.takes_s = 0.5
        s.feeds.want(["slowlog"])
        await asyncio.sleep(0.1)
        s.feeds.want(["topology"])
        await asyncio.sleep(10)
        assert s.asked("slowlog") == 1 and s.feeds.latest.get("slowlog") is not None
        s.tape.takes_s = 1e6
        await asyncio.sleep(3)

    scene(play)
