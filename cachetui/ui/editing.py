"""Keys made, changed, renamed, copied and loaded: from a press to a plan. `acting` previews and applies it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cachetui import text
from cachetui.actions.plan import (
    Command,
    NewKind,
    Plan,
    plan_copy,
    plan_hash_field,
    plan_import,
    plan_list_element,
    plan_list_push,
    plan_new,
    plan_rename,
    plan_set_member,
    plan_set_string,
    plan_stream_entry,
    plan_zset_member,
)
from cachetui.errors import BadUsage, Refused
from cachetui.keyspace.portable import parse_lines, to_commands
from cachetui.model import Identity, KeyFacts, Value, ValueItem
from cachetui.ui.counting import changed_in_place
from cachetui.ui.editor import edit
from cachetui.ui.panes.key_value import is_collection
from cachetui.ui.panes.keys import KeysPane
from cachetui.ui.screens.dialog import Choice, Prompt

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live

LINE_CHARACTERS = 1_000
"""A longer value is edited in the editor."""
IMPORT_BYTES = 256 * 1024 * 1024
WHOLE_BYTES = 8 * 1024 * 1024
"""A longer value is not edited: it would have to be read and sent whole."""
ESCAPES = "write odd bytes as they are shown: \\x1b, \\n"

_KINDS = (
    ("string", "one value"),
    ("hash", "fields with values"),
    ("list", "elements in order"),
    ("set", "distinct members"),
    ("zset", "members by score"),
    ("stream", "entries with ids"),
    ("hyperloglog", "a count of distinct elements"),
    ("json", "a document (where the server has JSON)"),
)
_WORDS = {
    "hash": "field=value, fields separated by spaces",
    "list": "elements, separated by spaces",
    "set": "members, separated by spaces",
    "zset": "score=member, members separated by spaces",
    "stream": "field=value, of one entry, separated by spaces",
    "hyperloglog": "elements, separated by spaces",
}
_EDITED = ("string", "item", "ReJSON-RL")


def rows_of(kind: str, words: str) -> list[tuple[bytes, bytes]]:
    r"""Return (label, data) rows as somebody typed them; blanks inside are written \x20. Raises ValueError.

    >>> rows_of("hash", "a=1 b=x=y"), rows_of("set", "a b"), rows_of("string", "a b")
    ([(b'a', b'1'), (b'b', b'x=y')], [(b'', b'a'), (b'', b'b')], [(b'', b'a b')])
    """
    if kind not in _WORDS:
        return [(b"", text.from_printable(words))]
    rows = []
    for part in words.split():
        label, mark, data = part.partition("=")
        if kind in ("hash", "zset", "stream"):
            if not mark:
                raise ValueError(f"write {_WORDS[kind]}")
            if kind == "zset":
                float(label)
            rows.append((text.from_printable(label), text.from_printable(data)))
        else:
            rows.append((b"", text.from_printable(part)))
    if not rows:
        raise ValueError(f"write {_WORDS[kind]}")
    return rows


async def edited(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    """Edit the opened value: all of it, or its selected element."""
    pane, value = _opened(app, live)
    if value is None:
        selected = pane.selected()
        if selected is None or selected[0] != "key":
            raise Refused("no key is selected", "select a key, or open one with Enter")
        await live.browser.open(selected[1])
        value = live.browser.state.value
        if value is None:
            return None
    if not is_collection(value):
        return await _whole(app, live, identity, value)
    item = pane.value.item(value)
    if item is None:
        raise Refused("no element is selected", "Tab goes to the value, then select one of its rows")
    return await _element(app, live, identity, value, item)


async def _whole(app: CachetuiApp, live: Live, identity: Identity, shown: Value) -> Plan | None:
    if shown.facts.type not in _EDITED:
        raise Refused(f"a {shown.facts.type} cannot be edited here", "its elements can, or with a client of your own")
    # The window on the screen may be a part: what is edited is read whole.
    value = await live.source.value(shown.facts.key, max_bytes=WHOLE_BYTES)
    if not value.facts.exists or not value.items:
        raise Refused("the key is gone", "n creates it anew")
    item = value.items[0]
    if value.next is not None or (item.total_bytes or 0) > len(item.data):
        raise Refused(f"the value is longer than {text.size(WHOLE_BYTES)}", "set it with a client of your own")
    suffix = ".json" if item.data[:1] in (b"{", b"[") else ".txt"
    new = await _ask(app, f"value of {text.printable(value.facts.key, 60)}", item.data, suffix)
    if new is None or new == item.data:
        return None
    return plan_set_string(identity, live.source.name, value, new)


async def _element(app: CachetuiApp, live: Live, identity: Identity, value: Value, item: ValueItem) -> Plan | None:
    facts, kind, target = value.facts, value.facts.type or "", live.source.name
    if (item.total_bytes or 0) > len(item.data):
        raise Refused("the element is longer than what is shown of it", "set it with a client of your own")
    if kind == "stream":
        raise Refused("the entries of a stream do not change", "delete the entry, or add one with n")
    name = text.printable(item.label or item.data, 60)
    if kind == "zset":
        words = await app.push_screen_wait(
            Prompt(f"score of {name}", initial=f"{item.score:.17g}", hint="a number, inf or -inf", check=_number)
        )
        if words is None or float(words) == item.score:
            return None
        return plan_zset_member(identity, target, facts.key, item.data, old_score=item.score, new_score=float(words))
    new = await _ask(app, f"{name} of {text.printable(facts.key, 60)}", item.data, ".txt")
    if new is None or new == item.data:
        return None
    keepttl_known = item.ttl_s is not None and (await live.source.flags(["HSETEX"])).get("HSETEX") is not None
    return _changed(identity, target, facts, item, new, keepttl_known=keepttl_known)


def _changed(
    identity: Identity,
    target: str,
    facts: KeyFacts,
    item: ValueItem,
    new: bytes | None,
    *,
    keepttl_known: bool = False,
) -> Plan:
    """Plan another element in the place of `item`; None removes it. Raises Refused for a type without such."""
    key, kind = facts.key, facts.type
    if kind == "hash":
        return plan_hash_field(
            identity,
            target,
            key,
            item.label,
            old=item.data,
            new=new,
            field_ttl_s=item.ttl_s,
            keepttl_known=keepttl_known,
        )
    if kind == "list":
        return plan_list_element(identity, target, key, int(item.label), old=item.data, new=new, length=facts.length)
    if kind == "set":
        return plan_set_member(identity, target, key, old=item.data, new=new)
    if kind == "zset" and new is None:
        return plan_zset_member(identity, target, key, item.data, old_score=item.score, new_score=None)
    if kind == "stream" and new is None:
        return plan_stream_entry(identity, target, key, entry_id=item.label, fields=None)
    raise Refused(f"the elements of a {kind} cannot be changed here", "use a client of your own")


async def _ask(app: CachetuiApp, title: str, data: bytes, suffix: str) -> bytes | None:
    """Return the new bytes: typed here when they are one short line, else from the editor."""
    shown = text.printable(data)
    if len(shown) <= LINE_CHARACTERS and b"\n" not in data:
        chosen = await app.push_screen_wait(
            Choice(title, [("here", "one line"), ("editor", "in $EDITOR")], hint="Enter chooses, Esc leaves")
        )
        if chosen is None:
            return None
        if chosen == "here":
            words = await app.push_screen_wait(Prompt(title, initial=shown, hint=ESCAPES))
            return None if words is None else text.from_printable(words)
    return edit(app, data, suffix)


async def added(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    """Create a key; beside an opened collection, offer to add an element to it."""
    pane, value = _opened(app, live)
    if value is not None and pane.value.focused and value.facts.type in _WORDS:
        return await _new_element(app, live, identity, value)
    if value is not None and pane.value.focused and value.facts.type == "item":
        return await changed_in_place(app, live, identity, value)
    name = await app.push_screen_wait(Prompt("new key", hint=f"its name; {ESCAPES}"))
    if name is None:
        return None
    kinds = [("item", "one value")] if identity.kind == "memcached" else list(_KINDS)
    kind = await app.push_screen_wait(Choice("type", kinds, hint="Enter chooses, Esc leaves"))
    if kind is None:
        return None
    words = await app.push_screen_wait(
        Prompt(kind, hint=f"{_WORDS.get(kind, 'the value')}; {ESCAPES}", check=lambda words: _wrong(kind, words))
    )
    if words is None:
        return None
    made = _content(kind, rows_of(kind, words))
    return plan_new(identity, live.source.name, text.from_printable(name), cast("NewKind", kind), made)


def _content(kind: str, rows: list[tuple[bytes, bytes]]) -> bytes | list[bytes] | list[tuple[bytes, Any]]:
    """Return rows as `plan_new` takes them."""
    if kind in ("hash", "stream"):
        return list(rows)
    if kind == "zset":
        return [(member, float(score)) for score, member in rows]
    return [data for _, data in rows] if kind in _WORDS else rows[0][1]


async def _new_element(app: CachetuiApp, live: Live, identity: Identity, value: Value) -> Plan | None:
    kind = value.facts.type or ""
    one = {"hash": "field=value", "zset": "score=member"}.get(kind, _WORDS[kind])
    words = await app.push_screen_wait(
        Prompt(
            f"new in {text.printable(value.facts.key, 60)}",
            hint=f"{one}; {ESCAPES}",
            check=lambda words: _wrong(kind, words),
        )
    )
    if words is None:
        return None
    rows, target, key = rows_of(kind, words), live.source.name, value.facts.key
    if kind == "stream":
        return plan_stream_entry(identity, target, key, entry_id=None, fields=rows)
    if len(rows) > 1:
        raise Refused("one element at a time", "blanks inside are written \\x20")
    label, data = rows[0]
    if kind == "zset":
        return plan_zset_member(identity, target, key, data, old_score=None, new_score=float(label))
    if kind == "hash":
        return plan_hash_field(identity, target, key, label, old=None, new=data)
    if kind == "list":
        return plan_list_push(identity, target, key, data)
    return plan_set_member(identity, target, key, old=None, new=data)


def removed(pane: KeysPane, live: Live, identity: Identity) -> Plan | None:
    """Plan the removal of the selected element of the opened value; None when none is selected."""
    value = live.browser.state.value
    item = pane.value.item(value) if pane.value.focused else None
    if value is None or item is None:
        return None
    if (item.total_bytes or 0) > len(item.data):
        raise Refused("the element is longer than what is shown of it", "remove it with a client of your own")
    return _changed(identity, live.source.name, value.facts, item, None)


async def renamed(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    """Rename the selected key."""
    facts = await _selected(app, live)
    name = await _new_name(app, "rename", facts.key)
    return None if name is None else plan_rename(identity, live.source.name, facts, name)


async def copied(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    """Copy the selected key."""
    facts = await _selected(app, live)
    name = await _new_name(app, "copy", facts.key)
    if name is None:
        return None
    known = (await live.source.flags(["COPY"])).get("COPY") is not None
    return plan_copy(identity, live.source.name, facts, name, copy_known=known)


async def _new_name(app: CachetuiApp, what: str, key: bytes) -> bytes | None:
    shown = text.printable(key)
    words = await app.push_screen_wait(
        Prompt(f"{what} {text.printable(key, 60)} to", initial=shown, hint=f"a name that is not there yet; {ESCAPES}")
    )
    return None if words is None or words == shown else text.from_printable(words)


async def loaded(app: CachetuiApp, live: Live, identity: Identity) -> Plan | None:
    """Create keys from a file of JSON lines or redis-cli commands; those that are there are left alone."""
    words = await app.push_screen_wait(Prompt("load keys from", hint="a file that export wrote"))
    if not words:
        return None
    commands = await asyncio.to_thread(_read_commands, Path(words))
    keys = list(commands)
    existing: set[bytes] = set()
    for at in range(0, len(keys), 500):
        answer = await live.source.facts(keys[at : at + 500], size=False)
        existing.update(facts.key for facts in answer.facts if facts.exists)
    return plan_import(identity, live.source.name, commands.items(), existing)


def _read_commands(path: Path) -> dict[bytes, list[Command]]:
    path = path.expanduser()
    try:
        if path.stat().st_size > IMPORT_BYTES:
            raise BadUsage(f"{text.printable(str(path))} is larger than {text.size(IMPORT_BYTES)}", "load it in parts")
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadUsage(f"cannot read {text.printable(str(path))}: {error.strerror}", "check the name") from error
    found: dict[bytes, list[Command]] = {}
    for record in parse_lines(lines):
        for command in to_commands(record):
            found.setdefault(command[1], []).append(command)
    if not found:
        raise BadUsage(f"{text.printable(str(path))} holds no keys", "export writes such a file")
    return found


async def _selected(app: CachetuiApp, live: Live) -> KeyFacts:
    pane, value = _opened(app, live)
    if value is not None and pane.value.focused:
        return value.facts
    selected = pane.selected()
    if selected is None or selected[0] != "key":
        raise Refused("no key is selected", "select a key, not a prefix")
    (facts,) = (await live.source.facts([selected[1]])).facts
    if not facts.exists:
        raise Refused("the key is gone", "r lists the keys anew")
    return facts


def _opened(app: CachetuiApp, live: Live) -> tuple[KeysPane, Value | None]:
    pane = app.pane
    if not isinstance(pane, KeysPane):
        raise Refused("select a key first", "press 2 for the keys")
    return pane, live.browser.state.value


def _number(words: str) -> str | None:
    try:
        return "not a number" if float(words) != float(words) else None
    except ValueError:
        return "write a number, inf or -inf"


def _wrong(kind: str, words: str) -> str | None:
    try:
        rows_of(kind, words)
    except ValueError as error:
        return str(error)
    return None
