"""Plans that change one part of a collection: a field, an element, a member, an entry."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Literal

from cachetui.actions.plan.base import Plan
from cachetui.actions.plan.commands import Command, render
from cachetui.actions.plan.edit import UNLESS_CHANGED, changing, named, of_type, undo_by, was_and_will_be
from cachetui.actions.plan.new import Pairs, score_word
from cachetui.errors import BadUsage
from cachetui.model import Check, Identity
from cachetui.text import duration, printable

FAR_ELEMENTS = 100_000
"""An element further than this from both ends of a list takes the server a noticeable walk."""
LAST = "if it is the last one the key goes with it, and so does its TTL"


def plan_hash_field(
    identity: Identity,
    target: str,
    key: bytes,
    field: bytes,
    *,
    old: bytes | None,
    new: bytes | None,
    field_ttl_s: float | None = None,
    keepttl_known: bool = False,
    now: float | None = None,
) -> Plan:
    """Plan another value of a field; `old` None adds it, `new` None removes it.

    `field_ttl_s` are the seconds that the field has left of a TTL of its own: HSET would take it
    away. `keepttl_known` is whether the server has HSETEX, which keeps it.
    """
    where = f"field {named(field)} of {named(key)}"
    _refuse_same(old, new, where)
    check = Check((b"HGET", key, field), old, where)
    what = [f"{_verb(old, new)} {where} in {target}", *was_and_will_be(old, new), UNLESS_CHANGED]
    own_ttl = field_ttl_s is not None and new is not None and old is not None
    if new is None:
        steps: list[Command] = [(b"HDEL", key, field)]
        what.append(LAST)
    elif own_ttl and keepttl_known:
        steps = [(b"HSETEX", key, b"KEEPTTL", b"FIELDS", b"1", field, new)]
        what.append(f"the field's own TTL goes on running: {duration(field_ttl_s)} left now")
    else:
        steps = [(b"HSET", key, field, new)]
    if own_ttl and not keepttl_known and field_ttl_s is not None:
        left_ms = max(1, math.ceil(field_ttl_s * 1000))
        steps.append((b"HPEXPIRE", key, b"%d" % left_ms, b"FIELDS", b"1", field))
        what.append(f"HSET takes the field's own TTL away: it is set again to the {duration(field_ttl_s)} it had left")
    back: Command = (b"HDEL", key, field) if old is None else (b"HSET", key, field, old)
    return changing(
        identity,
        target,
        f"{_verb(old, new).capitalize()} {where}",
        steps,
        what,
        watched=(key,),
        checks=(of_type(key, "hash"), check),
        shows=() if new is None else (Check((b"HGET", key, field), new, where),),
        undo=undo_by(back),
        now=now,
    )


def plan_list_element(
    identity: Identity,
    target: str,
    key: bytes,
    index: int,
    *,
    old: bytes,
    new: bytes | None,
    length: int | None = None,
    now: float | None = None,
) -> Plan:
    """Plan another element at `index` (from 0), or with `new` None its removal. `length` is the list's, where known.

    Redis removes by value only: the element first becomes one that cannot be there twice.
    """
    if index < 0:
        raise BadUsage("an index counts from 0", "give the one shown in the list")
    where = f"element {index:,} of {named(key)}"
    _refuse_same(old, new, where)
    at = b"%d" % index
    what = [f"{_verb(old, new)} {where} in {target}", *was_and_will_be(old, new), UNLESS_CHANGED]
    if new is None:
        mark = b"cachetui-removed-" + secrets.token_hex(16).encode()
        from_tail = length is not None and index > length // 2
        steps: list[Command] = [(b"LSET", key, at, mark), (b"LREM", key, b"-1" if from_tail else b"1", mark)]
        what += ["those behind it move up by one", LAST]
        undo = "no undo: Redis inserts beside a value, not at an index"
    else:
        steps = [(b"LSET", key, at, new)]
        undo = undo_by((b"LSET", key, at, old))
    walk = index if length is None else min(index, length - index)
    if walk > FAR_ELEMENTS:
        what.append(f"warning: the server walks over {walk:,} elements, and every client waits")
    return changing(
        identity,
        target,
        f"{_verb(old, new).capitalize()} {where}",
        steps,
        what,
        watched=(key,),
        checks=(of_type(key, "list"), Check((b"LINDEX", key, at), old, where)),
        shows=() if new is None else (Check((b"LINDEX", key, at), new, where),),
        undo=undo,
        now=now,
    )


def plan_list_push(
    identity: Identity,
    target: str,
    key: bytes,
    new: bytes,
    *,
    end: Literal["left", "right"] = "right",
    now: float | None = None,
) -> Plan:
    """Plan one more element at an end of a list that exists."""
    left = end == "left"
    at = b"0" if left else b"-1"
    return changing(
        identity,
        target,
        f"Push onto the {end} of {named(key)}",
        [(b"LPUSHX" if left else b"RPUSHX", key, new)],
        [
            f"push one element onto the {end} of {named(key)} in {target}",
            *was_and_will_be(None, new),
            "only if the list is still there",
        ],
        watched=(),
        checks=(of_type(key, "list"),),
        shows=(Check((b"LINDEX", key, at), new, f"the {end} end of {named(key)}"),),
        undo=render((b"LPOP" if left else b"RPOP", key)),
        risk="low",
        now=now,
    )


def plan_set_member(
    identity: Identity,
    target: str,
    key: bytes,
    *,
    old: bytes | None,
    new: bytes | None,
    now: float | None = None,
) -> Plan:
    """Plan a member more (`old` None), one less (`new` None), or another in the place of one."""
    where = f"a member of {named(key)}"
    _refuse_same(old, new, where)
    checks, steps, back = [of_type(key, "set")], [], []
    if old is not None:
        checks.append(Check((b"SISMEMBER", key, old), 1, f"member {named(old)} of {named(key)}"))
        back.append((b"SADD", key, old))
    if new is not None:
        checks.append(Check((b"SISMEMBER", key, new), 0, f"member {named(new)} of {named(key)}"))
        # Added first: a set that is empty for a moment is gone, and its TTL too.
        steps.append((b"SADD", key, new))
        back.append((b"SREM", key, new))
    if old is not None:
        steps.append((b"SREM", key, old))
    what = [f"{_verb(old, new)} {where} in {target}", *was_and_will_be(old, new), UNLESS_CHANGED]
    return changing(
        identity,
        target,
        f"{_verb(old, new).capitalize()} {where}",
        steps,
        [*what, LAST] if new is None else what,
        watched=(key,),
        checks=tuple(checks),
        shows=() if new is None else (Check((b"SISMEMBER", key, new), 1, f"member {named(new)} of {named(key)}"),),
        undo=_undo_all(back),
        now=now,
    )


def plan_zset_member(
    identity: Identity,
    target: str,
    key: bytes,
    member: bytes,
    *,
    old_score: float | None,
    new_score: float | None,
    renamed: bytes | None = None,
    now: float | None = None,
) -> Plan:
    """Plan a member more (`old_score` None), one less (`new_score` None), another score, or `renamed` as its name."""
    where = f"member {named(member)} of {named(key)}"
    if renamed == member:
        renamed = None
    if (old_score == new_score and renamed is None) or (renamed is not None and None in (old_score, new_score)):
        raise BadUsage(f"{where}: there is nothing to change", "give another score or another name")
    checks = [
        of_type(key, "zset"),
        Check((b"ZSCORE", key, member), None if old_score is None else float(old_score), where),
    ]
    steps: list[Command] = []
    back: list[Command] = []
    final = member if renamed is None else renamed
    if new_score is not None:
        steps.append((b"ZADD", key, score_word(new_score), final))
    if old_score is not None:
        back.append((b"ZADD", key, score_word(old_score), member))
    if renamed is not None:
        checks.append(Check((b"ZSCORE", key, renamed), None, f"member {named(renamed)} of {named(key)}"))
    if renamed is not None or new_score is None:
        steps.append((b"ZREM", key, member))
    if renamed is not None or old_score is None:
        back.append((b"ZREM", key, final))
    verb = _verb(None if old_score is None else b"", None if new_score is None else b" ")
    what = [f"{verb} {where} in {target}", *_score_lines(old_score, new_score, renamed), UNLESS_CHANGED]
    return changing(
        identity,
        target,
        f"{verb.capitalize()} {where}",
        steps,
        [*what, LAST] if new_score is None else what,
        watched=(key,),
        checks=tuple(checks),
        shows=() if new_score is None else (Check((b"ZSCORE", key, final), float(new_score), where),),
        undo=_undo_all(back),
        now=now,
    )


def plan_stream_entry(
    identity: Identity,
    target: str,
    key: bytes,
    *,
    entry_id: bytes | None,
    fields: Pairs | None,
    now: float | None = None,
) -> Plan:
    """Plan one more entry (its id by the server's clock when `entry_id` is None), or without `fields` the end of one.

    An entry is never changed: Redis only adds and deletes them.
    """
    check = of_type(key, "stream")
    if fields is None:
        if entry_id is None:
            raise BadUsage("no entry was named", "select one")
        step: Command = (b"XDEL", key, entry_id)
        title = f"Delete entry {printable(entry_id, 60)} of {named(key)}"
        what = [f"delete entry {named(entry_id)} of {named(key)} in {target}", "consumers that have it pending keep it"]
        undo = "no undo: an entry with an old id cannot be added again"
    else:
        if not fields:
            raise BadUsage("an entry has at least one field", "give a field and a value")
        words = [word for pair in fields for word in pair]
        step = (b"XADD", key, entry_id or b"*", *words)
        title = f"Add an entry to {named(key)}"
        what = [f"add an entry to {named(key)} in {target}", f"fields: {render(tuple(words[:10]), 60)}"]
        what.append("at once: consumers that wait for entries get it")
        undo = "delete the entry; a consumer that has read it keeps it"
    return changing(
        identity,
        target,
        title,
        [step],
        what,
        watched=(),
        checks=(check,),
        undo=undo,
        now=now,
    )


def _verb(old: bytes | None, new: bytes | None) -> str:
    return "add" if old is None else "remove" if new is None else "change"


def _refuse_same(old: bytes | None, new: bytes | None, where: str) -> None:
    if old == new:
        raise BadUsage(f"{where}: there is nothing to change", "give another value")


def _undo_all(back: Sequence[Command]) -> str:
    words = [undo_by(command) for command in back]
    refusal = next((word for word in words if word.startswith("no undo")), None)
    return refusal or ", then ".join(words)


def _score_lines(old: float | None, new: float | None, renamed: bytes | None) -> list[str]:
    lines = []
    if old is not None:
        lines.append(f"was: score {score_word(old).decode()}")
    if new is not None:
        name = "" if renamed is None else f" under the name {named(renamed)}"
        lines.append(f"now: score {score_word(new).decode()}{name}")
    return lines
