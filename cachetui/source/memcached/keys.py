"""Single keys: which names may be sent, how, and what the server says of them without being disturbed."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from cachetui.errors import CacheError, Refused, ServerError
from cachetui.model import KeyFacts, Value, ValueItem
from cachetui.source.memcached.connection import Connection, reply_error
from cachetui.text import printable, size

KEY_BYTES = 250
VALUE_LIMIT_BYTES = 16 * 1024 * 1024
"""A longer item is read to its window only, and the connection dropped."""

_UNSAFE = re.compile(rb"[\x00-\x20\x7f]")
_LENGTH = re.compile(rb"\d{1,10}")
_NUMBER = re.compile(rb"-?\d{1,20}")
_ERRORS = (b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR")
_REFUSALS = (*_ERRORS, b"BUSY", b"BADCLASS", b"NOSPARE", b"NOTFULL", b"UNSAFE", b"SAME")
_COUNT = re.compile(rb"\d{1,20} *")
"""What incr and decr reply; a value that became shorter is filled up with spaces."""
_REPLIES = frozenset(b"OK STORED NOT_STORED EXISTS NOT_FOUND DELETED TOUCHED HD NF EX NS EN MN RESET".split())
_VERSION = re.compile(rb"c[1-9]\d{0,19}")


def is_plain(key: bytes) -> bool:
    """Tell whether `key` can stand in a protocol line as it is.

    >>> is_plain(b"user:1"), is_plain(b"a b"), is_plain("é".encode())
    (True, False, True)
    """
    return 0 < len(key) <= KEY_BYTES and _UNSAFE.search(key) is None


def refusal(key: bytes) -> Refused:
    """Return why a key that is not plain is not sent."""
    shown = printable(key, 60)
    if not key:
        return Refused("memcached has no empty key", "give the key's name")
    if len(key) > KEY_BYTES:
        return Refused(f"a key of {len(key)} bytes: memcached's are at most {KEY_BYTES}", "check the name")
    return Refused(
        f'the key "{shown}" holds a space or a control byte and would end up as another command',
        "such names exist only where a client wrote them base64-encoded; find it with a scan",
    )


def written(key: bytes) -> tuple[bytes, bytes]:
    """Return `key` as a meta command takes it, and the flag that goes with it (` b` or nothing)."""
    return (key, b"") if is_plain(key) else (base64.b64encode(key), b" b")


def debug_line(key: bytes) -> bytes:
    """Return the command that tells of an item and neither bumps nor counts it."""
    word, flag = written(key)
    return b"me %b%b\r\n" % (word, flag)


def value_line(key: bytes) -> bytes:
    """Return the command that reads an item; `u` leaves its place in the LRU and its fetched mark alone."""
    word, flag = written(key)
    return b"mg %b s v t f c u%b\r\n" % (word, flag)


async def read_facts(connection: Connection, key: bytes) -> KeyFacts:
    """Read one reply to `me`."""
    line = await connection.line()
    if line == b"EN":
        return KeyFacts(key, exists=False)
    if not line.startswith(b"ME "):
        error = reply_error(line, "me")
        if line.startswith(_ERRORS):
            return KeyFacts(key, note=error.message)
        raise error
    fields = dict(word.partition(b"=")[::2] for word in line.split(b" ")[2:])
    expiry = _number(fields.get(b"exp"))
    has_ttl = None if expiry is None else expiry != -1
    return KeyFacts(
        key,
        type="item",
        # Up to 1.6.23 the seconds left are said as a negative number.
        ttl_s=float(abs(expiry)) if has_ttl and expiry is not None else None,
        has_ttl=has_ttl,
        size_bytes=_number(fields.get(b"size")),
        idle_s=_number(fields.get(b"la")),
        encoding=f"class {slab}" if (slab := _number(fields.get(b"cls"))) is not None else None,
        note="never fetched" if fields.get(b"fetch") == b"no" else "",
    )


def _number(text: bytes | None) -> int | None:
    if text is None or not _LENGTH.fullmatch(text.removeprefix(b"-")):
        return None
    return int(text)


def facts_reader(keys: list[bytes]) -> Callable[[Connection], Awaitable[list[KeyFacts]]]:
    """Return a reader of one `me` reply for each of `keys`."""

    async def read(connection: Connection) -> list[KeyFacts]:
        return [await read_facts(connection, key) for key in keys]

    return read


async def read_item(
    connection: Connection, key: bytes, shows: Sequence[bytes]
) -> dict[bytes, bytes | int] | CacheError | None:
    """Read one reply to `mg` with the flag `k`; return what was asked for by flag, None where there is no such item.

    Raises ServerError when it is not the reply to this question.
    """
    line = await connection.line()
    if line.startswith(_ERRORS):
        return reply_error(line, "mg")
    words, data = line.split(b" "), None
    absent = words[0] == b"EN"
    if words[0] == b"VA" and b"v" in shows and len(words) > 1 and _LENGTH.fullmatch(words[1]):
        length = int(words.pop(1))
        data = await connection.block(length, VALUE_LIMIT_BYTES)
    elif not absent and (words[0] != b"HD" or b"v" in shows):
        raise _senseless(printable(line, 60))
    told = {word[:1]: word[1:] for word in words[1:]}
    name = written(key)[0]
    # Not every version names a key that is not there.
    if told.get(b"k", name if absent else b"") != name:
        raise _senseless("the reply is about another item")
    if absent:
        return None
    if data is not None and len(data) < length:
        return ServerError(f"mg: an item of {size(length)} is too large to hold", "", {"too_large": True})
    found: dict[bytes, bytes | int] = {}
    for flag in shows:
        number = told.get(flag, b"")
        if flag != b"v" and not _NUMBER.fullmatch(number):
            raise _senseless(f"the reply lacks the flag {printable(flag)}")
        found[flag] = int(number) if flag != b"v" else data or b""
    if data is not None and found.get(b"s", length) != length:
        raise _senseless("the sizes in the reply differ")
    return found


def _senseless(why: str) -> ServerError:
    hint = "a proxy or a broken server is in between"
    return ServerError(f"mg: the reply makes no sense ({why}): connection dropped", hint, word="PROTOCOL")


def presence_reader(number: int) -> Callable[[Connection], Awaitable[list[bool | None]]]:
    """Return a reader of `number` replies to `me`: is the item there? None where that is not told."""

    async def read(connection: Connection) -> list[bool | None]:
        lines = await connection.lines(number)
        return [line.startswith(b"ME ") or (False if line == b"EN" else None) for line in lines]

    return read


def offset_of(start: bytes | None) -> int | None:
    """Return where a window begins, in bytes; None for what is no window's beginning."""
    if start is None:
        return 0
    return int(start) if _LENGTH.fullmatch(start) else None


