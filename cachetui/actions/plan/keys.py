"""Plans that act on keys: deletion and TTL."""

from __future__ import annotations

import math
import time
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from cachetui.actions.plan.base import BATCH, Plan, Sweep, refuse_replica, stamped, typed_name
from cachetui.actions.plan.commands import Command, PerKey, render, valid_memcached_word
from cachetui.actions.plan.kept import way_back, with_receipt
from cachetui.errors import BadUsage
from cachetui.model import Estimate, Identity, Keep, KeyFacts, Operation, Selection
from cachetui.text import duration, printable, size

MANY_KEYS = 10_000
"""From here on a bulk write is of high risk."""
SAMPLE = 5
"""Names shown in a preview."""
SAMPLED = 100
"""Names and sizes that an estimate of listed keys is made of."""
LONGEST_TTL_S = 100 * 365 * 86400
SOONEST_S = 1.0
"""A shorter TTL is a deletion without a way back."""
MEMCACHED_KEY_BYTES = 250
MEMCACHED_RELATIVE_S = 30 * 86400
"""Above this, Memcached reads an expiry as a Unix time."""


def plan_delete(
    identity: Identity,
    target: str,
    facts_or_keys: Iterable[KeyFacts | bytes],
    *,
    prefix: bytes | None = None,
    total: int | None = None,
    unlink_known: bool = True,
    keep: Keep | None = None,
    now: float | None = None,
) -> Plan:
    """Plan the deletion of exactly these keys; a repeated key counts once.

    `prefix` is where they came from (empty: the whole database), `total` the keys of the
    database where known, `keep` what is kept for the way back. Raises BadUsage without keys
    or for a key Memcached cannot name, Refused on a replica.
    """
    refuse_replica(identity)
    chosen = _chosen(facts_or_keys)
    whole = (prefix is not None and not prefix.strip(b" \t\r\n*")) or (
        total is not None and 1 < total <= len(chosen.keys)
    )
    memcached = identity.kind == "memcached"
    verb = b"delete" if memcached else b"UNLINK" if unlink_known else b"DEL"
    what = [f"delete {chosen.words()} from {target}", chosen.names()]
    if whole:
        what.append("this is the whole database, as far as it was listed; keys born later stay")
    elif prefix is not None:
        what.append(f"under the prefix {render((prefix,), 80)} the keys listed now; keys born later stay")
    what += _facts_lines(chosen)
    what.append("at once: readers miss these keys and turn to what is behind the cache")
    if verb == b"DEL":
        what.append("warning: UNLINK is not available here; DEL frees big values while every client waits")
    keys, operation = _checked_keys(identity, chosen), Operation("delete")
    back = way_back(operation, keep, chosen.estimate())
    plan = stamped(
        identity,
        target,
        f"Delete {chosen.words()}",
        PerKey((verb,), keys),
        [*what, *back.lines],
        needs="delete",
        risk="high" if whole or len(keys) >= MANY_KEYS else "medium",
        undo=back.words,
        typed=typed_name(target) if whole or back.too_much else None,
        batch=BATCH,
        deletes=True,
        sweep=None if keep is None else Sweep(Selection(keys), operation, verb, back.keep, expected=len(keys)),
        now=now,
    )
    return with_receipt(plan)


