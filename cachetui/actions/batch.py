"""Keys on their way to their end, and what an error says of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cachetui.actions.spool import Kept
from cachetui.actions.strokes import AskAgain, again
from cachetui.errors import CacheError, Unreachable

NEAR_MS = 3000
"""Expiries that are read as what is left, in whole seconds even, differ so much at most when they are the same."""


@dataclass(slots=True)
class Batch:
    """Keys on their way."""

    todo: dict[bytes, None]
    doubtful: set[bytes] = field(default_factory=set)
    """A write was sent and its reply has not come."""
    changed: Counter[bytes] = field(default_factory=Counter)
    kept: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    """A copy is on the disk: with this expiry, and so the write was to leave it (see `Kept`)."""
    voided: list[bytes] = field(default_factory=list)
    """Copied and then not written: the copy is to be taken back."""
    at_once: int = 1_000_000
    """Keys in the next round: fewer where so many did not come in time."""


def passing(error: CacheError) -> bool:
    """Tell whether it may well go better in a moment."""
    return isinstance(error, Unreachable) or again(error)


def is_unsent(error: CacheError) -> bool:
    """Tell whether it is known that the command was not carried out, and may be sent again."""
    return (
        error.detail.get("sent") is False
        if isinstance(error, Unreachable)
        else again(error) and not isinstance(error, AskAgain)
    )


def once_more(record: Kept, batch: Batch) -> Kept:
    """Return a further copy of a key: how it is now, unless that is what our own write has made of it."""
    if record.key not in batch.kept:
        return record
    expires_at_ms, became = batch.kept[record.key]
    if record.key in batch.doubtful and became and abs(record.expires_at_ms - int(became)) <= NEAR_MS:
        return record._replace(expires_at_ms=expires_at_ms, again=True)
    return record._replace(again=True)
