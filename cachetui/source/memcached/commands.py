"""memcached's commands as we know them (it has no table to ask), and how each is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

from cachetui.errors import CacheError, Refused, Unsupported
from cachetui.source.base import Command
from cachetui.source.memcached.keys import check, reply_or_error, written
from cachetui.text import printable

_READ = frozenset({"readonly"})
_WRITE = frozenset({"write"})
_ADMIN = frozenset({"admin", "write"})
_DANGEROUS = frozenset({"admin", "write", "dangerous"})

FLAGS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("get", "gets", "me", "mn", "stats", "version", "lru_crawler metadump", "watch"), _READ),
    # mg and gat can change the expiry or make an item.
    **dict.fromkeys(("mg", "md", "ms", "ma", "gat", "gats", "touch", "delete", "incr", "decr"), _WRITE),
    **dict.fromkeys(("set", "add", "replace", "append", "prepend", "cas"), _WRITE),
    **dict.fromkeys(("verbosity", "lru", "slabs", "lru_crawler", "cache_memlimit", "extstore"), _ADMIN),
    **dict.fromkeys(("flush_all", "shutdown", "stats reset", "misbehave"), _DANGEROUS),
}

ON_EVERY_SERVER = frozenset({"flush_all", "cache_memlimit", "lru", "slabs", "lru_crawler", "verbosity"})
STORES = frozenset({"set", "add", "replace", "append", "prepend"})
ON_A_KEY = frozenset({"delete", "touch", "incr", "decr", "ms", "md", "mg"}) | STORES

_WORD = re.compile(rb"[^\x00-\x20\x7f]{1,250}")
_NUMBER = re.compile(rb"-?\d{1,20}")
_SETTING = re.compile(rb"C[1-9]\d{0,19}|F\d{1,10}|T-?\d{1,12}|M[ESR]")
"""What `ms` may be told: the version it replaces, client flags, seconds to live, the mode."""
_PLAIN_NAMES = re.compile(rb"(?:[^\x00-\x20\x7f]{1,250}\n)*+")
_DELETED = {b"HD": b"DELETED", b"NF": b"NOT_FOUND", b"EX": b"EXISTS"}
_TOUCHED = {b"HD": b"TOUCHED", b"EN": b"NOT_FOUND"}
_STORED = {b"HD": b"STORED", b"EX": b"EXISTS", b"NF": b"NOT_FOUND", b"NS": b"NOT_STORED"}
_SHOWN = frozenset({b"v", b"f", b"t", b"c", b"s"})
"""What `mg` may be asked for: the data, client flags, seconds to live, version, size."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One command ready to be sent."""

    name: str
    key: bytes | None
    """None: for every server."""
    data: bytes
    makes: bool = False
    """It may make an item that is nowhere yet."""
    says: Mapping[bytes, bytes] | None = None
    """Replies of the meta form and what the plain form says instead."""
    shows: tuple[bytes, ...] = ()
    """The flags of an `mg`: its reply is an item."""
    versioned: bool = False
    """It is about one copy of the item, at one version."""


def flags_of(name: str) -> frozenset[str] | None:
    """Return a command's flags; None when it is not one of memcached's.

    >>> sorted(flags_of("FLUSH_ALL") or ()), flags_of("hget")
    (['admin', 'dangerous', 'write'], None)
    """
    words = name.lower().split()
    return FLAGS.get(" ".join(words[:2])) or FLAGS.get(words[0] if words else "")


@lru_cache(256)
def _name_of(word: bytes) -> str:
    return printable(word.lower(), 40)


def wired(command: Command, known_odd: set[bytes]) -> Wire | CacheError:
    """Return `command` (its words) as bytes for the wire, or why it is not sent."""
    name = _name_of(command[0]) if command else ""
    try:
        if name in ON_A_KEY:
            return _on_a_key(name, command, known_odd)
    except Refused as error:
        return error
    if name not in ON_EVERY_SERVER:
        known = flags_of(name) is not None
        why = "not sent by cachetui" if known else "not a command of memcached"
        return Unsupported(
            f"{name}: {why}", "delete, touch, set, mg, md, ms, flush_all, cache_memlimit, lru and slabs are"
        )
    if not all(_WORD.fullmatch(word) for word in command):
        return _malformed(name)
    return Wire(name, None, b" ".join(command) + b"\r\n")


