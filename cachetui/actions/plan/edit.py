"""Plans that change one key: its value, its name, a copy of it. Each is carried out only on what was seen."""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterable, Sequence

from cachetui.actions.plan.base import Plan, refuse_replica, stamped
from cachetui.actions.plan.commands import ARGUMENT_BYTES, Command, render
from cachetui.actions.plan.effects import Risk
from cachetui.actions.plan.keys import check_key
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.model import Check, Identity, KeyFacts, Value
from cachetui.text import duration, printable, size

STRING, JSON, ITEM = "string", "ReJSON-RL", "item"
"""Types, as servers name them, whose value is edited as one text."""

SHOWN_BYTES = 120
"""Of an old or a new value so much is shown in a preview."""
READ_BACK_BYTES = 64 * 1024
"""A larger value is not read back afterwards."""
SLOW_COPY_BYTES = 10 * 1024 * 1024
LARGEST_BYTES = 64 * 1024 * 1024
"""A command larger than this is not sent: the server could serve nobody else while it takes it in."""

UNLESS_CHANGED = "only if it still is as it was read: what somebody else writes meanwhile is shown, never overwritten"


def plan_set_string(identity: Identity, target: str, value: Value, new: bytes, *, now: float | None = None) -> Plan:
    """Plan `new` as the value of a string, a JSON document or a Memcached item that was read whole.

    Its TTL and, in Memcached, its client flags stay. Raises BadUsage for another type or the
    same value, Refused when `value` is only a part of it.
    """
    key, old = value.facts.key, _whole(value)
    if new == old:
        raise BadUsage("the value is as it was: there is nothing to write", "change it, or leave with Esc")
    checks, step, shows = _replacing(identity, value, old, new)
    what = [
        f"set the value of {named(key)} of {target}: {size(len(new))}, it was {size(len(old))}",
        *was_and_will_be(old, new),
        _ttl_line(value.facts),
        UNLESS_CHANGED,
    ]
    return changing(
        identity,
        target,
        f"Set the value of {named(key)}",
        [step],
        what,
        watched=(key,),
        checks=checks,
        shows=shows if len(new) <= READ_BACK_BYTES else (),
        undo=_undo_set(identity, value, old, step),
        now=now,
    )


def plan_rename(
    identity: Identity, target: str, key: bytes | KeyFacts, new: bytes, *, now: float | None = None
) -> Plan:
    """Plan another name for a key; its value and TTL stay. A key that has the new name is never overwritten."""
    key, facts = _key_and_facts(key)
    _check_names(identity, key, new, "rename")
    return changing(
        identity,
        target,
        f"Rename {named(key)} to {named(new)}",
        [(b"RENAMENX", key, new)],
        [
            f"rename {named(key)} of {target} to {named(new)}",
            _ttl_line(facts),
            "only if no key has the new name",
            "at once: readers of the old name miss it",
        ],
        watched=(key, new),
        checks=(exists(key), absent(new)),
        undo=render((b"RENAMENX", new, key)),
        now=now,
    )


def plan_copy(
    identity: Identity,
    target: str,
    key: bytes | KeyFacts,
    new: bytes,
    *,
    copy_known: bool = True,
    now: float | None = None,
) -> Plan:
    """Plan a copy of a key with its TTL. A key that has the new name is never overwritten.

    `copy_known` is whether the server has COPY (Redis 6.2).
    """
    key, facts = _key_and_facts(key)
    if not copy_known:
        raise Unsupported("this server has no COPY (Redis before 6.2)", "export the key and import it by another name")
    _check_names(identity, key, new, "copy")
    what = [f"copy {named(key)} of {target} to {named(new)}", _ttl_line(facts), "only if no key has the new name"]
    large = facts.size_bytes is not None and facts.size_bytes >= SLOW_COPY_BYTES
    if large:
        what.append(f"warning: {size(facts.size_bytes)} are copied at once, and every client waits")
    elif facts.size_bytes is None:
        what.append("its size is unknown: every client waits while a large value is copied")
    else:
        what.append(f"memory: about {size(facts.size_bytes)} more")
    return changing(
        identity,
        target,
        f"Copy {named(key)} to {named(new)}",
        [(b"COPY", key, new)],
        what,
        watched=(key, new),
        checks=(exists(key), absent(new)),
        risk="high" if large else "medium",
        undo=render((b"UNLINK", new)),
        now=now,
    )


