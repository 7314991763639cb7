"""Plans that change a Memcached item in place, whatever others write to it: append, prepend, incr, decr."""

from __future__ import annotations

import re
from typing import Literal

from cachetui.actions.plan.base import Plan, stamped
from cachetui.actions.plan.commands import Command, render
from cachetui.actions.plan.keys import valid_memcached_key
from cachetui.errors import BadUsage, Unsupported
from cachetui.model import Identity, Value
from cachetui.text import duration, printable, size

LARGEST = 2**64 - 1
_NUMBER = re.compile(rb"\d{1,20} *")
_SHOWN = 60


def plan_extend(
    identity: Identity,
    target: str,
    value: Value,
    data: bytes,
    *,
    where: Literal["append", "prepend"],
    now: float | None = None,
) -> Plan:
    """Plan `append` or `prepend` of `data` to the item; its flags and its TTL stay."""
    key = _key(identity, value)
    if not data:
        raise BadUsage("nothing to add was given", "")
    length = value.total or 0
    side = "end" if where == "append" else "beginning"
    step: Command = (where.encode(), key, b"0", b"0", data)
    return stamped(
        identity,
        target,
        f"{where.capitalize()} to {printable(key, _SHOWN)}",
        [step],
        [
            f"add {size(len(data))} at the {side} of {printable(key, _SHOWN)} of {target},"
            f" which has {size(length)}: {printable(data, _SHOWN)}",
            _ttl_line(value),
            "whatever is in the item by then: nothing that others write meanwhile is lost",
            "readers see it at once; one that expects a whole document may not understand the longer one",
        ],
        needs="edit",
        risk="medium",
        undo=f"no undo: take the {size(len(data))} off again by editing the value (e)",
        now=now,
    )


def plan_count(identity: Identity, target: str, value: Value, by: int, *, now: float | None = None) -> Plan:
    """Plan `incr` by `by`, `decr` where it is negative. Raises BadUsage where the item holds no number."""
    key = _key(identity, value)
    held = value.items[0].data if value.items else b""
    if not _NUMBER.fullmatch(held) or int(held) > LARGEST:
        raise BadUsage(f"{printable(key, _SHOWN)} holds no whole number", "only items of digits can be counted up")
    if not by or abs(by) > LARGEST:
        raise BadUsage("give a whole number other than 0, of at most 64 bits", "")
    verb, back = ("incr", "decr") if by > 0 else ("decr", "incr")
    before = int(held)
    step: Command = (verb.encode(), key, b"%d" % abs(by))
    lines = [
        f"{verb} {printable(key, _SHOWN)} of {target} by {abs(by)}: {before} now, {_after(before, by)} then",
        _ttl_line(value),
        "whatever the number is by then: nothing that others count meanwhile is lost",
    ]
    if before + by < 0:
        lines.append("memcached does not count below 0: it stays there")
    if before + by > LARGEST:
        lines.append("memcached begins again at 0 beyond 64 bits")
    exact = 0 <= before + by <= LARGEST
    return stamped(
        identity,
        target,
        f"Count {printable(key, _SHOWN)} {'up' if by > 0 else 'down'} by {abs(by)}",
        [step],
        lines,
        needs="edit",
        risk="low",
        undo=render((back.encode(), key, b"%d" % abs(by))) if exact else f"no undo: it was {before}; edit it back (e)",
        now=now,
    )


def _after(before: int, by: int) -> int:
    return max(0, before + by) % (LARGEST + 1)


def _key(identity: Identity, value: Value) -> bytes:
    if identity.kind != "memcached":
        raise Unsupported("only Memcached holds items", "")
    key = value.facts.key
    if not valid_memcached_key(key):
        raise Unsupported("not for names that only travel base64-encoded", "edit the whole value instead (e)")
    if not value.facts.exists:
        raise BadUsage("the item is gone", "n makes it anew")
    return key


def _ttl_line(value: Value) -> str:
    if value.facts.has_ttl is False:
        return "no TTL: it stays until it is deleted or evicted, as before"
    if value.facts.ttl_s is None:
        return "its TTL stays as it is"
    return f"its TTL goes on running: {duration(value.facts.ttl_s)} left now"
