"""Plans that act on keys: deletion and TTL."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable

from cachetui.actions.plan.base import BATCH, Plan, refuse_replica, stamped, typed_name
from cachetui.actions.plan.commands import Command, PerKey, render, valid_memcached_word
from cachetui.errors import BadUsage
from cachetui.model import Identity, KeyFacts
from cachetui.text import duration, printable, size

MANY_KEYS = 10_000
"""From here on a bulk write is of high risk."""
SAMPLE = 5
"""Names shown in a preview."""
LONGEST_TTL_S = 100 * 365 * 86400
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
    now: float | None = None,
) -> Plan:
    """Plan the deletion of exactly these keys; a repeated key counts once.

    `prefix` is where they came from (empty: the whole database), `total` the keys of the
    database where known. Raises BadUsage without keys or for a key Memcached cannot name,
    Refused on a replica.
    """
    refuse_replica(identity)
    facts = _by_key(facts_or_keys)
    whole = (prefix is not None and not prefix.strip(b" \t\r\n*")) or (total is not None and 1 < total <= len(facts))
    memcached = identity.kind == "memcached"
    verb = b"delete" if memcached else b"UNLINK" if unlink_known else b"DEL"
    what = [f"delete {_keys_words(facts)} from {target}", _names_line(facts)]
    if whole:
        what.append("this is every key of the database")
    elif prefix is not None:
        what.append(f"under the prefix {printable(prefix, 80)}: the keys listed now; keys born later stay")
    what += _facts_lines(facts)
    what.append("at once: readers miss these keys and turn to what is behind the cache")
    if verb == b"DEL":
        what.append("warning: UNLINK is not available here; DEL frees big values while every client waits")
    return stamped(
        identity,
        target,
        f"Delete {_keys_words(facts)}",
        PerKey((verb,), _checked_keys(identity, facts)),
        what,
        needs="delete",
        risk="high" if whole or len(facts) >= MANY_KEYS else "medium",
        undo="no undo: the values are not kept",
        typed=typed_name(target) if whole else None,
        batch=BATCH,
        deletes=True,
        now=now,
    )


def plan_ttl(
    identity: Identity,
    target: str,
    facts_or_keys: Iterable[KeyFacts | bytes],
    ttl_s: float | None,
    *,
    now: float | None = None,
) -> Plan:
    """Plan a new TTL in seconds for these keys, or None to keep them for ever.

    Raises BadUsage for a TTL that would delete the key at once or overflow.
    """
    refuse_replica(identity)
    if ttl_s is not None and not 0.001 <= ttl_s <= LONGEST_TTL_S:
        raise BadUsage("a TTL is more than 0 seconds and at most 100 years", "to remove keys at once, delete them")
    facts = _by_key(facts_or_keys)
    now = time.time() if now is None else now
    head, tail = _ttl_words(identity, ttl_s, now)
    words = "no TTL" if ttl_s is None else f"TTL {duration(ttl_s)}"
    what = [f"set {words} on {_keys_words(facts)} of {target}", _names_line(facts), _old_ttl_line(facts)]
    if ttl_s is None:
        what.append("at once: nothing; these keys stay until they are deleted or evicted")
    else:
        what.append(f"at once: nothing; {duration(ttl_s)} from then all of them expire together")
    return stamped(
        identity,
        target,
        f"Set {words} on {_keys_words(facts)}",
        PerKey(head, _checked_keys(identity, facts), tail),
        what,
        needs="ttl",
        risk="high" if len(facts) >= MANY_KEYS else "low" if len(facts) == 1 else "medium",
        undo=_ttl_undo(identity, facts, now),
        batch=BATCH,
        now=now,
    )


def valid_memcached_key(key: bytes) -> bool:
    """Tell whether a Memcached text command can carry `key`; any other would be a command injection.

    >>> [valid_memcached_key(key) for key in (b"a", b"", b"a b", b"a\\r\\nflush_all", b"k" * 251)]
    [True, False, False, False, False]
    """
    return len(key) <= MEMCACHED_KEY_BYTES and valid_memcached_word(key)


def _by_key(facts_or_keys: Iterable[KeyFacts | bytes]) -> dict[bytes, KeyFacts]:
    """Return the facts by key, each key once, in the order given; a bare key has none."""
    facts: dict[bytes, KeyFacts] = {}
    for item in facts_or_keys:
        known = KeyFacts(item) if isinstance(item, bytes) else item
        facts.setdefault(known.key, known)
    if not facts:
        raise BadUsage("no keys were given", "mark or select at least one")
    return facts


def _checked_keys(identity: Identity, facts: dict[bytes, KeyFacts]) -> tuple[bytes, ...]:
    if identity.kind == "memcached":
        for key in facts:
            if not valid_memcached_key(key):
                raise BadUsage(
                    f"not a Memcached key: {render((key,), 80)}",
                    "a key has 1 to 250 bytes, no spaces and no control characters",
                )
    return tuple(facts)


def _keys_words(facts: dict[bytes, KeyFacts]) -> str:
    if len(facts) == 1:
        return f"the key {render((next(iter(facts)),), 80)}"
    return f"{len(facts):,} keys"


def _names_line(facts: dict[bytes, KeyFacts]) -> str:
    names = [render((key,), 60) for key, _ in zip(facts, range(SAMPLE), strict=False)]
    rest = len(facts) - len(names)
    return f"names: {', '.join(names)}" + (f" ... and {rest:,} more" if rest else "")


def _facts_lines(facts: dict[bytes, KeyFacts]) -> list[str]:
    """Sum up what is known of the keys; what nobody measured is not guessed."""
    lines = []
    gone = sum(not known.exists for known in facts.values())
    if gone:
        lines.append(f"gone already: {gone:,} of {len(facts):,}")
    sizes = [known.size_bytes for known in facts.values() if known.size_bytes is not None]
    if sizes:
        lines.append(f"memory: about {size(sum(sizes))} in {len(sizes):,} of {len(facts):,} keys measured")
    else:
        lines.append("memory: not measured")
    types = Counter(printable(known.type, 20) for known in facts.values() if known.type is not None)
    if types:
        lines.append("types: " + ", ".join(f"{count:,} {name}" for name, count in types.most_common()))
    with_ttl = [known.has_ttl for known in facts.values() if known.has_ttl is not None]
    if with_ttl:
        lines.append(f"no TTL: {with_ttl.count(False):,} of {len(with_ttl):,} known; the others expire by themselves")
    return lines


def _ttl_words(identity: Identity, ttl_s: float | None, now: float) -> tuple[Command, Command]:
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


def _old_ttl_line(facts: dict[bytes, KeyFacts]) -> str:
    left = [known.ttl_s for known in facts.values() if known.ttl_s is not None]
    never = sum(known.has_ttl is False for known in facts.values())
    parts = []
    if left:
        parts.append(f"{len(left):,} expire in {duration(min(left))} to {duration(max(left))}")
    if never:
        parts.append(f"{never:,} have no TTL")
    unknown = len(facts) - len(left) - never
    if unknown:
        parts.append(f"{unknown:,} unknown")
    return f"now: {', '.join(parts)}"


def _ttl_undo(identity: Identity, facts: dict[bytes, KeyFacts], now: float) -> str:
    known = next(iter(facts.values()))
    if len(facts) > 1:
        return "no undo: the old TTLs are not kept"
    if known.has_ttl is False:
        head, tail = _ttl_words(identity, None, now)
    elif known.ttl_s is not None and known.ttl_s > 0:
        head, tail = _ttl_words(identity, known.ttl_s, now)
    else:
        return "no undo: the old TTL is unknown"
    when = "" if known.has_ttl is False else f" (it had {duration(known.ttl_s)} left)"
    return f"{render((*head, known.key, *tail))}{when}"