def plan_ttl(
    identity: Identity,
    target: str,
    facts_or_keys: Iterable[KeyFacts | bytes],
    ttl_s: float | None,
    *,
    keep: Keep | None = None,
    now: float | None = None,
) -> Plan:
    """Plan a new TTL in seconds for these keys, or None to keep them for ever.

    `keep` is what is kept for the way back; a TTL under a second has none. Raises BadUsage
    for a TTL that would delete the key at once or overflow.
    """
    refuse_replica(identity)
    check_ttl(ttl_s)
    chosen = _chosen(facts_or_keys)
    now = time.time() if now is None else now
    operation = Operation("persist") if ttl_s is None else Operation("expire", ttl_s)
    keep = None if ttl_s is not None and ttl_s < SOONEST_S else keep
    head, tail = ttl_words(identity, ttl_s, now) if keep is None else swept_words(identity, operation, b"", now)
    words = "no TTL" if ttl_s is None else f"TTL {duration(ttl_s)}"
    what = [f"set {words} on {chosen.words()} of {target}", chosen.names(), _old_ttl_line(chosen)]
    if ttl_s is None:
        what.append("at once: nothing; these keys stay until they are deleted or evicted")
    else:
        together = "it expires" if len(chosen.keys) == 1 else "all of them expire together"
        what.append(f"at once: nothing; {duration(ttl_s)} from then {together}")
    keys = _checked_keys(identity, chosen)
    back = way_back(operation, keep, chosen.estimate())
    plan = stamped(
        identity,
        target,
        f"Set {words} on {chosen.words()}",
        PerKey(head, keys, tail),
        [*what, *back.lines],
        needs="ttl",
        risk="high" if len(keys) >= MANY_KEYS else "low" if len(keys) == 1 else "medium",
        undo=_ttl_undo(identity, chosen, now) if keep is None else back.words,
        batch=BATCH,
        sweep=None if keep is None else Sweep(Selection(keys), operation, keep=back.keep, expected=len(keys)),
        now=now,
    )
    return with_receipt(plan)


def check_ttl(ttl_s: float | None) -> None:
    """Raise BadUsage for a TTL in seconds that would delete the key at once or overflow."""
    if ttl_s is not None and not 0.001 <= ttl_s <= LONGEST_TTL_S:
        raise BadUsage("a TTL is more than 0 seconds and at most 100 years", "to remove keys at once, delete them")


def check_key(identity: Identity, key: bytes) -> None:
    """Raise BadUsage for a key that this kind of server cannot name."""
    if identity.kind == "memcached" and not valid_memcached_key(key):
        raise BadUsage(
            f"not a Memcached key: {render((key,), 80)}",
            "a key has 1 to 250 bytes, no spaces and no control characters",
        )


