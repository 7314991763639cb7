"""Plans that make a whole generation of keys invalid with one command: a version key's INCR, Memcached's flush_all."""

from __future__ import annotations

import re

from cachetui.actions.plan.base import Plan, refuse_replica, stamped, typed_name
from cachetui.actions.plan.commands import Command, render
from cachetui.actions.plan.invalidate import how_many, selected_by
from cachetui.actions.plan.kept import KEPT_DAYS, RECEIPT, with_receipt
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.model import Check, Estimate, Identity, Selection
from cachetui.text import duration, printable, size

LONGEST_DELAY_S = 30 * 86400
"""Above this, Memcached reads a delay as a Unix time."""

_INTEGER = re.compile(rb"0|-?[1-9]\d{0,18}")
_LARGEST = 2**63 - 1


def plan_version(
    identity: Identity,
    target: str,
    key: bytes,
    current: bytes | None,
    remaining: Estimate | None,
    *,
    rule: Selection | None = None,
    now: float | None = None,
) -> Plan:
    """Plan the next version: INCR of `key`, which reads `current` now (None: there is no such key).

    `remaining` is what is known of the old version's keys, and `rule` how they are recognised.
    Raises BadUsage for a value that is no integer, Refused on a replica, Unsupported for Memcached.
    """
    refuse_replica(identity)
    if identity.kind == "memcached":
        hint = f"there it is one command: incr {render((key,), 80)} 1"
        raise Unsupported("a version key of Memcached is not planned here", hint)
    name = render((key,), 80)
    new = _following(name, current)
    shown = "not there" if current is None else current.decode("ascii")
    what = [
        f"raise the version key {name} of {target}: {shown} now, {new} afterwards",
        "at once: readers that build their names with the version miss everything and turn to what is behind the cache",
        "only if it still reads as it did: it is raised once, and never sent twice",
    ]
    if current is None:
        what.append("warning: there is no such key; INCR makes it, and begins with 1. Is the name right?")
    what += _remaining(remaining, rule, shown)
    step: Command = (b"INCR", key)
    by_hand = render((b"UNLINK" if current is None else b"DECR", key))
    plan = stamped(
        identity,
        target,
        f"Raise the version {name} from {shown} to {new}",
        [step],
        what,
        needs="edit",
        risk="high" if current is None else "medium",
        undo=f"cachetui undo {RECEIPT} for {KEPT_DAYS} days, or {by_hand}, while the old version's keys are there",
        watched=(key,),
        checks=(Check((b"GET", key), current, f"the version key {name}"),),
        shows=(Check((b"GET", key), b"%d" % new, f"the version key {name}"),),
        now=now,
    )
    return with_receipt(plan)


def plan_flush(identity: Identity, target: str, delay_s: int = 0, *, now: float | None = None) -> Plan:
    """Plan Memcached's flush_all, in `delay_s` whole seconds. Raises Refused for any other server."""
    if identity.kind != "memcached":
        raise Refused("a database is never flushed from here", "delete by the pattern *: it is paced and can be undone")
    if not 0 <= delay_s <= LONGEST_DELAY_S:
        raise BadUsage("the delay of flush_all is from 0 seconds to 30 days", "0: at once")
    when = f"in {duration(delay_s)}" if delay_s else "at once"
    servers = "every server of " if identity.mode == "fleet" else ""
    what = [
        f"make all items of {servers}{target} invalid {when}",
        f"{when}: readers miss everything and turn to what is behind the cache, all at the same moment",
        "memory is not freed: it is used again as new items come",
    ]
    if delay_s:
        what.append("until then a flush_all with another delay replaces this one; items written meanwhile go as well")
    step: Command = (b"flush_all", b"%d" % delay_s) if delay_s else (b"flush_all",)
    return stamped(
        identity,
        target,
        f"Flush all of {target}",
        [step],
        what,
        needs="delete",
        risk="high",
        undo="no undo: the items are gone for every reader",
        typed=typed_name(target),
        now=now,
    )


def _following(name: str, current: bytes | None) -> int:
    if current is None:
        return 1
    if not _INTEGER.fullmatch(current) or not -_LARGEST - 1 <= int(current) < _LARGEST:
        shown = printable(current, 40)
        raise BadUsage(f"{name} holds no version that can be raised: {shown}", "INCR needs a whole number of 64 bits")
    return int(current) + 1


def _remaining(remaining: Estimate | None, rule: Selection | None, version: str) -> list[str]:
    if remaining is None:
        return ["keys of the old version: not counted; they stay as they are"]
    where = f" ({', '.join(selected_by(rule))})" if rule is not None else ""
    lines = [f"keys of version {version}: {how_many(remaining)}{where}; they stay as they are"]
    if remaining.sample:
        lines.append("names: " + ", ".join(render((name,), 60) for name in remaining.sample[:5]))
    if remaining.bytes_total is not None:
        lines.append(f"memory: about {size(remaining.bytes_total)} in them")
    if remaining.without_ttl is not None and remaining.looked:
        lines.append(_fate(remaining.without_ttl, remaining.looked))
    if remaining.note:
        lines.append(f"note: {remaining.note}")
    return lines


def _fate(without_ttl: int, looked: int) -> str:
    if not without_ttl:
        return f"they will expire by themselves: all {looked:,} looked at have a TTL"
    if without_ttl == looked:
        return f"they stay for ever: none of {looked:,} looked at has a TTL; delete them by pattern afterwards"
    return f"{without_ttl:,} of {looked:,} looked at have no TTL and stay for ever; the others expire by themselves"
