"""What a server can do, read from COMMAND INFO and never from its version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from cachetui.source.redis.replies import as_list, as_text


@dataclass(frozen=True, slots=True)
class Features:
    """Which of the commands we asked about exist; empty where COMMAND INFO is denied."""

    ASKED: ClassVar[tuple[str, ...]] = (
        *("info", "config", "config|get", "config|set", "client", "client|no-touch", "client|kill", "slowlog"),
        *("scan", "unlink", "del", "memory", "object", "httl", "function", "expire", "persist", "vcard", "ft._list"),
        *("commandlog", "latency|histogram", "cluster|slot-stats", "hotkeys"),
    )
    known: frozenset[str] = field(default_factory=frozenset)
    asked: bool = False

    @property
    def subcommands(self) -> bool:
        """The server has a table of subcommands, as all have that take several INFO sections at once."""
        return "config|get" in self.known

    def knows(self, name: str, *, unsure: bool = True) -> bool:
        """Tell whether a command exists; `unsure` is the answer where it cannot be known."""
        if not self.asked or ("|" in name and not self.subcommands):
            return unsure
        return name in self.known


def read_features(reply: object) -> Features:
    """Return the features in a COMMAND INFO reply for `Features.ASKED`."""
    return Features(frozenset(name for name, flags in read_flags(Features.ASKED, reply) if flags is not None), True)


def read_flags(names: Sequence[str], reply: object) -> Iterator[tuple[str, frozenset[str] | None]]:
    """Yield each asked name with its flags and ACL categories (without `@`), None for an unknown command."""
    entries = as_list(reply)
    for at, name in enumerate(names):
        entry = as_list(entries[at]) if at < len(entries) else []
        if len(entry) < 3:
            yield name, None
            continue
        flags = {as_text(flag, 60) for flag in as_list(entry[2])}
        categories = {as_text(flag, 60).lstrip("@") for flag in as_list(entry[6])} if len(entry) > 6 else set()
        yield name, frozenset(flags | categories)
