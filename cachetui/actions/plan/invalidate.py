"""Plans that act on many keys at once: by a list, by a tag, by a rule."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from cachetui.actions.plan.base import BATCH, Plan, Sweep, refuse_replica, stamped, typed_name
from cachetui.actions.plan.commands import Command, PerKey, render
from cachetui.actions.plan.effects import Risk
from cachetui.actions.plan.kept import WayBack, way_back, with_receipt
from cachetui.actions.plan.keys import (
    LONGEST_TTL_S,
    MANY_KEYS,
    SOONEST_S,
    check_key,
    swept_words,
    valid_memcached_key,
)
from cachetui.errors import BadUsage, Unsupported
from cachetui.model import Estimate, Identity, Keep, Operation, Selection
from cachetui.text import count, duration, printable, rate, size

SAMPLE = 5
"""Names shown in a preview."""
EXAMPLES = 10
"""Commands shown of a rule."""
PER_S, PER_S_KEPT = 100_000, 50_000
"""Keys a second without and with copies, where nothing is known of this server."""
NO_NAME = b"<key>"
"""Stands for a key in the example of a command when no name is known."""


def plan_sweep(
    identity: Identity,
    target: str,
    selection: Selection,
    operation: Operation,
    estimate: Estimate,
    *,
    keep: Keep | None,
    rate: float | None = None,
    p99_ms: float | None = None,
    unlink_known: bool = True,
    seconds_per_key: float | None = None,
    now: float | None = None,
) -> Plan:
    """Plan a deletion or another TTL for all keys of `selection`.

    `rate` is the most keys a second, `p99_ms` what other clients may have to wait,
    `seconds_per_key` the measured pace where there is one. Raises BadUsage for an empty list,
    for a TTL or a name that cannot be, Refused on a replica, Unsupported for what Memcached lacks.
    """
    refuse_replica(identity)
    _check(identity, selection, operation)
    now = time.time() if now is None else now
    if selection.keys is not None:
        selection = replace(selection, keys=tuple(dict.fromkeys(selection.keys)))
    back = way_back(operation, keep, estimate)
    whole = is_whole(selection, estimate)
    verb = b"delete" if identity.kind == "memcached" else b"UNLINK" if unlink_known else b"DEL"
    sweep = Sweep(selection, operation, verb, back.keep, rate, p99_ms, estimate.keys)
    many = estimate.keys is None or _most(estimate) >= MANY_KEYS
    deletes = operation.kind == "delete"
    plan = stamped(
        identity,
        target,
        f"{operation.kind.capitalize()} {how_many(estimate)} {_by(selection)}",
        _steps(identity, sweep, estimate, now),
        _what(identity, target, sweep, estimate, back, whole=whole, seconds_per_key=seconds_per_key),
        needs="delete" if deletes else "ttl",
        risk=_risk(operation, whole=whole, many=many, few=_most(estimate) <= 1),
        undo=back.words,
        typed=typed_name(target) if whole or back.too_much or (many and back.keep is None) else None,
        batch=BATCH,
        deletes=deletes,
        sweep=sweep,
        now=now,
    )
    return with_receipt(plan)


def is_whole(selection: Selection, estimate: Estimate) -> bool:
    """Tell whether that is the entire database: nothing narrows it down, or what does narrows nothing."""
    if selection.whole:
        return True
    return estimate.total is not None and 1 < estimate.total <= _most(estimate)


def how_many(estimate: Estimate) -> str:
    """Return the number of keys in words, with its error where it was not counted."""
    if estimate.keys is None:
        return "an unknown number of keys"
    if not estimate.error:
        return f"{estimate.keys:,} key{'' if estimate.keys == 1 else 's'}"
    return f"about {_rounded(estimate.keys, estimate.error):,} keys (±{_rounded(estimate.error, estimate.error):,})"


def selected_by(selection: Selection) -> list[str]:
    """Return which keys are meant, a condition in each line."""
    lines = []
    if selection.pattern is not None:
        lines.append(f"whose name matches the pattern {render((selection.pattern,), 80)}")
    if selection.regex:
        lines.append(f"in whose name the regular expression {render((selection.regex,), 80)} is found")
    if selection.type_ is not None:
        lines.append(f"of the type {printable(selection.type_, 40)}")
    if selection.ttl is not None:
        lines.append("that have a TTL" if selection.ttl else "that have no TTL")
    if selection.idle_s is not None:
        lines.append(f"that nobody has used for {duration(selection.idle_s)} or longer")
    return lines


def _check(identity: Identity, selection: Selection, operation: Operation) -> None:
    if selection.keys is not None and not selection.keys:
        raise BadUsage("no keys were given", "name at least one")
    ttl_s = operation.ttl_s
    if operation.kind == "expire" and not (ttl_s is not None and SOONEST_S <= ttl_s <= LONGEST_TTL_S):
        raise BadUsage("keys expire in 1 second at the soonest, in 100 years at the latest", "or are deleted at once")
    if not 0 <= operation.jitter_s <= LONGEST_TTL_S:
        raise BadUsage("the jitter is from 0 seconds to 100 years", "0: all expire together")
    if identity.kind != "memcached":
        return
    if selection.tag is not None:
        raise Unsupported("Memcached has no sets, so it has no tags", "give a pattern or a list of keys")
    if selection.type_ not in (None, "item"):
        raise Unsupported("Memcached knows no types: all its keys hold items", "leave the type out")
    for key in selection.keys or ():
        check_key(identity, key)


def _most(estimate: Estimate) -> int:
    """Return how many keys there may be."""
    return (estimate.keys or 0) + estimate.error


def _risk(operation: Operation, *, whole: bool, many: bool, few: bool) -> Risk:
    if whole or many:
        return "high"
    return "low" if few and operation.kind != "delete" else "medium"


def _rounded(number: int, error: int) -> int:
    """Round to what the error leaves of a number."""
    step: int = 10 ** max(0, len(str(error)) - 2)
    return round(number / step) * step


def _by(selection: Selection) -> str:
    """Return in a few words what selects: the journal keeps no more of a rule than this."""
    if selection.keys is not None:
        parts = ["by name"]
    elif selection.tag is not None:
        parts = [f"by the tag {render((selection.tag,), 60)}"]
    elif selection.pattern is not None:
        parts = [f"by the pattern {render((selection.pattern,), 60)}"]
    else:
        parts = ["of the database"]
    if selection.regex:
        parts.append(f"with {render((selection.regex,), 60)} in the name")
    if selection.type_ is not None:
        parts.append(f"of type {printable(selection.type_, 40)}")
    if selection.ttl is not None:
        parts.append("with a TTL" if selection.ttl else "without a TTL")
    if selection.idle_s is not None:
        parts.append(f"idle for {duration(selection.idle_s)}")
    return ", ".join(parts)


# The commands


def _steps(identity: Identity, sweep: Sweep, estimate: Estimate, now: float) -> Sequence[Command]:
    """Return the commands: all of a list; of a rule examples, at least one, for the server judges them by it."""
    selection, operation = sweep.selection, sweep.operation
    if selection.keys is not None and not operation.jitter_s:
        head, tail = _words(identity, sweep, b"", now)
        return PerKey(head, selection.keys, tail)
    names: list[bytes] = list(selection.keys or estimate.sample[:EXAMPLES])
    if identity.kind == "memcached":
        names = [name for name in names if valid_memcached_key(name)]
    if selection.tag is not None:
        names = [name for name in names if name != selection.tag] + [selection.tag]
    steps = []
    for name in names or [NO_NAME]:
        head, tail = _words(identity, sweep, name, now)
        steps.append((*head, name, *tail))
    return steps


def _words(identity: Identity, sweep: Sweep, key: bytes, now: float) -> tuple[Command, Command]:
    """Return what stands before and after the key, were it written now."""
    return ((sweep.verb,), ()) if sweep.operation.kind == "delete" else swept_words(identity, sweep.operation, key, now)


# The preview


def _what(
    identity: Identity,
    target: str,
    sweep: Sweep,
    estimate: Estimate,
    back: WayBack,
    *,
    whole: bool,
    seconds_per_key: float | None,
) -> list[str]:
    lines = [*_which(target, sweep, estimate, whole), *_facts(sweep.selection, estimate), *back.lines]
    lines += _effect(sweep.operation, estimate)
    if identity.mode == "cluster":
        lines.append("on every shard: each key goes to the node that has its slot, in a command of its own")
    lines.append(_time(sweep, estimate, seconds_per_key))
    if sweep.verb == b"DEL" and sweep.operation.kind == "delete":
        lines.append("warning: UNLINK is not available here; DEL frees big values while every client waits")
    if sweep.operation.kind == "expire" and identity.kind != "memcached":
        lines.append("the moment of each key is reckoned when it is written; below, as if that was now")
    if estimate.note:
        lines.append(f"note: {estimate.note}")
    return lines


def _which(target: str, sweep: Sweep, estimate: Estimate, whole: bool) -> list[str]:
    selection, verb = sweep.selection, sweep.operation.kind
    if selection.tag is not None:
        members = replace(estimate, keys=max(0, (estimate.keys or 1) - 1))
        lines = [f"{verb} the members of the tag {render((selection.tag,), 80)} of {target}: {how_many(members)}"]
        lines.append("at the end the tag's set itself, when every member was done")
    else:
        lines = [f"{verb} {how_many(estimate)} of {target}"]
    lines += selected_by(selection)
    if selection.ruled:
        lines.append(_how_known(estimate))
        lines.append("the rule is judged again key by key: those born meanwhile that fit it go too, no other does")
    names = ", ".join(render((key,), 60) for key in estimate.sample[:SAMPLE])
    if names:
        rest = (estimate.keys or 0) - min(SAMPLE, len(estimate.sample))
        more = count(rest) if estimate.error else f"{rest:,}"
        lines.append(f"names: {names}" + (f" ... and {more} more" if rest > 0 else ""))
    if whole:
        lines.append("this is the whole database")
    return lines


def _how_known(estimate: Estimate) -> str:
    of = f" of {estimate.total:,} keys of the database" if estimate.total is not None else ""
    if estimate.keys is None:
        return f"not counted{of}"
    if not estimate.error:
        return f"counted: {estimate.keys:,}{of}"
    low, high = max(0, estimate.keys - estimate.error), _most(estimate)
    return f"estimated, 95 %: {_rounded(low, estimate.error):,} to {_rounded(high, estimate.error):,}{of}"


def _facts(selection: Selection, estimate: Estimate) -> list[str]:
    looked = f"{estimate.looked:,} looked at"
    lines = []
    if estimate.gone:
        word = "stale members, named by the tag but not there" if selection.tag is not None else "gone already"
        lines.append(f"{word}: {estimate.gone:,} of {looked}")
    there = estimate.looked - estimate.gone
    looked = f"{there:,} looked at"
    if estimate.bytes_total is not None:
        largest = f", the largest of {looked} {size(estimate.largest_bytes)}" if estimate.largest_bytes else ""
        lines.append(f"memory: about {size(estimate.bytes_total)}{largest}")
    else:
        lines.append("memory: not measured")
    if estimate.types:
        lines.append("types: " + ", ".join(f"{number:,} {name}" for name, number in estimate.types) + f" of {looked}")
    if estimate.without_ttl is not None:
        others = "the others expire by themselves" if estimate.without_ttl < there else "none would expire"
        lines.append(f"no TTL: {estimate.without_ttl:,} of {looked}; {others}")
    return lines


def _effect(operation: Operation, estimate: Estimate) -> list[str]:
    """Say what happens to readers, and to what is behind the cache."""
    if operation.kind == "persist":
        return ["at once: nothing; these keys stay until they are deleted or evicted"]
    if operation.kind == "delete":
        lines = ["at once: readers miss these keys and turn to what is behind the cache"]
    else:
        first, last = operation.ttl_s or 0.0, (operation.ttl_s or 0.0) + operation.jitter_s
        spread = f"spread over {duration(first)} to {duration(last)}" if operation.jitter_s else "all of them together"
        lines = [f"at once: nothing; {duration(first)} from when each is written they expire, {spread}"]
        if not operation.jitter_s and _most(estimate) >= MANY_KEYS:
            lines.append("warning: so many at once all miss together; a jitter spreads them")
    if estimate.reads_per_s is None:
        lines.append("more reads behind the cache: unknown (the server does not tell when a key was used)")
    else:
        reads = rate(estimate.reads_per_s)
        lines.append(f"more reads behind the cache: about {reads} of these keys are read now, and each will miss once")
    return lines


def _time(sweep: Sweep, estimate: Estimate, seconds_per_key: float | None) -> str:
    fastest = 1 / seconds_per_key if seconds_per_key else float(PER_S if sweep.keep is None else PER_S_KEPT)
    per_s = min(fastest, sweep.rate) if sweep.rate else fastest
    pace = "as fast as the server bears" if sweep.rate is None else f"at most {sweep.rate:,.0f} keys a second"
    if sweep.p99_ms is not None:
        pace += f", slower while another client waits longer than {sweep.p99_ms:g} ms"
    if estimate.keys is None:
        return f"time: unknown, {pace}"
    seconds = estimate.keys / per_s
    return f"time: {'under 1s' if seconds < 1 else f'about {duration(seconds)}'}, {pace}"
