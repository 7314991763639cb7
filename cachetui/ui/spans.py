"""Times and rates as a person types them, and the sentences for those that won't do."""

from __future__ import annotations

import re
from collections.abc import Callable

Check = Callable[[str], str | None]
"""Returns a sentence when the text won't do."""

_SPAN = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*$", re.ASCII)
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(words: str) -> float:
    """Return seconds of "90", "15m", "2h", "1d". Raises ValueError with a sentence.

    >>> seconds_of("15m"), seconds_of(" 1.5 h")
    (900.0, 5400.0)
    """
    match = _SPAN.match(words.lower())
    if match is None:
        raise ValueError("write seconds, or 30s, 15m, 2h, 1d")
    return float(match[1]) * _UNIT_S[match[2]]


def span_problem(words: str) -> str | None:
    """Say what is wrong with a time."""
    try:
        seconds_of(words)
    except ValueError as error:
        return str(error)
    return None


def rate_problem(words: str) -> str | None:
    """Say what is wrong with a number of keys a second."""
    given = words.strip()
    return None if given.isascii() and given.isdigit() and int(given) > 0 else "write a whole number of keys a second"


def optional(check: Check) -> Check:
    """Let nothing pass as well."""
    return lambda words: check(words) if words.strip() else None
