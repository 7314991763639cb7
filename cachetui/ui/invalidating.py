"""The five invalidations: from a press to a plan. `acting` previews and applies it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cachetui import text
from cachetui.actions.plan import Plan, plan_delete, plan_flush, plan_sweep, plan_version
from cachetui.errors import Denied, Refused, Unsupported
from cachetui.keyspace.estimate import estimate
from cachetui.keyspace.versions import version_rule
from cachetui.model import Estimate, Identity, Keep, KeyFacts, Operation, ScanProgress, Selection
from cachetui.model.conventions import recognise
from cachetui.ui.panes.keys import KeysPane
from cachetui.ui.proposal import Planner, Proposal
from cachetui.ui.screens.dialog import Choice
from cachetui.ui.screens.form import Field, Form, Waiting
from cachetui.ui.spans import optional, rate_problem, seconds_of, span_problem

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live

KEEP = Keep()
VERSION_BYTES = 64
"""Of a version key's value so much is read: a number is shorter."""
FACTS_LOOKED_UP = 1_000
"""Sizes and TTLs are looked up for so many listed keys of a plan; the preview says of how many."""

_KEYS, _PATTERN, _TAG, _VERSION, _EXPIRE, _FLUSH = "keys", "pattern", "tag", "version", "expire", "flush all"
_ANY, _WITH, _WITHOUT = "any", "with a TTL", "without a TTL"
_KEPT, _NOT_KEPT = "kept", "not kept: faster, and there is no way back"


@dataclass(frozen=True, slots=True)
class Around:
    """What an invalidation is offered for: what is marked, or under the cursor."""

    keys: tuple[bytes, ...] = ()
    prefix: bytes | None = None
    """The prefix under the cursor, or the one that the selected key is in."""
    on_prefix: bool = False

    @property
    def words(self) -> str:
        """Name the keys."""
        return text.printable(self.keys[0], 40) if len(self.keys) == 1 else f"{len(self.keys):,} marked keys"

    @property
    def glob(self) -> str:
        """Return the pattern of the prefix as a person types it."""
        return "" if self.prefix is None else text.printable(glob_of(self.prefix))


async def invalidated(app: CachetuiApp, live: Live, identity: Identity) -> Plan | Proposal | None:
    """Ask which invalidation and of what, look how many keys that are, and return the plan."""
    around = _around(app)
    choices, off = _choices(live, identity, around)
    first = _first_of(around, live.settings.tag_template)
    way = await app.push_screen_wait(
        Choice(f"invalidate on {live.source.name}", choices, first=first, off=off, numbered=True)
    )
    if way == _KEYS:
        return await swept(app, live, identity, Selection(keys=around.keys), Operation("delete"))
    return None if way is None else await _ASKING[way](app, live, identity)


def _first_of(around: Around, tag_template: str) -> str:
    """Return what is meant most likely: of a tag's set its members, of a version the next one."""
    if len(around.keys) == 1 and (said := recognise(around.keys[0], tag_template)) is not None:
        return {"tag": _TAG, "version": _VERSION}.get(said.kind, _KEYS)
    return _KEYS if around.keys else _PATTERN


