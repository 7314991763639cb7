"""The cells of one row of the list of keys."""

from __future__ import annotations

from cachetui import text
from cachetui.keyspace.listing import Entry
from cachetui.model import KeyFacts
from cachetui.ui.browse import SAMPLE_KEYS, Browse
from cachetui.ui.line import Span
from cachetui.ui.panes.key_value import ttl_words

LABEL = 300


def key_cells(browse: Browse, entry: Entry, label: str) -> tuple[Span, ...]:
    """Return the cells of a key: what is known of it."""
    facts = _facts(browse, entry.name)
    use = text.count(facts.frequency) if facts.frequency is not None else _idle_words(facts)
    return (
        (label, ""),
        ("", ""),
        (facts.type or facts.note, "muted"),
        (ttl_words(facts), ""),
        (text.size(facts.size_bytes), ""),
        (facts.encoding or "", "muted"),
        (use, "muted"),
    )


def prefix_cells(browse: Browse, entry: Entry, label: str) -> tuple[Span, ...]:
    """Return the cells of a prefix: its keys, their memory and how many have a TTL; `~` from a sample."""
    size_words, ttl_share = _measured(browse, entry) or _estimated(browse, entry)
    return (
        (label, "accent"),
        (text.count(entry.count), ""),
        ("with TTL" if ttl_share else "", "muted"),
        (ttl_share, "muted"),
        (size_words, "muted" if size_words.startswith("~") else ""),
        ("", ""),
        ("", ""),
    )


def short_cells(browse: Browse, entry: Entry, label: str) -> tuple[Span, ...]:
    """Return the cells where there is little room: the share of all keys."""
    if entry.kind == "key":
        return ((label, ""), ("1", "muted"), ("", ""))
    share = text.percent(100 * entry.count / max(1, browse.index.total), 0)
    return ((label, "accent"), (text.count(entry.count), ""), (share, "muted"))


def _facts(browse: Browse, key: bytes) -> KeyFacts:
    known = browse.facts.get(key)
    if known is not None:
        return known[1]
    if browse.measures is not None and key in browse.index:
        return browse.measures.fact(browse.index.rank(key), key)
    return KeyFacts(key)


def _measured(browse: Browse, entry: Entry) -> tuple[str, str] | None:
    """Return memory and share with a TTL exactly; None before all keys were measured."""
    measures = browse.measures
    if measures is None or measures.known != len(browse.index):
        return None
    summary = measures.summary(*browse.index.span(entry.name))
    share = text.percent(100 - 100 * summary.without_ttl / summary.keys, 0) if summary.keys else ""
    return text.size(summary.size_bytes), share


def _estimated(browse: Browse, entry: Entry) -> tuple[str, str]:
    estimate = browse.estimates.get(entry.name)
    if estimate is None:
        return "", ""
    about = "~" if entry.count > SAMPLE_KEYS else ""
    size_words = ttl_share = ""
    if estimate.key_bytes is not None:
        size_words = about + text.size(round(estimate.key_bytes * entry.count))
    if estimate.ttl_share is not None:
        ttl_share = about + text.percent(100 * estimate.ttl_share, 0)
    return size_words, ttl_share


def _idle_words(facts: KeyFacts) -> str:
    return text.duration(facts.idle_s) if facts.idle_s is not None else ""
