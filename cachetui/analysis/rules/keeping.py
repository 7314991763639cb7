"""Rules about keys and values, from a sample of them: what is too big, stays too long, or is kept badly."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.rules.rule import Problem
from cachetui.model import Evidence
from cachetui.model.prefixes import BIG_BYTES, Hint, PrefixPicture

HUGE_BYTES = 10 * 1024**2
"""A key of this size stops everybody else for milliseconds when it is read or copied."""
LEAST_LOOKED = 100
"""Of fewer keys nothing is said."""
MEMORY_SHARE = 0.05
"""Prefixes that take less of the memory are not worth a word."""
STAYING = 0.95
CLIFF_SHARE, CLIFF_KEYS = 0.2, 1000
NAMES = 3


def _seen(evidence: Evidence) -> PrefixPicture | None:
    shown = evidence.prefixes
    return shown if shown is not None and shown.looked >= LEAST_LOOKED else None


def big_keys(evidence: Evidence) -> Problem | None:
    shown = evidence.prefixes
    big = [] if shown is None else [known for known in shown.big if (known.size_bytes or 0) >= BIG_BYTES]
    if shown is None or not big:
        return None
    names = ", ".join(f"{text.printable(known.key, 60)} ({text.size(known.size_bytes)})" for known in big[:NAMES])
    among = "of all keys" if shown.exact else f"among {shown.looked:,} looked at"
    return Problem(
        "medium" if (big[0].size_bytes or 0) >= HUGE_BYTES else "low",
        f"{len(big)} keys over {text.size(BIG_BYTES)} {among}: {names}",
        "Split them: whatever touches a big key whole holds up everybody else; delete them with UNLINK.",
        {
            "keys": [text.printable(known.key, 200) for known in big],
            "bytes": [known.size_bytes for known in big],
            "looked": shown.looked,
            "exact": shown.exact,
        },
        tuple(f"MEMORY USAGE {text.printable(known.key, 200)}" for known in big[:NAMES]),
    )


def cliff_ahead(evidence: Evidence) -> Problem | None:
    shown = _seen(evidence)
    cliffs = () if shown is None or shown.expiries is None else shown.expiries.cliffs
    steep = [cliff for cliff in cliffs if cliff.share >= CLIFF_SHARE and cliff.keys >= CLIFF_KEYS]
    if not steep:
        return None
    first = steep[0]
    span_s = max(1, round(first.ends_s - first.begins_s))
    return Problem(
        "medium",
        f"About {text.count(first.keys)} keys expire within {text.duration(span_s)}, in "
        f"{text.duration(round(first.begins_s))}: most are {text.printable(first.prefix, 60)}",
        "Spread the ends: set each TTL with some jitter, or expire them anew with invalidate --expire S --jitter S.",
        {
            "keys": first.keys,
            "share_of_expiring": round(first.share, 3),
            "begins_s": round(first.begins_s),
            "span_s": span_s,
            "prefix": text.printable(first.prefix, 200),
        },
    )


def staying_prefixes(evidence: Evidence) -> Problem | None:
    shown = _seen(evidence)
    whole = None if shown is None else shown.without_ttl
    if shown is None or whole is None or whole.low > STAYING:
        return None  # a server on which nothing expires is a store, no cache
    rows = [
        row
        for row in shown.rows
        if row.share is not None
        and row.share.value >= MEMORY_SHARE
        and row.without_ttl is not None
        and row.without_ttl.value >= STAYING
        and row.prefix not in (b"", b"*")
    ]
    if not rows:
        return None
    names = ", ".join(text.printable(row.prefix, 60) for row in rows[:NAMES])
    share = sum(row.share.value for row in rows if row.share is not None)
    return Problem(
        "low",
        f"{text.percent(100 * share, 0)} of the memory is keys without a TTL beside others that expire: {names}",
        "Give them a TTL, if they can be made again; else keep them where nothing is evicted.",
        {"prefixes": [text.printable(row.prefix, 200) for row in rows], "share_of_memory": round(share, 3)},
    )


def _hinted(evidence: Evidence, *kinds: str) -> list[Hint]:
    shown = _seen(evidence)
    return [] if shown is None else [hint for hint in shown.hints if hint.kind in kinds]


def pickles(evidence: Evidence) -> Problem | None:
    found = _hinted(evidence, "pickle")
    if not found:
        return None
    return Problem(
        "medium",
        f"Pickles are kept: {_prefixes(found)}",
        "Keep JSON or MessagePack: whoever can write to the cache can run code wherever a pickle is loaded.",
        {"prefixes": [text.printable(hint.prefix, 200) for hint in found]},
    )


def flat_json(evidence: Evidence) -> Problem | None:
    found = _worth_it(evidence, "flat-json")
    if not found:
        return None
    return Problem(
        "low",
        f"Flat JSON objects are kept as strings: {_prefixes(found)}",
        "Where single fields change or are read, keep hashes: HSET and HGET move one field instead of all.",
        {"prefixes": [text.printable(hint.prefix, 200) for hint in found]},
    )


def long_text(evidence: Evidence) -> Problem | None:
    found = _worth_it(evidence, "long-text")
    if not found:
        return None
    return Problem(
        "low",
        f"Long text is kept as it is: {found[0].words}",
        "Compress it in the client from about a kilobyte on: memory and network for some microseconds.",
        {"prefixes": [text.printable(hint.prefix, 200) for hint in found], "words": [hint.words for hint in found]},
    )


def naming(evidence: Evidence) -> Problem | None:
    found = _hinted(evidence, "no-prefix", "odd-names", "long-names")
    if not found:
        return None
    return Problem(
        "low",
        f"Names: {found[0].words}",
        "Name keys alike, as kind:id:part, short and without spaces: then prefixes can be measured and invalidated.",
        {"words": [hint.words for hint in found]},
    )


def _worth_it(evidence: Evidence, kind: str) -> list[Hint]:
    """Return the hints on prefixes that take some part of the memory."""
    shown = evidence.prefixes
    shares = {} if shown is None else {row.prefix: row.share.value for row in shown.rows if row.share is not None}
    return [hint for hint in _hinted(evidence, kind) if shares.get(hint.prefix, 0.0) >= MEMORY_SHARE]


def _prefixes(found: list[Hint]) -> str:
    more = f" and {len(found) - NAMES} more" if len(found) > NAMES else ""
    return ", ".join(text.printable(hint.prefix, 60) for hint in found[:NAMES]) + more
