"""What became of a plan: every reply counted, nothing guessed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from cachetui.actions.plan import Command, render
from cachetui.errors import CacheError, Denied, Refused, ServerError, Unsupported
from cachetui.model.slots import slots_text
from cachetui.text import printable

State = Literal["done", "failed", "stopped", "refused"]

FAILURES_KEPT = 5
NAMES_KEPT = 20
"""Of the keys that were left alone for one reason so many are named."""
NAME_CHARACTERS = 60

_CHANGED = (b"OK", "OK", b"DELETED", "DELETED", b"TOUCHED", "TOUCHED", b"STORED", "STORED")
_NOTHING = (0, b"NOT_FOUND", "NOT_FOUND", b"NOT_STORED")
"""Replies that say: it was gone already, or there was nothing to change."""
_ALWAYS = frozenset((b"HSET", b"HMSET", b"ZADD", b"XADD", b"PFADD"))
"""Whatever these answer (how many are new, the name of an entry) is a yes."""
_COUNTING = (b"incr", b"decr")
"""Memcached's answer with the new number."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running plan stands."""

    done: int
    failed: int
    left: int
    rate: float
    """Commands answered per second since the start."""
    missing: int = 0
    skipped: int = 0
    note: str = ""
    """What it waits for, or what there is to say of the names."""
    p99_us: float | None = None
    """What another client's round trip takes, in microseconds; None: not measured."""
    kept_bytes: int | None = None
    """What the copies for the way back take so far; None: none are kept."""

    @property
    def left_s(self) -> float | None:
        """Return the seconds until the end at this rate; None while unknown."""
        return self.left / self.rate if self.rate > 0 else None


@dataclass(frozen=True, slots=True)
class Failure:
    """One command that the server refused."""

    command: str
    """Its exact text."""
    error: CacheError


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """Keys that were left alone on purpose, for one reason."""

    why: str
    count: int
    names: tuple[bytes, ...] = ()
    """The first of them, where they are noted."""

    def line(self, limit: int = NAMES_KEPT) -> str:
        """Return it with the first `limit` names, printable.

        >>> LeftAlone("written since", 3, (b"a", b"b\\n")).line()
        '3 written since: a, "b\\\\n" and 1 more'
        """
        head = f"{self.count:,} {self.why}"
        names = ", ".join(render((name,), NAME_CHARACTERS) for name in self.names[:limit])
        more = self.count - len(self.names[:limit])
        return f"{head}: {names}{f' and {more:,} more' if more else ''}" if names else head


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan. `done + missing + failed + skipped + unknown + left` is the number of its commands."""

    state: State
    """`refused`: the server permitted none of it. `stopped`: `left` or `unknown` is not 0."""
    done: int
    missing: int
    """Gone already, or as it was to be: the command changed nothing."""
    failed: int
    left: int
    """Never sent."""
    unknown: int
    """Sent when the connection broke: carried out or not, nobody knows."""
    errors: tuple[Failure, ...]
    """The first few."""
    seconds: float
    reason: str = ""
    """Why it stopped or failed, in a sentence."""
    checks: tuple[str, ...] = ()
    """What looking again afterwards showed."""
    verified: bool | None = None
    """False: the server does not show what was set. None: not checked."""
    skipped: int = 0
    """Left alone on purpose: too big to keep a copy of, or written by others all the time."""
    kept: int = 0
    """Keys whose way back is kept under the receipt."""
    left_alone: tuple[LeftAlone, ...] = ()
    """`skipped` by reason."""

    @property
    def exit_code(self) -> int:
        """Return the process's exit code for this outcome."""
        if self.state == "done" and self.verified is not False:
            return 0
        return Refused.exit_code if self.state == "refused" else 4

    def line(self) -> str:
        """Return the tally as one line."""
        others = (
            (self.missing, "gone already or unchanged"),
            (self.failed, "failed"),
            (self.skipped, "left alone"),
            (self.unknown, "unknown (in flight when the connection broke)"),
            (self.left, "not sent"),
        )
        parts = [f"{self.done:,} done", *(f"{count:,} {words}" for count, words in others if count)]
        return ", ".join(parts) + (f": {self.reason}" if self.reason else "")


