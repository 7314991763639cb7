"""`cachetui prefixes`: what the keys are like by prefix, and what takes the memory."""

from __future__ import annotations

import asyncio
import sys
from itertools import pairwise

from cachetui.analysis.prefixes import picture
from cachetui.cli.call import Call, opened
from cachetui.cli.output import columns, document, named, write_document, write_lines
from cachetui.config import Settings, Target
from cachetui.keyspace.prefixing import SAMPLE, sample_keys, sum_keys
from cachetui.model import KeyFacts, ScanProgress
from cachetui.model.prefixes import BIG_BYTES, Cliff, Expiries, KeySample, PrefixPicture, PrefixRow, Share
from cachetui.text import UNKNOWN, count, duration, percent, printable, size

ROWS, BIG_SHOWN = 30, 10
NAME = 60


def prefixes(call: Call) -> int:
    """Print the prefixes, largest first; then big keys, expiries and what could be kept better."""
    target, settings = call.target()
    separators = call.options.separator or settings.separator
    name, found = asyncio.run(_found(call, target, settings, separators))
    shown = picture(found, separators=separators, depth=call.options.depth)
    if call.json:
        write_document(_document(name, shown))
    else:
        write_lines(lines(shown))
    if found.note:
        call.tell(found.note)
    return 0


async def _found(call: Call, target: Target, settings: Settings, separators: str) -> tuple[str, KeySample]:
    options = call.options
    watched = sys.stderr.isatty()

    def tell(progress: ScanProgress) -> None:
        if watched:
            total = f" of {count(progress.total)}" if progress.total is not None else ""
            sys.stderr.write(f"\r\x1b[K{count(progress.seen)}{total} names")
            sys.stderr.flush()

    try:
        async with opened(target) as source:
            if options.exact:
                found = await sum_keys(source, separators=separators, depth=options.depth, progress=tell)
            else:
                sampling = sample_keys(
                    source, sample=options.sample or SAMPLE, separators=separators, depth=options.depth, progress=tell
                )
                async for found in sampling:  # noqa: B007 - the last one is the best
                    pass
            return source.name, found
    finally:
        if watched:
            sys.stderr.write("\r\x1b[K")


def lines(shown: PrefixPicture) -> list[str]:
    """Return the picture as lines."""
    error = "" if not shown.bytes_error else f" ±{size(shown.bytes_error)}"
    how = "all measured" if shown.exact else f"{shown.looked:,} looked at"
    found = [f"{shown.total:,} keys, {size(shown.bytes)}{error} ({how}; ± and ranges are 95 % intervals)", ""]
    head = ("prefix", "keys", "memory", "share", "each", "largest", "no TTL", "idle", "values")
    found += columns([head, *(_cells(row) for row in shown.rows[:ROWS])], "lrrrrrrrl")
    if len(shown.rows) > ROWS:
        found.append(f"... and {len(shown.rows) - ROWS} more")
    big = [known for known in shown.big if (known.size_bytes or 0) >= BIG_BYTES]
    if big:
        word = "big keys" if shown.exact else "big keys among those looked at (--exact finds all)"
        found += ["", word]
        rows = [
            (printable(known.key, NAME), known.type or UNKNOWN, size(known.size_bytes), _length(known)) for known in big
        ]
        found += columns(rows[:BIG_SHOWN], "llrr")
    found += _expiry_lines(shown)
    if shown.hints:
        found += ["", *(hint.words for hint in shown.hints)]
    return found


def _length(known: KeyFacts) -> str:
    return UNKNOWN if known.length is None else f"{known.length:,}"


def _cells(row: PrefixRow) -> tuple[str, ...]:
    keys = count(row.keys) + (f" ±{count(row.keys_error)}" if round(row.keys_error) else "")
    formats = ", ".join(name for name, _ in row.formats[:2])
    return (
        printable(row.prefix, NAME) if row.prefix else "(others)",
        keys,
        size(row.bytes),
        range_words(row.share),
        size(row.mean_bytes),
        size(row.largest_bytes),
        range_words(row.without_ttl),
        duration(row.idle_s) if row.idle_s is not None else UNKNOWN,
        formats,
    )


