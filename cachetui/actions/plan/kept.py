"""What is kept for the way back, in words: how much that will be, for how long, and when it is too much."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cachetui.actions.plan.base import Plan
from cachetui.model import Estimate, Keep, Operation
from cachetui.text import size

KEPT_DAYS = 7
EXPIRY_BYTES = 24
"""What the old expiry of a key takes beside its name, about."""
RECEIPT = "RECEIPT"
"""Stands for the receipt until the plan has one."""


@dataclass(frozen=True, slots=True)
class WayBack:
    """Whether and how a write can be undone."""

    keep: Keep | None
    """What the write is to keep; None: nothing."""
    words: str
    """For `Plan.undo`, with `RECEIPT` in the receipt's place."""
    lines: tuple[str, ...] = ()
    """For the preview."""
    too_much: bool = False
    """There would be an undo if there was less to keep."""


def way_back(operation: Operation, keep: Keep | None, estimate: Estimate) -> WayBack:
    """Return what can be kept of a write on these keys.

    What is written to the disk is compressed, so the memory of the keys is about the most it can be.
    """
    deletes = operation.kind == "delete"
    if keep is None:
        return WayBack(None, f"no undo: the {'values' if deletes else 'old TTLs'} are not kept")
    expected = 0.0 if estimate.keys == 0 else estimate.bytes_total if deletes else _names_bytes(estimate)
    cap = size(keep.max_bytes)
    if expected is not None and expected > keep.max_bytes:
        words = f"no undo: about {size(expected)} would have to be kept, and {cap} are the most"
        return WayBack(None, words, ("to keep a way back, narrow it down and do it in parts",), too_much=True)
    what = "values" if deletes else "old TTLs"
    expected_words = "how much is unknown" if expected is None else f"{size(expected)} at most are expected"
    words = f"cachetui undo {RECEIPT} for {KEPT_DAYS} days: the {what} are kept, up to {cap} ({expected_words})"
    lines = [f"when {cap} are full, it stops: nothing goes without a copy"] if expected is None and deletes else []
    if deletes:
        lines += ["each key is copied before it is deleted, and deleted only if it is still as it was copied"]
        lines += _left_alone(keep, estimate)
    elif operation.kind == "expire":
        words += "; a key that has expired by then does not come back"
    return WayBack(keep, words, tuple(lines))


def with_receipt(plan: Plan) -> Plan:
    """Return the plan with its receipt in the words for the undo."""
    return replace(plan, undo=plan.undo.replace(RECEIPT, plan.id, 1)) if RECEIPT in plan.undo else plan


def _names_bytes(estimate: Estimate) -> float | None:
    if estimate.keys is None or not estimate.sample:
        return None
    return estimate.keys * (sum(map(len, estimate.sample)) / len(estimate.sample) + EXPIRY_BYTES)


def _left_alone(keep: Keep, estimate: Estimate) -> list[str]:
    limit = size(keep.max_key_bytes)
    if estimate.largest_bytes is None and estimate.keys != 0:
        return [f"keys above {limit} are left alone: to copy one would hold up the server"]
    big = sum(weight > keep.max_key_bytes for weight in estimate.heaviest_bytes)
    if not big:
        return []
    return [
        f"left alone: keys above {limit}, {big:,} of {estimate.looked:,} looked at, the biggest "
        f"{size(estimate.largest_bytes)}: to copy one would hold up the server (without undo they go too)"
    ]