def changing(
    identity: Identity,
    target: str,
    title: str,
    steps: Sequence[Command],
    what: Iterable[str],
    *,
    watched: tuple[bytes, ...],
    checks: tuple[Check, ...],
    undo: str,
    shows: tuple[Check, ...] = (),
    risk: Risk = "medium",
    now: float | None = None,
) -> Plan:
    """Stamp a plan whose commands are carried out together, and only if all `checks` hold."""
    refuse_replica(identity)
    refuse_too_large(steps)
    return stamped(
        identity,
        target,
        title,
        tuple(steps),
        what,
        needs="edit",
        risk=risk,
        undo=undo,
        watched=watched,
        checks=checks,
        shows=shows,
        now=now,
    )


def refuse_too_large(steps: Iterable[Command]) -> None:
    """Raise Refused for a command that is too large to be sent from here."""
    for command in steps:
        weight = sum(map(len, command))
        if weight > LARGEST_BYTES:
            raise Refused(
                f"{render(command[:2], 80)} would carry {size(weight)}, and at most {size(LARGEST_BYTES)} are sent",
                "set it with a client of your own",
            )


def named(key: bytes) -> str:
    """Return a key, a field or a member for a line of text."""
    return render((key,), 80)


def exists(key: bytes) -> Check:
    """Check that a key is there."""
    return Check((b"EXISTS", key), 1, f"the key {named(key)}")


def absent(key: bytes) -> Check:
    """Check that a key is not there."""
    return Check((b"EXISTS", key), 0, f"the key {named(key)}")


def of_type(key: bytes, type_: str) -> Check:
    """Check that a key is there and still of this type."""
    return Check((b"TYPE", key), type_.encode(), f"the {type_} {named(key)}")


def was_and_will_be(old: bytes | None, new: bytes | None) -> list[str]:
    """Return the beginnings of an old and a new value as two lines."""
    return [
        *([] if old is None else [f"was: {render((old,), SHOWN_BYTES)}"]),
        *([] if new is None else [f"now: {render((new,), SHOWN_BYTES)}"]),
    ]


def undo_by(command: Command) -> str:
    """Return the command that takes a change back, where it can be written out whole."""
    longest = max(map(len, command))
    if longest > ARGUMENT_BYTES:
        return f"no undo: the old value ({size(longest)}) is not kept"
    return render(command)


def checked_json(text: bytes) -> bytes:
    """Return `text`, or raise BadUsage with the place where it is no JSON."""

    def refuse(word: str) -> object:
        raise ValueError(f"{word} is no JSON")

    try:
        json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise BadUsage("this JSON is nested too deep", "make it flatter") from None
    except ValueError as error:
        raise BadUsage(f"not JSON: {printable(str(error), 120)}", "correct it, or leave with Esc") from None
    return text


def hash_slot(key: bytes) -> int:
    """Return the cluster's slot of a key.

    >>> hash_slot(b"foo"), hash_slot(b"{foo}bar"), hash_slot(b"{}foo") == hash_slot(b"foo")
    (12182, 12182, False)
    """
    opening = key.find(b"{")
    closing = key.find(b"}", opening + 1)
    tag = key[opening + 1 : closing] if opening >= 0 and closing > opening + 1 else key
    return binascii.crc_hqx(tag, 0) % 16384