def range_words(share: Share | None) -> str:
    """Return a share in percent with its interval.

    >>> range_words(Share(0.5, 0.41, 0.58)), range_words(Share(0.5, 0.5, 0.5)), range_words(None)
    ('50% (41-58)', '50%', '-')
    """
    if share is None:
        return UNKNOWN
    low, high = f"{share.low * 100:.0f}", f"{share.high * 100:.0f}"
    return percent(share.value * 100, 0) + ("" if low == high else f" ({low}-{high})")


def _expiry_lines(shown: PrefixPicture) -> list[str]:
    found: list[str] = []
    if shown.without_ttl is not None:
        found += ["", f"without a TTL: {range_words(shown.without_ttl)} of all keys"]
    if shown.expiries is not None:
        most = max(shown.expiries.keys) or 1
        rows = [
            (words, count(keys), "#" * round(30 * keys / most))
            for words, keys in zip(bucket_words(shown.expiries), shown.expiries.keys, strict=True)
        ]
        found += ["", "they expire", *columns(rows, "lrl")]
        found += [f"! {cliff_words(cliff)}" for cliff in shown.expiries.cliffs]
    return found


def bucket_words(found: Expiries) -> list[str]:
    """Return a name for each bucket."""
    ends = [duration(edge) for edge in found.edges_s]
    return [
        f"within {ends[0]}",
        *(f"{one} to {other}" for one, other in pairwise(ends)),
        f"after {ends[-1]}",
    ]


def cliff_words(cliff: Cliff) -> str:
    """Return what a cliff is, in words."""
    span = duration(max(1, round(cliff.ends_s - cliff.begins_s)))
    return (
        f"a cliff: about {count(cliff.keys)} keys ({percent(cliff.share * 100, 0)} of those that expire) "
        f"go within {span}, in {duration(round(cliff.begins_s))}; most are {printable(cliff.prefix, NAME)}"
    )


def _document(name: str, shown: PrefixPicture) -> dict[str, object]:
    head = document("prefixes", name, shown.taken_at, "partial" if shown.note else "success")
    head |= {"keys": shown.total, "looked": shown.looked, "exact": shown.exact, "note": shown.note}
    return head | {
        "bytes": _round(shown.bytes),
        "bytesError": _round(shown.bytes_error),
        "withoutTtl": _share(shown.without_ttl),
        "prefixes": [_row(row) for row in shown.rows],
        "bigKeys": [_big(known) for known in shown.big if (known.size_bytes or 0) >= BIG_BYTES],
        "expiries": None if shown.expiries is None else _expiries(shown.expiries),
        "hints": [named("prefix", hint.prefix) | {"kind": hint.kind, "words": hint.words} for hint in shown.hints],
    }


def _round(value: float | None) -> int | None:
    return None if value is None else round(value)


def _share(share: Share | None) -> dict[str, float] | None:
    if share is None:
        return None
    return {"value": round(share.value, 5), "low": round(share.low, 5), "high": round(share.high, 5)}


def _row(row: PrefixRow) -> dict[str, object]:
    return named("prefix", row.prefix) | {
        "keys": round(row.keys),
        "keysError": round(row.keys_error),
        "bytes": _round(row.bytes),
        "share": _share(row.share),
        "meanBytes": _round(row.mean_bytes),
        "largestBytes": row.largest_bytes,
        "withoutTtl": _share(row.without_ttl),
        "idleSeconds": row.idle_s,
        "frequency": row.frequency,
        "formats": dict(row.formats),
    }


def _big(known: KeyFacts) -> dict[str, object]:
    return named("key", known.key) | {"type": known.type, "bytes": known.size_bytes, "length": known.length}


def _expiries(found: Expiries) -> dict[str, object]:
    cliffs = [
        named("prefix", cliff.prefix)
        | {
            "beginsSeconds": cliff.begins_s,
            "endsSeconds": cliff.ends_s,
            "keys": cliff.keys,
            "share": round(cliff.share, 5),
        }
        for cliff in found.cliffs
    ]
    return {"edgesSeconds": list(found.edges_s), "keys": list(found.keys), "cliffs": cliffs}
