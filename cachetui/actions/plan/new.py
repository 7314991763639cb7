"""Plans for keys that are not there yet: one that is typed in, or many that are imported."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, cast

from cachetui.actions.plan.base import BATCH, Plan, refuse_replica, stamped
from cachetui.actions.plan.commands import Command, render
from cachetui.actions.plan.edit import (
    READ_BACK_BYTES,
    SHOWN_BYTES,
    absent,
    changing,
    checked_json,
    named,
    refuse_too_large,
)
from cachetui.actions.plan.keys import MANY_KEYS, SAMPLE, check_key, check_ttl, ttl_words
from cachetui.errors import BadUsage, Unsupported
from cachetui.model import Check, Identity
from cachetui.text import duration, printable, size

NewKind = Literal["string", "hash", "list", "set", "zset", "stream", "hyperloglog", "json", "item"]
KINDS: tuple[NewKind, ...] = ("string", "hash", "list", "set", "zset", "stream", "hyperloglog", "json")
"""What can be made in Redis (`json` where the server has it); in Memcached only an `item`."""

Pairs = Sequence[tuple[bytes, bytes]]
Content = bytes | Sequence[bytes] | Pairs | Sequence[tuple[bytes, float]]
"""string, json, item: its bytes; list, set, hyperloglog: elements; hash and stream: (field, value);
zset: (member, score)."""


def plan_new(
    identity: Identity,
    target: str,
    key: bytes,
    kind: NewKind,
    content: Content,
    *,
    ttl_s: float | None = None,
    now: float | None = None,
) -> Plan:
    """Plan a key that does not exist; one that does is never overwritten. `ttl_s` in seconds, None: it stays.

    Raises BadUsage for content that makes no such value (an empty collection does not exist).
    """
    check_ttl(ttl_s)
    check_key(identity, key)
    memcached = identity.kind == "memcached"
    if memcached != (kind == "item"):
        raise BadUsage(f"a {kind} is not made here", "Memcached holds items, Redis everything else")
    made_at = time.time() if now is None else now
    step, words = _made(key, kind, content)
    steps, shows = [step], _shows(key, kind, content)
    if memcached:
        steps = [(b"add", key, b"0", _expiry(identity, ttl_s, made_at), _text(content))]
    elif ttl_s is not None:
        head, tail = ttl_words(identity, ttl_s, made_at)
        steps.append((*head, key, *tail))
    check = Check((b"mg", key, b"c"), None, f"the key {named(key)}") if memcached else absent(key)
    what = [
        f"make the {kind} {named(key)} in {target}",
        words,
        "no TTL: it stays until it is deleted or evicted" if ttl_s is None else f"TTL {duration(ttl_s)} from then on",
        "only if there is no such key: nothing is overwritten",
    ]
    return changing(
        identity,
        target,
        f"Make the {kind} {named(key)}",
        steps,
        what,
        watched=(key,),
        checks=(check,),
        shows=shows,
        risk="low",
        undo=render((b"delete", key)) if memcached else render((b"UNLINK", key)),
        now=now,
    )


def plan_import(
    identity: Identity,
    target: str,
    commands_by_key: Iterable[tuple[bytes, Sequence[Command]]],
    existing: Collection[bytes],
    *,
    now: float | None = None,
) -> Plan:
    """Plan the commands that write many keys, without those of `existing`; a key given twice is one.

    A key that is born before its turn is left alone as well. Raises BadUsage when nothing is left.
    """
    refuse_replica(identity)
    if identity.kind == "memcached":
        raise Unsupported("an import is made of Redis commands", "connect to Redis or Valkey")
    groups: dict[bytes, list[Command]] = {}
    for key, commands in commands_by_key:
        groups.setdefault(key, []).extend(commands)
    for key, some in groups.items():
        _refuse_strangers(key, some)
    skipped = [key for key in groups if key in existing]
    fresh = {key: some for key, some in groups.items() if key not in existing and some}
    if not fresh:
        why = f"{counted(len(skipped))} of it exist already" if skipped else "there are no keys in it"
        raise BadUsage(f"nothing to import: {why}", "what exists is never overwritten")
    steps = [command for some in fresh.values() for command in some]
    refuse_too_large(steps)
    names = Counter(printable(command[0].upper(), 20) for command in steps)
    more = f" ... and {len(fresh) - SAMPLE:,} more" if len(fresh) > SAMPLE else ""
    what = [
        f"write {counted(len(fresh), 'new key')} to {target}",
        "names: " + ", ".join(render((key,), 60) for key in list(fresh)[:SAMPLE]) + more,
        f"skipped: {counted(len(skipped))} that exist already; nothing is overwritten",
        "commands: " + ", ".join(f"{count:,} {name}" for name, count in names.most_common()),
        f"about {size(sum(len(word) for command in steps for word in command))} are sent",
    ]
    return stamped(
        identity,
        target,
        f"Import {counted(len(fresh))}",
        steps,
        what,
        needs="edit",
        risk="high" if len(fresh) >= MANY_KEYS else "medium",
        undo="delete what it has written: the journal names the first commands",
        batch=BATCH,
        fresh=tuple((key, len(some)) for key, some in fresh.items()),
        now=now,
    )


_WRITERS = frozenset(
    b"SET RPUSH LPUSH HSET SADD ZADD XADD PFADD GEOADD JSON.SET RESTORE"
    b" EXPIRE EXPIREAT PEXPIRE PEXPIREAT HEXPIRE HEXPIREAT HPEXPIRE HPEXPIREAT".split()
)
"""What an import may hold: commands that write the one key after their name, and nothing else."""


def _refuse_strangers(key: bytes, commands: Sequence[Command]) -> None:
    for command in commands:
        if len(command) < 2 or command[1] != key:
            raise BadUsage(f"a command for {named(key)} names another key", "nothing was planned")
        if command[0].upper() not in _WRITERS:
            raise BadUsage(f"{render(command[:1], 40)} is not imported", "only commands that write one key are")


def counted(number: int, noun: str = "key") -> str:
    """Return a number with its noun.

    >>> counted(1), counted(1200, "element")
    ('1 key', '1,200 elements')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def score_word(score: float) -> bytes:
    """Return a score as the server reads it, to the last bit.

    >>> score_word(3.0), score_word(0.1), score_word(float("-inf"))
    (b'3', b'0.1', b'-inf')
    """
    if math.isnan(score):
        raise BadUsage("a score is a number", "write 1, 2.5, inf or -inf")
    if math.isinf(score):
        return b"inf" if score > 0 else b"-inf"
    return b"%d" % int(score) if score == int(score) and abs(score) < 2**53 else repr(score).encode()


