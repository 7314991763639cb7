"""Which eviction policies a server allows, in its own words."""

from __future__ import annotations

import re

from cachetui.source.redis.replies import as_text

CLASSIC = (
    *("noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random"),
    *("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"),
)
"""What every supported server has: for those that do not list theirs."""

IMPOSSIBLE = "?"
"""No policy's name: setting it fails by design, and the refusal lists the allowed ones."""

_LISTED = re.compile(r"must be one of the following:\s*(.+)", re.IGNORECASE)
_NAME = re.compile(r"^[a-z][a-z-]{2,30}$")


def parse_policies(reply: str) -> tuple[str, ...]:
    """Return the names that a refused CONFIG SET lists, else the classic ones.

    >>> parse_policies("ERR CONFIG SET failed - argument(s) must be one of the following: volatile-lru, noeviction")
    ('volatile-lru', 'noeviction')
    >>> parse_policies("ERR Invalid argument") == CLASSIC
    True
    """
    match = _LISTED.search(reply)
    names = [as_text(name.strip()) for name in match[1].split(",")] if match else []
    allowed = tuple(name for name in names if _NAME.match(name))
    return allowed if "noeviction" in allowed else CLASSIC
