"""The five invalidations, from a press to a plan, and the way back of what was done."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from cachetui import text
from cachetui.actions.plan import Plan, plan_flush, plan_sweep, plan_version
from cachetui.actions.undo import plan_of, same_target, undoable, undoing
from cachetui.errors import BadUsage, Denied, Refused, Unsupported
from cachetui.keyspace.estimate import estimate
from cachetui.keyspace.versions import version_rule
from cachetui.model import Estimate, Identity, Keep, Operation, ScanProgress, Selection
from cachetui.ui.panes.journal import JournalPane
from cachetui.ui.panes.keys import KeysPane
from cachetui.ui.screens.dialog import Choice, Prompt
from cachetui.ui.screens.form import Field, Form, Waiting

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live

VERSION_BYTES = 64
"""Of a version key's value so much is read: a number is shorter."""
_SPAN = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*$")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

_KEYS, _PATTERN, _TAG, _VERSION, _EXPIRE, _FLUSH = "these keys", "pattern", "tag", "version", "expire", "flush all"


async def invalidated(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    """Ask which invalidation and of what, look how many keys that are, and return the plan."""
    keys, glob = _under_cursor(app)
    memcached = identity.kind == "memcached"
    choices = [(_PATTERN, "delete by a glob or /regular expression/, with conditions")]
    if keys:
        shown = text.printable(keys[0], 40) if len(keys) == 1 else f"{len(keys):,} marked keys"
        choices.insert(0, (_KEYS, f"delete {shown}"))
    if memcached:
        choices += [(_EXPIRE, "let keys expire soon (touch)"), (_FLUSH, "flush_all: every item, now or later")]
    else:
        choices += [
            (_TAG, "delete the members of a tag's set, and the set"),
            (_VERSION, "raise a version key by one (INCR): the old keys are not found any more"),
            (_EXPIRE, "let keys expire soon, spread over a while"),
        ]
    way = await app.push_screen_wait(Choice(f"invalidate on {live.source.name}", choices))
    if way == _VERSION:
        return await _version(app, live, identity)
    if way == _FLUSH:
        return await _flush(app, live, identity)
    if way == _TAG:
        return await _tag(app, live, identity)
    if way == _KEYS:
        return await swept(app, live, identity, Selection(keys=tuple(keys)), Operation("delete"))
    if way in (_PATTERN, _EXPIRE):
        return await _rule(app, live, identity, glob, keys, expire=way == _EXPIRE)
    return None


async def swept(
    app: CachetuiApp,
    live: Live,
    identity: Identity,
    selection: Selection,
    operation: Operation,
    *,
    rate: float | None = None,
) -> Plan | None:
    """Look how many keys a selection has, with the progress shown, and plan; None when the person stops it."""
    if selection.ruled and (why := live.why_not("scan")):
        raise Refused(f"the keys cannot be looked through: {why}")

    async def look(say: Callable[[str], None]) -> Estimate:
        return await estimate(live.source, selection, progress=partial(_say_scan, say))

    waiting = Waiting("how many keys are that?", look)
    known = await app.push_screen_wait(waiting)
    if waiting.error is not None:
        raise waiting.error
    if known is None:
        return None
    if known.keys == 0 and not known.error:
        raise Refused(f"nothing to do: {known.note or 'no key fits'}")
    unlink = await unlink_known(live, identity)
    return plan_sweep(
        identity, live.source.name, selection, operation, known, keep=Keep(), rate=rate, unlink_known=unlink
    )


async def unlink_known(live: Live, identity: Identity) -> bool:
    """Tell whether keys are deleted by UNLINK here, as far as the server says."""
    if identity.kind == "memcached" or "UNLINK" in live.source.denied:
        return identity.kind == "memcached"
    try:
        return (await live.source.flags(["UNLINK"])).get("UNLINK") is not None
    except (Denied, Unsupported):  # nothing is known of any command: the server judges alone
        return True


async def undone(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    """Plan the way back of the journal's selected entry, elsewhere of what was done last on this target."""
    pane = app.pane
    receipt = pane.selected_receipt() if isinstance(pane, JournalPane) else None
    if receipt is not None:
        row = await asyncio.to_thread(undoing, live.journal, receipt)
    else:
        rows = await asyncio.to_thread(undoable, live.journal, live.source.name)
        if not rows:
            raise BadUsage(f"nothing that was done on {live.source.name} can be undone", "press 9 for what was done")
        row = rows[0]
    return await plan_of(live.source, row)


async def resumed(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    """Plan what is left of the journal's selected rule that was stopped or interrupted."""
    pane = app.pane
    receipt = pane.selected_receipt() if isinstance(pane, JournalPane) else None
    if receipt is None:
        raise Refused("no entry is selected", "press 9 and move to one that was stopped or interrupted")
    row = await asyncio.to_thread(undoing, live.journal, receipt)
    head = row.kept.head if row.kept is not None else None
    if head is None or head.selection is None or head.operation is None:
        raise Refused("only what was done by a pattern or a tag can be gone on with", "mark the keys again")
    if row.kept is not None and row.kept.running:
        raise Refused("that write still goes on", "stop it first")
    if not same_target(head.target, live.source.name):
        raise Refused(f"that was begun on {head.target}, not on {live.source.name}", "connect there to go on with it")
    return await swept(app, live, identity, head.selection, head.operation)


# Asking


def _under_cursor(app: CachetuiApp) -> tuple[list[bytes], str]:
    """Return the marked or selected keys, and a glob for what is around the cursor."""
    pane = app.pane
    if not isinstance(pane, KeysPane):
        return [], ""
    marked, selected = pane.marked(), pane.selected()
    if marked:
        return marked, ""
    if selected is None:
        return [], ""
    kind, name = selected
    if kind == "prefix":
        return [], text.printable(glob_of(name))
    head, sign, _ = name.rpartition(b":")
    return [name], text.printable(glob_of(head + sign)) if head else ""


def glob_of(prefix: bytes) -> bytes:
    """Return the MATCH pattern of all keys that begin with exactly these bytes.

    >>> glob_of(b"a*[1]:")
    b'a\\\\*\\\\[1\\\\]:*'
    """
    return re.sub(rb"([*?\[\]\\^])", rb"\\\1", prefix) + b"*"


async def _rule(
    app: CachetuiApp, live: Live, identity: Identity, glob: str, keys: list[bytes], *, expire: bool
) -> Plan | None:
    fields = [Field("which", "keys", "user:* or /regular expression/", glob, _pattern_problem)]
    if expire and keys and not glob:
        fields = []
    if expire:
        fields += [
            Field("ttl", "expire in", "seconds, 15m, 2h", "60s", _span_problem),
            Field("jitter", "spread over", "nothing, or 30s, 5m", "30s", _optional(_span_problem)),
        ]
    if not (expire and keys and not glob):
        if identity.kind != "memcached":
            fields.append(Field("type", "type", "any, or string, hash, list, set, zset, stream"))
        fields += [
            Field("has", "TTL", "any, or yes, or no", "", _optional(_yes_no)),
            Field("idle", "unused for", "any, or 1h, 7d", "", _optional(_span_problem)),
        ]
    fields.append(Field("rate", "keys a second", "as fast as the server bears", "", _optional(_rate_problem)))
    title = f"{'let expire' if expire else 'delete'} on {live.source.name}"
    given = await app.push_screen_wait(Form(title, fields))
    if given is None:
        return None
    operation = Operation("delete")
    if expire:
        operation = Operation("expire", max(1.0, _span(given["ttl"])), _span(given["jitter"] or "0"))
    if "which" in given:
        pattern, regex = _pattern_of(given["which"])
        selection = Selection(
            pattern=pattern,
            regex=regex,
            type_=given.get("type", "").strip() or None,
            ttl={"yes": True, "no": False}.get(given["has"].strip().lower()),
            idle_s=_span(given["idle"]) if given["idle"].strip() else None,
        )
    else:
        selection = Selection(keys=tuple(keys))
    rate = float(given["rate"]) if given["rate"].strip() else None
    return await swept(app, live, identity, selection, operation, rate=rate)


async def _tag(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    template = live.settings.tag_template
    tag = await app.push_screen_wait(
        Prompt(f"which tag (its set is {template})?", check=lambda words: None if words else "a tag has a name")
    )
    if tag is None:
        return None
    key = os.fsencode(template.replace("{tag}", tag))
    return await swept(app, live, identity, Selection(tag=key), Operation("delete"))


async def _version(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    keys, _ = _under_cursor(app)
    name = await app.push_screen_wait(
        Prompt(
            "which version key is to be raised by one?",
            initial=text.printable(keys[0]) if len(keys) == 1 else "",
            hint="e.g. shop:version; odd bytes as they are shown: \\x1b",
            check=lambda words: None if words else "a key has a name",
        )
    )
    if name is None:
        return None
    key = text.from_printable(name)
    value = await live.source.value(key, rows=1, max_bytes=VERSION_BYTES)
    if value.facts.exists and value.facts.type != "string":
        raise Refused(f"the version key is a {value.facts.type}", "a version is a number")
    current = (value.items[0].data if value.items else b"") if value.facts.exists else None
    rule, remaining = None, None
    if current is not None and re.fullmatch(rb"-?\d{1,19}", current) and not live.why_not("scan"):
        rule = version_rule(key, int(current))
        chosen = rule

        async def look(say: Callable[[str], None]) -> Estimate:
            return await estimate(live.source, chosen, progress=partial(_say_scan, say))

        waiting = Waiting("how many keys of the old version are there?", look)
        remaining = await app.push_screen_wait(waiting)
        if waiting.error is not None:
            raise waiting.error
    return plan_version(identity, live.source.name, key, current, remaining, rule=rule)


async def _flush(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    words = await app.push_screen_wait(
        Prompt(f"flush all of {live.source.name} in", initial="0s", hint="0s: at once; 30s, 5m", check=_span_problem)
    )
    return None if words is None else plan_flush(identity, live.source.name, int(_span(words)))


# Words


def _say_scan(say: Callable[[str], None], progress: ScanProgress) -> None:
    share = f", {progress.share:.0%} of the keys" if progress.share is not None else ""
    say(f"{progress.seen:,} names{share}, {text.rate(progress.per_s)}")


def _pattern_of(words: str) -> tuple[bytes | None, bytes]:
    """Return glob and regular expression of what was typed: `/.../` is the latter."""
    words = words.strip()
    if words.startswith("/") and words.endswith("/") and len(words) > 2:
        return None, os.fsencode(words[1:-1])
    return text.from_printable(words), b""


def _pattern_problem(words: str) -> str | None:
    if not words.strip():
        return "write a glob as user:*, or a /regular expression/"
    try:
        _, regex = _pattern_of(words)
        re.compile(regex)
    except (re.error, OverflowError, ValueError) as error:
        return f"that cannot be: {text.printable(str(error), 60)}"
    return None


def _span(words: str) -> float:
    match = _SPAN.match(words.lower())
    assert match is not None, words
    return float(match[1]) * _UNIT_S[match[2]]


def _span_problem(words: str) -> str | None:
    return None if _SPAN.match(words.lower()) else "write seconds, or 30s, 15m, 2h, 1d"


def _yes_no(words: str) -> str | None:
    return None if words.strip().lower() in ("yes", "no") else "yes: only with a TTL; no: only without"


def _rate_problem(words: str) -> str | None:
    return None if words.strip().isascii() and words.strip().isdigit() and int(words) > 0 else "a whole number"


def _optional(check: Callable[[str], str | None]) -> Callable[[str], str | None]:
    return lambda words: check(words) if words.strip() else None