def _whole(value: Value) -> bytes:
    """Return the value's bytes. Raises unless they are all of it and one text."""
    facts = value.facts
    if not facts.exists:
        raise Refused(f"{named(facts.key)} is gone", "look at the list again")
    if facts.type not in (STRING, JSON, ITEM):
        known = printable(facts.type or "a value of unknown type", 40)
        raise BadUsage(f"{known} is not edited as one text", "edit one field, member or element of it")
    item = value.items[0] if len(value.items) == 1 else None
    whole = item is not None and value.start is None and value.next is None and not item.label
    if item is None or not whole or item.total_bytes != len(item.data):
        total = item.total_bytes if item is not None else value.total
        raise Refused(
            f"{named(facts.key)}: only a part of its {size(total)} was read; writing it back would cut off the rest",
            "only a value that was read whole can be edited",
        )
    return item.data


def _replacing(
    identity: Identity, value: Value, old: bytes, new: bytes
) -> tuple[tuple[Check, ...], Command, tuple[Check, ...]]:
    """Return what is checked, the command, and what must be read afterwards."""
    key, type_ = value.facts.key, value.facts.type
    what = f"the value of {named(key)}"
    if type_ == JSON:
        checks = (of_type(key, JSON), Check((b"JSON.GET", key), old, what))
        return checks, (b"JSON.SET", key, b"$", checked_json(new)), ()
    if type_ == STRING:
        return (
            (Check((b"GET", key), old, what),),
            (b"SET", key, new, b"KEEPTTL"),
            (Check((b"GET", key), new, what),),
        )
    if identity.kind != "memcached":
        raise BadUsage("only Memcached holds items", "")
    if value.version is None or value.version == b"0":
        raise Unsupported(
            "this memcached keeps no version of its items (-C), so a change by somebody else could be overwritten",
            "start it without -C",
        )
    seconds = 0 if value.facts.ttl_s is None else max(1, int(value.facts.ttl_s))
    settings = (b"F%d" % (value.flags or 0), b"T%d" % seconds, b"C" + value.version)
    return (
        (Check((b"mg", key, b"c"), value.version, what),),
        (b"ms", key, *settings, new),
        (Check((b"mg", key, b"v"), new, what),),
    )


def _undo_set(identity: Identity, value: Value, old: bytes, step: Command) -> str:
    if identity.kind == "memcached":
        too_long = len(old) > ARGUMENT_BYTES
        return (
            f"no undo: the old value ({size(len(old))}) is not kept" if too_long else f"edit it back: {render((old,))}"
        )
    if value.facts.type == JSON:
        return undo_by((*step[:3], old))
    return undo_by((*step[:2], old, *step[3:]))


def _ttl_line(facts: KeyFacts) -> str:
    if facts.has_ttl is False:
        return "no TTL: it stays until it is deleted or evicted, as before"
    if facts.ttl_s is not None:
        return f"the TTL goes on running: {duration(facts.ttl_s)} left now"
    return "the TTL is unknown and stays as it is"


def _key_and_facts(key: bytes | KeyFacts) -> tuple[bytes, KeyFacts]:
    return (key, KeyFacts(key)) if isinstance(key, bytes) else (key.key, key)


def _check_names(identity: Identity, key: bytes, new: bytes, verb: str) -> None:
    if identity.kind == "memcached":
        raise Unsupported(f"memcached cannot {verb} an item", "make a new one and delete the old one")
    check_key(identity, new)
    if key == new:
        raise BadUsage("both names are the same", "give another name")
    if identity.mode == "cluster" and hash_slot(key) != hash_slot(new):
        raise Refused(
            f"in a cluster {named(key)} and {named(new)} live in different slots, and no command reaches both",
            f"choose a name with the same part in braces, such as {printable(_same_slot(key), 80)}",
        )


def _same_slot(key: bytes) -> bytes:
    """Return an example of a name in the slot of `key`."""
    opening = key.find(b"{")
    closing = key.find(b"}", opening + 1)
    if opening >= 0 and closing > opening + 1:
        return key[opening : closing + 1] + b":new"
    return b"{" + key + b"}:new"
