"""How a write on many keys is made on one batch: which commands, and what their replies mean for each key.

A value that is kept is copied first and deleted by a script that compares: a key that somebody
wrote in between is left alone and copied again. All scripts handle few keys and end at once.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from cachetui.actions.plan import Command, Sweep
from cachetui.actions.plan.keys import MEMCACHED_RELATIVE_S
from cachetui.actions.scripts import COPY, DELETE, LATER, call
from cachetui.actions.spool import Kept
from cachetui.errors import CacheError, ServerError

Fate = Literal["done", "missing", "changed", "taken"]
"""What became of a key: `changed` was written by somebody else since it was looked at, `taken` before that."""
TOO_BIG = "too big to keep a copy of"

SCRIPT_KEYS = 50
"""Keys in one script call: it holds up other clients for some tens of microseconds."""

CHECKSUM_BYTES = 8
"""A DUMP ends in a CRC-64 of all before it."""


class Sight(NamedTuple):
    """What was seen of a key just before it is written."""

    exists: bool
    kept: Kept | None = None
    """None: nothing is kept of it."""
    alone: str = ""
    """Why it is to be left alone."""
    proof: bytes = b""
    """What must still be so when it is written."""


class Strokes(Protocol):
    """One kind of write. `sight` and `fates` answer for each key in turn, a CacheError where it was refused."""

    verb: bytes
    """The command that writes, for messages."""

    def looks(self, keys: Sequence[bytes]) -> list[Command]:
        """Return the commands that must be answered before anything is written; none: nothing need be known."""
        ...

    def sights(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Sight | CacheError]:
        """Return what the replies to `looks` say of each key."""
        ...

    def writes(self, keys: Sequence[bytes], sights: Sequence[Sight]) -> list[Command]:
        """Return the commands that write."""
        ...

    def fates(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Fate | CacheError]:
        """Return what became of each key."""
        ...


def strokes_for(sweep: Sweep, *, memcached: bool, one_slot: bool, absolute: bool, ahead_ms: int = 0) -> Strokes:
    """Return how this sweep is made.

    `one_slot`: a script may name keys of different slots (no cluster). `absolute`: PEXPIRETIME is
    known. `ahead_ms`: so much later it is on the server than here.
    """
    if sweep.operation.kind != "delete":
        return Touching(sweep) if memcached else Timing(sweep, absolute=absolute, ahead_ms=ahead_ms)
    if memcached:
        return Dropping(kept=sweep.keep is not None)
    if sweep.keep is None:
        return Plain(sweep.verb)
    return Keeping(sweep.verb, sweep.keep.max_key_bytes, SCRIPT_KEYS if one_slot else 1, absolute=absolute)


class Plain:
    """Delete without a way back."""

    def __init__(self, verb: bytes) -> None:
        self.verb = verb

    def looks(self, keys: Sequence[bytes]) -> list[Command]:
        return []

    def sights(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Sight | CacheError]:
        return [_UNSEEN] * len(keys)

    def writes(self, keys: Sequence[bytes], sights: Sequence[Sight]) -> list[Command]:
        return [(self.verb, key) for key in keys]

    def fates(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Fate | CacheError]:
        return [_fate(reply) for reply in replies]


class Keeping:
    """Copy, then delete what is still as it was copied."""

    def __init__(self, verb: bytes, max_key_bytes: int, group: int, *, absolute: bool) -> None:
        self._group = self._most = group
        self.verb = verb
        self._limits = (b"%d" % max_key_bytes, b"1" if absolute else b"0")

    def looks(self, keys: Sequence[bytes]) -> list[Command]:
        return [call(COPY, some, self._limits) for some in _cut(keys, self._group)]

    def copies(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Kept] | None:
        """Return the copies where every key was copied and none expires; None where `sights` has more to say."""
        rows: list[object] = []
        for reply in replies:
            if not isinstance(reply, list):
                return None
            rows += reply
        if len(rows) != len(keys) or set(map(type, rows)) != {bytes}:
            return None
        return list(map(Kept, keys, rows))  # type: ignore[arg-type]

    def sights(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Sight | CacheError]:
        return [_copied(key, row) for key, row in zip(keys, self._spread(keys, replies), strict=True)]

    def writes(self, keys: Sequence[bytes], sights: Sequence[Sight]) -> list[Command]:
        return self.deletes(keys, [sight.proof for sight in sights])

    def deletes(self, keys: Sequence[bytes], proofs: Sequence[bytes]) -> list[Command]:
        """Return the commands that delete the keys whose copies end in `proofs`."""
        return [
            call(DELETE, some, (*proofs[at : at + len(some)], self.verb))
            for at, some in zip(range(0, len(keys), self._group), _cut(keys, self._group), strict=True)
        ]

    def fates(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Fate | CacheError]:
        return ["done" if row == 1 else _fate(row) for row in self._spread(keys, replies)]

    def _spread(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[object]:
        """Return one answer for each key; what was refused for several keys is to be asked for each alone."""
        rows: list[object] = []
        # Another batch may have made the groups smaller since these were sent.
        size = 1 if len(replies) == len(keys) else self._most
        for some, reply in zip(_cut(keys, size), replies, strict=True):
            if isinstance(reply, list) and len(reply) == len(some):
                rows += reply
                continue
            if reply == 1:  # of all of them
                rows += [1] * len(some)
                continue
            error = reply if isinstance(reply, CacheError) else ServerError("the script's reply makes no sense")
            rows += [AskAgain(error.message) if len(some) > 1 and not again(error) else error] * len(some)
        if any(isinstance(row, AskAgain) for row in rows):
            self._group = 1
        return rows


def _cut(keys: Sequence[bytes], size: int) -> list[Sequence[bytes]]:
    return [keys[at : at + size] for at in range(0, len(keys), size)]


class Timing:
    """Give keys an expiry, or take it away."""

    def __init__(self, sweep: Sweep, *, absolute: bool, ahead_ms: int) -> None:
        self._operation, self._kept, self._absolute = sweep.operation, sweep.keep is not None, absolute
        self._ahead_ms = ahead_ms
        self.verb = b"PEXPIREAT" if sweep.operation.kind == "expire" else b"PERSIST"
        self._began_ms: list[int] = []
        self._looks = self._kept or sweep.operation.kind == "expire"

    def looks(self, keys: Sequence[bytes]) -> list[Command]:
        word = b"PEXPIRETIME" if self._absolute else b"PTTL"
        return [(word, key) for key in keys] if self._looks else []

    def sights(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Sight | CacheError]:
        if not self._looks:
            return [_UNSEEN] * len(keys)
        now_ms = self._now_ms()
        return [self._sight(key, reply, now_ms) for key, reply in zip(keys, replies, strict=True)]

    def writes(self, keys: Sequence[bytes], sights: Sequence[Sight]) -> list[Command]:
        if self._operation.kind == "persist":
            return [(b"PERSIST", key) for key in keys]
        return [
            (b"PEXPIREAT", key, sight.kept.became if sight.kept else b"%d" % self._deadline_ms(key))
            for key, sight in zip(keys, sights, strict=True)
        ]

    def fates(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Fate | CacheError]:
        return [_fate(reply) for reply in replies]

    def _sight(self, key: bytes, reply: object, now_ms: int) -> Sight | CacheError:
        if isinstance(reply, CacheError):
            return reply
        if not isinstance(reply, int):
            return ServerError("PTTL: the reply makes no sense")
        if reply == -2:
            return _ABSENT
        before_ms = reply if self._absolute or reply < 0 else now_ms + reply
        if self._operation.kind == "persist":
            became = b"-1"
        else:
            if self._absolute and any(before_ms == self._at_ms(key, began) for began in self._began_ms):
                return _ABSENT  # named twice: it has its new expiry already
            became = b"%d" % self._deadline_ms(key)
        return Sight(True, Kept(key, None, before_ms, became=became) if self._kept else None)

    def _deadline_ms(self, key: bytes) -> int:
        """Return when the key is to expire: the same moment however often it is asked, so that nothing moves twice."""
        ttl_ms, now_ms = (self._operation.ttl_s or 0.0) * 1000, self._now_ms()
        if not self._began_ms or now_ms - self._began_ms[-1] > ttl_ms / 2:
            self._began_ms.append(now_ms)
        return self._at_ms(key, self._began_ms[-1])

    def _now_ms(self) -> int:
        """Return the server's time: a clock that is wrong here must not end a key's life too soon."""
        return int(time.time() * 1000) + self._ahead_ms

    def _at_ms(self, key: bytes, began_ms: int) -> int:
        share = zlib.crc32(key) / 2**32
        return began_ms + round(((self._operation.ttl_s or 0.0) + self._operation.jitter_s * share) * 1000)


class Dropping:
    """Delete Memcached items; with a way back only those that are still at the version that was copied."""

    def __init__(self, *, kept: bool) -> None:
        self._kept = kept
        self.verb = b"md" if kept else b"delete"

    def looks(self, keys: Sequence[bytes]) -> list[Command]:
        return [(b"mg", key, b"v", b"f", b"t", b"c") for key in keys] if self._kept else []

    def sights(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Sight | CacheError]:
        if not self._kept:
            return [_UNSEEN] * len(keys)
        now_s = time.time()
        return [_item(key, reply, now_s) for key, reply in zip(keys, replies, strict=True)]

    def writes(self, keys: Sequence[bytes], sights: Sequence[Sight]) -> list[Command]:
        if not self._kept:
            return [(b"delete", key) for key in keys]
        return [(b"md", key, b"C" + sight.proof) for key, sight in zip(keys, sights, strict=True)]

    def fates(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Fate | CacheError]:
        return [_fate(reply) for reply in replies]


class Touching:
    """Give Memcached items an expiry, or none."""

    def __init__(self, sweep: Sweep) -> None:
        self._operation, self._kept = sweep.operation, sweep.keep is not None
        self._began_s = time.time()
        self.verb = b"touch"

    def looks(self, keys: Sequence[bytes]) -> list[Command]:
        return [(b"mg", key, b"t", b"c") for key in keys] if self._kept else []

    def sights(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Sight | CacheError]:
        if not self._kept:
            return [_UNSEEN] * len(keys)
        now_s = time.time()
        became = [(b"%d" % (at_s * 1000)) if (at_s := self._at_s(key)) >= 0 else b"-1" for key in keys]
        return [_item(key, reply, now_s, became=after) for key, reply, after in zip(keys, replies, became, strict=True)]

    def writes(self, keys: Sequence[bytes], sights: Sequence[Sight]) -> list[Command]:
        return [(b"touch", key, self._words(self._at_s(key))) for key in keys]

    def fates(self, keys: Sequence[bytes], replies: Sequence[object]) -> list[Fate | CacheError]:
        return [_fate(reply) for reply in replies]

    def _at_s(self, key: bytes) -> int:
        """Return the new expiry in whole Unix seconds, the same however often it is asked; -1: none."""
        if self._operation.kind == "persist":
            return -1
        share = zlib.crc32(key) / 2**32
        return int(self._began_s + (self._operation.ttl_s or 0.0) + self._operation.jitter_s * share + 1)

    def _words(self, at_s: int) -> bytes:
        """Return the expiry as Memcached takes it: seconds from now, so that no clock matters, up to 30 days."""
        left_s = at_s - int(time.time())
        return b"0" if at_s < 0 else b"%d" % (at_s if left_s > MEMCACHED_RELATIVE_S else max(1, left_s))


class AskAgain(CacheError):
    """No answer for this key yet, and no reason to wait: there was no room for it, or one of several was refused."""

    code = "ask_again"


PASSING = frozenset(
    ("LOADING", "BUSY", "READONLY", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK")
)
"""Words of a server that did nothing and may do it soon: after a failover, a restart, a move of slots."""


def again(error: CacheError) -> bool:
    """Tell whether the same command may well succeed in a moment; nothing was done."""
    if isinstance(error, AskAgain) or error.code in ("loading", "busy"):
        return True
    return isinstance(error, ServerError) and error.word in PASSING


_ABSENT = Sight(exists=False)
_UNSEEN = Sight(exists=True)


def _fate(reply: object) -> Fate | CacheError:
    if isinstance(reply, CacheError):
        return reply
    if reply in (1, b"DELETED", b"TOUCHED"):
        return "done"
    if reply in (0, b"NOT_FOUND"):
        return "missing"
    if reply in (-1, b"EXISTS"):
        return "changed"
    return ServerError("the reply makes no sense")


def copy_in(row: object) -> tuple[bytes, int] | None:
    """Return the DUMP and when it expires in Unix milliseconds, -1: never; None where the row holds no copy."""
    if isinstance(row, bytes):
        return row, -1
    if isinstance(row, list) and len(row) == 2 and isinstance(row[0], bytes) and isinstance(row[1], int):
        return row[0], row[1]
    return None


def _copied(key: bytes, row: object) -> Sight | CacheError:
    """Read what the copying script said of a key."""
    copy = copy_in(row)
    if copy is not None:
        return Sight(True, Kept(key, *copy), "", copy[0][-CHECKSUM_BYTES:])
    if row is None:
        return _ABSENT
    if isinstance(row, int):
        return AskAgain("copied later") if row == LATER else Sight(True, alone=TOO_BIG)
    return row if isinstance(row, CacheError) else ServerError("DUMP: the reply makes no sense")


def _item(key: bytes, reply: object, now_s: float, *, became: bytes = b"") -> Sight | CacheError:
    """Read what `mg` said of an item."""
    if isinstance(reply, CacheError):
        return reply
    if reply is None:
        return _ABSENT
    if not isinstance(reply, dict):
        return ServerError("mg: the reply makes no sense")
    left_s = reply.get(b"t", -1)
    expires_at_ms = -1 if left_s == -1 else int((now_s + left_s) * 1000)
    kept = Kept(
        key,
        reply.get(b"v"),
        expires_at_ms,
        flags=reply.get(b"f", 0),
        became=became,
    )
    return Sight(True, kept, proof=b"%d" % reply.get(b"c", 0))