@dataclass(slots=True)
class Tally:
    """The counts while a plan runs."""

    left: int
    done: int = 0
    missing: int = 0
    failed: int = 0
    in_flight: int = 0
    denied: int = 0
    errors: list[Failure] = field(default_factory=list)
    last_error: CacheError | None = None
    whole: CacheError | None = None
    """Why commands that belong together were not carried out, none of them."""
    reason: str = "interrupted"
    """Holds until the run ends by itself."""
    alone: Counter[str] = field(default_factory=Counter)
    """Why keys were left alone."""
    names: dict[str, list[bytes]] = field(default_factory=dict)
    """Some of these keys, by reason."""
    kept: int = 0
    moved: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """Slots of a cluster that were moved, by the ids of where from and where to."""
    began: float = field(default_factory=time.monotonic)

    @property
    def answered(self) -> int:
        """Return how many commands were answered."""
        return self.done + self.missing + self.failed

    @property
    def skipped(self) -> int:
        """Return how many keys were left alone."""
        return self.alone.total()

    @property
    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.began

    def progress(self, *, note: str = "", p99_us: float | None = None, kept_bytes: int | None = None) -> Progress:
        """Return where it stands."""
        rate = self.answered / max(self.seconds, 1e-9)
        left = max(0, self.left)
        return Progress(self.done, self.failed, left, rate, self.missing, self.skipped, note, p99_us, kept_bytes)

    def state(self) -> State:
        """Return in a word how it ended, were it to end now."""
        if self.whole is not None and not self.answered:
            return "refused" if isinstance(self.whole, Refused | Denied | Unsupported) else "failed"
        if self.failed and self.failed == self.denied == self.answered:
            return "refused"
        if self.failed and self.failed == self.answered:
            return "failed"
        if self.left > 0 or self.in_flight or self.skipped:
            return "stopped"
        return "failed" if self.failed else "done"

    def count(self, batch: Sequence[Command], replies: Sequence[object]) -> int:
        """Count the replies of one batch and return how many of them failed. Only a known yes is a yes."""
        before = self.failed
        for command, answer in zip(batch, replies, strict=True):
            reply = answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
            if _is_yes(command, reply):
                self.done += 1
            elif reply in _NOTHING:
                self.missing += 1
            else:
                words = f"unexpected reply: {_shown(reply)}"
                self.refused(command, reply if isinstance(reply, CacheError) else ServerError(words))
        return self.failed - before

    def refused(self, command: Command, error: CacheError) -> None:
        """Count one command that was refused."""
        self.failed += 1
        self.last_error = error
        self.denied += isinstance(error, Denied)
        if len(self.errors) < FAILURES_KEPT:
            self.errors.append(Failure(render(command), error))

    def leave_alone(self, why: str) -> None:
        """Count a key that was left alone on purpose."""
        self.alone[why] += 1

    def name_alone(self, why: str, key: bytes) -> None:
        """Note the name of a key that was left alone, while there is room."""
        names = self.names.setdefault(why, [])
        if len(names) < NAMES_KEPT:
            names.append(key)

    def left_alone(self) -> tuple[LeftAlone, ...]:
        """Return what was left alone, and why."""
        return tuple(LeftAlone(why, count, tuple(self.names.get(why, ()))) for why, count in self.alone.items())

    def moves(self) -> tuple[tuple[str, str, str], ...]:
        """Return which slots were moved: as `0-99,105`, and the ids of where from and where to."""
        return tuple((slots_text(slots), source, target) for (source, target), slots in self.moved.items())

    def undone(self, batch: Sequence[Command], error: CacheError) -> None:
        """Count a batch back of which nothing was carried out."""
        self.left += self.in_flight
        self.in_flight = 0
        self.whole = error
        if len(self.errors) < FAILURES_KEPT:
            self.errors.append(Failure(render(batch[0]), error))

    def _why(self) -> str:
        alone = "; ".join(f"{count:,} {why}" for why, count in self.alone.items())
        return "; ".join(words for words in (self.reason, alone) if words)

    def outcome(self, verified: bool | None, checks: tuple[str, ...]) -> Outcome:
        """Return the final counts with what looking again has shown."""
        return Outcome(
            state=self.state(),
            done=self.done,
            missing=self.missing,
            failed=self.failed,
            left=max(0, self.left),
            unknown=self.in_flight,
            errors=tuple(self.errors),
            seconds=self.seconds,
            reason=self._why(),
            checks=checks,
            verified=verified,
            skipped=self.skipped,
            kept=self.kept,
            left_alone=self.left_alone(),
        )


def _is_yes(command: Command, reply: object) -> bool:
    if reply in _CHANGED or (isinstance(reply, int) and reply > 0):
        return True
    if command[0] in _COUNTING and isinstance(reply, bytes):
        return reply.strip().isdigit()
    return command[0].upper() in _ALWAYS and isinstance(reply, int | bytes)


def _shown(reply: object) -> str:
    return printable(reply if isinstance(reply, bytes) else str(reply), 200)