def value_reader(key: bytes, max_bytes: int, start: bytes | None = None) -> Callable[[Connection], Awaitable[Value]]:
    """Return a reader of the replies to `me` and `mg` for `key`, sent together; `start` is a byte's offset."""

    async def read(connection: Connection) -> Value:
        facts = await read_facts(connection, key)
        line = await connection.line()
        taken_at = time.time()
        if line == b"EN":
            return Value(taken_at, KeyFacts(key, exists=False), note="gone", start=start)
        words = line.split(b" ")
        if words[0] != b"VA" or len(words) < 2 or not _LENGTH.fullmatch(words[1]):
            raise reply_error(line, "mg")
        length, at = int(words[1]), offset_of(start)
        begin = length if at is None else min(at, length)
        data = await _window(connection, length, begin, max_bytes)
        told = Value(
            taken_at,
            _with_length(facts, key, words[2:], length),
            total=length,
            flags=next((_number(word[1:]) for word in words[2:] if word.startswith(b"f")), None),
            start=start,
            # A server started with -C says 0 for every item: that is no version.
            version=next((word[1:] for word in words[2:] if _VERSION.fullmatch(word)), None),
        )
        if at is None:
            return replace(told, note="there is no such window on this value")
        return _with_data(told, data, begin, length)

    return read


def _with_data(told: Value, data: bytes, begin: int, length: int) -> Value:
    """Add the window's bytes, and say which part of the whole they are."""
    end = begin + len(data)
    if begin and not data:
        return replace(told, note="the value is shorter now: begin again")
    note = f"bytes {begin} to {end} of {length}" if begin else f"first {end} of {length} bytes"
    return replace(
        told,
        items=(ValueItem(b"", data, total_bytes=length),),
        note=note if len(data) < length else "",
        next=b"%d" % end if end < length else None,
    )


async def _window(connection: Connection, length: int, begin: int, max_bytes: int) -> bytes:
    """Read at most `max_bytes` of a data block from `begin` on, and the rest of it, or drop the connection."""
    if length <= VALUE_LIMIT_BYTES:
        return (await connection.block(length, begin + max_bytes))[begin:]
    return await connection.part(begin, min(max_bytes, length - begin))


def _with_length(facts: KeyFacts, key: bytes, flags: list[bytes], length: int) -> KeyFacts:
    """Complete the facts of `me` (which may have failed, or missed an item just written) by those of `mg`."""
    seconds = next((_number(flag[1:]) for flag in flags if flag.startswith(b"t")), None)
    has_ttl = None if seconds is None else seconds != -1
    return KeyFacts(
        key,
        type="item",
        ttl_s=float(seconds) if has_ttl and seconds is not None else None,
        has_ttl=has_ttl,
        size_bytes=facts.size_bytes,
        length=length,
        idle_s=facts.idle_s,
        encoding=facts.encoding,
        note=facts.note if facts.exists else "",
    )


def check(key: bytes, known_odd: set[bytes]) -> None:
    """Raise Refused unless `key` is plain, or a scan found it on the server as it is."""
    if not is_plain(key) and key not in known_odd:
        raise refusal(key)


def reply_or_error(line: bytes, command: str) -> bytes | CacheError:
    """Return a command's one-line reply, or the error it is.

    Raises ServerError for what memcached never says: the connection is out of step then.
    """
    if line.startswith(_REFUSALS):
        return reply_error(line, command)
    if line not in _REPLIES and not _COUNT.fullmatch(line):
        shown = printable(line, 60)
        raise ServerError(
            f"{command}: the reply makes no sense ({shown}): connection dropped",
            "a proxy or a broken server is in between",
            word="PROTOCOL",
        )
    return line
