"""What the Memory view shows of Redis and Valkey: the account, prefixes, what goes next, the curve."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.eviction import AHEAD, Outlook
from cachetui.model import NodeFigures, Stats
from cachetui.model.prefixes import BIG_BYTES, PrefixRow, Share
from cachetui.ui.line import Line, line
from cachetui.ui.plot import curve_lines, range_words
from cachetui.ui.remembering import MemoryLook
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row

SECTIONS = ("account", "prefixes", "next evicted", "curve")
ACCOUNT = (
    Column("memory", 20),
    Column("now", 9, "right"),
    Column("", 24, wide_only=90),
    Column("what it is"),
)
PREFIXES = (
    Column("prefix", 0),
    Column("keys", 7, "right"),
    Column("memory", 8, "right"),
    Column("share", 14, "right"),
    Column("each", 7, "right"),
    Column("no TTL", 14, "right", wide_only=90),
    Column("idle", 7, "right"),
    Column("largest", 8, "right", wide_only=110),
    Column("values", 12, wide_only=120),
)
NEXT = (
    Column("policy", 16),
    Column("keys", 7, "right", wide_only=100),
    Column("unused for", 10, "right", wide_only=100),
    Column("may go", 7, "right", wide_only=100),
    Column("of what it frees next", 0),
)
SIZES = (Column("memory", 10, "right"), Column("of now", 8, "right"), Column("hit rate"))
_SHARES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
_BAR = 24
_WORDS = {
    "dataset": "keys and values",
    "at start": "what an empty server takes",
    "replication backlog": "kept for replicas that were away: repl-backlog-size",
    "replica buffers": "what replicas have not taken yet",
    "client buffers": "queries and replies under way; large: a client reads slowly (5 Clients)",
    "cluster links": "messages between the nodes",
    "slots coming": "slots on their way here",
    "slots going": "slots on their way from here",
    "AOF buffer": "written, and not yet in the file; large: the disk is slow",
    "script caches": "Lua scripts; large: scripts are made up for each call, SCRIPT FLUSH empties it",
    "function caches": "functions",
    "key tables": "the tables of keys and expiries",
    "fragmentation": "held by the allocator and not usable; activedefrag gives some back",
}


def account_rows(stats: Stats, look: MemoryLook, *, ascii_only: bool) -> list[Row]:
    """Return where the memory goes: as the system sees it, then part by part."""
    ratio = text.UNKNOWN if stats.fragmentation_ratio is None else f"{stats.fragmentation_ratio:.2f}"
    sizes = [
        ("used", stats.used_bytes, "all that the server has allocated"),
        ("resident", stats.rss_bytes, f"as the system counts it; to used it is {ratio}"),
        ("peak", stats.peak_bytes, "the most it ever used"),
        ("machine", stats.system_memory_bytes, "memory of the machine"),
    ]
    if look.report is not None:
        sizes += [(part.name, part.bytes, _WORDS.get(part.name, "")) for part in look.report.parts]
    else:
        sizes += [
            ("dataset", stats.dataset_bytes, _WORDS["dataset"]),
            ("overhead", stats.overhead_bytes, "tables, buffers, bookkeeping"),
            ("client buffers", stats.client_buffers_bytes, _WORDS["client buffers"]),
            ("fragmentation", stats.fragmentation_bytes, _WORDS["fragmentation"]),
        ]
    whole = stats.rss_bytes or stats.used_bytes or 1
    rows = [
        Row(
            name,
            (
                (name, ""),
                (text.size(size), ""),
                (_bar((size or 0) / whole, ascii_only) if name != "machine" else "", "accent"),
                (words, "muted"),
            ),
            (name, size),
        )
        for name, size, words in sizes
    ]
    waits = stats.lazyfree_pending
    words = "keys that are being freed in the background"
    cells = (("freed later", ""), (text.count(waits), ""), ("", ""), (words, "muted"))
    rows.append(Row("freed later", cells, ("freed later", waits)))
    return rows + [_node_row(node, ascii_only) for node in stats.nodes]


def _node_row(node: NodeFigures, ascii_only: bool) -> Row:
    """Return one node of a cluster: how full it is."""
    name = text.printable(node.address, 40)
    full = node.used_bytes / node.limit_bytes if node.used_bytes is not None and node.limit_bytes else None
    words = [node.role, "no limit" if node.limit_bytes == 0 else f"of {text.size(node.limit_bytes)}"]
    words.append(f"resident {text.size(node.rss_bytes)}")
    if node.evicted_per_s:
        words.append(f"evicting {text.rate(node.evicted_per_s)}")
    if node.trouble:
        words.insert(0, f"! {text.printable(node.trouble, 60)}")
    cells = (
        (name, "warn" if node.trouble else ""),
        (text.size(node.used_bytes), ""),
        (_bar(full or 0.0, ascii_only), "accent"),
        (", ".join(words), "muted"),
    )
    return Row(("node", node.address), cells, (name, node.used_bytes))


def _bar(share: float, ascii_only: bool) -> str:
    return ("#" if ascii_only else "█") * min(_BAR, round(share * _BAR))


def prefix_rows(look: MemoryLook) -> list[Row]:
    """Return the prefixes, the largest first."""
    return [_prefix_row(row) for row in look.picture.rows] if look.picture is not None else []


def _prefix_row(row: PrefixRow) -> Row:
    name = text.printable(row.prefix, 80) if row.prefix else "(others)"
    stays = row.without_ttl
    cells = (
        (name, ""),
        (text.count(row.keys), ""),
        (text.size(row.bytes), ""),
        (_range(row.share), "accent"),
        (text.size(row.mean_bytes), ""),
        (_range(stays), "warn" if stays is not None and stays.low > 0.5 else "muted"),
        (text.duration(None if row.idle_s is None else round(row.idle_s)), ""),
        (text.size(row.largest_bytes), "warn" if (row.largest_bytes or 0) >= BIG_BYTES else "muted"),
        (", ".join(name for name, _ in row.formats[:2]) or text.UNKNOWN, "muted"),
    )
    value = None if row.share is None else row.share.value
    order = (name, row.keys, row.bytes, value, row.mean_bytes, None if stays is None else stays.value, row.idle_s)
    return Row(row.prefix, cells, (*order, row.largest_bytes, ""))


def _range(share: Share | None) -> str:
    if share is None:
        return text.UNKNOWN
    low, high = f"{100 * share.low:.0f}", f"{100 * share.high:.0f}"
    return text.percent(100 * share.value, 0) + ("" if low == high else f" ({low}-{high})")


def next_rows(look: MemoryLook, current: str | None) -> list[Row]:
    """Return what each policy would evict next, the current one first."""
    return [_next_row(one, current=one.policy == current) for one in look.outlooks]


def _next_row(found: Outlook, *, current: bool) -> Row:
    shares = ", ".join(f"{_range(share)} {text.printable(prefix, 40)}" for prefix, share in found.shares[:4])
    words = "; ".join(filter(None, (shares, found.note)))
    may = None if found.lasts is None else 100 * found.lasts
    cells = (
        (found.policy + (" <" if current else ""), "title" if current else ""),
        (text.count(found.keys), ""),
        (text.duration(None if found.idle_s is None else round(found.idle_s)), ""),
        (text.percent(may, 0), "warn" if may is not None and may < 100 * AHEAD else ""),
        (words, "" if found.shares else "muted"),
    )
    return Row(found.policy, cells, (found.policy, found.keys, found.idle_s, may, words))


def curve_rows(look: MemoryLook) -> list[Row]:
    """Return the hit rate at some sizes."""
    if look.curve is None:
        return []
    rows = []
    for share in _SHARES:
        size = round(look.curve_bytes * share)
        point = look.curve.at(size)
        words = text.UNKNOWN if point is None else range_words(point)
        style = "title" if share == 1.0 else ""
        cells = ((text.size(size), style), (f"{share:.2g}x", style), (words, style))
        rows.append(Row(share, cells, (size, share, None if point is None else point.hit_rate)))
    return rows


def notes(section: str, scene: Scene, width: int, height: int) -> list[Line]:
    """Return what stands above the table of a section."""
    look = scene.memory
    found: list[tuple[str, str]] = []
    if look.busy and section != "account":
        found.append((look.busy, "accent"))
    if look.trouble and section != "account":
        found.append((f"! {look.trouble}", "warn"))
    lines: list[Line] = []
    if scene.foreseen:
        found.append((scene.foreseen, "accent"))
    if section == "account":
        stats = scene.evidence.stats
        found += _account_notes(look, several=stats is not None and bool(stats.nodes))
    elif section == "prefixes":
        found += _prefix_notes(look)
    elif section == "next evicted":
        if look.outlooks:
            freed = text.size(look.outlooks[0].freed_bytes)
            found.append(
                (f"the next {freed} ({100 * AHEAD:.0f} % of the keys' memory), by policy; ranges are 95 %", "muted")
            )
    elif look.curve is not None:
        marks = [(look.curve_bytes, "now")]
        rows = max(3, min(10, height - len(_SHARES) - 6))
        lines = curve_lines(look.curve, width=width, rows=rows, ascii_only=scene.settings.ascii, marks=marks)
    if section == "curve" and look.curve_note:
        found.append((look.curve_note, "muted"))
    return [*(line((text.fit(words, width), style)) for words, style in found), *lines]


def _account_notes(look: MemoryLook, *, several: bool) -> list[tuple[str, str]]:
    if look.report_trouble:
        return [(f"! {look.report_trouble}", "warn")]
    report = look.report
    if report is None:
        words = "each node has an account of its own: Enter on a node in 4, or ], shows it alone"
        return [(words, "muted")] if several else []
    found = [(f"doctor: {words}", "muted") for words in report.doctor[:3]]
    if report.defrag:
        found.append((f"active defragmentation: {report.defrag}", "muted"))
    return found


def _prefix_notes(look: MemoryLook) -> list[tuple[str, str]]:
    shown = look.picture
    if shown is None:
        return []
    error = f" ±{text.size(shown.bytes_error)}" if shown.bytes_error else ""
    how = "all measured" if shown.exact else f"{shown.looked:,} looked at"
    found = [(f"{shown.total:,} keys, {text.size(shown.bytes)}{error}, {how}; ranges are 95 % intervals", "muted")]
    if shown.note:
        found.append((f"! {shown.note}", "warn"))
    big = [known for known in shown.big if (known.size_bytes or 0) >= BIG_BYTES]
    if big:
        names = ", ".join(f"{text.printable(known.key, 40)} {text.size(known.size_bytes)}" for known in big[:3])
        found.append((f"! big: {names}", "warn"))
    for cliff in () if shown.expiries is None else shown.expiries.cliffs[:2]:
        when = text.duration(round(cliff.begins_s))
        words = f"! about {text.count(cliff.keys)} keys expire at once in {when}: {text.printable(cliff.prefix, 40)}"
        found.append((words, "warn"))
    found += [(hint.words, "muted") for hint in shown.hints[:2]]
    return found


def empty_words(section: str, scene: Scene) -> str:
    """Return what stands where a section has no rows."""
    look = scene.memory
    if look.trouble:
        return "nothing is known of the keys"
    return look.busy or ("no curve yet" if section == "curve" else "waiting")


def rows_of(section: str, scene: Scene, stats: Stats) -> tuple[tuple[Column, ...], list[Row]]:
    """Return columns and rows of a section."""
    look = scene.memory
    if section == "prefixes":
        return PREFIXES, prefix_rows(look)
    if section == "next evicted":
        return NEXT, next_rows(look, stats.policy)
    if section == "curve":
        return SIZES, curve_rows(look)
    return ACCOUNT, account_rows(stats, look, ascii_only=scene.settings.ascii)
