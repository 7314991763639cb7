"""What would be evicted next under each policy, from a random sample of the keys.

The server does not look for the one key that deserves it most: it draws `maxmemory-samples` keys at random, keeps
the best candidates of some draws in a pool of sixteen, and evicts the best of these (Redis, evict.c). The same is
done here with the sampled keys, each standing for many alike, again and again on resampled samples: that gives the
shares their intervals.
"""

from __future__ import annotations

import math
import statistics
from bisect import insort
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from cachetui.model.keys import KeyFacts
from cachetui.model.prefixes import Share, prefix_of

POOL = 16
_TRIES = 20
"""Draws until the pool is full, or too few keys are left to fill it."""
REPEATED = 40
LEAST_KEYS = 50
"""Of fewer candidates nothing is told."""
SHARES = 8
AHEAD = 0.1
"""So much of the memory of the keys is looked ahead, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one policy would evict next."""

    policy: str
    freed_bytes: float
    """So much would go."""
    shares: tuple[tuple[bytes, Share], ...] = ()
    """Of these bytes, by prefix; the most first."""
    keys: float | None = None
    """About so many keys."""
    idle_s: float | None = None
    """Median of how long they have not been used."""
    lasts: float | None = None
    """Which part of all bytes may be evicted at all, 0 to 1."""
    note: str = ""
    """Why there is nothing to tell, or less."""


def outlook(
    facts: Sequence[KeyFacts],
    total: int,
    policy: str,
    *,
    samples: int = 5,
    ahead: float = AHEAD,
    separators: str = ":",
    depth: int = 2,
    seed: int = 1,
) -> Outlook:
    """Return what goes until the memory of the keys has shrunk by the share `ahead`.

    `facts` are of keys chosen at random from `total` keys.
    """
    there = [known for known in facts if known.exists and known.size_bytes]
    scale = total / max(1, len(there))
    every = sum(known.size_bytes or 0 for known in there)
    wanted = every * ahead
    if policy == "noeviction":
        return Outlook(policy, wanted * scale, note="nothing is evicted: writes are refused when memory is full")
    candidates = [known for known in there if known.has_ttl] if policy.startswith("volatile") else there
    lasts = sum(known.size_bytes or 0 for known in candidates) / every if every else None
    if not candidates:
        why = "no key looked at has a TTL: nothing could be evicted, and writes would be refused"
        return Outlook(policy, wanted * scale, lasts=0.0, note=why if there else "there are no keys")
    worth = _worth(policy)
    judged = [(worth(known), known) for known in candidates]
    if any(value is None for value, _ in judged):
        judged = [(value, known) for value, known in judged if value is not None]
        if len(judged) < len(candidates) / 2:
            return Outlook(policy, wanted * scale, lasts=lasts, note=_untold(policy))
    if len(judged) < LEAST_KEYS:
        words = f"only {len(judged)} of the keys looked at could be evicted: too few to tell of"
        return Outlook(policy, wanted * scale, lasts=lasts, note=words)
    prefixes = {known.key: prefix_of(known.key, separators, depth) for _, known in judged}
    rng = Random(seed)
    rounds = [_evicted([rng.choice(judged) for _ in judged], wanted, samples, rng) for _ in range(REPEATED)]
    idle = [known.idle_s for gone in rounds for known in gone if known.idle_s is not None]
    return Outlook(
        policy,
        wanted * scale,
        _shares(rounds, prefixes),
        statistics.fmean(map(len, rounds)) * scale,
        statistics.median(idle) if idle else None,
        lasts,
        _short(policy, lasts, ahead),
    )


def _short(policy: str, lasts: float | None, ahead: float) -> str:
    if policy.startswith("volatile") and lasts is not None and lasts <= ahead:
        return "then no key with a TTL is left, and writes are refused"
    return ""


def _untold(policy: str) -> str:
    if policy.endswith("lfu"):
        return "the server counts no frequencies now: they begin with the policy, all keys alike"
    return "the server keeps no idle times now (an LFU policy, or OBJECT is denied)"


def _worth(policy: str) -> Callable[[KeyFacts], float | None]:
    """Return what the policy keeps: the key with the least of it goes first."""
    if policy.endswith("lru"):
        return lambda known: None if known.idle_s is None else -float(known.idle_s)
    if policy.endswith("lfu"):
        return lambda known: None if known.frequency is None else float(known.frequency)
    if policy.endswith("ttl"):
        return lambda known: math.inf if known.ttl_s is None else known.ttl_s
    return lambda known: 0.0


def _evicted(
    judged: Sequence[tuple[float | None, KeyFacts]], wanted: float, samples: int, rng: Random
) -> list[KeyFacts]:
    """Return the keys that go, in their order, until `wanted` bytes are free or none is left."""
    left = [(value or 0.0, rng.random(), known) for value, known in judged]
    if all(value == 0.0 for value, _, _ in left):
        rng.shuffle(left)
        return _until(wanted, [known for _, _, known in left])
    pool: list[tuple[float, float, KeyFacts]] = []
    gone: list[KeyFacts] = []
    gone_ids: set[float] = set()
    freed = 0.0
    while freed < wanted and len(gone) < len(judged):
        for _ in range(_TRIES):
            _draw(pool, left, samples, rng, gone_ids)
            if len(pool) >= POOL:  # as on a server that has evicted for a while
                break
        if not pool:
            break
        _, number, known = pool.pop(0)
        gone.append(known)
        gone_ids.add(number)
        freed += known.size_bytes or 0
        if len(gone_ids) > len(left) / 2:
            left = [one for one in left if one[1] not in gone_ids]
    return gone


def _draw(
    pool: list[tuple[float, float, KeyFacts]],
    left: Sequence[tuple[float, float, KeyFacts]],
    samples: int,
    rng: Random,
    gone: set[float],
) -> None:
    """Put some keys at random into the pool; the best candidates stay in it."""
    held = {number for _, number, _ in pool}
    if not left:
        return
    for one in rng.choices(left, k=samples):
        if one[1] not in gone and one[1] not in held:
            held.add(one[1])
            insort(pool, one, key=lambda entry: entry[:2])
    del pool[POOL:]


def _until(wanted: float, order: Sequence[KeyFacts]) -> list[KeyFacts]:
    gone, freed = [], 0.0
    for known in order:
        if freed >= wanted:
            break
        gone.append(known)
        freed += known.size_bytes or 0
    return gone


def _shares(rounds: Sequence[Sequence[KeyFacts]], prefixes: dict[bytes, bytes]) -> tuple[tuple[bytes, Share], ...]:
    """Return the shares of the bytes that went, with what lies between the outermost rounds."""
    by_round: list[Counter[bytes]] = []
    for gone in rounds:
        sizes: Counter[bytes] = Counter()
        for known in gone:
            sizes[prefixes[known.key]] += known.size_bytes or 0
        by_round.append(sizes)
    names = Counter[bytes]()
    for sizes in by_round:
        names.update(sizes)
    found = []
    for name, _ in names.most_common(SHARES):
        shares = sorted(sizes[name] / max(1, sizes.total()) for sizes in by_round)
        found.append((name, Share(statistics.fmean(shares), shares[0], shares[-1])))
    return tuple(found)