def _choices(live: Live, identity: Identity, around: Around) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Return what there is to choose, and why some of it cannot be chosen here."""
    memcached = identity.kind == "memcached"
    unseen = live.why_not("scan")
    glob = around.glob if around.keys or around.on_prefix else ""
    choices = [
        (_KEYS, f"delete {around.words}" if around.keys else ""),
        (_PATTERN, (f"delete by a pattern: {glob}" if glob else "delete by a glob or /regular expression/")),
        (_TAG, "delete the members of a tag's set, and the set"),
        (_VERSION, "raise a version key (INCR): its old keys are not found"),
        (_EXPIRE, f"let {around.words if around.keys else 'keys'} expire soon, spread over a while, or never"),
    ]
    off = {} if around.keys else {_KEYS: "no key is marked or selected"}
    if unseen:
        off[_PATTERN] = f"the keys cannot be looked through: {unseen}"
        off |= {} if around.keys else {_EXPIRE: off[_PATTERN]}
    if memcached:
        choices.append((_FLUSH, "flush_all: every item of every server, at once or later"))
        off |= {
            _TAG: "Memcached has no sets, so it has no tags",
            _VERSION: "in Memcached it is one command: incr KEY 1",
        }
    return choices, off


async def swept(
    app: CachetuiApp,
    live: Live,
    identity: Identity,
    selection: Selection,
    operation: Operation,
    *,
    rate: float | None = None,
    keep: Keep | None = KEEP,
) -> Proposal | None:
    """Look how many keys a selection has, with the progress shown, and plan; None when the person stops it."""
    if selection.ruled and (why := live.why_not("scan")):
        raise Refused(f"the keys cannot be looked through: {why}")
    known = await _counted(app, live, selection, "how many keys are that?")
    if known is None:
        return None
    if known.keys == 0 and not known.error:
        raise Refused(f"nothing to do: {known.note or 'no key fits'}")
    unlink = await unlink_known(live, identity)
    plan = plan_sweep(
        identity, live.source.name, selection, operation, known, keep=keep, rate=rate, unlink_known=unlink
    )
    return Proposal(plan, partial(swept, app, live, identity, selection, operation, rate=rate, keep=keep))


async def listed(live: Live, identity: Identity, keys: list[bytes]) -> Proposal:
    """Plan the deletion of exactly these keys."""
    facts = await facts_of(live, keys)
    unlink = await unlink_known(live, identity)
    total = getattr(live.feeds.latest.get("stats"), "keys", None)
    plan = plan_delete(identity, live.source.name, facts, total=total, unlink_known=unlink, keep=KEEP)
    return Proposal(plan, partial(listed, live, identity, keys))


async def facts_of(live: Live, keys: list[bytes]) -> list[KeyFacts | bytes]:
    """Return facts of the first keys and the bare names of the others."""
    known: list[KeyFacts | bytes] = []
    for at in range(0, min(len(keys), FACTS_LOOKED_UP), 200):
        known += (await live.source.facts(keys[at : min(at + 200, FACTS_LOOKED_UP)])).facts
    return known + keys[FACTS_LOOKED_UP:]


async def unlink_known(live: Live, identity: Identity) -> bool:
    """Tell whether keys are deleted by UNLINK here, as far as the server says."""
    if identity.kind == "memcached" or "UNLINK" in live.source.denied:
        return identity.kind == "memcached"
    try:
        return (await live.source.flags(["UNLINK"])).get("UNLINK") is not None
    except (Denied, Unsupported):  # nothing is known of any command: the server judges alone
        return True


async def _counted(app: CachetuiApp, live: Live, selection: Selection, title: str) -> Estimate | None:
    async def look(say: Callable[[str], None]) -> Estimate:
        return await estimate(live.source, selection, progress=partial(_say_scan, say))

    waiting = Waiting(title, look)
    known = await app.push_screen_wait(waiting)
    if waiting.error is not None:
        raise waiting.error
    return known


def glob_of(prefix: bytes) -> bytes:
    """Return the MATCH pattern of all keys that begin with exactly these bytes.

    >>> glob_of(b"a*[1]:")
    b'a\\\\*\\\\[1\\\\]:*'
    """
    return re.sub(rb"([*?\[\]\\^])", rb"\\\1", prefix) + b"*"


def _around(app: CachetuiApp) -> Around:
    pane = app.pane
    if not isinstance(pane, KeysPane):
        return Around()
    marks, selected = pane.table.marked, pane.selected()
    if marks:
        return Around(tuple(pane.marked()))
    if selected is None:
        return Around()
    kind, name = selected
    if kind == "prefix":
        return Around(prefix=name, on_prefix=True)
    head, sign, _ = name.rpartition(b":")
    return Around((name,), head + sign if head else None)


# Asking


async def _pattern(app: CachetuiApp, live: Live, identity: Identity) -> Proposal | None:
    fields = [_which(_around(app)), *_conditions(identity), *_pace()]
    given = await app.push_screen_wait(Form(f"delete by pattern on {live.source.name}", fields))
    if given is None:
        return None
    return await swept(
        app, live, identity, _rule_of(given), Operation("delete"), rate=_rate_of(given), keep=_keep_of(given)
    )


async def _expire(app: CachetuiApp, live: Live, identity: Identity) -> Proposal | None:
    around = _around(app)
    fields = [] if around.keys else [_which(around)]
    fields += [
        Field("ttl", "expire in", "seconds, 15m, 2h, or never", "60s", _ttl_problem),
        Field("jitter", "spread over", "nothing: all at once; or 30s, 5m", "30s", optional(span_problem)),
    ]
    fields += [*([] if around.keys else _conditions(identity)), *_pace()]
    what = around.words if around.keys else "keys"
    given = await app.push_screen_wait(Form(f"let {what} expire on {live.source.name}", fields))
    if given is None:
        return None
    operation = Operation("persist")
    if given["ttl"].strip().lower() != "never":
        jitter_s = seconds_of(given["jitter"]) if given["jitter"].strip() else 0.0
        operation = Operation("expire", max(1.0, seconds_of(given["ttl"])), jitter_s)
    selection = Selection(keys=around.keys) if around.keys else _rule_of(given)
    return await swept(app, live, identity, selection, operation, rate=_rate_of(given), keep=_keep_of(given))


async def _tag(app: CachetuiApp, live: Live, identity: Identity) -> Proposal | None:
    template, around = live.settings.tag_template, _around(app)
    head, _, tail = template.partition("{tag}")
    shown = text.printable(around.keys[0]) if len(around.keys) == 1 else ""
    fits = len(shown) > len(template) - 5 and shown.startswith(head) and shown.endswith(tail)
    initial = shown[len(head) : len(shown) - len(tail)] if fits else ""
    fields = [
        Field("tag", "tag", f"its set is {template}", initial, lambda words: None if words else "a tag has a name"),
        *_pace(),
    ]
    given = await app.push_screen_wait(Form(f"delete by tag on {live.source.name}", fields))
    if given is None:
        return None
    key = os.fsencode(template).replace(b"{tag}", text.from_printable(given["tag"]))
    return await swept(
        app, live, identity, Selection(tag=key), Operation("delete"), rate=_rate_of(given), keep=_keep_of(given)
    )


async def _version(app: CachetuiApp, live: Live, identity: Identity) -> Proposal | None:
    around = _around(app)
    fields = [
        Field(
            "key",
            "version key",
            "e.g. shop:version",
            text.printable(around.keys[0]) if len(around.keys) == 1 else "",
            lambda words: None if words else "a key has a name",
        ),
        Field("names", "its keys", "found by the key's name, or a glob: shop:v{version}:*", "", _place_problem),
    ]
    given = await app.push_screen_wait(Form(f"raise a version key of {live.source.name} by one", fields))
    if given is None:
        return None
    pattern = text.from_printable(given["names"].strip()) or None
    return await _raised(app, live, identity, text.from_printable(given["key"]), pattern)


async def _raised(
    app: CachetuiApp, live: Live, identity: Identity, key: bytes, pattern: bytes | None
) -> Proposal | None:
    value = await live.source.value(key, rows=1, max_bytes=VERSION_BYTES)
    if value.facts.exists and value.facts.type != "string":
        raise Refused(f"the version key is a {value.facts.type}", "a version is a number")
    current = (value.items[0].data if value.items else b"") if value.facts.exists else None
    rule, remaining = None, None
    if current is not None and re.fullmatch(rb"-?\d{1,19}", current) and not live.why_not("scan"):
        rule = version_rule(key, int(current), pattern)
        remaining = await _counted(app, live, rule, "how many keys of the old version are there?")
        if remaining is None:
            return None
    plan = plan_version(identity, live.source.name, key, current, remaining, rule=rule)
    return Proposal(plan, partial(_raised, app, live, identity, key, pattern))


async def _flush(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    field = Field("delay", "flush in", "0s: at once; 30s, 5m", "0s", span_problem)
    given = await app.push_screen_wait(Form(f"flush all of {live.source.name}", [field]))
    return None if given is None else plan_flush(identity, live.source.name, int(seconds_of(given["delay"])))


_ASKING: dict[str, Planner] = {_PATTERN: _pattern, _EXPIRE: _expire, _TAG: _tag, _VERSION: _version, _FLUSH: _flush}


# The fields


def _which(around: Around) -> Field:
    return Field("which", "pattern", "user:* or /regular expression/", around.glob, _pattern_problem)


def _conditions(identity: Identity) -> list[Field]:
    fields = []
    if identity.kind != "memcached":
        fields.append(Field("type", "type", "any, or string, hash, list, set, zset, stream"))
    fields.append(Field("has", "TTL", options=(_ANY, _WITH, _WITHOUT)))
    fields.append(Field("idle", "unused for", "any time, or 1h, 7d", "", optional(span_problem)))
    return fields


def _pace() -> list[Field]:
    return [
        Field("rate", "keys a second", "as fast as the server bears", "", optional(rate_problem)),
        Field("undo", "way back", options=(_KEPT, _NOT_KEPT)),
    ]


def _rule_of(given: dict[str, str]) -> Selection:
    pattern, regex = _pattern_of(given["which"])
    return Selection(
        pattern=pattern,
        regex=regex,
        type_=given.get("type", "").strip() or None,
        ttl={_WITH: True, _WITHOUT: False}.get(given["has"]),
        idle_s=seconds_of(given["idle"]) if given["idle"].strip() else None,
    )


def _rate_of(given: dict[str, str]) -> float | None:
    return float(given["rate"]) if given["rate"].strip() else None


def _keep_of(given: dict[str, str]) -> Keep | None:
    return KEEP if given["undo"] == _KEPT else None


# Words


def _say_scan(say: Callable[[str], None], progress: ScanProgress) -> None:
    share = f", {progress.share:.0%} of the keys" if progress.share is not None else ""
    say(f"{progress.seen:,} names{share}, {text.rate(progress.per_s)}")


def _pattern_of(words: str) -> tuple[bytes | None, bytes]:
    """Return glob and regular expression of what was typed: `/.../` is the latter.

    >>> _pattern_of("user:*"), _pattern_of("/^cart:[0-9]+$/")
    ((b'user:*', b''), (None, b'^cart:[0-9]+$'))
    """
    words = words.strip()
    if words.startswith("/") and words.endswith("/") and len(words) > 2:
        return None, os.fsencode(words[1:-1])
    return text.from_printable(words), b""


def _pattern_problem(words: str) -> str | None:
    if not words.strip():
        return "write a glob as user:*, or a /regular expression/"
    try:
        re.compile(_pattern_of(words)[1])
    except (re.error, OverflowError, ValueError) as error:
        return f"that cannot be: {text.printable(str(error), 60)}"
    return None


def _place_problem(words: str) -> str | None:
    return None if not words.strip() or "{version}" in words else "write {version} where the number stands"


def _ttl_problem(words: str) -> str | None:
    return None if words.strip().lower() == "never" else span_problem(words)
