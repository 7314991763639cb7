"""The nodes of a cluster as each of them sees the others: CLUSTER NODES, read without believing more than it says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cachetui.model.slots import SLOTS
from cachetui.text import printable

_OPEN = re.compile(r"\[(\d{1,5})-([<>])-([0-9A-Za-z]{1,64})\]")
_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
BAD = frozenset(("fail", "noaddr", "handshake"))
"""Flags of a node that is not there."""


@dataclass(frozen=True, slots=True)
class Member:
    """One line of CLUSTER NODES."""

    node_id: str
    address: str
    """`host:port`, printable; a node that has no address yet is empty."""
    role: str
    """`primary` or `replica`."""
    primary_id: str = ""
    flags: frozenset[str] = frozenset()
    epoch: int = 0
    connected: bool = True
    slots: frozenset[int] = frozenset()
    migrating: Mapping[int, str] = field(default_factory=dict)
    """Slots that are on their way to the node of this id; a node says this only of itself."""
    importing: Mapping[int, str] = field(default_factory=dict)
    """Slots that come from the node of this id."""

    @property
    def is_primary(self) -> bool:
        """It is a primary."""
        return self.role == "primary"

    @property
    def is_bad(self) -> bool:
        """It has failed, is not known yet, or has no address."""
        return bool(self.flags & BAD)

    @property
    def host(self) -> str:
        """The address without its port."""
        return self.address.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class View:
    """The cluster as one node sees it."""

    asked: str
    """The address that was asked."""
    members: tuple[Member, ...]

    @property
    def me(self) -> Member:
        """The node that was asked. Raises StopIteration never: `parse_view` has seen to it."""
        return next(member for member in self.members if "myself" in member.flags)

    def find(self, node_id: str) -> Member | None:
        """Return the node with this id."""
        return next((member for member in self.members if member.node_id == node_id), None)

    def served(self) -> dict[int, str]:
        """Return by slot the id of the primary that serves it."""
        return {slot: member.node_id for member in self.members for slot in member.slots}

    def following(self) -> dict[str, str]:
        """Return the id of its primary by each replica's id."""
        return {member.node_id: member.primary_id for member in self.members if not member.is_primary}


def parse_view(reply: bytes, asked: str) -> View | None:
    """Return the view in a reply to CLUSTER NODES; None for one that makes no sense."""
    lines = [line.split() for line in reply.decode("utf-8", "replace").splitlines()]
    members = tuple(_member(parts, asked) for parts in lines if len(parts) >= 8)
    if sum("myself" in member.flags for member in members) != 1:
        return None
    return View(asked, members)


def _member(parts: Sequence[str], asked: str) -> Member:
    node_id, where, flag_text, primary_id, _, _, epoch, link = (printable(part, 300) for part in parts[:8])
    flags = frozenset(flag_text.split(","))
    host, _, port = re.split("[@,]", where, maxsplit=1)[0].rpartition(":")
    myself = "myself" in flags
    if not host or port == "0":
        address = asked if myself else ""
    else:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    slots: set[int] = set()
    migrating: dict[int, str] = {}
    importing: dict[int, str] = {}
    for word in parts[8:]:
        if found := _OPEN.fullmatch(word):
            way = migrating if found[2] == ">" else importing
            way[int(found[1])] = printable(found[3])
        elif found := _RANGE.fullmatch(word):
            slots.update(range(int(found[1]), min(SLOTS - 1, int(found[2] or found[1])) + 1))
    return Member(
        node_id,
        address,
        "replica" if flags & {"slave", "replica"} else "primary",
        "" if primary_id == "-" else primary_id,
        flags,
        int(epoch) if epoch.isdigit() else 0,
        link == "connected" or myself,
        frozenset(slots),
        migrating,
        importing,
    )


@dataclass(frozen=True, slots=True)
class State:
    """A cluster as all of its nodes see it, as far as they answer."""

    views: tuple[View, ...]
    silent: Mapping[str, str] = field(default_factory=dict)
    """Addresses that did not answer, and why."""

    @property
    def members(self) -> dict[str, Member]:
        """All nodes by id: each as it sees itself, the silent ones as others see them. No strangers in handshake."""
        found = {view.me.node_id: view.me for view in self.views}
        for view in self.views:
            for member in view.members:
                if "handshake" not in member.flags:
                    found.setdefault(member.node_id, member)
        return found

    @property
    def answering(self) -> dict[str, Member]:
        """The nodes that answer, by id."""
        return {view.me.node_id: view.me for view in self.views}

    @property
    def primaries(self) -> list[Member]:
        """The primaries that answer, by their lowest slot; those without slots last."""
        found = [member for member in self.answering.values() if member.is_primary]
        return sorted(found, key=lambda member: (min(member.slots, default=SLOTS), member.address))

    def owners(self) -> dict[int, list[str]]:
        """Return by slot the ids of the primaries that say that they own it; a silent one by what others say."""
        owners: dict[int, list[str]] = {}
        for member in self.members.values():
            if member.is_primary and "fail" not in member.flags:
                for slot in member.slots:
                    owners.setdefault(slot, []).append(member.node_id)
        return owners

    def agree(self) -> bool:
        """Tell whether all that answer see the same primaries serve the same slots."""
        maps = [view.served() for view in self.views]
        return all(one == maps[0] for one in maps[1:])

    def named(self, words: str) -> Member | None:
        """Return the node that is meant by an address or the beginning of an id; None: nobody, or several."""
        members = self.members.values()
        exact = [member for member in members if words in (member.node_id, member.address)]
        fitting = exact or ([member for member in members if member.node_id.startswith(words)] if words else [])
        return fitting[0] if len(fitting) == 1 else None

    def open_slots(self) -> Iterator[tuple[int, Member]]:
        """Yield each open slot with the primary that says so."""
        for member in self.primaries:
            yield from ((slot, member) for slot in sorted({*member.migrating, *member.importing}))
