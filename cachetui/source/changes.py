"""What is said when somebody else was faster."""

from __future__ import annotations

from cachetui.errors import Changed
from cachetui.model import Check
from cachetui.text import printable

NOW_CHARS = 200
"""Of the present value so much is shown."""


def changed(check: Check, now: object) -> Changed:
    """Return the error for a check that found the reply `now` instead of the one expected.

    >>> changed(Check((b"GET", b"k"), b"old", "the value of k"), b"new").line()
    'the value of k was changed by somebody else: nothing was written; it reads new now: look at it again'
    """
    if _is_gone(check, now):
        return _error(check, f"{check.what} is gone", None)
    if _must_not_be(check.expected):
        return _error(check, f"{check.what} is there already", None if isinstance(now, int) else now)
    return _error(check, f"{check.what} was changed by somebody else", now)


def became_another_type(check: Check) -> Changed:
    """Return the error for a check whose command does not fit the type that the key has now."""
    return _error(check, f"{check.what} was changed by somebody else", "another type of value")


def _error(check: Check, message: str, now: object) -> Changed:
    shown = None if now is None else printable(now if isinstance(now, bytes) else str(now), NOW_CHARS)
    hint = "look at it again" if shown is None else f"it reads {shown} now: look at it again"
    return Changed(f"{message}: nothing was written", hint, {"what": check.what, "now": shown})


def _is_gone(check: Check, now: object) -> bool:
    if check.command[0].upper() == b"TYPE":
        return now == b"none"
    return now is None or (isinstance(now, int) and now == 0)


def _must_not_be(expected: object) -> bool:
    return expected is None or (isinstance(expected, int) and expected == 0)
