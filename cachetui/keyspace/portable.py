"""Keys as JSON lines and as redis-cli commands, both ways. Pure: nothing is read from or sent to a server.

A record is a plain JSON object for one key: `key`, `type`, `expiresAtMs` (Unix milliseconds, or
null) and what the type holds: `value`, `fields`, `elements`, `members` or `entries`. Bytes that
are not clean UTF-8 travel as `...Base64`. A record of the type `expiry` only sets `expiresAtMs`, of a key
or of one `field` of it.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from cachetui.errors import BadUsage, Unsupported
from cachetui.keyspace.quoting import quoted, words_of
from cachetui.model import Value
from cachetui.text import clean_utf8, printable

Record = dict[str, object]
Command = tuple[bytes, ...]
Pairs = Sequence[tuple[bytes, bytes]]
Content = bytes | Sequence[bytes] | Pairs | Sequence[tuple[bytes, float]] | Sequence[tuple[bytes, Pairs]]
"""Of a string its bytes; list and set elements; hash (field, value); sorted set (member, score);
stream (id, ((field, value), ...))."""

TYPES = ("string", "hash", "list", "set", "zset", "stream")
"""What can be written as commands. The groups of a stream are not part of it."""
EXPIRY = "expiry"
BATCH = 500
"""Elements of one command."""
_LARGEST_MS = 1 << 62
_ENTRY_ID = re.compile(rb"\d{1,20}-\d{1,20}")

__all__ = [
    "BATCH",
    "TYPES",
    "Command",
    "Content",
    "Record",
    "json_line",
    "parse_line",
    "parse_lines",
    "quoted",
    "record_of",
    "to_commands",
    "to_record",
]


def to_record(key: bytes, type_: str, ttl_ms: int | None, content: Content, *, now_ms: int = 0) -> Record:
    """Return the record of one key; `now_ms` is the moment when `ttl_ms` were left. Raises Unsupported.

    >>> to_record(b"k", "string", 5, b"v", now_ms=100)
    {'key': 'k', 'type': 'string', 'expiresAtMs': 105, 'value': 'v'}
    """
    if type_ not in TYPES:
        raise Unsupported(f"{printable(type_, 40)} cannot be written as commands", f"only {', '.join(TYPES)} can")
    head: Record = {**_named("key", key), "type": type_}
    head["expiresAtMs"] = None if ttl_ms is None else now_ms + ttl_ms
    if isinstance(content, bytes):
        return {**head, **_named("value", content)}
    where, row = _ROWS[type_]
    return {**head, where: [row(element) for element in content]}


def record_of(windows: Sequence[Value], *, now_ms: int) -> Record:
    """Return the record of a value that was read whole, window by window. Raises Unsupported."""
    if not windows:
        raise Unsupported("nothing was read of the key")
    facts = windows[0].facts
    key, type_ = facts.key, facts.type or "an unknown type"
    items = [item for window in windows for item in window.items]
    whole = windows[-1].next is None and windows[0].start is None
    cut = type_ != "string" and any(item.total_bytes not in (None, len(item.data)) for item in items)
    if cut or not whole or _is_short(windows) or any(window.note for window in windows):
        raise Unsupported(f"{printable(key, 100)}: not all of its {type_} was read")
    if type_ == "stream" and not items:
        raise Unsupported(f"{printable(key, 100)}: a stream without entries cannot be written as commands")
    content: Content = [item.data for item in items]
    if type_ == "string":
        content = b"".join(item.data for item in items)
    elif type_ == "hash":
        content = [(item.label, item.data) for item in items]
    elif type_ == "zset":
        content = [(item.data, item.score or 0.0) for item in items]
    elif type_ == "stream":
        content = [(item.label, item.fields) for item in items]
    ttl_ms = None if facts.ttl_s is None else round(facts.ttl_s * 1000)
    record = to_record(key, type_, ttl_ms, content, now_ms=now_ms)
    for row, item in zip(record["fields"] if type_ == "hash" else [], items, strict=False):  # type: ignore[call-overload]
        if item.ttl_s is not None:
            row["expiresAtMs"] = now_ms + round(item.ttl_s * 1000)
    return record


def _is_short(windows: Sequence[Value]) -> bool:
    """Return True when less was read than there is. Expired fields of a hash are counted until they are removed."""
    items = [item for window in windows for item in window.items]
    total = windows[-1].total
    if total is None or any(item.ttl_s is not None for item in items):
        return False
    string = windows[0].facts.type == "string"
    return (sum(len(item.data) for item in items) if string else len(items)) < total


def json_line(record: Record) -> str:
    """Return `record` as one line of JSON, without its newline; ASCII only."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def to_commands(record: Record) -> list[Command]:
    """Return the commands that write the key where it is not there yet. Raises BadUsage for what is no record."""
    try:
        return _commands(record)
    except (LookupError, TypeError, ValueError) as error:
        raise BadUsage(f"not a record of a key: {printable(str(error), 100)}") from error