def valid_memcached_key(key: bytes) -> bool:
    """Tell whether a Memcached text command can carry `key`; any other would be a command injection.

    >>> [valid_memcached_key(key) for key in (b"a", b"", b"a b", b"a\\r\\nflush_all", b"k" * 251)]
    [True, False, False, False, False]
    """
    return len(key) <= MEMCACHED_KEY_BYTES and valid_memcached_word(key)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The keys of a plan, each once, and what is known of some or all of them."""

    keys: tuple[bytes, ...]
    known: tuple[KeyFacts, ...]

    def words(self) -> str:
        if len(self.keys) == 1:
            return f"the key {render(self.keys[:1], 80)}"
        return f"{len(self.keys):,} keys"

    def names(self) -> str:
        rest = len(self.keys) - SAMPLE
        names = ", ".join(render((key,), 60) for key in self.keys[:SAMPLE])
        return f"names: {names}" + (f" ... and {rest:,} more" if rest > 0 else "")

    def estimate(self) -> Estimate:
        """Return what is known as other plans take it."""
        sizes = sorted((known.size_bytes for known in self.known if known.size_bytes is not None), reverse=True)
        return Estimate(
            len(self.keys),
            sample=self.keys[:SAMPLED],
            looked=len(self.known),
            bytes_each=sum(sizes) / len(sizes) if sizes else None,
            largest_bytes=sizes[0] if sizes else None,
            heaviest_bytes=tuple(sizes[:SAMPLED]),
        )


def _chosen(facts_or_keys: Iterable[KeyFacts | bytes]) -> _Chosen:
    """Sort out what was given; a million bare keys cost no objects."""
    given = list(facts_or_keys)
    known = {item.key: item for item in given if isinstance(item, KeyFacts)}
    keys = tuple(dict.fromkeys(item if isinstance(item, bytes) else item.key for item in given))
    if not keys:
        raise BadUsage("no keys were given", "mark or select at least one")
    return _Chosen(keys, tuple(known.values()))


def _checked_keys(identity: Identity, chosen: _Chosen) -> tuple[bytes, ...]:
    for key in chosen.keys:
        check_key(identity, key)
    return chosen.keys


def _facts_lines(chosen: _Chosen) -> list[str]:
    """Sum up what is known of the keys; what nobody measured is not guessed."""
    lines = []
    gone = sum(not known.exists for known in chosen.known)
    if gone:
        lines.append(f"gone already: {gone:,} of {len(chosen.keys):,}")
    sizes = [known.size_bytes for known in chosen.known if known.size_bytes is not None]
    if sizes:
        lines.append(f"memory: about {size(sum(sizes))} in {len(sizes):,} of {len(chosen.keys):,} keys measured")
    else:
        lines.append("memory: not measured")
    types = Counter(printable(known.type, 20) for known in chosen.known if known.type is not None)
    if types:
        lines.append("types: " + ", ".join(f"{count:,} {name}" for name, count in types.most_common()))
    with_ttl = [known.has_ttl for known in chosen.known if known.has_ttl is not None]
    if with_ttl:
        lines.append(f"no TTL: {with_ttl.count(False):,} of {len(with_ttl):,} known; the others expire by themselves")
    return lines


def ttl_words(identity: Identity, ttl_s: float | None, now: float) -> tuple[Command, Command]:
    """Return what stands before and after the key to set this TTL."""
    if identity.kind == "memcached":
        whole = 0 if ttl_s is None else math.ceil(ttl_s)
        if whole > MEMCACHED_RELATIVE_S:
            whole += int(now)
        return (b"touch",), (b"%d" % whole,)
    if ttl_s is None:
        return (b"PERSIST",), ()
    if ttl_s == int(ttl_s):
        return (b"EXPIRE",), (b"%d" % int(ttl_s),)
    return (b"PEXPIRE",), (b"%d" % math.ceil(ttl_s * 1000),)


def swept_words(identity: Identity, operation: Operation, key: bytes, now: float) -> tuple[Command, Command]:
    """Return what stands before and after a key that gets another TTL among many, were it written now."""
    if operation.kind == "persist":
        return ttl_words(identity, None, now)
    ttl_s = (operation.ttl_s or 0.0) + operation.jitter_s * zlib.crc32(key) / 2**32
    if identity.kind == "memcached":
        return ttl_words(identity, ttl_s, now)
    return (b"PEXPIREAT",), (b"%d" % round((now + ttl_s) * 1000),)


def _old_ttl_line(chosen: _Chosen) -> str:
    left = [known.ttl_s for known in chosen.known if known.ttl_s is not None]
    never = sum(known.has_ttl is False for known in chosen.known)
    parts = []
    if left:
        parts.append(f"{len(left):,} expire in {duration(min(left))} to {duration(max(left))}")
    if never:
        parts.append(f"{never:,} have no TTL")
    unknown = len(chosen.keys) - len(left) - never
    if unknown:
        parts.append(f"{unknown:,} unknown")
    return f"now: {', '.join(parts)}"


def _ttl_undo(identity: Identity, chosen: _Chosen, now: float) -> str:
    if len(chosen.keys) > 1:
        return "no undo: the old TTLs are not kept"
    known = chosen.known[0] if chosen.known else KeyFacts(chosen.keys[0])
    if known.has_ttl is False:
        head, tail = ttl_words(identity, None, now)
    elif known.ttl_s is not None and known.ttl_s > 0:
        head, tail = ttl_words(identity, known.ttl_s, now)
    else:
        return "no undo: the old TTL is unknown"
    when = "" if known.has_ttl is False else f" (it had {duration(known.ttl_s)} left)"
    return f"{render((*head, known.key, *tail))}{when}"
