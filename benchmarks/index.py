"""The index of key names: memory for a million names of 30 bytes, and how long each kind of filter takes on them."""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

from _figures import show

from cachetui.keyspace.filter import find, parse_filter
from cachetui.keyspace.index import KeyIndex

KEYS = 1_000_000
SHAPES = (
    b"user:%08d:profile:v2:active",
    b"session:%014x:basket",
    b"cart:%08d:items:list:current",
    b"item:%08d:de:html:fragment",
)
STEP = 5_000
ROUNDS = 3
MEMORY_MB, FILTER_MS = 60.0, 100.0
SEED = 3
FILTERS = {
    "a part that few names have": "8812345",
    "a part that a quarter of them has": "current",
    "a part that most of them have": "a",
    "the beginning, as a glob": "user:*",
    "the middle, as a glob": "*:items:*",
    "a glob of three parts": "*profile*active",
    "a regular expression, from the beginning": "/^cart:12/",
    "a regular expression, to the end": "/de.*fragment$/",
    "a regular expression that a quarter fits": "/profile:v[0-9]:/",
    "a regular expression that nearly all fit": "/[0-9]{7}/",
    "letters in their order": "~usrprf",
}


def names(number: int, chance: random.Random) -> Iterator[bytes]:
    for _ in range(number):
        yield chance.choice(SHAPES) % chance.randrange(10**8)


def resident_mb() -> float:
    """Return the memory of this process that is in use now (Linux)."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def filled(number: int) -> tuple[KeyIndex, float]:
    """Return an index of so many names, and the megabytes that it takes."""
    index, coming = KeyIndex(), names(number, random.Random(SEED))
    before_mb = resident_mb()
    index.expect(number)
    while some := [name for _, name in zip(range(STEP), coming, strict=False)]:
        index.add(some)
    for _ in index.settle():
        pass
    return index, resident_mb() - before_mb


def took_ms(index: KeyIndex, words: str) -> float:
    """Return the best of some rounds, for a million names."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        find(index, parse_filter(words))
        times.append(time.perf_counter() - began)
    return min(times) * 1e3 * 1e6 / len(index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=KEYS)
    keys = parser.parse_args().keys
    index, used_mb = filled(keys)
    show(f"memory of {len(index):,} names", used_mb, "MB", MEMORY_MB * keys / 1e6)
    for what, words in FILTERS.items():
        show(f"{what}: {words}", took_ms(index, words), "ms", FILTER_MS)


if __name__ == "__main__":
    main()