def _made(key: bytes, kind: NewKind, content: Content) -> tuple[Command, str]:
    """Return the command that makes the value, and what it holds in words."""
    if kind in ("string", "item", "json"):
        text = _text(content)
        words = f"value: {render((text,), SHOWN_BYTES)} ({size(len(text))})"
        if kind == "json":
            return (b"JSON.SET", key, b"$", checked_json(text)), words
        return (b"SET", key, text), words
    if isinstance(content, bytes) or not content:
        raise BadUsage(f"an empty {kind} does not exist", "give it at least one element")
    rows = counted(len(content), "element")
    if kind in ("hash", "stream"):
        pairs = [word for pair in cast(Pairs, content) for word in pair]
        return ((b"HSET", key, *pairs) if kind == "hash" else (b"XADD", key, b"*", *pairs)), _sample(rows, pairs)
    if kind == "zset":
        scored = cast(Sequence[tuple[bytes, float]], content)
        words_ = [word for member, score in scored for word in (score_word(score), member)]
        return (b"ZADD", key, *words_), _sample(rows, words_)
    elements = cast(Sequence[bytes], content)
    name = {"list": b"RPUSH", "set": b"SADD", "hyperloglog": b"PFADD"}[kind]
    return (name, key, *elements), _sample(rows, elements)


def _sample(rows: str, words: Sequence[bytes]) -> str:
    more = " ..." if len(words) > SAMPLE else ""
    return f"{rows}: {' '.join(render((word,), 40) for word in words[:SAMPLE])}{more}"


def _text(content: Content) -> bytes:
    if not isinstance(content, bytes):
        raise BadUsage("this kind of value is one text", "give it as such")
    return content


def _shows(key: bytes, kind: NewKind, content: Content) -> tuple[Check, ...]:
    """Return what must be read afterwards: the value where it is cheap, else the type."""
    what = f"the value of {named(key)}"
    if isinstance(content, bytes) and len(content) <= READ_BACK_BYTES:
        if kind == "string":
            return (Check((b"GET", key), content, what),)
        if kind == "item":
            return (Check((b"mg", key, b"v"), content, what),)
    type_ = {"json": "ReJSON-RL", "hyperloglog": "string"}.get(kind, kind)
    return () if kind == "item" else (Check((b"TYPE", key), type_.encode(), f"the {kind} {named(key)}"),)


def _expiry(identity: Identity, ttl_s: float | None, now: float) -> bytes:
    return ttl_words(identity, ttl_s, now)[1][0]
