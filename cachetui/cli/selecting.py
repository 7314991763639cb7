"""What an invalidation is about, read from options and from files of keys."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path

from cachetui.config import Settings
from cachetui.errors import BadUsage
from cachetui.model import Operation, Selection
from cachetui.text import from_printable, printable

WAYS = ("keys_", "keys_from", "pattern", "regex", "tag", "version_key", "flush", "resume")
"""Where the keys come from: `pattern` and `regex`, `keys_` and `keys_from` go together, else one of them is given."""
SOONEST_S = 1.0
"""What `--expire 0` with a jitter means."""

_OPTIONS = {
    "keys_": "--key",
    "version_key": "--version-key",
    "version_pattern": "--version-pattern",
    "type_": "--type",
    "idle": "--idle",
    "expire": "--expire",
    "jitter": "--jitter",
    "p99": "--p99",
    "no_undo": "--no-undo",
    "del_": "--del",
}


def way_of(options: Namespace, more_keys: list[str]) -> str:
    """Return what is asked for: `keys`, `rule`, `tag`, `version`, `flush` or `resume`. Raises BadUsage."""
    given = {name for name in WAYS if getattr(options, name) is not None} | ({"keys_"} if more_keys else set())
    kinds = {_KINDS[name] for name in given}
    if len(kinds) != 1:
        several = " and ".join(sorted(_option(name) for name in given))
        why = f"{several} do not go together" if kinds else "nothing says which keys"
        raise BadUsage(
            why, "give --key, --pattern, --regex, --tag, --version-key, --keys-from, --flush or --resume, one of them"
        )
    (kind,) = kinds
    _refuse(options, kind)
    return kind


_KINDS = {
    "keys_": "keys",
    "keys_from": "keys",
    "pattern": "rule",
    "regex": "rule",
    "tag": "tag",
    "version_key": "version",
    "flush": "flush",
    "resume": "resume",
}
_UNFIT = {
    "keys": ("version_pattern",),
    "rule": ("version_pattern",),
    # A tag stands for all of its members; its set goes with them.
    "tag": ("version_pattern", "type_", "ttl", "idle"),
    "version": ("type_", "ttl", "idle", "expire", "jitter", "persist", "rate", "p99", "no_undo", "del_"),
    "flush": (
        "version_pattern",
        "type_",
        "ttl",
        "idle",
        "expire",
        "jitter",
        "persist",
        "rate",
        "p99",
        "no_undo",
        "del_",
    ),
    "resume": ("version_pattern", "type_", "ttl", "idle", "expire", "jitter", "persist"),
}


def _refuse(options: Namespace, kind: str) -> None:
    """Raise BadUsage for an option that means nothing here: whoever gives it expects something of it."""
    for name in _UNFIT[kind]:
        given = getattr(options, name)
        if given is not None and (given is not False or name == "ttl"):
            what = "--with-ttl or --without-ttl" if name == "ttl" else _option(name)
            raise BadUsage(f"{what} does not go with this invalidation", "leave it out")
    if options.jitter is not None and options.expire is None:
        raise BadUsage("--jitter goes with --expire", "it spreads the moments at which keys expire")
    if options.raw and options.keys_from is None:
        raise BadUsage("--raw goes with --keys-from", "it says that names in the file are not escaped")


def _option(name: str) -> str:
    return _OPTIONS.get(name, f"--{name.replace('_', '-')}")


def selection_of(options: Namespace, more_keys: list[str], settings: Settings) -> Selection:
    """Return the keys that are meant. Raises BadUsage, and CacheError for a file that cannot be read."""
    keys = None
    if options.keys_ is not None or more_keys or options.keys_from is not None:
        names = [os.fsencode(key) for key in [*(options.keys_ or ()), *more_keys]]
        if options.keys_from is not None:
            names += keys_from(options.keys_from, raw=options.raw)
        keys = tuple(dict.fromkeys(names))
        if not keys:
            raise BadUsage("there are no keys in the file", "one name a line, or JSON lines with key or keyBase64")
    tag = None
    if options.tag is not None:
        tag = os.fsencode(settings.tag_template.replace("{tag}", options.tag))
    regex = os.fsencode(options.regex) if options.regex is not None else b""
    try:
        re.compile(regex)
    except (re.error, OverflowError) as error:
        raise BadUsage(f"not a regular expression: {printable(str(error), 80)}") from error
    return Selection(
        keys,
        tag,
        pattern=os.fsencode(options.pattern) if options.pattern is not None else None,
        regex=regex,
        type_=options.type_,
        ttl=options.ttl,
        idle_s=options.idle,
    )


def operation_of(options: Namespace) -> Operation:
    """Return what becomes of the keys. Raises BadUsage."""
    if options.persist:
        return Operation("persist")
    if options.expire is None:
        return Operation("delete")
    if options.expire < SOONEST_S and not options.jitter:
        raise BadUsage("a key expires in 1 second at the soonest", "to remove keys at once leave out --expire")
    return Operation("expire", max(SOONEST_S, options.expire), options.jitter or 0.0)


def keys_from(path: str, *, raw: bool) -> list[bytes]:
    """Return the names in a file, or on stdin for `-`. Raises CacheError.

    A line is a name as `cachetui keys` prints it, or a JSON object with `key` or `keyBase64`;
    with `raw`, a line is the name's bytes.
    """
    try:
        if path == "-":
            return list(names_in(sys.stdin.buffer, raw=raw))
        with Path(path).open("rb") as file:
            return list(names_in(file, raw=raw))
    except OSError as error:
        raise BadUsage(f"{printable(path, 200)}: {error.strerror or 'cannot be read'}", "nothing was sent") from error


def names_in(lines: Iterable[bytes], *, raw: bool) -> Iterator[bytes]:
    r"""Yield the names in `lines`, without the empty ones. Raises BadUsage that names the line.

    >>> list(names_in([b"a\n", b"\n", b"x\\x1by\r\n", b'{"keyBase64":"/w=="}\n'], raw=False))
    [b'a', b'x\x1by', b'\xff']
    >>> list(names_in([b"{user1}:a\n", b"x\\n\n"], raw=True))
    [b'{user1}:a', b'x\\n']
    """
    for number, line in enumerate(lines, 1):
        name = line.removesuffix(b"\n")
        if raw:
            if name:
                yield name
            continue
        name = name.removesuffix(b"\r")
        if not name:
            continue
        if name.startswith(b'{"'):
            yield _named_in(name, number)
            continue
        yield from_printable(name.decode("utf-8", "surrogateescape"))


def _named_in(line: bytes, number: int) -> bytes:
    try:
        row = json.loads(line)
        if isinstance(row.get("key"), str):
            return str(row["key"]).encode()
        return base64.b64decode(row["keyBase64"], validate=True)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
        hint = 'a JSON line holds "key" or "keyBase64"; --raw takes every line as a name'
        raise BadUsage(f"line {number} of the keys is not understood", hint) from error
