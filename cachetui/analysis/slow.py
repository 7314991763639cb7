"""Slow log entries grouped by the shape of their command: the same question, asked of many keys."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cachetui import text
from cachetui.model import SlowEntry

SHAPE_WIDTH = 60
"""Characters kept of a key's shape."""

EXAMPLE_ARGS, EXAMPLE_WIDTH = 8, 80
"""Arguments kept of an example, and characters of each."""

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}(?![0-9A-Za-z])")
_DIGITS = re.compile(r"\d+")
_STARS = re.compile(r"\*(?:[.\-]\*)+|\*{2,}")

_SUBCOMMANDS = frozenset(
    [
        "ACL",
        "CLIENT",
        "CLUSTER",
        "COMMAND",
        "COMMANDLOG",
        "CONFIG",
        "DEBUG",
        "FUNCTION",
        "HOTKEYS",
        "LATENCY",
        "MEMORY",
        "MODULE",
        "OBJECT",
        "PUBSUB",
        "SCRIPT",
        "SENTINEL",
        "SLOWLOG",
        "XGROUP",
        "XINFO",
    ]
)
_ON_KEYS = frozenset(("MEMORY", "OBJECT", "XGROUP", "XINFO"))
"""Those whose subcommands name a key."""
_KEY_AT = {"BITOP": 2, "SINTERCARD": 2, "ZUNION": 2, "ZINTER": 2, "ZDIFF": 2, "ZINTERCARD": 2, "LMPOP": 2, "ZMPOP": 2}
_KEY_AT |= {"FCALL": 3, "FCALL_RO": 3, "BLMPOP": 3, "BZMPOP": 3, "EVAL": 3, "EVAL_RO": 3, "EVALSHA": 3, "EVALSHA_RO": 3}
_SCRIPTS = frozenset({"EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"})
_KEYLESS = frozenset(
    [
        "SCAN",
        "PING",
        "AUTH",
        "HELLO",
        "INFO",
        "FLUSHALL",
        "FLUSHDB",
        "EXEC",
        "MULTI",
        "SAVE",
        "BGSAVE",
        "PSYNC",
        "SYNC",
        "REPLCONF",
    ]
)


@dataclass(frozen=True, slots=True)
class SlowGroup:
    """All entries of one shape."""

    shape: str
    """`GET user:*`: the command in upper case and its key with numbers and ids replaced; printable."""
    count: int
    total_us: int
    max_us: int
    last_at: float
    """Unix seconds, the server's clock."""
    example: tuple[str, ...]
    """The arguments of the slowest entry, printable, long ones cut."""
    clients: tuple[str, ...] = ()
    """Who sent them, most often first, at most three: the connection's name, else its host."""


def group(entries: Iterable[SlowEntry], by: Callable[[SlowEntry], str] | None = None) -> tuple[SlowGroup, ...]:
    """Return the entries grouped by shape (or what `by` says of each), the largest total time first."""
    by_shape: dict[str, list[SlowEntry]] = {}
    for entry in entries:
        by_shape.setdefault((by or shape)(entry), []).append(entry)
    groups = [_group(name, members) for name, members in by_shape.items()]
    return tuple(sorted(groups, key=lambda g: (-g.total_us, -g.count, g.shape)))


def shape(entry: SlowEntry) -> str:
    """Return the entry's shape.

    >>> shape(SlowEntry(1, 0.0, 5, (b"get", b"user:42:profile")))
    'GET user:*:profile'
    >>> shape(SlowEntry(1, 0.0, 5, (b"config", b"set", b"maxmemory", b"1gb")))
    'CONFIG SET maxmemory'
    """
    if not entry.args:
        return text.printable(entry.event, SHAPE_WIDTH) or "(empty)"
    if entry.event:
        return f"{text.printable(entry.event, SHAPE_WIDTH)} {key_shape(entry.args[-1])}"
    name = text.printable(entry.args[0], SHAPE_WIDTH).upper()
    words = [name]
    if name in _SUBCOMMANDS and len(entry.args) > 1:
        words.append(text.printable(entry.args[1], SHAPE_WIDTH).upper())
    if name in _SCRIPTS and len(entry.args) > 1:
        words.append(_script(name, entry.args[1]))
    key = _key(name, entry.args)
    if key is not None:
        words.append(key_shape(key))
    return " ".join(words)


def prefix(entry: SlowEntry) -> str:
    """Return what the entry's key begins with, up to its first separator; its command where no key is known.

    >>> prefix(SlowEntry(1, 0.0, 5, (b"get", b"user:42:profile"))), prefix(SlowEntry(1, 0.0, 5, (b"ping",)))
    ('user:*', 'PING')
    """
    name = text.printable(entry.args[0], SHAPE_WIDTH).upper() if entry.args else ""
    if entry.event:
        key = entry.args[-1] if entry.args else None
    else:
        key = _key(name, entry.args) if name not in _SUBCOMMANDS or name in _ON_KEYS else None
    if key is None:
        return name or "(empty)"
    first, colon, _ = key.partition(b":")
    return f"{text.printable(first, SHAPE_WIDTH)}:*" if colon else key_shape(key)


def key_shape(key: bytes) -> str:
    """Return a key's name with all that counts or identifies replaced by `*`.

    >>> key_shape(b"session:3f2b8c1e-0000-4000-8000-123456789abc"), key_shape(b"page:10:v2"), key_shape(b"")
    ('session:*', 'page:*:v*', '""')
    """
    shown = text.printable(key[: 4 * SHAPE_WIDTH])
    for pattern in (_UUID, _HEX, _DIGITS):
        shown = pattern.sub("*", shown)
    shown = _STARS.sub("*", shown)
    return (shown if len(shown) <= SHAPE_WIDTH else shown[: SHAPE_WIDTH - 1] + "…") or '""'


def _script(name: str, body: bytes) -> str:
    """Name a script: its hash, its function, or how its text begins."""
    if name.startswith("EVALSHA"):
        return text.printable(body, 9)
    return text.printable(b" ".join(body[:400].split()), 30)


def _key(name: str, args: tuple[bytes, ...]) -> bytes | None:
    """Return the first key of a command as far as its shape is known."""
    if name in _KEYLESS:
        return None
    if name in ("XREAD", "XREADGROUP"):
        at = next((i + 1 for i, arg in enumerate(args) if arg.upper() == b"STREAMS"), len(args))
    elif name in _SUBCOMMANDS:
        at = 2
    else:
        at = _KEY_AT.get(name, 1)
    if name in _SCRIPTS and args[2:3] == (b"0",):
        return None
    return args[at] if at < len(args) else None


def _group(name: str, entries: list[SlowEntry]) -> SlowGroup:
    slowest = max(entries, key=lambda entry: entry.duration_us or 0)
    example = [text.printable(arg, EXAMPLE_WIDTH) for arg in slowest.args[:EXAMPLE_ARGS]]
    if len(slowest.args) > EXAMPLE_ARGS:
        example.append(f"(+{len(slowest.args) - EXAMPLE_ARGS})")
    who = Counter(entry.client_name or entry.client.rpartition(":")[0] or entry.client for entry in entries)
    return SlowGroup(
        name,
        len(entries),
        sum(entry.duration_us or 0 for entry in entries),
        slowest.duration_us or 0,
        max(entry.at for entry in entries),
        tuple(example),
        tuple(client for client, _ in who.most_common(3) if client),
    )
