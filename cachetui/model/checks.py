"""What a write depends on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """What must still be so for a write to be sent: a read command and the reply it must give.

    For Memcached: `mg key c` gives the item's CAS number, `mg key v` its value, None without an item.
    """

    command: tuple[bytes, ...]
    expected: object
    """bytes, int, or None, as RESP2 would give it; a float is a number in whatever way it is written."""
    what: str
    """What is checked, as a noun, printable: `the value of user:1`, `field name of user:1`, `the key new`."""
