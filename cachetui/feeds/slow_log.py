"""The slow log of a session: what the server's own ring has forgotten is still here."""

from __future__ import annotations

from dataclasses import replace

from cachetui.model import SlowEntry, SlowLog

MOST = 5000
"""Entries kept; the oldest go first."""

_Log = tuple[str, str]
_Id = tuple[str, str, int, float]


class SlowLogKeeper:
    """Joins poll after poll by the entries' ids, across a restart or another server too."""

    def __init__(self) -> None:
        self._entries: dict[_Id, SlowEntry] = {}
        self._ordered: tuple[SlowEntry, ...] = ()
        self._newest: dict[_Log, int] = {}
        self._run_id: str | None = None
        self._missed = 0

    def keep(self, log: SlowLog) -> SlowLog:
        """Return `log` with all that came before it. Memcached's events are left as they are: they keep themselves."""
        if log.server.kind == "memcached":
            return log
        if log.server.run_id != self._run_id:
            self._run_id = log.server.run_id
            self._newest.clear()
        new = [entry for entry in reversed(log.entries) if _id(entry) not in self._entries]
        self._count_missed(new)
        for entry in new:
            self._entries[_id(entry)] = entry
        while len(self._entries) > MOST:
            del self._entries[next(iter(self._entries))]
        if new:
            self._ordered = tuple(sorted(self._entries.values(), key=lambda e: (-e.at, e.node, -e.entry_id)))
        return replace(
            log, entries=self._ordered, kept=max(0, len(self._ordered) - len(log.entries)), missed=self._missed
        )

    def _count_missed(self, new: list[SlowEntry]) -> None:
        """Take note of gaps between the ids: what came and went between two polls."""
        first: dict[_Log, int] = {}
        last: dict[_Log, int] = {}
        for entry in new:
            log = (entry.node, entry.log)
            first[log] = min(first.get(log, entry.entry_id), entry.entry_id)
            last[log] = max(last.get(log, entry.entry_id), entry.entry_id)
        for log, entry_id in first.items():
            if log in self._newest:
                self._missed += max(0, entry_id - self._newest[log] - 1)
        self._newest |= last


def _id(entry: SlowEntry) -> _Id:
    return entry.node, entry.log, entry.entry_id, entry.at
