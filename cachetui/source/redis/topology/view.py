"""A cluster as one of its nodes sees it: the lines of CLUSTER NODES, read without believing more than they say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cachetui.model.slots import SLOTS
from cachetui.source.redis.replies import as_bytes
from cachetui.source.redis.topology.words import address_of
from cachetui.text import printable

_OPEN = re.compile(r"\[(\d{1,5})-([<>])-([0-9A-Za-z]{1,64})\]")
_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
ABSENT = frozenset(("noaddr", "handshake"))
"""Flags of a node that cannot be asked."""
FAILED = frozenset(("fail", "fail?"))
"""Flags of a node that is held for lost."""


@dataclass(frozen=True, slots=True)
class MemberLine:
    """One line of CLUSTER NODES; all of it printable."""

    node_id: str
    address: str
    """`host:port`; `?:port` where no host is known, and empty for the asked node that does not know its own."""
    hostname: str
    flags: frozenset[str]
    primary_id: str
    epoch: int | None
    connected: bool
    slots: str
    """Ranges: `0-5460,5462`."""
    open_slots: tuple[tuple[int, str, str], ...] = ()
    """Slot, `migrating` or `importing`, and the other node's id. A node says this only of itself."""

    @property
    def role(self) -> str:
        """`primary` or `replica`."""
        return "replica" if self.flags & {"slave", "replica"} else "primary"

    @property
    def known_place(self) -> bool:
        """It has an address where it can be asked."""
        return not self.flags & ABSENT and bool(self.address) and not self.address.startswith("?")


@dataclass(frozen=True, slots=True)
class ClusterView:
    """All that one node knows of the others."""

    lines: dict[str, MemberLine]
    """By node id."""
    my_id: str = ""

    @property
    def me(self) -> MemberLine | None:
        """The line of the node that was asked."""
        return self.lines.get(self.my_id)

    def signature(self) -> frozenset[tuple[str, str]]:
        """Return who serves which slots: what all nodes must agree on."""
        return frozenset((line.node_id, line.slots) for line in self.lines.values() if line.slots)


def parse_view(reply: object) -> ClusterView:
    """Return the view in a reply to CLUSTER NODES; lines that are none are passed over."""
    text = as_bytes(reply).decode("utf-8", "backslashreplace")
    lines = text.split("\n")
    if not all(line.strip("\r").isprintable() for line in lines):
        lines = [printable(line.strip("\r")) for line in lines]
    found: dict[str, MemberLine] = {}
    my_id = ""
    for text_line in lines:
        parts = text_line.split()
        if len(parts) >= 8:
            line = _line(parts)
            found[line.node_id] = line
            if "myself" in line.flags:
                my_id = line.node_id
    return ClusterView(found, my_id)


def _line(parts: Sequence[str]) -> MemberLine:
    node_id, where, flag_text, primary_id, _, _, epoch, link = parts[:8]
    place, _, rest = where.partition(",")
    hostname = rest.split(",")[0]
    host, _, port = place.partition("@")[0].rpartition(":")
    flags = frozenset(flag_text.split(","))
    opened = tuple(_open_slots(parts[8:]))
    ranges = ",".join(filter(_is_range, parts[8:]))
    address = address_of(host, port) if host else "" if "myself" in flags else f"?:{port}"
    return MemberLine(
        node_id,
        address,
        "" if "=" in hostname else hostname,
        flags,
        "" if primary_id == "-" else primary_id,
        int(epoch) if epoch.isascii() and epoch.isdigit() and len(epoch) < 20 else None,
        link == "connected" or "myself" in flags,
        ranges,
        opened,
    )


def _is_range(word: str) -> bool:
    match = _RANGE.fullmatch(word)
    return match is not None and int(match[1]) <= int(match[2] or match[1]) < SLOTS


def _open_slots(words: Sequence[str]) -> list[tuple[int, str, str]]:
    found = (_OPEN.fullmatch(word) for word in words)
    return [(int(m[1]), "migrating" if m[2] == ">" else "importing", m[3]) for m in found if m and int(m[1]) < SLOTS]
