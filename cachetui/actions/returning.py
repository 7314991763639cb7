"""The way back, on one batch: which commands put keys back as they were, and never over what was written since."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain

from cachetui.actions.plan import Command
from cachetui.actions.plan.keys import MEMCACHED_RELATIVE_S
from cachetui.actions.scripts import PUT_BACK, call
from cachetui.actions.spool import Head, Kept
from cachetui.actions.strokes import Fate, Sight, Strokes
from cachetui.actions.touched import UNKNOWN
from cachetui.errors import CacheError, ServerError
from cachetui.model import Keep

NEAR_MS = 1000
"""Expiries that are read as what is left differ so much at most when they are the same."""
TAKEN = "written since, and left as it is"
UNREADABLE = {
    "payload version or checksum": (
        "it was made by a newer or another kind of server",
        "bring it back on a server of the version it was taken from",
    ),
    "bad data format": (
        "it has no module for this type, or not the one it was made with",
        "load the module here, or bring it back where it was taken from",
    ),
}
"""What RESTORE says of a copy that it does not understand: what that means, and what to do."""
UNSURE = "begun and never looked at again: compare it by hand"
EXPIRED = "would have expired by now"


class Returning(Strokes):
    """Strokes that are told of each record before its key comes."""

    def __init__(self) -> None:
        self.records: dict[bytes, Kept] = {}
        """What is under way; whoever runs it takes settled keys out again."""

    def looks(self, keys: Sequence[bytes]) -> list[Command]:
        return []

    def sights(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Sight | CacheError]:
        return [self._alive(key) for key in keys]

    def _alive(self, key: bytes) -> Sight:
        expires_at_ms = self.records[key].expires_at_ms
        return Sight(True, alone=EXPIRED if 0 <= expires_at_ms <= self.now_ms() else "")

    def now_ms(self) -> int:
        """Return the time by the clock that the expiries were read from."""
        return int(time.time() * 1000)


class Restoring(Returning):
    """Bring deleted keys back with RESTORE, which refuses a key that is there."""

    verb = b"RESTORE"

    def __init__(self, ahead_ms: int) -> None:
        super().__init__()
        self._ahead_ms = ahead_ms

    def now_ms(self) -> int:
        return super().now_ms() + self._ahead_ms

    def writes(self, keys: Sequence[bytes], sights: Sequence[Sight]) -> list[Command]:
        return [restore(self.records[key]) for key in keys]

    def fates(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Fate | CacheError]:
        return [_restored(reply) for reply in replies]


class Retiming(Returning):
    """Give keys their old expiry back where they still have the one they were given."""

    verb = b"PEXPIREAT"

    def __init__(self, *, absolute: bool, ahead_ms: int) -> None:
        super().__init__()
        self._absolute, self._ahead_ms = absolute, ahead_ms

    def now_ms(self) -> int:
        return super().now_ms() + self._ahead_ms

    def looks(self, keys: Sequence[bytes]) -> list[Command]:
        word = b"PEXPIRETIME" if self._absolute else b"PTTL"
        return [(word, key) for key in keys]

    def sights(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Sight | CacheError]:
        now_ms = self.now_ms()
        return [self._sight(key, reply, now_ms) for key, reply in zip(keys, replies, strict=True)]

    def _sight(self, key: bytes, reply: object, now_ms: int) -> Sight | CacheError:
        if isinstance(reply, CacheError):
            return reply
        if not isinstance(reply, int):
            return ServerError("PTTL: the reply makes no sense")
        if reply == -2:
            return Sight(exists=False)
        record = self.records[key]
        shown_ms = reply if self._absolute or reply < 0 else now_ms + reply
        if shown_ms == record.expires_at_ms:
            return Sight(exists=False)  # it has been set back already
        return _same(record, shown_ms, 0 if self._absolute else NEAR_MS) or self._alive(key)

    def writes(self, keys: Sequence[bytes], sights: Sequence[Sight]) -> list[Command]:
        times = [(key, self.records[key].expires_at_ms) for key in keys]
        return [(b"PERSIST", key) if at_ms < 0 else (b"PEXPIREAT", key, b"%d" % at_ms) for key, at_ms in times]

    def fates(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Fate | CacheError]:
        return [_changed(reply) for reply in replies]


class PuttingBack(Returning):
    """Give keys their old content back where they are still as they were written."""

    verb = b"RESTORE"

    def __init__(self, ahead_ms: int, *, together: bool) -> None:
        super().__init__()
        self._ahead_ms, self._together = ahead_ms, together

    def now_ms(self) -> int:
        return super().now_ms() + self._ahead_ms

    def sights(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Sight | CacheError]:
        sights = [self._sight(key) for key in keys]
        alone = next((sight for sight in sights if sight.alone), None)
        return [alone] * len(keys) if alone is not None and self._together else [*sights]

    def _sight(self, key: bytes) -> Sight:
        # What has expired meanwhile is not put back: the newer content would go, and nothing come instead.
        return Sight(True, alone=UNSURE) if self.records[key].became == UNKNOWN else self._alive(key)

    def writes(self, keys: Sequence[bytes], sights: Sequence[Sight]) -> list[Command]:
        records = [self.records[key] for key in keys]
        return [put_back(*records)] if self._together else [put_back(record) for record in records]

    def fates(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Fate | CacheError]:
        fates: list[Fate | CacheError] = ["taken" if reply == -1 else _restored(reply) for reply in replies]
        return fates * len(keys) if self._together else fates


class Adding(Returning):
    """Bring Memcached items back where there are none."""

    verb = b"ms"

    def writes(self, keys: Sequence[bytes], sights: Sequence[Sight]) -> list[Command]:
        return [add(self.records[key]) for key in keys]

    def fates(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Fate | CacheError]:
        return ["taken" if reply == b"NOT_STORED" else _changed(reply) for reply in replies]


class Touching(Returning):
    """Give Memcached items their old expiry back where they still have the one they were given."""

    verb = b"touch"

    def looks(self, keys: Sequence[bytes]) -> list[Command]:
        return [(b"mg", key, b"t", b"c") for key in keys]

    def sights(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Sight | CacheError]:
        now_ms = self.now_ms()
        return [self._sight(key, reply, now_ms) for key, reply in zip(keys, replies, strict=True)]

    def _sight(self, key: bytes, reply: object, now_ms: int) -> Sight | CacheError:
        if isinstance(reply, CacheError):
            return reply
        if not isinstance(reply, dict):
            return Sight(exists=False)
        left_s = reply.get(b"t", -1)
        shown_ms = -1 if left_s == -1 else now_ms + left_s * 1000
        return _same(self.records[key], shown_ms, 3 * NEAR_MS) or self._alive(key)

    def writes(self, keys: Sequence[bytes], sights: Sequence[Sight]) -> list[Command]:
        return [(b"touch", key, _seconds(self.records[key].expires_at_ms)) for key in keys]

    def fates(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Fate | CacheError]:
        return [_changed(reply) for reply in replies]


def returning_for(head: Head, *, memcached: bool, absolute: bool, ahead_ms: int) -> Returning:
    """Return how a receipt is undone (see `strokes_for`)."""
    kind = head.kind
    if memcached:
        return Adding() if kind == "delete" else Touching()
    if kind == "write":
        return PuttingBack(ahead_ms, together=head.together)
    return Restoring(ahead_ms) if kind == "delete" else Retiming(absolute=absolute, ahead_ms=ahead_ms)


def restore(record: Kept) -> Command:
    """Return the command that brings a Redis key back as it was, with its expiry."""
    at_ms = max(0, record.expires_at_ms)
    return (b"RESTORE", record.key, b"%d" % at_ms, record.value or b"", *((b"ABSTTL",) if at_ms else ()))


def put_back(*records: Kept) -> Command:
    """Return the command that makes Redis keys what they were, if nobody has written any of them since."""
    each = ((record.became, record.value or b"", b"%d" % max(0, record.expires_at_ms)) for record in records)
    limit = b"%d" % Keep().max_key_bytes
    return call(PUT_BACK, [record.key for record in records], (limit, *chain.from_iterable(each)))


def add(record: Kept) -> Command:
    """Return the command that brings a Memcached item back."""
    flags, lasts = b"F%d" % record.flags, b"T" + _seconds(record.expires_at_ms)
    return (b"ms", record.key, flags, lasts, b"ME", record.value or b"")


def _seconds(expires_at_ms: int) -> bytes:
    """Return an expiry as Memcached takes it."""
    if expires_at_ms < 0:
        return b"0"
    left_s = max(1, round(expires_at_ms / 1000 - time.time()))
    return b"%d" % (expires_at_ms // 1000 if left_s > MEMCACHED_RELATIVE_S else left_s)


def _same(record: Kept, shown_ms: int, near_ms: int) -> Sight | None:
    """Return why a key is left as it is when its expiry is not the one it was given; None when it is."""
    given_ms = int(record.became or b"-1")
    same = shown_ms == given_ms or (min(shown_ms, given_ms) >= 0 and abs(shown_ms - given_ms) <= near_ms)
    return None if same else Sight(True, alone=TAKEN)


def _restored(reply: object) -> Fate | CacheError:
    if isinstance(reply, ServerError) and reply.word == "BUSYKEY":
        return "taken"
    if isinstance(reply, ServerError):
        for phrase, (words, hint) in UNREADABLE.items():
            if phrase in reply.message.lower():
                return ServerError(
                    f"RESTORE: this server cannot read the copy: {words}", hint, reply.detail, reply.word
                )
    return _changed(reply)


def _changed(reply: object) -> Fate | CacheError:
    if isinstance(reply, CacheError):
        return reply
    if reply in (1, b"OK", "OK", b"STORED", b"TOUCHED"):
        return "done"
    return "missing" if reply in (0, b"NOT_FOUND") else ServerError("the reply makes no sense")