def deletes(commands: Sequence[Command]) -> tuple[list[bytes], bytes] | None:
    """Return the keys and the bytes for the wire where all commands delete plain names; None for any others.

    What `wired` does for each command, done for all of them at once: half a million take it.
    """
    if set(map(len, commands)) != {2} or set(map(itemgetter(0), commands)) != {b"delete"}:
        return None
    keys = list(map(itemgetter(1), commands))
    lines = b"\n".join(keys) + b"\n"
    if lines.count(b"\n") != len(keys) or _PLAIN_NAMES.fullmatch(lines) is None:
        return None
    return keys, b"md " + b"\r\nmd ".join(keys) + b"\r\n"


def deleted(lines: Sequence[bytes]) -> list[object]:
    """Return what `delete` would have replied, from the lines that `md` did."""
    if lines.count(b"HD") == len(lines):
        return [b"DELETED"] * len(lines)
    return [_DELETED.get(line) or reply_or_error(line, "delete") for line in lines]


def _on_a_key(name: str, command: Command, known_odd: set[bytes]) -> Wire | CacheError:
    if name in ("ms", "md", "mg"):
        return {"ms": _meta_set, "md": _meta_delete, "mg": _meta_get}[name](command, known_odd)
    words = {"delete": 2, "touch": 3, "incr": 3, "decr": 3}.get(name, 5)
    if len(command) != words:
        return _malformed(name)
    key = command[1]
    check(key, known_odd)
    numbers = command[2:4] if name in STORES else command[2:]
    if not all(_NUMBER.fullmatch(number) for number in numbers):
        return _malformed(name)
    word, base64_flag = written(key)
    if name in STORES:
        return _store(name, command) if not base64_flag else _malformed(name)
    if not base64_flag:
        return Wire(name, key, b" ".join(command) + b"\r\n")
    if name == "delete":
        return Wire(name, key, b"md %b b\r\n" % word, says=_DELETED)
    if name == "touch":
        return Wire(name, key, b"mg %b b T%b\r\n" % (word, command[2]), says=_TOUCHED)
    return Unsupported(f"{name}: not for names that only travel base64-encoded")


def _store(name: str, command: Command) -> Wire:
    _, key, client_flags, expiry_s, data = command
    head = b"%b %b %b %b %d\r\n" % (name.encode(), key, client_flags, expiry_s, len(data))
    return Wire(name, key, head + data + b"\r\n", makes=True)


def _meta_set(command: Command, known_odd: set[bytes]) -> Wire | CacheError:
    """Return `ms`: its words are the key, what it is told, and at the end the data.

    The data may also stand before flags, time to live and `ME`, in just this order.
    """
    if len(command) == 6 and command[5] == b"ME" and command[3][:1] == b"F" and command[4][:1] == b"T":
        command = (*command[:2], *command[3:], command[2])
    settings = command[2:-1]
    told = {setting[:1] for setting in settings}
    if len(command) < 3 or len(told) != len(settings) or not all(map(_SETTING.fullmatch, settings)):
        return _malformed("ms")
    key, data = command[1], command[-1]
    check(key, known_odd)
    word, base64_flag = written(key)
    head = b" ".join((b"ms", word, b"%d" % len(data), *settings)) + base64_flag + b"\r\n"
    return Wire("ms", key, head + data + b"\r\n", makes=b"C" not in told, says=_STORED)


def _meta_delete(command: Command, known_odd: set[bytes]) -> Wire | CacheError:
    """Return `md`, with a version (`C12`) only if the item is still at it."""
    versions = command[2:]
    if len(command) not in (2, 3) or not all(word[:1] == b"C" and _SETTING.fullmatch(word) for word in versions):
        return _malformed("md")
    check(command[1], known_odd)
    word, base64_flag = written(command[1])
    data = b" ".join((b"md", word, *versions)) + base64_flag + b"\r\n"
    return Wire("md", command[1], data, says=_DELETED, versioned=bool(versions))


def _meta_get(command: Command, known_odd: set[bytes]) -> Wire | CacheError:
    """Return `mg`. The name comes back with the item (`k`), and its place in the LRU stays as it is (`u`)."""
    flags = command[2:]
    if len(command) < 2 or not _SHOWN.issuperset(flags) or len(set(flags)) != len(flags):
        return _malformed("mg")
    check(command[1], known_odd)
    word, base64_flag = written(command[1])
    data = b" ".join((b"mg", word, *flags, b"k", b"u")) + base64_flag + b"\r\n"
    return Wire("mg", command[1], data, shows=flags, versioned=True)


def _malformed(name: str) -> Refused:
    return Refused(f"{name}: its words do not make one command of memcached", "nothing was sent")
