"""How values and names are kept, and what would be kept better: from the first bytes of some values."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Sequence

from cachetui.model.prefixes import Hint, KeySample, PrefixRow, prefix_of
from cachetui.text import percent, printable

LEAST = 3
"""Values of a prefix that must agree."""
FLAT_FIELDS = 3
LONG_BYTES = 1024
"""A text from here on is worth being compressed."""
PACKS_TO = 0.6
LONG_NAME = 100
_TEXTS = ("json", "text", "php")
ROWS = 20
"""Prefixes that are judged: the largest."""


def hints(sample: KeySample, rows: Sequence[PrefixRow], separators: str, depth: int) -> tuple[Hint, ...]:
    """Return what could be kept better."""
    heads: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for key, head in sample.heads:
        heads.setdefault(prefix_of(key, separators, depth), []).append((key, head))
    found: list[Hint] = []
    for row in rows[:ROWS]:
        values = heads.get(row.prefix, [])
        names = Counter(sample.formats.get(key, "") for key, _ in values)
        kind, number = names.most_common(1)[0] if names else ("", 0)
        if number >= LEAST and number > len(values) / 2:
            found += _of_values(row.prefix, kind, [head for key, head in values])
    return (*found, *_of_names(sample, separators))


def _of_values(prefix: bytes, kind: str, heads: Sequence[bytes]) -> list[Hint]:
    name = printable(prefix, 60)
    if kind == "pickle":
        words = f"{name} holds pickles: whoever can write there can run code where they are loaded; JSON cannot"
        return [Hint("pickle", prefix, words)]
    found = []
    if kind == "json" and sum(map(_is_flat, heads)) > len(heads) / 2:
        words = f"{name} holds flat JSON objects: in hashes a field is read and written alone, and short ones take less"
        found.append(Hint("flat-json", prefix, words))
    long = [head for head in heads if len(head) >= LONG_BYTES]
    if kind in _TEXTS and len(long) >= LEAST:
        packed = sum(len(zlib.compress(head)) for head in long) / sum(map(len, long))
        if packed <= PACKS_TO:
            words = f"{name} holds long text: it compresses to about {percent(packed * 100, 0)} (zlib)"
            found.append(Hint("long-text", prefix, words))
    return found


def _is_flat(head: bytes) -> bool:
    """Tell whether it is a whole JSON object of some fields that are no objects or lists themselves."""
    try:
        value = json.loads(head)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(value, dict)
        and len(value) >= FLAT_FIELDS
        and not any(isinstance(one, dict | list) for one in value.values())
    )


def _of_names(sample: KeySample, separators: str) -> list[Hint]:
    names = sample.names or tuple(known.key for known in sample.facts)
    if not names:
        return []
    signs = (":" if separators == "any" else separators).encode()
    found = []
    bare = [name for name in names if not any(sign in name for sign in signs)]
    if 0 < len(bare) < 0.5 * len(names) and len(bare) >= max(LEAST, 0.001 * len(names)):
        share = percent(100 * len(bare) / len(names))
        words = f"{share} of the keys have no prefix, as {printable(bare[0], 40)}: nobody can tell whose they are"
        found.append(Hint("no-prefix", b"", words))
    odd = [name for name in names if b" " in name or any(byte < 32 for byte in name)]
    if odd:
        words = f"names with spaces or control characters, as {printable(odd[0], 40)}: every tool needs quotes"
        found.append(Hint("odd-names", b"", words))
    long = [name for name in names if len(name) > LONG_NAME]
    if len(long) >= max(LEAST, 0.01 * len(names)):
        share = percent(100 * len(long) / len(names))
        words = f"{share} of the names are longer than {LONG_NAME} bytes: each takes memory for its name"
        found.append(Hint("long-names", b"", words))
    return found
