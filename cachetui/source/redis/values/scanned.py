"""Hashes and sets: windows along the server's own cursor, none of whose elements is lost between two of them."""

from __future__ import annotations

import base64
import binascii
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from cachetui.model import KeyFacts
from cachetui.source.redis.replies import as_bytes, as_int, as_list
from cachetui.source.redis.values.window import Ask, Part, Window, no_such_window, one

_STEPS = 8
"""SCAN steps for one window, beside those that its rows need: a sparse table answers with few elements at a time."""
STEPS_S = 0.25
"""After so long no further step is begun: on a slow link a shorter window comes rather than none."""
_COUNT = 1_000
"""More at a time would hold up the server's other clients."""
_REST = 100
_REST_BYTES = 4096
"""How many names, and how long, a token may carry."""

Element = tuple[bytes, ...]
"""A member, or a field and its value."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a window begins.

    A step may bring more elements than the window has room for. A few go into the token by name;
    where they are many (a small value comes whole in one step), the step is asked again and what
    was shown of it skipped, unless it has changed: then it is shown again from its beginning.
    """

    cursor: bytes = b"0"
    count: int = 0
    """COUNT of a step that is to be asked again; 0: of a new one."""
    skip: int = 0
    check: int = 0
    """Checksum of the elements to skip."""
    rest: tuple[bytes, ...] = ()
    """Names that were left over; with the cursor 0 they are the last."""

    def token(self) -> bytes:
        if self.rest:
            names = b",".join(base64.urlsafe_b64encode(name) for name in self.rest)
            return self.cursor + b"+" + names
        return b"%b:%d:%d:%d" % (self.cursor, self.count, self.skip, self.check)

    @classmethod
    def of(cls, token: bytes | None) -> Place:
        """Return the place that `token` names. Raises BadUsage."""
        if token is None:
            return cls()
        cursor, plus, names = token.partition(b"+")
        try:
            if plus:
                rest = tuple(base64.b64decode(name, b"-_", validate=True) for name in names.split(b","))
                return cls(b"%d" % int(cursor), rest=rest)
            cursor, count, skip, check = token.split(b":")
            return cls(b"%d" % int(cursor), min(_COUNT, max(0, int(count))), max(0, int(skip)), int(check))
        except (ValueError, binascii.Error) as error:
            raise no_such_window() from error


async def read_set(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return members along SSCAN's cursor."""
    place = Place.of(window.start)
    rest: list[Element] = [(member,) for member in place.rest]
    found, next_ = await _walk(ask, ("SSCAN", facts.key, 1), window, place, rest)
    return Part(tuple(window.item(b"", member) for (member,) in dict.fromkeys(found)), next_)


async def read_hash(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return fields along HSCAN's cursor, without their times to live."""
    found, next_ = await _hash_elements(ask, facts, window)
    return Part(tuple(window.item(name, content) for name, content in found), next_)


async def read_hash_with_ttl(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return fields with their own times to live; a server that refuses leaves them unknown."""
    found, next_ = await _hash_elements(ask, facts, window)
    seconds: list[int | None] = []
    if found:
        (reply,) = await ask([("HTTL", facts.key, "FIELDS", len(found), *(name for name, _ in found))])
        seconds = [as_int(left) for left in as_list(reply)]
    if len(seconds) != len(found):
        seconds = [None] * len(found)
    items = [
        window.item(name, content, ttl_s=None if left is None or left < 0 else float(left))
        for (name, content), left in zip(found, seconds, strict=True)
    ]
    return Part(tuple(items), next_)


async def _hash_elements(ask: Ask, facts: KeyFacts, window: Window) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
    place = Place.of(window.start)
    rest: list[Element] = []
    if place.rest:
        contents = as_list(await one(ask, "HMGET", facts.key, *place.rest))
        rest = [(name, as_bytes(data)) for name, data in zip(place.rest, contents, strict=False) if data is not None]
    found, next_ = await _walk(ask, ("HSCAN", facts.key, 2), window, place, rest)
    return list({element[0]: element[1] for element in found}.items()), next_


async def _walk(
    ask: Ask, scan: tuple[str, bytes, int], window: Window, place: Place, found: list[Element]
) -> tuple[list[Element], bytes | None]:
    """Return `window.rows` elements after those already `found`, or fewer, and the token of the window after them."""
    command, key, width = scan
    if len(found) >= window.rows:
        return found[: window.rows], _after(place.cursor, found[window.rows :])
    if place.rest and place.cursor == b"0":
        return found, None
    began = time.monotonic()
    for _ in range(_STEPS + window.rows // _COUNT):
        room = window.rows - len(found)
        count = place.count or min(room, _COUNT)
        reply = as_list(await one(ask, command, key, place.cursor, "COUNT", count))
        if len(reply) != 2:
            break
        cursor, flat = as_bytes(reply[0]), [as_bytes(part) for part in as_list(reply[1])]
        elements: list[Element] = [tuple(flat[at : at + width]) for at in range(0, len(flat) - width + 1, width)]
        skip = place.skip if _checksum(elements[: place.skip]) == place.check else 0
        rest = elements[skip + room :]
        found += elements[skip : skip + room]
        if len(rest) <= _REST and sum(len(element[0]) for element in rest) <= _REST_BYTES:
            if rest:
                return found, _after(cursor, rest)
        else:
            shown = elements[: skip + room]
            return found, Place(place.cursor, count, len(shown), _checksum(shown)).token()
        place = Place(cursor)
        if cursor == b"0":
            return found, None
        if len(found) >= window.rows or time.monotonic() - began >= STEPS_S:
            break
    return found, None if place.cursor == b"0" else place.token()


def _after(cursor: bytes, rest: Sequence[Element]) -> bytes | None:
    if not rest:
        return None if cursor == b"0" else Place(cursor).token()
    return Place(cursor, rest=tuple(element[0] for element in rest)).token()


def _checksum(elements: Sequence[Element]) -> int:
    """Return a checksum of the elements' names: a value may change without moving."""
    check = 0
    for element in elements:
        check = zlib.crc32(b"%d:%b" % (len(element[0]), element[0]), check)
    return check
