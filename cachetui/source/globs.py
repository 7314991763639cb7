"""Redis's glob patterns, for servers and lists that match nothing themselves."""

from __future__ import annotations

import re

_ONE = b"(?s:.)"


def compiled(glob: bytes) -> re.Pattern[bytes]:
    r"""Return a pattern whose `fullmatch` answers as Redis's MATCH does: `*`, `?`, `[a-z]`, `[^a]`, `\x`.

    Many stars cost no more than one: a part between two stars is never tried twice.

    >>> bool(compiled(b"user:*").fullmatch(b"user:1")), bool(compiled(b"a?").fullmatch(b"a"))
    (True, False)
    >>> bool(compiled(b"[^a-c]x").fullmatch(b"dx")), bool(compiled(b"\\*").fullmatch(b"*"))
    (True, True)
    """
    parts: list[bytes] = [b""]
    at = 0
    while at < len(glob):
        char = glob[at : at + 1]
        if char == b"*":
            parts.append(b"")
        elif char == b"?":
            parts[-1] += _ONE
        elif char == b"[":
            part, at = _char_class(glob, at + 1)
            parts[-1] += part
        else:
            if char == b"\\" and at + 1 < len(glob):
                at += 1
            parts[-1] += re.escape(glob[at : at + 1])
        at += 1
    first, *rest = parts
    if not rest:
        return re.compile(first)
    middle = b"".join(b"(?>(?s:.*?)%b)" % part for part in rest[:-1] if part)
    return re.compile(first + middle + b"(?s:.*)" + rest[-1])


def _char_class(glob: bytes, at: int) -> tuple[bytes, int]:
    """Return the set that begins at `at`, and where its last character is. An unclosed one ends with the glob."""
    negated = glob[at : at + 1] == b"^"
    at += negated
    members: set[int] = set()
    while at < len(glob) and glob[at : at + 1] != b"]":
        if glob[at : at + 1] == b"\\" and at + 1 < len(glob):
            at += 1
            members.add(glob[at])
        elif glob[at + 1 : at + 2] == b"-" and at + 2 < len(glob):
            low, high = sorted((glob[at], glob[at + 2]))
            members.update(range(low, high + 1))
            at += 2
        else:
            members.add(glob[at])
        at += 1
    if negated:
        members = set(range(256)) - members
    if not members:
        return b"(?!)", at
    return b"[" + b"".join(b"\\x%02x" % member for member in sorted(members)) + b"]", at