def parse_lines(lines: Iterable[str | bytes]) -> Iterator[Record]:
    """Yield a record for each line that is not blank, numbered from 1. Raises BadUsage."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield parse_line(line, number)


def parse_line(line: str | bytes, number: int = 1) -> Record:
    """Return the record of a JSON line, or of one redis-cli command. Raises BadUsage that names the line.

    >>> parse_line('SET a "x y"')
    {'key': 'a', 'type': 'string', 'expiresAtMs': None, 'value': 'x y'}
    """
    data = line.encode("utf-8", "surrogateescape") if isinstance(line, str) else line
    data = data.strip(b" \t\r\n")
    try:
        if data.startswith(b"{"):
            record = json.loads(data)
            _commands(record)  # it must be understood before anything is written
            return {**record, "expiresAtMs": _moment(record.get("expiresAtMs"))}
        return _of_command(words_of(data))
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        why = "no JSON" if isinstance(error, json.JSONDecodeError) else printable(str(error), 100)
        hint = f"a record in JSON, or one of {', '.join(_PARSED)}, is needed"
        raise BadUsage(f"line {number}: {why}", hint) from error


def _named(name: str, data: bytes) -> dict[str, object]:
    words = clean_utf8(data)
    return {f"{name}Base64": base64.b64encode(data).decode("ascii")} if words is None else {name: words}


def _bytes(row: object, name: str) -> bytes:
    if not isinstance(row, dict):
        raise TypeError(f"{name} is missing")
    if name in row:
        words = row[name]
        if not isinstance(words, str):
            raise TypeError(f"{name} is no text")
        return words.encode("utf-8")
    packed = row.get(f"{name}Base64")
    if not isinstance(packed, str):
        raise TypeError(f"{name} is missing")
    return base64.b64decode(packed, validate=True)


def _score(number: object) -> float:
    score = float(number) if isinstance(number, int | float | str) and not isinstance(number, bool) else math.nan
    if math.isnan(score):
        raise ValueError("a score is no number")
    return score


def _score_out(score: float) -> float | str:
    return score if math.isfinite(score) else ("inf" if score > 0 else "-inf")


def _moment(number: object) -> int | None:
    if number is None:
        return None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < _LARGEST_MS:
        raise ValueError("expiresAtMs is no time in milliseconds")
    return number


def _list(record: Record, name: str) -> list[object]:
    rows = record.get(name)
    if not isinstance(rows, list):
        raise TypeError(f"{name} is missing")
    return rows


def _field_row(pair: tuple[bytes, bytes]) -> Record:
    return {**_named("field", pair[0]), **_named("value", pair[1])}


_ROWS: dict[str, tuple[str, Callable[..., Record]]] = {
    "hash": ("fields", _field_row),
    "list": ("elements", lambda element: _named("value", element)),
    "set": ("members", lambda member: _named("member", member)),
    "zset": ("members", lambda pair: {**_named("member", pair[0]), "score": _score_out(pair[1])}),
    "stream": ("entries", lambda entry: {"id": entry[0].decode("ascii"), "fields": [_field_row(p) for p in entry[1]]}),
}
"""Where a type keeps its elements, and how one of them is written."""


def _commands(record: Record) -> list[Command]:
    if not isinstance(record, dict):
        raise TypeError("no object")
    key, type_ = _bytes(record, "key"), record.get("type")
    at_ms = _moment(record.get("expiresAtMs"))
    expiry: list[Command] = [] if at_ms is None else [(b"PEXPIREAT", key, b"%d" % at_ms)]
    if type_ == EXPIRY:
        if not expiry:
            raise ValueError("expiresAtMs is missing")
        return _field_expiries(key, [record]) if "field" in record or "fieldBase64" in record else expiry
    if type_ not in TYPES:
        raise ValueError(f"the type {str(type_)[:40]} cannot be written")
    return [*_writes(record, key, str(type_)), *expiry]


def _writes(record: Record, key: bytes, type_: str) -> list[Command]:
    if type_ == "string":
        return [(b"SET", key, _bytes(record, "value"))]
    rows = _list(record, _ROWS[type_][0])
    if type_ == "stream":
        return [(b"XADD", key, *_entry(row)) for row in rows]
    word, words_of_row = _WRITES[type_]
    words = [words_of_row(row) for row in rows]
    batches = [words[at : at + BATCH] for at in range(0, len(words), BATCH)]
    commands = [(word, key, *(part for row in batch for part in row)) for batch in batches]
    return commands + (_field_expiries(key, rows) if type_ == "hash" else [])


def _number(score: float) -> bytes:
    return str(_score_out(score)).encode("ascii") if not math.isfinite(score) else repr(score).encode("ascii")


_WRITES: dict[str, tuple[bytes, Callable[[object], Command]]] = {
    "hash": (b"HSET", lambda row: (_bytes(row, "field"), _bytes(row, "value"))),
    "list": (b"RPUSH", lambda row: (_bytes(row, "value"),)),
    "set": (b"SADD", lambda row: (_bytes(row, "member"),)),
    "zset": (b"ZADD", lambda row: (_number(_score(row["score"])), _bytes(row, "member"))),  # type: ignore[index]
}


def _field_expiries(key: bytes, rows: list[object]) -> list[Command]:
    found: list[Command] = []
    for row in rows:
        at_ms = _moment(row.get("expiresAtMs")) if isinstance(row, dict) else None
        if at_ms is not None:
            found.append((b"HPEXPIREAT", key, b"%d" % at_ms, b"FIELDS", b"1", _bytes(row, "field")))
    return found


def _entry(row: object) -> Command:
    id_ = _bytes(row, "id")
    if not _ENTRY_ID.fullmatch(id_):
        raise ValueError("an entry's id is two numbers")
    fields = _list(row, "fields") if isinstance(row, dict) else []
    if not fields:
        raise ValueError("an entry has fields")
    return (id_, *(part for pair in fields for part in (_bytes(pair, "field"), _bytes(pair, "value"))))


def _of_command(words: list[bytes]) -> Record:
    if not words:
        raise ValueError("nothing there")
    name = words[0].upper()
    parse = _PARSERS.get(name)
    if parse is None:
        raise ValueError(f"{words[0][:40].decode('utf-8', 'surrogateescape')} is not imported")
    if len(words) < 3:
        raise ValueError(f"{name.decode('ascii')} needs a key and what to write")
    return parse(words[1], words[2:])


def _set(key: bytes, rest: list[bytes]) -> Record:
    if len(rest) != 1:
        raise ValueError("SET takes a key and a value here; the expiry is a PEXPIREAT of its own")
    return to_record(key, "string", None, rest[0])


def _hset(key: bytes, rest: list[bytes]) -> Record:
    return to_record(key, "hash", None, _pairs(rest, "HSET"))


def _zadd(key: bytes, rest: list[bytes]) -> Record:
    pairs = [(member, _score(score.decode("ascii"))) for score, member in _pairs(rest, "ZADD")]
    return to_record(key, "zset", None, pairs)


def _xadd(key: bytes, rest: list[bytes]) -> Record:
    if not _ENTRY_ID.fullmatch(rest[0]):
        raise ValueError("XADD takes a whole id (milliseconds-number) here")
    return to_record(key, "stream", None, [(rest[0], _pairs(rest[1:], "XADD"))])


def _pexpireat(key: bytes, rest: list[bytes]) -> Record:
    if len(rest) != 1 or not rest[0].isdigit():
        raise ValueError("PEXPIREAT takes a key and Unix milliseconds")
    return {**_named("key", key), "type": EXPIRY, "expiresAtMs": _moment(int(rest[0]))}


def _hpexpireat(key: bytes, rest: list[bytes]) -> Record:
    if len(rest) != 4 or not rest[0].isdigit() or rest[1].upper() != b"FIELDS" or rest[2] != b"1":
        raise ValueError("HPEXPIREAT takes a key, Unix milliseconds and FIELDS 1 field here")
    return {**_pexpireat(key, rest[:1]), **_named("field", rest[3])}


def _pairs(words: list[bytes], name: str) -> list[tuple[bytes, bytes]]:
    if not words or len(words) % 2:
        raise ValueError(f"{name} takes pairs")
    return list(zip(words[::2], words[1::2], strict=True))


_PARSERS: dict[bytes, Callable[[bytes, list[bytes]], Record]] = {
    b"SET": _set,
    b"HSET": _hset,
    b"RPUSH": lambda key, rest: to_record(key, "list", None, rest),
    b"SADD": lambda key, rest: to_record(key, "set", None, rest),
    b"ZADD": _zadd,
    b"XADD": _xadd,
    b"PEXPIREAT": _pexpireat,
    b"HPEXPIREAT": _hpexpireat,
}
_PARSED = [name.decode("ascii") for name in _PARSERS]
