"""The stats pane: the figures of an incident, each with its recent past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult

from cachetui import text
from cachetui.errors import Denied
from cachetui.model import Stats
from cachetui.source.base import Kind
from cachetui.ui.canvas import Canvas
from cachetui.ui.line import Line, Span, line, slice_of, trend
from cachetui.ui.panes.pane import Pane
from cachetui.ui.scene import Scene

_PARTS = ("names", "figures", "trends", "words")

BAR_S = 10
"""Seconds a bar stands for: only full ones are drawn, so that the trend moves only then."""

MARK, MARKS_SHOWN = "|", 2
"""Stands in the bars where something happened to the server; so many are told in words."""

WORDS_LEAST = 54
"""Columns for all but the bars: "77.9% of 24.0MB  lru-segmented" has to fit."""

TOP_LEAST = {"commands_total": 20.0, "latency_us": 5_000.0, "cpu_s_total": 0.05}
"""What a full bar stands for at least: below it, what moves is our own looking."""


class StatsPane(Pane):
    """Hit rate, load, memory, evictions, clients, network, latency, persistence."""

    DEFAULT_CSS = """
    StatsPane { layout: horizontal; }
    StatsPane .names { width: 11; }
    StatsPane .figures { width: 11; }
    StatsPane .trends { width: 32; }
    StatsPane .words { width: 1fr; }
    """

    heading = "Stats"
    kinds: ClassVar[tuple[Kind, ...]] = ("stats",)

    def compose(self) -> ComposeResult:
        # Textual sends a line from its widget's left edge up to the change: narrow widgets keep that short.
        for name in _PARTS:
            yield Canvas(classes=name)

    def on_resize(self, event: events.Resize) -> None:
        bars = trend_width(self.content_size.width)
        self.query_one(".trends").styles.width = bars + 2 if bars else 0
        self.call_after_refresh(self.redraw)

    def paint(self, lines: Sequence[Line]) -> None:
        start = 0
        for part in self.query(Canvas):
            end = start + part.size.width
            part.paint([slice_of(drawn, start, end) for drawn in lines])
            start = end

    @property
    def lines(self) -> Sequence[Line]:
        parts = [part.lines for part in self.query(Canvas)]
        return [Line(tuple(span for drawn in row for span in drawn.spans)) for row in zip(*parts, strict=False)]

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        stats = scene.evidence.stats
        if stats is None:
            return _waiting(scene, width)
        bars = trend_width(width)
        rows = _memcached_rows(scene, stats) if stats.server.kind == "memcached" else _redis_rows(scene, stats)
        drawn = [self._row(scene, row, bars, width) for row in (*_common_rows(scene, stats), *rows)]
        drawn += [line((text.fit(words, width), "warn")) for words in _missing(scene)]
        drawn += _happened(scene, width)
        return drawn[:height]

    def _row(self, scene: Scene, row: tuple[str, Span, str, str], bars: int, width: int) -> Line:
        name, (figure, style), metric, more = row
        spans: list[Span] = [(text.fit(name, 11), "muted"), (text.fit(figure, 9, "right"), style), ("  ", "")]
        if bars:
            shape = ""
            if metric:
                values = scene.history.series(metric, BAR_S * bars, bars, now=scene.now - BAR_S)
                known = [value for value in values if value is not None]
                top = 100.0 if metric == "hit_rate" else max([TOP_LEAST.get(metric, 0.0), *known])
                shape = trend(values, ascii_only=scene.settings.ascii, top=top)
                shape = with_marks(shape, [mark.at for mark in scene.history.marks], scene.now - BAR_S)
            spans.append((text.fit(shape, bars), "accent"))
            spans.append(("  ", ""))
        spans.append((text.fit(more, max(0, width - sum(text.cells(part) for part, _ in spans))), "muted"))
        return Line(tuple(spans))


def trend_width(width: int) -> int:
    """Return the bars that fit into a pane of this width; 0: none."""
    bars = min(30, width - WORDS_LEAST)
    return bars if bars >= 5 else 0


def with_marks(shape: str, marks: Sequence[float], end: float) -> str:
    """Return the bars with a line where something happened to the server; the last bar holds the moment `end`.

    >>> with_marks("abcde", [75.0, 12.0], 99.0)
    'ab|de'
    """
    bars, newest = list(shape), int(end // BAR_S)
    for at in marks:
        place = int(at // BAR_S) - newest + len(bars) - 1
        if 0 <= place < len(bars):
            bars[place] = MARK
    return "".join(bars)


def _happened(scene: Scene, width: int) -> list[Line]:
    """Return what happened last to the server, if that is shown in the bars as well."""
    lately = [mark for mark in scene.history.marks if scene.now - mark.at < 30 * BAR_S]
    return [
        line((f"{MARK} {text.clock(mark.at, scene.now)}  ", "muted"), text.fit(mark.text, max(0, width - 12)))
        for mark in lately[-MARKS_SHOWN:]
    ]


def _missing(scene: Scene) -> list[str]:
    """Say which commands are refused or unknown here; what they would tell is shown as unknown."""
    refused = [name for name, error in scene.denied.items() if isinstance(error, Denied)]
    unknown = [name for name, error in scene.denied.items() if not isinstance(error, Denied)]
    words = [("not permitted here", refused), ("unknown to this server", unknown)]
    return [f"{what}: {', '.join(sorted(names))}" for what, names in words if names]


def _waiting(scene: Scene, width: int) -> list[Line]:
    trouble = scene.evidence.trouble
    if trouble is None:
        return [line(("waiting for the first answer", "muted"))]
    return [line((text.fit(trouble.message, width), "bad")), line((text.fit(trouble.hint, width), "muted"))]


def _rate(scene: Scene, counter: str) -> str:
    known = scene.figures
    return text.rate(known[counter] if counter in known else scene.history.rate(counter))


def _round_trip(latency_us: float | None) -> str:
    return text.duration(None if latency_us is None else round(latency_us, -2) / 1e6)


def _common_rows(scene: Scene, stats: Stats) -> list[tuple[str, Span, str, str]]:
    hit_rate = scene.history.hit_rate()
    return [
        (
            "hit rate",
            (text.percent(hit_rate), ""),
            "hit_rate",
            f"hits {_rate(scene, 'hits_total')}  misses {_rate(scene, 'misses_total')}",
        ),
        (
            "commands",
            (_rate(scene, "commands_total"), ""),
            "commands_total",
            f"errors {_rate(scene, 'error_replies_total')}" if stats.error_replies_total is not None else "",
        ),
        (
            "memory",
            (text.size(scene.figures["used_bytes"]), _memory_style(stats)),
            "used_bytes",
            _memory_words(stats, scene.figures["used_bytes"]),
        ),
        (
            "evicted",
            (_rate(scene, "evicted_total"), "warn" if (scene.history.rate("evicted_total") or 0) > 0 else ""),
            "evicted_total",
            f"expired {_rate(scene, 'expired_total')}",
        ),
        ("clients", (text.count(stats.clients), ""), "clients", _client_words(stats)),
        ("keys", (text.count(stats.keys), ""), "keys", _key_words(stats)),
        (
            "net out",
            (f"{text.size(scene.figures['net_out_bytes_total'])}/s", ""),
            "net_out_bytes_total",
            f"in {text.size(scene.figures['net_in_bytes_total'])}/s",
        ),
        ("round trip", (_round_trip(scene.figures["latency_us"]), ""), "latency_us", "as measured from here"),
        ("cpu", (text.percent(_percent(scene.history.rate("cpu_s_total")), 0), ""), "cpu_s_total", "of one core"),
    ]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _memory_style(stats: Stats) -> str:
    if not stats.maxmemory_bytes or stats.used_bytes is None:
        return ""
    share = stats.used_bytes / stats.maxmemory_bytes
    if share < 0.9:
        return ""
    return "bad" if stats.policy == "noeviction" else "warn"


def _memory_words(stats: Stats, used_bytes: float | None) -> str:
    if stats.maxmemory_bytes is None:
        words = "limit unknown"
    elif stats.maxmemory_bytes == 0:
        words = "no limit"
    else:
        share = None if used_bytes is None else 100 * used_bytes / stats.maxmemory_bytes
        words = f"{text.percent(share)} of {text.size(stats.maxmemory_bytes)}"
    return f"{words}  {stats.policy}" if stats.policy else words


def _client_words(stats: Stats) -> str:
    words = f"of {stats.max_clients}" if stats.max_clients is not None else ""
    if stats.blocked_clients is not None:
        words += f"  {stats.blocked_clients} blocked"
    if stats.rejected_connections_total:
        words += f"  {text.count(stats.rejected_connections_total)} rejected"
    return words.strip()


def _key_words(stats: Stats) -> str:
    expires = sum(db.expires for db in stats.databases)
    keys = sum(db.keys for db in stats.databases)
    if not keys:
        return ""
    return f"{100 * expires / keys:.0f}% with a TTL" + (
        f", {len(stats.databases)} databases" if len(stats.databases) > 1 else ""
    )


def _redis_rows(scene: Scene, stats: Stats) -> list[tuple[str, Span, str, str]]:
    known = scene.figures["fragmentation_ratio"]
    ratio = text.UNKNOWN if known is None else f"{known:.2f}"
    rows: list[tuple[str, Span, str, str]] = [
        (
            "rss",
            (text.size(stats.rss_bytes), ""),
            "rss_bytes",
            f"frag {ratio}  peak {text.size(stats.peak_bytes)}",
        ),
        ("saved", _save_figure(scene, stats), "", _save_words(stats)),
    ]
    if stats.loading:
        eta = f", {text.duration(stats.loading_eta_s)} left" if stats.loading_eta_s is not None else ""
        rows.insert(
            0, ("LOADING", (text.percent(stats.loading_percent), "warn"), "", f"reading its data from disk{eta}")
        )
    if stats.server.role == "replica":
        up = {True: ("up", "ok"), False: ("DOWN", "bad"), None: ("-", "")}[stats.link_up]
        lag = f"last word from the primary {text.duration(stats.replication_lag_s)} ago"
        rows.append(("link", up, "", lag if stats.link_up else f"down for {text.duration(stats.link_down_s)}"))
    elif stats.replicas is not None:
        behind = f"the last one {text.size(stats.worst_lag_bytes)} behind" if stats.replicas else ""
        rows.append(("replicas", (str(stats.replicas), ""), "", behind))
    return rows


def _save_figure(scene: Scene, stats: Stats) -> Span:
    if stats.save_ok is False or stats.aof_write_ok is False:
        return ("FAILED", "bad")
    return (text.clock(stats.last_save_at, scene.now), "") if stats.last_save_at else ("-", "")


def _save_words(stats: Stats) -> str:
    words = []
    if stats.changes_since_save is not None:
        words.append(f"{text.count(stats.changes_since_save)} changes since")
    if stats.aof_enabled is not None:
        words.append("AOF on" if stats.aof_enabled else "AOF off")
    if stats.fork_us:
        words.append(f"fork {text.duration(stats.fork_us / 1e6)}")
    return "  ".join(words)


def _memcached_rows(scene: Scene, stats: Stats) -> list[tuple[str, Span, str, str]]:
    def also(name: str) -> str:
        return text.rate(scene.history.extra_rate(name))

    reclaims = scene.history.extra_rate("direct_reclaims")
    refused = scene.history.extra_rate("store_no_memory")
    rows: list[tuple[str, Span, str, str]] = [
        (
            "unfetched",
            (_rate(scene, "evicted_unfetched_total"), ""),
            "",
            f"evicted unread  active {also('evicted_active')}",
        ),
        ("gets", (_rate(scene, "gets_total"), ""), "", f"sets {_rate(scene, 'sets_total')}  touch {also('cmd_touch')}"),
        ("expired", (also("get_expired"), ""), "", f"gets too late  flushed {also('get_flushed')}"),
        (
            "reclaimed",
            (_rate(scene, "reclaimed_total"), ""),
            "",
            f"of expired  crawler {also('crawler_reclaimed')}",
        ),
        ("cas", (also("cas_hits"), ""), "", f"refused {also('cas_badval')}  deleted {also('delete_hits')}"),
        (
            "made room",
            (text.rate(reclaims), "warn" if reclaims else ""),
            "",
            f"by writers  no memory {text.rate(refused)}",
        ),
        (
            "refused",
            (text.count(stats.rejected_connections_total), ""),
            "",
            f"connections  had to wait {text.count(stats.listen_disabled_total)}",
        ),
        ("threads", (text.count(stats.threads), ""), "", f"yields {_rate(scene, 'conn_yields_total')}"),
    ]
    extra = stats.extra or {}
    if "extstore_bytes_used" in extra:
        words = f"on disk  read {also('extstore_objects_read')}  written {also('extstore_objects_written')}"
        rows.append(("extstore", (text.size(int(extra["extstore_bytes_used"])), ""), "", words))
    return rows
